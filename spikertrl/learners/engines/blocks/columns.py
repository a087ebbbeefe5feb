"""Compiled parts that the loops over blocks share: columns that come alive, immediate terms, rows that are sent.

In block ``gr`` columns lie in runs ``r0 .. r1-1`` (see ``layout.Layout``); ``c0`` is its first sorted column, ``base`` where a
lane's rows begin in M. Run r has the place ``position[b, r]`` in every row, -1 while it is not alive.
"""

from __future__ import annotations

import numpy as np

from ....loops import inner
from ..simd.rows import FAST, prefetch, sum_rows

AHEAD = 3  # rows asked for in advance: they lie apart, and in an online step they come from main memory


@inner(fastmath=FAST)
def wake(begins, ends, r0, r1, run_source, run_delay, runs, position, messages, history, b, w):
    """Give every run of columns that comes alive in steps begins .. ends-1 its place; return the width then."""
    asleep = 0
    for run in range(r0, r1):
        asleep += position[b, run] < 0
    for t in range(begins, ends if asleep else begins):
        for run in range(r0, r1):
            source = run_source[run]
            if position[b, run] < 0 and (source < 0 or messages[history + t - run_delay[run], b, source] != 0):
                position[b, run] = w
                w += runs[run + 1] - runs[run]
    return w


@inner(fastmath=FAST)
def locate_gains(gain, c0, c1, term, b, B):
    """Where the derivative that drives each column of a lane lies in a line of B (or P)."""
    for x in range(c0, c1):
        gain[x - c0] = term[x, 0] * B + term[x, 1] + b * term[x, 2]


@inner(fastmath=FAST)
def add_immediate(M, t, b, base, r0, r1, c0, run_source, run_delay, runs, own_row, position, gain, tape_B, tape_P, messages,
                  history):  # fmt: skip
    """Immediate terms of a step, in the rows of each column's own unit, of one state. Returns multiply-adds done."""
    done = 0
    for run in range(r0, r1):
        source = run_source[run]
        value = messages[history + t - run_delay[run], b, source] if source >= 0 else messages.dtype.type(1)
        if value == 0:
            continue
        line, at = tape_P[t] if source == -2 else tape_B[t], base + position[b, run]
        for x in range(np.uint64(runs[run]), np.uint64(runs[run + 1])):
            M[np.uint64(at + own_row[x])] += line[np.uint64(gain[x - np.uint64(c0)])] * value
        done += runs[run + 1] - runs[run]
    return done


@inner(fastmath=FAST)
def send_rows(sent, M, base, stride, wide, live, units, n, o, b, B, size, local, start_o, places, weights, ahead):
    """E_j = o_j M_j of the n ``units`` that are gradient-active, one behind the other, into ``sent``. Returns the rows read.

    ``live`` (N): of this block and lane. ``places`` and ``weights`` are for use. ``ahead``: how many rows are asked for in
    advance, if they come from main memory. Rows sent before a tape are made again when it begins, from M: keeping them in the
    meantime would cost more.
    """
    nothing, done = M.dtype.type(0), 0
    for a in range(min(n, ahead)):
        prefetch(M, base + units[a] * stride, wide)
    for a in range(n):
        if 0 < ahead < n - a:
            prefetch(M, base + units[a + ahead] * stride, wide)
        j, place = units[a], a * stride
        places[0], weights[0] = base + j * stride, o[start_o[j] * B + b * size[j] + local[j]]
        alive = 1 if live[j] else 0
        sum_rows(sent, place, nothing, M, places, weights, alive, wide)
        done += alive
    return done


@inner(fastmath=FAST)
def send_explicit(sent, stride, units, n, k0, k1, q, b, B, size, local, start_q, Q, col_ptr, col_port, run_of, placed, runs,
                  position):  # fmt: skip
    """``sent`` += q_j: what units of the block (k0 .. k1 - 1) send because of their own parameters; after ``send_rows``."""
    for a in range(n):
        j, place = units[a], a * stride
        if k0 <= j < k1:
            for c in range(col_ptr[j + 1] - Q[j], col_ptr[j + 1]):
                run = run_of[c]
                at_q = start_q[j] * B + (b * Q[j] + col_port[c]) * size[j] + local[j]
                sent[place + position[b, run] + placed[c] - runs[run]] += q[at_q]


@inner(fastmath=FAST)
def widen(M, base, stride, fresh, wide, rows, live, Z, z_base, leaky):
    """Zeros in the registers that columns just alive have opened: in live rows of M, and in Z."""
    for r in range(rows):
        if live[r]:
            M[base + r * stride + fresh : base + r * stride + wide] = 0
    for o in range(leaky):
        Z[z_base + o * stride + fresh : z_base + o * stride + wide] = 0


@inner(fastmath=FAST)
def add_gradient(gradient, g, b, r0, r1, runs, theta, position):
    """Add the sums g of a lane's columns to the gradient, each at its place in theta."""
    for run in range(r0, r1):
        if position[b, run] >= 0:
            for x in range(runs[run], runs[run + 1]):
                gradient[theta[x]] += g[position[b, run] + x - runs[run]]


# -- leaky readouts: what they were told before the tape is read first, what the tape tells them is written last -------------
@inner()
def heard_units(losses, outputs, units):
    """Which of the ``units`` the first so many leaky ``outputs`` hear."""
    heard = np.zeros(len(units), np.bool_)
    for o in range(outputs):
        for u in range(len(units)):
            heard[u] |= losses.out_weight[losses.leaky[o], units[u]] != 0
    return heard


@inner(fastmath=FAST)
def read_readouts(g, Z, at, stride, past, places, weights, wide):
    """g += ``past`` (outputs) times the readouts' rows from Z[at] on. Returns how many were read."""
    m = 0
    for o in range(len(past)):
        if past[o] != 0:
            places[0], weights[0] = at + o * stride, past[o]
            sum_rows(g, 0, g.dtype.type(1), Z, places, weights, 1, wide)
            m += 1
    return m


@inner(fastmath=FAST)
def write_readouts(Z, at, stride, losses, outputs, F, units, summed, places, weights, wide):
    """Rows of the first so many leaky ``outputs`` from Z[at] on <- their leak times the old ones + readout weights times F.

    F (decays, units, stride): sums of the rows that each of the ``units`` has sent, where it has ``summed`` any. Returns how
    many rows were read.
    """
    rows = 0
    for o in range(outputs):
        m = 0
        for u in range(len(units)):
            if summed[u]:
                place = (losses.kind[o] * len(units) + u) * stride
                places[m], weights[m] = place, losses.out_weight[losses.leaky[o], units[u]]
                m += 1
        sum_rows(Z, at + o * stride, losses.kept[o], F, places, weights, m, wide)
        rows += m + 1
    return rows
