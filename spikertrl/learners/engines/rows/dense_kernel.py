"""Compiled loop of exact sparse RTRL for blocks that hold all units, of one state each, without delays: step by step.

Rows then arrive by their place among those sent in the step before, and nothing has to be looked up: this is the case of most
event-based networks, and the fastest of the three loops where units are often gradient-active (see ``event_kernel`` for those
where they are not, ``block_kernel`` for everything else).
"""

from __future__ import annotations

import numpy as np

from ....loops import inner, loop
from ..blocks.columns import (
    AHEAD,
    add_gradient,
    add_immediate,
    heard_units,
    locate_gains,
    read_readouts,
    send_explicit,
    send_rows,
    wake,
    widen,
    write_readouts,
)
from ..simd.gemm import combine_panel
from ..simd.rows import FAST, combine, combine_slots, sum_rows
from ..simd.scalar import largest
from ..simd.views import flat

TILE = 96  # columns of the rows sent that are made at a time, where they are not stored
NEAR_BYTES, PART_BYTES = 32 << 10, 768  # rows sent that exceed the first-level cache are read in parts of this width


@inner(fastmath=FAST)
def _advance(M, base, stride, w, wide, k0, k1, start_A, size, local, b, B, A, live, lives, starts, flat_coef, slots, E, n):
    """Rows of all units: M <- A M + step Jacobian @ E, which has n rows. Returns multiply-adds done."""
    done, N = 0, len(size)
    part = max(wide, 1) if n * wide * M.itemsize <= NEAR_BYTES else PART_BYTES // M.itemsize
    for x in range(0, max(wide, 1), part):
        width = min(part, wide - x)
        done = 0  # each part does the same for its columns
        for i in range(N):
            first, end = starts[i], starts[i + 1]
            a = A[start_A[i] * B + b * size[i] + local[i]]
            if not live[lives + i]:
                if first == end and not k0 <= i < k1:
                    continue
                live[lives + i] = x + width == wide
                a = M.dtype.type(0)
            combine_slots(M, base + i * stride + x, a, E, x, stride, slots, first, flat_coef, first, end - first, width)
            done += end - first + (a != 0)
    return done * w


@inner(fastmath=FAST)
def _wake_leaks(scales, start_A, size, local, b, B, A, live):
    """Leak of every unit into ``scales``, none where its row was not alive; all rows are now. Returns leaks that are not 0."""
    done = 0
    for i in range(len(size)):
        scales[i] = A[start_A[i] * B + b * size[i] + local[i]]
        if not live[i]:
            live[i] = True
            scales[i] = 0
        done += scales[i] != 0
    return done


@inner(fastmath=FAST)
def _advance_stored(M, base, stride, N, scales, E, flat_coef, first, n, wide):
    """``_advance`` where every unit hears every sender: a product of matrices, of the rows ``E`` that were sent."""
    combine_panel(M, base, stride, N, scales, E, 0, stride, flat_coef, first, n, wide)


@inner(fastmath=FAST)
def _advance_tiles(M, base, stride, N, scales, flat_coef, first, n, wide, senders, gains, explicit, q_row, q_column, q_value,
                   tile, places, weights):  # fmt: skip
    """As ``_advance_stored``, where nothing else needed the rows sent in the last step, and they were not stored.

    They are made here, columns by columns (``tile``, TILE elements of each), from the senders' rows of M, their gains o, and
    the ``explicit`` terms q.
    """
    nothing = M.dtype.type(0)
    for x in range(0, wide, TILE):
        width = min(TILE, wide - x)
        for a in range(n):
            places[0], weights[0] = base + senders[a] * stride + x, gains[a]
            combine(tile, a * TILE, nothing, M, places, weights, 1, width)
        for e in range(explicit):
            if x <= q_column[e] < x + width:
                tile[q_row[e] * TILE + q_column[e] - x] += q_value[e]
        combine_panel(M, base + x, stride, N, scales, tile, 0, TILE, flat_coef, first, n, width)


@inner(fastmath=FAST)
def _note_senders(units, n, o, b, B, size, local, start_o, senders, gains):
    """Which rows ``_advance_tiles`` has to make, and their gains."""
    for a in range(n):
        j = units[a]
        senders[a], gains[a] = j, o[start_o[j] * B + b * size[j] + local[j]]


@inner(fastmath=FAST)
def _note_explicit(units, n, q, b, B, k0, k1, size, local, start_q, Q, col_ptr, col_port, run_of, placed, runs, position, q_row,
                   q_column, q_value):  # fmt: skip
    """The terms q of these rows: row, column and value. Returns how many."""
    explicit = 0
    for a in range(n):
        j = units[a]
        for c in range(col_ptr[j + 1] - Q[j] if k0 <= j < k1 else col_ptr[j + 1], col_ptr[j + 1]):
            q_row[explicit], q_column[explicit] = a, position[b, run_of[c]] + placed[c] - runs[run_of[c]]
            q_value[explicit] = q[start_q[j] * B + (b * Q[j] + col_port[c]) * size[j] + local[j]]
            explicit += 1
    return explicit


