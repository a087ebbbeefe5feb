"""Compiled loops that carry what every message does to later ones forward, of any network (see ``events``).

A **visit** brings the states' rows of one unit up to date: where the unit is gradient-active, so that they are its message's
row, and where a window of steps is over. In between nothing is touched: what has arrived since the visit before is added with
what the unit's own path has made of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....loops import inner, loop
from ..simd.rows import FAST, sum_rows, sum_slots
from ..simd.scalar import add, copy, largest
from ..simd.views import flat
from ..simd.writer import BYTES


class Visits(NamedTuple):
    """The visits of a lane, in the order of time (V; the first ones may be unused); events are messages of gradient-active
    units."""  # fmt: skip

    first: np.ndarray  # (steps + 1) first event of each step
    step: np.ndarray  # (V)
    unit: np.ndarray  # (V)
    event: np.ndarray  # (V) or -1
    at: np.ndarray  # (E) visit of each event
    before: np.ndarray  # (V, S, S) what the unit's own path makes of its states at the visit before
    ptr: np.ndarray  # (V + 1) arrivals of each visit
    source: np.ndarray  # (A) event that arrives, ascending
    slot: np.ndarray  # (A) int32: where its row lies
    coef: np.ndarray  # (S, A) what it adds to each state


@inner(fastmath=FAST)
def _number(count, b, end):
    """(end + 2) the first event of each step of lane b."""
    first = np.zeros(end + 2, np.int64)
    for t in range(end + 1):
        first[t + 1] = first[t] + count[t, b]
    return first


@inner(fastmath=FAST)
def _visit(v, i, t, number, step, unit, event, upcoming, path, before):
    """Note visit v of unit i: what lies before it passes through it."""
    S = path.shape[1]
    if upcoming[i] >= 0:
        for s in range(S):
            for r in range(S):
                before[upcoming[i], s, r] = path[i, s, r]
    for s in range(S):
        for r in range(S):
            path[i, s, r] = 1 if s == r else 0
    step[v], unit[v], event[v], upcoming[i] = t, i, number, v


@inner(fastmath=FAST)
def _through_port(line, base, S, G, size, port, path, gain):
    """gain (S) <- path (S, S) times the derivatives of the states by a port; returns whether any is not zero."""
    alive = False
    for s in range(S):
        total = path[s, 0] * line[base + port * size]
        for r in range(1, S):
            total += path[s, r] * line[base + (r * G + port) * size]
        gain[s] = total
        alive |= total != 0
    return alive


@inner(fastmath=FAST)
def _one_step_back(line, base, S, size, path, row):
    """path (S, S) <- path times the unit's own Jacobian; returns whether it passes anything. ``row`` (S): for use."""
    alive = False
    for s in range(S):
        for r in range(S):
            total = path[s, 0] * line[base + r * size]
            for k in range(1, S):
                total += path[s, k] * line[base + (k * S + r) * size]
            row[r] = total
            alive |= total != 0
        for r in range(S):
            path[s, r] = row[r]
    return alive


