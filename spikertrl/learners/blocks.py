"""The influence in blocks: layout, state, and one update for exact RTRL, SnAp and e-prop (loops in ``block_kernel``)."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import NamedTuple

import numba
import numpy as np

from ..tape import Tape
from ..threads import threads_for
from ..wiring import Wiring, reachable
from . import block_kernel as kernel
from .base import Signal, add_readout_gradient, learning_signal, readout_weights
from .vector import PANEL, lanes, padded

_GROUP_COLUMNS, _GROUP_BYTES = 1024, 192 << 10  # a block's columns and size, so that it stays in the cache
_ALL_TO_ALL = 0.5  # share of connected pairs above which the couplings are a full matrix and the rows a product of matrices
_ROW_OVERHEAD = 48  # columns that would cost as much as handling one row
_COUPLING_BYTES = 32 << 20  # how much of the tape's couplings is laid out at a time


class _Couplings(NamedTuple):
    """Entries of every unit in every lane and step: their ends, source units, slots, delays, and values (states, entries).

    ``pre`` and ``lag`` are empty where rows arrive by their slot alone.
    """

    ends: np.ndarray
    pre: np.ndarray
    slot: np.ndarray
    lag: np.ndarray
    coef: np.ndarray
    all_to_all: bool  # values alone, as a full matrix (see combine_panel) in every lane and step


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
    position: np.ndarray  # (B, runs) packed place of the first column of each run (see _runs), -1 while not alive
    width: np.ndarray  # (B, groups) columns alive
    Z: np.ndarray
    sent: np.ndarray  # (D, B) int32: how many units were gradient-active in the last steps
    senders: np.ndarray  # (D, B, N) int32: which
    o: np.ndarray  # last step's dO/ds and dO/dphi, to read the message's influence
    q: np.ndarray
    clock: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(4, np.int64))
    lane_steps: int = 0
    scratch: _Couplings | None = field(default=None, init=False, repr=False)  # reused between tapes of the same length


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
        position=np.full((batch, len(_runs(w, hops).first) - 1), -1, np.int32),
        width=np.zeros((batch, len(stride)), np.int32),
        Z=np.zeros(batch * leaky * first_Z[-1], w.dtype),
        sent=np.zeros((D, batch), np.int32),
        senders=np.zeros((D, batch, w.n_units), np.int32),
        o=np.zeros(int(w.S.sum()) * batch, w.dtype),
        q=np.zeros(int(w.Q.sum()) * batch, w.dtype),
    )  # fmt: skip


@functools.lru_cache(maxsize=8)
def _layout(w: Wiring, hops: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(group, reach_ptr, reach); a wiring never changes, so that the search is done once."""
    return _groups(w, hops)


class _Runs(NamedTuple):
    """Columns of every group sorted by source: a run is what comes alive, and is skipped, together.

    ``order[x]`` is the column at sorted place x, ``placed`` its inverse, ``run_of`` the run of each column; group g has the runs
    ``ptr[g] .. ptr[g+1]-1`` of equal (source, delay), run r covers the sorted places ``first[r] .. first[r+1]-1``.
    """

    order: np.ndarray
    placed: np.ndarray
    run_of: np.ndarray
    ptr: np.ndarray
    first: np.ndarray


@functools.lru_cache(maxsize=8)
def _runs(w: Wiring, hops: int | None) -> _Runs:
    groups = _layout(w, hops)[0]
    group = np.searchsorted(groups, w.col_unit, side="right") - 1
    order = np.lexsort((w.col_unit, w.col_delay, w.col_source, group))
    keys = np.stack((group[order], w.col_source[order], w.col_delay[order]))
    new = np.append(True, (np.diff(keys) != 0).any(0))[: len(order)]
    first, placed = np.flatnonzero(new), np.argsort(order)
    ptr = np.searchsorted(group[order][first], np.arange(len(groups)))
    return _Runs(order, placed, (np.cumsum(new) - 1)[placed], ptr, np.append(first, len(order)))


