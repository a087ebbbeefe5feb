"""RTRL: exact real-time recurrent learning, sparse (blocks per unit, see ``blocks``) or dense (the textbook matrix).

Sources: Williams and Zipser 1989 (RTRL); Subramoney 2023, arXiv 2303.05641 (activity and parameter sparsity); Menick et al. 2021,
arXiv 2006.07232 (SnAp: the same blocks with fewer rows).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numba
import numpy as np

from ..tape import Tape
from ..wiring import Wiring, reachable
from . import blocks, dense
from .base import Signal, add_readout_gradient, learning_signal, readout_weights
from .vector import lanes, padded

if TYPE_CHECKING:
    from ..network import Network

_GROUP_COLUMNS, _GROUP_BYTES = 1024, 192 << 10  # a block's columns and size, so that it stays in the cache
_SMALL_WORK = 1e6  # multiply-adds below which starting a second thread costs more than it gives
_COUPLING_BYTES = 32 << 20  # how much of the tape's couplings is laid out at a time


@dataclass
class BlockState:
    """Influence in blocks; all arrays are advanced in place. ``counts``: multiply-adds done since ``init``
    (propagation, immediate terms, messages, readout)."""

    wiring: Wiring
    batch: int
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
    position: np.ndarray  # (B, C) packed place of each column, -1 while not alive
    width: np.ndarray  # (B, groups) columns alive
    Z: np.ndarray
    sent: np.ndarray  # (D, B, N) int32: slots of the gradient-active units of the last steps, else -1
    o: np.ndarray  # last step's dO/ds and dO/dphi, to read the message's influence
    q: np.ndarray
    clock: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(4, np.int64))
    lane_steps: int = 0


@dataclass(frozen=True)
class RTRL:
    """Exact RTRL. ``dense=True`` is the textbook matrix without any skip, for reference and small networks.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 6).connect("x", "h").connect("h", "h")
    >>> net = net.add_readout("z", "h", 1).initialize(3)
    >>> x = np.random.default_rng(0).normal(size=(12, 4, 2))
    >>> loss = srl.losses.squared_error(np.ones((12, 4, 1)))
    >>> _, sparse = srl.gradient(net, srl.RTRL(), x, loss)
    >>> _, textbook = srl.gradient(net, srl.RTRL(dense=True), x, loss)
    >>> bool(np.abs(sparse).max() > 0.01), bool(np.allclose(sparse, textbook, rtol=1e-10, atol=1e-14))
    (True, True)
    """

    dense: bool = False
    claim = "exact"

    def init(self, net: Network, batch: int) -> BlockState | dense.DenseState:
        """Allocate the influence for ``batch`` lanes, all zero."""
        return dense.init(net.wiring, batch) if self.dense else init_blocks(net.wiring, batch, None)

    def update(self, state: BlockState | dense.DenseState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance the influence over the tape; return the gradient, flat like theta."""
        return dense.update(state, tape, signal) if isinstance(state, dense.DenseState) else update_blocks(state, tape, signal)


