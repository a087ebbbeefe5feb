"""Compiled loops of exact sparse RTRL and SnAp by events, for any network: delays, several states a unit, limited reach.

As in ``by_event_kernel`` a unit's rows are touched when it sends, and at the end of a stretch. Rows sent stay in a store, in a
circle, for as long as they may still arrive; those on their way before and after a tape lie in the influence's E, as
``by_step_kernel`` has them. All rows of a unit are summed together: what arrives is read once.
"""

from __future__ import annotations

import numpy as np

from ....loops import inner, loop
from ..blocks.columns import add_gradient, add_immediate, heard_units, locate_gains, read_readouts, wake, write_readouts
from ..simd.rows import FAST, sum_pair, sum_rows
from ..simd.scalar import copy, largest
from ..simd.views import flat
from .by_step_kernel import add_immediate_states


@inner(fastmath=FAST, inline="always")
def _gather(arriving, weight, entry, count, apart, each, S, there, stride, room, places, weights):
    """Rows that really arrive: their places in the store, and what each gives to the S states of a unit, ``room`` apart.

    Of arrival e state s gets ``weight[e * each + s * apart]``. Returns how many.
    """
    n = 0
    for e in range(entry, entry + count):
        if there[arriving[e]]:
            places[n] = np.int64(arriving[e]) * stride
            for s in range(S):
                weights[s * room + n] = weight[e * each + s * apart]
            n += 1
    return n


@inner(fastmath=FAST)
def _sum(M, at, stride, S, leak, first, live, sent, aside, places, weights, room, n, wide):
    """The S rows from M[at] on <- leak[first ...] (S x S) times themselves, if ``live``, + the n rows that were gathered.

    ``sent[aside ...]`` has room for the old rows. Returns how many rows were added.
    """
    zero = M.dtype.type(0)
    if S == 1:
        kept = leak[first] if live else zero
        sum_rows(M, at, kept, sent, places, weights, n, wide)
        return n + (kept != 0)
    for r in range(S if live else 0):
        used = False
        for s in range(S):
            weights[s * room + n] = leak[first + s * S + r]
            used |= weights[s * room + n] != 0
        if used:
            places[n] = aside + r * stride
            copy(sent[aside + r * stride : aside + r * stride + wide], M[at + r * stride : at + r * stride + wide])
            n += 1
    for s in range(0, S - 1, 2):
        low = at + s * stride
        sum_pair(M, low, low + stride, sent, places, weights, s * room, (s + 1) * room, n, wide)
    if S % 2:
        sum_rows(M, at + (S - 1) * stride, zero, sent, places, weights[(S - 1) * room :], n, wide)
    return n * S


@inner(fastmath=FAST)
def _advance(M, at, stride, S, begin, count, arriving, weight, scale, first, live, sent, there, aside, places,
             weights, room, most, wide):  # fmt: skip
    """Bring the S rows of a unit up to date, by what has arrived since its last event.

    Returns how many rows were added, or -1 where there are none and nothing has come.
    """
    n = _gather(arriving, weight, begin, count, 1, most, S, there, stride, room, places, weights)
    if n == 0 and not live:
        return -1
    return _sum(M, at, stride, S, scale, first, live, sent, aside, places, weights, room, n, wide)


@inner(fastmath=FAST)
def _arrive(E, ring, slot, slots, D, clock, t0, units, reach, first, number, rank, b, sent, there, store, stride, wide):
    """Rows that were on their way before step t0 get their places in the store."""
    there[:] = False
    for k in range(D):
        line = (clock + t0 + k) % D  # of step t0 - D + k
        for u in range(units):
            a, among = slot[slots + line * units + u], rank[k, b, reach[first + u]]
            if a >= 0 and among >= 0:
                place, at = (number[k, b] + among) % store, ring + (line * units + a) * stride
                copy(sent[place * stride : place * stride + wide], E[at : at + wide])
                there[place] = True


@inner(fastmath=FAST)
def _depart(E, ring, slot, slots, D, clock, t0, t1, units, first, where, active, number, b, sent, there, store, stride, wide):
    """Rows that are on their way after step t1 - 1 get their places in E."""
    for t in range(max(t0, t1 - D), t1):
        line, n = (clock + t) % D, 0
        slot[slots + line * units : slots + (line + 1) * units] = -1
        for a in range(active.count[t, b]):
            u, place = where[active.units[t, b, a]], (number[D + t - t0, b] + a) % store
            if u >= 0 and there[place]:
                at = ring + (line * units + n) * stride
                copy(E[at : at + wide], sent[place * stride : place * stride + wide])
                slot[slots + line * units + u] = n
                n += 1


@inner(fastmath=FAST)
def _widen(M, base, stride, fresh, wide, units, row_of, states, live, sent, there, F, summed, decays, Z, z_base, leaky):
    """Zeros in the registers that columns just alive have opened."""
    for u in range(units):
        for r in range(row_of[u], row_of[u] + states[u] if live[u] else row_of[u]):
            M[base + r * stride + fresh : base + r * stride + wide] = 0
        for k in range(decays if summed[u] else 0):
            F[(k * units + u) * stride + fresh : (k * units + u) * stride + wide] = 0
    for place in range(len(there)):
        if there[place]:
            sent[place * stride + fresh : place * stride + wide] = 0
    for o in range(leaky):
        Z[z_base + o * stride + fresh : z_base + o * stride + wide] = 0


