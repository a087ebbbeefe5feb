"""Compiled loops where the gradient of deferred steps meets the influence (see ``deferred``)."""

from __future__ import annotations

import numpy as np

from ...loops import loop
from .blocks.columns import add_gradient
from .simd.rows import FAST, sum_rows
from .simd.scalar import add


@loop()
def meet_rows(carry, message, sent, o, q, tables, rows, phi):
    """rows <- lambda = carry + o ybar at the step before the kept ones, where units have one state; phi += q ybar.

    o and q have no meaning in lanes where that step ``sent`` nothing, for example because they have been reset since.
    """
    Q, size, local, start_o, start_q = tables.Q, tables.size, tables.local, tables.start_o, tables.start_q
    B, N = rows.shape
    for b in range(B):
        for i in range(N):
            at = start_o[i] * B + b * size[i] + local[i]
            rows[b, i] = carry[at] + (o[at] * message[b, i] if sent[b] else 0)
            for k in range(Q[i] if sent[b] else 0):
                phi[start_q[i] + k * size[i] + local[i]] += (
                    q[start_q[i] * B + (b * Q[i] + k) * size[i] + local[i]] * message[b, i]
                )


@loop(nogil=True, fastmath=FAST)
def read_rows(tasks, B, simd_width, blocks, influence, signal, gradient):
    """gradient += signal (B, N) times the rows of whole blocks, which stay as they are. Returns multiply-adds done."""
    first_M, reach_ptr, stride_of, run_ptr = blocks.first_M, blocks.reach_ptr, blocks.stride, blocks.run_ptr
    runs, theta, M, row_live = blocks.runs, blocks.theta, influence.M, influence.row_live
    position, width = influence.position, influence.width
    N, done = signal.shape[1], 0
    for task in range(len(tasks)):
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
                    sum_rows(g, 0, M.dtype.type(0), M, places, weights, n, (w + simd_width - 1) // simd_width * simd_width)
                else:
                    g[:w] = 0
                    for a in range(n):  # many rows stream from main memory one after the other
                        add(g[:w], weights[a], M[places[a] : places[a] + w])
                add_gradient(gradient[chunk], g, b, run_ptr[gr], run_ptr[gr + 1], runs, theta, position)
            done += n * w
    return done
