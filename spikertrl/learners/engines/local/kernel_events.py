"""Compiled loops of the local learners over a whole tape by events: what silent sources say is not gone through.

Own rows obey M(t) = A(t) M(t-1) + B(t) y(t) + P(t), and all that is asked of them at the end of a tape is linear in M: the
gradient, sum of e(t) M(t) with e = dL/dy o; what leaky readouts remember; and M itself. So each question has one row vector per
unit, lambda(t) = question(t) + lambda(t+1) A(t+1), worked out backward once for all of the unit's columns, and a message y that
arrives at step t adds y lambda(t) B(t): one multiply-add a question, whenever it was sent. This is backpropagation inside a
unit, not between units, over the tape alone; the answer for rows from before the tape is lambda(0) A(0) M.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....loops import inner, loop
from ..simd.rows import FAST
from ..simd.views import borrowed

UNITS = 64  # of one population whose row vectors are worked out side by side


class Events(NamedTuple):
    """Messages of a tape that are not zero, by source."""

    starts: np.ndarray  # (B, sources + 1) int64: the first of each source
    when: np.ndarray  # int32: row of the tape's messages
    value: np.ndarray


class Answers(NamedTuple):
    """Of some units side by side, flat, the units last. Questions: the gradient, each decay of leaky readouts, each state."""

    rows: np.ndarray  # questions, S: row vectors of a step; in the end for M before the tape
    gain: np.ndarray  # G, tau, questions: what a message of 1 that arrives adds
    steady: np.ndarray  # G, questions: the sum of it over the steps, what a bias adds
    own: np.ndarray  # Q, questions: what a unit's parameter adds
    jump: np.ndarray  # S: dF/dI times the weights of synapses of units onto themselves
    room: np.ndarray  # S


@loop(nogil=True)
def count_events(messages, counts):
    """counts[b, source] = steps at which its message is not zero. ``messages`` (steps, B, sources)."""
    counts[:] = 0
    for t in range(len(messages)):
        for b in range(messages.shape[1]):
            mine, row = counts[b], messages[t, b]
            for j in range(len(row)):
                mine[j] += row[j] != 0


@loop(nogil=True)
def list_events(messages, starts, when, value):
    """Fill ``when`` and ``value``, see ``Events``."""
    free = starts.copy()
    for t in range(len(messages)):
        for b in range(messages.shape[1]):
            row, mine = messages[t, b], free[b]
            for j in range(len(row)):
                if row[j] != 0:
                    when[mine[j]], value[mine[j]] = t, row[j]
                    mine[j] += 1


@inner(fastmath=FAST, forceinline=True)
def _add(into, at, left, i, right, j, n):
    """into += left * right, n elements from the given places on."""
    for u in range(n):
        into[at + u] += left[i + u] * right[j + u]


@inner(fastmath=FAST, forceinline=True)
def _product(into, at, left, i, right, j, n):
    """into = left * right."""
    for u in range(n):
        into[at + u] = left[i + u] * right[j + u]


@inner(fastmath=FAST, forceinline=True)
def _add_scaled(into, at, factor, right, j, n):
    """into += factor * right."""
    for u in range(n):
        into[at + u] += factor * right[j + u]


@inner(fastmath=FAST)
def _hear_itself(k0, n, first_B, size, S, G, Q, questions, B_t, q, first_q, loops, answers):
    """``jump`` of step t, and what the units' parameters did to the messages ``q`` of the step before."""
    rows, own, jump, room = borrowed(answers.rows), borrowed(answers.own), borrowed(answers.jump), borrowed(answers.room)
    for s in range(S):
        for u in range(n):
            jump[s * UNITS + u] = 0
            for e in range(loops.ptr[k0 + u], loops.ptr[k0 + u + 1]):
                jump[s * UNITS + u] += B_t[first_B + (s * G + loops.port[e]) * size + u] * loops.weight[loops.theta[e]]
    for p in range(Q):
        for r in range(questions):
            for s in range(S):
                for u in range(n):
                    room[u] = rows[(r * S + s) * UNITS + u] * jump[s * UNITS + u]
                _add(own, (p * questions + r) * UNITS, room, 0, q, first_q + p * size, n)


