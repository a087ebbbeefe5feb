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


@njit(fastmath=FAST, cache=True, inline="always")
def _axpy(target, source, a):
    for c in range(len(source)):
        target[c] += a * source[c]


@njit(fastmath=FAST, cache=True, inline="always")
def _axpy4(target, s0, s1, s2, s3, a0, a1, a2, a3):
    for c in range(len(s0)):
        target[c] += (a0 * s0[c] + a1 * s1[c]) + (a2 * s2[c] + a3 * s3[c])


@njit(fastmath=FAST, cache=True)
def _add_rows(target, E, places, widths, weights, n):
    """target[:width] += sum of weight * row, rows of equal width four at a time, without storing the partial sums."""
    e = 0
    done = 0
    while e < n:
        w = widths[e]
        if e + 3 < n and widths[e + 1] == w and widths[e + 2] == w and widths[e + 3] == w:
            _axpy4(target[:w], E[places[e] : places[e] + w], E[places[e + 1] : places[e + 1] + w], E[places[e + 2] : places[e + 2] + w],
                   E[places[e + 3] : places[e + 3] + w], weights[e], weights[e + 1], weights[e + 2], weights[e + 3])  # fmt: skip
            e += 4
            done += 4 * w
        else:
            _axpy(target[:w], E[places[e] : places[e] + w], weights[e])
            e += 1
            done += w
    return done


@njit(fastmath=FAST, cache=True)
def _advance_rows(M, base, p, w, row, S, a_row, a_step, tape_A, old, live, E, places, widths, weights, n):
    """Rows row..row+S-1 of one unit: M <- A M + weights @ E. Returns multiply-adds done."""
    done = 0
    if S == 1:
        target = M[base + row * p : base + row * p + w]
        a = tape_A[a_row]
        if live and a != 0:
            for c in range(w):
                target[c] *= a
            done += w
        else:
            target[:] = 0
        return done + _add_rows(target, E, places, widths, weights[0], n)
    for s in range(S):
        if live:
            old[s * p : s * p + w] = M[base + (row + s) * p : base + (row + s) * p + w]
    for s in range(S):
        target = M[base + (row + s) * p : base + (row + s) * p + w]
        target[:] = 0
        if live:
            for r in range(S):
                a = tape_A[a_row + (s * S + r) * a_step]
                if a != 0:
                    _axpy(target, old[r * p : r * p + w], a)
                    done += w
        m = 0  # ports that do not reach this state have zero weight
        for e in range(n):
            if weights[s, e] != 0:
                weights[S, m], places[n + m], widths[n + m] = weights[s, e], places[e], widths[e]
                m += 1
        done += _add_rows(target, E, places[n:], widths[n:], weights[S], m)
    return done


