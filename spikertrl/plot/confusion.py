"""Which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments
from .axes import axes, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def confusion(labels: Any, predicted: Any, classes: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """How often each class was taken for each other: a row per true class, shares of the row in colour, counts in numbers.

    Parameters
    ----------
    labels, predicted : int ndarray (N)
        True and predicted classes 0 .. C - 1; entries with a negative label do not count.
    classes : sequence of str, optional
        Names of the C classes.

    Raises
    ------
    ValueError
        If the shapes differ, a value is no class, or nothing counts.

    Examples
    --------
    >>> ax = confusion([0, 0, 1, -1], [0, 1, 1, 1], ["left", "right"])
    >>> [text.get_text() for text in ax.texts], ax.get_title(loc="left")
    (['1', '1', '1'], '2 of 3 correct (67%)')
    """
    true, said = (_classes(what, values) for what, values in (("labels", labels), ("predicted", predicted)))
    if true.shape != said.shape:
        raise ValueError(f"confusion: labels have shape {true.shape} and predicted {said.shape}; they must be equal")
    true, said = true[true >= 0], said[true >= 0]
    if not len(true):
        raise ValueError("confusion: no label counts (all are negative, or there is none)")
    size = max(int(true.max()), int(said.max())) + 1 if classes is None else len(classes)
    for what, values in (("labels", true), ("predicted", said)):
        wrong = values[(values < 0) | (values >= size)]
        if len(wrong):
            raise arguments.refuse("confusion", what, int(wrong[0]), f"0 .. {size - 1}")
    counts = np.zeros((size, size), int)
    np.add.at(counts, (true, said), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    ax = axes(ax, (1.8 + 0.42 * size, 1.4 + 0.42 * size))
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        color = "white" if shares[row, column] > 0.55 else "black"
        ax.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8.5, color=color)
    names = list(map(str, range(size) if classes is None else classes))
    ax.set_xticks(range(size), names, rotation=0 if max(map(len, names)) < 4 else 45)
    ax.set_yticks(range(size), names)
    ax.set(xlabel="predicted", ylabel="true")
    right = int(np.trace(counts))
    note(ax, f"{right} of {len(true)} correct ({right / len(true):.0%})")
    return ax


def _classes(what: str, values: Any) -> np.ndarray:
    found = arguments.numbers("confusion", what, values)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise arguments.refuse("confusion", what, values, "whole numbers, one a sequence, shape (N,)")
    return found.astype(np.int64)
