"""Compiled loops that write down when rows of the influence are brought up to date, and from what (see ``event_plan``)."""

from __future__ import annotations

import numpy as np

from ....loops import inner, loop
from ..simd.rows import FAST
from ..simd.views import flat


@loop(nogil=True)
def rank_senders(sent, senders, rank):
    """rank (steps, B, N) <- the place of every gradient-active unit among those of its step and lane."""
    for t in range(len(sent)):
        for b in range(sent.shape[1]):
            for a in range(sent[t, b]):
                rank[t, b, senders[t, b, a]] = a


@loop(nogil=True, fastmath=FAST)
def collect(t0, B, pair_ptr, tape_A, tables, jacobian, rank, powers, plan, lot0, lot1):
    """Gather what arrives at each unit between its own events, in every stretch cuts[c] .. cuts[c+1]-1 and lane.

    A lot is one stretch in one lane, ``c * lanes + lane``: lots lot0 .. lot1 - 1 are written.

    Inputs are the step Jacobian of steps t0.. (``StepJacobian``) and ``rank`` (steps, lanes, N) of the gradient-active units
    in them. All arrays of ``plan`` after its rank are written; ``sent_power`` (decays, sent rows) holds ``powers[k, t - t0]``
    of every row sent.
    """
    start_A, size, local, S = tables.start_A, tables.size, tables.local, tables.S
    starts, pre, slot, lag, coef = jacobian.starts, jacobian.pre, jacobian.slot, jacobian.lag, jacobian.coef
    cuts, number, earlier, source = plan.cuts, plan.number, plan.rank, plan.source
    begin, count, scale, weight = flat(plan.begin), flat(plan.count), flat(plan.scale), flat(plan.weight)
    arriving, sent_ptr, sent_slot, sent_power = plan.arriving, plan.sent_ptr, plan.sent_slot, plan.sent_power
    N, pairs, steps, most, room = len(pair_ptr) - 1, pair_ptr[-1], cuts[-1] - t0, plan.weight.shape[1], plan.store
    delays, named = len(number) - steps, len(pre) > 0
    factor, before = np.empty(most * most, weight.dtype), np.empty(most * most, weight.dtype)
    for lot in range(lot0, lot1):
        c, b = lot // B, lot % B
        begins, ends = cuts[c], cuts[c + 1]
        stamp = np.empty(ends - begins + 1, np.int64)
        at = pairs * (B * (begins - t0) + b * (ends - begins))
        out = N * (B * (begins - t0) + b * (ends - begins))
        for i in range(N):
            sent_ptr[lot, i] = out
            opened, since = at, begins
            for t in range(begins, ends):
                row, now = (t - t0) * B + b, delays + t - t0
                stamp[t - begins] = at
                for e in range(starts[row, i], starts[row, i + 1]):
                    if named:
                        place = number[now - lag[e], b] + earlier[now - lag[e], b, pre[e]]
                    else:
                        place = number[now - 1, b] + slot[e]
                    arriving[at] = source[e] = place % room
                    for s in range(S[i]):
                        weight[at * most + s] = coef[s, e]
                    at += 1
                stamp[t + 1 - begins] = at
                a = rank[t - t0, b, i]
                if a < 0 and t < ends - 1:
                    continue
                event = row * N + a if a >= 0 else (steps * B + lot) * N + i
                first = start_A[i] * B + b * S[i] * S[i] * size[i] + local[i]
                opened = _leak(t, since, begins, opened, S[i], most, stamp, tape_A, first, size[i], weight, factor, before)
                begin[event], count[event] = opened, at - opened
                for e in range(S[i] * S[i]):
                    scale[event * most * most + e] = factor[e]
                opened, since = at, t + 1
                if a >= 0:
                    sent_slot[out] = (number[now, b] + a) % room
                    for k in range(len(powers)):
                        sent_power[k, out] = powers[k, t - t0]
                    out += 1
            if rank[ends - 1 - t0, b, i] >= 0:  # up to date already
                count[(steps * B + lot) * N + i] = -1
        sent_ptr[lot, N] = out


@inner(fastmath=FAST)
def _leak(t, since, begins, opened, S, most, stamp, tape_A, first, apart, weight, factor, before):
    """Weigh what arrived in steps since .. t by what came after it; ``factor`` <- the product of their state Jacobians.

    Returns the first arrival that still counts: what a unit forgets at once has none before.
    """
    zero, one = weight.dtype.type(0), weight.dtype.type(1)
    for e in range(S * S):
        factor[e] = one if e % (S + 1) == 0 else zero
    for step in range(t, since - 1, -1):
        if S == 1:
            for e in range(stamp[step - begins], stamp[step + 1 - begins]):
                weight[e * most] *= factor[0]
            factor[0] *= tape_A[step, first]
            remains = factor[0] != 0
        else:
            for e in range(stamp[step - begins], stamp[step + 1 - begins]):
                for s in range(S):
                    before[s] = weight[e * most + s]
                for s in range(S):
                    total = zero
                    for r in range(S):
                        total += factor[s * S + r] * before[r]
                    weight[e * most + s] = total
            before[: S * S] = factor[: S * S]
            remains = False
            for s in range(S):
                for r in range(S):
                    total = zero
                    for k in range(S):
                        total += before[s * S + k] * tape_A[step, first + (k * S + r) * apart]
                    factor[s * S + r] = total
                    remains |= total != 0
        if not remains:
            return max(opened, stamp[step - begins])
    return opened
