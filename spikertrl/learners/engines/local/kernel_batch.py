"""Compiled loop of the local learners for several lanes: eight (float64: four) side by side in a register, step after step.

The same numbers as ``kernel_one``. Columns are independent of each other and lanes too: what the coefficients of a few units
are over some steps is laid out once, then every column runs through these steps with its rows in registers.
"""

from __future__ import annotations

import numpy as np

from ....loops import inner, loop
from ..simd.columns import MOST_READERS, advance_1, advance_2
from ..simd.rows import FAST
from ..simd.views import flat

STEPS = 32  # whose coefficients are laid out at a time: a unit's stay in the first-level cache,
UNITS = 8  # and of so many units of one population, which lie side by side on the tape: its cache lines are fetched once


@loop(nogil=True)
def side_by_side(messages, B, found, begin, end):
    """messages (rows, B, sources) -> found (groups, rows, sources + 1, width): lanes together, ones behind the last source.

    Fills groups ``begin`` to ``end - 1``.
    """
    _, rows, sources, width = found.shape
    for group in range(begin, end):
        for row in range(rows):
            for v in range(width):
                b = group * width + v
                found[group, row, sources - 1, v] = 1
                for j in range(sources - 1):
                    found[group, row, j, v] = messages[row, b, j] if b < B else 0


@inner()
def _lay(lines, to, step, tape, at, row, apart, steps, lanes, units, span):
    """One coefficient of some units: that of unit u and lane v at step t lies at ``at + t * row + v * apart + u`` of the tape.

    The lines of the units are ``span`` apart.
    """
    for t in range(steps):
        for v in range(lanes):
            place, here = to + t * step + v, at + t * row + v * apart
            for u in range(units):
                lines[place + u * span] = tape[here + u]


@inner()
def _lay_product(lines, to, step, tape, at, row, apart, steps, lanes, units, span, factor, first, factor_row, factor_apart,
                 factor_unit):  # fmt: skip
    """As ``_lay``, times a factor of its own for every step, lane and unit."""
    for t in range(steps):
        for v in range(lanes):
            place, here, by = to + t * step + v, at + t * row + v * apart, first + t * factor_row + v * factor_apart
            for u in range(units):
                lines[place + u * span] = tape[here + u] * factor[by + u * factor_unit]


@inner()
def _lay_readers(lines, to, between, step, tape, at, row, apart, steps, lanes, units, span, direct, signal_row, signal_apart,
                 powers, tau, leaky):  # fmt: skip
    """One coefficient as the gradient reads it, then as F remembers it decay by decay, ``between`` elements apart.

    ``direct`` and ``powers`` begin with the first step; ``leaky``: of the decays, the units'.
    """
    _lay_product(lines, to, step, tape, at, row, apart, steps, lanes, units, span, direct, 0, signal_row, signal_apart, 1)
    for d in range(len(leaky)):
        if leaky[d]:
            after = to + (1 + d) * between
            _lay_product(lines, after, step, tape, at, row, apart, steps, lanes, units, span, powers, d * tau, 1, 0, 0)


@inner()
def _lay_dynamics(lines, step, width, lanes, units, steps, S, G, Q, n, here, rows, tape_A, tape_B, tape_P, alone):
    """Lay out, unit by unit and step by step, a register for each of: A (S x S), and a drive per port and per trainable
    parameter (S each).

    All arrays are flat. ``here``: where A, B, P, o, q of the first unit, lane and step lie; ``rows``: how far apart steps are.
    """
    drives, span = S * S, steps * step
    for s in range(S):
        for r in range(S):
            if not alone or s == r:
                i = s * S + r
                _lay(lines, i * width, step, tape_A, here[0] + i * n, rows[0], S * S * n, steps, lanes, units, span)
        for g in range(G):
            to = (drives + g * S + s) * width
            _lay(lines, to, step, tape_B, here[1] + (s * G + g) * n, rows[1], S * G * n, steps, lanes, units, span)
        for q in range(Q):
            to = (drives + (G + q) * S + s) * width
            _lay(lines, to, step, tape_P, here[2] + (s * Q + q) * n, rows[2], S * Q * n, steps, lanes, units, span)


