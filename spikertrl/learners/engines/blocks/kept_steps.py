"""Online steps that are kept until the influence is advanced over several of them (see ``deferred``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....network.wiring import Wiring
from ....tape import LINEAR, Tape
from .layout import Layout
from .step_jacobian import all_to_all

STEPS, DENSE_STEPS = 4, 24  # steps that are kept at most, in sparse networks and in dense ones (see ``product``)


LEAST_BYTES, DENSE_BYTES = 24 << 20, 4 << 20  # influence below which it is cheaper to take every step at once


@dataclass
class Postponed:
    """The kept steps, oldest first. See ``Tape`` for the layout of the arrays."""

    wiring: Wiring
    batch: int
    arrays: list[np.ndarray]  # A, B, P, o, q
    messages: np.ndarray  # (history + room, B, sources)
    theta: np.ndarray  # (room, parameters): of each step
    start: int = 0
    steps: int = 0

    @property
    def room(self) -> int:
        return len(self.theta)

    def add(self, tape: Tape) -> None:
        """Keep a tape."""
        now = slice(self.steps, self.steps + tape.tau)
        if not self.steps:
            self.start = tape.start
            self.messages[: tape.history] = tape.messages[: tape.history]
        for kept, name in zip(self.arrays, LINEAR, strict=True):
            kept[now] = getattr(tape, name)
        self.messages[tape.history + now.start : tape.history + now.stop] = tape.messages[tape.history :]
        self.theta[now] = tape.theta
        self.steps += tape.tau

    def padded(self, direct: np.ndarray) -> np.ndarray:
        """``direct`` (steps, B, N) of the last steps kept, zeros for those before: their losses have had their gradient."""
        return np.concatenate((np.zeros((self.steps - len(direct), *direct.shape[1:]), direct.dtype), direct))

    def tape(self) -> Tape:
        """All kept steps as one tape; its theta is that of the last step."""
        n, none, history = self.steps, np.zeros(self.batch, bool), len(self.messages) - self.room
        nothing = np.zeros((n, self.batch, 0), self.messages.dtype)
        parts = [kept[:n] for kept in self.arrays]
        messages = self.messages[: history + n]
        return Tape(self.start, n, self.batch, self.theta[n - 1], messages, nothing, none, {}, {}, *parts, history=history)


def room(w: Wiring, batch: int, blocks: Layout) -> int:
    """How many steps to keep: 0 unless all blocks are whole, no readout leaks, and the influence is large.

    In sparse networks what exceeds the cache is large; in dense ones a few steps together are a smaller product of matrices.
    """
    if w.decay.any() or not len(w.pair_pre) or not blocks.whole.all():
        return 0
    influence = batch * int(blocks.undivided.first_M[-1]) * w.dtype.itemsize
    steps, least = (DENSE_STEPS, DENSE_BYTES) if all_to_all(w, blocks) else (STEPS, LEAST_BYTES)
    return steps if influence > least else 0


def nbytes(w: Wiring, batch: int, steps: int) -> int:
    """What ``empty`` will allocate for so many steps."""
    states = int((w.S * w.S + w.S * w.G + w.S * w.Q + w.S + w.Q).sum())
    kept = steps * (w.n_parameters + batch * states) + (w.history + steps) * batch * (w.n_channels + w.n_units)
    return w.dtype.itemsize * kept if steps else 0


def empty(w: Wiring, tape: Tape, steps: int) -> Postponed:
    """No step kept, room for so many."""
    arrays = [np.empty((steps, getattr(tape, name).shape[1]), w.dtype) for name in LINEAR]
    messages = np.empty((tape.history + steps, *tape.messages.shape[1:]), w.dtype)
    return Postponed(w, tape.batch, arrays, messages, np.empty((steps, w.n_parameters), w.dtype))
