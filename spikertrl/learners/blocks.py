"""Compiled loops of exact sparse RTRL and SnAp: one block of influence per unit.

The influence of unit k's parameters is a block M_k: rows = states of the units that k can reach, columns = parameters of k. Blocks
never exchange anything. Inside a block, for every lane:

* columns are **packed in the order in which they come alive**: a synapse whose source has never fired has no column yet;
* a row that is still (or again) zero is **not alive** and costs nothing;
* only gradient-active units put a row E_j = o_j M_j + q_j into the ring, and only such rows are ever multiplied.

Nothing is approximated: what is skipped is exactly zero.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .vector import combine

FAST = {"contract", "nsz", "arcp"}  # fused multiply-add allowed; nan and inf keep their meaning


@njit(cache=True)
def couple(tape_B, theta, active, history, pair_ptr, pair_pre, pair_delay, pair_syn, syn_theta, syn_port, S, G, size, local, start_B, t0, t1, B, ptr, pre, lag, coef, fill):  # fmt: skip
    """Effective couplings sum_g B_isg(t) theta_ijg of all pairs whose source was gradient-active, for steps t0..t1-1 and all lanes.

    ``active`` (history + tau, B, N). With ``fill`` False only counts into ``ptr`` ((t1-t0) * B, N + 1); then fills pre, lag, coef (.., S).
    """
    total = 0
    N = len(S)
    zero = np.zeros(1, theta.dtype)
    for t in range(t0, t1):
        for b in range(B):
            row = (t - t0) * B + b
            for i in range(N):
                ptr[row, i] = total
                for e in range(pair_ptr[i], pair_ptr[i + 1]):
                    j, d = pair_pre[e], pair_delay[e]
                    if not active[history + t - d, b, j]:
                        continue
                    if fill:
                        pre[total] = j
                        lag[total] = d
                        for s in range(S[i]):
                            value = zero[0]
                            base = start_B[i] * B + (b * S[i] * G[i] + s * G[i]) * size[i] + local[i]
                            for c in range(pair_syn[e], pair_syn[e + 1]):
                                value += tape_B[t, base + syn_port[c] * size[i]] * theta[syn_theta[c]]
                            coef[total, s] = value
                    total += 1
            ptr[row, N] = total
    return total


@njit(fastmath=FAST, cache=True)
def _gather(entries, end, s, coef, pre, lag, now, D, address, N, places, weights):
    """Rows that really arrive at state s of a unit: their places in E and their couplings. Returns how many."""
    n = 0
    for e in range(entries, end):
        r = 0 if D == 1 else (now - lag[e]) % D
        place = address[r * N + pre[e]]
        weight = coef[e, s]
        if place >= 0 and weight != 0:
            places[n], weights[n] = place, weight
            n += 1
    return n


@njit(fastmath=FAST, cache=True)
def _advance_states(M, at, stride, w, wide, S, a_row, a_step, tape_A, old, live, first, end, coef, pre, lag, now, D, address, N, E, places, weights, unit):
    """Rows of one unit, S states: M <- A M + couplings @ E. Returns multiply-adds done."""
    zero, one = unit[0], unit[1]
    if S == 1:
        n = _gather(first, end, 0, coef, pre, lag, now, D, address, N, places, weights)
        a = tape_A[a_row] if live else zero
        combine(M, at, a, E, places, weights, n, wide)
        return (n + (a != 0)) * w
    done = 0
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
        m = _gather(first, end, s, coef, pre, lag, now, D, address, N, places, weights)
        combine(M, at + s * stride, one, E, places, weights, m, wide)
        done += (n + m) * w
    return done


@njit(parallel=True, fastmath=FAST, cache=True)
def sweep(chunks, t0, t1, B, clock, D, lanes, S, G, Q, size, local, start_A, start_B, start_P, start_o, start_q, memoryless, tape_A, tape_B, tape_P, tape_o,
          tape_q, col_ptr, col_theta, col_source, col_delay, col_port, reach_ptr, reach, row_of, stride_of, first_M, first_E, first_Z, M, E, slot, row_live,
          position, width, Z, messages, history, n_active, active_units, ptr, pre, lag, coef, direct, leaky, leaky_decay, out_weight, dz, gradient, counts):  # fmt: skip
    """Advance all blocks over steps t0..t1-1 of a tape; add the columns' gradient; count multiply-adds per chunk.

    Rows are padded to ``stride_of[k]`` elements, a multiple of ``lanes``; in live rows every padded element beyond the live width is zero. For
    block k and lane b: M starts at ``B * first_M[k] + b * rows * stride``; row a of ring position r of E at ``(B * first_E[k] + b * units * stride)
    * D + (r * units + a) * stride``; ``slot`` (D per unit) and ``row_live`` follow ``reach_ptr``.
    """
    N = len(S)
    L = len(leaky)
    for chunk in prange(len(chunks) - 1):
        dtype = M.dtype
        unit = np.zeros(2, dtype)
        unit[1] = 1
        zero, one = unit[0], unit[1]
        where = np.full(N, -1, np.int64)
        address = np.full(D * N, -1, np.int64)
        widest, most = 0, N
        for k in range(chunks[chunk], chunks[chunk + 1]):
            widest = max(widest, stride_of[k])
        for r in range(ptr.shape[0]):
            for i in range(N):
                most = max(most, ptr[r, i + 1] - ptr[r, i])
        most = max(most, S.max())
        old, g = np.zeros(S.max() * widest, dtype), np.zeros(widest, dtype)
        places, rows_now = np.zeros(most, np.int64), np.zeros(N, np.int64)
        weights, signals = np.zeros(most, dtype), np.zeros(N, dtype)
        propagate, immediate, emit, read = 0, 0, 0, 0
        for k in range(chunks[chunk], chunks[chunk + 1]):
            stride = stride_of[k]
            first, units = reach_ptr[k], reach_ptr[k + 1] - reach_ptr[k]
            for u in range(units):
                where[reach[first + u]] = u
            rows = row_of[first + units - 1] + S[reach[first + units - 1]]
            mine = row_of[first + where[k]]
            for b in range(B):
                base = B * first_M[k] + b * rows * stride
                ring = (B * first_E[k] + b * units * stride) * D
                slots = (B * first + b * units) * D
                lives = B * first + b * units
                z_base = (B * first_Z[k] + b * stride) * L
                for r in range(D):
                    for u in range(units):
                        a = slot[slots + r * units + u]
                        address[r * N + reach[first + u]] = ring + (r * units + a) * stride if a >= 0 else -1
                w = width[b, k]
                g[:] = 0
                for t in range(t0, t1):
                    now = (clock + t) % D
                    wide = (w + lanes - 1) // lanes * lanes
                    # rows: M <- A M + sum of arriving rows
                    for u in range(units):
                        i = reach[first + u]
                        begin, end = ptr[(t - t0) * B + b, i], ptr[(t - t0) * B + b, i + 1]
                        live = row_live[lives + u]
                        if memoryless[i]:
                            live = False
                            sends = i == k
                            for s in range(S[i]):
                                sends |= tape_o[t, start_o[i] * B + (b * S[i] + s) * size[i] + local[i]] != 0
                            if not sends:  # such a row could only be read through o = 0
                                end = begin
                        if not live and i != k:
                            arrives = False
                            for e in range(begin, end):
                                r = 0 if D == 1 else (clock + t - lag[e]) % D
                                arrives |= address[r * N + pre[e]] >= 0
                            if not arrives:
                                row_live[lives + u] = False
                                continue
                        row_live[lives + u] = True
                        propagate += _advance_states(
                            M, base + row_of[first + u] * stride, stride, w, wide, S[i], start_A[i] * B + b * S[i] * S[i] * size[i] + local[i], size[i],
                            tape_A[t], old, live, begin, end, coef, pre, lag, clock + t, D, address, N, E, places, weights, unit,
                        )  # fmt: skip
                    # immediate terms, in k's own rows; columns come alive
                    at_B = start_B[k] * B + b * S[k] * G[k] * size[k] + local[k]
                    at_P = start_P[k] * B + b * S[k] * Q[k] * size[k] + local[k]
                    for c in range(col_ptr[k], col_ptr[k + 1]):
                        value = one
                        if col_source[c] >= 0:
                            value = messages[history + t - col_delay[c], b, col_source[c]]
                            if value == 0:
                                continue
                        at = position[b, c]
                        if at < 0:
                            at = w
                            position[b, c] = w
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
                        row = base + mine * stride + at
                        if col_source[c] == -2:
                            for s in range(S[k]):
                                M[row + s * stride] += tape_P[t, at_P + (s * Q[k] + col_port[c]) * size[k]]
                        else:
                            for s in range(S[k]):
                                M[row + s * stride] += tape_B[t, at_B + (s * G[k] + col_port[c]) * size[k]] * value
                        immediate += S[k]
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
                        place = ring + (now * units + n) * stride
                        slot[slots + now * units + u] = n
                        address[now * N + j] = place
                        at_o = start_o[j] * B + b * S[j] * size[j] + local[j]
                        for s in range(S[j]):
                            places[s] = base + (row_of[first + u] + s) * stride
                            weights[s] = tape_o[t, at_o + s * size[j]]
                        combine(E, place, zero, M, places, weights, S[j], wide)
                        emit += S[j] * w
                        if j == k:
                            for c in range(col_ptr[k + 1] - Q[k], col_ptr[k + 1]):
                                E[place + position[b, c]] += tape_q[t, start_q[k] * B + (b * Q[k] + col_port[c]) * size[k] + local[k]]
                        rows_now[n], signals[n] = place, direct[t, b, j]
                        n += 1
                    # readout: leaky rows, then the signal
                    for o in range(L):
                        at = z_base + o * stride
                        m = 0
                        for a in range(n_active[t, b]):
                            if address[now * N + active_units[t, b, a]] >= 0 and where[active_units[t, b, a]] >= 0:
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
                width[b, k] = w
                for c in range(col_ptr[k], col_ptr[k + 1]):
                    if position[b, c] >= 0:
                        gradient[col_theta[c]] += g[position[b, c]]
            for u in range(units):
                where[reach[first + u]] = -1
                for r in range(D):
                    address[r * N + reach[first + u]] = -1
        counts[chunk, 0] += propagate
        counts[chunk, 1] += immediate
        counts[chunk, 2] += emit
        counts[chunk, 3] += read
