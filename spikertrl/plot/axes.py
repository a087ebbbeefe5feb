"""What every figure shares: Axes without a display, colours safe for colour-blind readers, words for columns, series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments
from ..training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito (2008), without yellow: too light for lines on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#666666"
PALE = "#E3E3E3"
SIZE = (6.4, 3.8)  # inches

WORDS = {
    "step": "training step",
    "seconds": "training time (s)",
    "loss": "loss",
    "macs": "multiply-adds done",
    "activity": "units that fire (share)",
    "gradient_activity": "units that send sensitivity (share)",
}
UNITS = {"accuracy": "share correct", "bits": "bits per symbol"}


def axes(ax: Axes | None, size: tuple[float, float] = SIZE) -> Axes:
    """``ax`` itself, or Axes of a new figure that belongs to no window system; both made plain.

    The figure is not known to pyplot: nothing opens, no backend is chosen, and it is freed with its last reference.
    """
    if ax is None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.subplots()
    if not hasattr(ax, "spines"):
        raise arguments.refuse("plot", "ax", ax, "Axes of matplotlib, or None for a new figure")
    ax.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(GREY)
    ax.tick_params(color=GREY)
    return ax


def note(ax: Axes, text: str) -> None:
    """A small grey line above the axes."""
    ax.set_title(text, loc="left", fontsize=8.5, color=GREY)


def legend(ax: Axes, **options: Any) -> None:
    """A legend without a frame, if there is anything to name."""
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, **{"fontsize": 9, "handlelength": 1.6, **options})


def words(column: str) -> str:
    """A column of a history as an axis label.

    >>> words("valid_accuracy"), words("macs"), words("my_column")
    ('validation accuracy (share correct)', 'multiply-adds done', 'my column')
    """
    if column in WORDS:
        return WORDS[column]
    split = "validation " if column.startswith("valid_") else ""
    plain = column.removeprefix("valid_")
    unit = f" ({UNITS[plain]})" if plain in UNITS else ""
    return f"{split}{plain.replace('_', ' ')}{unit}"


def as_history(data: Any) -> History:
    """A History from one, from its rows, or from columns (name -> values of equal length)."""
    if isinstance(data, History):
        return data
    if isinstance(data, Mapping):
        columns = {name: arguments.numbers("plot", name, values) for name, values in data.items()}
        lengths = {name: column.shape for name, column in columns.items()}
        if not columns or len(set(lengths.values())) != 1 or any(len(shape) != 1 for shape in lengths.values()):
            raise ValueError(f"columns must be one-dimensional and of equal length, got shapes {lengths}")
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    elif isinstance(data, Sequence) and data and all(isinstance(row, Mapping) for row in data):
        rows = [dict(row) for row in data]
    else:
        raise arguments.refuse("plot", "the history", data, "a History, its rows, or columns (name -> values)")
    return History([{"step": i + 1, **row} for i, row in enumerate(rows)])


def as_histories(data: Any) -> dict[str, list[History]]:
    """Label -> histories, from one history (label ""), from a mapping of them, or from a mapping of lists of them."""
    if isinstance(data, Mapping) and data and all(_is_history(one) or _are_histories(one) for one in data.values()):
        many = {str(label): one if _are_histories(one) else [one] for label, one in data.items()}
        return {label: [as_history(one) for one in runs] for label, runs in many.items()}
    return {"": [as_history(data)]}


def _are_histories(value: Any) -> bool:
    """A list of histories; a list of rows is one history."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, History | list | tuple) for one in value)


def together(runs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Several runs (x, y) on the x of the first, as far as all of them go: x and (runs, len(x)).

    >>> x = np.array([1.0, 2.0, 3.0])
    >>> at, values = together([(x, 2 * x), (x[:2], 4 * x[:2])])
    >>> at.tolist(), values.tolist()
    ([1.0, 2.0], [[2.0, 4.0], [4.0, 8.0]])
    """
    end = min((x[-1] for x, _ in runs if len(x)), default=-np.inf)
    at = runs[0][0][runs[0][0] <= end] if len(runs) > 1 else runs[0][0]
    return at, np.array([y if len(runs) == 1 else np.interp(at, x, y) for x, y in runs])


def _is_history(value: Any) -> bool:
    """A History, rows or columns; not one column."""
    return isinstance(value, History | Mapping) or (
        isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)
    )


def series(history: History, x: str, y: str) -> tuple[np.ndarray, np.ndarray]:
    """Values of two columns where both are there.

    Raises
    ------
    ValueError
        If a column is missing; lists those there are.
    """
    if missing := [name for name in (x, y) if name not in history.columns]:
        raise ValueError(f"the history has no column {missing[0]!r}; columns: {history.columns}")
    a, b = history[x], history[y]
    there = ~np.isnan(a) & ~np.isnan(b)
    return a[there], b[there]


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over ``window`` neighbours, centred, with shorter windows at the ends.

    >>> running_mean(np.array([0.0, 3.0, 6.0, 9.0]), 3).tolist()
    [1.5, 3.0, 6.0, 7.5]
    """
    ones = np.ones(min(window, len(values)))
    return np.convolve(values, ones, "same") / np.convolve(np.ones_like(values), ones, "same")


def number(value: float) -> str:
    """A large count in few characters.

    >>> number(950), number(12_345), number(3.2e9), number(4e13)
    ('950', '12k', '3.2G', '40T')
    >>> number(2.94), number(17.4)
    ('2.9', '17')
    """
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.2g}{letter}" if value < 100 * size else f"{value / size:.0f}{letter}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"
