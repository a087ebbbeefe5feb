"""Compiled loops of UORO: one step, lane by lane; theta~ of every group as a matrix (columns, sources)."""

from __future__ import annotations

import math

import numpy as np

from ....loops import inner, loop
from ..simd.scalar import ratio


@loop()
def arrive(delay, which, weight, pair_ptr, pair_pre, pair_syn, syn_port, e, arrived):
    """arrived (G, N, X) += what messages e (N, X) bring over the synapses of one delay, one by one (sparse masks)."""
    for i in range(len(pair_ptr) - 1):
        for p in range(pair_ptr[i], pair_ptr[i + 1]):
            if which[p] == delay:
                for c in range(pair_syn[p], pair_syn[p + 1]):
                    for k in range(e.shape[1]):
                        arrived[syn_port[c], i, k] += weight[c] * e[pair_pre[p], k]


@inner()
def own_and_arrived(t, b, B, tables, linear, old, arrived, new):
    """new (R, K) = own(t) old + B(t) arrived (G, N, K)."""
    S, G, size, local = tables.S, tables.G, tables.size, tables.local
    start_A, start_B, first_state, tape_A, tape_B = tables.start_A, tables.start_B, tables.first_state, linear.A, linear.B
    for i in range(len(S)):
        for s in range(S[i]):
            to = new[first_state[i] + s]
            to[:] = 0
            base = start_A[i] * B + b * S[i] * S[i] * size[i] + local[i]
            for r in range(S[i]):
                gain = tape_A[t, base + (s * S[i] + r) * size[i]]
                for k in range(len(to)):
                    to[k] += gain * old[first_state[i] + r, k]
            base = start_B[i] * B + b * S[i] * G[i] * size[i] + local[i]
            for g in range(G[i]):
                gain = tape_B[t, base + (s * G[i] + g) * size[i]]
                for k in range(len(to)):
                    to[k] += gain * arrived[g, i, k]


@inner()
def pulled(t, b, B, k, groups, tables, linear, nu, mu, columns):
    """columns = nu^T dF/dI of every column (or nu^T dF/dphi + mu dO/dphi) of all groups."""
    first_n, phi, unit, port = groups.first_n, groups.phi, groups.unit, groups.port
    S, G, Q, size, local, first_state = tables.S, tables.G, tables.Q, tables.size, tables.local, tables.first_state
    start_B, start_P, start_q = tables.start_B, tables.start_P, tables.start_q
    tape_B, tape_P, tape_q = linear.B, linear.P, linear.q
    for group in range(len(phi)):
        for c in range(first_n[group], first_n[group + 1]):
            i = unit[c]
            total = nu[0, k] * 0
            count, start = (Q[i], start_P[i]) if phi[group] else (G[i], start_B[i])
            base = start * B + (b * S[i] * count + port[c]) * size[i] + local[i]
            for s in range(S[i]):
                gain = tape_P[t, base + s * count * size[i]] if phi[group] else tape_B[t, base + s * count * size[i]]
                total += gain * nu[first_state[i] + s, k]
            if phi[group]:
                total += tape_q[t, start_q[i] * B + (b * Q[i] + port[c]) * size[i] + local[i]] * mu[i, k]
            columns[c] = total


@inner()
def outer_norm(groups, x, columns):
    """|x (x) columns| over the entries that exist."""
    first_m, first_n, first_P, full, mask = groups.first_m, groups.first_n, groups.first_P, groups.full, groups.mask
    total = 0.0
    for group in range(len(full)):
        m, n = slice(first_m[group], first_m[group + 1]), slice(first_n[group], first_n[group + 1])
        if full[group]:
            total += float(np.dot(x[m], x[m])) * float(np.dot(columns[n], columns[n]))
            continue
        place = first_P[group]
        for c in range(first_n[group], first_n[group + 1]):
            for i in range(first_m[group], first_m[group + 1]):
                total += mask[place] * (x[i] * columns[c]) ** 2
                place += 1
    return math.sqrt(total)