@inner(fastmath=FAST)
def _go_back(k0, n, b, B, alone, tables, linear, last_o, last_q, loops, signals, answers):
    """Answers of units k0 .. k0 + n - 1, from the last step to the first; in the end ``rows`` are for M before the tape."""
    S, G, Q, size, local = tables.S[k0], tables.G[k0], tables.Q[k0], tables.size[k0], tables.local[k0]
    rows, gain, steady, own = (
        borrowed(answers.rows), borrowed(answers.gain), borrowed(answers.steady), borrowed(answers.own),
    )  # fmt: skip
    jump, room = borrowed(answers.jump), borrowed(answers.room)
    signals_direct, powers = borrowed(signals.direct), signals.powers
    A, B_all, P, o, q = borrowed(linear.A), borrowed(linear.B), borrowed(linear.P), borrowed(linear.o), borrowed(linear.q)
    first_A, first_B = tables.start_A[k0] * B + b * S * S * size + local, tables.start_B[k0] * B + b * S * G * size + local
    first_P, first_o = tables.start_P[k0] * B + b * S * Q * size + local, tables.start_o[k0] * B + b * S * size + local
    first_q, hears = tables.start_q[k0] * B + b * Q * size + local, loops.ptr[k0 + n] > loops.ptr[k0]
    tau, decays = len(A), len(powers)
    questions, wide = 1 + decays + S, S * UNITS
    rows[:], steady[:], own[:] = 0, 0, 0
    for s in range(S):
        for u in range(n):
            rows[((1 + decays + s) * S + s) * UNITS + u] = 1
    for t in range(tau - 1, -1, -1):
        direct, o_t, q_t, A_t, B_t, P_t = signals_direct[t, b], o[t], q[t], A[t], B_all[t], P[t]
        for s in range(S):
            _add(rows, s * UNITS, direct, k0, o_t, first_o + s * size, n)
            for d in range(decays):
                _add_scaled(rows, (1 + d) * wide + s * UNITS, powers[d, t], o_t, first_o + s * size, n)
        for p in range(Q):
            at = p * questions * UNITS
            _add(own, at, direct, k0, q_t, first_q + p * size, n)
            for d in range(decays):
                _add_scaled(own, at + (1 + d) * UNITS, powers[d, t], q_t, first_q + p * size, n)
        for r in range(questions):
            for p in range(G):
                at = ((p * tau + t) * questions + r) * UNITS
                _product(gain, at, rows, r * wide, B_t, first_B + p * size, n)
                for s in range(1, S):
                    _add(gain, at, rows, r * wide + s * UNITS, B_t, first_B + (s * G + p) * size, n)
                _add_scaled(steady, (p * questions + r) * UNITS, 1, gain, at, n)
            for p in range(Q):
                for s in range(S):
                    _add(own, (p * questions + r) * UNITS, rows, r * wide + s * UNITS, P_t, first_P + (s * Q + p) * size, n)
        if S == 1 and not hears:
            for r in range(questions):
                _product(rows, r * UNITS, rows, r * UNITS, A_t, first_A, n)
            continue
        before, last = (o[t - 1], q[t - 1]) if t else (borrowed(last_o), borrowed(last_q))
        if hears:
            _hear_itself(k0, n, first_B, size, S, G, Q, questions, B_t, last, first_q, loops, answers)
        for r in range(questions):  # rows <- rows A(t), A with what a unit sends to itself, or its diagonal alone
            room[:] = 0
            for s in range(S):
                for p in range(S):
                    if p == s or not alone:
                        _add(room, s * UNITS, rows, r * wide + p * UNITS, A_t, first_A + (p * S + s) * size, n)
                    if hears:
                        for u in range(n):
                            said = jump[p * UNITS + u] * before[first_o + s * size + u]
                            room[s * UNITS + u] += rows[r * wide + p * UNITS + u] * said
            for x in range(wide):
                rows[r * wide + x] = room[x]


@inner(fastmath=FAST)
def _answer_two(u, c0, c1, base, b, width, tau, history, places, events, answers, M, gradient):
    """``_answer`` for a unit of one state where no readout leaks. Returns how many events met a column."""
    source, delay, port, explicit, theta = places.source, places.delay, places.port, places.explicit, places.theta
    starts, when, value = events.starts[b], events.when, events.value
    gain, met = answers.gain, 0
    from_M, to_M = answers.rows[u], answers.rows[UNITS + u]
    for c in range(c0, c1):
        old = M[base + (c - c0) * width]
        g, m = from_M * old, to_M * old
        if source[c] >= 0:
            j, shift, at = source[c], delay[c] - history, port[c] * tau * 2 * UNITS + u
            for e in range(starts[j], starts[j + 1]):
                t = when[e] + shift
                if 0 <= t < tau:
                    g += value[e] * gain[at + 2 * t * UNITS]
                    m += value[e] * gain[at + (2 * t + 1) * UNITS]
                    met += 1
        else:
            kept = answers.own if explicit[c] else answers.steady
            g += kept[2 * port[c] * UNITS + u]
            m += kept[(2 * port[c] + 1) * UNITS + u]
        M[base + (c - c0) * width] = m
        gradient[theta[c]] = g if b == 0 else gradient[theta[c]] + g
    return met


