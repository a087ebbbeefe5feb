"""Add two bits of the past: a stream whose best possible loss is known (Marschall et al. 2020)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import arguments, losses
from ..losses.base import Loss
from .base import TEST, TRAIN, VALID, Batch, Stream, check_size, class_score, generator, one_hot

HELD_STEPS, HELD_LANES = 500, 8


class Add(Stream):
    """See `add`. ``task.floors`` holds the cross-entropy, in nats, of knowing "nothing", the "first" delay, or "both"."""

    name, n_in, n_out = "add", 2, 2

    def __init__(self, delays: tuple[int, int], hold: int, tau: int, seed: int) -> None:
        if np.shape(delays) != (2,) or np.asarray(delays).dtype.kind not in "iu" or not 0 <= delays[0] < delays[1]:
            raise arguments.refuse("task add", "delays", delays, "two whole numbers, 0 <= first < second, in symbols")
        first, second = int(delays[0]), int(delays[1])
        self.delays, self.hold, self.tau = (first, second), check_size("add", "hold", hold), check_size("add", "tau", tau)
        self.seed, self.rng = seed, generator(seed, TRAIN)
        self.past, self.answer, self.phase = np.zeros((second + 1, 0), int), np.zeros(0, int), 0
        mixtures = {"nothing": [0.625], "first": [0.375, 0.875], "both": [0.25, 0.5, 0.75, 1.0]}
        self.floors = {what: sum(map(_entropy, shares)) / len(shares) for what, shares in mixtures.items()}

    def start(self, n: int) -> None:
        self.past, self.answer = self.rng.integers(0, 2, (self.delays[1] + 1, n)), np.zeros(n, int)

    def draw(self, steps: int) -> Batch:
        bits, answers = np.empty((2, steps, self.past.shape[1]), int)
        for t in range(steps):
            if self.phase == 0:
                self._next()
            self.phase = (self.phase + 1) % self.hold
            bits[t], answers[t] = self.past[0], self.answer
        return one_hot(bits, 2), answers

    def _next(self) -> None:
        first, second = self.delays
        self.past = np.roll(self.past, 1, axis=0)
        self.past[0] = self.rng.integers(0, 2, self.past.shape[1])
        chance = 0.5 + 0.5 * self.past[first] - 0.25 * self.past[second]
        self.answer = (self.rng.random(self.past.shape[1]) < chance).astype(int)

    @property
    def valid(self) -> Batch:
        return self._held(VALID)

    @property
    def test(self) -> Batch:
        return self._held(TEST)

    def _held(self, purpose: int) -> Batch:
        task = Add(self.delays, self.hold, HELD_STEPS, self.seed)
        task.rng = generator(self.seed, purpose)
        return task.batch(HELD_LANES)

    def loss(self, labels: np.ndarray) -> Loss:
        return losses.cross_entropy(labels)

    def score(self, z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        nats = losses.bits_per_symbol(z, labels) * math.log(2.0)
        return {"accuracy": class_score(z, labels)["accuracy"], "nats": nats}

    def extra_state(self) -> dict[str, Any]:
        memory = {"past": self.past.tolist(), "answer": self.answer.tolist(), "phase": self.phase}
        return super().extra_state() | memory

    def restore_extra(self, state: dict[str, Any]) -> None:
        super().restore_extra(state)
        self.past, self.answer = np.array(state["past"], int), np.array(state["answer"], int)
        self.past, self.phase = self.past.reshape(self.delays[1] + 1, -1), state["phase"]


def _entropy(p: float) -> float:
    return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)


def add(delays: tuple[int, int] = (6, 10), hold: int = 1, tau: int = 20, seed: int = 0) -> Add:
    """Stream of fair bits x; the answer is 1 with probability 0.5 + 0.5 x(t - first) - 0.25 x(t - second).

    Inputs are one-hot (bit 0, bit 1), the readout is a softmax over two classes.

    Parameters
    ----------
    delays : two ints
        first < second, in symbols.
    hold : int
        Steps for which every bit and its answer are held.
    tau : int
        Steps a batch.
    seed : int
        Seeds everything.

    References
    ----------
    Marschall, Cho and Savin 2020, JMLR 21, arXiv 1907.02649.

    Examples
    --------
    >>> task = add(delays=(2, 3), tau=8)
    >>> x, labels = task.batch(4)
    >>> x.shape, labels.shape
    ((8, 4, 2), (8, 4))
    >>> {name: round(nats, 3) for name, nats in task.floors.items()}
    {'nothing': 0.662, 'first': 0.519, 'both': 0.454}
    """
    return Add(delays, hold, tau, seed)
