"""Random signs, and the settings of learners that draw them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import arguments


@dataclass(frozen=True)
class Sampled:
    """Settings of an unbiased random estimate: ``samples`` independent ones are averaged, ``seed`` fixes all signs.

    Raises
    ------
    ValueError
        If samples is no whole number >= 1 or seed none >= 0.
    """

    samples: int = 1
    seed: int = 0
    claim = "unbiased"

    def __post_init__(self) -> None:
        arguments.whole(type(self).__name__, "samples", self.samples)
        arguments.seed(type(self).__name__, self.seed)


def signs(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Independent -1 or +1."""
    return as_signs(coins(rng, shape), dtype)


def coins(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Independent 0 or 1, int8."""
    return rng.integers(0, 2, shape, dtype=np.int8)


def as_signs(coins: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """-1 for 0, +1 for 1."""
    found = coins.astype(dtype)
    found *= 2
    found -= 1
    return found
