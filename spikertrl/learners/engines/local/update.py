"""Local influence: of each unit's own rows over its own parameters. All that SnAp-1, e-prop and RFLO keep.

What a message was worth to a leaky readout before the tape is kept per column, as a decayed sum, and weighted with the
readout's present weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ....network.wiring import Wiring
from ....resources import enough_ranks, readable, require, smaller
from ....tape import Tape
from ....threads import in_parts, threads, threads_for
from ...base import Plan, Signal
from ...readout import add_readout_gradient, leaks, readout_weights, signal_through_decay
from .. import as_matrix
from ..choose import tuning
from ..records import linear
from ..simd import columns as lane_vectors
from ..simd.rows import aligned
from . import kernel_batch as lanes_kernel
from . import kernel_events as events_kernel
from . import kernel_one as kernel
from .layout import Table, heard, lane_groups, shared_out, table
from .records import Loops, Signals


@dataclass
class LocalState:
    """Rows of each unit's own columns; all arrays are advanced in place.

    Lanes lie side by side in groups of ``lane_vectors.width``. ``M``: per group, unit, state, the unit's columns (``Table``),
    their lanes; ``F`` (decays, groups, columns, lanes): dy/dtheta summed over the past with each decay that a readout has.
    ``o``, ``q``: the last step's dO/ds and dO/dphi. ``counts``: multiply-adds by coefficients that are not zero, done since
    ``init`` (propagation, immediate terms, messages, readout).
    """

    wiring: Wiring
    batch: int
    M: np.ndarray
    F: np.ndarray
    o: np.ndarray
    q: np.ndarray
    counts: np.ndarray = field(default_factory=lambda: np.zeros(4, np.int64))
    lane_steps: int = 0

    def bytes_held(self) -> int:
        """Bytes of the rows."""
        return self.M.nbytes + self.F.nbytes

    def influence(self, lane: int = 0, of: str = "state") -> np.ndarray:
        """One lane's influence as a dense matrix, see ``cost.influence``."""
        return as_matrix.own_rows(self, lane, of)


def local_plan(w: Wiring) -> Plan:
    """Multiply-adds of own rows."""
    macs = float((np.diff(w.col_ptr) * (w.S * w.S + w.S + 1)).sum())
    why = "every unit keeps its rows over its own parameters alone: P (S^2 + S + 1) multiply-adds, or fewer by events"
    return Plan("own rows", why, macs)


def local_bytes(w: Wiring, batch: int) -> int:
    """What ``init_local`` will allocate for the influence."""
    decays = len(leaks(w).decays)
    return math.prod(lane_groups(w, batch)) * w.dtype.itemsize * int((np.diff(w.col_ptr) * (w.S + decays)).sum())


def init_local(w: Wiring, batch: int, name: str) -> LocalState:
    """Nothing remembered yet; ``name`` of the learner, for the message.

    Raises
    ------
    NotEnoughMemory
        If it does not fit; the message says what would.
    """
    needed = local_bytes(w, batch)
    what = f"the influence of {name} ({w.n_states} states, {w.n_recurrent} parameters, batch {batch})"
    require(needed, what, lambda free: "what would fit: " + "; ".join(_ways(w, batch, needed, free)))
    found, (groups, width) = table(w), lane_groups(w, batch)
    return LocalState(
        w, batch,
        M=aligned(groups * int(found.first_M[-1]) * width, w.dtype),
        F=np.zeros((len(found.leaky), groups, w.n_recurrent, width), w.dtype),
        o=np.zeros(int(w.S.sum()) * batch, w.dtype),
        q=np.zeros(int(w.Q.sum()) * batch, w.dtype),
    )  # fmt: skip


def _ways(w: Wiring, batch: int, needed: int, free: int) -> list[str]:
    whole = w.undivided
    columns, groups = np.diff(whole.col_ptr), math.prod(lane_groups(whole, batch))
    each = groups * whole.dtype.itemsize * columns * (whole.S + len(leaks(whole).decays))
    ranks = enough_ranks(each, columns * (whole.S + 1), free)
    shared = [f"{ranks} ranks, each with {readable(free)} of its own (srl.parallel.over_columns)"] * (ranks > 0)
    return [*smaller(needed, free, batch), *shared, "Immediate (no memory)"]