@inner(fastmath=FAST)
def _answer(u, k, S, base, b, width, tau, history, places, events, answers, signals, M, F, apart, sums, gradient):
    """What the columns of unit k, the u-th here, add to the gradient; their M and F at the end. Returns events met."""
    source, delay, port, explicit, theta = places.source, places.delay, places.port, places.explicit, places.theta
    leaky, past, kept, rows, gain = signals.leaky, signals.past, signals.kept, answers.rows, answers.gain
    starts, when, value = events.starts[b], events.when, events.value
    questions, decays, met, c0, w = len(sums), len(kept), 0, places.first_C[k], places.first_C[k + 1] - places.first_C[k]
    for c in range(c0, c0 + w):
        sums[:] = 0
        if source[c] >= 0:
            j, shift, at = source[c], delay[c] - history, port[c] * tau * questions * UNITS + u
            for e in range(starts[j], starts[j + 1]):
                t = when[e] + shift
                if 0 <= t < tau:
                    for r in range(questions):
                        sums[r] += value[e] * gain[at + (t * questions + r) * UNITS]
                    met += 1
        else:
            given = answers.own if explicit[c] else answers.steady
            for r in range(questions):
                sums[r] = given[(port[c] * questions + r) * UNITS + u]
        for s in range(S):
            old = M[base + (s * w + c - c0) * width]
            for r in range(questions if old != 0 else 0):
                sums[r] += rows[(r * S + s) * UNITS + u] * old
        total = sums[0]
        for d in range(decays):
            if leaky[d, k]:
                place = d * apart + ((b // width) * places.first_C[-1] + c) * width + b % width
                total += past[d, b, k] * F[place]
                F[place] = kept[d] * F[place] + sums[1 + d]
        for s in range(S):
            M[base + (s * w + c - c0) * width] = sums[1 + decays + s]
        gradient[theta[c]] = total if b == 0 else gradient[theta[c]] + total
    return met


@loop(nogil=True, fastmath=FAST)
def sweep(tasks, B, width, tables, linear, last_o, last_q, alone, loops, events, history, places, M, F, signals, gradient,
          counts):  # fmt: skip
    """Advance the rows over a tape, write the columns' ``gradient`` (parameters), count multiply-adds.

    As ``kernel_one.sweep`` and ``kernel_batch.sweep`` in what it takes and changes; a task begins with its first and last unit.
    """
    first_M, first_C, tau, decays = places.first_M, places.first_C, len(linear.A), len(signals.kept)
    M, F, gradient = borrowed(M), borrowed(F), borrowed(gradient)
    apart = -(-B // width) * first_C[-1] * width  # of F, from decay to decay
    for task in range(len(tasks)):
        k0, end = tasks[task, 0], tasks[task, 1]
        while k0 < end:
            n, S, G, Q = min(UNITS, end - k0, tables.size[k0] - tables.local[k0]), tables.S[k0], tables.G[k0], tables.Q[k0]
            questions, columns = 1 + decays + S, first_C[k0 + n] - first_C[k0]
            answers = Answers(
                np.empty(questions * S * UNITS, M.dtype), np.empty(G * tau * questions * UNITS, M.dtype),
                np.empty(G * questions * UNITS, M.dtype), np.empty(Q * questions * UNITS, M.dtype),
                np.empty(S * UNITS, M.dtype), np.empty(S * UNITS, M.dtype),
            )  # fmt: skip
            sums = np.empty(questions, M.dtype)
            for b in range(B):
                _go_back(k0, n, b, B, alone, tables, linear, last_o, last_q, loops, signals, answers)
                met, lane = 0, (b // width) * first_M[-1] * width + b % width
                for u in range(n):
                    k, base = k0 + u, lane + first_M[k0 + u] * width
                    if questions == 2:
                        met += _answer_two(
                            u, first_C[k], first_C[k + 1], base, b, width, tau, history, places, events, answers, M, gradient
                        )
                    else:
                        met += _answer(
                            u, k, S, base, b, width, tau, history, places, events, answers, signals, M, F, apart, sums, gradient
                        )
                counts[task, 0] += questions * S * (tau * n * S + columns)
                counts[task, 1] += questions * (tau * n * S * (G + Q) + met)
                counts[task, 3] += 2 * decays * columns
            k0 += n
