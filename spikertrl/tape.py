"""Tape: what a learner may see of tau steps. Values, events and the local linearisation; no equations, no cells."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .loops import loop
from .network.wiring import Wiring

LINEAR = ("A", "B", "P", "o", "q")


@dataclass
class Tape:
    """Record of ``tau`` steps of ``batch`` lanes; valid until the next piece is simulated (``copy()`` keeps it).

    The linearisation arrays have shape (tau, B * count) in the flat layout of ``wiring``: A = dF/ds (S x S per unit),
    B = dF/dI (S x G), P = dF/dphi (S x Q), o = dO/ds (S), q = dO/dphi (Q). ``messages`` is (history + tau, B, sources): its
    last tau rows are this piece. ``traces``/``trace_one``: the readouts' decayed sums of y and of 1 before the piece.
    ``reset`` (B) bool: lanes whose state was set to its initial value right before the piece.
    """

    start: int
    tau: int
    batch: int
    theta: np.ndarray
    messages: np.ndarray
    z: np.ndarray  # (tau, B, O)
    reset: np.ndarray
    traces: dict[float, np.ndarray]
    trace_one: dict[float, np.ndarray]
    A: np.ndarray
    B: np.ndarray
    P: np.ndarray
    o: np.ndarray
    q: np.ndarray
    history: int = 0
    room: tuple[np.ndarray, np.ndarray, np.ndarray] | None = field(default=None, repr=False)  # where ``active`` puts its lists
    _active: tuple[np.ndarray, np.ndarray, np.ndarray] | None = field(default=None, init=False, repr=False)

    def copy(self) -> Tape:
        """An independent copy, for learners that look back."""
        arrays = {name: getattr(self, name).copy() for name in ("theta", "messages", "z", "reset", *LINEAR)}
        traces = {name: {k: v.copy() for k, v in getattr(self, name).items()} for name in ("traces", "trace_one")}
        return replace(self, **arrays, **traces, room=None)

    def units(self, wiring: Wiring) -> np.ndarray:
        """Messages of the units, (tau, B, N)."""
        return self.messages[self.history :, :, wiring.n_channels :]

    def active(self, wiring: Wiring) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gradient-active units: (count (tau, B), units (tau, B, N) packed, slot (tau, B, N) or -1). They alone send a row."""
        if self._active is None:
            w, found = wiring, self.room or lists(self.tau, self.batch, wiring.n_units)
            _list_active(self.o, self.q, w.firsts, w.S, w.Q, w.start_o, w.start_q, w.size, *found)
            self._active = found
        return self._active


def lists(tau: int, batch: int, units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Room for ``Tape.active``."""
    shape = (tau, batch, units)
    return np.zeros(shape[:2], np.int32), np.zeros(shape, np.int32), np.empty(shape, np.int32)


@loop()
def _list_active(o, q, firsts, S, Q, start_o, start_q, size, count, units, slot):
    """``firsts``: the first unit of every population."""
    tau, B, N = slot.shape
    live = np.empty(N, np.bool_)
    for t in range(tau):
        for b in range(B):
            n, mine = 0, slot[t, b]
            for i in firsts:
                wide = size[i]
                live[:wide] = False
                for part, first, entries in ((o, start_o[i], S[i]), (q, start_q[i], Q[i])):
                    for s in range(entries):
                        at = first * B + (b * entries + s) * wide
                        values = part[t, at : at + wide]
                        for x in range(wide):
                            live[x] |= values[x] != 0
                for x in range(wide):
                    units[t, b, n] = i + x  # stays if the unit is active, is written over if not
                    mine[i + x] = n if live[x] else -1
                    n += live[x]
            count[t, b] = n
            for x in range(n + 1, N):  # what was there before
                units[t, b, x] = 0
