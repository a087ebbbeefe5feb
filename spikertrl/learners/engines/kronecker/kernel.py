"""Compiled loops of the Kronecker learners: a group's factors through the steps of a tape, lane by lane.

One lane and step: list the rows that arrive (gradient-active sources only), lay out the step Jacobian J, multiply J with the
rows by BLAS (or row by row where the mask is sparse), add the units' own path, mix with the immediate term, send new rows.
"""

from __future__ import annotations

import math

import numpy as np

from ....loops import inner, loop
from ..blocks.step_jacobian_kernel import couple_lane
from ..simd.scalar import add, add_scaled, copy, largest, multiply, ratio
from ..simd.views import flat
from .reduction import reduce_terms

EXACT, SIGNED, OPTIMAL = 0, 1, 2  # how old and new terms are mixed: no noise, random signs (KF-RTRL), least variance (OK)


@inner()
def list_rows(sent, row, delays, b, list_delay, list_unit, slot):
    """Rows that may arrive: (delay, unit) of every source that was gradient-active then. Returns how many."""
    found = 0
    for d in range(len(delays)):
        for j in range(sent.shape[2]):
            slot[d, j] = -1
            if sent[row - delays[d], b, j] >= 0:
                list_delay[found], list_unit[found], slot[d, j] = d, j, found
                found += 1
    return found


@inner()
def couple_dense(t, b, B, nl, list_delay, list_unit, sends, own, synapses, tables, linear, J):
    """J (R, nl) becomes what each listed row does to every state, times ``sends`` (N) where all rows of one delay arrive.

    ``own``: units have one state, and their own path is added.
    """
    tape_A, tape_B, start_A = linear.A, linear.B, tables.start_A
    W, linked, S, G, size = synapses.W, synapses.linked, tables.S, tables.G, tables.size
    local, start_B, first_state = tables.local, tables.start_B, tables.first_state
    N, one_matrix = len(S), W.shape[0] == 1 and nl == len(S)
    for i in range(N):
        base = start_B[i] * B + b * S[i] * G[i] * size[i] + local[i]
        for s in range(S[i]):
            to = J[first_state[i] + s]
            to[:] = 0
            for g in range(G[i]):
                gain = tape_B[t, base + (s * G[i] + g) * size[i]]
                if gain == 0 or not linked[g, i]:
                    continue
                if one_matrix:
                    add_scaled(to, gain, W[0, g, i], sends)
                else:
                    for k in range(nl):
                        to[k] += gain * W[list_delay[k], g, i, list_unit[k]]
        if own:
            J[i, i] += tape_A[t, start_A[i] * B + b * size[i] + local[i]]


@inner()
def sent_by_states(t, b, B, tables, o, sends):
    """``sends`` (N) becomes dO/ds of units with one state."""
    size, local, start_o = tables.size, tables.local, tables.start_o
    for j in range(len(sends)):
        sends[j] = o[t, start_o[j] * B + b * size[j] + local[j]]


@inner()
def gather_rows(b, B, nl, list_unit, tables, o, q, A, columns, slot, E):
    """E (nl, n) becomes the listed units' messages of the step before, from their states' rows A (R, n)."""
    S, Q, size, local = tables.S, tables.Q, tables.size, tables.local
    start_o, start_q, first_state = tables.start_o, tables.start_q, tables.first_state
    unit, port, phi = columns.unit, columns.port, columns.phi
    for k in range(nl):
        j = list_unit[k]
        base = start_o[j] * B + b * S[j] * size[j] + local[j]
        E[k] = 0
        for s in range(S[j]):
            add(E[k], o[base + s * size[j]], A[first_state[j] + s])
    if phi:
        for c in range(len(unit)):
            j = unit[c]
            if slot[0, j] >= 0:
                E[slot[0, j], c] += q[start_q[j] * B + (b * Q[j] + port[c]) * size[j] + local[j]]


