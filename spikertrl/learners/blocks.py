"""The influence in blocks (see ``layout``): state, and one update for exact RTRL, SnAp and e-prop."""

from __future__ import annotations

from dataclasses import dataclass, field

import numba
import numpy as np

from ..memory import readable, require, smaller
from ..tape import Tape
from ..threads import threads_for
from ..wiring import Wiring
from . import couplings
from .base import Signal, add_readout_gradient, readout_weights, through_decay
from .block_kernel import sweep
from .event_kernel import sweep_events
from .layout import Layout, layout, tasks
from .local import local_bytes
from .local_layout import is_local
from .schedule import is_worthwhile, schedule, stretches
from .vector import aligned, lanes, zeros_on_demand
from .whole_kernel import sweep_whole

_COUPLING_BYTES = 128 << 20  # how much of the tape's couplings is laid out at a time


@dataclass
class BlockState:
    """Influence in blocks; all arrays are advanced in place.

    ``counts``: multiply-adds done since ``init`` (propagation, immediate terms, messages, readout).
    """

    wiring: Wiring
    batch: int
    hops: int | None
    M: np.ndarray
    E: np.ndarray
    slot: np.ndarray
    row_live: np.ndarray
    position: np.ndarray  # (B, runs) packed place of the first column of each run, -1 while not alive
    width: np.ndarray  # (B, groups) columns alive
    Z: np.ndarray
    sent: np.ndarray  # (D, B) int32: how many units were gradient-active in the last steps
    senders: np.ndarray  # (D, B, N) int32: which
    o: np.ndarray  # last step's dO/ds and dO/dphi: what the rows sent were made of
    q: np.ndarray
    clock: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(4, np.int64))
    lane_steps: int = 0
    over: bool = False  # all lanes begin anew: what the arrays hold has no meaning
    scratch: couplings.Couplings | None = field(default=None, init=False, repr=False)  # reused for tapes of the same length

    @property
    def layout(self) -> Layout:
        """Where everything lies."""
        return layout(self.wiring, self.hops)

    @property
    def forgotten(self) -> tuple[str, ...]:
        """Arrays that a checkpoint need not hold."""
        return ("M", "E", "Z") if self.over else ()


def block_bytes(w: Wiring, batch: int, hops: int | None) -> int:
    """What ``init_blocks`` will allocate."""
    return batch * w.dtype.itemsize * sum(layout(w, hops).elements(w).values())


def kept_bytes(w: Wiring, batch: int, hops: int | None) -> int:
    """What RTRL or SnAp will allocate: blocks, or for SnAp-1 the local rows."""
    return local_bytes(w, batch) if hops == 0 and is_local(w) else block_bytes(w, batch, hops)


def init_blocks(w: Wiring, batch: int, hops: int | None) -> BlockState:
    """Blocks whose rows are the units within ``hops`` connections (None: all reachable ones).

    Raises
    ------
    NotEnoughMemory
        If they do not fit; the message says what would.
    """
    name = "exact RTRL" if hops is None else f"SnAp(order={hops + 1})"
    what = f"the influence of {name} ({w.n_states} states, {w.n_recurrent} parameters, batch {batch})"
    require(block_bytes(w, batch, hops), what, lambda free: _advice(w, batch, hops, free))
    blocks, D = layout(w, hops), max(w.row_history, 1)
    room = blocks.elements(w)
    return BlockState(
        w, batch, hops,
        M=aligned(batch * room["M"], w.dtype),
        E=zeros_on_demand(batch * room["E"], w.dtype),
        Z=aligned(batch * room["Z"], w.dtype),
        slot=np.full(batch * D * len(blocks.reach), -1, np.int32),
        row_live=np.zeros(batch * len(blocks.reach), bool),
        position=np.full((batch, len(blocks.runs) - 1), -1, np.int32),
        width=np.zeros((batch, len(blocks.stride)), np.int32),
        sent=np.zeros((D, batch), np.int32),
        senders=np.zeros((D, batch, w.n_units), np.int32),
        o=np.zeros(int(w.S.sum()) * batch, w.dtype),
        q=np.zeros(int(w.Q.sum()) * batch, w.dtype),
    )  # fmt: skip


