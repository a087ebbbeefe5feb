"""A task made of arrays that are there already: recorded input, a pattern to be learned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import losses
from ..losses.base import Loss
from .base import TRAIN, Batch, Sequence, check_size, class_score, generator


class Arrays(Sequence):
    """See `arrays`."""

    name = "arrays"

    def __init__(self, x: np.ndarray, labels: np.ndarray, loss: Callable[[np.ndarray], Loss] | None, seed: int) -> None:
        x, labels = np.asarray(x), np.asarray(labels)
        if x.ndim != 3 or not x.size:
            raise ValueError(f"task arrays: x has shape {x.shape}; legal: (T, lanes, channels), none of them 0")
        self.timed = labels.shape[:2] == x.shape[:2]
        if not self.timed and labels.shape[:1] != x.shape[1:2]:
            legal = f"({x.shape[0]}, {x.shape[1]}, ...) or ({x.shape[1]}, ...)"
            raise ValueError(f"task arrays: labels have shape {labels.shape}; legal for x {x.shape}: {legal}")
        self.x, self.labels, self.rng = x, labels, generator(seed, TRAIN)
        self.classes = labels.dtype.kind in "iub"
        self.n_in, self.n_out = x.shape[2], int(labels.max()) + 1 if self.classes else labels.shape[-1]
        self._loss = loss

    def batch(self, n: int) -> Batch:
        """``n`` of the lanes, without repeats as long as there are enough; all of them in order if n is their number."""
        lanes = self.x.shape[1]
        if check_size(self.name, "batch", n) == lanes:
            return self.x, self.labels
        chosen = self.rng.choice(lanes, n, replace=n > lanes)
        return self.x[:, chosen], self.labels[:, chosen] if self.timed else self.labels[chosen]

    @property
    def valid(self) -> Batch:
        return self.x, self.labels

    test = valid

    def loss(self, labels: np.ndarray) -> Loss:
        if self._loss is not None:
            return self._loss(labels)
        at = "each" if self.timed else "last"
        return losses.cross_entropy(labels, at) if self.classes else losses.squared_error(labels, at)

    def score(self, z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        if self.classes:
            return class_score(z, labels, "each" if self.timed else "last")
        gap = (z if self.timed else z[-1]) - labels
        return {"error": float(0.5 * (gap**2).sum(axis=-1).mean())}


def arrays(x: np.ndarray, labels: np.ndarray, loss: Callable[[np.ndarray], Loss] | None = None, seed: int = 0) -> Arrays:
    """Sequences and labels given as arrays; nothing is held out.

    Parameters
    ----------
    x : ndarray (T, lanes, channels)
    labels : ndarray
        Whole numbers (T, lanes) or (lanes,): classes at every or the last step, scored by cross-entropy. Real numbers
        (T, lanes, outputs) or (lanes, outputs): targets, scored by squared error.
    loss : callable (labels of a batch) -> Loss, optional
        Another loss.
    seed : int
        Of the lanes drawn for a batch.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> task = arrays(np.zeros((5, 8, 2)), np.ones((5, 8, 1)))
    >>> x, targets = task.batch(3)
    >>> x.shape, targets.shape, task.n_in, task.n_out
    ((5, 3, 2), (5, 3, 1), 2, 1)
    """
    return Arrays(x, labels, loss, seed)
