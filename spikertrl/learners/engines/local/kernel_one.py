"""Compiled loop of the local learners (SnAp-1, e-prop, RFLO) for a single lane: rows of each unit's own columns.

What a unit keeps is its own rows over its own columns. A step is M <- A M + B y + P, read as E = o M + q. Units share nothing
but what they hear, so that a unit's rows stay in the cache over the whole tape.
"""

from __future__ import annotations

import numpy as np

from ....loops import inner, loop
from ..simd.rows import FAST
from ..simd.views import borrowed


@inner(fastmath=FAST)
def _blend(target, at, scale, source, start, gain, n):
    """target[at + i] = scale * target[at + i] + gain * source[start + i] for i < n; what a zero multiplies is not read."""
    into, out = target[at : at + n], source[start : start + n]
    if scale == 0:
        if gain == 0:
            into[:] = 0
        else:
            for i in range(n):
                into[i] = gain * out[i]
    elif gain == 0:
        if scale != 1:
            for i in range(n):
                into[i] *= scale
    elif scale == 1:
        for i in range(n):
            into[i] += gain * out[i]
    else:
        for i in range(n):
            into[i] = scale * into[i] + gain * out[i]


@inner(fastmath=FAST)
def _blend_and_read(M, at, scale, source, start, gain, gradient, to, error, begun, n):
    """``_blend`` a row, and in the same pass gradient[to + i] = begun * gradient[to + i] + error * (new row)[i]."""
    row, y, out = M[at : at + n], source[start : start + n], gradient[to : to + n]
    if error == 0 or gain == 0:
        _blend(M, at, scale, source, start, gain, n)
        if error != 0:
            _blend(gradient, to, begun, M, at, error, n)
    elif scale == 0 and begun == 0:
        for i in range(n):
            new = gain * y[i]
            row[i], out[i] = new, error * new
    elif scale == 0:
        for i in range(n):
            new = gain * y[i]
            row[i] = new
            out[i] += error * new
    elif begun == 0:
        for i in range(n):
            new = scale * row[i] + gain * y[i]
            row[i], out[i] = new, error * new
    else:
        for i in range(n):
            new = scale * row[i] + gain * y[i]
            row[i] = new
            out[i] += error * new


@inner(fastmath=FAST)
def _add_immediate(target, start, states, scale, at_B, n, inputs, synapses, runs, offset, port, explicit, base, messages, x,
                   line_B, at_P, Q, line_P):  # fmt: skip
    """Immediate terms: target row s = scale * target row s + dF_s/dI y (or dF_s/dphi). Returns multiply-adds done.

    ``runs``, ``offset``, ``port``, ``explicit``: of the unit alone; ``x`` is for use.
    """
    done, w = 0, len(port)
    for r in range(len(runs)):
        at, length, side_by_side = runs[r, 0], runs[r, 1], runs[r, 4] != 0
        if not side_by_side:
            for i in range(length):
                x[i] = messages[base + offset[at + i]]
        for s in range(states):
            gain = line_B[at_B + (s * inputs + runs[r, 2]) * n]
            if side_by_side:
                _blend(target, start + s * w + at, scale, messages, base + offset[at], gain, length)
            else:
                _blend(target, start + s * w + at, scale, x, 0, gain, length)
            done += (gain != 0) * length
    for c in range(synapses, w):
        for s in range(states):
            if explicit[c]:
                term = line_P[at_P + (s * Q + port[c]) * n]
            else:
                term = line_B[at_B + (s * inputs + port[c]) * n]
            place = start + s * w + c
            target[place] = term if scale == 0 else scale * target[place] + term
        done += states
    return done


@inner(fastmath=FAST)
def _spread(gradient, runs, theta, synapses, source, start, gain, scale):
    """Gradient = scale * gradient + gain * (a unit's row), at the places of its parameters: run by run, then the others."""
    for r in range(len(runs)):
        _blend(gradient, runs[r, 3], scale, source, start + runs[r, 0], gain, runs[r, 1])
    for c in range(synapses, len(theta)):
        _blend(gradient, theta[c], scale, source, start + c, gain, 1)


@inner(fastmath=FAST)
def _age(F, at, apart, kept, leaky, w, zero):
    """Multiply a unit's part of F by the decays. Returns multiply-adds done."""
    done = 0
    for d in range(len(kept)):
        if leaky[d]:
            _blend(F, at + d * apart, kept[d], F, at + d * apart, zero, w)
            done += w
    return done


@inner(fastmath=FAST)
def _read(signal, gradient, runs, theta, synapses, source, start, factor, one, begun, F, at_F, apart, aged, kept, leaky, powers,
          t):  # fmt: skip
    """Add the message's row, factor * source, to the gradient (anew if ``begun`` is 0) and to F. Returns multiply-adds done."""
    done, w = 0, len(theta)
    if signal != 0:
        _spread(gradient, runs, theta, synapses, source, start, signal * factor, begun)
        done += w
    for d in range(len(kept)):
        if leaky[d]:
            _blend(F, at_F + d * apart, one if aged else kept[d], source, start, powers[d, t] * factor, w)
            done += w if aged else 2 * w
    return done


