"""Compiled loops that take the influence over a whole tape, once its Jacobians are multiplied (see ``update``)."""

from __future__ import annotations

import numpy as np

from ....loops import inner, loop
from ..blocks.columns import add_gradient, locate_gains, wake
from ..simd.gemm import PANEL, combine_panel
from ..simd.rows import FAST

TILE = 96  # columns of a block that are made at a time


@inner(fastmath=FAST)
def _by_unit(c0, c1, k0, k1, order, col_unit):
    """Sorted places c0 .. c1-1 by their units: those of unit k0 + u at mine[first[u]:first[u + 1]]."""
    first, mine = np.zeros(k1 - k0 + 1, np.int64), np.empty(c1 - c0, np.int64)
    for x in range(c0, c1):
        first[col_unit[order[x]] - k0 + 1] += 1
    for u in range(k1 - k0):
        first[u + 1] += first[u]
    at = first.copy()
    for x in range(c0, c1):
        u = col_unit[order[x]] - k0
        mine[at[u]] = x
        at[u] += 1
    return first, mine


@inner(fastmath=FAST)
def _multiply(target, at, stride, rows, scales, source, base, apart, weights, first, n, width):
    """``combine_panel`` as a call."""
    combine_panel(target, at, stride, rows, scales, source, base, apart, weights, first, n, width)


@inner(fastmath=FAST)
def _clear(array, first, n):
    for e in range(first, first + n):
        array[e] = 0


