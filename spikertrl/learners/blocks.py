"""The influence in blocks: layout, state, and one update for exact RTRL, SnAp and e-prop (loops in ``block_kernel``)."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numba
import numpy as np

from ..tape import Tape
from ..threads import threads_for
from ..wiring import Wiring, reachable
from . import block_kernel as kernel
from .base import Signal, add_readout_gradient, learning_signal, readout_weights
from .vector import lanes, padded

_GROUP_COLUMNS, _GROUP_BYTES = 1024, 192 << 10  # a block's columns and size, so that it stays in the cache
_COUPLING_BYTES = 32 << 20  # how much of the tape's couplings is laid out at a time


@dataclass
class BlockState:
    """Influence in blocks; all arrays are advanced in place.

    ``counts``: multiply-adds done since ``init`` (propagation, immediate terms, messages, readout).
    """

    wiring: Wiring
    batch: int
    hops: int | None
    group: np.ndarray  # (groups + 1) first unit of each group
    reach_ptr: np.ndarray  # (groups + 1)
    reach: np.ndarray  # units reached by each group
    row_of: np.ndarray  # first row of each reached unit inside its block
    first_M: np.ndarray  # (groups + 1) elements of M before each block, per lane
    first_E: np.ndarray
    first_Z: np.ndarray
    stride: np.ndarray  # (groups) padded length of a row
    M: np.ndarray
    E: np.ndarray
    slot: np.ndarray
    row_live: np.ndarray
    position: np.ndarray  # (B, C) packed place of each column (in the order of _column_order), -1 while not alive
    width: np.ndarray  # (B, groups) columns alive
    Z: np.ndarray
    sent: np.ndarray  # (D, B, N) int32: slots of the gradient-active units of the last steps, else -1
    o: np.ndarray  # last step's dO/ds and dO/dphi, to read the message's influence
    q: np.ndarray
    clock: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(4, np.int64))
    lane_steps: int = 0


def init_blocks(w: Wiring, batch: int, hops: int | None) -> BlockState:
    """Blocks whose rows are the units within ``hops`` connections (None: all reachable ones)."""
    group, reach_ptr, reach = _layout(w, hops)
    states = w.S[reach]
    ends = np.cumsum(states)
    before = np.concatenate(([0], ends))[reach_ptr]  # states before each block
    row_of = ends - states - np.repeat(before[:-1], np.diff(reach_ptr))
    stride = np.asarray(padded(np.diff(w.col_ptr[group]), w.dtype))
    first_M = np.concatenate(([0], np.cumsum(np.diff(before) * stride)))
    first_E = np.concatenate(([0], np.cumsum(np.diff(reach_ptr) * stride)))
    first_Z = np.concatenate(([0], np.cumsum(stride)))
    D, leaky = max(w.row_history, 1), int((w.decay > 0).sum())
    return BlockState(
        w, batch, hops, group, reach_ptr, reach, row_of, first_M, first_E, first_Z, stride,
        M=np.zeros(batch * first_M[-1], w.dtype),
        E=np.zeros(batch * D * first_E[-1], w.dtype),
        slot=np.full(batch * D * len(reach), -1, np.int32),
        row_live=np.zeros(batch * len(reach), bool),
        position=np.full((batch, w.n_recurrent), -1, np.int32),
        width=np.zeros((batch, len(stride)), np.int32),
        Z=np.zeros(batch * leaky * first_Z[-1], w.dtype),
        sent=np.full((D, batch, w.n_units), -1, np.int32),
        o=np.zeros(int(w.S.sum()) * batch, w.dtype),
        q=np.zeros(int(w.Q.sum()) * batch, w.dtype),
    )  # fmt: skip


@functools.lru_cache(maxsize=8)
def _layout(w: Wiring, hops: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(group, reach_ptr, reach); a wiring never changes, so that the search is done once."""
    return _groups(w, *reachable(w, hops))