def update_local(
    state: LocalState,
    tape: Tape,
    signal: Signal,
    *,
    synaptic: bool = True,
    feedback: np.ndarray | None = None,
    alone: bool = False,
) -> np.ndarray:
    """Advance the rows over a tape and return the gradient.

    ``synaptic=False`` leaves out what a unit sends to itself through a synapse; ``feedback`` (O, N) takes the place of the
    readout weights in the learning signal; ``alone``: a state passes nothing to the other states of its unit.
    """
    w, batch = state.wiring, tape.batch
    if tape.reset.any():
        _reset(state, tape.reset)
    at, leaky = table(w), leaks(w)
    weights = readout_weights(w, tape.theta) if feedback is None else feedback
    zbar, direct = signal_through_decay(w, signal, weights)
    # dL/drow before the tape, per decay
    past = np.empty((len(leaky.decays), batch, w.n_units), w.dtype)
    for d, decay in enumerate(leaky.decays):
        alike = w.decay == decay
        past[d] = (zbar[0][:, alike] * w.dtype.type(decay)) @ weights[alike]
    with threads_for(float(len(state.M)) * tape.tau):
        events = _events(w, tape)
        tasks, chunks = shared_out(w, lane_groups(w, batch)[0] if events is None else 1, threads())
        gradient, counts = np.empty((chunks, w.n_parameters), w.dtype), np.zeros((len(tasks), 4), np.int64)
        gradient[:, at.behind :] = 0  # the rest are columns
        if len(w.frozen):
            gradient[:, w.frozen] = 0
        loops = Loops(at.loop_ptr if synaptic else at.no_loop, at.loop_theta, at.loop_port, tape.theta)
        model = (w.tables, linear(tape), state.o, state.q, alone, loops)
        signals = Signals(direct, past, leaky.powers(tape.tau), leaky.over(tape.tau), at.leaky)
        rows = state.M, state.F.reshape(-1), signals, gradient.reshape(-1)
        if events is not None:
            _sweep_events(at, tape, tasks, model, events, rows, counts)
        else:
            (_sweep_lane if batch == 1 else _sweep_lanes)(at, tape, tasks, model, rows, counts)
    gradient = gradient[0] if chunks == 1 else gradient.sum(0)
    state.o[...], state.q[...] = tape.o[-1], tape.q[-1]
    state.counts += np.add.reduce(counts, 0)
    state.lane_steps += batch * tape.tau
    add_readout_gradient(w, tape, signal, gradient)
    return gradient


def _sweep_lane(at: Table, tape: Tape, tasks: np.ndarray, model: tuple, rows: tuple, counts: np.ndarray) -> None:
    """Advance ``rows`` of a single lane."""
    room = tape.messages.shape[2]
    given = (*model, tape.messages.reshape(-1), tape.history * room, room, at.places, *rows)
    in_parts(lambda part: kernel.sweep(tasks[part], *given, counts[part]), len(tasks))  # pyright: ignore[reportCallIssue]


def _sweep_lanes(at: Table, tape: Tape, tasks: np.ndarray, model: tuple, rows: tuple, counts: np.ndarray) -> None:
    """Advance ``rows`` of several lanes."""
    steps, batch, room = tape.messages.shape
    width = lane_vectors.width(batch, tape.messages.dtype)
    messages = np.empty((-(-batch // width), steps, room + 1, width), tape.messages.dtype)
    in_parts(lambda part: lanes_kernel.side_by_side(tape.messages, batch, messages, part.start, part.stop), len(messages))
    given = (batch, width, *model, messages.reshape(-1), tape.history, room + 1, at.places, *rows)
    in_parts(lambda part: lanes_kernel.sweep(tasks[part], *given, counts[part]), len(tasks))  # pyright: ignore[reportCallIssue]


def _events(w: Wiring, tape: Tape) -> events_kernel.Events | None:
    """The events of a tape; None where going through all steps is faster.

    What decides looks at all columns, those of other processes included.
    """
    values, whole = tuning(), w.undivided
    rate = 1 if tape.batch == 1 else values.local_lanes
    columns, lane_steps = whole.n_recurrent, tape.batch * tape.tau
    fixed = values.local_unit * whole.n_units * lane_steps + values.local_column * columns * tape.batch
    if rate * fixed > columns * lane_steps:
        return None
    counts = np.empty((tape.batch, tape.messages.shape[2]), np.int64)
    events_kernel.count_events(tape.messages, counts)
    if rate * (fixed + values.local_event * float((counts @ heard(whole)).sum())) > columns * lane_steps:
        return None
    last = np.cumsum(counts).reshape(counts.shape)
    starts = np.concatenate([last[:, :1] - counts[:, :1], last], axis=1)
    when, value = np.empty(last[-1, -1], np.int32), np.empty(last[-1, -1], tape.messages.dtype)
    events_kernel.list_events(tape.messages, starts, when, value)
    return events_kernel.Events(starts, when, value)


def _sweep_events(at: Table, tape: Tape, tasks: np.ndarray, model: tuple, events: events_kernel.Events, rows: tuple,
                  counts: np.ndarray) -> None:  # fmt: skip
    """Advance ``rows`` by the events of the tape, one lane after the other."""
    width = lane_vectors.width(tape.batch, tape.messages.dtype)
    given = (tape.batch, width, *model, events, tape.history, at.places, *rows)
    in_parts(lambda part: events_kernel.sweep(tasks[part], *given, counts[part]), len(tasks))  # pyright: ignore[reportCallIssue]


def _reset(state: LocalState, which: np.ndarray) -> None:
    """Forget the given lanes."""
    w = state.wiring
    groups, width = lane_groups(w, state.batch)
    for lane in np.flatnonzero(which):
        state.M.reshape(groups, -1, width)[lane // width, :, lane % width] = 0
        state.F[:, lane // width, :, lane % width] = 0
    for k in w.firsts:
        first, n = w.start_q[k] * state.batch, w.Q[k] * w.size[k]
        state.q[first : first + state.batch * n].reshape(state.batch, n)[which] = 0