@loop(nogil=True, fastmath=FAST)
def sweep(tasks, tables, linear, last_o, last_q, alone, loops, messages, begin, room, places, M, F, signals, gradient, counts):
    """Advance the rows over a tape, write the columns' ``gradient`` (parameters), count multiply-adds.

    Changes M, F, ``gradient`` and ``counts``; the records are described in ``local.records``. A task begins with its first and
    last unit. Unit k has the places ``first_C[k] ..`` among the columns, the first ``synapses[k]`` of them in ``runs``, and its
    rows, state by state, from ``first_M[k]``. ``messages`` is flat: step t begins at ``begin + t * room``, and the message of
    a column lies ``offset`` behind. ``last_o``, ``last_q``: dO/ds and dO/dphi of the step before. ``alone``: of A, its
    diagonal.
    F (decays, columns): the rows before the tape as leaky readouts remember them.
    """
    S, G, Q, size, local = tables.S, tables.G, tables.Q, tables.size, tables.local
    start_A, start_B, start_P, start_o, start_q = (
        tables.start_A, tables.start_B, tables.start_P, tables.start_o, tables.start_q,
    )  # fmt: skip
    tape_A, tape_B, tape_P, tape_o, tape_q = linear.A, linear.B, linear.P, linear.o, linear.q
    loop_ptr, loop_theta, loop_port, weight = loops.ptr, loops.theta, loops.port, loops.weight
    direct, past, powers, kept, leaky = signals.direct, signals.past, signals.powers, signals.kept, signals.leaky
    first_M, first_C, theta, port, explicit = places.first_M, places.first_C, places.theta, places.port, places.explicit
    synapses, run_ptr, runs, offset = places.synapses, places.run_ptr, places.runs, places.offset
    most, widest = places.most, places.widest
    tau, apart = len(tape_A), first_C[-1]
    M, F, messages, gradient = borrowed(M), borrowed(F), borrowed(messages), borrowed(gradient)
    theta, runs, offset, leaky = borrowed(theta), borrowed(runs), borrowed(offset), borrowed(leaky)
    for task in range(len(tasks)):
        unit = np.zeros(2, M.dtype)
        unit[1] = 1
        zero, one = unit[0], unit[1]
        x, fresh = np.empty(widest, M.dtype), np.empty((most + 1) * widest, M.dtype)  # messages; rows, and E behind them
        a, jump = np.zeros(most * most, M.dtype), np.zeros(most, M.dtype)
        propagate, immediate, emit, read = 0, 0, 0, 0
        for k in range(tasks[task, 0], tasks[task, 1]):
            n, c0, states, inputs, syn = size[k], first_C[k], S[k], G[k], synapses[k]
            w, loop_count = first_C[k + 1] - c0, loop_ptr[k + 1] - loop_ptr[k]
            mine, into, is_leaky = runs[run_ptr[k] : run_ptr[k + 1]], theta[c0 : c0 + w], leaky[:, k]
            remembered = False  # by some leaky readout
            for d in range(len(kept)):
                remembered |= is_leaky[d]
            begun = zero  # one once the unit's part of the gradient has been written
            at_A, at_B, at_P = start_A[k] + local[k], start_B[k] + local[k], start_P[k] + local[k]
            at_o, at_q, row, at_F = start_o[k] + local[k], start_q[k] + local[k], first_M[k], c0
            for d in range(len(kept)):
                if is_leaky[d] and past[d, 0, k] != 0:
                    _spread(gradient, mine, into, syn, F, at_F + d * apart, past[d, 0, k], begun)
                    begun = one
                    read += w
            aged = not remembered  # F has been multiplied by its decay
            lean = states == 1 and loop_count == 0 and not remembered
            for t in range(tau if lean else 0):  # the row and the gradient in one pass
                scale, signal, base = tape_A[t, at_A], direct[t, 0, k], begin + t * room
                error = signal * tape_o[t, at_o]
                for r in range(run_ptr[k], run_ptr[k + 1]):
                    at, length, gain = row + runs[r, 0], runs[r, 1], tape_B[t, at_B + runs[r, 2] * n]
                    if runs[r, 4]:
                        start = base + offset[c0 + runs[r, 0]]
                        _blend_and_read(M, at, scale, messages, start, gain, gradient, runs[r, 3], error, begun, length)
                    else:
                        for i in range(length):
                            x[i] = messages[base + offset[c0 + runs[r, 0] + i]]
                        _blend_and_read(M, at, scale, x, 0, gain, gradient, runs[r, 3], error, begun, length)
                    immediate += (gain != 0) * length
                for c in range(c0 + syn, c0 + w):
                    term = tape_P[t, at_P + port[c] * n] if explicit[c] else tape_B[t, at_B + port[c] * n]
                    place = row + c - c0
                    M[place] = term if scale == 0 else scale * M[place] + term
                    if error != 0:
                        gradient[theta[c]] = error * M[place] + (gradient[theta[c]] if begun else zero)
                immediate += w - syn
                propagate += (scale != 0) * w
                if error != 0:
                    begun = one
                    read += w
                for c in range(c0 + syn, c0 + w):
                    q = tape_q[t, at_q + port[c] * n] if explicit[c] and signal != 0 else zero
                    if q != 0:
                        if begun == 0:
                            _spread(gradient, mine, into, syn, M, row, zero, begun)
                            begun = one
                        gradient[theta[c]] += signal * q
                        read += 1
            for t in range(0 if lean else tau):
                # the unit's own Jacobian, and its message of the last step where it hears itself
                for s in range(states):
                    for r in range(states):
                        a[s * states + r] = zero if alone and s != r else tape_A[t, at_A + (s * states + r) * n]
                    jump[s] = 0
                    for e in range(loop_ptr[k], loop_ptr[k] + loop_count):
                        jump[s] += tape_B[t, at_B + (s * inputs + loop_port[e]) * n] * weight[loop_theta[e]]
                    if jump[s] != 0:
                        for r in range(states):
                            o = last_o[at_o + r * n] if t == 0 else tape_o[t - 1, at_o + r * n]
                            a[s * states + r] += jump[s] * o
                        propagate += loop_count + states
                base = begin + t * room
                if states == 1:
                    immediate += _add_immediate(
                        M, row, 1, a[0], at_B, n, inputs, syn, mine, offset[c0 : c0 + w], port[c0 : c0 + w],
                        explicit[c0 : c0 + w], base, messages, x, tape_B[t], at_P, Q[k], tape_P[t],
                    )  # fmt: skip
                    propagate += (a[0] != 0) * w
                else:
                    immediate += _add_immediate(
                        fresh, 0, states, zero, at_B, n, inputs, syn, mine, offset[c0 : c0 + w], port[c0 : c0 + w],
                        explicit[c0 : c0 + w], base, messages, x, tape_B[t], at_P, Q[k], tape_P[t],
                    )  # fmt: skip
                    for s in range(states):
                        for r in range(states):
                            if a[s * states + r] != 0:
                                _blend(fresh, s * w, one, M, row + r * w, a[s * states + r], w)
                                propagate += w
                for c in range(c0 + syn if loop_count else c0 + w, c0 + w):
                    if explicit[c]:
                        at = at_q + port[c] * n
                        q = last_q[at] if t == 0 else tape_q[t - 1, at]
                        for s in range(states):
                            if states == 1:
                                M[row + c - c0] += jump[s] * q
                            else:
                                fresh[s * w + c - c0] += jump[s] * q
                        propagate += states
                if states > 1:
                    _blend(M, row, zero, fresh, 0, one, states * w)
                # the message's row, where somebody reads it
                signal = direct[t, 0, k]
                if signal == 0 and not remembered:
                    continue
                start, factor, sending = 0, zero, 0
                for s in range(states):
                    gain = tape_o[t, at_o + s * n]
                    if gain != 0:
                        start, factor = s * w, gain
                        sending += 1
                if sending > 1:
                    start, factor = states * w, one
                    _blend(fresh, start, zero, fresh, 0, zero, w)
                    for s in range(states):
                        gain = tape_o[t, at_o + s * n]
                        if gain != 0:
                            _blend(fresh, start, one, fresh, s * w, gain, w)
                            emit += w
                if sending and states == 1:
                    read += _read(
                        signal, gradient, mine, into, syn, M, row, factor, one, begun, F, at_F, apart, aged, kept, is_leaky,
                        powers, t,
                    )  # fmt: skip
                elif sending:
                    read += _read(
                        signal, gradient, mine, into, syn, fresh, start, factor, one, begun, F, at_F, apart, aged, kept,
                        is_leaky, powers, t,
                    )  # fmt: skip
                aged |= sending > 0
                begun = one if sending and signal != 0 else begun
                for c in range(c0 + syn, c0 + w):
                    q = tape_q[t, at_q + port[c] * n] if explicit[c] else zero
                    if q != 0:
                        if begun == 0:
                            _spread(gradient, mine, into, syn, M, row, zero, begun)
                            begun = one
                        if not aged:
                            read += _age(F, at_F, apart, kept, is_leaky, w, zero)
                            aged = True
                        gradient[theta[c]] += signal * q
                        for d in range(len(kept)):
                            if is_leaky[d]:
                                F[at_F + d * apart + c - c0] += powers[d, t] * q
                        read += 1
            if not aged:
                read += _age(F, at_F, apart, kept, is_leaky, w, zero)
            if begun == 0:
                _spread(gradient, mine, into, syn, M, first_M[k], zero, begun)
        counts[task, 0] += propagate
        counts[task, 1] += immediate
        counts[task, 2] += emit
        counts[task, 3] += read
