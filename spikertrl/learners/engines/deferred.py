"""Online steps over which the influence is not advanced at once: several together, as a tape, while it is in the cache.

An influence that exceeds the cache is read and written through main memory by every update, however short its tape. So short
tapes are kept, each with the parameters it was made with, and the influence M stays at the step s before them. The gradient of
a loss at step t is then exact through both: it goes back over the kept steps, and what is left of it meets M(s):

    lambda(s) = dL(t)/ds(s),  by the adjoint of the kept steps (see ``adjoint``);    dL(t)/dtheta = kept steps + lambda(s) M(s)

which reads M, and of it only the rows that events lead to, where an update would also write it. Messages that were on their
way at step s meet their own rows likewise. This is the split of a gradient that hybrids of RTRL and backpropagation use
(Schmidhuber 1992; Williams and Zipser 1995), over a few steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...threads import in_parts, threads
from .adjoint.adjoint import Adjoint, into_parameters
from .blocks.kept_steps import DeferredSteps
from .blocks.layout import tasks
from .deferred_kernel import meet_rows, read_late, read_rows
from .simd.rows import lanes

if TYPE_CHECKING:
    from .blocks.state import BlockState


def gradient_through(state: BlockState, kept: DeferredSteps, direct: np.ndarray, lanes_at_a_time: int) -> np.ndarray:
    """Gradient of ``direct`` (steps, B, N) = dL/dy of the last steps kept, through all kept steps and the influence."""
    w, blocks, tape = state.wiring, state.layout, kept.tape()
    full, others, chunks = tasks(blocks, kept.batch, threads(), lanes_at_a_time)
    gradient, size = np.zeros((chunks, w.n_parameters), w.dtype), lanes(w.dtype)
    adjoint = Adjoint(w, kept.batch)
    gamma = adjoint.back(tape, kept.padded(direct), 0, kept.theta)
    gaps = into_parameters(w, [(tape, gamma, 0)], gradient[0])
    done = []
    if state.facts.some_full_reach:
        rows = np.empty((kept.batch, w.n_units), w.dtype)
        message = adjoint.ring[(kept.start - 1) % len(adjoint.ring)]
        meet_rows(adjoint.carry, message, state.sent[-1], state.o, state.q, w.tables, rows, adjoint.phi)
        given = (kept.batch, size, state.columns, state.arrays, rows, gradient)
        for blocks_of in (full, others):
            in_parts(lambda part, mine=blocks_of: done.append(read_rows(mine[part], *given)), len(blocks_of))
    else:
        passed = (adjoint.carry, adjoint.ring, gradient)
        late = (kept.batch, size, state.clock, kept.start, w.tables, state.columns, state.arrays, *passed)
        in_parts(lambda part: done.append(read_late(others[part], *late)), len(others))
    adjoint.own_parameters(gradient[0])
    state.counts[3] += adjoint.count(gamma) + gaps + sum(done)
    return gradient[0] if chunks == 1 else gradient.sum(0)
