"""Tape: what a learner may see of tau steps. Values, events and the local linearisation; no equations, no cells."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numba import njit

from .wiring import Wiring

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
    _active: tuple[np.ndarray, np.ndarray, np.ndarray] | None = field(default=None, init=False, repr=False)

    def copy(self) -> Tape:
        """An independent copy, for learners that look back."""
        arrays = {name: getattr(self, name).copy() for name in ("theta", "messages", "z", "reset", *LINEAR)}
        traces = {name: {k: v.copy() for k, v in getattr(self, name).items()} for name in ("traces", "trace_one")}
        return replace(self, **arrays, **traces)

    def units(self, wiring: Wiring) -> np.ndarray:
        """Messages of the units, (tau, B, N)."""
        return self.messages[self.history :, :, wiring.n_channels :]

    def active(self, wiring: Wiring) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gradient-active units: (count (tau, B), units (tau, B, N) packed, slot (tau, B, N) or -1). They alone send a row."""
        if self._active is None:
            shape = (self.tau, self.batch, wiring.n_units)
            found = (np.zeros(shape[:2], np.int32), np.zeros(shape, np.int32), np.empty(shape, np.int32))
            _list_active(self.o, self.q, wiring.S, wiring.Q, wiring.start_o, wiring.start_q, wiring.size, wiring.local, *found)
            self._active = found
        return self._active


@njit(cache=True)
def _list_active(o, q, S, Q, start_o, start_q, size, local, count, units, slot):
    B = count.shape[1]
    for t in range(o.shape[0]):
        for b in range(B):
            n = 0
            for i in range(len(S)):
                live = False
                for s in range(S[i]):
                    live |= o[t, start_o[i] * B + (b * S[i] + s) * size[i] + local[i]] != 0
                for k in range(Q[i]):
                    live |= q[t, start_q[i] * B + (b * Q[i] + k) * size[i] + local[i]] != 0
                slot[t, b, i] = n if live else -1
                if live:
                    units[t, b, n] = i
                    n += 1
            count[t, b] = n
