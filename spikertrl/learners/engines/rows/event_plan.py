"""When the rows of the influence are brought up to date, where that need not be at every step.

A row of the influence is read only when its unit is gradient-active. Between two such events of unit i it obeys a linear
recurrence, M_i <- A_i M_i + sum_j c_ij E_j, so that all that arrived in between can be added at once, each arrival weighted by
the leaks that came after it. The rows sent, E_j, wait in a store that fits into the cache; a tape is cut into **segments** for
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
from ..records import Active
from .event_plan_kernel import collect


class EventPlan(NamedTuple):
    """Events of every segment and lane. Event ``(t - t0) * B + b, a``: the a-th gradient-active unit at t in lane b sends its
    row; event ``steps * B + segment * B + b, i``: unit i at the end of a segment (count -1 where it has just sent).
    """

    cuts: np.ndarray  # (segments + 1) first step of each, and the end
    store: int  # rows sent that a segment keeps at most, with those that arrive in its first step
    first: np.ndarray  # (steps * lanes) place in the store of the first row sent in this step
    begin: np.ndarray  # (events, N) first arrival of each event
    count: np.ndarray  # arrivals
    scale: np.ndarray  # leak since the unit's last event
    arriving: np.ndarray  # (entries) place in the store
    weight: np.ndarray  # (entries) entry of the step Jacobian times the leak that followed
    sent_ptr: np.ndarray  # (segments * lanes, N + 1) rows that each unit has sent in a segment
    sent_slot: np.ndarray
    sent_power: np.ndarray  # (decays, rows sent) what a readout keeps of them until the end of the tape


def cut_steps(sent: np.ndarray, row_bytes: int, store_bytes: int) -> tuple[np.ndarray, int]:
    """Cut steps: rows sent, (1 + steps, B), in one segment and just before it fit into the store."""
    room = max(1, store_bytes // row_bytes)
    most = sent.max(axis=1)
    cuts, rows, store = [0], int(most[0]), 0
    for t in range(len(most) - 1):
        if t > cuts[-1] and rows + most[t + 1] > room:
            cuts.append(t)
            rows = int(most[t])
        rows += int(most[t + 1])
        store = max(store, rows)
    return np.array([*cuts, len(most) - 1], np.int64), store


def event_plan(
    jacobian: StepJacobian, w: Wiring, tape: Tape, t0: int, cuts: np.ndarray, store: int, before: np.ndarray, powers: np.ndarray
) -> EventPlan:
    """The events of steps t0 + cuts[0] .. t0 + cuts[-1] - 1; ``before`` (B): units that were gradient-active just before."""
    steps, lots, N, entries = int(cuts[-1]), len(cuts) - 1, w.n_units, len(jacobian.slot)
    rows = steps * tape.batch
    shape = (rows + lots * tape.batch, N)
    found = EventPlan(
        cuts + t0, store, first=np.empty(rows, np.int64), begin=np.empty(shape, np.int64), count=np.empty(shape, np.int32),
        scale=np.empty(shape, w.dtype), arriving=np.empty(entries, np.int32), weight=np.empty(entries, w.dtype),
        sent_ptr=np.empty((lots * tape.batch, N + 1), np.int64), sent_slot=np.empty(rows * N, np.int32),
        sent_power=np.empty((len(powers), rows * N), w.dtype),
    )  # fmt: skip
    given = (t0, tape.batch, w.pair_ptr, tape.A, w.tables, jacobian, before, Active(*tape.active(w)), powers, found)
    in_parts(lambda part: collect(*given, part.start, part.stop), lots * tape.batch)
    return found
