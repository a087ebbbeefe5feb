"""Exact RTRL over a tape by the product of its Jacobians, where rows of the influence would be summed oftener than they need.

With J(t) = ds(t)/ds(t-1) and the immediate terms I(t), the influence after a tape of tau steps is

    M(tau) = X(0)^T M(0) + sum over t of X(t)^T I(t),      X(t)^T = J(tau) .. J(t+1),

and X comes backwards, one seed per state: X(t-1) = J(t)^T X(t). Seeds of the losses, and of the sums that leaky readouts keep,
go back beside them, so that the gradient needs no row of its own. M is multiplied once a tape instead of once a step, and what
is paid every step is a product of the size of the Jacobian: n^3 + n P operations a step and n^2 P a tape of a dense network of
n units and P parameters, where steps one by one take n^2 P each (Schmidhuber 1992, Neural Computation 4; Williams and Zipser
1995). Where few units are active the steps one by one are cheaper: ``choose`` counts both.

A sequence that is one tape goes forward all the same (see ``transitions``): of its product nothing would remain but the losses'
seeds, which is backpropagation through time, a learner of its own.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from ....tape import Tape
from ....threads import share, threads
from ..blocks.step_jacobian import StepJacobian
from ..records import Active, Before, Losses, linear
from ..simd.rows import lanes
from .backward_kernel import go_back
from .kernel import sweep_product

if TYPE_CHECKING:
    from ..blocks.state import BlockState


def sweep_products(
    state: BlockState, tape: Tape, tasks: np.ndarray, before: Before, jacobian: StepJacobian, losses: Losses,
    gradient: np.ndarray, counts: np.ndarray, t0: int, t1: int, seeds: int, jacobian_bytes: int,
) -> None:  # fmt: skip
    """As the loops over blocks, for those of full reach, with X of ``seeds`` columns, in ``jacobian_bytes``.

    ``before``: the step before t0.
    """
    w, columns, arrays, linearisation = state.wiring, state.columns, state.arrays, linear(tape)
    active = Active(*tape.active(w))
    workers, done = threads(), []
    edges = lanes_together(np.unique(tasks[:, 2:]), (t1 - t0 + 1) * w.n_units * seeds * w.dtype.itemsize, jacobian_bytes)
    most = int(np.diff(edges).max())
    X = np.empty((most, t1 - t0 + 1, w.n_units, seeds), w.dtype)
    Y = np.empty((most, w.n_units, int(w.Q.max(initial=0)), seeds), w.dtype)
    for lane0, lane1 in itertools.pairwise(edges):
        parts = np.linspace(lane0, lane1, min(workers, lane1 - lane0) + 1).astype(np.int64)
        back = (t0, t1, state.batch, w.tables, linearisation, active, before, jacobian, losses, X, Y)
        share(lambda k, back=back, lane=lane0, at=parts: done.append(go_back(lane, at[k], at[k + 1], *back)), len(parts) - 1)
        mine = tasks[(tasks[:, 2] >= lane0) & (tasks[:, 3] <= lane1)]
        forth = (
            lane0, t0, t1, state.batch, lanes(w.dtype), linearisation, columns, arrays, tape.messages, tape.history, losses,
            gradient, counts, X, Y,
        )  # fmt: skip
        apart = min(workers, len(mine))
        share(lambda k, forth=forth, mine=mine, apart=apart: sweep_product(mine, k, apart, *forth), apart)
    counts[0, 0] += sum(done)


def lanes_together(edges: np.ndarray, lane_bytes: int, jacobian_bytes: int) -> np.ndarray:
    """Edges of groups of lanes whose X fit into ``jacobian_bytes``, of those chunks of lanes that ``edges`` separate."""
    at_once = max(1, int(jacobian_bytes // (lane_bytes * np.diff(edges).max())))
    return np.append(edges[:-1:at_once], edges[-1])
