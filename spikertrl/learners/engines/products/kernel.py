"""Compiled loops that take the influence over a whole tape, once its Jacobians are multiplied (see ``update``)."""

from __future__ import annotations

import numpy as np

from ....loops import inner, loop
from ..blocks.columns import add_gradient, locate_gains, wake
from ..simd.gemm import PANEL, add_outer, combine_panel
from ..simd.rows import FAST, scale_row
from ..simd.scalar import clear
from ..simd.views import flat

TILE = 96  # columns of a block that are made at a time


@inner(fastmath=FAST)
def _as_panels(weights, X, at, n, seeds):
    """weights <- X[at ...] (n, seeds) as ``combine_panel`` reads them, a row a seed."""
    for k in range(seeds // PANEL):
        for i in range(n):
            for r in range(PANEL):
                weights[(k * n + i) * PANEL + r] = X[at + i * seeds + k * PANEL + r]


@inner(fastmath=FAST)
def _place_columns(to, places, w, wide, c0, r0, r1, b, steps, simd_width, first, seeds, blocks, position):
    """Where the terms of each sorted column go (``to``), and where the seeds of each packed one's unit are (``places``).

    ``first``: where those of unit 0 begin, after the tape's first step. Registers' last columns have no terms, but a place.
    """
    order, col_unit, runs = blocks.order, blocks.col_unit, blocks.runs
    for run in range(r0, r1):
        if position[b, run] >= 0:
            for x in range(runs[run], runs[run + 1]):
                c = position[b, run] + x - runs[run]
                to[x - c0] = (c // simd_width) * steps * simd_width + c % simd_width
                places[c] = first + col_unit[order[x]] * seeds
    for c in range(w, wide):
        places[c] = first


@inner(fastmath=FAST)
def _list_terms(terms, to, size, c0, r0, r1, b, t0, t1, blocks, gain, position, tape_B, tape_P, messages, history):
    """terms[to[c] + (t - t0) * size] <- immediate term of the column at sorted place c0 + c in step t, as ``add_outer`` reads
    them."""  # fmt: skip
    run_source, run_delay, runs = blocks.run_source, blocks.run_delay, blocks.runs
    for run in range(r0, r1):
        if position[b, run] < 0:
            continue
        source = run_source[run]
        for t in range(t0, t1):
            value = messages[history + t - run_delay[run], b, source] if source >= 0 else messages.dtype.type(1)
            line, now = tape_P[t] if source == -2 else tape_B[t], (t - t0) * size
            for c in range(np.uint64(runs[run] - c0), np.uint64(runs[run + 1] - c0)):
                terms[np.uint64(to[c] + now)] = value * line[np.uint64(gain[c])]


@inner(fastmath=FAST)
def _wake_rows(M, base, stride, N, row_live, lives, fresh, wide):
    """Zeros where a row or a column is not alive; all rows are alive now. Returns whether one was before."""
    before = False
    for i in range(N):
        live = row_live[lives + i]
        before |= live
        begin = fresh if live else 0
        clear(M, base + i * stride + begin, wide - begin)
        row_live[lives + i] = True
    return before


@inner(fastmath=FAST)
def _multiply_block(M, base, stride, N, g, Z, z_base, past, kept, wide, alive, before, X, steps, terms, places, tile):
    """Tiles of columns, of all rows at once: the states' are written back, the losses' are g, the readouts' go to Z.

    ``past`` and ``kept`` (L): of the leaky readouts. Changes M, g and Z; ``tile`` is for use.
    """
    L, seeds = len(kept), len(tile) // TILE
    nothing, one = np.zeros(seeds, M.dtype), M.dtype.type(1)
    for c in range(0, wide, TILE):
        part = min(TILE, wide - c)
        if alive:
            combine_panel(tile, 0, TILE, seeds, nothing, M, base + c, stride, before, 0, N, part)
        else:
            clear(tile, 0, len(tile))
        add_outer(tile, 0, TILE, terms, c * steps, steps, X, places, c, N * seeds, seeds, part)
        for i in range(N):
            scale_row(M, base + i * stride + c, one, tile, i * TILE, part)
        scale_row(g, c, one, tile, N * TILE, part)
        for r in range(L):
            z, new = z_base + r * stride + c, (N + 1 + r) * TILE
            for e in range(part):
                g[c + e] += past[r] * Z[z + e]
                Z[z + e] = kept[r] * Z[z + e] + tile[new + e]


@inner(fastmath=FAST)
def _add_through_messages(M, base, stride, N, g, Z, z_base, L, Y, lane, r0, r1, b, blocks, position):
    """The units' own parameters act through its messages, too: Y goes to their columns."""
    order, col_unit, col_port, runs = blocks.order, blocks.col_unit, blocks.col_port, blocks.runs
    for run in range(r0, r1):
        if blocks.run_source[run] == -2 and position[b, run] >= 0:
            for x in range(runs[run], runs[run + 1]):
                u, k, at = col_unit[order[x]], col_port[order[x]], position[b, run] + x - runs[run]
                for i in range(N):
                    M[base + i * stride + at] += Y[lane, u, k, i]
                g[at] += Y[lane, u, k, N]
                for r in range(L):
                    Z[z_base + r * stride + at] += Y[lane, u, k, N + 1 + r]


@inner(fastmath=FAST)
def _sweep_lane(gr, b, lane, X, Y, shape, t0, t1, B, simd_width, linear, blocks, gain, to, places, influence, messages, history,
                losses, g):  # fmt: skip
    """One block in one lane; the losses' row is left in g. Returns multiply-adds done: products with M, immediate terms.

    Changes the arrays of ``influence``, and g. X is flat and has this ``shape``; ``to`` and ``places`` are for use.
    """
    M, Z, row_live, position, width = influence.M, influence.Z, influence.row_live, influence.position, influence.width
    run_source, run_delay, kept, past = blocks.run_source, blocks.run_delay, losses.kept, losses.past
    r0, r1, stride, c0 = blocks.run_ptr[gr], blocks.run_ptr[gr + 1], blocks.stride[gr], blocks.col_ptr[blocks.group[gr]]
    (_, points, N, seeds), steps, L, dtype = shape, t1 - t0, len(kept), M.dtype
    base, lives, mine = B * blocks.first_M[gr] + b * N * stride, B * blocks.reach_ptr[gr] + b * N, lane * points * N * seeds
    z_base = (B * blocks.first_Z[gr] + b * stride) * L
    fresh = np.int64(width[b, gr])  # one type from the start: what is called is compiled for each
    w = wake(t0, t1, r0, r1, run_source, run_delay, blocks.runs, position, messages, history, b, fresh)
    wide = (w + simd_width - 1) // simd_width * simd_width
    alive = _wake_rows(M, base, stride, N, row_live, lives, fresh, wide)
    for r in range(L):
        clear(Z, z_base + r * stride + fresh, wide - fresh)
    width[b, gr] = w
    terms, before, tile = np.zeros(steps * stride, dtype), np.empty(N * seeds, dtype), np.empty(seeds * TILE, dtype)
    _as_panels(before, X, mine, N, seeds)
    _place_columns(to, places, w, wide, c0, r0, r1, b, steps, simd_width, mine + N * seeds, seeds, blocks, position)
    _list_terms(terms, to, simd_width, c0, r0, r1, b, t0, t1, blocks, gain, position, linear.B, linear.P, messages, history)
    _multiply_block(M, base, stride, N, g, Z, z_base, past[b], kept, wide, alive, before, X, steps, terms, places, tile)
    _add_through_messages(M, base, stride, N, g, Z, z_base, L, Y, lane, r0, r1, b, blocks, position)
    return seeds * N * w if alive else 0, steps * seeds * w


@loop(nogil=True, fastmath=FAST)
def sweep_product(tasks, begin, apart, lane0, t0, t1, B, simd_width, linear, blocks, influence, messages, history, losses,
                  gradient, counts, X, Y):  # fmt: skip
    """Whole blocks over all steps of a tape: M <- X(before)^T M + sum over steps of X(t)^T immediate terms(t).

    Of the tasks those from ``begin`` on, ``apart`` from each other: the rest is for other threads. Changes the arrays of
    ``influence``, ``gradient`` and ``counts``.
    """
    col_ptr, run_ptr, group, position = blocks.col_ptr, blocks.run_ptr, blocks.group, influence.position
    seeds = flat(X)
    for task in range(begin, len(tasks), apart):
        gr, chunk = tasks[task, 0], tasks[task, 1]
        c0, c1, r0, r1 = col_ptr[group[gr]], col_ptr[group[gr + 1]], run_ptr[gr], run_ptr[gr + 1]
        gain, to, places = np.empty(c1 - c0, np.int64), np.empty(c1 - c0, np.int64), np.empty(blocks.stride[gr], np.int64)
        g, propagate, immediate = np.empty(blocks.stride[gr], influence.M.dtype), 0, 0
        for b in range(tasks[task, 2], tasks[task, 3]):
            locate_gains(gain, c0, c1, blocks.term, b, B)
            done = _sweep_lane(
                gr, b, b - lane0, seeds, Y, X.shape, t0, t1, B, simd_width, linear, blocks, gain, to, places, influence,
                messages, history, losses, g,
            )  # fmt: skip
            propagate += done[0]
            immediate += done[1]
            add_gradient(gradient[chunk], g, b, r0, r1, blocks.runs, blocks.theta, position)
        counts[task, 0] += propagate
        counts[task, 1] += immediate
