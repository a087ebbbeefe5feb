"""Compiled loops that carry the state transitions of a sequence forward (see ``transition``)."""

from __future__ import annotations

import numpy as np
from numba import njit

from .base import add
from .vector import FAST, PANEL, combine_panel, sum_slots


@njit(fastmath=FAST, cache=True)
def _begin(P, W, column, K, k0, row, n, units, gains, leaks, starts, slot, coef, first, all_to_all, into):
    """The transition of one step, of sources k0 .. k0 + K - 1: leaks, and couplings times the gains of the step before."""
    N, inside = len(leaks), 0
    for a in range(n):
        into[a] = -1
        if k0 <= units[a] < k0 + K:
            into[a] = units[a] - k0
            inside += 1
    for i in range(N):
        mine = P[i * W + column : i * W + column + K]
        mine[:] = 0
        if k0 <= i < k0 + K:
            mine[i - k0] = leaks[i]
        if inside and all_to_all:
            heard = coef[first + i // PANEL * n * PANEL + i % PANEL :]
            for a in range(n):
                if into[a] >= 0:
                    mine[into[a]] += gains[a] * heard[a * PANEL]
        elif inside:
            for e in range(starts[row, i], starts[row, i + 1]):
                if into[slot[e]] >= 0:
                    mine[into[slot[e]]] += coef[e] * gains[slot[e]]


@njit(fastmath=FAST, cache=True)
def _carry_on(P, E, W, width, row, n, units, gains, leaks, wanted, starts, slot, coef, first, all_to_all):
    """P <- J(t) P, of ``width`` columns; rows that nobody will read are left out. Returns multiply-adds done."""
    N, rows = len(leaks), n
    for a in range(n):
        sent, kept = E[a * W : a * W + width], P[units[a] * W : units[a] * W + width]
        for c in range(width):
            sent[c] = gains[a] * kept[c]
    if all_to_all:
        combine_panel(P, 0, W, N, leaks, E, 0, W, coef, first, n, width)
        return (n * N + n + N) * width
    for i in range(N):
        if wanted[i]:
            begin, end = starts[row, i], starts[row, i + 1]
            sum_slots(P, i * W, leaks[i], E, 0, W, slot, begin, coef, begin, end - begin, width)
            rows += end - begin + (leaks[i] != 0)
    return rows * width


@njit(nogil=True, fastmath=FAST, cache=True)
def carry(worker, workers, t0s, k0s, K, W, B, size, local, start_A, start_o, memoryless, tape_A, tape_o, n_active, active_units,
          starts, slot, coef, all_to_all, told, end, lam, counts):  # fmt: skip
    """lam[s, b, k] += told(t)^T Phi(t, s) over all t > s, where ``told`` (tau, B, N) is dL(t)/ds(t).

    Phi(t, s) = ds(t)/ds(s) is carried from s + 1 to ``end[b]``, the last step with a loss. A task has one lane, sources of
    time t0s[x] .. t0s[x+1] - 1 and units k0s .. k0s + K - 1: their columns lie side by side, W to a row, oldest first.
    """
    N, flat, room = len(size), coef.reshape(-1), coef.size // max(1, len(tape_A) * B)
    P, E, sums = np.empty(N * W, lam.dtype), np.empty(N * W, lam.dtype), np.empty(W, lam.dtype)
    leaks, gains, wanted, into = np.empty(N, lam.dtype), np.empty(N, lam.dtype), np.empty(N, np.bool_), np.empty(N, np.int64)
    slices = len(t0s) - 1
    for task in range(worker, B * slices * len(k0s), workers):
        b, x, k0 = task // (slices * len(k0s)), task // len(k0s) % slices, k0s[task % len(k0s)]
        alive, sums[:] = 0, 0
        for t in range(t0s[x] + 1, end[b] + 1):
            row, n, units = t * B + b, n_active[t - 1, b], active_units[t - 1, b]
            for a in range(n):
                j = units[a]
                gains[a] = tape_o[t - 1, start_o[j] * B + b * size[j] + local[j]]
            for i in range(N):
                leaks[i] = tape_A[t, start_A[i] * B + b * size[i] + local[i]]
                wanted[i] = not memoryless[i]
            for a in range(n_active[t, b]):
                wanted[active_units[t, b, a]] = True
            if alive:
                counts[worker, 0] += _carry_on(
                    P, E, W, alive * K, row, n, units, gains, leaks, wanted, starts, slot, flat, row * room, all_to_all
                )
            if t <= t0s[x + 1]:
                _begin(P, W, alive * K, K, k0, row, n, units, gains, leaks, starts, slot, flat, row * room, all_to_all, into)
                alive += 1
            for i in range(N):
                if told[t, b, i] != 0:
                    add(sums[: alive * K], told[t, b, i], P[i * W : i * W + alive * K])
                    counts[worker, 3] += alive * K
        for s in range(alive):
            for k in range(min(K, N - k0)):
                lam[t0s[x] + s, b, k0 + k] += sums[s * K + k]


@njit(fastmath=FAST, cache=True)
def through_messages(
    lam, direct, B, Q, size, local, start_q, tape_q, n_active, active_units, starts, slot, coef, all_to_all, phi
):
    """phi += q ybar at every step: what units' own parameters do to their messages, where lambda is known (see ``adjoint``)."""
    tau, N, flat, room = len(lam), len(size), coef.reshape(-1), coef.size // max(1, len(lam) * B)
    ybar = np.empty(N, lam.dtype)
    for t in range(tau):
        for b in range(B):
            n, units, row = n_active[t, b], active_units[t, b], (t + 1) * B + b
            for a in range(n):
                ybar[a] = direct[t, b, units[a]]
            for i in range(N if t + 1 < tau else 0):
                value = lam[t + 1, b, i]
                if all_to_all:
                    heard = flat[row * room + i // PANEL * n * PANEL + i % PANEL :]
                    for a in range(n):
                        ybar[a] += value * heard[a * PANEL]
                else:
                    for e in range(starts[row, i], starts[row, i + 1]):
                        ybar[slot[e]] += value * flat[e]
            for a in range(n):
                j = units[a]
                for k in range(Q[j]):
                    at = start_q[j] * B + (b * Q[j] + k) * size[j] + local[j]
                    phi[start_q[j] + k * size[j] + local[j]] += tape_q[t, at] * ybar[a]
