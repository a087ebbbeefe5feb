"""When the rows of the influence are brought up to date, where that need not be at every step.

A row of the influence is read only when its unit is gradient-active. Between two such events of unit i it obeys a linear
recurrence, M_i <- A_i M_i + sum_j c_ij E_j, so that all that arrived in between can be added at once, each arrival weighted by
the leaks that came after it. Of a unit of several states M_i is as many rows, A_i a matrix, and what arrived at one state has
come to others since. The rows sent, E_j, wait in a store that fits into the cache; a tape is cut into **segments** for
that, at whose ends all rows are brought up to date. The gradient is the same; there are fewer passes over M and longer sums.

The plan depends on the network's run alone: all blocks share it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....network.wiring import Wiring
from ....tape import Tape
from ....threads import in_parts
from ..blocks.step_jacobian import StepJacobian
from .event_plan_kernel import collect, rank_senders


class EventPlan(NamedTuple):
    """Events of every segment and lane. Event ``(t - t0) * B + b, a``: the a-th gradient-active unit at t in lane b sends its
    row; event ``steps * B + segment * B + b, i``: unit i at the end of a segment (count -1 where it has just sent).

    Rows sent lie in a store, in a circle: row a of step t at place ``(number[delays + t - t0, b] + a) % store``.
    """

    cuts: np.ndarray  # (segments + 1) first step of each, and the end
    store: int  # rows sent that a segment keeps at most, with those before it that have not arrived
    number: np.ndarray  # (delays + steps, lanes) rows sent before a step, since the first that may still arrive
    rank: np.ndarray  # (delays + steps, lanes, N) int32: place of a unit among those that send in a step, or -1
    source: np.ndarray  # (entries of the step Jacobian) int32: place in the store of the row of each
    begin: np.ndarray  # (events, N) first arrival of each event
    count: np.ndarray  # arrivals
    scale: np.ndarray  # (events, N, states, states) what became of the unit's states since its last event
    arriving: np.ndarray  # (entries) place in the store
    weight: np.ndarray  # (entries, states) entry of the step Jacobian, and what became of it since
    sent_ptr: np.ndarray  # (segments * lanes, N + 1) rows that each unit has sent in a segment
    sent_slot: np.ndarray
    sent_power: np.ndarray  # (decays, rows sent) what a readout keeps of them until the end of the tape


def cut_steps(sent: np.ndarray, row_bytes: int, store_bytes: int, delays: int = 1) -> tuple[np.ndarray, int]:
    """Cut steps: rows sent, (delays + steps, B), in one segment and before it, if they may still arrive, fit into the store.

    Where long delays keep many rows on their way, a segment sends as many again.
    """
    room, most = max(1, store_bytes // row_bytes), sent.max(axis=1).tolist()
    cuts, steps = [0], len(most) - delays
    flight = rows = store = sum(most[:delays])
    for t in range(steps):
        if t > cuts[-1] and rows + most[delays + t] > max(room, 2 * flight if delays > 1 else 0):
            cuts.append(t)
            flight = rows = sum(most[t : t + delays])
        rows += most[delays + t]
        store = max(store, rows)
    return np.array([*cuts, steps], np.int64), max(store, 1)


def event_plan(
    jacobian: StepJacobian, w: Wiring, tape: Tape, t0: int, cuts: np.ndarray, store: int, sent: np.ndarray, senders: np.ndarray,
    powers: np.ndarray,
) -> EventPlan:  # fmt: skip
    """The events of steps t0 + cuts[0] .. t0 + cuts[-1] - 1.

    ``sent`` (delays + tau, B) and ``senders`` (delays + tau, B, N): gradient-active units of the steps before, and of the tape.
    """
    steps, lots, N, entries = int(cuts[-1]), len(cuts) - 1, w.n_units, jacobian.coef.shape[1]
    rows, S, delays = steps * tape.batch, w.max_states, len(sent) - tape.tau
    shape, now = (rows + lots * tape.batch, N), slice(t0, t0 + delays + steps)
    number = np.zeros((delays + steps, tape.batch), np.int64)
    np.cumsum(sent[now][:-1], 0, out=number[1:])
    found = EventPlan(
        cuts + t0, store, number, rank=np.full((delays + steps, tape.batch, N), -1, np.int32),
        source=np.empty(entries, np.int32), begin=np.empty(shape, np.int64), count=np.zeros(shape, np.int32),
        scale=np.empty((*shape, S, S), w.dtype), arriving=np.empty(entries, np.int32), weight=np.empty((entries, S), w.dtype),
        sent_ptr=np.empty((lots * tape.batch, N + 1), np.int64), sent_slot=np.empty(rows * N, np.int32),
        sent_power=np.empty((len(powers), rows * N), w.dtype),
    )  # fmt: skip
    rank_senders(sent[now], senders[now], found.rank)
    given = (t0, tape.batch, w.pair_ptr, tape.A, w.tables, jacobian, found.rank[delays:], powers, found)
    in_parts(lambda part: collect(*given, part.start, part.stop), lots * tape.batch)
    return found