@inner(fastmath=FAST)
def _look_back(b, B, end, window, first, tables, linear, ports, active, visit, gain):
    """From the last step backwards, into ``visit`` (steps, N): the next visit of every unit, -1 where none will read what
    arrives; into ``gain`` (steps, N, ports, S): what it makes of that. Returns the fields 1 to 5 of ``Visits``.
    """
    S, G, size, local, start_A, start_B = tables.S, tables.G, tables.size, tables.local, tables.start_A, tables.start_B
    count, units, slot, tape_A, tape_B = active.count, active.units, active.slot, linear.A, linear.B
    N, most, states = len(S), ports.shape[1], gain.shape[3]
    room = first[end + 1] + N * (end // window)
    step, unit, event = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    at, before = np.empty(first[end + 1], np.int64), np.zeros((room, states, states), gain.dtype)
    upcoming, heard = np.empty(N, np.int64), np.zeros(N, np.bool_)
    upcoming[:] = -1
    path, row, v = np.zeros((N, states, states), gain.dtype), np.empty(states, gain.dtype), room
    for t in range(end, -1, -1):
        for i in range(N if t < end and (t + 1) % window == 0 else 0):
            if heard[i] and slot[t, b, i] < 0:
                v -= 1
                _visit(v, i, t, -1, step, unit, event, upcoming, path, before)
        for a in range(count[t, b] - 1, -1, -1):
            v -= 1
            i = np.int64(units[t, b, a])  # one type: what is called is compiled for each
            _visit(v, i, t, first[t] + a, step, unit, event, upcoming, path, before)
            heard[i], at[first[t] + a] = True, v
        line_A, line_B = tape_A[t], tape_B[t]
        for i in range(N):
            visit[t, i] = -1
            if not heard[i]:
                continue
            arrives = False
            base = start_B[i] * B + b * S[i] * G[i] * size[i] + local[i]
            for r in range(most):
                if ports[i, r] >= 0:
                    arrives |= _through_port(line_B, base, S[i], G[i], size[i], ports[i, r], path[i], gain[t, i, r])
            if arrives:
                visit[t, i] = upcoming[i]
            base = start_A[i] * B + b * S[i] * S[i] * size[i] + local[i]
            heard[i] = _one_step_back(line_A, base, S[i], size[i], path[i], row)
    return step, unit, event, at, before


@inner(fastmath=FAST)
def _list_arrivals(b, end, first, synapses, S, ports, active, visit, gain, visits, ring):
    """What arrives at every visit: the last four fields of ``Visits``. Rows of events lie in a ``ring`` of so many."""
    count, units, N = active.count, active.units, len(S)
    out_ptr, out_post, delays, weight = synapses.out_ptr, synapses.out_post, synapses.delays, synapses.weight
    ptr = np.zeros(visits + 1, np.int64)
    for t in range(end + 1):
        for k in range(len(delays)):
            u = t + delays[k]
            for a in range(count[t, b] if u <= end else 0):
                for e in range(out_ptr[k * N + units[t, b, a]], out_ptr[k * N + units[t, b, a] + 1]):
                    if visit[u, out_post[e]] >= 0:
                        ptr[visit[u, out_post[e]] + 1] += 1
    for v in range(visits):
        ptr[v + 1] += ptr[v]
    to, source = np.empty(visits, np.int64), np.empty(ptr[visits], np.int64)
    slot, coef = np.empty(ptr[visits], np.int32), np.empty((gain.shape[3], ptr[visits]), gain.dtype)
    copy(to, ptr[:visits])
    for t in range(end + 1):
        for a in range(count[t, b]):
            j, number = units[t, b, a], first[t] + a
            for k in range(len(delays)):
                u = t + delays[k]
                for e in range(out_ptr[k * N + j], out_ptr[k * N + j + 1] if u <= end else 0):
                    i = out_post[e]
                    v = visit[u, i]
                    if v < 0:
                        continue
                    source[to[v]], slot[to[v]] = number, number % ring
                    for s in range(S[i]):
                        total = coef.dtype.type(0)
                        for r in range(weight.shape[1]):
                            if ports[i, r] >= 0:
                                total += gain[u, i, r, s] * weight[e, r]
                        coef[s, to[v]] = total
                    to[v] += 1
    return ptr, source, slot, coef


@inner(fastmath=FAST)
def _room(first, steps):
    """The most events in so many consecutive steps."""
    most = 1
    for t in range(len(first) - 1):
        most = max(most, first[min(t + steps, len(first) - 1)] - first[t])
    return most


@inner(fastmath=FAST)
def _sum_states(X, E, at, W, wide, S, v, begin, n, live, visits, old, places, weights):
    """Rows of the S states of a unit at visit v, of which n arrivals from ``begin`` on count. Returns rows read."""
    before, slot, coef = visits.before, visits.slot, visits.coef
    entries, rows, nothing, one = flat(coef), 0, X.dtype.type(0), X.dtype.type(1)
    for s in range(S if live else 0):
        copy(old[s * W : s * W + wide], X[at + s * W : at + s * W + wide])
    for s in range(S):
        m = 0
        for r in range(S if live else 0):
            if before[v, s, r] != 0:
                places[m], weights[m] = r * W, before[v, s, r]
                m += 1
        sum_rows(X, at + s * W, nothing, old, places, weights, m, wide)
        first, heard = s * coef.shape[1] + begin, False
        for e in range(first, first + n):
            heard |= entries[e] != 0
        if heard:
            sum_slots(X, at + s * W, one, E, 0, W, slot, begin, entries, first, n, wide)
        rows += m + n * heard
    return rows


@inner(fastmath=FAST)
def _carry_tile(a0, a1, b, B, W, lanes, visits, tables, o, direct, X, E, live, old, places, weights, sums):
    """Columns of events a0 .. a1 - 1, over all later visits; sums[a - a0] <- what losses say to a through later messages.

    X (N * S rows), E (the ring of events) and ``old`` (S rows), of W elements each, ``live`` (N), ``places`` and ``weights``
    (S): for use. Returns multiply-adds done: propagation, messages, readout.
    """
    S, size, local, start_o = tables.S, tables.size, tables.local, tables.start_o
    first, ptr, source, slot, event = visits.first, visits.ptr, visits.source, visits.slot, visits.event
    before, coef, most, ring = visits.before, flat(visits.coef), visits.before.shape[1], len(E) // W
    propagate, emit, read, nothing = 0, 0, 0, X.dtype.type(0)
    for i in range(len(live)):
        live[i] = False
    for x in range(W):
        sums[x] = 0
    for v in range(visits.at[a0], len(event)):
        i, t, number = visits.unit[v], visits.step[v], event[v]
        w = max(min(first[t], a1) - a0, 0)  # columns that have begun before
        wide = (w + lanes - 1) // lanes * lanes
        begin = ptr[v]
        while begin < ptr[v + 1] and source[begin] < a0:
            begin += 1
        n, at, row, states = ptr[v + 1] - begin, i * most * W, (number % ring) * W, S[i]
        alive = live[i] or n > 0
        sent, at_o = alive and number >= 0, start_o[i] * B + b * states * size[i] + local[i]
        for x in range(at, at + states * W if alive and not live[i] else at):
            X[x] = 0
        if alive and states == 1:
            sum_slots(X, at, before[v, 0, 0] if live[i] else nothing, E, 0, W, slot, begin, coef, begin, n, wide)
            propagate += (n + live[i]) * w
        elif alive:
            propagate += w * _sum_states(X, E, at, W, wide, states, v, begin, n, live[i], visits, old, places, weights)
        live[i] = alive
        for s in range(states if sent else 0):
            places[s], weights[s] = at + s * W, o[t, at_o + s * size[i]]
        if sent:
            sum_rows(E, row, nothing, X, places, weights, states, wide)
        if number < 0:
            continue
        for x in range(row + (wide if sent else 0), row + W):
            E[x] = 0
        emit += states * w if sent else 0
        if sent and direct[t, b, i] != 0:
            add(sums[:wide], direct[t, b, i], E[row : row + wide])
            read += w
        if a0 <= number < a1:
            E[row + number - a0] = 1
    return propagate, emit, read


@loop(nogil=True, fastmath=FAST)
def carry(worker, workers, parts, end, window, delay, tile_bytes, lanes, tables, linear, ports, active, synapses, direct, ybar,
          counts):  # fmt: skip
    """ybar (tau, B, N) += what losses, ``direct`` = dL/dy, say to every message through later ones. Returns elements held.

    ``end`` (B): the last step with a loss in each lane; ``delay``: the longest. ``lanes``: elements of a register. The worker
    takes lanes of its own, or, where there are fewer lanes than workers, one of so many ``parts`` of a lane's columns. Changes
    ``ybar`` and ``counts``.
    """
    N, B, most, dtype, held = len(tables.S), ybar.shape[1], largest(tables.S), ybar.dtype, 0
    for task in range(worker, B * parts, workers):
        b, part = task // parts, task % parts
        if end[b] < 1:
            continue
        first = _number(active.count, b, end[b])
        columns, ring = first[end[b]], _room(first, window + delay)  # events of the last step have nothing after them
        if columns == 0:
            continue
        visit, gain = np.empty((end[b] + 1, N), np.int64), np.zeros((end[b] + 1, N, ports.shape[1], most), dtype)
        found = _look_back(b, B, end[b], window, first, tables, linear, ports, active, visit, gain)
        arrive = _list_arrivals(b, end[b], first, synapses, tables.S, ports, active, visit, gain, len(found[0]), ring)
        visits = Visits(first, *found, *arrive)
        K = min(max(tile_bytes // ((N * most + ring + most) * BYTES), 1) * lanes, (columns + lanes - 1) // lanes * lanes)
        W = K if K // lanes % 2 else K + lanes  # rows a power of two apart would share few places of the cache
        X, E, old = np.empty(N * most * W, dtype), np.empty(ring * W, dtype), np.empty(most * W, dtype)
        live, places, weights, sums = np.empty(N, np.bool_), np.empty(most, np.int64), np.empty(most, dtype), np.empty(W, dtype)
        held = max(held, len(X) + len(E) + gain.size + visits.coef.size)
        t = 0
        for a0 in range(part * K, columns, parts * K):
            a1 = min(a0 + K, columns)
            done = _carry_tile(a0, a1, b, B, W, lanes, visits, tables, linear.o, direct, X, E, live, old, places, weights, sums)
            counts[worker, 0] += done[0]
            counts[worker, 2] += done[1]
            counts[worker, 3] += done[2]
            for a in range(a0, a1):
                while first[t + 1] <= a:
                    t += 1
                ybar[t, b, active.units[t, b, a - first[t]]] += sums[a - a0]
    return held