@inner()
def add_own(t, b, B, tables, tape_A, A, T):
    """T += own(t) A, the units' own path; returns multiply-adds."""
    S, size, local, start_A, first_state = tables.S, tables.size, tables.local, tables.start_A, tables.first_state
    done = 0
    for i in range(len(S)):
        base = start_A[i] * B + b * S[i] * S[i] * size[i] + local[i]
        for s in range(S[i]):
            for r in range(S[i]):
                gain = tape_A[t, base + (s * S[i] + r) * size[i]]
                if gain != 0:
                    add(T[first_state[i] + s], gain, A[first_state[i] + r])
                    done += T.shape[1]
    return done


@inner()
def immediate(t, b, B, columns, tables, linear, gains, places):
    """D, one column at a time: its entries ``gains`` at flat ``places`` of an (R, n) matrix. Returns how many, and |D|^2."""
    unit, port, S, size = columns.unit, columns.port, tables.S, tables.size
    local, first_state = tables.local, tables.first_state
    C, start, flat = (tables.Q, tables.start_P, linear.P) if columns.phi else (tables.G, tables.start_B, linear.B)
    found, total, n = 0, 0.0, len(unit)
    for c in range(n):
        i = unit[c]
        for s in range(S[i]):
            value = flat[t, start[i] * B + (b * S[i] * C[i] + s * C[i] + port[c]) * size[i] + local[i]]
            if value != 0:
                gains[found], places[found] = value, (first_state[i] + s) * n + c
                total += value * value
                found += 1
    return found, total


@inner()
def emit(b, B, tables, o, q, sent_now, A, columns, direct, dz, signals, flying, keep, E, Z, out, ej):
    """Send: ``out`` = dL/dy e + dL/dz Z for this step; rows in flight and the leaky readouts' rows. Returns multiply-adds.

    Changes ``E`` (rows in flight, at clock ``keep``), ``Z`` and ``out``; ``ej`` is for use.
    """
    S, Q, size, local = tables.S, tables.Q, tables.size, tables.local
    start_o, start_q, first_state = tables.start_o, tables.start_q, tables.first_state
    unit, port, phi, weights, decay = columns.unit, columns.port, columns.phi, signals.weights, signals.decay
    done, n = 0, A.shape[1]
    out[:] = 0
    for z in range(len(Z)):
        multiply(Z[z], decay[z], Z[z])
    for j in range(len(S)):
        if sent_now[j] < 0:
            continue
        if not flying and len(Z) == 0 and direct[j] == 0:
            continue
        base = start_o[j] * B + b * S[j] * size[j] + local[j]
        done += n * (S[j] + 1 + len(Z))
        if not flying and len(Z) == 0 and not phi:
            for s in range(S[j]):
                add(out, direct[j] * o[base + s * size[j]], A[first_state[j] + s])
            continue
        ej[:] = 0
        for s in range(S[j]):
            add(ej, o[base + s * size[j]], A[first_state[j] + s])
        if phi:
            for c in range(n):
                if unit[c] == j:
                    ej[c] += q[start_q[j] * B + (b * Q[j] + port[c]) * size[j] + local[j]]
        if direct[j] != 0:
            add(out, direct[j], ej)
        for z in range(len(Z)):
            add(Z[z], weights[z, j], ej)
        if flying:
            copy(E[keep, j], ej)
    for z in range(len(Z)):
        if dz[z] != 0:
            add(out, dz[z], Z[z])
    return done


@inner()
def _rescale(row, b, sent, D, now, factor, k, E, Z):
    """Rows of sample k in flight and of the leaky readouts are rescaled as A is."""
    for z in range(len(Z)):
        multiply(Z[z], factor, Z[z])
    for d in range(1, D):
        place = (now - d) % D
        for j in range(sent.shape[2]):
            if sent[row - d, b, j] >= 0:
                multiply(E[place, k, j], factor, E[place, k, j])


@inner()
def _mix_terms(row, b, sent, D, now, factors, E, Z, hold):
    """Rows in flight and of the leaky readouts take part in the mix: term k becomes sum_i factors[k, i] times term i."""
    for z in range(Z.shape[1]):
        _mix_rows(factors, Z[:, z], hold)
    for d in range(1, D):
        for j in range(sent.shape[2]):
            if sent[row - d, b, j] >= 0:
                _mix_rows(factors, E[(now - d) % D, :, j], hold)


