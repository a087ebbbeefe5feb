"""The influence that a state holds, as one dense matrix: for probes, plots and tests."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ...network.wiring import PHI, Wiring
from .local.layout import lane_groups, table


class OwnRows(Protocol):
    """What is read of a ``LocalState``."""

    wiring: Wiring
    batch: int
    M: np.ndarray
    o: np.ndarray
    q: np.ndarray


class InBlocks(OwnRows, Protocol):
    """What is read of a ``BlockState``."""

    row_live: np.ndarray
    position: np.ndarray

    @property
    def layout(self) -> Any:
        """A ``blocks.layout.Layout``."""
        ...


def checked(of: str) -> str:
    """What rows are asked for: "state" or "message", or ValueError."""
    if of not in ("state", "message"):
        raise ValueError(f"influence: of must be 'state' or 'message', got {of!r}")
    return of


def blocks(state: InBlocks, lane: int, of: str) -> np.ndarray:
    """One lane of the influence in blocks, (rows, columns of the wiring)."""
    checked(of)
    w, B, laid = state.wiring, state.batch, state.layout
    G = np.zeros((w.n_states, w.n_recurrent), w.dtype)
    for g in range(len(laid.stride)):
        columns = slice(w.col_ptr[laid.group[g]], w.col_ptr[laid.group[g + 1]])
        first, last = laid.reach_ptr[g], laid.reach_ptr[g + 1]
        block = state.M[B * laid.first_M[g] : B * laid.first_M[g + 1]].reshape(B, -1, max(laid.stride[g], 1))[lane]
        live = state.row_live[B * first : B * last].reshape(B, -1)[lane]
        places = column_positions(state, lane)[columns]
        there = np.flatnonzero(places >= 0)
        for u, i in enumerate(laid.reach[first:last]):
            if live[u]:
                rows = slice(laid.row_of[first + u], laid.row_of[first + u] + w.S[i])
                G[w.first_state[i] : w.first_state[i] + w.S[i], columns.start + there] = block[rows][:, places[there]]
    return G if of == "state" else _message_rows(state, G, lane)


def _message_rows(state: OwnRows, G: np.ndarray, lane: int) -> np.ndarray:
    w, B = state.wiring, state.batch
    E = np.zeros((w.n_units, w.n_recurrent), w.dtype)
    for i in range(w.n_units):
        for s in range(w.S[i]):
            E[i] += state.o[w.start_o[i] * B + (lane * w.S[i] + s) * w.size[i] + w.local[i]] * G[w.first_state[i] + s]
        own = np.arange(w.col_ptr[i], w.col_ptr[i + 1])
        for c in own[w.col_source[own] == PHI]:
            E[i, c] += state.q[w.start_q[i] * B + (lane * w.Q[i] + w.col_port[c]) * w.size[i] + w.local[i]]
    return E


def column_positions(state: InBlocks, lane: int) -> np.ndarray:
    """(C) place of every column of the wiring in its block's rows, -1 while not alive."""
    blocks = state.layout
    first = state.position[lane, blocks.run_of]
    return np.where(first >= 0, first + blocks.placed - blocks.runs[blocks.run_of], -1)


def own_rows(state: OwnRows, lane: int, of: str) -> np.ndarray:
    """One lane of the influence of units on themselves alone, (rows, columns of the wiring)."""
    rows = _own_rows(state, lane)
    return rows if checked(of) == "state" else _message_rows(state, rows, lane)


def _own_rows(state: OwnRows, lane: int) -> np.ndarray:
    w, at = state.wiring, table(state.wiring)
    groups, width = lane_groups(w, state.batch)
    found, own = (
        np.zeros((w.n_states, w.n_recurrent), w.dtype),
        state.M.reshape(groups, -1, width)[lane // width, :, lane % width],
    )
    for k in range(w.n_units):
        rows = slice(w.first_state[k], w.first_state[k] + w.S[k])
        columns = at.order[at.first_C[k] : at.first_C[k + 1]]
        found[rows, columns] = own[at.first_M[k] : at.first_M[k + 1]].reshape(w.S[k], -1)
    return found
