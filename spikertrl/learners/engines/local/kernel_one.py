"""Compiled loop of the local learners (SnAp-1, e-prop, RFLO) for a single lane: rows of each unit's own columns.

What a unit keeps is its own rows over its own columns. A step is M <- A M + B y + P, read as E = o M + q. Units share nothing
but what they hear, so that a unit's rows stay in the cache over the whole tape.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from ..simd.rows import FAST


@njit(fastmath=FAST, cache=True)
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


@njit(fastmath=FAST, cache=True)
def _blend_and_read(M, at, scale, source, start, gain, gradient, to, told, begun, n):
    """``_blend`` a row, and in the same pass gradient[to + i] = begun * gradient[to + i] + told * (new row)[i]."""
    row, y, out = M[at : at + n], source[start : start + n], gradient[to : to + n]
    if told == 0 or gain == 0:
        _blend(M, at, scale, source, start, gain, n)
        if told != 0:
            _blend(gradient, to, begun, M, at, told, n)
    elif scale == 0 and begun == 0:
        for i in range(n):
            new = gain * y[i]
            row[i], out[i] = new, told * new
    elif scale == 0:
        for i in range(n):
            new = gain * y[i]
            row[i] = new
            out[i] += told * new
    elif begun == 0:
        for i in range(n):
            new = scale * row[i] + gain * y[i]
            row[i], out[i] = new, told * new
    else:
        for i in range(n):
            new = scale * row[i] + gain * y[i]
            row[i] = new
            out[i] += told * new


@njit(fastmath=FAST, cache=True)
def _hear(target, start, w, states, scale, k, t, at_B, n, inputs, synapses, run_ptr, runs, c0, offset, port, explicit, base,
          messages, x, line_B, at_P, Q, line_P):  # fmt: skip
    """Immediate terms: target row s = scale * target row s + dF_s/dI y (or dF_s/dphi). Returns multiply-adds done."""
    done = 0
    for r in range(run_ptr[k], run_ptr[k + 1]):
        at, length, side_by_side = runs[r, 0], runs[r, 1], runs[r, 4] != 0
        if not side_by_side:
            for i in range(length):
                x[i] = messages[base + offset[c0 + at + i]]
        for s in range(states):
            gain = line_B[t, at_B + (s * inputs + runs[r, 2]) * n]
            if side_by_side:
                _blend(target, start + s * w + at, scale, messages, base + offset[c0 + at], gain, length)
            else:
                _blend(target, start + s * w + at, scale, x, 0, gain, length)
            done += (gain != 0) * length
    for c in range(c0 + synapses, c0 + w):
        for s in range(states):
            if explicit[c]:
                term = line_P[t, at_P + (s * Q + port[c]) * n]
            else:
                term = line_B[t, at_B + (s * inputs + port[c]) * n]
            place = start + s * w + c - c0
            target[place] = term if scale == 0 else scale * target[place] + term
        done += states
    return done


@njit(fastmath=FAST, cache=True)
def _spread(gradient, k, run_ptr, runs, theta, c0, synapses, w, source, start, gain, scale):
    """Gradient = scale * gradient + gain * (a unit's row), at the places of its parameters: run by run, then the others."""
    for r in range(run_ptr[k], run_ptr[k + 1]):
        _blend(gradient, runs[r, 3], scale, source, start + runs[r, 0], gain, runs[r, 1])
    for c in range(synapses, w):
        _blend(gradient, theta[c0 + c], scale, source, start + c, gain, 1)


@njit(fastmath=FAST, cache=True)
def _age(F, at, apart, kept, heard, k, w, zero):
    """Multiply a unit's part of F by the decays. Returns multiply-adds done."""
    done = 0
    for d in range(len(kept)):
        if heard[d, k]:
            _blend(F, at + d * apart, kept[d], F, at + d * apart, zero, w)
            done += w
    return done


@njit(fastmath=FAST, cache=True)
def _read(signal, gradient, k, run_ptr, runs, theta, c0, synapses, w, source, start, factor, one, begun, F, at_F, apart,
          aged, kept, heard, powers, t):  # fmt: skip
    """Add the message's row, factor * source, to the gradient (anew if ``begun`` is 0) and to F. Returns multiply-adds done."""
    done = 0
    if signal != 0:
        _spread(gradient, k, run_ptr, runs, theta, c0, synapses, w, source, start, signal * factor, begun)
        done += w
    for d in range(len(kept)):
        if heard[d, k]:
            _blend(F, at_F + d * apart, one if aged else kept[d], source, start, powers[d, t] * factor, w)
            done += w if aged else 2 * w
    return done


@njit(parallel=True, fastmath=FAST, cache=True)
def sweep(tasks, most, widest, S, G, Q, size, local, start_A, start_B, start_P, start_o, start_q, tape_A, tape_B, tape_P,
          tape_o, tape_q, last_o, last_q, alone, loop_ptr, loop_theta, loop_port, weight, messages, begin, room, first_M,
          first_C, synapses, run_ptr, runs, offset, theta, port, explicit, M, F, direct, past, powers, kept, heard, gradient,
          counts):  # fmt: skip
    """Advance the rows over a tape, write the columns' ``gradient`` (parameters), count multiply-adds.

    ``most`` states and ``widest`` in columns of a unit: rooms to set aside. A task begins with its first and last unit. Unit k
    has the places ``first_C[k] ..`` among the columns, the first ``synapses[k]`` of them in ``runs`` (see ``local``), and its
    rows, state by state, from ``first_M[k]``. ``messages`` is flat: step t begins at ``begin + t * room``, and the message of
    a column lies ``offset`` behind. ``loop_*``: synapses of a unit onto itself, with a delay of one step. ``alone``: of A, its
    diagonal.
    ``direct`` (tau, 1, N): the signal; ``past`` (decays, 1, N): what the tape's losses owe to F (decays, columns), the
    rows before the tape as leaky readouts remember them; ``powers`` (decays, tau) and ``kept`` (decays) advance F.
    """
    tau, apart = len(tape_A), first_C[-1]
    for task in prange(len(tasks)):
        unit = np.zeros(2, M.dtype)
        unit[1] = 1
        zero, one = unit[0], unit[1]
        x, fresh = np.empty(widest, M.dtype), np.empty((most + 1) * widest, M.dtype)  # messages; rows, and E behind them
        a, jump = np.zeros(most * most, M.dtype), np.zeros(most, M.dtype)
        propagate, immediate, emit, read = 0, 0, 0, 0
        for k in range(tasks[task, 0], tasks[task, 1]):
            n, c0, states, inputs, syn = size[k], first_C[k], S[k], G[k], synapses[k]
            w, loops = first_C[k + 1] - c0, loop_ptr[k + 1] - loop_ptr[k]
            listened = False
            for d in range(len(kept)):
                listened |= heard[d, k]
            begun = zero  # one once the unit's part of the gradient has been written
            at_A, at_B, at_P = start_A[k] + local[k], start_B[k] + local[k], start_P[k] + local[k]
            at_o, at_q, row, at_F = start_o[k] + local[k], start_q[k] + local[k], first_M[k], c0
            for d in range(len(kept)):
                if heard[d, k] and past[d, 0, k] != 0:
                    owed = past[d, 0, k]
                    _spread(gradient, k, run_ptr, runs, theta, c0, syn, w, F, at_F + d * apart, owed, begun)
                    begun = one
                    read += w
            aged = not listened  # F has been multiplied by its decay
            lean = states == 1 and loops == 0 and not listened
            for t in range(tau if lean else 0):  # the row and the gradient in one pass
                scale, signal, base = tape_A[t, at_A], direct[t, 0, k], begin + t * room
                told = signal * tape_o[t, at_o]
                for r in range(run_ptr[k], run_ptr[k + 1]):
                    at, length, gain = row + runs[r, 0], runs[r, 1], tape_B[t, at_B + runs[r, 2] * n]
                    if runs[r, 4]:
                        start = base + offset[c0 + runs[r, 0]]
                        _blend_and_read(M, at, scale, messages, start, gain, gradient, runs[r, 3], told, begun, length)
                    else:
                        for i in range(length):
                            x[i] = messages[base + offset[c0 + runs[r, 0] + i]]
                        _blend_and_read(M, at, scale, x, 0, gain, gradient, runs[r, 3], told, begun, length)
                    immediate += (gain != 0) * length
                for c in range(c0 + syn, c0 + w):
                    term = tape_P[t, at_P + port[c] * n] if explicit[c] else tape_B[t, at_B + port[c] * n]
                    place = row + c - c0
                    M[place] = term if scale == 0 else scale * M[place] + term
                    if told != 0:
                        gradient[theta[c]] = told * M[place] + (gradient[theta[c]] if begun else zero)
                immediate += w - syn
                propagate += (scale != 0) * w
                if told != 0:
                    begun = one
                    read += w
                for c in range(c0 + syn, c0 + w):
                    q = tape_q[t, at_q + port[c] * n] if explicit[c] and signal != 0 else zero
                    if q != 0:
                        if begun == 0:
                            _spread(gradient, k, run_ptr, runs, theta, c0, syn, w, M, row, zero, begun)
                            begun = one
                        gradient[theta[c]] += signal * q
                        read += 1
            for t in range(0 if lean else tau):
                # the unit's own Jacobian, and its message of the last step where it hears itself
                for s in range(states):
                    for r in range(states):
                        a[s * states + r] = zero if alone and s != r else tape_A[t, at_A + (s * states + r) * n]
                    jump[s] = 0
                    for e in range(loop_ptr[k], loop_ptr[k] + loops):
                        jump[s] += tape_B[t, at_B + (s * inputs + loop_port[e]) * n] * weight[loop_theta[e]]
                    if jump[s] != 0:
                        for r in range(states):
                            o = last_o[at_o + r * n] if t == 0 else tape_o[t - 1, at_o + r * n]
                            a[s * states + r] += jump[s] * o
                        propagate += loops + states
                base = begin + t * room
                if states == 1:
                    immediate += _hear(
                        M, row, w, 1, a[0], k, t, at_B, n, inputs, syn, run_ptr, runs, c0, offset, port, explicit,
                        base, messages, x, tape_B, at_P, Q[k], tape_P,
                    )  # fmt: skip
                    propagate += (a[0] != 0) * w
                else:
                    immediate += _hear(
                        fresh, 0, w, states, zero, k, t, at_B, n, inputs, syn, run_ptr, runs, c0, offset, port,
                        explicit, base, messages, x, tape_B, at_P, Q[k], tape_P,
                    )  # fmt: skip
                    for s in range(states):
                        for r in range(states):
                            if a[s * states + r] != 0:
                                _blend(fresh, s * w, one, M, row + r * w, a[s * states + r], w)
                                propagate += w
                for c in range(c0 + syn if loops else c0 + w, c0 + w):
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
                if signal == 0 and not listened:
                    continue
                start, factor, speaking = 0, zero, 0
                for s in range(states):
                    gain = tape_o[t, at_o + s * n]
                    if gain != 0:
                        start, factor = s * w, gain
                        speaking += 1
                if speaking > 1:
                    start, factor = states * w, one
                    _blend(fresh, start, zero, fresh, 0, zero, w)
                    for s in range(states):
                        gain = tape_o[t, at_o + s * n]
                        if gain != 0:
                            _blend(fresh, start, one, fresh, s * w, gain, w)
                            emit += w
                if speaking and states == 1:
                    read += _read(
                        signal, gradient, k, run_ptr, runs, theta, c0, syn, w, M, row, factor, one, begun, F, at_F,
                        apart, aged, kept, heard, powers, t,
                    )  # fmt: skip
                elif speaking:
                    read += _read(
                        signal, gradient, k, run_ptr, runs, theta, c0, syn, w, fresh, start, factor, one, begun, F,
                        at_F, apart, aged, kept, heard, powers, t,
                    )  # fmt: skip
                aged |= speaking > 0
                begun = one if speaking and signal != 0 else begun
                for c in range(c0 + syn, c0 + w):
                    q = tape_q[t, at_q + port[c] * n] if explicit[c] else zero
                    if q != 0:
                        if begun == 0:
                            _spread(gradient, k, run_ptr, runs, theta, c0, syn, w, M, row, zero, begun)
                            begun = one
                        if not aged:
                            read += _age(F, at_F, apart, kept, heard, k, w, zero)
                            aged = True
                        gradient[theta[c]] += signal * q
                        for d in range(len(kept)):
                            if heard[d, k]:
                                F[at_F + d * apart + c - c0] += powers[d, t] * q
                        read += 1
            if not aged:
                read += _age(F, at_F, apart, kept, heard, k, w, zero)
            if begun == 0:
                _spread(gradient, k, run_ptr, runs, theta, c0, syn, w, M, first_M[k], zero, begun)
        counts[task, 0] += propagate
        counts[task, 1] += immediate
        counts[task, 2] += emit
        counts[task, 3] += read
