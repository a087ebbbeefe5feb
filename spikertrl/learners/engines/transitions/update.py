"""Exact RTRL over a sequence that is one tape, by its state transitions: what the influence is made of, carried in its place.

With J(t) = ds(t)/ds(t-1) and the immediate terms I(s), the influence of a sequence that began at step 0 is

    M(t) = sum over s <= t of Phi(t, s) I(s),      Phi(t, s) = J(t) .. J(s+1),      Phi(s, s) = 1,

and every Phi(t, s) obeys the recurrence of the influence itself: Phi(t, s) = J(t) Phi(t-1, s). Carried forward in place of M
they have n columns a step of the sequence so far where M has all P parameters. Fewer still are enough: the sequence is cut into
segments, and once a segment is over, at its last step e, what its steps s have to say passes through e,

    Phi(t, s) = Phi(t, e) Phi(e, s),

so that Phi(e, s) is set aside as it is and Phi(t, e) alone is carried on. With segments of about sqrt(T) steps some sqrt(T)
transitions are carried at a time instead of T. Nothing is approximated, and no step is gone through a second time: a loss at
step t meets at step t what is carried; what the segments' last steps have gathered meets what was set aside once; and I(s), the
messages at s, turns the part of every step into gradient. A dense network of n units takes about n^3 T^1.5 operations where the
influence takes n^2 P T: ``choose`` counts columns. Sun, Chen and Lee (1991, NIPS 4:333) carry the transition matrix of the
linearised network, its Green's function, together with its inverse: n^3 a step, but a unit that resets, or forgets, has a
Jacobian that cannot be inverted.

Units that are out of reach, or without memory, are no hindrance: rows of units without memory that send nothing are left out.
Where something follows, M is needed, and the other routes make it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ....network.wiring import Wiring
from ....tape import Tape
from ....threads import share, threads
from ..adjoint.adjoint import Adjoint, into_parameters
from ..blocks.step_jacobian import StepJacobian, none_arrive
from ..records import Active, Forward
from ..weights import full_weights
from .kernel import carry, last_error, through_sections
from .segments import Segments, tile

if TYPE_CHECKING:
    from ..blocks.state import BlockState


class Room(NamedTuple):
    """How large the pieces are in which transitions are carried (see ``choose.Tuning``)."""

    cut: Segments
    tile_bytes: int
    aside_bytes: int
    small_work: float  # multiply-adds below which one thread is used


def carry_transitions(state: BlockState, tape: Tape, direct: np.ndarray, lists: StepJacobian | None, room: Room) -> np.ndarray:
    """Gradient of ``direct`` = dL/dy (tau, B, N) over a tape in which every lane begins anew and ends.

    ``lists``: the step Jacobian of the tape, unless it is a full matrix (see ``choose.all_to_all``).
    """
    w = state.wiring
    adjoint, gradient = Adjoint(w, tape.batch), np.zeros(w.n_parameters, w.dtype)
    gamma = adjoint.immediate(tape, _lambda(state, tape, direct, lists, room))
    adjoint.messages(tape, gamma, direct, lists is not None)
    gaps = into_parameters(w, [(tape, gamma, 0)], gradient)
    adjoint.own_parameters(gradient)
    state.counts[1] += tape.tau * tape.batch * len(w.col_theta) + gaps
    return gradient


def _lambda(state: BlockState, tape: Tape, direct: np.ndarray, lists: StepJacobian | None, room: Room) -> np.ndarray:
    """dL/ds at every step, (tau, B, N), of all losses that follow; lanes one group after another."""
    w, batch = state.wiring, tape.batch
    leak, gain = _by_unit(w, tape, tape.A, w.start_A), _by_unit(w, tape, tape.o, w.start_o)
    error = direct * gain  # dL/ds of the losses of each step alone
    lam, end, cut = error.copy(), last_error(error), room.cut
    arriving = float(tape.active(w)[0].mean()) * len(w.pair_pre) / w.n_units
    work = cut.carried * cut.wide * batch * (w.n_units + arriving)
    workers = threads() if work >= room.small_work else 1
    m, (K, W) = cut.length, tile(cut, batch, workers, room.tile_bytes)
    together = cut.lanes_together(batch, room.aside_bytes)
    k0s, inner, counts = np.arange(0, w.n_units, K), cut.room(together), np.zeros((workers, 4), np.int64)
    weight = full_weights(w, tape.theta) if lists is None else None
    arrivals = lists or none_arrive(w, 0)
    common = (
        w.tables, Forward(leak, gain, error, end), Active(*tape.active(w)), arrivals, weight, tape.B, w.heard_ports, lam, inner,
        counts,
    )  # fmt: skip
    for b0 in range(0, batch if cut.number else 0, together):
        b1 = min(b0 + together, batch)
        _shared(carry, min(workers, (b1 - b0) * len(k0s)), b0, b1, m, k0s, K, W, *common)
        if m > 1:
            _shared(through_sections, min(workers, (b1 - b0) * cut.number), b0, b1, m, end, lam, inner, counts)
    state.counts += counts.sum(0)
    carried_bytes = min(workers, batch * len(k0s)) * 2 * w.n_units * W * w.dtype.itemsize
    state.transition_bytes = max(state.transition_bytes, carried_bytes + inner.nbytes)
    return lam


def _shared(loop: Callable[..., None], workers: int, *arguments: object) -> None:
    share(lambda k: loop(k, workers, *arguments), workers)


def _by_unit(w: Wiring, tape: Tape, flat: np.ndarray, start: np.ndarray) -> np.ndarray:
    """An array of the tape that has one entry per unit, as (tau, B, N); of a single population as it lies there."""
    if len(w.firsts) == 1:
        return flat.reshape(tape.tau, tape.batch, w.n_units)
    found = [
        flat[:, start[i] * tape.batch : (start[i] + w.size[i]) * tape.batch].reshape(tape.tau, tape.batch, w.size[i])
        for i in w.firsts
    ]
    return np.concatenate(found, axis=2)
