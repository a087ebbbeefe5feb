"""One update of the influence in blocks, for exact RTRL and SnAp: over a tape at once, or over some short ones together."""

from __future__ import annotations

import numba
import numpy as np

from ...tape import Tape
from ...threads import threads_for
from ..base import Signal
from ..readout import add_readout_gradient, readout_weights, through_decay
from . import deferred as postponed
from .blocks import kept_steps
from .blocks import step_jacobian as couplings
from .blocks.kept_steps import Postponed
from .blocks.layout import tasks
from .blocks.state import BlockState
from .products import update as product
from .rows.by_event_kernel import sweep_events
from .rows.by_step_kernel import sweep
from .rows.dense_kernel import sweep_whole
from .rows.event_plan import is_by_events, schedule, stretches
from .simd.rows import lanes
from .transitions import update as transition


def update_blocks(state: BlockState, tape: Tape, signal: Signal, at_once: bool = False) -> np.ndarray:
    """Advance all blocks over a tape and return the gradient. ``at_once``: never postpone a short tape (see ``postponed``)."""
    with threads_for(_work(state, tape)):
        return _update(state, tape, signal, at_once)


def _update(state: BlockState, tape: Tape, signal: Signal, at_once: bool) -> np.ndarray:
    w = state.wiring
    if state.over and not tape.reset.all():
        going_on = np.flatnonzero(~tape.reset).tolist()
        raise ValueError(
            f"RTRL, step {tape.start}: lanes {going_on} go on after their last piece; reset_lanes() puts them back first"
        )
    if tape.reset.any():
        catch_up(state, wanted=not tape.reset.all())
        _reset(state, tape.reset)
    weights = readout_weights(w, tape.theta)
    zbar = through_decay(w, signal.dz)
    direct = zbar @ weights if signal.dy is None else zbar @ weights + signal.dy
    room = 0 if at_once or signal.last else kept_steps.room(w, tape.batch, state.layout)
    waiting = state.kept is not None and state.kept.steps > 0
    if signal.last and tape.reset.all() and transition.is_cheaper(state, tape):
        full = couplings.all_to_all(w, state.layout)
        lists = None if full else _coupled(state, tape, *_sent(state, tape), 0, tape.tau, None)
        gradient = transition.carry_transitions(state, tape, direct, lists)
    elif 2 * tape.tau <= room and (waiting or postponed.is_quiet(w, state.layout, tape)):
        gradient = _postpone(state, tape, direct, room)
    else:
        catch_up(state)
        gradient = _advance(state, tape, direct, zbar, weights, signal.last)
    state.lane_steps += tape.batch * tape.tau
    state.over = signal.last
    add_readout_gradient(w, tape, signal, gradient)
    return gradient


def _postpone(state: BlockState, tape: Tape, direct: np.ndarray, room: int) -> np.ndarray:
    """Keep a short tape; the gradient goes back through the kept ones, or comes with them when they are many enough."""
    kept = state.kept = state.kept or kept_steps.empty(state.wiring, tape, room)
    if kept.steps + tape.tau > room:
        catch_up(state)
    kept.add(tape)
    if kept.steps + tape.tau <= room:
        return postponed.gradient_through(state, kept, direct)
    return _advance_kept(state, kept, direct)


def catch_up(state: BlockState, wanted: bool = True) -> None:
    """Advance the influence over steps that are kept (see ``postponed``), or forget them if it is not ``wanted``."""
    kept = state.kept
    if kept is not None and kept.steps:
        if wanted:
            _advance_kept(state, kept, np.zeros((0, kept.batch, state.wiring.n_units), state.wiring.dtype))
        kept.steps = 0


def _advance_kept(state: BlockState, kept: Postponed, direct: np.ndarray) -> np.ndarray:
    nothing = np.zeros((kept.steps, kept.batch, state.wiring.n_outputs), direct.dtype)
    tape, thetas = kept.tape(), kept.theta[: kept.steps]
    gradient = _advance(state, tape, kept.padded(direct), nothing, readout_weights(state.wiring, tape.theta), False, thetas)
    kept.steps = 0
    return gradient


