"""Exact RTRL over a sequence that is one tape, by what every message does to every later one: of any network.

Only a gradient-active unit passes on what its state owes to the past. So there is one number between two such events, message a
of unit j at step s and message b of unit i at a later step t: e(b, a) = dy_i(t)/dy_j(s) over all paths. These numbers obey the
recurrence of the influence, with a column for every event instead of one for every parameter; with the rows x of the states,

    x_i(t) = A_i(t) x_i(t-1) + B_i(t) sum over synapses c of theta_c e(pre(c) at t - d_c),    e(b) = o_i(t) x_i(t),

and 1 in an event's own column. A column arrives with its message, so that delays cost nothing; silent units have none; and it
is the message, not the states, that is differentiated by, however many states a unit has. Carried forward over n events of
units with k synapses each that takes some n^2 k / 2 operations. Rows are kept by events, too: states are brought up to date
where their unit is gradient-active, by the product of its own Jacobians A since it last was, and in between nothing is touched.
Columns do not meet: as many are carried together as fit into the cache. In long sequences all units are brought up to date
after windows of some steps, so that rows of old messages are no longer needed.

A loss at step t meets the events that it sees at step t, dL/dy_i(t) e(b, a), and tells every earlier event its share:
ybar(a) = dL/dy_j(s) is complete when the last loss has spoken. The rest is inside the units: dL/dtheta sums, over the events of
a unit, ybar times what its own parameters have done to that message through its own states alone; the factorization of Bellec
et al. (2020, Nature Communications 11:3625), with the exact learning signal in place of theirs. Nothing is approximated.

Where most units are active, transitions between the states of one step after another (see ``update``) are fewer; units of one
state and delays of one step may go either way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ....tape import Tape
from ....threads import share
from ..adjoint.adjoint import Adjoint, into_parameters
from ..records import Active, linear
from ..simd.rows import lanes
from ..weights import outgoing
from .event_kernel import carry
from .kernel import last_error

if TYPE_CHECKING:
    from ..blocks.state import BlockState


def carry_messages(state: BlockState, tape: Tape, direct: np.ndarray, window: int, tile_bytes: int, workers: int) -> np.ndarray:
    """Gradient of ``direct`` = dL/dy (tau, B, N) over a tape in which every lane begins anew and ends.

    ``window``: steps after which all units are brought up to date; ``tile_bytes``: of the columns carried together.
    """
    w, batch = state.wiring, tape.batch
    adjoint, gradient, ybar = Adjoint(w, batch), np.zeros(w.n_parameters, w.dtype), direct.copy()
    parts = 1 if batch >= workers else -(-workers // batch)
    counts, held = np.zeros((workers, 4), np.int64), []
    given = (
        last_error(direct), window, w.row_history, tile_bytes, lanes(w.dtype), w.tables, linear(tape), w.heard_ports,
        Active(*tape.active(w)), outgoing(w, tape.theta), direct, ybar, counts,
    )  # fmt: skip
    share(lambda k: held.append(carry(k, workers, parts, *given)), workers)
    gamma = adjoint.inside_units(tape, ybar)
    gaps = into_parameters(w, [(tape, gamma, 0)], gradient)
    adjoint.own_parameters(gradient)
    state.counts += counts.sum(0)
    state.counts[1] += tape.tau * batch * len(w.col_theta) + gaps
    state.transition_bytes = max(state.transition_bytes, sum(held) * w.dtype.itemsize)
    return gradient