@inner()
def _mix_rows(factors, rows, hold):
    for c in range(rows.shape[1]):
        for i in range(len(rows)):
            hold[i] = rows[i, c]
        for k in range(len(rows)):
            total = hold[0] * factors[k, 0]
            for i in range(1, len(rows)):
                total += hold[i] * factors[k, i]
            rows[k, c] = total


@inner()
def _arriving(k, b, B, nl, D, now, delays, list_delay, list_unit, slot, tables, o, q, columns, old, E, rows):
    """``rows`` (nl, n) become those that arrive at term k: out of flight, or made from the states' rows ``old`` (R, n)."""
    if D == 1:
        gather_rows(b, B, nl, list_unit, tables, o, q, old, columns, slot, rows)
    else:
        for e in range(nl):
            copy(rows[e], E[(now - delays[list_delay[e]]) % D, k, list_unit[e]])


@inner()
def _multiply_rows(dense, J, listed, tables, rows, into):
    """``into`` (R, n) = J rows, by BLAS or row by row; returns multiply-adds."""
    S, first_state, done, n = tables.S, tables.first_state, 0, rows.shape[1]
    ptr, index, values = listed.starts[0], listed.slot, listed.coef
    if dense and len(rows) > 0:
        np.dot(J, rows, into)
        return len(into) * len(rows) * n
    into[:] = 0
    if not dense:
        for i in range(len(S)):
            for s in range(S[i]):
                for e in range(ptr[i], ptr[i + 1]):
                    add(into[first_state[i] + s], values[s, e], rows[index[e]])
            done += (ptr[i + 1] - ptr[i]) * S[i] * n
    return done


@inner()
def _mix_signs(signs, K, k, size_u, size_T, size_D, size_x, scale):
    """Factors of A and D in the new A, of u and x in the new u."""
    p1, p2 = ratio(size_T, size_u), ratio(size_D, size_x)
    c1, c2 = signs[k], signs[K + k]
    scale[0], scale[1], scale[2], scale[3] = c1 / p1, c2 / p2, c1 * p1, c2 * p2


@inner()
def _squares(vector):
    total = 0.0
    for e in range(len(vector)):
        total += vector[e] * vector[e]
    return total