def _groups(w: Wiring, hops: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join consecutive units into blocks: with equal rows always, with different rows where the zeros so stored cost less than
    the overhead of another block. SnAp keeps to equal rows: there a row outside the reach is left out, not zero.
    """
    ptr, reach = reachable(w, hops)
    inside = np.zeros((w.n_units, w.n_units), bool)
    inside[np.repeat(np.arange(w.n_units), np.diff(ptr)), reach] = True
    states, columns = w.S.astype(float), np.diff(w.col_ptr)
    starts, rows = [0], [inside[0].copy()]
    for k in range(1, w.n_units):
        mine, union, before = inside[k], rows[-1] | inside[k], columns[starts[-1] : k].sum()
        wide = before + columns[k]
        small = wide <= _GROUP_COLUMNS and wide * (states @ union) * w.dtype.itemsize <= _GROUP_BYTES
        apart = (states @ rows[-1]) * (before + _ROW_OVERHEAD) + (states @ mine) * (columns[k] + _ROW_OVERHEAD)
        cheaper = (states @ union) * (wide + _ROW_OVERHEAD) <= apart if hops is None else np.array_equal(mine, rows[-1])
        if small and cheaper:
            rows[-1] = union
        else:
            starts.append(k)
            rows.append(mine.copy())
    lists = [np.flatnonzero(r) for r in rows]
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
    count, units, _ = tape.active(w)
    sent, senders = np.concatenate((state.sent, count)), np.concatenate((state.senders, units))
    leaky = np.flatnonzero(w.decay > 0)
    weights = readout_weights(w, tape.theta) if feedback is None else feedback
    direct = np.ascontiguousarray(learning_signal(w, signal, weights))
    tasks, chunks = _tasks(len(state.stride), state.batch, numba.get_num_threads())
    columns, counts = np.zeros((chunks, w.n_recurrent), w.dtype), np.zeros((len(tasks), 4), np.int64)
    most = max(w.n_units, w.max_states, int(np.diff(w.pair_ptr).max(initial=0)))
    step = max(1, _COUPLING_BYTES // max(1, batch * len(w.pair_pre) * (16 + 4 * w.max_states)))
    for t0 in range(0, tape.tau, step):
        t1 = min(t0 + step, tape.tau)
        coupled = _couplings(state, tape, sent, senders, t0, t1, synaptic)
        kernel.sweep(
            tasks, t0, t1, batch, state.clock, D, lanes(w.dtype), most, w.S, w.G, w.Q, w.size, w.local, w.hears, w.start_A,
            w.start_B, w.start_P, w.start_o, w.start_q, w.memoryless, tape.A, tape.B, tape.P, tape.o, tape.q, w.col_ptr,
            w.col_unit, w.col_source, w.col_delay, w.col_port, *_runs(w, state.hops), state.group, state.reach_ptr,
            state.reach, state.row_of, state.stride, state.first_M, state.first_E, state.first_Z, state.M, state.E, state.slot,
            state.row_live, state.position, state.width, state.Z, tape.messages, tape.history, count, units, sent[D + t0 - 1 : D + t0],
            len(w.pair_pre), w.pair_ptr, *coupled, direct, leaky, w.decay[leaky].astype(w.dtype), weights, signal.dz, columns,
            counts,
        )  # fmt: skip
    gradient = np.zeros(w.n_parameters, w.dtype)
    gradient[w.col_theta] = columns.sum(0)
    state.sent, state.senders = sent[len(sent) - D :].copy(), senders[len(sent) - D :].copy()
    state.clock = (state.clock + tape.tau) % D
    state.o, state.q = tape.o[-1].copy(), tape.q[-1].copy()
    state.counts += counts.sum(0)
    state.lane_steps += batch * tape.tau
    add_readout_gradient(w, tape, signal, gradient)
    return gradient


def column_positions(state: BlockState, lane: int) -> np.ndarray:
    """(C) place of every column of the wiring in its block's rows, -1 while not alive."""
    runs = _runs(state.wiring, state.hops)
    first = state.position[lane, runs.run_of]
    return np.where(first >= 0, first + runs.placed - runs.first[runs.run_of], -1)


def _work(state: BlockState, tape: Tape) -> float:
    """A guess at the multiply-adds of a tape: live block elements times the share of couplings in use."""
    w = state.wiring
    active = float(tape.active(w)[0].mean()) / w.n_units
    return len(state.M) * tape.tau * (1.0 + active * len(w.pair_pre) / w.n_units)


def _couplings(
    state: BlockState, tape: Tape, sent: np.ndarray, senders: np.ndarray, t0: int, t1: int, synaptic: bool
) -> _Couplings:
    """What arrives in steps t0..t1-1; see ``block_kernel.couple``."""
    w, rows, pairs = state.wiring, (t1 - t0) * tape.batch, len(state.wiring.pair_pre)
    if not synaptic or not pairs:
        ends, none = (np.arange(rows) * pairs)[:, None] + w.pair_ptr[:-1], np.zeros(0, np.int32)
        return _Couplings(ends, none, none, none, np.zeros((w.max_states, 0), w.dtype), False)
    if state.scratch is None or len(state.scratch.ends) != rows:
        state.scratch = _allocate(state, rows)
    tables = (w.S, w.G, w.size, w.local, w.start_B, t0, t1, tape.batch)
    past, most = len(sent) - tape.tau, w.heard_ports.shape[1]
    if state.scratch.all_to_all:
        weight = np.zeros((w.n_units, -(-w.n_units // PANEL), most, PANEL), w.dtype)
        weight.reshape(-1)[_dense_places(w)] = tape.theta[w.syn_theta]
        coef = state.scratch.coef.reshape(rows, -1)
        kernel.couple_all(tape.B, weight, w.heard_ports, past, sent, senders, *tables, coef)
    else:
        weight = np.zeros((pairs, most), w.dtype)
        weight.reshape(-1)[w.syn_place] = tape.theta[w.syn_theta]
        outgoing = (w.delays, w.out_ptr, w.out_post)
        kernel.couple(tape.B, weight, w.heard_ports, *outgoing, past, sent, senders, w.pair_ptr, *tables, *state.scratch[:-1])
    return state.scratch


def _allocate(state: BlockState, rows: int) -> _Couplings:
    """Room for the couplings of ``rows`` lanes and steps."""
    w, pairs = state.wiring, len(state.wiring.pair_pre)
    whole = _is_plain(w) and len(state.reach) == len(state.stride) * w.n_units
    all_to_all = whole and pairs >= _ALL_TO_ALL * w.n_units**2
    entries = rows * (w.n_units * -(-w.n_units // PANEL) * PANEL if all_to_all else pairs)
    names = 0 if whole else entries
    pre, slot, lag = (np.empty(n, np.int32) for n in (names, 0 if all_to_all else entries, names))
    return _Couplings(np.empty((rows, w.n_units), np.int64), pre, slot, lag, np.empty((w.max_states, entries), w.dtype), all_to_all)


@functools.lru_cache(maxsize=8)
def _dense_places(w: Wiring) -> np.ndarray:
    """Where each synapse lies in a full (pre, panels of post, ports, PANEL) array of weights."""
    most = w.heard_ports.shape[1]
    pre = np.repeat(np.tile(np.arange(w.n_units), len(w.delays)), np.diff(w.out_ptr))
    pair, rank = np.divmod(w.syn_place, most)
    panel, row = np.divmod(w.out_post[pair], PANEL)
    return ((pre[pair] * -(-w.n_units // PANEL) + panel) * most + rank) * PANEL + row


def _is_plain(w: Wiring) -> bool:
    """One state per unit, carried, and no delay beyond one step: rows then arrive by their slot alone."""
    return max(w.row_history, 1) == 1 and w.max_states == 1 and not w.memoryless.any()


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
    state.sent[:, which] = 0
