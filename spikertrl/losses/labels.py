"""Which steps of which lanes count, and labels of every allowed shape brought to (T, B, ...)."""

from __future__ import annotations

import numpy as np

from .. import arguments

At = str | np.ndarray


def check_at(at: At) -> At:
    """Return ``at`` as "each", "last" or a boolean array (T,) or (T, B).

    Raises
    ------
    ValueError
        If it is none of these, or if no step counts.

    Examples
    --------
    >>> check_at([False, True]).tolist()
    [False, True]
    >>> check_at("first")
    Traceback (most recent call last):
        ...
    ValueError: loss: at is 'first'; legal: 'each', 'last', or a boolean mask of shape (T,) or (T, B)
    """
    if isinstance(at, str) and at in ("each", "last"):
        return at
    mask = arguments.numbers("loss", "at", at) if not isinstance(at, str) else np.zeros(0)
    if mask.dtype != bool or mask.ndim not in (1, 2):
        found = repr(at) if isinstance(at, str) else f"an array of dtype {mask.dtype} and shape {mask.shape}"
        raise ValueError(f"loss: at is {found}; legal: 'each', 'last', or a boolean mask of shape (T,) or (T, B)")
    if not mask.any():
        raise ValueError(f"loss: the mask at, of shape {mask.shape}, counts no step; set at least one entry to True")
    return mask


def counted_steps(at: At, total: int, batch: int) -> np.ndarray:
    """Boolean (total, batch), read-only: the (step, lane) entries that count.

    Raises
    ------
    ValueError
        If a mask does not fit.

    Examples
    --------
    >>> counted_steps("last", 3, 2).astype(int).tolist()
    [[0, 0], [0, 0], [1, 1]]
    """
    if isinstance(at, str):
        steps = np.arange(total) >= (0 if at == "each" else total - 1)
        return np.broadcast_to(steps[:, None], (total, batch))
    if at.shape not in ((total,), (total, batch)):
        raise ValueError(f"loss: the mask at has shape {at.shape}; legal here: {(total,)} or {(total, batch)}, (T,) or (T, B)")
    return np.broadcast_to(at.reshape(total, -1), (total, batch))


def align(labels: np.ndarray, at: At, total: int, batch: int, item: tuple[int, ...], who: str) -> np.ndarray:
    """View labels as (total, batch, *item), whatever allowed short form they came in.

    ``item`` is () for classes and (n_out,) for targets. One entry a lane is enough if ``at`` is "last" or a mask, or if
    there is one step; a lane axis of one lane and an output axis of one output may be left out.

    Raises
    ------
    ValueError
        If the shape is none of the legal ones, which are listed.

    Examples
    --------
    >>> align(np.array([3, 4]), "last", 5, 2, (), "cross_entropy").shape
    (5, 2)
    """
    if labels.shape == (total, batch, *item):
        return labels
    per_lane = total == 1 or not (isinstance(at, str) and at == "each")
    if per_lane and labels.shape == (batch, *item) and (batch > 1 or total > 1):
        return np.broadcast_to(labels, (total, *labels.shape))
    legal = {(total, batch): True} | ({(batch,): False} if per_lane else {})
    if batch == 1:
        legal |= ({(): False} if per_lane else {}) | {(total,): True}
    shapes = {shape + item: timed for shape, timed in legal.items()}
    if item == (1,):
        shapes |= {shape: timed for shape, timed in legal.items() if shape not in shapes}
    if labels.shape not in shapes:
        more = "" if per_lane else "; one entry a lane is enough with at='last' or a mask"
        raise ValueError(
            f"{who}: labels have shape {labels.shape}; legal for {total} steps and {batch} lanes: "
            f"{', '.join(map(str, shapes))}{more}"
        )
    timed = shapes[labels.shape]
    return np.broadcast_to(labels.reshape((total if timed else 1, batch, *item)), (total, batch, *item))