@loop(nogil=True)
def advance(worker, workers, kind, eps, clock, D, dense, foldable, synapses, tables, linear, sending, columns, signals, terms,
            work, U, rows, counts):  # fmt: skip
    """One group through the steps of a tape, in lanes worker, worker + workers, ...

    ``kind``: EXACT, SIGNED or OPTIMAL, which needs ``eps`` (None for learners that never take it; see ``reduce_terms``).
    The records are described in ``kronecker.records``. Of ``terms`` u (B, K, m), A (B, K, R, n), E (B, D or 0, K, N, n) and
    Z (B, K, L, n) change in place; the arrays of ``work`` are for use.

    ``o``, ``q`` have one step more in front, the last one of the tape before. Written: ``U`` (B, tau, K, m) and ``rows``
    (B, tau, K, n), whose outer products are the gradient; ``counts`` (4).
    """
    u, A, E, Z, o, q = terms.u, terms.A, terms.E, terms.Z, linear.o, linear.q
    x, signs, direct, dz = signals.x, signals.signs, signals.direct, signals.dz
    work_J, work_E, work_T, listed, delays, S = work.J, work.E, work.T, work.listed, synapses.delays, tables.S
    count, senders, sent = sending.count, sending.units, sending.slot
    B, tau = len(U), U.shape[1]
    N, K, R, n, m = len(S), A.shape[1], A.shape[2], A.shape[3], u.shape[2]
    most, together = len(delays) * N, K if kind == OPTIMAL else 1
    list_delay, list_unit = np.empty(most, np.int64), np.empty(most, np.int64)
    slot, first, end = np.empty((len(delays), N), np.int64), np.zeros(len(delays), np.int64), np.empty(N, np.int64)
    sends, gain = np.ones(N, A.dtype), np.empty((largest(S), N, synapses.outgoing.ports.shape[1]), A.dtype)
    gains, places = np.empty(n * largest(S), A.dtype), np.empty(n * largest(S), np.int64)
    factors, last, scale = np.zeros((K, K), A.dtype), np.zeros(K, A.dtype), np.ones(4, A.dtype)
    ej, hold = np.empty(n, A.dtype), np.empty(K, A.dtype)
    T = work_T[: together * R * n].reshape(together, R * n)
    for b in range(worker, B, workers):
        for t in range(tau):
            row, now = D + t, clock + t
            nl = list_rows(sent, row, delays, b, list_delay, list_unit, slot)
            folded = foldable and nl == N and D == 1
            wide = nl if dense else 0
            J = work_J[: R * wide].reshape(R, wide)
            if dense:
                if folded:
                    sent_by_states(t, b, B, tables, o, sends)
                couple_dense(t, b, B, nl, list_delay, list_unit, sends, folded, synapses, tables, linear, J)
            else:
                for d in range(1, len(delays)):
                    first[d] = first[d - 1] + count[row - delays[d - 1], b]
                couple_lane(
                    linear.B[t], b, B, synapses.outgoing, row, count, senders, first, tables, gain, end, listed, 0
                )  # fmt: skip
            nd, squared = immediate(t, b, B, columns, tables, linear, gains, places)
            size_x, size_D = math.sqrt(_squares(x[b, t])), math.sqrt(squared)
            for k in range(K):
                into = T[k if together == K else 0]
                if folded:
                    np.dot(J, A[b, k], into.reshape(R, n))
                    counts[0] += R * nl * n
                else:
                    arrived = work_E[: nl * n].reshape(nl, n)
                    _arriving(k, b, B, nl, D, now, delays, list_delay, list_unit, slot, tables, o[t], q[t], columns, A[b, k],
                              E[b], arrived)  # fmt: skip
                    counts[0] += _multiply_rows(dense, J, listed, tables, arrived, into.reshape(R, n))
                    counts[0] += add_own(t, b, B, tables, linear.A, A[b, k], into.reshape(R, n))
                if kind == OPTIMAL:
                    continue
                if kind == SIGNED:
                    size_T = math.sqrt(np.dot(into, into))
                    _mix_signs(signs[b, t], K, k, math.sqrt(_squares(u[b, k])), size_T, size_D, size_x, scale)
                    for e in range(m):
                        u[b, k, e] = scale[2] * u[b, k, e] + scale[3] * x[b, t, e]
                    _rescale(row, b, sent, D, now, scale[0], k, E[b], Z[b, k])
                    counts[1] += 2 * R * n + 4 * m + nd
                else:
                    u[b, k, 0] = 1
                    counts[1] += nd
                new = flat(A[b, k])
                multiply(new, scale[0], into)
                for e in range(nd):
                    new[places[e]] += scale[1] * gains[e]
            if eps is not None:  # numba compiles only what is taken
                if kind == OPTIMAL:
                    reduce_terms(u[b], x[b, t], T, gains[:nd], places[:nd], signs[b, t], factors, last, eps)
                    np.dot(factors, T, A[b].reshape(K, R * n))
                    for k in range(K):
                        new = flat(A[b, k])
                        for e in range(nd):
                            new[places[e]] += last[k] * gains[e]
                    _mix_terms(row, b, sent, D, now, factors, E[b], Z[b], hold)
                    counts[1] += (2 * K + 1) * K * (R * n + m) + K * nd
            for k in range(K):
                copy(U[b, t, k], u[b, k])
                counts[2] += emit(b, B, tables, o[t + 1], q[t + 1], sent[row, b], A[b, k], columns, direct[b, t], dz[b, t],
                                  signals, D > 1, now % D, E[b, :, k], Z[b, k], rows[b, t, k], ej)  # fmt: skip
                counts[3] += m * n
