"""Left or right spiral: the task of Subramoney 2023, with held-out sequences that are really held out."""

from __future__ import annotations

import numpy as np

from .. import arguments
from .base import MAKE, TRAIN, Batch, ClassAtEnd, check_size, generator

STEPS, COUNT, SPLIT = 17, 10_000, (7_000, 8_500)


class Spiral(ClassAtEnd):
    """See `spiral`."""

    name, n_in = "spiral", 2

    def __init__(self, seed: int, n_out: int) -> None:
        self.n_out = arguments.whole("task spiral", "n_out", n_out, 1, 2)
        self.rng = generator(seed, TRAIN)
        make = generator(seed, MAKE)
        time, offset = np.linspace(0, 2 * np.pi, STEPS)[:, None], make.uniform(0, 2 * np.pi, COUNT)
        labels = make.integers(0, 2, COUNT)
        x = np.stack([(2 * labels - 1) * np.sin(time + offset), np.cos(time + offset)], axis=2) / (1 + time[:, :, None])
        self._parts = list(zip(np.split(x.astype(np.float32), SPLIT, axis=1), np.split(labels, SPLIT), strict=True))

    def batch(self, n: int) -> Batch:
        """``n`` sequences drawn from the training part, with replacement: x (17, n, 2), labels (n,)."""
        x, labels = self._parts[0]
        chosen = self.rng.integers(0, len(labels), check_size("spiral", "batch", n))
        return x[:, chosen], labels[chosen]

    @property
    def train(self) -> Batch:
        """All 7,000 training sequences."""
        return self._parts[0]

    @property
    def valid(self) -> Batch:
        return self._parts[1]

    @property
    def test(self) -> Batch:
        return self._parts[2]


def spiral(seed: int = 0, n_out: int = 2) -> Spiral:
    """Tell which way a spiral turns from its 17 points; the label counts at the last step.

    ``x(t) = (+-sin(t + a), cos(t + a)) / (1 + t)`` for 17 values of t from 0 to 2 pi and a random angle a; label 1 for plus.
    10,000 different sequences are cut into 7,000 for training, 1,500 for validation and 1,500 for test. (The code of the paper
    draws all three from one pool with replacement, so that they share sequences.)

    Parameters
    ----------
    seed : int
        Seeds both the data and the batches.
    n_out : int
        2 for a softmax readout, 1 for a sigmoid as in the paper.

    References
    ----------
    Subramoney 2023, arXiv 2303.05641.

    Examples
    --------
    >>> task = spiral(seed=0)
    >>> x, labels = task.batch(32)
    >>> x.shape, labels.shape, task.test[0].shape
    ((17, 32, 2), (32,), (17, 1500, 2))
    """
    return Spiral(seed, n_out)