def _advance(
    state: BlockState, tape: Tape, direct: np.ndarray, zbar: np.ndarray, weights: np.ndarray, last: bool,
    thetas: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Advance the blocks over a tape; gradient of ``direct`` = dL/dy (tau, B, N), and of what leaky readouts carry (``zbar``).

    ``thetas`` (tau, parameters): the parameters of each step, if they are not the same for all.
    """
    w, batch = state.wiring, tape.batch
    D = len(state.sent)
    sent, senders = _sent(state, tape)
    leaky = np.flatnonzero(w.decay > 0)
    decays, kind = np.unique(w.decay[leaky], return_inverse=True)
    # what the tape's losses owe to the readouts' rows before it; of one memory layout, since loops are compiled for each
    past = np.ascontiguousarray(zbar[0][:, leaky] * w.decay[leaky].astype(w.dtype))
    blocks = state.layout
    whole, others, chunks = tasks(blocks, batch, numba.get_num_threads())
    gradients, counts = np.zeros((chunks, w.n_parameters), w.dtype), np.zeros((max(len(whole), len(others)), 4), np.int64)
    step = max(1, couplings.ROOM_BYTES // max(1, couplings.nbytes(w, blocks, batch)))
    for t0 in range(0, tape.tau, step if thetas is None else tape.tau):
        t1 = min(t0 + step, tape.tau) if thetas is None else tape.tau
        coupled = _coupled(state, tape, sent, senders, t0, t1, thetas)
        powers = (decays[:, None] ** np.arange(t1 - t0 - 1, -1, -1)).astype(w.dtype)
        held, owed = (w.decay[leaky] ** (t1 - t0)).astype(w.dtype), past * (t0 == 0)
        rest = (direct, leaky, kind, held, owed, weights, gradients, counts, last and t1 == tape.tau)
        _sweep_whole(state, tape, whole, sent, senders, coupled, powers, rest, t0, t1)
        _sweep_others(state, tape, others, sent, coupled, powers, rest, t0, t1)
    state.sent, state.senders = sent[len(sent) - D :].copy(), senders[len(sent) - D :].copy()
    state.clock = (state.clock + tape.tau) % D
    state.o, state.q = tape.o[-1].copy(), tape.q[-1].copy()
    state.counts += counts.sum(0)
    return gradients[0] if chunks == 1 else gradients.sum(0)


def _sent(state: BlockState, tape: Tape) -> tuple[np.ndarray, np.ndarray]:
    """How many units were gradient-active, and which, in the last steps before the tape and in its own."""
    count, units, _ = tape.active(state.wiring)
    return np.concatenate((state.sent, count)), np.concatenate((state.senders, units))


def _coupled(
    state: BlockState, tape: Tape, sent: np.ndarray, senders: np.ndarray, t0: int, t1: int, thetas: np.ndarray | None
) -> couplings.Couplings:
    w, rows = state.wiring, (t1 - t0) * tape.batch
    if not len(w.pair_pre):
        return couplings.none_arrive(w, rows)
    if state.scratch is None or len(state.scratch.starts) != rows:
        state.scratch = couplings.allocate(w, state.layout, rows)
    if thetas is not None:
        return couplings.fill_steps(state.scratch, w, tape, thetas, sent, senders)
    return couplings.fill(state.scratch, w, tape, tape.theta, sent, senders, t0, t1)


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
    if not (rest[-1] and tape.reset.all()) and product.is_cheaper(state, tape, coupled, now, t1 - t0):
        product.sweep_products(state, tape, shared, now, senders[D + t0 - 1 :], coupled, powers, rest, t0, t1)
        return
    cuts, store = stretches(blocks, w, now)
    if is_by_events(w, coupled, cuts, now):
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


def _work(state: BlockState, tape: Tape) -> float:
    """A guess at the multiply-adds of a tape: block elements times the share of couplings in use."""
    w = state.wiring
    active = float(tape.active(w)[0].mean()) / w.n_units
    return state.undivided_bytes / w.dtype.itemsize * tape.tau * (1.0 + active * len(w.pair_pre) / w.n_units)


def _reset(state: BlockState, which: np.ndarray) -> None:
    """Forget the given which: no column and no row alive, nothing in flight."""
    if which.all():
        state.position[:], state.width[:], state.sent[:], state.row_live[:], state.slot[:] = -1, 0, 0, False, -1
        return
    if not which.any():
        return
    state.position[which] = -1
    state.width[which] = 0
    state.sent[:, which] = 0
    D = len(state.sent)
    for first, n in zip(state.layout.reach_ptr[:-1], np.diff(state.layout.reach_ptr), strict=True):
        state.row_live[state.batch * first : state.batch * (first + n)].reshape(state.batch, n)[which] = False
        state.slot[state.batch * D * first : state.batch * D * (first + n)].reshape(state.batch, D * n)[which] = -1