@inner(fastmath=FAST)
def _as_panels(weights, X, lane, begin, end, unit, units):
    """weights <- X[lane, begin:end, unit : unit + units] (entries, seeds) as ``combine_panel`` reads them, a row a seed."""
    n = (end - begin) * units
    for k in range(X.shape[3] // PANEL):
        a = 0
        for t in range(begin, end):
            for i in range(unit, unit + units):
                for r in range(PANEL):
                    weights[(k * n + a) * PANEL + r] = X[lane, t, i, k * PANEL + r]
                a += 1


@inner(fastmath=FAST)
def _list_terms(terms, apart, places, to, n, blocks, gain, c0, t0, t1, b, linear, messages, history):
    """terms[(t - t0) * apart + to[c]] <- immediate term of the column at sorted place places[c] in step t; else zero."""
    order, run_of, run_source, run_delay = blocks.order, blocks.run_of, blocks.run_source, blocks.run_delay
    tape_B, tape_P = linear.B, linear.P
    _clear(terms, 0, (t1 - t0) * apart)
    for t in range(t0, t1):
        before, value = -1, messages.dtype.type(0)
        for c in range(n):
            run = run_of[order[places[c]]]
            source = run_source[run]
            if run != before:
                before = run
                value = messages[history + t - run_delay[run], b, source] if source >= 0 else messages.dtype.type(1)
            at = gain[places[c] - c0]
            terms[(t - t0) * apart + to[c]] = value * (tape_P[t, at] if source == -2 else tape_B[t, at])


@inner(fastmath=FAST)
def _copy(target, at, source, first, n):
    for e in range(n):
        target[at + e] = source[first + e]


@inner(fastmath=FAST)
def _add_at(target, at, places, n, source, first):
    for e in range(n):
        target[at + places[e]] += source[first + e]


@inner(fastmath=FAST)
def _wake_rows(M, base, stride, N, row_live, lives, fresh, wide):
    """Zeros where a row or a column is not alive; all rows are alive now. Returns whether one was before."""
    before = False
    for i in range(N):
        live = row_live[lives + i]
        before |= live
        begin = fresh if live else 0
        _clear(M, base + i * stride + begin, wide - begin)
        row_live[lives + i] = True
    return before


@inner(fastmath=FAST)
def _multiply_block(M, base, stride, N, g, Z, z_base, past, kept, wide, alive, before, terms, back, steps, alone, tile):
    """Tiles of columns, of all rows at once: the states' are written back, the losses' are g, the readouts' go to Z.

    Of a unit ``alone`` in its block the immediate terms, which then have the block's columns, follow at once. ``past`` and
    ``kept`` (L): of the leaky readouts. Changes M, g and Z; ``tile`` is for use.
    """
    L, seeds = len(kept), len(tile) // TILE
    nothing, one = np.zeros(seeds, M.dtype), np.ones(seeds, M.dtype)
    for c in range(0, wide, TILE):
        part = min(TILE, wide - c)
        if alive:
            _multiply(tile, 0, TILE, seeds, nothing, M, base + c, stride, before, 0, N, part)
        else:
            _clear(tile, 0, len(tile))
        if alone:
            _multiply(tile, 0, TILE, seeds, one, terms, c, wide, back, 0, steps, part)
        for i in range(N):
            _copy(M, base + i * stride + c, tile, i * TILE, part)
        _copy(g, c, tile, N * TILE, part)
        for r in range(L):
            z, new = z_base + r * stride + c, (N + 1 + r) * TILE
            for e in range(part):
                g[c + e] += past[r] * Z[z + e]
                Z[z + e] = kept[r] * Z[z + e] + tile[new + e]


@inner(fastmath=FAST)
def _add_terms(M, base, stride, N, g, Z, z_base, L, places, n, sums, apart):
    """Sums (seeds, apart) of a unit's immediate terms to the rows, at its n columns."""
    for i in range(N):
        _add_at(M, base + i * stride, places, n, sums, i * apart)
    _add_at(g, 0, places, n, sums, N * apart)
    for r in range(L):
        _add_at(Z, z_base + r * stride, places, n, sums, (N + 1 + r) * apart)


@inner(fastmath=FAST)
def _sweep_lane(gr, b, lane, X, Y, t0, t1, B, simd_width, linear, blocks, first, mine, gain, influence, messages, history,
                losses, g):  # fmt: skip
    """One block in one lane; the losses' row is left in g. Returns multiply-adds done: products with M, immediate terms.

    Changes the arrays of ``influence``, and g.
    """
    M, Z, row_live, position, width = influence.M, influence.Z, influence.row_live, influence.position, influence.width
    col_port, order, run_of, runs = blocks.col_port, blocks.order, blocks.run_of, blocks.runs
    run_source, run_delay, kept, past = blocks.run_source, blocks.run_delay, losses.kept, losses.past
    k0, r0, r1, stride = blocks.group[gr], blocks.run_ptr[gr], blocks.run_ptr[gr + 1], blocks.stride[gr]
    c0, rows = blocks.col_ptr[k0], X.shape[2]
    base, lives = B * blocks.first_M[gr] + b * rows * stride, B * blocks.reach_ptr[gr] + b * rows
    z_base = (B * blocks.first_Z[gr] + b * stride) * len(kept)
    steps, N, seeds, L, dtype = t1 - t0, X.shape[2], X.shape[3], len(kept), M.dtype
    units = len(first) - 1
    fresh, alone = np.int64(width[b, gr]), units == 1
    w = wake(t0, t1, r0, r1, run_source, run_delay, runs, position, messages, history, b, fresh)
    wide = (w + simd_width - 1) // simd_width * simd_width
    alive = _wake_rows(M, base, stride, N, row_live, lives, fresh, wide)
    for r in range(L):
        _clear(Z, z_base + r * stride + fresh, wide - fresh)
    width[b, gr] = w
    ours, place, to = np.empty(len(mine), np.int64), np.empty(len(mine), np.int64), np.empty(len(mine), np.int64)
    terms, back, before = np.empty(steps * stride, dtype), np.empty(steps * seeds, dtype), np.empty(N * seeds, dtype)
    tile, sums = np.empty(seeds * TILE, dtype), np.empty(0 if alone else seeds * stride, dtype)
    nothing = np.zeros(seeds, dtype)
    _as_panels(before, X, lane, 0, 1, 0, N)
    immediate = 0
    for u in range(units):
        n = np.int64(0)  # one type from the start: what is called is compiled for each
        for e in range(first[u], first[u + 1]):
            run = run_of[order[mine[e]]]
            if position[b, run] >= 0:
                ours[n], place[n] = mine[e], position[b, run] + mine[e] - runs[run]
                to[n] = place[n] if alone else n
                n += 1
        apart = wide if alone else (n + simd_width - 1) // simd_width * simd_width
        _list_terms(terms, apart, ours, to, n, blocks, gain, c0, t0, t1, b, linear, messages, history)
        _as_panels(back, X, lane, 1, steps + 1, k0 + u, 1)
        immediate += steps * seeds * n
        if u == 0:
            _multiply_block(M, base, stride, N, g, Z, z_base, past[b], kept, wide, alive, before, terms, back, steps, alone,
                            tile)  # fmt: skip
        if not alone:
            _multiply(sums, 0, apart, seeds, nothing, terms, 0, apart, back, 0, steps, apart)
            _add_terms(M, base, stride, N, g, Z, z_base, L, place, n, sums, apart)
        for c in range(n):
            if run_source[run_of[order[ours[c]]]] == -2:  # the unit's own parameters act through its messages, too
                k, at = col_port[order[ours[c]]], place[c]
                for i in range(N):
                    M[base + i * stride + at] += Y[lane, k0 + u, k, i]
                g[at] += Y[lane, k0 + u, k, N]
                for r in range(L):
                    Z[z_base + r * stride + at] += Y[lane, k0 + u, k, N + 1 + r]
    return seeds * N * w if alive else 0, immediate


@loop(nogil=True, fastmath=FAST)
def sweep_product(tasks, begin, apart, lane0, t0, t1, B, simd_width, linear, blocks, influence, messages, history, losses,
                  gradient, counts, X, Y):  # fmt: skip
    """Whole blocks over all steps of a tape: M <- X(before)^T M + sum over steps of X(t)^T immediate terms(t).

    Of the tasks those from ``begin`` on, ``apart`` from each other: the rest is for other threads. Changes the arrays of
    ``influence``, ``gradient`` and ``counts``.
    """
    col_ptr, run_ptr, group, position = blocks.col_ptr, blocks.run_ptr, blocks.group, influence.position
    for task in range(begin, len(tasks), apart):
        gr, chunk = tasks[task, 0], tasks[task, 1]
        k0, k1 = group[gr], group[gr + 1]
        c0, c1, r0, r1 = col_ptr[k0], col_ptr[k1], run_ptr[gr], run_ptr[gr + 1]
        first, mine = _by_unit(c0, c1, k0, k1, blocks.order, blocks.col_unit)
        gain, g = np.empty(c1 - c0, np.int64), np.empty(blocks.stride[gr], influence.M.dtype)
        propagate, immediate = 0, 0
        for b in range(tasks[task, 2], tasks[task, 3]):
            locate_gains(gain, c0, c1, blocks.term, b, B)
            done = _sweep_lane(
                gr, b, b - lane0, X, Y, t0, t1, B, simd_width, linear, blocks, first, mine, gain, influence, messages, history,
                losses, g,
            )  # fmt: skip
            propagate += done[0]
            immediate += done[1]
            add_gradient(gradient[chunk], g, b, r0, r1, blocks.runs, blocks.theta, position)
        counts[task, 0] += propagate
        counts[task, 1] += immediate
