"""Compiled loops of exact sparse RTRL and SnAp: the influence in blocks.

The influence of unit k's parameters is a block: rows = states of the units that k can reach, columns = parameters of k.
Consecutive units that reach the same rows form one **group** and share one block with their columns side by side, so that
narrow blocks still fill vector registers. Blocks never exchange anything. Inside a block, for every lane:

* columns are **packed in the order in which they come alive**: a synapse whose source has never fired has no column yet;
* a row that is still (or again) zero is **not alive** and costs nothing;
* only gradient-active units put a row E_j = o_j M_j + q_j into the ring, and only such rows are ever multiplied.

Nothing is approximated: what is skipped is exactly zero. Networks whose blocks hold all units of one state have loops of their
own (``dense_kernel``, ``by_event_kernel``).
"""

from __future__ import annotations

import numpy as np

from ....loops import inner, loop
from ..blocks.columns import add_gradient, add_immediate, heard_units, locate_gains, read_readouts, wake, write_readouts
from ..simd.rows import FAST, sum_rows, sum_slots
from ..simd.scalar import copy, largest
from ..simd.views import flat


@inner(fastmath=FAST, inline="always")
def _gather(entries, end, s, coef, pre, lag, now, D, address, N, places, weights):
    """Rows that really arrive at state s of a unit: their places in E and entries of the step Jacobian. Returns how many."""
    n = 0
    for e in range(entries, end):
        r = 0 if D == 1 else (now - lag[e]) % D
        place = address[r * N + pre[e]]
        weight = coef[s, e]
        if place >= 0 and weight != 0:
            places[n], weights[n] = place, weight
            n += 1
    return n


@inner(fastmath=FAST, inline="always")
def _list_own(s, S, a_row, a_step, A, stride, places, weights):
    """What the S states of a unit pass to its state s: their rows and their derivatives. Returns how many are not zero."""
    n = 0
    for r in range(S):
        a = A[a_row + (s * S + r) * a_step]
        if a != 0:
            places[n], weights[n] = r * stride, a
            n += 1
    return n


@inner(fastmath=FAST)
def add_immediate_states(M, t, b, base, r0, r1, c0, run_source, run_delay, runs, own_row, position, gain, tape_B, tape_P,
                         messages, history, stride, states, apart):  # fmt: skip
    """``add_immediate`` for units of several ``states``, whose derivatives lie ``apart`` (of each column)."""
    done = 0
    for run in range(r0, r1):
        source = run_source[run]
        value = messages[history + t - run_delay[run], b, source] if source >= 0 else messages.dtype.type(1)
        if value == 0:
            continue
        line, at = tape_P[t] if source == -2 else tape_B[t], base + position[b, run]
        for x in range(runs[run], runs[run + 1]):
            for s in range(states[x - c0]):
                M[at + own_row[x] + s * stride] += line[gain[x - c0] + s * apart[x - c0]] * value
            done += states[x - c0]
    return done


@inner(fastmath=FAST)
def _widen(M, base, stride, fresh, wide, units, row_of, states, live, E, address, Z, z_base, leaky):
    """Zeros in the registers that columns just alive have opened: in live rows of M, in rows of E on their way, and in Z."""
    for u in range(units):
        for r in range(row_of[u], row_of[u] + states[u] if live[u] else row_of[u]):
            M[base + r * stride + fresh : base + r * stride + wide] = 0
    for place in address:
        if place >= 0:
            E[place + fresh : place + wide] = 0
    for o in range(leaky):
        Z[z_base + o * stride + fresh : z_base + o * stride + wide] = 0


