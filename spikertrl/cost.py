"""What learning really did: multiply-adds counted in the loops, bytes held, zeros of the influence; beside dense RTRL.

Words follow NeuroBench where it has one: an *effective MAC* is a multiply-accumulate with nonzero operands; activation and
connection sparsity are shares of zeros. All figures are counts of operations carried out, not estimates from densities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .learners.engines.blocks.state import BlockState, column_positions
from .learners.engines.influence import catch_up
from .learners.engines.kronecker.update import KroneckerState
from .learners.engines.local.update import LocalState, local_rows
from .learners.eprop import EPropState
from .learners.random_paths import PathsState
from .learners.textbook import DenseState
from .learners.uoro import RankOneState
from .network.wiring import PHI


@dataclass(frozen=True)
class Cost:
    """Operations and memory of a learner's influence since it was initialised.

    ``macs`` = propagation + immediate + messages + readout (multiply-adds done); ``macs_dense``: the same work by the textbook
    matrix with every mask filled, n^2 p a step; ``bytes_held``: influence really touched; ``bytes_dense``: the full matrix.
    """

    propagation: int
    immediate: int
    messages: int
    readout: int
    macs_dense: int
    bytes_held: int
    bytes_dense: int
    lane_steps: int

    @property
    def macs(self) -> int:
        return self.propagation + self.immediate + self.messages + self.readout

    @property
    def saving(self) -> float:
        """How many times fewer multiply-adds than dense RTRL."""
        return self.macs_dense / self.macs if self.macs else float("inf")


def cost_of(state: Any) -> Cost | None:
    """Cost of a learner's state, or None for learners that do not count."""
    if isinstance(state, EPropState):
        return cost_of(state.traces)
    if isinstance(state, PathsState):
        return cost_of(state.blocks)
    if isinstance(state, (KroneckerState, RankOneState)):
        return _factored(state)
    if isinstance(state, LocalState):
        return _cost(state, state.batch, state.M.nbytes + state.F.nbytes)
    if not isinstance(state, BlockState):
        return None
    rows = np.diff(state.layout.first_M) // np.maximum(state.layout.stride, 1)
    held = int((state.width.astype(np.int64) * rows).sum()) * state.wiring.dtype.itemsize
    return _cost(state, state.batch, held + state.transition_bytes)


def _factored(state: KroneckerState | RankOneState) -> Cost:
    """Cost of factors instead of an influence matrix."""
    if isinstance(state, RankOneState):
        return _cost(state, len(state.s), sum(a.nbytes for a in (state.s, state.e, state.z, state.side)))
    return _cost(state, state.sent.shape[1], sum(a.nbytes for f in state.factors for a in (f.u, f.A, f.E, f.Z)))


def _cost(state: BlockState | LocalState | KroneckerState | RankOneState, batch: int, held: int) -> Cost:
    """What the state has counted, beside what the textbook matrix would have done and held."""
    w = state.wiring
    propagation, immediate, messages, readout = (int(c) for c in state.counts)
    elements = w.n_states * w.n_filled
    return Cost(
        propagation=propagation,
        immediate=immediate,
        messages=messages,
        readout=readout,
        macs_dense=(w.n_states + 1) * elements * state.lane_steps,
        bytes_held=held,
        bytes_dense=batch * elements * w.dtype.itemsize,
        lane_steps=state.lane_steps,
    )


@dataclass(frozen=True)
class Zeros:
    """Zeros of an influence matrix restricted to some columns, as shares of the full (unmasked) matrix, mean over lanes.

    ``all``: every zero; of these ``mask``: columns that a mask removed; ``columns``: columns not masked but zero in every row
    (source silent so far); ``rows``: rows zero in every remaining column (gradient-silent units); ``scattered``: the rest.
    """

    all: float
    mask: float
    columns: float
    rows: float
    scattered: float


