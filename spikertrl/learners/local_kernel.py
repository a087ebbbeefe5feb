"""Compiled loop of the local learners (SnAp-1, e-prop, RFLO): the rows of each unit's own columns, one pass per step.

What a unit keeps is its own rows over its own columns. A step is M <- A M + B y + P, read as E = o M + q. Units share nothing
but what they hear, so that a unit's rows stay in the cache over the whole tape.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .vector import FAST


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
def _spread(gradient, first, runs, theta, source, start, gain, synapses, columns, one):
    """Add gain * (a unit's row) at the places of its parameters: run by run, then what is no synapse."""
    for r in range(len(runs)):
        _blend(gradient, first + runs[r, 3], one, source, start + runs[r, 0], gain, runs[r, 1])
    for c in range(synapses, columns):
        gradient[first + theta[c]] += gain * source[start + c]


@njit(fastmath=FAST, cache=True)
def _gather(x, messages, base, offset):
    """x[i] = messages[base + offset[i]]."""
    for i in range(len(offset)):
        x[i] = messages[base + offset[i]]


@njit(parallel=True, fastmath=FAST, cache=True)
def sweep(tasks, B, S, G, Q, size, local, start_A, start_B, start_P, start_o, start_q, tape_A, tape_B, tape_P, tape_o, tape_q,
          last_o, last_q, alone, loop_ptr, loop_theta, loop_port, weight, messages, begin, room, first_M, first_C, synapses,
          run_ptr, runs, offset, theta, port, explicit, M, F, direct, past, powers, kept, heard, gradient, counts):  # fmt: skip
    """Advance the rows over a tape, add to ``gradient`` (lane chunks * parameters), count multiply-adds (tasks, 4).

    A task (first unit, last unit, lane chunk, first lane, last lane). Unit k has the places ``first_C[k] ..`` among the
    columns, the first ``synapses[k]`` of them in ``runs`` (see ``local``), and its rows, state by state, from ``first_M[k]``.
    ``messages`` is flat: step t of lane b begins at ``begin + (t * B + b) * room``, and the message of a column lies
    ``offset`` behind. ``loop_*``: synapses of a unit onto itself, with a delay of one step. ``alone``: of A, its diagonal.
    ``direct`` (tau, B, N): the signal; ``past`` (decays, B, N): what the tape's losses owe to F (decays, B, columns), the
    rows before the tape as leaky readouts remember them; ``powers`` (decays, tau) and ``kept`` (decays) advance F.
    """
    tau, widest, most, parameters = len(tape_A), np.diff(first_C).max(), S.max(), len(weight)
    for task in prange(len(tasks)):
        unit = np.zeros(2, M.dtype)
        unit[1] = 1
        zero, one = unit[0], unit[1]
        x, E, fresh = np.empty(widest, M.dtype), np.empty(widest, M.dtype), np.empty(most * widest, M.dtype)
        a, jump = np.zeros(most * most, M.dtype), np.zeros(most, M.dtype)
        propagate, immediate, emit, read = 0, 0, 0, 0
        into = tasks[task, 2] * parameters
        for k in range(tasks[task, 0], tasks[task, 1]):
            n, c0, states, inputs, syn = size[k], first_C[k], S[k], G[k], synapses[k]
            w = first_C[k + 1] - c0
            mine, place, who = runs[run_ptr[k] : run_ptr[k + 1]], theta[c0 : c0 + w], port[c0 : c0 + w]
            special = explicit[c0 : c0 + w]
            loops = range(loop_ptr[k], loop_ptr[k + 1])
            listened = False
            for d in range(len(kept)):
                listened |= heard[d, k]
            for b in range(tasks[task, 3], tasks[task, 4]):
                at_A, at_B = start_A[k] * B + b * states * states * n + local[k], start_B[k] * B + b * states * inputs * n + local[k]
                at_P, at_o = start_P[k] * B + b * states * Q[k] * n + local[k], start_o[k] * B + b * states * n + local[k]
                at_q = start_q[k] * B + b * Q[k] * n + local[k]
                row = b * first_M[-1] + first_M[k]
                for d in range(len(kept)):
                    if heard[d, k] and past[d, b, k] != 0:
                        _spread(gradient, into, mine, place, F, (d * B + b) * first_C[-1] + c0, past[d, b, k], syn, w, one)
                        read += w
                aged = False  # F has been multiplied by its decay
                for t in range(tau):
                    o_before, q_before = (last_o, last_q) if t == 0 else (tape_o[t - 1], tape_q[t - 1])
                    # the unit's own Jacobian, and its message of the last step where it hears itself
                    for s in range(states):
                        for r in range(states):
                            a[s * states + r] = zero if alone and s != r else tape_A[t, at_A + (s * states + r) * n]
                        jump[s] = 0
                        for e in loops:
                            jump[s] += tape_B[t, at_B + (s * inputs + loop_port[e]) * n] * weight[loop_theta[e]]
                        if jump[s] != 0:
                            for r in range(states):
                                a[s * states + r] += jump[s] * o_before[at_o + r * n]
                            propagate += len(loops) + states
                    # immediate terms; of a single state, together with what it carries
                    base = begin + (t * B + b) * room
                    target, start = (M, row) if states == 1 else (fresh, 0)
                    scale = a[0] if states == 1 else zero
                    for r in range(len(mine)):
                        at, length = mine[r, 0], mine[r, 1]
                        if mine[r, 4]:
                            heard_now, first = messages, base + offset[c0 + at]
                        else:
                            _gather(x[:length], messages, base, offset[c0 + at : c0 + at + length])
                            heard_now, first = x, 0
                        for s in range(states):
                            gain = tape_B[t, at_B + (s * inputs + mine[r, 2]) * n]
                            _blend(target, start + s * w + at, scale, heard_now, first, gain, length)
                            immediate += (gain != 0) * length
                    for c in range(syn, w):
                        for s in range(states):
                            if special[c]:
                                term = tape_P[t, at_P + (s * Q[k] + who[c]) * n]
                                if jump[s] != 0:
                                    term += jump[s] * q_before[at_q + who[c] * n]
                                    propagate += 1
                            else:
                                term = tape_B[t, at_B + (s * inputs + who[c]) * n]
                            target[start + s * w + c] = term if scale == 0 else scale * target[start + s * w + c] + term
                        immediate += states
                    if states == 1:
                        propagate += (scale != 0) * w
                    else:
                        for s in range(states):
                            for r in range(states):
                                if a[s * states + r] != 0:
                                    _blend(fresh, s * w, one, M, row + r * w, a[s * states + r], w)
                                    propagate += w
                        M[row : row + states * w] = fresh[: states * w]
                    # the message's row, where somebody reads it
                    signal = direct[t, b, k]
                    if signal == 0 and not listened:
                        continue
                    source, start, factor, speaking = M, row, zero, 0
                    for s in range(states):
                        gain = tape_o[t, at_o + s * n]
                        if gain != 0:
                            start, factor = row + s * w, gain
                            speaking += 1
                    if speaking > 1:
                        source, start, factor, scale = E, 0, one, zero
                        for s in range(states):
                            gain = tape_o[t, at_o + s * n]
                            if gain != 0:
                                _blend(E, 0, scale, M, row + s * w, gain, w)
                                scale = one
                                emit += w
                    if signal != 0 and speaking:
                        _spread(gradient, into, mine, place, source, start, signal * factor, syn, w, one)
                        read += w
                    for d in range(len(kept)):
                        if heard[d, k] and speaking:
                            at = (d * B + b) * first_C[-1] + c0
                            _blend(F, at, one if aged else kept[d], source, start, powers[d, t] * factor, w)
                            read += w if aged else 2 * w
                    aged |= speaking > 0
                    for c in range(syn, w):
                        q = tape_q[t, at_q + who[c] * n] if special[c] else zero
                        if q != 0:
                            gradient[into + place[c]] += signal * q
                            for d in range(len(kept)):
                                if heard[d, k]:
                                    at = (d * B + b) * first_C[-1] + c0
                                    if not aged:
                                        _blend(F, at, kept[d], F, at, zero, w)
                                        read += w
                                    F[at + c] += powers[d, t] * q
                            aged = True
                            read += 1
                for d in range(len(kept)):
                    if heard[d, k] and not aged:
                        at = (d * B + b) * first_C[-1] + c0
                        _blend(F, at, kept[d], F, at, zero, w)
                        read += w
        counts[task, 0] += propagate
        counts[task, 1] += immediate
        counts[task, 2] += emit
        counts[task, 3] += read
