"""The overshooting-bounded step size, and running scales of what comes in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


def bounded_rate(error: float, trace: np.ndarray, rate: float = 1.0, kappa: float = 2.0) -> float:
    """The step size of ObGD: ``rate``, or less where an update might overshoot its target.

    An update ``w += rate * error * trace`` moves the error by about ``rate * error`` times the sum of the squares of the trace.
    Where no entry of the trace is larger than kappa, that is less than ``M = rate * kappa * max(abs(error), 1)`` times the sum
    of its absolute values; the step is divided by M where M exceeds 1.

    Parameters
    ----------
    error : float
        The temporal-difference error.
    trace : array
        Eligibility trace along the parameters.
    rate, kappa : float
        Largest step size, and how much larger than 1 the bound is held.

    Source: Elsayed, Vasan and Mahmood (2024), Streaming deep reinforcement learning finally works, arXiv:2410.14606,
    algorithm 3.

    Examples
    --------
    >>> bounded_rate(0.5, np.full(10, 0.01)), bounded_rate(3.0, np.full(10, 0.5))
    (1.0, 0.0333)
    """
    bound = rate * kappa * max(abs(error), 1.0) * float(np.abs(trace).sum())
    return rate / max(bound, 1.0)


@dataclass
class Running:
    """Mean and variance of everything seen, one number or an array at a time (Welford)."""

    count: int = 0
    mean: np.ndarray | float = 0.0
    squares: np.ndarray | float = 0.0

    def see(self, value: np.ndarray | float) -> None:
        """Take one more."""
        self.count += 1
        off = value - self.mean
        self.mean = self.mean + off / self.count
        self.squares = self.squares + off * (value - self.mean)

    @property
    def deviation(self) -> np.ndarray | float:
        """1 as long as less than two were seen."""
        return np.sqrt(self.squares / (self.count - 1) + 1e-8) if self.count > 1 else 1.0


class RewardScale:
    """Rewards over the standard deviation of their discounted sum, as the paper scales them."""

    def __init__(self, discount: float) -> None:
        self.discount, self.sum, self.seen = discount, 0.0, Running()

    def __call__(self, reward: float, ended: bool) -> float:
        """The scaled reward."""
        self.sum = self.discount * self.sum + reward
        self.seen.see(self.sum)
        if ended:
            self.sum = 0.0
        return reward / float(self.seen.deviation) if math.isfinite(reward) else reward
