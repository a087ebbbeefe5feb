"""Compiled loops that send the seeds of states, losses and readouts back over a tape (see ``update``)."""

from __future__ import annotations

import numpy as np

from ....loops import inner, loop
from ..simd.gemm import PANEL
from ..simd.rows import FAST
from ..simd.scalar import add
from ..simd.views import flat

SMALL = 32  # seeds up to which a call of BLAS costs more than the product itself


@inner(fastmath=FAST)
def _arrive(G, X, lane, k, n, starts, row, slot, coef, first, all_to_all, table):
    """G (n senders, seeds) = transposed step Jacobian times X[lane, k] (units, seeds). Returns entries used."""
    N, seeds = X.shape[2], X.shape[3]
    if all_to_all:
        for i in range(N):
            for a in range(n):
                table[a * N + i] = coef[first + ((i // PANEL) * n + a) * PANEL + i % PANEL]
        if seeds > SMALL:
            np.dot(table[: n * N].reshape(n, N), X[lane, k], G[:n])
            return n * N
    for a in range(n):
        for s in range(seeds):
            G[a, s] = 0
    for i in range(N):
        if all_to_all:
            for a in range(n):
                add(G[a], table[a * N + i], X[lane, k, i])
        else:
            for e in range(starts[row, i], starts[row, i + 1]):
                add(G[slot[e]], coef[e], X[lane, k, i])
    return n * N if all_to_all else starts[row, N] - starts[row, 0]


@inner(fastmath=FAST)
def _go_back_lane(b, lane, t0, t1, B, tables, linear, active, before, jacobian, coef, room, losses, X, Y):
    """``go_back`` in one lane, with the values of the step Jacobian flat. Returns multiply-adds done."""
    Q, size, local = tables.Q, tables.size, tables.local
    start_A, start_o, start_q, tape_A, tape_o, tape_q = (
        tables.start_A, tables.start_o, tables.start_q, linear.A, linear.o, linear.q,
    )  # fmt: skip
    n_active, active_units = active.count, active.units
    past_active, past_units, past_o, past_q = before.count, before.units, before.o, before.q
    starts, slot, all_to_all = jacobian.starts, jacobian.slot, jacobian.all_to_all
    powers, direct, leaky, kind, out_weight = losses.powers, losses.direct, losses.leaky, losses.kind, losses.out_weight
    steps, N, seeds, L = t1 - t0, X.shape[2], X.shape[3], len(leaky)
    Y[lane] = 0
    X[lane, steps] = 0
    for i in range(N):
        X[lane, steps, i, i] = 1
    G, table, macs = np.zeros((N, seeds), X.dtype), np.zeros(N * N, X.dtype), 0
    for t in range(t1 - 1, t0 - 2, -1):  # messages of step t: what the step after it hears, and what the losses see
        k, inside = t + 1 - t0, t >= t0
        n = n_active[t, b] if inside else past_active[b]
        if t < t1 - 1:
            row = k * B + b
            macs += seeds * (N + _arrive(G, X, lane, k + 1, n, starts, row, slot, coef, row * room, all_to_all, table))
            for i in range(N):
                leak = tape_A[t + 1, start_A[i] * B + b * size[i] + local[i]]
                for s in range(seeds):
                    X[lane, k, i, s] = leak * X[lane, k + 1, i, s]
        else:
            for a in range(n):
                for s in range(seeds):
                    G[a, s] = 0
        for a in range(n):
            j = active_units[t, b, a] if inside else past_units[b, a]
            if inside:
                G[a, N] += direct[t, b, j]
                for r in range(L):
                    G[a, N + 1 + r] += powers[kind[r], t - t0] * out_weight[leaky[r], j]
            at = start_o[j] * B + b * size[j] + local[j]
            factor = tape_o[t, at] if inside else past_o[at]
            for s in range(seeds):
                X[lane, k, j, s] += factor * G[a, s]
            for q in range(Q[j]):
                at = start_q[j] * B + (b * Q[j] + q) * size[j] + local[j]
                factor = tape_q[t, at] if inside else past_q[at]
                for s in range(seeds):
                    Y[lane, j, q, s] += factor * G[a, s]
        macs += 2 * n * seeds
    return macs


@loop(nogil=True, fastmath=FAST)
def go_back(lane0, begin, end, t0, t1, B, tables, linear, active, before, jacobian, losses, X, Y):
    """X[lane, t - t0, i, s]: derivative of seed s by state i after step t - 1 (X[:, 0]: before the tape); Y[lane, i, k, s]: by
    parameter k of unit i through its messages.

    Seeds: the N states after the tape, the tape's losses, the leaky readouts' sums. Lanes ``begin`` to ``end`` - 1; X begins
    with ``lane0``. Changes X and Y; returns multiply-adds done.
    """
    entries, room, done = flat(jacobian.coef), jacobian.coef.size // max(1, B * (t1 - t0)), 0
    for b in range(begin, end):
        done += _go_back_lane(b, b - lane0, t0, t1, B, tables, linear, active, before, jacobian, entries, room, losses, X, Y)
    return done