@loop(nogil=True, fastmath=FAST)
def sweep_general_events(tasks, B, clock, simd_width, tables, linear, blocks, influence, messages, history, active, plan,
                         jacobian, losses, gradient, counts, last):  # fmt: skip
    """As ``by_step_kernel.sweep``, by events. ``plan``: ``EventPlan``; ``jacobian``: ``StepJacobian`` by steps, for own rows.

    In the ``last`` tape before all lanes begin anew, the readouts' rows and those that send no more are left as they are.
    Changes the arrays of ``influence``, ``gradient`` (lane chunks, parameters) and ``counts``.
    """
    size, local, start_A, start_o, start_q, Q, S = (
        tables.size, tables.local, tables.start_A, tables.start_o, tables.start_q, tables.Q, tables.S,
    )  # fmt: skip
    tape_A, tape_B, tape_P, tape_o, tape_q = linear.A, linear.B, linear.P, linear.o, linear.q
    col_ptr, col_unit, col_port, order = blocks.col_ptr, blocks.col_unit, blocks.col_port, blocks.order
    theta, placed, run_of, run_ptr, runs = blocks.theta, blocks.placed, blocks.run_of, blocks.run_ptr, blocks.runs
    run_source, run_delay, own_row, term = blocks.run_source, blocks.run_delay, blocks.own_row, blocks.term
    group, reach_ptr, reach, row_of = blocks.group, blocks.reach_ptr, blocks.reach, blocks.row_of
    stride_of, first_M, first_E, first_Z = blocks.stride, blocks.first_M, blocks.first_E, blocks.first_Z
    M, E, slot, row_live = influence.M, influence.E, influence.slot, influence.row_live
    position, width, Z = influence.position, influence.width, influence.Z
    n_active, active_units = active.count, active.units
    cuts, store, number, rank, source = plan.cuts, plan.store, plan.number, plan.rank, plan.source
    begin, count, arriving, scale, weight = plan.begin, plan.count, plan.arriving, flat(plan.scale), flat(plan.weight)
    sent_ptr, sent_slot, sent_power = plan.sent_ptr, plan.sent_slot, plan.sent_power
    starts, coef, flat_coef = jacobian.starts, jacobian.coef, flat(jacobian.coef)
    direct, past = losses.direct, losses.past
    N, L, K, most, t0, t1 = len(size), len(losses.leaky), len(sent_power), plan.weight.shape[1], cuts[0], cuts[-1]
    D, steps, entries = len(number) - (t1 - t0), t1 - t0, coef.shape[1]
    written = 0 if last else L  # leaky outputs whose rows are written
    room = max(largest(flat(count)), largest(starts[:, N] - starts[:, 0])) + most + store + max(K, 1) * N
    states = S[reach]
    for task in range(len(tasks)):
        gr, chunk = tasks[task, 0], tasks[task, 1]
        k0, k1 = group[gr], group[gr + 1]
        c0, c1, r0, r1 = col_ptr[k0], col_ptr[k1], run_ptr[gr], run_ptr[gr + 1]
        stride, first = stride_of[gr], reach_ptr[gr]
        units = reach_ptr[gr + 1] - first
        rows = row_of[first + units - 1] + S[reach[first + units - 1]]
        dtype = M.dtype
        one = dtype.type(1)
        sent, there = np.empty((store + most) * stride, dtype), np.zeros(store, np.bool_)
        aside, g = store * stride, np.zeros(stride, dtype)
        F, reached = np.empty(K * units * stride if written else 0, dtype), reach[first : first + units]
        summed, heard = np.zeros(units, np.bool_), heard_units(losses, written, reached)
        places, weights, leak = np.zeros(room, np.int64), np.zeros(most * room, dtype), np.zeros(most * most, dtype)
        where = np.empty(N, np.int64)
        where[:] = -1
        for u in range(units):
            where[reach[first + u]] = u
        gain, owned, apart = np.empty(c1 - c0, np.int64), S[col_unit[order[c0:c1]]], term[c0:c1, 3]
        propagate, immediate, emit, read = 0, 0, 0, 0
        for b in range(tasks[task, 2], tasks[task, 3]):
            base, lives = B * first_M[gr] + b * rows * stride, B * first + b * units
            ring, slots = (B * first_E[gr] + b * units * stride) * D, (B * first + b * units) * D
            z_base = (B * first_Z[gr] + b * stride) * L
            w = np.int64(width[b, gr])  # one type from the start: what is called is compiled for each
            wide = (w + simd_width - 1) // simd_width * simd_width
            locate_gains(gain, c0, c1, term, b, B)
            g[:] = 0
            summed[:] = False
            read += w * read_readouts(g, Z, z_base, stride, past[b], places, weights, wide)
            _arrive(E, ring, slot, slots, D, clock, t0, units, reach, first, number, rank, b, sent, there, store, stride, wide)
            for c in range(len(cuts) - 1):
                begins, ends, lot = cuts[c], cuts[c + 1], c * B + b
                w = wake(begins, ends, r0, r1, run_source, run_delay, runs, position, messages, history, b, w)
                fresh, wide = wide, (w + simd_width - 1) // simd_width * simd_width
                if wide > fresh:
                    _widen(M, base, stride, fresh, wide, units, row_of[first:], states[first:], row_live[lives:], sent, there,
                           F, summed, K if written else 0, Z, z_base, written)  # fmt: skip
                for t in range(begins, ends):
                    row = (t - t0) * B + b
                    for i in range(k0, k1):
                        u, at = where[i], starts[row, i]
                        for e in range(S[i] * S[i]):
                            leak[e] = tape_A[t, start_A[i] * B + (b * S[i] * S[i] + e) * size[i] + local[i]]
                        n = _gather(source, flat_coef, at, starts[row, i + 1] - at, entries, 1, S[i], there, stride, room,
                                    places, weights)  # fmt: skip
                        propagate += w * _sum(M, base + row_of[first + u] * stride, stride, S[i], leak, 0, row_live[lives + u],
                                              sent, aside, places, weights, room, n, wide)  # fmt: skip
                        row_live[lives + u] = True
                    if most == 1:
                        immediate += add_immediate(
                            M, t, b, base, r0, r1, c0, run_source, run_delay, runs, own_row, position, gain, tape_B, tape_P,
                            messages, history,
                        )  # fmt: skip
                    else:
                        immediate += add_immediate_states(
                            M, t, b, base, r0, r1, c0, run_source, run_delay, runs, own_row, position, gain, tape_B, tape_P,
                            messages, history, stride, owned, apart,
                        )  # fmt: skip
                    for a in range(n_active[t, b]):
                        i, home = active_units[t, b, a], (number[D + t - t0, b] + a) % store
                        u, place = where[i], home * stride
                        there[home] = False
                        if u < 0:
                            continue
                        at_M = base + row_of[first + u] * stride
                        if not k0 <= i < k1:
                            n = _advance(M, at_M, stride, S[i], begin[row, a], count[row, a], arriving, weight, scale,
                                         (row * N + a) * most * most, row_live[lives + u], sent, there, aside,
                                         places, weights, room, most, wide)  # fmt: skip
                            if n < 0:
                                continue
                            propagate += n * w
                            row_live[lives + u] = True
                        there[home] = True
                        for s in range(S[i]):
                            places[s] = at_M + s * stride
                            weights[s] = tape_o[t, start_o[i] * B + (b * S[i] + s) * size[i] + local[i]]
                        sum_rows(sent, place, M.dtype.type(0), M, places, weights, S[i], wide)
                        emit += S[i] * w
                        for x in range(col_ptr[i + 1] - Q[i] if k0 <= i < k1 else col_ptr[i + 1], col_ptr[i + 1]):
                            at_q = start_q[i] * B + (b * Q[i] + col_port[x]) * size[i] + local[i]
                            sent[place + position[b, run_of[x]] + placed[x] - runs[run_of[x]]] += tape_q[t, at_q]
                m = 0  # rows sent that a loss sees
                for t in range(begins, ends):
                    for a in range(n_active[t, b]):
                        home, signal = (number[D + t - t0, b] + a) % store, direct[t, b, active_units[t, b, a]]
                        if signal != 0 and there[home]:
                            places[m], weights[m] = home * stride, signal
                            m += 1
                if m:
                    sum_rows(g, 0, one, sent, places, weights, m, wide)
                    read += m * w
                if last and c == len(cuts) - 2:
                    break
                for u in range(units):
                    i, event = reach[first + u], steps * B + lot
                    if not k0 <= i < k1 and count[event, i] >= 0:
                        n = _advance(M, base + row_of[first + u] * stride, stride, S[i], begin[event, i], count[event, i],
                                     arriving, weight, scale, (event * N + i) * most * most, row_live[lives + u],
                                     sent, there, aside, places, weights, room, most, wide)  # fmt: skip
                        if n >= 0:
                            propagate += n * w
                            row_live[lives + u] = True
                    at, n = sent_ptr[lot, i], sent_ptr[lot, i + 1] - sent_ptr[lot, i]
                    if n and heard[u]:
                        for k in range(K):
                            m = _gather(sent_slot, sent_power[k], at, n, 0, 1, 1, there, stride, room, places, weights)
                            sum_rows(F, (k * units + u) * stride, one if summed[u] else dtype.type(0), sent, places, weights, m,
                                     wide)  # fmt: skip
                            read += m * w
                        summed[u] = True
            if not last:
                _depart(E, ring, slot, slots, D, clock, t0, t1, units, first, where, active, number, b, sent, there, store,
                        stride, wide)  # fmt: skip
            read += w * write_readouts(Z, z_base, stride, losses, written, F, reached, summed, places, weights, wide)
            width[b, gr] = w
            add_gradient(gradient[chunk], g, b, r0, r1, runs, theta, position)
        counts[task, 0] += propagate
        counts[task, 1] += immediate
        counts[task, 2] += emit
        counts[task, 3] += read