@inner(fastmath=FAST)
def _sum_sent(F, touched, heard, units, n, powers, step, stride, sent, places, weights, wide):
    """F <- F + decay^(steps left) E for the readouts, of one step. Returns rows added."""
    one, done, N, K = F.dtype.type(1), 0, len(touched), len(powers)
    for a in range(n):
        j = units[a]
        if heard[j]:
            for k in range(K):
                at = (k * N + j) * stride
                if not touched[j]:
                    F[at : at + stride] = 0
                places[0], weights[0] = a * stride, powers[k, step]
                sum_rows(F, at, one, sent, places, weights, 1, wide)
            touched[j] = True
            done += K
    return done


@inner(fastmath=FAST)
def _add_signals(g, units, n, direct, stride, sent, places, weights, wide):
    """g += signal of each sender times its row. Returns rows added."""
    m = 0
    for a in range(n):
        if direct[units[a]] != 0:
            places[m], weights[m] = a * stride, direct[units[a]]
            m += 1
    if m:
        sum_rows(g, 0, g.dtype.type(1), sent, places, weights, m, wide)
    return m


@loop(nogil=True, fastmath=FAST)
def sweep_whole(tasks, t0, t1, B, simd_width, tables, linear, blocks, influence, messages, history, active, previous, jacobian,
                losses, gradient, counts, last):  # fmt: skip
    """As ``by_step_kernel.sweep``; rows arrive by their slots, or all do (``jacobian.all_to_all``), from ``couple_all``.

    Changes the arrays of ``influence``, ``gradient`` (lane chunks, parameters) and ``counts``.
    """
    size, local, start_A, start_o, start_q, Q = (
        tables.size, tables.local, tables.start_A, tables.start_o, tables.start_q, tables.Q,
    )  # fmt: skip
    tape_A, tape_B, tape_P, tape_o, tape_q = linear.A, linear.B, linear.P, linear.o, linear.q
    col_ptr, col_port, theta, placed = blocks.col_ptr, blocks.col_port, blocks.theta, blocks.placed
    run_of, run_ptr, runs, run_source, run_delay = (
        blocks.run_of, blocks.run_ptr, blocks.runs, blocks.run_source, blocks.run_delay,
    )  # fmt: skip
    own_row, term, group, reach_ptr = blocks.own_row, blocks.term, blocks.group, blocks.reach_ptr
    stride_of, first_M, first_Z = blocks.stride, blocks.first_M, blocks.first_Z
    M, row_live, position, width, Z = (
        influence.M, influence.row_live, influence.position, influence.width, influence.Z,
    )  # fmt: skip
    n_active, active_units = active.count, active.units
    past_active, past_units, past_o, past_q = previous.count, previous.units, previous.o, previous.q
    starts, slot, coef, all_to_all = jacobian.starts, jacobian.slot, jacobian.coef, jacobian.all_to_all
    powers = losses.powers
    direct, leaky, kept, past, out_weight = losses.direct, losses.leaky, losses.kept, losses.past, losses.out_weight
    N, L, K = len(size), len(leaky), len(powers)
    written = 0 if last else L  # leaky outputs whose rows are written
    flat_coef = flat(coef)
    room = coef.size // max(1, B * (t1 - t0))  # of a lane and step, if all_to_all
    most = max(largest(past_active), largest(flat(n_active[t0:t1])))
    summed = written > 0 and t1 - t0 > 1  # by F: decaying sums of the rows that each unit sends
    every = np.arange(N)
    for task in range(len(tasks)):
        gr, chunk = tasks[task, 0], tasks[task, 1]
        k0, k1 = group[gr], group[gr + 1]
        c0, c1, r0, r1 = col_ptr[k0], col_ptr[k1], run_ptr[gr], run_ptr[gr + 1]
        stride = stride_of[gr]
        dtype = M.dtype
        sent, g = np.empty(most * stride, dtype), np.zeros(stride, dtype)
        F = np.empty(K * N * stride if summed else 0, dtype)
        touched, heard = np.zeros(N, np.bool_), heard_units(losses, written, every)
        places, weights, scales = np.zeros(max(K, 1) * N, np.int64), np.zeros(max(K, 1) * N, dtype), np.zeros(N, dtype)
        gain = np.empty(c1 - c0, np.int64)
        # the rows sent in the last step, if they are not stored
        senders, gains, tile = np.zeros(N, np.int64), np.zeros(N, dtype), np.zeros(N * TILE if all_to_all else 0, dtype)
        q_row, q_column, q_value = np.zeros(c1 - c0, np.int64), np.zeros(c1 - c0, np.int64), np.zeros(c1 - c0, dtype)
        propagate, immediate, emit, read = 0, 0, 0, 0
        for b in range(tasks[task, 2], tasks[task, 3]):
            base = B * first_M[gr] + b * N * stride
            lives = B * reach_ptr[gr] + b * N
            z_base = (B * first_Z[gr] + b * stride) * L
            w = np.int64(width[b, gr])  # one type from the start: what is called is compiled for each
            wide = (w + simd_width - 1) // simd_width * simd_width
            locate_gains(gain, c0, c1, term, b, B)
            before, stored, explicit = past_active[b], np.bool_(True), np.int64(0)  # gradient-active units of the last step
            send_rows(
                sent, M, base, stride, wide, row_live[lives:], past_units[b], before, past_o, b, B, size, local, start_o,
                places, weights, AHEAD,
            )  # fmt: skip
            send_explicit(
                sent, stride, past_units[b], before, k0, k1, past_q, b, B, size, local, start_q, Q, col_ptr, col_port, run_of,
                placed, runs, position,
            )  # fmt: skip
            g[:] = 0
            touched[:] = False
            read += w * read_readouts(g, Z, z_base, stride, past[b], places, weights, wide)
            for t in range(t0, t1):
                row, units, n = (t - t0) * B + b, active_units[t, b], n_active[t, b]
                if all_to_all:
                    leaks = _wake_leaks(scales, start_A, size, local, b, B, tape_A[t], row_live[lives:])
                    if stored:
                        _advance_stored(M, base, stride, N, scales, sent, flat_coef, row * room, before, wide)
                    else:
                        _advance_tiles(
                            M, base, stride, N, scales, flat_coef, row * room, before, wide, senders, gains, explicit, q_row,
                            q_column, q_value, tile, places, weights,
                        )  # fmt: skip
                    propagate += (leaks + N * before) * w
                else:
                    propagate += _advance(
                        M, base, stride, w, wide, k0, k1, start_A, size, local, b, B, tape_A[t], row_live, lives, starts[row],
                        flat_coef, slot, sent, before,
                    )  # fmt: skip
                w = wake(t, t + 1, r0, r1, run_source, run_delay, runs, position, messages, history, b, w)
                fresh, wide = wide, (w + simd_width - 1) // simd_width * simd_width
                if wide > fresh:
                    widen(M, base, stride, fresh, wide, N, row_live[lives:], Z, z_base, written)
                immediate += add_immediate(
                    M, t, b, base, r0, r1, c0, run_source, run_delay, runs, own_row, position, gain, tape_B, tape_P, messages,
                    history,
                )  # fmt: skip
                stored = not all_to_all or written > 0
                for a in range(0 if stored else n):
                    stored |= direct[t, b, units[a]] != 0
                before = n
                if not stored:
                    _note_senders(units, n, tape_o[t], b, B, size, local, start_o, senders, gains)
                    explicit = _note_explicit(
                        units, n, tape_q[t], b, B, k0, k1, size, local, start_q, Q, col_ptr, col_port, run_of, placed, runs,
                        position, q_row, q_column, q_value,
                    )  # fmt: skip
                    emit += n * w
                    continue
                emit += w * send_rows(
                    sent, M, base, stride, wide, row_live[lives:], units, n, tape_o[t], b, B, size, local, start_o, places,
                    weights, 0,
                )  # fmt: skip
                send_explicit(
                    sent, stride, units, n, k0, k1, tape_q[t], b, B, size, local, start_q, Q, col_ptr, col_port, run_of,
                    placed, runs, position,
                )  # fmt: skip
                if summed:
                    read += w * _sum_sent(F, touched, heard, units, n, powers, t - t0, stride, sent, places, weights, wide)
                for o in range(0 if summed else written):
                    for a in range(n):
                        places[a], weights[a] = a * stride, out_weight[leaky[o], units[a]]
                    sum_rows(Z, z_base + o * stride, kept[o], sent, places, weights, n, wide)
                    read += (n + 1) * w
                read += w * _add_signals(g, units, n, direct[t, b], stride, sent, places, weights, wide)
            outputs = L if summed else 0
            read += w * write_readouts(Z, z_base, stride, losses, outputs, F, every, touched, places, weights, wide)
            width[b, gr] = w
            add_gradient(gradient[chunk], g, b, r0, r1, runs, theta, position)
        counts[task, 0] += propagate
        counts[task, 1] += immediate
        counts[task, 2] += emit
        counts[task, 3] += read
