"""Compiled loop that writes down when rows of the influence are brought up to date, and from what (see ``event_plan``)."""

from __future__ import annotations

import numpy as np

from ....loops import loop
from ..simd.rows import FAST
from ..simd.views import flat


@loop(nogil=True, fastmath=FAST)
def collect(t0, B, pair_ptr, tape_A, tables, jacobian, past_active, active, powers, plan, lot0, lot1):
    """Gather what arrives at each unit between its own events, in every stretch cuts[c] .. cuts[c+1]-1 and lane.

    A lot is one stretch in one lane, ``c * lanes + lane``: lots lot0 .. lot1 - 1 are written.

    Inputs are the step Jacobian of steps t0.. (``StepJacobian`` of one state) and the gradient-active units. All arrays of
    ``plan`` but the cuts are written; ``sent_power`` (decays, sent rows) holds ``powers[k, t - t0]`` of every row sent.
    """
    start_A, size, local = tables.start_A, tables.size, tables.local
    starts, slot, coef = jacobian.starts, jacobian.slot, jacobian.coef
    n_active, active_units, cuts, first = active.count, active.units, plan.cuts, plan.first
    begin, count, scale = flat(plan.begin), flat(plan.count), flat(plan.scale)
    arriving, weight, sent_ptr, sent_slot, sent_power = (
        plan.arriving, plan.weight, plan.sent_ptr, plan.sent_slot, plan.sent_power,
    )  # fmt: skip
    N, pairs, steps = len(pair_ptr) - 1, pair_ptr[-1], cuts[-1] - t0
    for lot in range(lot0, lot1):
        c, b = lot // B, lot % B
        begins, ends = cuts[c], cuts[c + 1]
        rank, stamp = np.empty((ends - begins, N), np.int32), np.empty(ends - begins + 1, np.int64)
        rank[:] = -1
        slots = past_active[b] if c == 0 else np.int64(n_active[begins - 1, b])
        for t in range(begins, ends):
            first[(t - t0) * B + b] = slots
            for a in range(n_active[t, b]):
                rank[t - begins, active_units[t, b, a]] = a
            slots += n_active[t, b]
        at = pairs * (B * (begins - t0) + b * (ends - begins))
        out = N * (B * (begins - t0) + b * (ends - begins))
        for i in range(N):
            sent_ptr[lot, i] = out
            opened, since = at, begins
            for t in range(begins, ends):
                row = (t - t0) * B + b
                stamp[t - begins] = at
                sent = 0 if t == begins else first[row - B]
                for e in range(starts[row, i], starts[row, i + 1]):
                    arriving[at], weight[at] = sent + slot[e], coef[0, e]
                    at += 1
                stamp[t + 1 - begins] = at
                a = rank[t - begins, i]
                if a < 0 and t < ends - 1:
                    continue
                factor = weight.dtype.type(1)
                for s in range(t, since - 1, -1):
                    for e in range(stamp[s - begins], stamp[s + 1 - begins]):
                        weight[e] *= factor
                    factor *= tape_A[s, start_A[i] * B + b * size[i] + local[i]]
                event = row * N + a if a >= 0 else (steps * B + lot) * N + i
                begin[event], count[event], scale[event] = opened, at - opened, factor
                opened, since = at, t + 1
                if a >= 0:
                    sent_slot[out] = first[row] + a
                    for k in range(len(powers)):
                        sent_power[k, out] = powers[k, t - t0]
                    out += 1
            if rank[ends - 1 - begins, i] >= 0:  # up to date already
                count[(steps * B + lot) * N + i] = -1
        sent_ptr[lot, N] = out