@njit(parallel=True, fastmath=FAST, cache=True)
def sweep(chunks, t0, t1, B, clock, D, S, G, Q, size, local, start_A, start_B, start_P, start_o, start_q, memoryless, tape_A, tape_B, tape_P, tape_o, tape_q,
          col_ptr, col_theta, col_source, col_delay, col_port, reach_ptr, reach, row_of, first_M, first_E, M, E, slot, row_live, position, width, ring_width, Z,
          messages, history, n_active, active_units, ptr, pre, lag, coef, direct, leaky, leaky_decay, out_weight, dz, gradient, counts):  # fmt: skip
    """Advance all blocks over steps t0..t1-1 of a tape; add the columns' gradient; count multiply-adds per chunk.

    Layouts for block k, lane b: M at ``B * first_M[k] + b * rows * p``; ring row of slot a, position r at ``((B * first_E[k] + b * units) * D +
    r * units + a) * p`` in units of p (first_E counts units * p); ``slot``, ``row_live`` follow ``reach_ptr``.
    """
    N = len(S)
    n_chunks = len(chunks) - 1
    max_S = 1
    for i in range(N):
        max_S = max(max_S, S[i])
    for chunk in prange(n_chunks):
        dtype = M.dtype
        where = np.full(N, -1, np.int64)
        one = np.ones(1, dtype)
        longest = 0
        most = 1
        for k in range(chunks[chunk], chunks[chunk + 1]):
            longest = max(longest, col_ptr[k + 1] - col_ptr[k])
        for r in range(ptr.shape[0]):
            for i in range(N):
                most = max(most, ptr[r, i + 1] - ptr[r, i])
        most = max(most, N)
        old = np.zeros(max_S * longest, dtype)
        g = np.zeros(longest, dtype)
        places, widths = np.zeros(2 * most, np.int64), np.zeros(2 * most, np.int64)
        weights = np.zeros((max_S + 1, most), dtype)
        propagate, immediate, emit, read = 0, 0, 0, 0
        for k in range(chunks[chunk], chunks[chunk + 1]):
            p = col_ptr[k + 1] - col_ptr[k]
            first, units = reach_ptr[k], reach_ptr[k + 1] - reach_ptr[k]
            for u in range(units):
                where[reach[first + u]] = u
            rows = row_of[first + units - 1] + S[reach[first + units - 1]]
            for b in range(B):
                base = B * first_M[k] + b * rows * p
                ring = (B * first_E[k] + b * units * p) * D
                z_base = (B * col_ptr[k] + b * p) * len(leaky)
                w = width[b, k]
                g[:] = 0
                for t in range(t0, t1):
                    now = (clock + t) % D
                    # rows: M <- A M + sum of arriving rows
                    for u in range(units):
                        i = reach[first + u]
                        n = 0
                        for e in range(ptr[(t - t0) * B + b, i], ptr[(t - t0) * B + b, i + 1]):
                            v = where[pre[e]]
                            if v < 0:
                                continue
                            r = (clock + t - lag[e]) % D
                            a = slot[(B * first + b * units) * D + r * units + v]
                            if a < 0:
                                continue
                            places[n] = ring + (r * units + a) * p
                            widths[n] = ring_width[r, b, k]
                            for s in range(S[i]):
                                weights[s, n] = coef[e, s]
                            n += 1
                        live = row_live[B * first + b * units + u]
                        if memoryless[i]:
                            live = False
                            sends = i == k
                            for s in range(S[i]):
                                sends |= tape_o[t, start_o[i] * B + (b * S[i] + s) * size[i] + local[i]] != 0
                            if not sends:  # such a row could only be read through o = 0
                                n = 0
                        if n == 0 and not live and i != k:
                            row_live[B * first + b * units + u] = False
                            continue
                        row_live[B * first + b * units + u] = True
                        propagate += _advance_rows(M, base, p, w, row_of[first + u], S[i], start_A[i] * B + b * S[i] * S[i] * size[i] + local[i], size[i],
                                                   tape_A[t], old, live, E, places, widths, weights, n)  # fmt: skip
                    # immediate terms, in k's own rows; columns come alive
                    mine = row_of[first + where[k]]
                    for c in range(col_ptr[k], col_ptr[k + 1]):
                        value = one[0]
                        if col_source[c] >= 0:
                            value = messages[history + t - col_delay[c], b, col_source[c]]
                            if value == 0:
                                continue
                        at = position[b, c]
                        if at < 0:
                            at = w
                            position[b, c] = w
                            for r in range(rows):
                                M[base + r * p + w] = 0
                            for o in range(len(leaky)):
                                Z[z_base + o * p + w] = 0
                            w += 1
                        if col_source[c] == -2:
                            place = start_P[k] * B + b * S[k] * Q[k] * size[k] + local[k]
                            for s in range(S[k]):
                                M[base + (mine + s) * p + at] += tape_P[t, place + (s * Q[k] + col_port[c]) * size[k]]
                        else:
                            place = start_B[k] * B + b * S[k] * G[k] * size[k] + local[k]
                            for s in range(S[k]):
                                M[base + (mine + s) * p + at] += tape_B[t, place + (s * G[k] + col_port[c]) * size[k]] * value
                        immediate += S[k]
                    # messages: E <- o M + q for gradient-active units
                    ring_width[now, b, k] = w
                    for u in range(units):
                        slot[(B * first + b * units) * D + now * units + u] = -1
                    n = 0
                    for a in range(n_active[t, b]):
                        j = active_units[t, b, a]
                        u = where[j]
                        if u < 0 or not row_live[B * first + b * units + u]:
                            continue
                        slot[(B * first + b * units) * D + now * units + u] = n
                        place = ring + (now * units + n) * p
                        row = E[place : place + w]
                        o_at = start_o[j] * B + b * S[j] * size[j] + local[j]
                        for s in range(S[j]):
                            source = M[base + (row_of[first + u] + s) * p : base + (row_of[first + u] + s) * p + w]
                            factor = tape_o[t, o_at + s * size[j]]
                            if s == 0:
                                for c in range(w):
                                    row[c] = factor * source[c]
                                emit += w
                            elif factor != 0:
                                _axpy(row, source, factor)
                                emit += w
                        if j == k:
                            for c in range(col_ptr[k], col_ptr[k + 1]):
                                if col_source[c] == -2:
                                    E[place + position[b, c]] += tape_q[t, start_q[k] * B + (b * Q[k] + col_port[c]) * size[k] + local[k]]
                        places[n], widths[n], weights[0, n] = place, w, direct[t, b, j]
                        n += 1
                    # readout: leaky rows, then the signal
                    for o in range(len(leaky)):
                        target = Z[z_base + o * p : z_base + o * p + w]
                        for c in range(w):
                            target[c] *= leaky_decay[o]
                        m = 0
                        for a in range(n_active[t, b]):
                            j = active_units[t, b, a]
                            u = where[j]
                            if u >= 0 and slot[(B * first + b * units) * D + now * units + u] >= 0:
                                weights[1, m] = out_weight[leaky[o], j]
                                m += 1
                        read += w + _add_rows(target, E, places, widths, weights[1], m)
                        if dz[t, b, leaky[o]] != 0:
                            _axpy(g[:w], target, dz[t, b, leaky[o]])
                            read += w
                    m = 0
                    for a in range(n):
                        if weights[0, a] != 0:
                            weights[0, m], places[m], widths[m] = weights[0, a], places[a], widths[a]
                            m += 1
                    read += _add_rows(g, E, places, widths, weights[0], m)
                width[b, k] = w
                for c in range(col_ptr[k], col_ptr[k + 1]):
                    if position[b, c] >= 0:
                        gradient[col_theta[c]] += g[position[b, c]]
            for u in range(units):
                where[reach[first + u]] = -1
        counts[chunk, 0] += propagate
        counts[chunk, 1] += immediate
        counts[chunk, 2] += emit
        counts[chunk, 3] += read
