"""Compiled loops that send the seeds of states, losses and readouts back over a tape (see ``update``)."""

from __future__ import annotations

import numpy as np

from ....loops import inner, loop
from ..simd.gemm import PANEL, combine_panel
from ..simd.rows import FAST
from ..simd.scalar import clear
from ..simd.views import flat


@inner(fastmath=FAST, forceinline=True)
def _add(to, at, factor, source, first, n):
    """to[at ...] += factor * source[first ...], n elements."""
    for e in range(n):
        to[np.uint64(at + e)] += factor * source[np.uint64(first + e)]


@inner(fastmath=FAST, forceinline=True)
def _turn(table, coef, first, n, N):
    """What every sender says to every unit, as ``combine_panel`` reads it to sum up what units say to senders."""
    square, whole = np.uint64(PANEL), n // PANEL
    for k in range(whole):
        for i in range((N + PANEL - 1) // PANEL):  # what exceeds N is written over by the next k
            into, here = np.uint64((k * N + i * PANEL) * PANEL), np.uint64(first + (i * n + k * PANEL) * PANEL)
            for x in range(square):
                for y in range(square):
                    table[into + x * square + y] = coef[here + y * square + x]
    for i in range(N):
        for a in range(whole * PANEL, n):
            table[(whole * N + i) * PANEL + a % PANEL] = coef[first + (i // PANEL * n + a) * PANEL + i % PANEL]


@inner(fastmath=FAST)
def _arrive(G, X, at, n, N, seeds, starts, row, slot, coef, first, all_to_all, table, nothing):
    """G (n senders, seeds) = transposed step Jacobian times X[at ...] (units, seeds). Returns entries used."""
    if all_to_all:
        _turn(table, coef, first, n, N)
        combine_panel(G, 0, seeds, n, nothing, X, at, seeds, table, 0, N, seeds)
        return n * N
    clear(G, 0, n * seeds)
    for i in range(N):
        for e in range(starts[row, i], starts[row, i + 1]):
            sent = slot[e] * seeds
            _add(G, sent, coef[e], X, at + i * seeds, seeds)
    return starts[row, N] - starts[row, 0]


@inner(fastmath=FAST)
def _go_back_lane(b, lane, t0, t1, B, tables, linear, active, before, jacobian, coef, room, losses, X, Y, N, seeds, most):
    """``go_back`` in one lane: X and Y, of so many seeds and parameters of a unit, and the step Jacobian's values are flat.

    Returns multiply-adds done.
    """
    Q, size, local = tables.Q, tables.size, tables.local
    start_A, start_o, start_q, tape_A, tape_o, tape_q = (
        tables.start_A, tables.start_o, tables.start_q, linear.A, linear.o, linear.q,
    )  # fmt: skip
    n_active, active_units = active.count, active.units
    past_active, past_units, past_o, past_q = before.count, before.units, before.o, before.q
    starts, slot, all_to_all = jacobian.starts, jacobian.slot, jacobian.all_to_all
    powers, direct, leaky, kind, out_weight = losses.powers, losses.direct, losses.leaky, losses.kind, losses.out_weight
    steps, L, wide = t1 - t0, len(leaky), N * seeds
    mine, own = lane * (steps + 1) * wide, lane * N * most * seeds
    clear(Y, own, N * most * seeds)
    clear(X, mine + steps * wide, wide)
    for i in range(N):
        X[mine + steps * wide + i * seeds + i] = 1
    G, table, macs = np.zeros(wide, X.dtype), np.zeros((N + PANEL) * (N + PANEL), X.dtype), 0
    nothing = np.zeros(N, X.dtype)
    for t in range(t1 - 1, t0 - 2, -1):  # messages of step t: what the step after it hears, and what the losses see
        k, inside = t + 1 - t0, t >= t0
        n, here = n_active[t, b] if inside else past_active[b], mine + k * wide
        if t < t1 - 1:
            row, later = k * B + b, here + wide
            entries = _arrive(G, X, later, n, N, seeds, starts, row, slot, coef, row * room, all_to_all, table, nothing)
            macs += seeds * (N + entries)
            for i in range(N):
                leak, old = tape_A[t + 1, start_A[i] * B + b * size[i] + local[i]], later + i * seeds
                for e in range(seeds):
                    X[np.uint64(here + i * seeds + e)] = leak * X[np.uint64(old + e)]
        else:
            clear(G, 0, n * seeds)
        for a in range(n):
            j, sent = active_units[t, b, a] if inside else past_units[b, a], a * seeds
            if inside:
                G[sent + N] += direct[t, b, j]
                for r in range(L):
                    G[sent + N + 1 + r] += powers[kind[r], t - t0] * out_weight[leaky[r], j]
            at, into = start_o[j] * B + b * size[j] + local[j], here + j * seeds
            _add(X, into, tape_o[t, at] if inside else past_o[at], G, sent, seeds)
            for q in range(Q[j]):
                at, into = start_q[j] * B + (b * Q[j] + q) * size[j] + local[j], own + (j * most + q) * seeds
                _add(Y, into, tape_q[t, at] if inside else past_q[at], G, sent, seeds)
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
    flat_X, flat_Y, (_, _, N, seeds), most = flat(X), flat(Y), X.shape, Y.shape[2]
    for b in range(begin, end):
        done += _go_back_lane(
            b, b - lane0, t0, t1, B, tables, linear, active, before, jacobian, entries, room, losses, flat_X, flat_Y, N, seeds,
            most,
        )  # fmt: skip
    return done
