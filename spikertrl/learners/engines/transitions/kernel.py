"""Compiled loops that carry the state transitions of a sequence forward (see ``update``)."""

from __future__ import annotations

import numpy as np

from ....loops import inner, loop
from ..blocks.step_jacobian_kernel import couple_row, port_places
from ..simd.gemm import combine_panel
from ..simd.rows import FAST, scale_row, sum_slots
from ..simd.scalar import add
from ..simd.views import flat


@inner(fastmath=FAST, forceinline=True)
def _identity(P, W, column, K, k0, N):
    """Phi(s, s), of units k0 .. k0 + K - 1."""
    for i in range(N):
        scale_row(P, i * W + column, 0.0, P, 0, K)
    for k in range(min(K, N - k0)):
        P[(k0 + k) * W + column + k] = 1


@inner(fastmath=FAST)
def _begin(P, W, column, K, k0, row, n, units, gains, leaks, starts, slot, coef, into):
    """Phi(t, t-1) of units k0 .. k0 + K - 1, from lists: leaks, and the step Jacobian times the gains of the step before."""
    inside = 0
    for a in range(n):
        into[a] = -1
        if k0 <= units[a] < k0 + K:
            into[a] = units[a] - k0
            inside += 1
    for i in range(len(leaks)):
        mine = P[i * W + column : i * W + column + K]
        mine[:] = 0
        if k0 <= i < k0 + K:
            mine[i - k0] = leaks[i]
        for e in range(starts[row, i], starts[row, i + 1] if inside else 0):
            if into[slot[e]] >= 0:
                mine[into[slot[e]]] += coef[e] * gains[slot[e]]


@inner(fastmath=FAST, forceinline=True)
def _carry_on(P, E, W, width, row, n, units, gains, leaks, wanted, starts, slot, coef, weight):
    """P <- J(t) P, of ``width`` columns; rows that nobody will read are left out. Returns multiply-adds done."""
    N, rows = len(leaks), n
    for a in range(n):
        scale_row(E, a * W, gains[a], P, units[a] * W, width)
    if weight is not None:
        combine_panel(P, 0, W, N, leaks, E, 0, W, coef, 0, n, width)
        return (n * N + n + N) * width
    for i in range(N):
        if wanted[i]:
            begin, end = starts[row, i], starts[row, i + 1]
            sum_slots(P, i * W, leaks[i], E, 0, W, slot, begin, coef, begin, end - begin, width)
            rows += end - begin + (leaks[i] != 0)
    return rows * width


@inner(fastmath=FAST)
def _set_aside(P, W, begin, end, N, width, K, aside, at, wide, row):
    """``width`` columns of places begin .. end - 1 of row i of P go to aside[at + i * row], ``wide`` elements apart."""
    for i in range(N):
        for place in range(begin, end):
            scale_row(aside, at + i * row + (place - begin) * wide, 1.0, P, i * W + place * K, width)


@inner(fastmath=FAST)
def _say(sums, begin, end, K, k0, first, lam):
    """lam[first], lam[first + 1], ... += sums of places begin .. end - 1, which are cleared."""
    for place in range(begin, end):
        for k in range(min(K, lam.shape[1] - k0)):
            lam[first + place - begin, k0 + k] += sums[place * K + k]
    sums[begin * K : end * K] = 0


@loop()
def last_error(error):
    """(B) the last step with a loss in each lane, or -1."""
    tau, B, N = error.shape
    found = np.empty(B, np.int64)
    found[:] = -1
    for b in range(B):
        for t in range(tau):
            for i in range(N):
                if error[t, b, i] != 0:
                    found[b] = t
    return found