@functools.lru_cache(maxsize=8)
def _column_order(w: Wiring, hops: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Columns of every group sorted by source, so that a silent source is skipped with all its columns.

    Returns (order, placed, run_ptr, runs): order[x] is the column at sorted place x, placed its inverse; group g has the runs
    run_ptr[g] .. run_ptr[g+1]-1 of equal (source, delay), run r covers the sorted places runs[r] .. runs[r+1]-1.
    """
    group = np.searchsorted(_layout(w, hops)[0], w.col_unit, side="right") - 1
    order = np.lexsort((w.col_unit, w.col_delay, w.col_source, group))
    keys = np.stack((group[order], w.col_source[order], w.col_delay[order]))
    first = np.flatnonzero(np.append(True, (np.diff(keys) != 0).any(0)))[: len(order)]
    run_ptr = np.searchsorted(group[order][first], np.arange(len(_layout(w, hops)[0])))
    return order, np.argsort(order), run_ptr, np.append(first, len(order))


def _groups(w: Wiring, reach_ptr: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join consecutive units that reach the same rows while their block stays small enough for the cache."""
    starts, lists = [0], [reach[: reach_ptr[1]]]
    for k in range(1, w.n_units):
        mine = reach[reach_ptr[k] : reach_ptr[k + 1]]
        columns = w.col_ptr[k + 1] - w.col_ptr[starts[-1]]
        small = columns <= _GROUP_COLUMNS and columns * int(w.S[mine].sum()) * w.dtype.itemsize <= _GROUP_BYTES
        if not (small and len(mine) == len(lists[-1]) and np.array_equal(mine, lists[-1])):
            starts.append(k)
            lists.append(mine)
    pointer = np.concatenate(([0], np.cumsum([len(x) for x in lists])))
    return np.array([*starts, w.n_units], np.int64), pointer.astype(np.int64), np.concatenate(lists)


@functools.lru_cache(maxsize=32)
def _tasks(groups: int, batch: int, threads: int) -> tuple[np.ndarray, int]:
    """(group, lane chunk, first lane, last lane) of every parallel task, and the number of lane chunks."""
    chunks = min(batch, max(1, -(-4 * threads // groups)))
    edges = np.linspace(0, batch, chunks + 1).astype(np.int64)
    return np.array([(g, c, edges[c], edges[c + 1]) for g in range(groups) for c in range(chunks)], np.int64), chunks


def update_blocks(
    state: BlockState, tape: Tape, signal: Signal, *, synaptic: bool = True, feedback: np.ndarray | None = None
) -> np.ndarray:
    """Advance all blocks over a tape and return the gradient.

    ``synaptic=False`` leaves out what arrives through synapses (e-prop); ``feedback`` (O, N) takes the place of the readout
    weights in the learning signal.
    """
    with threads_for(_work(state, tape)):
        return _update(state, tape, signal, synaptic, feedback)


def _update(state: BlockState, tape: Tape, signal: Signal, synaptic: bool, feedback: np.ndarray | None) -> np.ndarray:
    w, batch = state.wiring, tape.batch
    _reset(state, tape.reset)
    D = len(state.sent)
    count, units, slots = tape.active(w)
    sent = np.concatenate((state.sent, slots))
    leaky = np.flatnonzero(w.decay > 0)
    weights = readout_weights(w, tape.theta) if feedback is None else feedback
    direct = np.ascontiguousarray(learning_signal(w, signal, weights))
    tasks, chunks = _tasks(len(state.stride), state.batch, numba.get_num_threads())
    columns, counts = np.zeros((chunks, w.n_recurrent), w.dtype), np.zeros((len(tasks), 4), np.int64)
    most = max(w.n_units, w.max_states, int(np.diff(w.pair_ptr).max(initial=0)))
    step = max(1, _COUPLING_BYTES // max(1, batch * len(w.pair_pre) * (16 + 4 * w.max_states)))
    for t0 in range(0, tape.tau, step):
        t1 = min(t0 + step, tape.tau)
        past = count[t0 - 1 : t0] if t0 else (state.sent >= 0).sum(2, dtype=np.int32)
        coupled = _couplings(w, tape, sent, D, t0, t1, synaptic)
        kernel.sweep(
            tasks, t0, t1, batch, state.clock, D, lanes(w.dtype), most, w.S, w.G, w.Q, w.size, w.local, w.hears, w.start_A,
            w.start_B, w.start_P, w.start_o, w.start_q, w.memoryless, tape.A, tape.B, tape.P, tape.o, tape.q, w.col_ptr,
            w.col_unit, w.col_source, w.col_delay, w.col_port, *_column_order(w, state.hops), state.group, state.reach_ptr,
            state.reach, state.row_of, state.stride, state.first_M, state.first_E, state.first_Z, state.M, state.E, state.slot,
            state.row_live, state.position, state.width, state.Z, tape.messages, tape.history, count, units, past,
            len(w.pair_pre), w.pair_ptr, *coupled, direct, leaky, w.decay[leaky].astype(w.dtype), weights, signal.dz, columns,
            counts,
        )  # fmt: skip
    gradient = np.zeros(w.n_parameters, w.dtype)
    gradient[w.col_theta] = columns.sum(0)
    state.sent = sent[len(sent) - D :].copy()
    state.clock = (state.clock + tape.tau) % D
    state.o, state.q = tape.o[-1].copy(), tape.q[-1].copy()
    state.counts += counts.sum(0)
    state.lane_steps += batch * tape.tau
    add_readout_gradient(w, tape, signal, gradient)
    return gradient


def column_positions(state: BlockState, lane: int) -> np.ndarray:
    """(C) place of every column of the wiring in its block's rows, -1 while not alive."""
    return state.position[lane, _column_order(state.wiring, state.hops)[1]]


def _work(state: BlockState, tape: Tape) -> float:
    """A guess at the multiply-adds of a tape: live block elements times the share of couplings in use."""
    w = state.wiring
    active = float(tape.active(w)[0].mean()) / w.n_units
    return len(state.M) * tape.tau * (1.0 + active * len(w.pair_pre) / w.n_units)


def _couplings(
    w: Wiring, tape: Tape, sent: np.ndarray, D: int, t0: int, t1: int, synaptic: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(ends, pre, slot, lag, coef) for steps t0..t1-1; see ``block_kernel.couple``."""
    rows, pairs = (t1 - t0) * tape.batch, len(w.pair_pre)
    if not synaptic or not pairs:
        ends, none = (np.arange(rows) * pairs)[:, None] + w.pair_ptr[:-1], np.zeros(0, np.int32)
        return ends, none, none, none, np.zeros((w.max_states, 0), w.dtype)
    weight = np.zeros(int(w.weight_ptr[-1]), w.dtype)
    weight[w.syn_place] = tape.theta[w.syn_theta]
    ends, coef = np.empty((rows, w.n_units), np.int64), np.empty((w.max_states, rows * pairs), w.dtype)
    pre, slot, lag = (np.empty(rows * pairs, np.int32) for _ in range(3))
    tables = (w.pair_ptr, w.pair_pre, w.pair_delay, w.S, w.G, w.size, w.local, w.start_B)
    kernel.couple(tape.B, weight, w.weight_ptr, w.heard_ports, sent, D, *tables, t0, t1, tape.batch, ends, pre, slot, lag, coef)
    return ends, pre, slot, lag, coef


def _reset(state: BlockState, which: np.ndarray) -> None:
    """Forget the given which: no column and no row alive, nothing in flight."""
    if not which.any():
        return
    D = len(state.sent)
    for first, n in zip(state.reach_ptr[:-1], np.diff(state.reach_ptr), strict=True):
        state.row_live[state.batch * first : state.batch * (first + n)].reshape(state.batch, n)[which] = False
        state.slot[state.batch * D * first : state.batch * D * (first + n)].reshape(state.batch, D * n)[which] = -1
    state.position[which] = -1
    state.width[which] = 0
    state.sent[:, which] = -1
