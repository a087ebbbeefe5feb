"""Textbook RTRL: the whole influence matrix, every row and column, nothing skipped. The reference for all others.

    G(t) = A(t) G(t-1) + sum_d B(t) Theta_d E(t-d) + F(t),    E(t) = o(t) G(t) + q(t)

with G (B, states, parameters) and E (B, units, parameters) in numpy. Cost n^2 p a step and lane; use it on small networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..network.wiring import BIAS, PHI, Wiring
from ..resources import require
from ..tape import Tape
from .base import Signal
from .readout import add_readout_gradient, learning_signal, readout_weights


@dataclass
class DenseState:
    """G (B, R, P); E: rows in flight (delay, B, N, P), newest first; Z (B, O, P): the readouts' rows."""

    wiring: Wiring
    G: np.ndarray
    E: np.ndarray
    Z: np.ndarray
    counts = None  # not counted: the reference of what is counted elsewhere
    lane_steps = None

    @property
    def batch(self) -> int:
        """Lanes."""
        return len(self.G)

    def bytes_held(self) -> int:
        """Bytes of the matrix, of rows in flight and of the readouts' rows."""
        return self.G.nbytes + self.E.nbytes + self.Z.nbytes

    def influence(self, lane: int = 0, of: str = "state") -> np.ndarray:
        """One lane's influence, see ``cost.influence``."""
        if of not in ("state", "message"):
            raise ValueError(f"influence: of must be 'state' or 'message', got {of!r}")
        return self.G[lane] if of == "state" else self.E[0, lane]


def nbytes(wiring: Wiring, batch: int) -> int:
    """What ``init`` will allocate."""
    rows = wiring.n_states + max(wiring.row_history, 1) * wiring.n_units + wiring.n_outputs
    return batch * rows * wiring.n_recurrent * wiring.dtype.itemsize


def init(wiring: Wiring, batch: int) -> DenseState:
    """All zero.

    Raises
    ------
    NotEnoughMemory
        If it does not fit.
    """
    what = f"textbook RTRL ({wiring.n_states} states, {wiring.n_recurrent} parameters, batch {batch})"
    require(nbytes(wiring, batch), what, lambda free: "use RTRL(), which keeps only what can be nonzero")
    P, dtype = wiring.n_recurrent, wiring.dtype
    rows = max(wiring.row_history, 1)
    return DenseState(wiring, np.zeros((batch, wiring.n_states, P), dtype), np.zeros((rows, batch, wiring.n_units, P), dtype),
                      np.zeros((batch, wiring.n_outputs, P), dtype))  # fmt: skip


def update(state: DenseState, tape: Tape, signal: Signal) -> np.ndarray:
    """Advance over the tape, step by step."""
    w = state.wiring
    gradient = np.zeros(w.n_parameters, w.dtype)
    for array in (state.G, state.Z):
        array[tape.reset] = 0.0
    state.E[:, tape.reset] = 0.0
    weights = readout_weights(w, tape.theta)
    direct = learning_signal(w, signal, weights)
    decay = w.decay.astype(w.dtype)[None, :, None]
    leaky = w.decay > 0
    for t in range(tape.tau):
        state.G = _advance(state, tape, t)
        E = _messages(w, tape, t, state.G)
        state.E = np.concatenate((E[None], state.E[:-1]))
        state.Z = decay * state.Z + np.einsum("on,bnp->bop", weights, E)
        columns = np.einsum("bn,bnp->p", direct[t], E) + np.einsum("bo,bop->p", signal.dz[t][:, leaky], state.Z[:, leaky])
        gradient[w.col_theta] += columns
    add_readout_gradient(w, tape, signal, gradient)
    return gradient


def entry(
    w: Wiring, flat: np.ndarray, t: int, start: np.ndarray, count: np.ndarray, unit: int, component: int, batch: int
) -> np.ndarray:
    """One component of one unit for all lanes, (B,), out of a flat tape array."""
    first = start[unit] * batch + component * w.size[unit] + w.local[unit]
    return flat[t, first + np.arange(batch) * count[unit] * w.size[unit]]


def _advance(state: DenseState, tape: Tape, t: int) -> np.ndarray:
    """G(t) from G(t-1) and the rows in flight."""
    w, batch = state.wiring, tape.batch
    new = np.zeros_like(state.G)
    values = tape.messages
    for i in range(w.n_units):
        S, G, first = w.S[i], w.G[i], w.first_state[i]
        arriving = np.zeros((batch, G, state.G.shape[2]), w.dtype)  # d I_ig / d theta
        for e in range(w.pair_ptr[i], w.pair_ptr[i + 1]):
            row = state.E[w.pair_delay[e] - 1][:, w.pair_pre[e]]
            for c in range(w.pair_syn[e], w.pair_syn[e + 1]):
                arriving[:, w.syn_port[c]] += tape.theta[w.syn_theta[c]] * row
        own = slice(w.col_ptr[i], w.col_ptr[i + 1])
        for c in range(own.start, own.stop):
            if w.col_source[c] == BIAS:
                arriving[:, w.col_port[c], c] += 1.0
            elif w.col_source[c] >= 0:
                arriving[:, w.col_port[c], c] += values[tape.history + t - w.col_delay[c], :, w.col_source[c]]
        for s in range(S):
            row = new[:, first + s]
            for r in range(S):
                row += entry(w, tape.A, t, w.start_A, w.S**2, i, s * S + r, batch)[:, None] * state.G[:, first + r]
            for g in range(G):
                row += entry(w, tape.B, t, w.start_B, w.S * w.G, i, s * G + g, batch)[:, None] * arriving[:, g]
            for c in range(own.start, own.stop):
                if w.col_source[c] == PHI:
                    row[:, c] += entry(w, tape.P, t, w.start_P, w.S * w.Q, i, s * w.Q[i] + w.col_port[c], batch)
    return new


def _messages(w: Wiring, tape: Tape, t: int, G: np.ndarray) -> np.ndarray:
    """E(t): one row per unit."""
    batch = tape.batch
    E = np.zeros((batch, w.n_units, G.shape[2]), w.dtype)
    for i in range(w.n_units):
        for s in range(w.S[i]):
            E[:, i] += entry(w, tape.o, t, w.start_o, w.S, i, s, batch)[:, None] * G[:, w.first_state[i] + s]
        for c in range(w.col_ptr[i], w.col_ptr[i + 1]):
            if w.col_source[c] == PHI:
                E[:, i, c] += entry(w, tape.q, t, w.start_q, w.Q, i, w.col_port[c], batch)
    return E
