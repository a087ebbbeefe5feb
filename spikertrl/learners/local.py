"""The linearisation of one step as matrices, for learners that propagate factors instead of rows.

With all states of all units as one vector of length R and all messages of length N:

    eps(t) = own(t) eps(t-1) + sum_d J_d(t) e(t-d) + immediate(t),    e(t) = out(t) eps(t) + q(t)

``own`` is block-diagonal (one S x S block per unit) and ``J_d`` (R, N) holds the effective couplings of the synapses with
delay d.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numba import njit

from ..tape import Tape
from ..wiring import PHI, Wiring


@dataclass(frozen=True, eq=False)
class Index:
    """Places in the flat tape arrays, for a batch of B lanes; all (B, ...) int64."""

    A: np.ndarray  # (B, R, S_max): entry (row, r-th state of the same unit)
    A_state: np.ndarray  # (R, S_max) the state that it multiplies, R where there is none
    o: np.ndarray  # (B, R)
    unit: np.ndarray  # (R) unit of each state
    column_B: np.ndarray  # (B, S_max, C): dF/dI (or dF/dphi) of state s of the column's unit
    column_state: np.ndarray  # (S_max, C) that state, R where there is none
    is_phi: np.ndarray  # (C) bool
    phi: np.ndarray  # columns that are trainable unit parameters
    phi_q: np.ndarray  # (B, n_phi) dO/dphi
    delays: np.ndarray  # distinct delays between units


@functools.lru_cache(maxsize=16)
def index(w: Wiring, batch: int) -> Index:
    """Index tables of a network; made once per network and batch."""
    lanes = np.arange(batch)[:, None]
    state_unit = np.repeat(np.arange(w.n_units), w.S)
    s_of = np.arange(w.n_states) - w.first_state[state_unit]
    most = w.max_states

    def place(start: np.ndarray, count: np.ndarray, unit: np.ndarray, component: np.ndarray) -> np.ndarray:
        return start[unit] * batch + (lanes * count[unit] + component) * w.size[unit] + w.local[unit]

    count = w.S[state_unit]
    entries = [s_of * count + np.minimum(r, count - 1) for r in range(most)]
    A = np.stack([place(w.start_A, w.S**2, state_unit, entry) for entry in entries], -1)
    A_state = np.stack([np.where(r < count, w.first_state[state_unit] + r, w.n_states) for r in range(most)], -1)
    k, phi = w.col_unit, w.col_source == PHI
    rows = []
    for s in range(most):
        component = np.minimum(s, w.S[k] - 1)
        through_port = place(w.start_B, w.S * w.G, k, component * w.G[k] + np.where(phi, 0, w.col_port))
        direct = place(w.start_P, w.S * w.Q, k, component * w.Q[k] + np.where(phi, w.col_port, 0))
        rows.append(np.where(phi, direct, through_port))
    column_state = np.stack([np.where(s < w.S[k], w.first_state[k] + s, w.n_states) for s in range(most)])
    columns = np.flatnonzero(phi)
    phi_q = place(w.start_q, w.Q, k[columns], w.col_port[columns])
    o, column_B = place(w.start_o, w.S, state_unit, s_of), np.stack(rows, 1)
    return Index(A, A_state, o, state_unit, column_B, column_state, phi, columns, phi_q, np.unique(w.pair_delay))


def column_gains(tape: Tape, table: Index, t: int) -> np.ndarray:
    """d(state)/d(input of the column), (B, S_max, C), zero where the unit has fewer states."""
    if not tape.P.shape[1]:
        found = tape.B[t][table.column_B]
    else:
        where = np.where(table.is_phi, 0, table.column_B)
        found = np.where(table.is_phi, tape.P[t][np.where(table.is_phi, table.column_B, 0)], tape.B[t][where])
    return found * (table.column_state < len(table.unit))


def column_values(w: Wiring, tape: Tape, t: int) -> np.ndarray:
    """What multiplies each parameter at step t: the delayed message of its source, or 1; (B, C)."""
    source = np.maximum(w.col_source, 0)
    values = tape.messages[tape.history + t - w.col_delay, :, source].T
    return np.where(w.col_source < 0, w.dtype.type(1), values)


def own_path(tape: Tape, table: Index, t: int, vectors: np.ndarray) -> np.ndarray:
    """own(t) applied to vectors (B, R, ...)."""
    A = tape.A[t][table.A]
    padded = np.concatenate((vectors, np.zeros_like(vectors[:, :1])), 1)
    shape = A.shape[:2] + (1,) * (vectors.ndim - 2)
    found = np.zeros_like(vectors)
    for r in range(A.shape[2]):
        found += A[:, :, r].reshape(shape) * padded[:, table.A_state[:, r]]
    return found


def messages(tape: Tape, table: Index, w: Wiring, t: int, vectors: np.ndarray) -> np.ndarray:
    """out(t) applied to vectors (B, R, ...): (B, N, ...)."""
    o = tape.o[t][table.o]
    scaled = o.reshape(o.shape + (1,) * (vectors.ndim - 2)) * vectors
    if w.n_states == w.n_units:
        return scaled
    return np.add.reduceat(scaled, w.first_state, axis=1)


def couplings(w: Wiring, tape: Tape, t: int, delay: int) -> np.ndarray:
    """J_d(t) as a dense matrix per lane, (B, R, N): what a message of d steps ago does to every state."""
    found = np.zeros((tape.batch, w.n_states, w.n_units), w.dtype)
    tables = (w.pair_ptr, w.pair_pre, w.pair_delay, w.pair_syn, w.syn_port, w.S, w.G, w.size, w.local, w.start_B, w.first_state)
    _fill(tape.B[t], tape.theta[w.syn_theta], delay, *tables, found)
    return found


@njit(cache=True)
def _fill(tape_B, weight, delay, pair_ptr, pair_pre, pair_delay, pair_syn, syn_port, S, G, size, local, start_B, first_state,
          found):  # fmt: skip
    B = found.shape[0]
    for b in range(B):
        for i in range(len(S)):
            base = start_B[i] * B + b * S[i] * G[i] * size[i] + local[i]
            for e in range(pair_ptr[i], pair_ptr[i + 1]):
                if pair_delay[e] == delay:
                    for s in range(S[i]):
                        for c in range(pair_syn[e], pair_syn[e + 1]):
                            gain = tape_B[base + (s * G[i] + syn_port[c]) * size[i]]
                            found[b, first_state[i] + s, pair_pre[e]] += gain * weight[c]
