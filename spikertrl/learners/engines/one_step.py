"""A tape of one step after another like it: arguments of the loops are made once, and their types looked at once.

Where a network is small most of an online step's time would go there. The arrays of such tapes are the simulator's buffers, the
same at every step; what else the loops read lies in arrays of this object, filled anew before each call.
"""

from __future__ import annotations

import numpy as np

from ...loops import Prepared
from ...tape import Tape
from ...threads import threads
from ..readout import leaks
from . import choose
from .blocks import step_jacobian
from .blocks.layout import tasks
from .blocks.state import BlockState
from .blocks.step_jacobian_kernel import couple, couple_all
from .records import Active, Before, Losses, linear
from .rows.by_step_kernel import sweep
from .rows.dense_kernel import sweep_whole
from .simd.rows import lanes
from .weights import full_weights, outgoing, renew

ROUTES = (choose.ROWS, choose.DENSE_ROWS, choose.GENERAL_ROWS)


class OneStep:
    """All that rows need to take one more step, of a state whose messages all arrive after one step."""

    def __init__(self, state: BlockState, tape: Tape, choice: choose.Choice, route: str | None) -> None:
        w, B, values = state.wiring, tape.batch, choose.tuning()
        self.asked, self.choice, self.values, self.arrays = route, choice, values, _arrays(state, tape)
        self.sent, self.senders = np.zeros((2, B), np.int32), np.zeros((2, B, w.n_units), np.int32)
        leaky, (full, others, chunks) = leaks(w), tasks(state.layout, B, 1, values.lanes_at_a_time)
        self.direct, self.past = np.zeros((1, B, w.n_units), w.dtype), np.zeros((B, len(leaky.outputs)), w.dtype)
        self.weights = np.zeros((w.n_outputs, w.n_units), w.dtype)
        self.gradients = np.zeros((chunks, w.n_parameters), w.dtype)
        self.counts = np.zeros((len(full) + len(others), 4), np.int64)
        self.dense = choose.all_to_all(state.facts, route)
        self.synapses = full_weights(w, tape.theta) if self.dense else outgoing(w, tape.theta)
        arrive = len(w.pair_pre) > 0
        jacobian = step_jacobian.allocate(w, state.layout, B, self.dense) if arrive else step_jacobian.none_arrive(w, B)
        before, now = Before(self.sent[0], self.senders[0], state.o, state.q), Active(*tape.active(w))
        kept, powers = leaky.over(1)[leaky.kind], leaky.powers(1)
        losses = Losses(self.direct, leaky.outputs, leaky.kind, kept, self.past, self.weights, powers)
        heard, rest = (tape.messages, tape.history, now), (jacobian, losses, self.gradients)
        size, arrays = lanes(w.dtype), (w.tables, linear(tape), state.columns, state.arrays)
        most = max(w.n_units, w.max_states, w.most_pairs)
        every = (
            (couple_all, tape.B, self.synapses, w.heard_ports, 1, self.sent, self.senders, w.tables, 0, B,
             jacobian.coef.reshape(B, -1), 0, B)
            if self.dense
            else (couple, tape.B, self.synapses, 1, self.sent, self.senders, w.tables, 0, B, jacobian, 0, B),
            (sweep_whole, full, 0, 1, B, size, *arrays, *heard, before, *rest, self.counts[: len(full)], False),
            (sweep, others, 0, 1, B, 0, size, most, *arrays, *heard, before.count, *rest, self.counts[len(full) :], False),
        )  # fmt: skip
        there = arrive, len(full) > 0, len(others) > 0  # what has no task is not compiled
        self.calls = [Prepared(*one) for one, wanted in zip(every, there, strict=True) if wanted]

    def fits(self, state: BlockState, tape: Tape, route: str | None) -> bool:
        """Is it the same state, are the arrays those that the calls were prepared with?"""
        same = route == self.asked and choose.tuning() is self.values and threads() == 1
        return same and all(a is b for a, b in zip(self.arrays, _arrays(state, tape), strict=True))

    def advance(self, state: BlockState, tape: Tape, direct: np.ndarray, zbar: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Advance the rows over the tape; the gradient, but for the readouts' own."""
        w = state.wiring
        count, units, _ = tape.active(w)
        self.sent[0], self.senders[0], self.sent[1], self.senders[1] = state.sent[0], state.senders[0], count[0], units[0]
        self.direct[...], self.weights[...], self.past[...] = direct, weights, leaks(w).past(zbar[0])
        renew(self.synapses, w, tape.theta)
        self.gradients[...], self.counts[...] = 0, 0
        for call in self.calls:
            call()
        state.ran(self.choice, tape.start)
        state.sent[0], state.senders[0] = count[0], units[0]
        state.o[...], state.q[...] = tape.o[0], tape.q[0]
        state.counts += np.add.reduce(self.counts, 0)
        return self.gradients[0].copy() if len(self.gradients) == 1 else self.gradients.sum(0)


def one_step(state: BlockState, tape: Tape, route: str | None) -> OneStep | None:
    """What takes such a tape; made when a second one like the last comes, None where there is none."""
    found = state.one_step
    if found is not None and found.fits(state, tape, route):
        return found
    if state.repeated is not tape.A or len(state.sent) != 1 or threads() != 1:
        state.repeated, state.one_step = tape.A, None
        return None
    active = float(state.sent.mean())
    choice = choose.route_of_rows(state.facts, 1, active, active, lambda: 1, False, route)
    state.one_step = OneStep(state, tape, choice, route) if choice.route in ROUTES else None
    return state.one_step


def _arrays(state: BlockState, tape: Tape) -> tuple:
    of_tape = (tape.A, tape.B, tape.P, tape.o, tape.q, tape.messages, *tape.active(state.wiring))
    return (*of_tape, state.wiring, state.o, state.q, *state.arrays)
