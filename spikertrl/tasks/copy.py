"""Copy a string of bits after it has ended, at a length that grows as the task is mastered (Mujika et al. 2018)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import arguments, losses
from ..losses.base import Loss
from .base import TEST, TRAIN, VALID, Batch, Sequence, Stream, Task, check_size, class_score, generator, one_hot

START, BLANK, SPREAD, HELD = 2, 3, 5, 64
DECAY, THRESHOLD, RESTART = 0.999, 0.15, 0.3


class Strings(Task):
    """What both forms of the task share: ``length`` is the present T, ``running`` the running loss in bits per symbol."""

    n_in = n_out = 4

    def __init__(self, length: int, curriculum: bool, seed: int) -> None:
        self.length, self.seed = check_size("copy", "length", length), seed
        self.curriculum = arguments.flag("task copy", "curriculum", curriculum)
        self.running = 2.0
        self.rng = generator(seed, TRAIN)

    def lengths(self, n: int) -> np.ndarray:
        """Lengths of n new strings."""
        if self.curriculum:
            return np.maximum(1, self.length - self.rng.integers(0, SPREAD, n))
        return np.full(n, self.length)

    def observe(self, value: float) -> bool:
        """Update the running loss with a training loss in nats per symbol; grow the length when it is low enough."""
        self.running = DECAY * self.running + (1 - DECAY) * value / math.log(2.0)
        if not self.curriculum or self.running >= THRESHOLD:
            return False
        self.length, self.running = self.length + 1, RESTART
        return True

    @property
    def valid(self) -> Batch:
        """64 strings of exactly the present length."""
        return self._held(VALID)

    @property
    def test(self) -> Batch:
        """64 other strings of exactly the present length; short strings are few, so these occur in training too."""
        return self._held(TEST)

    def _held(self, purpose: int) -> Batch:
        return _strings(generator(self.seed, purpose), np.full(HELD, self.length))

    def loss(self, labels: np.ndarray) -> Loss:
        return losses.cross_entropy(labels, at=labels >= 0)

    def score(self, z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        return class_score(z, labels, at=labels >= 0)

    def extra_state(self) -> dict[str, Any]:
        return super().extra_state() | {"length": self.length, "running": self.running}

    def restore_extra(self, state: dict[str, Any]) -> None:
        super().restore_extra(state)
        self.length, self.running = state["length"], state["running"]


class Copy(Strings, Sequence):
    """See `copy`."""

    name = "copy"

    def batch(self, n: int) -> Batch:
        """x (S, n, 4) one-hot and labels (S, n), S = 2T + 2 for the longest; -1 and zero input after a shorter one."""
        return _strings(self.rng, self.lengths(check_size("copy", "batch", n)))


class CopyStream(Strings, Stream):
    """See `copy_stream`."""

    name, tau = "copy_stream", 1

    def start(self, n: int) -> None:
        self.place, self.size = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.bits = np.zeros((n, self.length), np.int64)

    def draw(self, steps: int) -> Batch:
        n = len(self.place)
        symbols, labels, fresh = np.full((steps, n), BLANK), np.full((steps, n), BLANK), np.zeros((steps, n), bool)
        for t in range(steps):
            fresh[t] = self.place == 0
            if fresh[t].any():
                self._renew(fresh[t])
            reading = np.flatnonzero(self.place <= self.size)
            telling = np.flatnonzero(self.place > self.size)
            symbols[t, reading] = self._symbol(reading, self.place[reading])
            labels[t, telling] = self._symbol(telling, self.place[telling] - self.size[telling] - 1)
            self.place = (self.place + 1) % (2 * self.size + 2)
        self.fresh = fresh
        return one_hot(symbols, 4), labels

    def _renew(self, lanes: np.ndarray) -> None:
        self.size[lanes] = self.lengths(int(lanes.sum()))
        if (more := int(self.size.max()) - self.bits.shape[1]) > 0:
            self.bits = np.pad(self.bits, ((0, 0), (0, more)))
        self.bits[lanes] = self.rng.integers(0, 2, (int(lanes.sum()), self.bits.shape[1]))

    def _symbol(self, lanes: np.ndarray, place: np.ndarray) -> np.ndarray:
        """The start symbol, then the bits."""
        return np.where(place == 0, START, self.bits[lanes, np.maximum(place - 1, 0)])

    def extra_state(self) -> dict[str, Any]:
        memory = {} if self.lanes is None else {k: getattr(self, k).tolist() for k in ("place", "size", "bits")}
        return super().extra_state() | memory

    def restore_extra(self, state: dict[str, Any]) -> None:
        super().restore_extra(state)
        for name in ("place", "size", "bits"):
            if name in state:
                setattr(self, name, np.array(state[name], np.int64))


def _strings(rng: np.random.Generator, lengths: np.ndarray) -> Batch:
    steps = 2 * int(lengths.max()) + 2
    symbols = np.full((steps, len(lengths)), -1)
    labels = symbols.copy()
    for lane, length in enumerate(lengths):
        symbols[: 2 * length + 2, lane] = BLANK
        labels[: length + 1, lane] = BLANK
        string = np.concatenate([[START], rng.integers(0, 2, length)])
        symbols[: length + 1, lane] = labels[length + 1 : 2 * length + 2, lane] = string
    return one_hot(np.maximum(symbols, 0), 4) * (symbols >= 0)[..., None], labels


def copy(length: int = 1, curriculum: bool = True, seed: int = 0) -> Copy:
    """Copy task with four symbols: 0, 1, start (2) and blank (3).

    Input is start, T bits, T + 1 blanks; the answer is T + 1 blanks, start, the T bits; softmax cross-entropy at every step.
    With the curriculum every lane draws its length from T - 4 .. T, and T grows by one when the running loss (factor 0.999,
    over all positions) falls under 0.15 bits per symbol; the running loss then restarts at 0.3. It starts at 2 bits, the loss
    of knowing nothing. Call ``task.observe(loss)`` after every update; T reached is the figure of merit.

    Parameters
    ----------
    length : int
        T at the start.
    curriculum : bool
        Whether T grows and lengths vary.
    seed : int
        Seeds everything.

    References
    ----------
    Mujika, Meier and Steger 2018, arXiv 1805.10842; Graves 2016.

    Examples
    --------
    >>> x, labels = copy(length=2, curriculum=False).batch(1)
    >>> x.argmax(axis=2)[:, 0].tolist(), labels[:, 0].tolist()
    ([2, 1, 1, 3, 3, 3], [3, 3, 3, 2, 1, 1])
    >>> task = copy()
    >>> any(task.observe(0.0) for _ in range(3000)), task.length
    (True, 2)
    """
    return Copy(length, curriculum, seed)


def copy_stream(length: int = 1, curriculum: bool = True, seed: int = 0) -> CopyStream:
    """The copy task as in the paper: string after string in every lane, the next one as soon as one is over, a step a batch.

    A lane's state and influence are put back to the start where a string begins (``task.fresh``). Everything else is as in
    `copy`: strings, labels, the curriculum, whose running loss is now updated at every step. Give ``fit`` as many steps as
    updates are wanted.

    Parameters
    ----------
    length : int
        T at the start.
    curriculum : bool
        Whether T grows and lengths vary.
    seed : int
        Seeds everything.

    References
    ----------
    Mujika, Meier and Steger 2018, arXiv 1805.10842.

    Examples
    --------
    >>> task = copy_stream(length=2, curriculum=False)
    >>> x, labels = (np.concatenate(parts)[:, 0] for parts in zip(*(task.batch(1) for _ in range(7))))
    >>> x.argmax(axis=1).tolist(), labels.tolist()
    ([2, 1, 1, 3, 3, 3, 2], [3, 3, 3, 2, 1, 1, 3])
    """
    return CopyStream(length, curriculum, seed)