@dataclass(frozen=True)
class SnAp:
    """SnAp-n (Menick et al. 2021): keep the rows of units at most n-1 connections away. Exact once n covers the graph."""

    order: int = 1
    claim = "approximate"

    def __post_init__(self) -> None:
        if int(self.order) != self.order or self.order < 1:
            raise ValueError(f"SnAp: order must be a positive integer, got {self.order!r}")

    def init(self, net: Network, batch: int) -> BlockState:
        """Allocate the kept part of the influence, all zero."""
        return init_blocks(net.wiring, batch, self.order - 1)

    def update(self, state: BlockState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance over the tape; return the gradient, flat like theta."""
        return update_blocks(state, tape, signal)


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
        w, batch, group, reach_ptr, reach, row_of, first_M, first_E, first_Z, stride, np.zeros(batch * first_M[-1], w.dtype),
        np.zeros(batch * D * first_E[-1], w.dtype), np.full(batch * D * len(reach), -1, np.int32), np.zeros(batch * len(reach), bool),
        np.full((batch, w.n_recurrent), -1, np.int32), np.zeros((batch, len(stride)), np.int32), np.zeros(batch * leaky * first_Z[-1], w.dtype),
        np.full((D, batch, w.n_units), -1, np.int32), np.zeros(int(w.S.sum()) * batch, w.dtype), np.zeros(int(w.Q.sum()) * batch, w.dtype),
    )  # fmt: skip


@functools.lru_cache(maxsize=8)
def _layout(w: Wiring, hops: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(group, reach_ptr, reach); a wiring never changes, so that the search is done once."""
    return _groups(w, *reachable(w, hops))


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


def _tasks(state: BlockState) -> tuple[np.ndarray, int]:
    """(group, lane chunk, first lane, last lane) of every parallel task, and the number of lane chunks."""
    groups = len(state.stride)
    chunks = min(state.batch, max(1, -(-4 * numba.get_num_threads() // groups)))
    edges = np.linspace(0, state.batch, chunks + 1).astype(np.int64)
    return np.array([(g, c, edges[c], edges[c + 1]) for g in range(groups) for c in range(chunks)], np.int64), chunks


def update_blocks(state: BlockState, tape: Tape, signal: Signal) -> np.ndarray:
    """Advance all blocks over a tape and return the gradient."""
    w, batch = state.wiring, tape.batch
    _reset(state, tape.reset)
    D = len(state.sent)
    count, units, slots = tape.active(w)
    sent = np.concatenate((state.sent, slots))
    leaky = np.flatnonzero(w.decay > 0)
    direct = np.ascontiguousarray(learning_signal(w, tape, signal, decayed=False))
    tasks, chunks = _tasks(state)
    columns, counts = np.zeros((chunks, w.n_recurrent), w.dtype), np.zeros((len(tasks), 4), np.int64)
    before = numba.get_num_threads()
    if _work(state, tape) < _SMALL_WORK:
        numba.set_num_threads(1)
    step = max(1, _COUPLING_BYTES // max(1, batch * len(w.pair_pre) * (16 + 4 * w.max_states)))
    for t0 in range(0, tape.tau, step):
        t1 = min(t0 + step, tape.tau)
        past = count[t0 - 1 : t0] if t0 else (state.sent >= 0).sum(2, dtype=np.int32)
        coupled = _couplings(w, tape, sent, D, t0, t1)
        most = max(w.n_units, w.max_states, int(np.diff(coupled[0], axis=1).max(initial=0)))
        blocks.sweep(
            tasks, t0, t1, batch, state.clock, D, lanes(w.dtype), most, w.S, w.G, w.Q, w.size, w.local, w.hears, w.start_A, w.start_B, w.start_P,
            w.start_o, w.start_q, w.memoryless, tape.A, tape.B, tape.P, tape.o, tape.q, w.col_ptr, w.col_unit, w.col_source, w.col_delay,
            w.col_port, state.group, state.reach_ptr, state.reach, state.row_of, state.stride, state.first_M, state.first_E, state.first_Z,
            state.M, state.E, state.slot, state.row_live, state.position, state.width, state.Z, tape.messages, tape.history, count, units, past,
            *coupled, direct, leaky, w.decay[leaky].astype(w.dtype), readout_weights(w, tape.theta), signal.dz, columns, counts,
        )  # fmt: skip
    numba.set_num_threads(before)
    gradient = np.zeros(w.n_parameters, w.dtype)
    gradient[w.col_theta] = columns.sum(0)
    state.sent = sent[len(sent) - D :].copy()
    state.clock = (state.clock + tape.tau) % D
    state.o, state.q = tape.o[-1].copy(), tape.q[-1].copy()
    state.counts += counts.sum(0)
    state.lane_steps += batch * tape.tau
    add_readout_gradient(w, tape, signal, gradient)
    return gradient


def _work(state: BlockState, tape: Tape) -> float:
    """A guess at the multiply-adds of a tape: live block elements times the share of couplings in use."""
    w = state.wiring
    active = float(tape.active(w)[0].mean()) / w.n_units
    return len(state.M) * tape.tau * (1.0 + active * len(w.pair_pre) / w.n_units)


def _couplings(w: Wiring, tape: Tape, sent: np.ndarray, D: int, t0: int, t1: int) -> tuple[np.ndarray, ...]:
    """(ptr, pre, slot, lag, coef) for steps t0..t1-1; see ``blocks.couple``."""
    ptr = np.zeros(((t1 - t0) * tape.batch, w.n_units + 1), np.int64)
    total = blocks.count_couplings(sent, D, w.pair_ptr, w.pair_pre, w.pair_delay, t0, t1, tape.batch, ptr)
    pre, slot, lag, coef = *(np.empty(total, np.int32) for _ in range(3)), np.empty((w.max_states, total), w.dtype)
    tables = (w.pair_ptr, w.pair_pre, w.pair_delay, w.pair_syn, w.syn_port, w.S, w.G, w.size, w.local, w.start_B)
    blocks.couple(tape.B, tape.theta[w.syn_theta], sent, D, *tables, t0, t1, tape.batch, ptr, pre, slot, lag, coef)
    return ptr, pre, slot, lag, coef


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