def update_blocks(state: BlockState, tape: Tape, signal: Signal) -> np.ndarray:
    """Advance all blocks over a tape and return the gradient."""
    with threads_for(_work(state, tape)):
        return _update(state, tape, signal)


def _update(state: BlockState, tape: Tape, signal: Signal) -> np.ndarray:
    w, batch = state.wiring, tape.batch
    if state.over and not tape.reset.all():
        going_on = np.flatnonzero(~tape.reset).tolist()
        raise ValueError(
            f"RTRL, step {tape.start}: lanes {going_on} go on after their last piece; reset_lanes() puts them back first"
        )
    _reset(state, tape.reset)
    D = len(state.sent)
    count, units, _ = tape.active(w)
    sent, senders = np.concatenate((state.sent, count)), np.concatenate((state.senders, units))
    leaky = np.flatnonzero(w.decay > 0)
    decays, kind = np.unique(w.decay[leaky], return_inverse=True)
    weights = readout_weights(w, tape.theta)
    zbar = through_decay(w, signal.dz)
    direct = zbar @ weights if signal.dy is None else zbar @ weights + signal.dy
    past = zbar[0][:, leaky] * w.decay[leaky].astype(w.dtype)  # what the tape's losses owe to the readouts' rows before it
    blocks = state.layout
    whole, others, chunks = tasks(blocks, batch, numba.get_num_threads())
    gradients, counts = np.zeros((chunks, w.n_parameters), w.dtype), np.zeros((max(len(whole), len(others)), 4), np.int64)
    step = max(1, _COUPLING_BYTES // max(1, batch * len(w.pair_pre) * (16 + 4 * w.max_states)))
    for t0 in range(0, tape.tau, step):
        t1 = min(t0 + step, tape.tau)
        coupled = _coupled(state, tape, sent, senders, t0, t1)
        powers = (decays[:, None] ** np.arange(t1 - t0 - 1, -1, -1)).astype(w.dtype)
        kept, owed = (w.decay[leaky] ** (t1 - t0)).astype(w.dtype), past * (t0 == 0)
        rest = (direct, leaky, kind, kept, owed, weights, gradients, counts, signal.last and t1 == tape.tau)
        _sweep_whole(state, tape, whole, sent, senders, coupled, powers, rest, t0, t1)
        _sweep_others(state, tape, others, sent, coupled, powers, rest, t0, t1)
    gradient = gradients[0] if chunks == 1 else gradients.sum(0)
    state.sent, state.senders = sent[len(sent) - D :].copy(), senders[len(sent) - D :].copy()
    state.clock = (state.clock + tape.tau) % D
    state.o, state.q = tape.o[-1].copy(), tape.q[-1].copy()
    state.counts += counts.sum(0)
    state.lane_steps += batch * tape.tau
    state.over = signal.last
    add_readout_gradient(w, tape, signal, gradient)
    return gradient


def _coupled(state: BlockState, tape: Tape, sent: np.ndarray, senders: np.ndarray, t0: int, t1: int) -> couplings.Couplings:
    w, rows = state.wiring, (t1 - t0) * tape.batch
    if not len(w.pair_pre):
        return couplings.none_arrive(w, rows)
    if state.scratch is None or len(state.scratch.starts) != rows:
        state.scratch = couplings.allocate(w, state.layout, rows)
    return couplings.fill(state.scratch, w, tape, sent, senders, t0, t1)


def _sweep_whole(
    state: BlockState, tape: Tape, shared: np.ndarray, sent: np.ndarray, senders: np.ndarray, coupled: couplings.Couplings,
    powers: np.ndarray, rest: tuple, t0: int, t1: int,
) -> None:  # fmt: skip
    """Whole blocks: by events where that is worthwhile, else step by step."""
    if not len(shared):
        return
    w, blocks, D = state.wiring, state.layout, len(state.sent)
    count, units, _ = tape.active(w)
    o, q = (state.o, state.q) if t0 == 0 else (tape.o[t0 - 1], tape.q[t0 - 1])  # what the rows sent just before were made of
    before = sent[D + t0 - 1]
    common = (
        state.batch, lanes(w.dtype), w.Q, w.size, w.local, w.start_A, w.start_o, w.start_q, tape.A, tape.B, tape.P, tape.o,
        tape.q, w.col_ptr, w.col_port, blocks.theta, blocks.placed, blocks.run_of, blocks.run_ptr, blocks.runs,
        blocks.run_source, blocks.run_delay, blocks.own_row, blocks.term, blocks.group, blocks.reach_ptr, blocks.stride,
        blocks.first_M, blocks.first_Z, state.M, state.row_live, state.position, state.width, state.Z, tape.messages,
        tape.history, count, units, before, senders[D + t0 - 1], o, q,
    )  # fmt: skip
    now = sent[D + t0 - 1 : D + t1]
    cuts, store = stretches(blocks, w, now)
    if is_worthwhile(w, coupled, cuts, now):
        plan = schedule(coupled, w, tape, t0, cuts, store, before, powers)
        sweep_events(shared, plan.cuts, *common, *plan[1:], coupled.starts, coupled.slot, coupled.coef, *rest)
    else:
        heard = (coupled.starts, coupled.slot, coupled.coef, coupled.all_to_all)
        sweep_whole(shared, t0, t1, *common, *heard, powers, *rest)


def _sweep_others(
    state: BlockState, tape: Tape, shared: np.ndarray, sent: np.ndarray, coupled: couplings.Couplings, powers: np.ndarray,
    rest: tuple, t0: int, t1: int,
) -> None:  # fmt: skip
    if not len(shared):
        return
    w, blocks, D = state.wiring, state.layout, len(state.sent)
    most = max(w.n_units, w.max_states, int(np.diff(w.pair_ptr).max(initial=0)))
    count, units, place = tape.active(w)
    sweep(
        shared, t0, t1, state.batch, state.clock, D, lanes(w.dtype), most, w.S, w.Q, w.size, w.local, w.hears, w.start_A,
        w.start_o, w.start_q, w.memoryless, tape.A, tape.B, tape.P, tape.o, tape.q, w.col_ptr, w.col_unit, w.col_port,
        blocks.order, blocks.theta, blocks.placed, blocks.run_of, blocks.run_ptr, blocks.runs, blocks.run_source,
        blocks.run_delay, blocks.own_row, blocks.term, blocks.group, blocks.reach_ptr, blocks.reach, blocks.row_of,
        blocks.stride, blocks.first_M, blocks.first_E, blocks.first_Z, state.M, state.E, state.slot, state.row_live,
        state.position, state.width, state.Z, tape.messages, tape.history, count, units, place, sent[D + t0 - 1],
        *coupled[:-1], powers, *rest,
    )  # fmt: skip


def column_positions(state: BlockState, lane: int) -> np.ndarray:
    """(C) place of every column of the wiring in its block's rows, -1 while not alive."""
    blocks = state.layout
    first = state.position[lane, blocks.run_of]
    return np.where(first >= 0, first + blocks.placed - blocks.runs[blocks.run_of], -1)


def _advice(w: Wiring, batch: int, hops: int | None, free: int) -> str:
    """What would fit into ``free`` bytes."""
    ways = smaller(block_bytes(w, batch, hops), free, batch)
    orders = [n for n in range(1, 4 if hops is None else hops + 1) if kept_bytes(w, batch, n - 1) <= free]
    if orders:
        ways.append(f"SnAp(order={orders[-1]}), an approximation, with {readable(kept_bytes(w, batch, orders[-1] - 1))}")
    ways += ["KFRTRL or UORO (noisy estimates)"]
    return "what would fit: " + "; ".join(ways)


def _work(state: BlockState, tape: Tape) -> float:
    """A guess at the multiply-adds of a tape: block elements times the share of couplings in use."""
    w = state.wiring
    active = float(tape.active(w)[0].mean()) / w.n_units
    return len(state.M) * tape.tau * (1.0 + active * len(w.pair_pre) / w.n_units)


def _reset(state: BlockState, which: np.ndarray) -> None:
    """Forget the given which: no column and no row alive, nothing in flight."""
    if not which.any():
        return
    D = len(state.sent)
    for first, n in zip(state.layout.reach_ptr[:-1], np.diff(state.layout.reach_ptr), strict=True):
        state.row_live[state.batch * first : state.batch * (first + n)].reshape(state.batch, n)[which] = False
        state.slot[state.batch * D * first : state.batch * D * (first + n)].reshape(state.batch, D * n)[which] = -1
    state.position[which] = -1
    state.width[which] = 0
    state.sent[:, which] = 0