@inner()
def _lay_outputs(lines, step, width, lanes, units, steps, S, Q, n, here, rows, first, tape_o, tape_q, direct, signal_row,
                 signal_apart, powers, tau, leaky):  # fmt: skip
    """Likewise, from register ``first`` on, a reader of each state, and of each trainable parameter directly.

    A reader: of the gradient, then decay by decay what F remembers.
    """
    explicit, span = first + (1 + len(leaky)) * S, steps * step
    for s in range(S):
        _lay_readers(lines, (first + s) * width, S * width, step, tape_o, here[3] + s * n, rows[3], S * n, steps, lanes, units,
                     span, direct, signal_row, signal_apart, powers, tau, leaky)  # fmt: skip
    for q in range(Q):
        _lay_readers(lines, (explicit + q) * width, Q * width, step, tape_q, here[4] + q * n, rows[4], Q * n, steps, lanes,
                     units, span, direct, signal_row, signal_apart, powers, tau, leaky)  # fmt: skip


@inner(fastmath=FAST)
def _add_loops(lines, step, width, b0, lanes, t0, steps, S, G, Q, n, at, tape_B, tape_o, tape_q, last_o, last_q, loop_theta,
                 loop_port, weight):  # fmt: skip
    """``lines`` += what a unit's message of the step before does through synapses onto itself. Returns multiply-adds done."""
    done = 0
    for t in range(steps):
        for v in range(lanes):
            b, to, T = b0 + v, t * step + v, t0 + t
            at_B, at_o, at_q = at[1] + b * S * G * n, at[3] + b * S * n, at[4] + b * Q * n
            for s in range(S):
                jump = 0 * tape_B[T, at_B]
                for e in range(len(loop_theta)):
                    jump += tape_B[T, at_B + (s * G + loop_port[e]) * n] * weight[loop_theta[e]]
                if jump != 0:
                    for r in range(S):
                        o = last_o[at_o + r * n] if T == 0 else tape_o[T - 1, at_o + r * n]
                        lines[to + (s * S + r) * width] += jump * o
                    for q in range(Q):
                        late = last_q[at_q + q * n] if T == 0 else tape_q[T - 1, at_q + q * n]
                        lines[to + (S * S + (G + q) * S + s) * width] += jump * late
                    done += len(loop_theta) + S + Q
    return done


