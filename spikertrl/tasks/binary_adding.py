"""Count the ones at nine marked steps of a string of bits: the Binary Adding task of Ma et al. 2025."""

from __future__ import annotations

from math import comb

import numpy as np

from .base import TRAIN, Batch, Drawn, check_size, generator

MARKS = 9


class BinaryAdding(Drawn):
    """See `binary_adding`."""

    name, n_in, n_out, held = "binary_adding", 2, MARKS + 1, 2000

    def __init__(self, length: int, seed: int) -> None:
        self.length = check_size(self.name, "length", length, MARKS)
        self.seed, self.rng = seed, generator(seed, TRAIN)

    def draw(self, rng: np.random.Generator, n: int) -> Batch:
        """x (length, n, 2) of zeros and ones, labels (n,)."""
        labels = rng.integers(0, MARKS + 1, n)
        place = rng.random((self.length, n)).argsort(0).argsort(0)  # a random order of the steps; the first nine are marked
        marked = place < MARKS
        bits = np.where(marked, place < labels, rng.integers(0, 2, place.shape))
        return np.stack([bits, marked], axis=2).astype(np.float32), labels

    def best_accuracy(self, steps: int) -> float:
        """The best accuracy that is possible for who knows the last ``steps`` steps only.

        >>> task = binary_adding()
        >>> [round(task.best_accuracy(steps), 3) for steps in (0, 25, 50, 100)]
        [0.1, 0.264, 0.395, 1.0]
        """
        seen = range(MARKS + 1)
        ways = comb(self.length, MARKS)
        share = [comb(steps, m) * comb(self.length - steps, MARKS - m) / ways for m in seen]  # m marks among these steps
        return sum(p * sum(_likeliest(m, ones) for ones in range(m + 1)) for m, p in zip(seen, share, strict=True))


def _likeliest(marks: int, ones: int) -> float:
    """Probability of so many ones at so many marks and of the likeliest label then."""
    ways = comb(MARKS, marks)
    return max(comb(k, ones) * comb(MARKS - k, marks - ones) for k in range(MARKS + 1)) / ways / (MARKS + 1)


def binary_adding(length: int = 100, seed: int = 0) -> BinaryAdding:
    """Say at the last step how many of nine marked bits were 1: two channels of zeros and ones, ten classes.

    Channel 0 holds fair bits, channel 1 a 1 at nine random steps. The label, 0 .. 9, is the number of ones at the marked
    steps; all ten are equally frequent. Every batch is drawn afresh; the 2,000 sequences for validation and for test are fixed.

    Parameters
    ----------
    length : int
        Steps of a sequence, >= 9; 100 in the paper.
    seed : int
        Seeds everything.

    References
    ----------
    Ma, Chen, Li et al. 2025, Spiking neural networks for temporal processing, arXiv 2502.09449. Nine marks and the balance of
    the classes are as in the authors' code, which draws 50,000 training sequences once.

    Examples
    --------
    >>> x, labels = binary_adding().batch(3)
    >>> x.shape, ((x[:, :, 0] * x[:, :, 1]).sum(0) == labels).all(), x[:, :, 1].sum(0).tolist()
    ((100, 3, 2), np.True_, [9.0, 9.0, 9.0])
    """
    return BinaryAdding(length, seed)