@inner(fastmath={"reassoc", "contract"})
def mix_row(side, keep, new, x, mask, signal, gradient):
    """side = keep * side + new * x (* mask); gradient += signal * side, unless empty (then mask is, too). Returns |side|^2."""
    total = side[0] * 0
    if len(mask):
        for c in range(len(side)):
            value = keep * side[c] + new * x[c] * mask[c]
            side[c] = value
            gradient[c] += signal * value
            total += value * value
    elif len(gradient) == 0:
        for c in range(len(side)):
            value = keep * side[c] + new * x[c]
            side[c] = value
            total += value * value
    else:
        for c in range(len(side)):
            value = keep * side[c] + new * x[c]
            side[c] = value
            gradient[c] += signal * value
            total += value * value
    return total


@loop(nogil=True)
def step(worker, workers, t, clock, tables, linear, groups, signals, arrived, factors, given, gradient):
    """One step of lanes worker, worker + workers, ...

    The records are described in ``kronecker.records``; arrived (G, N, B, K) is what comes to every port. All arrays of
    ``factors`` change in place; ``given`` (B, K) becomes what the losses say to theta~; ``gradient`` (P) += dL/dtheta summed
    over lanes and samples, unless it is empty.
    """
    s, e, z, side, norm = factors.s, factors.e, factors.z, factors.side, factors.norm
    x, nu, mu, direct, dz = signals.x, signals.nu, signals.mu, signals.direct, signals.dz
    weights, decay, tape_o = signals.weights, signals.decay, linear.o
    S, size, local, start_o, first_state = tables.S, tables.size, tables.local, tables.start_o, tables.first_state
    first_m, first_n, first_P, full = groups.first_m, groups.first_n, groups.first_P, groups.full
    mask, unit, B, D = groups.mask, groups.unit, len(s), len(e)
    N, R, K = len(S), s.shape[1], s.shape[2]
    new, columns, scale = np.empty((R, K), s.dtype), np.empty(len(unit), s.dtype), np.empty(5, s.dtype)
    for b in range(worker, B, workers):
        own_and_arrived(t, b, B, tables, linear, s[b], arrived[:, :, b], new)
        for k in range(K):
            pulled(t, b, B, k, groups, tables, linear, nu[b], mu[b], columns)
            size_s = size_nu = 0.0
            for r in range(R):
                size_s += new[r, k] * new[r, k]
                size_nu += nu[b, r, k] * nu[b, r, k]
            rho0 = ratio(norm[b, k], math.sqrt(size_s))
            rho1 = ratio(outer_norm(groups, x[b], columns), math.sqrt(size_nu))
            scale[0], scale[1], scale[2], scale[3] = rho0, rho1, 1 / rho0, 1 / rho1
            for r in range(R):
                s[b, r, k] = scale[0] * new[r, k] + scale[1] * nu[b, r, k]
            for d in range(1, D):
                for j in range(N):
                    e[(clock - d) % D, j, b, k] *= scale[0]
            signal = scale[0] * 0
            for o in range(z.shape[1]):
                z[b, o, k] *= decay[o] * scale[0]
            for j in range(N):
                base = start_o[j] * B + b * S[j] * size[j] + local[j]
                value = scale[1] * mu[b, j, k]
                for r in range(S[j]):
                    value += tape_o[t, base + r * size[j]] * s[b, first_state[j] + r, k]
                e[clock % D, j, b, k] = value
                signal += direct[b, j] * value
                for o in range(z.shape[1]):
                    z[b, o, k] += weights[o, j] * value
            for o in range(z.shape[1]):
                signal += dz[b, o] * z[b, o, k]
            given[b, k] = signal
            total = 0.0
            for group in range(len(full)):
                m, place = first_m[group + 1] - first_m[group], first_P[group]
                message = x[b, first_m[group] : first_m[group + 1]]
                for c in range(first_n[group], first_n[group + 1]):
                    scale[4] = scale[3] * columns[c]
                    there = mask[:0] if full[group] else mask[place : place + m]
                    total += mix_row(side[b, k, place : place + m], scale[2], scale[4], message, there, signal,
                                     gradient[place : place + m])  # fmt: skip
                    place += m
            norm[b, k] = math.sqrt(total)