def influence(state: BlockState | LocalState | DenseState, lane: int = 0, of: str = "state") -> np.ndarray:
    """The influence of one lane as a dense matrix over theta's recurrent parameters.

    Parameters
    ----------
    state : state of RTRL or SnAp
    lane : int
    of : {"state", "message"}
        Rows: dstate/dtheta (all states), or dmessage/dtheta (one row per unit, as the sparse-RTRL paper counts).

    Online steps of RTRL that wait for others are taken first, in the state itself; what follows differs by rounding alone.

    Returns
    -------
    ndarray (rows, columns), columns in the order of ``wiring.col_theta``
    """
    if of not in ("state", "message"):
        raise ValueError(f"influence: of must be 'state' or 'message', got {of!r}")
    if isinstance(state, DenseState):
        return state.G[lane] if of == "state" else state.E[0, lane]
    if isinstance(state, LocalState):
        rows = local_rows(state, lane)
        return rows if of == "state" else _message_rows(state, rows, lane)
    catch_up(state)
    w, B, blocks = state.wiring, state.batch, state.layout
    G = np.zeros((w.n_states, w.n_recurrent), w.dtype)
    for g in range(len(blocks.stride)):
        columns = slice(w.col_ptr[blocks.group[g]], w.col_ptr[blocks.group[g + 1]])
        first, last = blocks.reach_ptr[g], blocks.reach_ptr[g + 1]
        block = state.M[B * blocks.first_M[g] : B * blocks.first_M[g + 1]].reshape(B, -1, max(blocks.stride[g], 1))[lane]
        live = state.row_live[B * first : B * last].reshape(B, -1)[lane]
        places = column_positions(state, lane)[columns]
        there = np.flatnonzero(places >= 0)
        for u, i in enumerate(blocks.reach[first:last]):
            if live[u]:
                rows = slice(blocks.row_of[first + u], blocks.row_of[first + u] + w.S[i])
                G[w.first_state[i] : w.first_state[i] + w.S[i], columns.start + there] = block[rows][:, places[there]]
    return G if of == "state" else _message_rows(state, G, lane)


def _message_rows(state: BlockState | LocalState, G: np.ndarray, lane: int) -> np.ndarray:
    w, B = state.wiring, state.batch
    E = np.zeros((w.n_units, w.n_recurrent), w.dtype)
    for i in range(w.n_units):
        for s in range(w.S[i]):
            E[i] += state.o[w.start_o[i] * B + (lane * w.S[i] + s) * w.size[i] + w.local[i]] * G[w.first_state[i] + s]
        own = np.arange(w.col_ptr[i], w.col_ptr[i + 1])
        for c in own[w.col_source[own] == PHI]:
            E[i, c] += state.q[w.start_q[i] * B + (lane * w.Q[i] + w.col_port[c]) * w.size[i] + w.local[i]]
    return E


def zeros(net: Any, state: BlockState | LocalState | DenseState, projection: str | None = None, of: str = "message") -> Zeros:
    """Where the zeros of the influence are, over the parameters of one projection (default: all projections between units).

    Masked weights count as zero columns, as in Subramoney 2023.
    """
    w = net.wiring
    chosen = [p for p in net.projections if (p.name == projection if projection else p.source in net.populations)]
    if not chosen:
        raise ValueError(f"zeros: no projection {projection!r}; projections: {[p.name for p in net.projections]}")
    full = sum(p.shape[0] * p.shape[1] * len(p.ports) for p in chosen)
    wanted = np.zeros(w.n_parameters, bool)
    for p in chosen:
        for port in p.ports:
            wanted[w.layout[p.name, port][0]] = True
    there = wanted[w.col_theta]
    masked = full - int(there.sum())
    batch = state.G.shape[0] if isinstance(state, DenseState) else state.batch
    shares = [_zero_shares(influence(state, lane, of)[:, there] != 0, masked) for lane in range(batch)]
    every, mask, columns, rows, scattered = (float(x) for x in sum(shares, np.zeros(5)) / batch)
    return Zeros(every, mask, columns, rows, scattered)


def _zero_shares(M: np.ndarray, masked: int) -> np.ndarray:
    """Shares of the five kinds of zeros of a lane; M: where the influence is not zero, ``masked`` columns left out of it."""
    columns = ~M.any(0)
    dead_rows = ~M[:, ~columns].any(1)
    zero_mask = masked * len(M)
    zero_columns = int(columns.sum()) * len(M)
    zero_rows = int(dead_rows.sum()) * int((~columns).sum())
    every = zero_mask + int((~M).sum())
    kinds = [every, zero_mask, zero_columns, zero_rows, every - zero_mask - zero_columns - zero_rows]
    return np.array(kinds) / (len(M) * (masked + M.shape[1]))
