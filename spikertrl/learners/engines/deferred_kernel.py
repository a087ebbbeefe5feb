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
    """gradient += signal (B, N) times the rows of blocks, which stay as they are. Returns multiply-adds done.

    Units have one state, and what was sent in the step before is made of it.
    """
    first_M, reach_ptr, stride_of, run_ptr, reach = (
        blocks.first_M, blocks.reach_ptr, blocks.stride, blocks.run_ptr, blocks.reach,
    )  # fmt: skip
    runs, theta, M, row_live = blocks.runs, blocks.theta, influence.M, influence.row_live
    position, width = influence.position, influence.width
    N, done = signal.shape[1], 0
    for task in range(len(tasks)):
        gr, chunk = tasks[task, 0], tasks[task, 1]
        stride, first, units = stride_of[gr], reach_ptr[gr], reach_ptr[gr + 1] - reach_ptr[gr]
        g, places, weights = np.empty(stride, M.dtype), np.empty(N, np.int64), np.empty(N, M.dtype)
        for b in range(tasks[task, 2], tasks[task, 3]):
            base, lives, n, w = B * first_M[gr] + b * units * stride, B * first + b * units, 0, width[b, gr]
            for u in range(units):
                said = signal[b, reach[first + u]]
                if said != 0 and row_live[lives + u]:
                    places[n], weights[n] = base + u * stride, said
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


@loop(nogil=True, fastmath=FAST)
def read_late(tasks, B, simd_width, clock, start, tables, blocks, influence, carry, ring, gradient):
    """As ``read_rows`` for any units: ``carry`` (flat, like o) times their rows, and ``ring`` times those on their way.

    ``ring`` (steps, B, N) holds dL/dy of the messages sent in the last steps before ``start``, each at its step modulo steps.
    """
    S, size, local, start_o = tables.S, tables.size, tables.local, tables.start_o
    first_M, first_E, reach_ptr, reach = blocks.first_M, blocks.first_E, blocks.reach_ptr, blocks.reach
    stride_of, row_of, run_ptr, runs, theta = blocks.stride, blocks.row_of, blocks.run_ptr, blocks.runs, blocks.theta
    M, E, slot, row_live = influence.M, influence.E, influence.slot, influence.row_live
    position, width = influence.position, influence.width
    D, N, done = len(slot) // (B * len(reach)), len(S), 0
    for task in range(len(tasks)):
        gr, chunk = tasks[task, 0], tasks[task, 1]
        stride, first, units = stride_of[gr], reach_ptr[gr], reach_ptr[gr + 1] - reach_ptr[gr]
        rows = row_of[first + units - 1] + S[reach[first + units - 1]]
        g, places, weights = np.zeros(stride, M.dtype), np.empty(D * N + rows, np.int64), np.empty(D * N + rows, M.dtype)
        for b in range(tasks[task, 2], tasks[task, 3]):
            base, lives, w = B * first_M[gr] + b * rows * stride, B * first + b * units, width[b, gr]
            flight, slots = (B * first_E[gr] + b * units * stride) * D, (B * first + b * units) * D
            wide, n = (w + simd_width - 1) // simd_width * simd_width, 0
            for u in range(units):
                i = reach[first + u]
                for s in range(S[i] if row_live[lives + u] else 0):
                    said = carry[start_o[i] * B + (b * S[i] + s) * size[i] + local[i]]
                    if said != 0:
                        places[n], weights[n] = base + (row_of[first + u] + s) * stride, said
                        n += 1
            sum_rows(g, 0, M.dtype.type(0), M, places, weights, n, wide)
            done += n * w
            n = 0
            for back in range(1, D + 1):
                line, now = (clock - back) % D, (start - back) % len(ring)
                for u in range(units):
                    a, said = slot[slots + line * units + u], ring[now, b, reach[first + u]]
                    if a >= 0 and said != 0:
                        places[n], weights[n] = flight + (line * units + a) * stride, said
                        n += 1
            sum_rows(g, 0, M.dtype.type(1), E, places, weights, n, wide)
            done += n * w
            add_gradient(gradient[chunk], g, b, run_ptr[gr], run_ptr[gr + 1], runs, theta, position)
    return done
