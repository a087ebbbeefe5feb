"""One update of the influence in blocks, for exact RTRL and SnAp, by the route that ``choose`` names."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...network.wiring import Wiring
from ...tape import Tape
from ...threads import in_parts, threads, threads_for
from ..base import Signal
from ..readout import add_readout_gradient, leaks, readout_weights, signal_through_decay
from . import as_matrix, choose, deferred
from .blocks import kept_steps, step_jacobian
from .blocks.kept_steps import DeferredSteps
from .blocks.layout import tasks
from .blocks.state import BlockState, init_blocks
from .blocks.step_jacobian import StepJacobian
from .one_step import one_step
from .products.update import sweep_products
from .records import Active, Before, Losses, linear
from .rows.by_event_kernel import sweep_events
from .rows.by_step_kernel import sweep
from .rows.dense_kernel import sweep_whole
from .rows.event_plan import cut_steps, event_plan
from .rows.general_event_kernel import sweep_general_events
from .simd.rows import lanes
from .transitions.events import carry_messages
from .transitions.segments import segments, window
from .transitions.sources import columns_alive
from .transitions.update import Room, carry_transitions


@dataclass
class Influence(BlockState):
    """The influence in blocks, as a state that can show itself as a matrix, whatever route ran."""

    def influence(self, lane: int = 0, of: str = "state") -> np.ndarray:
        """One lane's influence as a dense matrix, see ``cost.influence``; deferred steps are taken first, in the state itself.

        Raises
        ------
        ValueError
            If the sequence has ended with the last tape: then it was not brought up to date.
        """
        if self.over:
            raise ValueError(
                f"influence: {self.facts.who} did not bring it up to date in its last tape (route {self.route!r}), because the "
                "sequence ended there; update with Signal(last=False), or let fit(zeros_every=...) look"
            )
        catch_up(self)
        return as_matrix.blocks(self, lane, of)


def init_influence(w: Wiring, batch: int, hops: int | None, route: str | None = None) -> Influence:
    """See ``init_blocks``."""
    return init_blocks(w, batch, hops, route, kind=Influence)


def update_blocks(state: BlockState, tape: Tape, signal: Signal, at_once: bool = False, route: str | None = None) -> np.ndarray:
    """Advance all blocks over a tape and return the gradient.

    Parameters
    ----------
    at_once : bool
        Never defer a short tape.
    route : str, optional
        The route to take, see ``choose``; the default leaves it to the library.
    """
    active, route = _mean(tape.active(state.wiring)[0]), choose.forced() or route
    work = 0.0 if threads() == 1 else _work(state, tape, active)
    with threads_for(work, choose.tuning().shared_work):
        return _update(state, tape, signal, at_once, route, active)


def _update(state: BlockState, tape: Tape, signal: Signal, at_once: bool, route: str | None, active: float) -> np.ndarray:
    w, anew = state.wiring, int(np.count_nonzero(tape.reset))
    if state.over and anew < tape.batch:
        unreset = np.flatnonzero(~tape.reset).tolist()
        raise ValueError(
            f"RTRL, step {tape.start}: lanes {unreset} go on after their last piece; reset_lanes() puts them back first"
        )
    whole = signal.last and anew == tape.batch
    deferring = state.kept is not None and state.kept.steps > 0 and not anew
    situation = choose.Situation(
        tape.start, tape.tau, active, whole, signal.last, deferring, at_once,
        lambda: columns_alive(w.undivided, tape, choose.tuning().lanes_at_a_time),
    )  # fmt: skip
    choice = choose.route_of_update(state.facts, situation, route)
    if anew:
        catch_up(state, wanted=anew < tape.batch)
        _reset(state, tape.reset)
    weights = readout_weights(w, tape.theta)
    zbar, direct = signal_through_decay(w, signal, weights)
    if choice is None:
        catch_up(state)
        step = one_step(state, tape, route) if tape.tau == 1 and not signal.last else None
        if step is not None:
            gradient = step.advance(state, tape, direct, zbar, weights)
        else:
            gradient = _advance(state, tape, direct, zbar, weights, signal.last, route)
    elif choice.route == choose.TRANSITIONS:
        state.ran(choice, tape.start)
        gradient = _carry(state, tape, direct, active)
    else:
        state.ran(choice, tape.start)
        gradient = _defer(state, tape, direct, choose.deferred_steps(state.facts, route))
    state.lane_steps += tape.batch * tape.tau
    state.over = signal.last
    add_readout_gradient(w, tape, signal, gradient)
    return gradient


def _carry(state: BlockState, tape: Tape, direct: np.ndarray, active: float) -> np.ndarray:
    """The gradient of a sequence that is one tape, by its transitions between messages, or between states."""
    facts, values, lists = state.facts, choose.tuning(), None
    way = choose.transitions(facts, tape.tau, active)
    if way.between == "messages":
        steps = window(tape.tau, facts.states, active, state.wiring.row_history, values.tile_bytes)
        workers = threads() if way.macs * tape.batch >= values.transition_work else 1
        return carry_messages(state, tape, direct, steps, values.tile_bytes, workers)
    room = choose.transition_room(facts)
    if not choose.all_to_all(facts):
        lists = _step_jacobian(state, tape, *_sent(state, tape), 0, tape.tau, False)
        room -= sum(part.nbytes for part in lists[:-1])
    cut = segments(facts.units, facts.dtype, tape.tau, values.segment_length)
    sizes = Room(cut, values.tile_bytes, min(room, values.aside_bytes), values.transition_work)
    return carry_transitions(state, tape, direct, lists, sizes)


def _defer(state: BlockState, tape: Tape, direct: np.ndarray, most: int) -> np.ndarray:
    """Keep a short tape; the gradient goes back through the kept ones, or comes with them when they are many enough."""
    kept = state.kept = state.kept or kept_steps.empty(state.wiring, tape, most)
    if kept.steps + tape.tau > kept.room:
        catch_up(state)
    kept.add(tape)
    if kept.steps + tape.tau <= kept.room:
        return deferred.gradient_through(state, kept, direct, choose.tuning().lanes_at_a_time)
    return _advance_kept(state, kept, direct)


def catch_up(state: BlockState, wanted: bool = True) -> None:
    """Advance the influence over steps that are deferred, or forget them if it is not ``wanted``."""
    kept = state.kept
    if kept is not None and kept.steps:
        if wanted:
            _advance_kept(state, kept, np.zeros((0, kept.batch, state.wiring.n_units), state.wiring.dtype))
        kept.steps = 0


def _advance_kept(state: BlockState, kept: DeferredSteps, direct: np.ndarray) -> np.ndarray:
    nothing = np.zeros((kept.steps, kept.batch, state.wiring.n_outputs), direct.dtype)
    tape, thetas = kept.tape(), kept.theta[: kept.steps]
    weights, route = readout_weights(state.wiring, tape.theta), choose.forced()
    gradient = _advance(state, tape, kept.padded(direct), nothing, weights, False, route, thetas)
    kept.steps = 0
    return gradient


def _advance(
    state: BlockState, tape: Tape, direct: np.ndarray, zbar: np.ndarray, weights: np.ndarray, last: bool, route: str | None,
    thetas: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Advance the blocks over a tape; gradient of ``direct`` = dL/dy (tau, B, N), and of what leaky readouts carry (``zbar``).

    ``thetas`` (tau, parameters): the parameters of each step, if they are not the same for all.
    """
    w, batch, values, facts = state.wiring, tape.batch, choose.tuning(), state.facts
    D = len(state.sent)
    sent, senders = _sent(state, tape)
    leaky = leaks(w)
    past = leaky.past(zbar[0])  # weight of the readouts' rows before the tape in its losses
    blocks = state.layout
    full, others, chunks = tasks(blocks, batch, threads(), values.lanes_at_a_time)
    gradients, counts = np.zeros((chunks, w.n_parameters), w.dtype), np.zeros((max(len(full), len(others)), 4), np.int64)
    dense = choose.all_to_all(facts, route)
    step = max(1, values.jacobian_list_bytes // max(1, step_jacobian.nbytes(w, blocks, batch, dense)))
    for t0 in range(0, tape.tau, step if thetas is None else tape.tau):
        t1 = min(t0 + step, tape.tau) if thetas is None else tape.tau
        jacobian = _step_jacobian(state, tape, sent, senders, t0, t1, dense, thetas)
        kept, powers, final = leaky.over(t1 - t0)[leaky.kind], leaky.powers(t1 - t0), last and t1 == tape.tau
        losses = Losses(direct, leaky.outputs, leaky.kind, kept, past if t0 == 0 else 0 * past, weights, powers)
        given = (sent, senders, jacobian, losses, gradients, counts, final, t0, t1, route)
        _sweep(state, tape, (full, others), *given)
    state.sent, state.senders = sent[len(sent) - D :].copy(), senders[len(sent) - D :].copy()
    state.clock = (state.clock + tape.tau) % D
    state.o[...], state.q[...] = tape.o[-1], tape.q[-1]
    state.counts += np.add.reduce(counts, 0)
    return gradients[0] if chunks == 1 else gradients.sum(0)


def _sent(state: BlockState, tape: Tape) -> tuple[np.ndarray, np.ndarray]:
    """How many units were gradient-active, and which, in the last steps before the tape and in its own."""
    count, units, _ = tape.active(state.wiring)
    return np.concatenate((state.sent, count)), np.concatenate((state.senders, units))


def _step_jacobian(
    state: BlockState, tape: Tape, sent: np.ndarray, senders: np.ndarray, t0: int, t1: int, dense: bool,
    thetas: np.ndarray | None = None,
) -> StepJacobian:  # fmt: skip
    w, rows = state.wiring, (t1 - t0) * tape.batch
    if not len(w.pair_pre):
        return step_jacobian.none_arrive(w, rows)
    if state.scratch is None or len(state.scratch.starts) != rows or state.scratch.all_to_all != dense:
        state.scratch = step_jacobian.allocate(w, state.layout, rows, dense)
    if thetas is not None:
        return step_jacobian.fill_steps(state.scratch, w, tape, thetas, sent, senders)
    return step_jacobian.fill(state.scratch, w, tape, tape.theta, sent, senders, t0, t1)


def _sweep(
    state: BlockState, tape: Tape, parts: tuple[np.ndarray, np.ndarray], sent: np.ndarray, senders: np.ndarray,
    jacobian: StepJacobian, losses: Losses, gradients: np.ndarray, counts: np.ndarray, final: bool, t0: int, t1: int,
    route: str | None,
) -> None:  # fmt: skip
    """Advance blocks (tasks of those of full reach, of others) by products, by events, or step by step."""
    D, facts, values, (full, others) = len(state.sent), state.facts, choose.tuning(), parts

    @functools.cache
    def cut() -> tuple[np.ndarray, int]:
        return cut_steps(sent[t0 : D + t1], facts.widest_row * facts.dtype.itemsize, values.store_bytes, D)

    sequence = bool(final and tape.reset.all())
    earlier, active = _mean(sent[D + t0 - 1 : D + t1 - 1]), _mean(sent[D + t0 : D + t1])
    choice = choose.route_of_rows(facts, t1 - t0, earlier, active, lambda: len(cut()[0]) - 1, sequence, route)
    state.ran(choice, tape.start + t0)
    w = state.wiring
    o, q = (state.o, state.q) if t0 == 0 else (tape.o[t0 - 1], tape.q[t0 - 1])  # what the rows sent just before were made of
    before = Before(sent[D + t0 - 1], senders[D + t0 - 1], o, q)
    if choice.route == choose.PRODUCTS:
        given = (losses, gradients, counts, t0, t1, facts.seeds, values.jacobian_bytes)
        sweep_products(state, tape, full, before, jacobian, *given)
        return
    lane, size, arrays = state.batch, lanes(w.dtype), (w.tables, linear(tape), state.columns, state.arrays)
    heard = (tape.messages, tape.history, Active(*tape.active(w)))
    if choice.route == choose.EVENTS:
        plan = event_plan(jacobian, w, tape, t0, *cut(), sent, senders, losses.powers)
        rest = (plan, jacobian, losses, gradients)
        given, general = (lane, size, *arrays, *heard, before, *rest), (lane, state.clock, size, *arrays, *heard, *rest)
        _in_parts(lambda part: sweep_events(full[part], *given, counts[part], final), full)
        _in_parts(lambda part: sweep_general_events(others[part], *general, counts[part], final), others)
        return
    rest = (jacobian, losses, gradients)
    given = (t0, t1, lane, size, *arrays, *heard, before, *rest)
    _in_parts(lambda part: sweep_whole(full[part], *given, counts[part], final), full)
    most = max(w.n_units, w.max_states, w.most_pairs)
    general = (t0, t1, lane, state.clock, size, most, *arrays, *heard, before.count, *rest)
    _in_parts(lambda part: sweep(others[part], *general, counts[part], final), others)


def _in_parts(loop: Callable[[slice], object], tasks: np.ndarray) -> None:
    """Run them in threads; what has none is not compiled."""
    if len(tasks):
        in_parts(loop, len(tasks))


def _mean(counts: np.ndarray) -> float:
    return float(counts.item()) if counts.size == 1 else float(np.add.reduce(counts, None)) / counts.size


def _work(state: BlockState, tape: Tape, active: float) -> float:
    """A guess at the multiply-adds of a tape: block elements times the share of connections in use."""
    w = state.wiring
    return state.facts.elements * state.batch * tape.tau * (1.0 + active / w.n_units * len(w.pair_pre) / w.n_units)


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