@inner()
def _count(lines, step, width, steps, S, G, Q, readers, columns, counts):
    """Count multiply-adds: of every column with each coefficient that is not zero. ``columns``: how many have each drive."""
    everything, after = 0, S * S + (G + Q) * S
    for drive in range(len(columns)):
        everything += columns[drive]
    for i in range(after + readers * (S + Q)):
        used = 0
        for t in range(steps):
            for v in range(width):
                used += lines[t * step + i * width + v] != 0
        if i < S * S:
            counts[0] += used * everything
        elif i < after:
            counts[1] += used * columns[(i - S * S) // S]
        elif i < after + readers * S:
            counts[3] += used * everything
        else:
            counts[3] += used * columns[G + (i - after - readers * S) % Q]


@inner(fastmath=FAST)
def _advance_any(S, M, at, apart, lines, step, drive, read, Y, message, message_step, steps, readers, F, into, F_apart, count,
                 sums, width, new):  # fmt: skip
    """As ``lane_vectors.advance_S`` for any number of states and readers, through memory."""
    for c in range(count):
        row = at + c * width
        for t in range(steps):
            here, y = t * step, message[c] + t * message_step
            for s in range(S):
                for v in range(width):
                    new[s * width + v] = lines[here + drive + s * width + v] * Y[y + v]
                for r in range(S):
                    for v in range(width):
                        new[s * width + v] += lines[here + (s * S + r) * width + v] * M[row + r * apart + v]
            for s in range(S):
                for v in range(width):
                    M[row + s * apart + v] = new[s * width + v]
                    sums[c] += lines[here + read + s * width + v] * new[s * width + v]
                for reader in range(1, readers):
                    to, line = into + (reader - 1) * F_apart + c * width, here + read + (reader * S + s) * width
                    for v in range(width):
                        F[to + v] += lines[line + v] * new[s * width + v]


@loop(nogil=True, fastmath=FAST)
def sweep(tasks, B, width, tables, linear, last_o, last_q, alone, loops, Y, first_row, sources, places, M, F, signals, gradient,
          counts):  # fmt: skip
    """Advance the rows over a tape, write the columns' ``gradient`` (group chunks * parameters), count multiply-adds.

    Changes M, F, ``gradient`` and ``counts``; the records are described in ``local.records``. A task (first unit, last unit,
    chunk, first group, last group). ``Y``: see ``side_by_side``; the tape's first step is its row ``first_row``. M: per group
    of lanes its elements, ``width`` lanes each; F (decays, groups, columns, lanes) likewise. All else as in
    ``kernel_one.sweep``.
    """
    S, G, Q, size, local = tables.S, tables.G, tables.Q, tables.size, tables.local
    start_A, start_B, start_P, start_o, start_q = (
        tables.start_A, tables.start_B, tables.start_P, tables.start_o, tables.start_q,
    )  # fmt: skip
    tape_A, tape_B, tape_P, tape_o, tape_q = linear.A, linear.B, linear.P, linear.o, linear.q
    loop_ptr, loop_theta, loop_port, weight = loops.ptr, loops.theta, loops.port, loops.weight
    direct, past, powers, kept, leaky = signals.direct, signals.past, signals.powers, signals.kept, signals.leaky
    first_M, first_C, theta, port, explicit = places.first_M, places.first_C, places.theta, places.port, places.explicit
    source, delay, drives, coefficients = places.source, places.delay, places.drives, places.coefficients
    most, widest = places.most, places.widest
    tau, parameters, groups = len(tape_A), len(weight), -(-B // width)
    rows, at_decay = len(Y) // (groups * sources * width), groups * first_C[-1] * width
    flat_A, flat_B, flat_P, flat_o, flat_q = (
        flat(tape_A), flat(tape_B), flat(tape_P), flat(tape_o), flat(tape_q),
    )  # fmt: skip
    flat_direct, flat_powers = flat(direct), flat(powers)
    apart = np.array([tape_A.shape[1], tape_B.shape[1], tape_P.shape[1], tape_o.shape[1], tape_q.shape[1]])
    for task in range(len(tasks)):
        laid = np.empty(UNITS * STEPS * coefficients * width, M.dtype)
        nothing = np.zeros(1, M.dtype)[0]
        here = np.empty(5, np.int64)
        new = np.empty(most * width, M.dtype)
        message, which, added = np.empty(widest, np.int64), np.empty(widest, np.int64), np.empty(widest, M.dtype)
        at, columns, done = np.zeros(5, np.int64), np.zeros(drives, np.int64), np.zeros(4, np.int64)
        into = tasks[task, 2] * parameters
        for k in range(tasks[task, 0], tasks[task, 1]):
            for c in range(first_C[k], first_C[k + 1]):
                gradient[into + theta[c]] = 0
        for group in range(tasks[task, 3], tasks[task, 4]):
            b0, used = group * width, min(width, B - group * width)  # first lane, and how many
            for k in range(tasks[task, 0], tasks[task, 1]):  # what the losses say to the time before the tape
                for d in range(len(kept)):
                    if leaky[d, k]:
                        for c in range(first_C[k], first_C[k + 1]):
                            place, total = d * at_decay + (group * first_C[-1] + c) * width, nothing
                            for v in range(used):
                                total += past[d, b0 + v, k] * F[place + v]
                                F[place + v] *= kept[d]
                            gradient[into + theta[c]] += total
                            done[3] += 2 * used
            for t0 in range(0, tau, STEPS):
                steps, until = min(STEPS, tau - t0), tasks[task, 0]  # what is laid out is of units before ``until``
                for k in range(tasks[task, 0], tasks[task, 1]):
                    n, c0, c1, states = size[k], first_C[k], first_C[k + 1], S[k]
                    w, inputs = c1 - c0, G[k]
                    at[0], at[1], at[2] = start_A[k] * B + local[k], start_B[k] * B + local[k], start_P[k] * B + local[k]
                    at[3], at[4] = start_o[k] * B + local[k], start_q[k] * B + local[k]
                    columns[:] = 0
                    for c in range(c0, c1):
                        columns[port[c] + (inputs if explicit[c] else 0)] += 1
                    first_decay, readers = 0, 1  # of the decays that the unit is read with, the first; and 1 + how many
                    for d in range(len(kept)):
                        if leaky[d, k]:
                            first_decay = d if readers == 1 else first_decay
                            readers = 2 + d - first_decay
                    drive, read = states * states * width, (states + inputs + Q[k]) * states * width
                    step = read + readers * (states + Q[k]) * width
                    span = steps * step
                    if k == until:
                        first, units = k, min(UNITS, tasks[task, 1] - k, n - local[k])
                        until += units
                        laid[: units * span] = 0
                        here[0] = t0 * apart[0] + at[0] + b0 * states * states * n
                        here[1] = t0 * apart[1] + at[1] + b0 * states * inputs * n
                        here[2] = t0 * apart[2] + at[2] + b0 * states * Q[k] * n
                        here[3], here[4] = t0 * apart[3] + at[3] + b0 * states * n, t0 * apart[4] + at[4] + b0 * Q[k] * n
                        _lay_dynamics(
                            laid, step, width, used, units, steps, states, inputs, Q[k], n, here, apart, flat_A, flat_B,
                            flat_P, alone,
                        )  # fmt: skip
                        _lay_outputs(
                            laid, step, width, used, units, steps, states, Q[k], n, here, apart, read // width, flat_o,
                            flat_q, flat_direct[(t0 * B + b0) * len(S) + k :], B * len(S), len(S),
                            flat_powers[first_decay * tau + t0 :], tau, leaky[first_decay : first_decay + readers - 1, k],
                        )  # fmt: skip
                    lines = laid[(k - first) * span : (k - first + 1) * span]
                    if loop_ptr[k] < loop_ptr[k + 1]:
                        first_loop, last_loop = loop_ptr[k], loop_ptr[k + 1]
                        done[0] += _add_loops(
                            lines, step, width, b0, used, t0, steps, states, inputs, Q[k], n, at, tape_B, tape_o, tape_q,
                            last_o, last_q, loop_theta[first_loop:last_loop], loop_port[first_loop:last_loop], weight,
                        )  # fmt: skip
                    _count(lines, step, width, steps, states, inputs, Q[k], readers, columns, done)
                    for c in range(c0, c1):
                        which[c - c0] = drive + (port[c] + (inputs if explicit[c] else 0)) * states * width
                        pre, row = (source[c], t0 - delay[c]) if source[c] >= 0 else (sources - 1, t0)
                        message[c - c0] = ((group * rows + first_row + row) * sources + pre) * width
                        added[c - c0] = 0
                    begin, at_M, at_F = 0, (group * first_M[-1] + first_M[k]) * width, first_decay * at_decay
                    at_F += (group * first_C[-1] + c0) * width
                    while begin < w:
                        end = begin + 1
                        while end < w and which[end] == which[begin]:
                            end += 1
                        row, to, count = at_M + begin * width, at_F + begin * width, end - begin
                        if readers <= MOST_READERS and states == 1:
                            advance_1(M, row, w * width, lines, step, which[begin], read, Y, message[begin:end],
                                      sources * width, steps, readers, F, to, at_decay, count, added[begin:end])  # fmt: skip
                        elif readers <= MOST_READERS and states == 2:
                            advance_2(M, row, w * width, lines, step, which[begin], read, Y, message[begin:end],
                                      sources * width, steps, readers, F, to, at_decay, count, added[begin:end])  # fmt: skip
                        else:
                            _advance_any(states, M, row, w * width, lines, step, which[begin], read, Y, message[begin:end],
                                         sources * width, steps, readers, F, to, at_decay, count, added[begin:end], width,
                                         new)  # fmt: skip
                        begin = end
                    for c in range(c0, c1):
                        gradient[into + theta[c]] += added[c - c0]
                        if explicit[c]:
                            line = read + (readers * states + port[c]) * width
                            for t in range(steps):
                                for v in range(width):
                                    gradient[into + theta[c]] += lines[t * step + line + v]
                                    for i in range(readers - 1):
                                        to, q = at_F + i * at_decay + (c - c0) * width, t * step + line + (1 + i) * Q[k] * width
                                        F[to + v] += lines[q + v]
        for kind in range(len(done)):
            counts[task, kind] += done[kind]
