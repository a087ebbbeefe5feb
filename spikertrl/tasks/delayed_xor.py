"""Exclusive or of two pulses, asked for after a silence: the smallest task that needs memory and a nonlinearity."""

from __future__ import annotations

import numpy as np

from .base import TRAIN, Batch, Drawn, check_size, generator


class DelayedXor(Drawn):
    """See `delayed_xor`."""

    name, n_in, n_out, held = "delayed_xor", 2, 2, 256

    def __init__(self, gap: int, delay: int, seed: int) -> None:
        self.gap, self.delay = check_size(self.name, "gap", gap), check_size(self.name, "delay", delay, 0)
        self.seed, self.rng = seed, generator(seed, TRAIN)

    def draw(self, rng: np.random.Generator, n: int) -> Batch:
        """x (1 + gap + delay, n, 2) of zeros and ones, labels (n,)."""
        bits, second = rng.integers(0, 2, (2, n)), rng.integers(1, self.gap + 1, n)
        x = np.zeros((1 + self.gap + self.delay, n, 2), np.float32)
        x[0, np.arange(n), bits[0]] = 1
        x[second, np.arange(n), bits[1]] = 1
        return x, bits[0] ^ bits[1]


def delayed_xor(gap: int = 5, delay: int = 10, seed: int = 0) -> DelayedXor:
    """Two pulses, each on input 0 (bit 0) or input 1 (bit 1); their exclusive or counts at the last step.

    The first pulse comes at step 0, the second at a random step 1 .. gap, the answer at step gap + delay. There are only
    4 * gap different sequences, so held-out sequences are fresh draws and not unseen ones.

    Parameters
    ----------
    gap : int
        Latest step of the second pulse.
    delay : int
        Silent steps between the latest second pulse and the answer.
    seed : int
        Seeds everything.

    Examples
    --------
    >>> x, labels = delayed_xor(gap=1, delay=1).batch(3)
    >>> x.shape, [int(x[0, b, 1]) ^ int(x[1, b, 1]) for b in range(3)] == labels.tolist()
    ((3, 3, 2), True)
    """
    return DelayedXor(gap, delay, seed)
