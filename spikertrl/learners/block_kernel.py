"""Compiled loops of exact sparse RTRL and SnAp: the influence in blocks.

The influence of unit k's parameters is a block: rows = states of the units that k can reach, columns = parameters of k.
Consecutive units that reach the same rows form one **group** and share one block with their columns side by side, so that
narrow blocks still fill vector registers. Blocks never exchange anything. Inside a block, for every lane:

* columns are **packed in the order in which they come alive**: a synapse whose source has never fired has no column yet;
* a row that is still (or again) zero is **not alive** and costs nothing;
* only gradient-active units put a row E_j = o_j M_j + q_j into the ring, and only such rows are ever multiplied.

Nothing is approximated: what is skipped is exactly zero.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .vector import combine, combine_slots

FAST = {"contract", "nsz", "arcp"}  # fused multiply-add allowed; nan and inf keep their meaning


@njit(cache=True, parallel=True, fastmath=FAST)
def couple(tape_B, weight, weight_ptr, ports, slots, history, pair_ptr, pair_pre, pair_delay, S, G, size, local, start_B, t0,
           t1, B, ends, pre, slot, lag, coef):  # fmt: skip
    """Effective couplings sum_g B_isg(t) theta_ijg of all pairs whose source was gradient-active, steps t0..t1-1, all lanes.

    Fills source unit, its slot, delay and coef (states, entries). Entries of unit i in row ``(t - t0) * B + b`` start at
    ``row * pairs + pair_ptr[i]`` and end before ``ends[row, i]``. ``slots`` (history + tau, B, N): place of a unit among the
    gradient-active ones of a step, else -1. ``weight``: per unit a matrix (ports that synapses reach, pairs), starting at
    ``weight_ptr``; ``ports`` (N, most) names them, -1 for none.
    """
    pairs = len(pair_pre)
    workers = min(64, (t1 - t0) * B)
    longest = np.diff(pair_ptr).max()
    for worker in prange(workers):
        summed = np.zeros(longest, coef.dtype)
        for row in range(worker, (t1 - t0) * B, workers):
            t, b = t0 + row // B, row % B
            for i in range(len(S)):
                n = pair_ptr[i + 1] - pair_ptr[i]
                total = summed[:n]
                base = start_B[i] * B + b * S[i] * G[i] * size[i] + local[i]
                at = row * pairs + pair_ptr[i]
                for s in range(S[i]):
                    total[:] = 0
                    for r in range(ports.shape[1]):
                        if ports[i, r] >= 0:
                            gain = tape_B[t, base + (s * G[i] + ports[i, r]) * size[i]]
                            if gain != 0:
                                line = weight[weight_ptr[i] + r * n : weight_ptr[i] + (r + 1) * n]
                                for e in range(n):
                                    total[e] += gain * line[e]
                    at = row * pairs + pair_ptr[i]
                    for e in range(n):
                        j, d = pair_pre[pair_ptr[i] + e], pair_delay[pair_ptr[i] + e]
                        found = slots[history + t - d, b, j]
                        if found >= 0:
                            coef[s, at] = total[e]
                            pre[at], slot[at], lag[at] = j, found, d
                            at += 1
                ends[row, i] = at


@njit(fastmath=FAST, cache=True, inline="always")
def _gather(entries, end, s, coef, pre, lag, now, D, address, N, places, weights):
    """Rows that really arrive at state s of a unit: their places in E and their couplings. Returns how many."""
    n = 0
    for e in range(entries, end):
        r = 0 if D == 1 else (now - lag[e]) % D
        place = address[r * N + pre[e]]
        weight = coef[s, e]
        if place >= 0 and weight != 0:
            places[n], weights[n] = place, weight
            n += 1
    return n


@njit(fastmath=FAST, cache=True, inline="always")
def _advance_states(M, at, stride, w, wide, S, a_row, a_step, tape_A, old, hears, live, first, end, coef, flat_coef, pre, slots,
                    complete, ring, lag, now, D, address, N, E, places, weights, unit):  # fmt: skip
    """Rows of one unit, S states: M <- A M + couplings @ E. Returns multiply-adds done."""
    zero, one = unit[0], unit[1]
    done = 0
    if S == 1:
        a = tape_A[a_row] if live else zero
        if complete:
            n = end - first
            combine_slots(M, at, a, E, ring, stride, slots, first, flat_coef, first, n, wide)
        else:
            n = _gather(first, end, 0, coef, pre, lag, now, D, address, N, places, weights)
            combine(M, at, a, E, places, weights, n, wide)
        done = (n + (a != 0)) * w
    else:
        if live:
            old[: S * stride] = M[at : at + S * stride]
        for s in range(S):
            n = 0
            if live:
                for r in range(S):
                    a = tape_A[a_row + (s * S + r) * a_step]
                    if a != 0:
                        places[n], weights[n] = r * stride, a
                        n += 1
            combine(M, at + s * stride, zero, old, places, weights, n, wide)
            m = 0
            if complete and hears[s]:
                m = end - first
                row = s * coef.shape[1] + first
                combine_slots(M, at + s * stride, one, E, ring, stride, slots, first, flat_coef, row, m, wide)
            elif hears[s]:
                m = _gather(first, end, s, coef, pre, lag, now, D, address, N, places, weights)
                combine(M, at + s * stride, one, E, places, weights, m, wide)
            done += (n + m) * w
    return done


@njit(parallel=True, fastmath=FAST, cache=True)
def sweep(tasks, t0, t1, B, clock, D, lanes, most, S, G, Q, size, local, hears, start_A, start_B, start_P, start_o, start_q,
          memoryless, tape_A, tape_B, tape_P, tape_o, tape_q, col_ptr, col_unit, col_source, col_delay, col_port, order,
          placed, run_ptr, runs, group, reach_ptr, reach, row_of, stride_of, first_M, first_E, first_Z, M, E, slot, row_live,
          position, width, Z, messages, history, n_active, active_units, past_active, pairs, pair_ptr, ends, pre, sent, lag,
          coef, direct, leaky, leaky_decay, out_weight, dz, gradient, counts):  # fmt: skip
    """Advance all blocks over steps t0..t1-1 of a tape; write the columns' gradient (lane chunks, C); count multiply-adds.

    A task (g, chunk, first lane, last lane) is one group of units on some lanes. Rows are padded to ``stride_of[g]`` elements,
    a multiple of ``lanes``; in live rows every padded element beyond the live width is zero. For group g and lane b: M starts
    at ``B * first_M[g] + b * rows * stride``; row a of ring position r of E at
    ``(B * first_E[g] + b * units * stride) * D + (r * units + a) * stride``; ``slot`` (D per unit) and ``row_live`` follow
    ``reach_ptr``.
    """
    N = len(S)
    L = len(leaky)
    flat_coef = coef.reshape(-1)
    for task in prange(len(tasks)):
        gr, chunk = tasks[task, 0], tasks[task, 1]
        k0, k1 = group[gr], group[gr + 1]
        c0, c1 = col_ptr[k0], col_ptr[k1]
        stride = stride_of[gr]
        first, units = reach_ptr[gr], reach_ptr[gr + 1] - reach_ptr[gr]
        rows = row_of[first + units - 1] + S[reach[first + units - 1]]
        dtype = M.dtype
        unit = np.zeros(2, dtype)
        unit[1] = 1
        zero, one, single = unit[0], unit[1], S.max() == 1
        where = np.full(N, -1, np.int64)
        for u in range(units):
            where[reach[first + u]] = u
        address = np.full(D * N, -1, np.int64)
        old, g = np.zeros(S.max() * stride if S.max() > 1 else 0, dtype), np.zeros(stride, dtype)
        places, rows_now = np.zeros(most, np.int64), np.zeros(N, np.int64)
        weights, signals = np.zeros(most, dtype), np.zeros(N, dtype)
        # per column, in the order of sources: its unit's row, its derivative (place, per lane, per state)
        row_at, gain_at = np.empty(c1 - c0, np.int64), np.empty(c1 - c0, np.int64)
        gain_lane, gain_state = np.empty(c1 - c0, np.int64), np.empty(c1 - c0, np.int64)
        for x in range(c0, c1):
            c = order[x]
            k = col_unit[c]
            row_at[x - c0] = row_of[first + where[k]] * stride
            kinds = Q[k] if col_source[c] == -2 else G[k]
            gain_at[x - c0] = (start_P[k] if col_source[c] == -2 else start_B[k]) * B + col_port[c] * size[k] + local[k]
            gain_lane[x - c0], gain_state[x - c0] = S[k] * kinds * size[k], kinds * size[k]
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
            complete = D == 1 and units == N and there == past_active[0, b]
            w = width[b, gr]
            g[:] = 0
            for t in range(t0, t1):
                now = (clock + t) % D
                wide = (w + lanes - 1) // lanes * lanes
                # rows: M <- A M + sum of arriving rows
                for u in range(units):
                    i = reach[first + u]
                    own = k0 <= i < k1
                    begin, end = ((t - t0) * B + b) * pairs + pair_ptr[i], ends[(t - t0) * B + b, i]
                    live = row_live[lives + u]
                    if memoryless[i]:
                        live = False
                        sends = own
                        for s in range(S[i]):
                            sends |= tape_o[t, start_o[i] * B + (b * S[i] + s) * size[i] + local[i]] != 0
                        if not sends:  # such a row could only be read through o = 0
                            end = begin
                    if not live and not own:
                        arrives = False
                        for e in range(begin, end):
                            r = 0 if D == 1 else (clock + t - lag[e]) % D
                            arrives |= address[r * N + pre[e]] >= 0
                        if not arrives:
                            row_live[lives + u] = False
                            continue
                    row_live[lives + u] = True
                    at, a_row = base + row_of[first + u] * stride, start_A[i] * B + b * S[i] * S[i] * size[i] + local[i]
                    propagate += _advance_states(
                        M, at, stride, w, wide, S[i], a_row, size[i], tape_A[t], old, hears[i], live, begin, end, coef,
                        flat_coef, pre, sent, complete, ring, lag, clock + t, D, address, N, E, places, weights, unit,
                    )  # fmt: skip
                # immediate terms, in the rows of each column's own unit; columns come alive
                for run in range(run_ptr[gr], run_ptr[gr + 1]):
                    source = col_source[order[runs[run]]]
                    value = one
                    if source >= 0:
                        value = messages[history + t - col_delay[order[runs[run]]], b, source]
                        if value == 0:
                            continue
                    for x in range(runs[run], runs[run + 1]):
                        at = position[b, x]
                        if at < 0:
                            at = w
                            position[b, x] = w
                            if w % lanes == 0:
                                for u in range(units):
                                    if row_live[lives + u]:
                                        for r in range(row_of[first + u], row_of[first + u] + S[reach[first + u]]):
                                            M[base + r * stride + w : base + r * stride + w + lanes] = 0
                                    for r in range(D if D > 1 else 0):
                                        place = address[r * N + reach[first + u]]
                                        if place >= 0:
                                            E[place + w : place + w + lanes] = 0
                                for o in range(L):
                                    Z[z_base + o * stride + w : z_base + o * stride + w + lanes] = 0
                            w += 1
                        row = base + row_at[x - c0] + at
                        gain = gain_at[x - c0] + b * gain_lane[x - c0]
                        if source == -2:
                            for s in range(S[col_unit[order[x]]]):
                                M[row + s * stride] += tape_P[t, gain + s * gain_state[x - c0]]
                                immediate += 1
                        elif single:
                            M[row] += tape_B[t, gain] * value
                            immediate += 1
                        else:
                            for s in range(S[col_unit[order[x]]]):
                                M[row + s * stride] += tape_B[t, gain + s * gain_state[x - c0]] * value
                                immediate += 1
                # messages: E <- o M + q for gradient-active units
                wide = (w + lanes - 1) // lanes * lanes
                for u in range(units):
                    slot[slots + now * units + u] = -1
                    address[now * N + reach[first + u]] = -1
                n = 0
                for a in range(n_active[t, b]):
                    j = active_units[t, b, a]
                    u = where[j]
                    if u < 0 or not row_live[lives + u]:
                        continue
                    at = a if units == N else n
                    place = ring + (now * units + at) * stride
                    slot[slots + now * units + u] = at
                    address[now * N + j] = place
                    at_o = start_o[j] * B + b * S[j] * size[j] + local[j]
                    for s in range(S[j]):
                        places[s] = base + (row_of[first + u] + s) * stride
                        weights[s] = tape_o[t, at_o + s * size[j]]
                    combine(E, place, zero, M, places, weights, S[j], wide)
                    emit += S[j] * w
                    if k0 <= j < k1:
                        for c in range(col_ptr[j + 1] - Q[j], col_ptr[j + 1]):
                            at_q = start_q[j] * B + (b * Q[j] + col_port[c]) * size[j] + local[j]
                            E[place + position[b, placed[c]]] += tape_q[t, at_q]
                    rows_now[n], signals[n] = place, direct[t, b, j]
                    n += 1
                complete = D == 1 and units == N and n == n_active[t, b]
                # readout: leaky rows, then the signal
                for o in range(L):
                    at = z_base + o * stride
                    m = 0
                    for a in range(n_active[t, b]):
                        if where[active_units[t, b, a]] >= 0 and address[now * N + active_units[t, b, a]] >= 0:
                            weights[m] = out_weight[leaky[o], active_units[t, b, a]]
                            m += 1
                    combine(Z, at, leaky_decay[o], E, rows_now, weights, m, wide)
                    read += (m + 1) * w
                    if dz[t, b, leaky[o]] != 0:
                        places[0], weights[0] = at, dz[t, b, leaky[o]]
                        combine(g, 0, one, Z, places, weights, 1, wide)
                        read += w
                m = 0
                for a in range(n):
                    if signals[a] != 0:
                        signals[m], rows_now[m] = signals[a], rows_now[a]
                        m += 1
                if m:
                    combine(g, 0, one, E, rows_now, signals, m, wide)
                    read += m * w
            width[b, gr] = w
            for x in range(c0, c1):
                if position[b, x] >= 0:
                    gradient[chunk, order[x]] += g[position[b, x]]
        counts[task, 0] += propagate
        counts[task, 1] += immediate
        counts[task, 2] += emit
        counts[task, 3] += read