@loop(nogil=True, fastmath=FAST)
def sweep(tasks, t0, t1, B, clock, simd_width, most, tables, linear, blocks, influence, messages, history, active, past_active,
          jacobian, losses, gradient, counts, last):  # fmt: skip
    """Advance blocks over steps t0..t1-1 of a tape; write the gradient (lane chunks, parameters); count multiply-adds.

    Changes the arrays of ``influence``, ``gradient`` and ``counts``. ``most``: the most rows that are summed at a time.

    A task (g, chunk, first lane, last lane) is one group of units on some lanes. Rows are padded to ``stride_of[g]`` elements,
    a multiple of ``simd_width``; in live rows every padded element beyond the live width is zero. For group g and lane b: M
    starts at ``B * first_M[g] + b * rows * stride``; row a of ring position r of E at
    ``(B * first_E[g] + b * units * stride) * D + (r * units + a) * stride``; ``slot`` (D per unit) and ``row_live`` follow
    ``reach_ptr``. Losses of the tape reach E through ``direct``, which holds the leak of the readouts; their rows Z are read
    for what came before the tape (``past``, B, L) and written once, at the end, from sums of E that decay (``powers`` (decays,
    steps), ``kind`` of every leaky output, ``kept`` its decay over all steps). They are not written if this is the ``last``
    tape before all lanes begin anew.
    """
    S, Q, size, local, memoryless, hears = tables.S, tables.Q, tables.size, tables.local, tables.memoryless, tables.hears
    start_A, start_o, start_q = tables.start_A, tables.start_o, tables.start_q
    tape_A, tape_B, tape_P, tape_o, tape_q = linear.A, linear.B, linear.P, linear.o, linear.q
    col_ptr, col_unit, col_port, order = blocks.col_ptr, blocks.col_unit, blocks.col_port, blocks.order
    theta, placed, own_row, term = blocks.theta, blocks.placed, blocks.own_row, blocks.term
    run_of, run_ptr, runs, run_source, run_delay = (
        blocks.run_of, blocks.run_ptr, blocks.runs, blocks.run_source, blocks.run_delay,
    )  # fmt: skip
    group, reach_ptr, reach, row_of, stride_of = blocks.group, blocks.reach_ptr, blocks.reach, blocks.row_of, blocks.stride
    first_M, first_E, first_Z = blocks.first_M, blocks.first_E, blocks.first_Z
    M, E, slot, row_live = influence.M, influence.E, influence.slot, influence.row_live
    position, width, Z = influence.position, influence.width, influence.Z
    n_active, active_units, active_slot = active.count, active.units, active.slot
    starts, pre, sent, lag, coef = jacobian.starts, jacobian.pre, jacobian.slot, jacobian.lag, jacobian.coef
    powers = losses.powers
    direct, leaky, kept, past, out_weight = losses.direct, losses.leaky, losses.kept, losses.past, losses.out_weight
    N, D = len(S), len(slot) // max(1, B * len(reach))  # D: steps that rows are in flight at most
    L, written = len(leaky), 0 if last else len(leaky)  # leaky outputs; those whose rows are written
    flat_coef = flat(coef)
    states, most_states = S[reach], largest(S)
    for task in range(len(tasks)):
        gr, chunk = tasks[task, 0], tasks[task, 1]
        k0, k1 = group[gr], group[gr + 1]
        c0, c1, r0, r1 = col_ptr[k0], col_ptr[k1], run_ptr[gr], run_ptr[gr + 1]
        stride = stride_of[gr]
        first, units = reach_ptr[gr], reach_ptr[gr + 1] - reach_ptr[gr]
        rows = row_of[first + units - 1] + S[reach[first + units - 1]]
        dtype = M.dtype
        unit = np.zeros(2, dtype)
        unit[1] = 1
        zero, one, single = unit[0], unit[1], most_states == 1
        where, address = np.empty(N, np.int64), np.empty(D * N, np.int64)
        where[:], address[:] = -1, -1
        own = np.zeros(units, np.bool_)
        a_place, a_lane = np.empty(units, np.int64), np.empty(units, np.int64)
        for u in range(units):
            i = reach[first + u]
            where[i], own[u] = u, k0 <= i < k1
            a_place[u], a_lane[u] = start_A[i] * B + local[i], S[i] * S[i] * size[i]
        old, g = np.zeros(most_states * stride if most_states > 1 else 0, dtype), np.zeros(stride, dtype)
        summed = written > 0 and t1 - t0 > 1  # F: decaying sums of the rows E of this stretch
        F = np.zeros(len(powers) * units * stride if summed else 0, dtype)
        reached = reach[first : first + units]
        touched, heard = np.zeros(units, np.bool_), heard_units(losses, L if summed else 0, reached)
        places, rows_now, units_now = np.zeros(most, np.int64), np.zeros(N, np.int64), np.zeros(N, np.int64)
        weights, signals = np.zeros(most, dtype), np.zeros(N, dtype)
        # of each column, in the order of sources: its place in tape_B (or tape_P) in one lane; states; how far these lie apart
        gain, owned, apart = np.empty(c1 - c0, np.int64), S[col_unit[order[c0:c1]]], term[c0:c1, 3]
        propagate, immediate, emit, read = 0, 0, 0, 0
        for b in range(tasks[task, 2], tasks[task, 3]):
            base = B * first_M[gr] + b * rows * stride
            ring = (B * first_E[gr] + b * units * stride) * D
            slots = (B * first + b * units) * D
            lives = B * first + b * units
            z_base = (B * first_Z[gr] + b * stride) * L
            there = 0
            for r in range(D):
                for u in range(units):
                    a = slot[slots + r * units + u]
                    address[r * N + reach[first + u]] = ring + (r * units + a) * stride if a >= 0 else -1
                    there += a >= 0
            complete = D == 1 and units == N and there == past_active[b]
            w = np.int64(width[b, gr])  # one type from the start: what is called is compiled for each
            wide = (w + simd_width - 1) // simd_width * simd_width
            locate_gains(gain, c0, c1, term, b, B)
            g[:] = 0
            read += w * read_readouts(g, Z, z_base, stride, past[b], places, weights, wide)
            for u in range(units if summed else 0):
                if touched[u]:
                    touched[u] = False
                    for k in range(len(powers)):
                        F[(k * units + u) * stride : (k * units + u + 1) * stride] = 0
            for t in range(t0, t1):
                now = (clock + t) % D
                step = (t - t0) * B + b
                # rows: M <- A M + sum of arriving rows
                for u in range(units):
                    i = reach[first + u]
                    begin, end = starts[step, i], starts[step, i + 1]
                    live = row_live[lives + u]
                    if memoryless[i]:
                        live = False
                        sends = own[u]
                        for s in range(S[i]):
                            sends |= tape_o[t, start_o[i] * B + (b * S[i] + s) * size[i] + local[i]] != 0
                        if not sends:  # such a row could only be read through o = 0
                            end = begin
                    if not live and not own[u]:
                        arrives = False
                        for e in range(begin, end):
                            r = 0 if D == 1 else (clock + t - lag[e]) % D
                            arrives |= address[r * N + pre[e]] >= 0
                        if not arrives:
                            row_live[lives + u] = False
                            continue
                    row_live[lives + u] = True
                    at, a_row = base + row_of[first + u] * stride, a_place[u] + b * a_lane[u]
                    if live and S[i] > 1:
                        copy(old[: S[i] * stride], M[at : at + S[i] * stride])
                    for s in range(S[i]):  # M <- A M + step Jacobian times E
                        leak, n = one, 0
                        if S[i] == 1:
                            leak = tape_A[t, a_row] if live else zero
                            propagate += (leak != 0) * w
                        else:
                            n = _list_own(s, S[i], a_row, size[i], tape_A[t], stride, places, weights) if live else 0
                            sum_rows(M, at + s * stride, zero, old, places, weights, n, wide)
                            propagate += n * w
                        n = 0
                        if complete:
                            if hears[i, s]:
                                n = end - begin
                            if n or S[i] == 1:
                                entry = s * coef.shape[1] + begin
                                sum_slots(M, at + s * stride, leak, E, ring, stride, sent, begin, flat_coef, entry, n, wide)
                        else:
                            if hears[i, s]:
                                n = _gather(begin, end, s, coef, pre, lag, clock + t, D, address, N, places, weights)
                            if n or S[i] == 1:
                                sum_rows(M, at + s * stride, leak, E, places, weights, n, wide)
                        propagate += n * w
                # columns come alive; immediate terms, in the rows of each column's own unit
                w = wake(t, t + 1, r0, r1, run_source, run_delay, runs, position, messages, history, b, w)
                fresh, wide = wide, (w + simd_width - 1) // simd_width * simd_width
                if wide > fresh:
                    ahead = address[: D * N if D > 1 else 0]
                    _widen(M, base, stride, fresh, wide, units, row_of[first:], states[first:], row_live[lives:], E, ahead, Z,
                           z_base, written)  # fmt: skip
                if single:
                    immediate += add_immediate(
                        M, t, b, base, r0, r1, c0, run_source, run_delay, runs, own_row, position, gain, tape_B, tape_P,
                        messages, history,
                    )  # fmt: skip
                else:
                    immediate += add_immediate_states(
                        M, t, b, base, r0, r1, c0, run_source, run_delay, runs, own_row, position, gain, tape_B, tape_P,
                        messages, history, stride, owned, apart,
                    )  # fmt: skip
                # messages: E <- o M + q for gradient-active units
                for u in range(units):
                    if address[now * N + reach[first + u]] >= 0:
                        slot[slots + now * units + u] = -1
                        address[now * N + reach[first + u]] = -1
                n = 0
                for a in range(n_active[t, b] if units == N else units):
                    j = active_units[t, b, a] if units == N else reach[first + a]
                    u = where[j]
                    if active_slot[t, b, j] < 0 or not row_live[lives + u]:
                        continue
                    at = a if units == N else n
                    place = ring + (now * units + at) * stride
                    slot[slots + now * units + u] = at
                    address[now * N + j] = place
                    at_o = start_o[j] * B + b * S[j] * size[j] + local[j]
                    for s in range(S[j]):
                        places[s] = base + (row_of[first + u] + s) * stride
                        weights[s] = tape_o[t, at_o + s * size[j]]
                    sum_rows(E, place, zero, M, places, weights, S[j], wide)
                    emit += S[j] * w
                    if own[u]:
                        for c in range(col_ptr[j + 1] - Q[j], col_ptr[j + 1]):
                            at_q = start_q[j] * B + (b * Q[j] + col_port[c]) * size[j] + local[j]
                            run = run_of[c]
                            E[place + position[b, run] + placed[c] - runs[run]] += tape_q[t, at_q]
                    if summed and heard[u]:
                        touched[u] = True
                        for k in range(len(powers)):
                            places[0], weights[0] = place, powers[k, t - t0]
                            sum_rows(F, (k * units + u) * stride, one, E, places, weights, 1, wide)
                            read += w
                    rows_now[n], signals[n], units_now[n] = place, direct[t, b, j], j
                    n += 1
                complete = D == 1 and units == N and n == n_active[t, b]
                # readout: rows of leaky ones (of a single step), then the signal
                for o in range(0 if summed else written):
                    for a in range(n):
                        weights[a] = out_weight[leaky[o], units_now[a]]
                    sum_rows(Z, z_base + o * stride, kept[o], E, rows_now, weights, n, wide)
                    read += (n + 1) * w
                m = 0
                for a in range(n):
                    if signals[a] != 0:
                        signals[m], rows_now[m] = signals[a], rows_now[a]
                        m += 1
                if m:
                    sum_rows(g, 0, one, E, rows_now, signals, m, wide)
                    read += m * w
            outputs = L if summed else 0
            read += w * write_readouts(Z, z_base, stride, losses, outputs, F, reached, touched, places, weights, wide)
            width[b, gr] = w
            add_gradient(gradient[chunk], g, b, r0, r1, runs, theta, position)
        counts[task, 0] += propagate
        counts[task, 1] += immediate
        counts[task, 2] += emit
        counts[task, 3] += read
