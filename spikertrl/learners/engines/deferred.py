"""Online steps over which the influence is not advanced at once: several together, as a tape, while it is in the cache.

An influence that exceeds the cache is read and written through main memory by every update, however short its tape. So short
tapes are kept, each with the parameters it was made with, and the influence M stays at the step s before them. The gradient of
a loss at step t is then exact through both: it goes back over the kept steps, and what is left of it meets M(s):

    lambda(s) = dL(t)/ds(s),  by the adjoint of the kept steps (see ``adjoint``);    dL(t)/dtheta = kept steps + lambda(s) M(s)

which reads M, and of it only the rows that events lead to, where an update would also write it. This is the split of a gradient
that hybrids of RTRL and backpropagation use (Schmidhuber 1992; Williams and Zipser 1995), over a few steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np
from numba import njit, prange

from .adjoint.adjoint import Adjoint
from .blocks.columns import add_gradient
from .blocks.kept_steps import DeferredSteps
from .blocks.layout import tasks
from .simd.rows import FAST, lanes, sum_rows
from .simd.scalar import add

if TYPE_CHECKING:
    from .blocks.state import BlockState


def gradient_through(state: BlockState, kept: DeferredSteps, direct: np.ndarray, lanes_at_a_time: int) -> np.ndarray:
    """Gradient of ``direct`` (steps, B, N) = dL/dy of the last steps kept, through all kept steps and the influence."""
    w, blocks, tape = state.wiring, state.layout, kept.tape()
    full, _, chunks = tasks(blocks, kept.batch, numba.get_num_threads(), lanes_at_a_time)
    gradient = np.zeros((chunks, w.n_parameters), w.dtype)
    adjoint = Adjoint(w, kept.batch)
    gamma = adjoint.back(tape, kept.padded(direct), 0, gradient[0], kept.theta)
    rows = np.empty((kept.batch, w.n_units), w.dtype)
    message = adjoint.ring[(kept.start - 1) % len(adjoint.ring)]
    _meet(
        adjoint.carry, message, state.sent[-1], state.o, state.q, w.Q, w.size, w.local, w.start_o, w.start_q, rows, adjoint.phi
    )
    adjoint.own_parameters(gradient[0])
    state.counts[3] += adjoint.count(gamma) + _read_rows(
        full, kept.batch, lanes(w.dtype), blocks.first_M, blocks.reach_ptr, blocks.stride, blocks.run_ptr, blocks.runs,
        blocks.theta, state.M, state.row_live, state.position, state.width, rows, gradient,
    )  # fmt: skip
    return gradient[0] if chunks == 1 else gradient.sum(0)


@njit(cache=True)
def _meet(carry, message, sent, o, q, Q, size, local, start_o, start_q, rows, phi):
    """rows <- lambda = carry + o ybar at the step before the kept ones, where units have one state; phi += q ybar.

    o and q have no meaning in lanes where that step ``sent`` nothing, for example because they have been reset since.
    """
    B, N = rows.shape
    for b in range(B):
        for i in range(N):
            at = start_o[i] * B + b * size[i] + local[i]
            rows[b, i] = carry[at] + (o[at] * message[b, i] if sent[b] else 0)
            for k in range(Q[i] if sent[b] else 0):
                phi[start_q[i] + k * size[i] + local[i]] += (
                    q[start_q[i] * B + (b * Q[i] + k) * size[i] + local[i]] * message[b, i]
                )


@njit(parallel=True, fastmath=FAST, cache=True)
def _read_rows(tasks, B, lanes, first_M, reach_ptr, stride_of, run_ptr, runs, theta, M, row_live, position, width, signal,
               gradient):  # fmt: skip
    """gradient += signal (B, N) times the rows of blocks of full reach. Returns multiply-adds done."""
    N, done = signal.shape[1], 0
    for task in prange(len(tasks)):
        gr, chunk = tasks[task, 0], tasks[task, 1]
        stride = stride_of[gr]
        g, places, weights = np.empty(stride, M.dtype), np.empty(N, np.int64), np.empty(N, M.dtype)
        for b in range(tasks[task, 2], tasks[task, 3]):
            base, lives, n, w = B * first_M[gr] + b * N * stride, B * reach_ptr[gr] + b * N, 0, width[b, gr]
            for i in range(N):
                if signal[b, i] != 0 and row_live[lives + i]:
                    places[n], weights[n] = base + i * stride, signal[b, i]
                    n += 1
            if n:
                if 2 * n < N:
                    sum_rows(g, 0, M.dtype.type(0), M, places, weights, n, (w + lanes - 1) // lanes * lanes)
                else:
                    g[:w] = 0
                    for a in range(n):  # many rows stream from main memory one after the other
                        add(g[:w], weights[a], M[places[a] : places[a] + w])
                add_gradient(gradient[chunk], g, b, run_ptr[gr], run_ptr[gr + 1], runs, theta, position)
            done += n * w
    return done
