"""Compiled loops that fill the step Jacobian of a tape (see ``step_jacobian``)."""

from __future__ import annotations

import numpy as np

from ....loops import inner, loop
from ..simd.gemm import PANEL, panels_of_products
from ..simd.rows import FAST
from ..simd.scalar import largest
from ..simd.views import flat


@loop(nogil=True, fastmath=FAST)
def couple(tape_B, synapses, history, sent, senders, tables, t0, B, into, row0, row1):
    """Entries sum_g B_isg(t) theta_ijg of all pairs whose source was gradient-active, of some lanes and steps.

    Fills rows row0 .. row1 - 1 of ``into`` (``StepJacobian``), ``(t - t0) * B + b`` each, see ``couple_lane``. ``sent``
    (history + tau, B) and ``senders`` (history + tau, B, N): how many units were gradient-active, and which; ``history`` of the
    steps lie before t = 0.
    """
    N, most = synapses.ports.shape
    gain, end = np.zeros((largest(tables.S), N, most), into.coef.dtype), np.zeros(N, np.int64)
    first = np.zeros(len(synapses.delays), np.int64)
    for row in range(row0, row1):
        t = t0 + row // B
        couple_lane(tape_B[t], row % B, B, synapses, history + t, sent, senders, first, tables, gain, end, into, row)


@inner(fastmath=FAST)
def couple_lane(line, b, B, synapses, now, sent, senders, first, tables, gain, end, into, row):
    """Row ``row`` of ``into``: what arrives at lane b in the step of ``sent[now]``; ``line`` is the tape's B of that step.

    Entries of unit i are ``starts[row, i]`` to ``starts[row, i + 1] - 1``, sorted by delay, then source: source unit, its slot
    (``first[delay]`` more), delay and coef (states, entries); ``pre`` and ``lag`` are left out where they are empty. Rows lie
    ``pairs`` apart, so that the cache holds them while block after block reads them. For use: ``gain`` (states, N, ports) and
    ``end`` (N).
    """
    starts, pre, slot, lag, coef = into.starts, into.pre, into.slot, into.lag, into.coef
    weight, ports, delays, pair_ptr = synapses.weight, synapses.ports, synapses.delays, synapses.pair_ptr
    out_ptr, out_post = synapses.out_ptr, synapses.out_post
    S, G, size, local, start_B = tables.S, tables.G, tables.size, tables.local, tables.start_B
    N, pairs, most, named = len(S), len(out_post), ports.shape[1], len(pre) > 0
    for i in range(N):
        end[i] = row * pairs + pair_ptr[i]
        base = start_B[i] * B + b * S[i] * G[i] * size[i] + local[i]
        for s in range(S[i]):
            for r in range(most):
                gain[s, i, r] = line[base + (s * G[i] + ports[i, r]) * size[i]] if ports[i, r] >= 0 else 0
    for k in range(len(delays)):
        past = now - delays[k]
        for a in range(sent[past, b]):
            j = senders[past, b, a]
            for e in range(out_ptr[k * N + j], out_ptr[k * N + j + 1]):
                i = out_post[e]
                at = end[i]
                end[i] = at + 1
                slot[at] = first[k] + a
                if named:
                    pre[at], lag[at] = j, delays[k]
                for s in range(S[i]):
                    total = gain[s, i, 0] * weight[e, 0]
                    for r in range(1, most):
                        total += gain[s, i, r] * weight[e, r]
                    coef[s, at] = total
    to = row * pairs
    for i in range(N):
        begin = row * pairs + pair_ptr[i]
        starts[row, i] = to
        for at in range(begin, end[i]):
            slot[to] = slot[at]
            if named:
                pre[to], lag[to] = pre[at], lag[at]
            for s in range(S[i]):
                coef[s, to] = coef[s, at]
            to += 1
    starts[row, N] = to


@loop(nogil=True, fastmath=FAST)
def couple_all(tape_B, weight, ports, history, sent, senders, tables, t0, B, coef, row0, row1):
    """``couple`` for dense networks of units with one state: every unit hears every sender, so that no entries are listed.

    ``weight`` (N, ports, units padded to PANEL) holds zeros where a pair is missing; ``coef`` (steps * lanes, room) is laid out
    for ``combine_panel``; rows row0 .. row1 - 1 are filled.
    """
    room, places = coef.shape[1], port_places(ports, weight.shape[2], tables, B, 0, B)
    gain, into = np.zeros(weight.shape[1] * weight.shape[2], coef.dtype), flat(coef)
    for row in range(row0, row1):
        t, b = t0 + row // B, row % B
        n, units = sent[history + t - 1, b], senders[history + t - 1, b]
        couple_row(tape_B[t], places[b], weight, n, units, gain, into, row * room)


@inner()
def port_places(ports, wide, tables, B, b0, b1):
    """(lanes b0 .. b1 - 1, ports * wide) where a line of the tape's B holds a unit's derivative by a port it has; or -1."""
    G, size, local, start_B = tables.G, tables.size, tables.local, tables.start_B
    N, most = ports.shape
    places = np.empty((b1 - b0, most * wide), np.int32)
    places[:] = -1
    for b in range(b0, b1):
        for r in range(most):
            for i in range(N):
                if ports[i, r] >= 0:
                    places[b - b0, r * wide + i] = start_B[i] * B + (b * G[i] + ports[i, r]) * size[i] + local[i]
    return places


@inner(fastmath=FAST, forceinline=True)
def couple_row(line, places, weight, n, units, gain, into, at):
    """One lane and step of ``couple_all``, into[at ...]; ``line``: B of the step, ``gain`` (ports * padded units): for use."""
    _, most, wide = weight.shape
    weights = flat(weight)
    for e in range(len(places)):
        value = line[max(places[e], 0)]
        gain[e] = value if places[e] >= 0 else 0
    for k in range(wide // PANEL):
        panels_of_products(into, at + k * n * PANEL, gain, k * PANEL, weights, units, most * wide, k * PANEL, wide, most, n)