@loop(nogil=True, fastmath=FAST)
def carry(worker, workers, b0, b1, m, k0s, K, W, tables, forward, active, jacobian, weight, tape_B, ports, lam, inner, counts):
    """lam[s, b, k] += error(t)^T Phi(t, s) over t > s, where ``error`` (tau, B, N) is dL(t)/ds(t), in lanes b0 .. b1 - 1.

    ``forward``: see ``records.Forward``. The step Jacobian comes as lists (``jacobian``: ``StepJacobian``), or, where
    ``weight`` is given, is made here step by step (see ``couple_all``). Changes ``lam``, ``inner`` and ``counts``.

    Sections of ``m`` source steps: until its section is over Phi(t, s) is carried; then only that of the section's last step,
    e, is carried on, and Phi(e, s) is set aside in ``inner`` (lanes, sections, N, m - 1, room for N) for ``through_sections``.
    A task has one lane and units k0 .. k0 + K - 1 of all source steps: columns lie side by side, W to a row, sections that are
    over first.
    """
    leak, gain, error, end, memoryless = forward.leak, forward.gain, forward.error, forward.end, tables.memoryless
    n_active, active_units = active.count, active.units
    starts, slot, coef = jacobian.starts, jacobian.slot, jacobian.coef
    tau, B, N = lam.shape
    sections, wide, aside = inner.shape[1], inner.shape[4], flat(inner)
    entries, last = flat(coef), tau - 2
    if weight is not None:  # numba compiles only what is taken
        places = port_places(ports, weight.shape[2], tables, B, b0, b1)
        entries, arriving = np.empty(N * weight.shape[2], lam.dtype), np.zeros(weight.shape[1] * weight.shape[2], lam.dtype)
    P, E, sums = np.empty(N * W, lam.dtype), np.empty(N * W, lam.dtype), np.empty(W, lam.dtype)
    gains, wanted, into = np.empty(N, lam.dtype), np.empty(N, np.bool_), np.empty(N, np.int64)
    for task in range(worker, (b1 - b0) * len(k0s), workers):
        b, k0 = b0 + task // len(k0s), k0s[task % len(k0s)]
        section, alive = np.int64(0), np.int64(0)  # one type from the start: what is called is compiled for each
        sums[:] = 0
        for t in range(1, end[b] + 1):
            row, n, units, leaks = t * B + b, n_active[t - 1, b], active_units[t - 1, b], leak[t, b]
            for a in range(n):
                gains[a] = gain[t - 1, b, units[a]]
            if weight is None:
                for i in range(N):
                    wanted[i] = not memoryless[i]
                for a in range(n_active[t, b]):
                    wanted[active_units[t, b, a]] = True
            else:
                couple_row(tape_B[t], places[b - b0], weight, n, units, arriving, entries, 0)
                _identity(P, W, alive * K, K, k0, N)
                alive += 1
            if alive:
                counts[worker, 0] += _carry_on(
                    P, E, W, alive * K, row, n, units, gains, leaks, wanted, starts, slot, entries, weight
                )
            if weight is None:
                _begin(P, W, alive * K, K, k0, row, n, units, gains, leaks, starts, slot, entries, into)
                alive += 1
            e = min(section * m + m - 1, last)
            if t == e and alive > section:
                at = ((b - b0) * sections + section) * N * (m - 1) * wide + k0
                _set_aside(P, W, section, alive, N, min(K, wide - k0), K, aside, at, wide, (m - 1) * wide)
                _say(sums, section, alive, K, k0, section * m, lam[:, b])
                alive = section
            for i in range(N):
                if error[t, b, i] != 0:
                    add(sums[: alive * K], error[t, b, i], P[i * W : i * W + alive * K])
                    counts[worker, 3] += alive * K
            section += t - 1 == e  # e itself has begun: its column stays
        for x in range(section):
            _say(sums, x, x + 1, K, k0, min(x * m + m - 1, last), lam[:, b])
        _say(sums, section, alive, K, k0, section * m, lam[:, b])


@loop(nogil=True, fastmath=FAST)
def through_sections(worker, workers, b0, b1, m, end, lam, inner, counts):
    """lam[s] += lam[e]^T Phi(e, s) for the steps s before the last one, e, of every section."""
    last, sections, N, wide = len(lam) - 2, inner.shape[1], lam.shape[2], inner.shape[4]
    sums, aside, row = np.empty((m - 1) * wide, lam.dtype), flat(inner), (m - 1) * wide
    for task in range(worker, (b1 - b0) * sections, workers):
        b, x = b0 + task // sections, task % sections
        e = min(x * m + m - 1, last)
        width, first = (e - x * m) * wide, task * N * row
        if end[b] < e or not width:
            continue
        sums[:width] = 0
        for i in range(N):
            value = lam[e, b, i]
            if value != 0:
                add(sums[:width], value, aside[first + i * row : first + i * row + width])
                counts[worker, 0] += width
        for s in range(e - x * m):
            add(lam[x * m + s, b], 1, sums[s * wide : s * wide + N])
