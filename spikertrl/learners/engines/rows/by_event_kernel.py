"""Compiled loops of exact sparse RTRL where units are seldom gradient-active: rows are advanced by events, not by steps.

Blocks lie as in ``whole_kernel``, which advances every row at every step. Here a row is touched when its unit sends, and at the
end of a stretch; a ``schedule.Schedule`` says what has arrived in between. Only the rows that gain immediate terms, those of a
block's own units, are advanced at every step. For units with one state that is carried, no delays, blocks that hold all units.
"""

from __future__ import annotations

import numpy as np

from ....loops import loop
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
from ..simd.rows import FAST, prefetch, send_sum, sum_rows, sum_slots
from ..simd.views import flat


@loop(nogil=True, fastmath=FAST)
def sweep_events(tasks, B, simd_width, tables, linear, blocks, influence, messages, history, active, previous, plan, jacobian,
                 losses, gradient, counts, last):  # fmt: skip
    """As ``dense_kernel.sweep_whole``, by events. ``plan``: ``EventPlan``; ``jacobian``: ``StepJacobian`` by steps, for own
    rows.

    In the ``last`` tape before all lanes begin anew, the readouts' rows and those that send no more are left as they are.
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
    cuts, store, number, source, begin, count = plan.cuts, plan.store, plan.number, plan.source, plan.begin, plan.count
    arriving, weight, scale = plan.arriving, flat(plan.weight), flat(plan.scale)
    sent_ptr, sent_slot, sent_power = plan.sent_ptr, plan.sent_slot, plan.sent_power
    starts, coef = jacobian.starts, jacobian.coef
    direct, past = losses.direct, losses.past
    N, L, K, t0 = len(size), len(losses.leaky), len(sent_power), cuts[0]
    written = 0 if last else L  # leaky outputs whose rows are written
    steps = cuts[-1] - cuts[0]
    flat_coef, flat_power = flat(coef), flat(sent_power)
    every = np.arange(N)
    for task in range(len(tasks)):
        gr, chunk = tasks[task, 0], tasks[task, 1]
        k0, k1 = group[gr], group[gr + 1]
        c0, c1, r0, r1 = col_ptr[k0], col_ptr[k1], run_ptr[gr], run_ptr[gr + 1]
        stride = stride_of[gr]
        dtype = M.dtype
        zero, one = dtype.type(0), dtype.type(1)
        sent, g = np.empty(store * stride, dtype), np.zeros(stride, dtype)
        F = np.empty(K * N * stride if written else 0, dtype)  # decaying sums of the rows that each unit sends
        summed = np.zeros(N, np.bool_)
        room = max(store, K * N, N, 1)
        places, weights = np.zeros(room, np.int64), np.zeros(room, dtype)
        gain = np.empty(c1 - c0, np.int64)
        heard = heard_units(losses, written, every)
        propagate, immediate, emit, read = 0, 0, 0, 0
        for b in range(tasks[task, 2], tasks[task, 3]):
            base = B * first_M[gr] + b * N * stride
            lives = B * reach_ptr[gr] + b * N
            z_base = (B * first_Z[gr] + b * stride) * L
            w = np.int64(width[b, gr])  # one type from the start: what is called is compiled for each
            wide = (w + simd_width - 1) // simd_width * simd_width
            locate_gains(gain, c0, c1, term, b, B)
            g[:] = 0
            summed[:] = False
            read += w * read_readouts(g, Z, z_base, stride, past[b], places, weights, wide)
            before = past_active[b]
            for c in range(len(cuts) - 1):
                begins, ends = cuts[c], cuts[c + 1]
                lot = c * B + b
                if c == 0:  # rows sent before the tape
                    send_rows(
                        sent, M, base, stride, wide, row_live[lives:], past_units[b], before, past_o, b, B, size, local,
                        start_o, places, weights, AHEAD,
                    )  # fmt: skip
                    send_explicit(
                        sent, stride, past_units[b], before, k0, k1, past_q, b, B, size, local, start_q, Q, col_ptr, col_port,
                        run_of, placed, runs, position,
                    )  # fmt: skip
                # columns come alive
                w = wake(begins, ends, r0, r1, run_source, run_delay, runs, position, messages, history, b, w)
                fresh, wide = wide, (w + simd_width - 1) // simd_width * simd_width
                if wide > fresh:
                    widen(M, base, stride, fresh, wide, N, row_live[lives:], Z, z_base, written)
                    for k in range(K if written else 0):
                        widen(F, k * N * stride, stride, fresh, wide, N, summed, F, 0, 0)
                    for a in range(before):
                        place = (number[begins - t0, b] + a) % store * stride
                        sent[place + fresh : place + wide] = 0
                m = 0  # rows sent that a loss sees
                for t in range(begins, ends):
                    row = (t - t0) * B + b
                    line_A, line_o = tape_A[t], tape_o[t]
                    for i in range(k0, k1):
                        at, n = starts[row, i], starts[row, i + 1] - starts[row, i]
                        leak = line_A[start_A[i] * B + b * size[i] + local[i]] if row_live[lives + i] else zero
                        row_live[lives + i] = True
                        sum_slots(M, base + i * stride, leak, sent, 0, stride, source, at, flat_coef, at, n, wide)
                        propagate += (n + (leak != 0)) * w
                    immediate += add_immediate(
                        M, t, b, base, r0, r1, c0, run_source, run_delay, runs, own_row, position, gain, tape_B, tape_P,
                        messages, history,
                    )  # fmt: skip
                    for a in range(n_active[t, b]):
                        i = active_units[t, b, a]
                        place = (number[1 + t - t0, b] + a) % store * stride
                        factor = line_o[start_o[i] * B + b * size[i] + local[i]]
                        if a + 1 < n_active[t, b]:
                            prefetch(M, base + active_units[t, b, a + 1] * stride, wide)
                        if not k0 <= i < k1:
                            n, leak = count[row, a], scale[row * N + a]
                            if not row_live[lives + i]:
                                if n == 0:
                                    sent[place : place + wide] = 0
                                    continue
                                row_live[lives + i] = True
                                leak = zero
                            at = begin[row, a]
                            send_sum(
                                M, base + i * stride, leak, sent, 0, stride, arriving, at, weight, at, n, wide, place, factor
                            )
                            propagate += (n + (leak != 0)) * w
                            emit += w
                            continue
                        places[0], weights[0] = base + i * stride, factor
                        sum_rows(sent, place, zero, M, places, weights, 1, wide)
                        emit += w
                        for x in range(col_ptr[i + 1] - Q[i], col_ptr[i + 1]):
                            run = run_of[x]
                            at_q = start_q[i] * B + (b * Q[i] + col_port[x]) * size[i] + local[i]
                            sent[place + position[b, run] + placed[x] - runs[run]] += tape_q[t, at_q]
                for t in range(begins, ends):
                    for a in range(n_active[t, b]):
                        signal = direct[t, b, active_units[t, b, a]]
                        if signal != 0:
                            places[m], weights[m] = (number[1 + t - t0, b] + a) % store * stride, signal
                            m += 1
                if m:
                    sum_rows(g, 0, one, sent, places, weights, m, wide)
                    read += m * w
                if last and c == len(cuts) - 2:
                    break
                for i in range(N):
                    event = steps * B + lot
                    n, leak = count[event, i], scale[event * N + i]
                    if i + 1 < N and count[event, i + 1] >= 0:
                        prefetch(M, base + (i + 1) * stride, wide)
                    if not k0 <= i < k1 and n >= 0 and (n > 0 or row_live[lives + i]):
                        leak = leak if row_live[lives + i] else zero
                        row_live[lives + i] = True
                        at = begin[event, i]
                        sum_slots(M, base + i * stride, leak, sent, 0, stride, arriving, at, weight, at, n, wide)
                        propagate += (n + (leak != 0)) * w
                    at, n = sent_ptr[lot, i], sent_ptr[lot, i + 1] - sent_ptr[lot, i]
                    if n and heard[i]:
                        for k in range(K):
                            sum_slots(F, (k * N + i) * stride, one if summed[i] else zero, sent, 0, stride, sent_slot, at,
                                       flat_power, k * sent_power.shape[1] + at, n, wide)  # fmt: skip
                        summed[i] = True
                        read += K * n * w
                before = n_active[ends - 1, b]
            read += w * write_readouts(Z, z_base, stride, losses, written, F, every, summed, places, weights, wide)
            width[b, gr] = w
            add_gradient(gradient[chunk], g, b, r0, r1, runs, theta, position)
        counts[task, 0] += propagate
        counts[task, 1] += immediate
        counts[task, 2] += emit
        counts[task, 3] += read
