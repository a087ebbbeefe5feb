"""Online steps that are kept until the influence is advanced over several of them (see ``deferred``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....network.wiring import Wiring
from ....tape import LINEAR, Tape


@dataclass
class DeferredSteps:
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


def nbytes(w: Wiring, batch: int, steps: int) -> int:
    """What ``empty`` will allocate for so many steps."""
    states = int((w.S * w.S + w.S * w.G + w.S * w.Q + w.S + w.Q).sum())
    kept = steps * (w.n_parameters + batch * states) + (w.history + steps) * batch * (w.n_channels + w.n_units)
    return w.dtype.itemsize * kept if steps else 0


def empty(w: Wiring, tape: Tape, steps: int) -> DeferredSteps:
    """No step kept, room for so many."""
    arrays = [np.empty((steps, getattr(tape, name).shape[1]), w.dtype) for name in LINEAR]
    messages = np.empty((tape.history + steps, *tape.messages.shape[1:]), w.dtype)
    return DeferredSteps(w, tape.batch, arrays, messages, np.empty((steps, w.n_parameters), w.dtype))
