"""Compiled loops of the adjoint of a tape (see ``adjoint``)."""

from __future__ import annotations

import numpy as np

from ....loops import loop
from ..simd.rows import FAST
from ..simd.scalar import add, copy


@loop(fastmath=FAST)
def inside(t, tables, linear, direct, ring, B, start_gamma, firsts, carry, phi, gamma):
    """Step t inside the units: carry <- A^T lambda, gamma <- B^T lambda, phi += P^T lambda + q ybar.

    ``tables``: ``UnitTables``; ``linear``: ``Linear`` of the tape; ``direct`` and ``ring`` (B, N): the parts of ybar. Changes
    ``carry``, ``phi`` and ``gamma`` (flat, of this step).
    """
    S, G, Q, size = tables.S, tables.G, tables.Q, tables.size
    start_A, start_B, start_P, start_o, start_q = (
        tables.start_A, tables.start_B, tables.start_P, tables.start_o, tables.start_q,
    )  # fmt: skip
    A, B_, P, o, q = linear.A[t], linear.B[t], linear.P[t], linear.o[t], linear.q[t]
    for i in firsts:
        n = size[i]
        lam = np.empty((S[i], n), carry.dtype)
        for b in range(B):
            at = start_o[i] * B + b * S[i] * n
            for s in range(S[i]):
                for x in range(n):
                    lam[s, x] = carry[at + s * n + x] + o[at + s * n + x] * (direct[b, i + x] + ring[b, i + x])
            at_q, at_P = start_q[i] * B + b * Q[i] * n, start_P[i] * B + b * S[i] * Q[i] * n
            for k in range(Q[i]):
                for x in range(n):
                    phi[start_q[i] + k * n + x] += q[at_q + k * n + x] * (direct[b, i + x] + ring[b, i + x])
                for s in range(S[i]):
                    for x in range(n):
                        phi[start_q[i] + k * n + x] += P[at_P + (s * Q[i] + k) * n + x] * lam[s, x]
            at_B, at_gamma = start_B[i] * B + b * S[i] * G[i] * n, start_gamma[i] * B + b * G[i] * n
            gamma[at_gamma : at_gamma + G[i] * n] = 0
            for s in range(S[i]):
                for g in range(G[i]):
                    for x in range(n):
                        gamma[at_gamma + g * n + x] += B_[at_B + (s * G[i] + g) * n + x] * lam[s, x]
            at_A = start_A[i] * B + b * S[i] * S[i] * n
            carry[at : at + S[i] * n] = 0
            for s in range(S[i]):
                for r in range(S[i]):
                    for x in range(n):
                        carry[at + r * n + x] += A[at_A + (s * S[i] + r) * n + x] * lam[s, x]


@loop(fastmath=FAST)
def all_inside(tables, linear, ybar, B, start_gamma, firsts, carry, phi, gamma):
    """``inside`` for all steps, the last one first, where nothing else is added to ``ybar`` (tau, B, N)."""
    nothing = np.zeros(ybar.shape[1:], ybar.dtype)
    for t in range(len(ybar) - 1, -1, -1):
        inside(t, tables, linear, ybar[t], nothing, B, start_gamma, firsts, carry, phi, gamma[t])


@loop(fastmath=FAST)
def back_dense(tables, linear, direct, ring, start, first, B, start_gamma, firsts, carry, phi, gamma, links, ports, theta):
    """All steps of ``Adjoint.back`` where links between units are dense: rows of ``links`` as ``dense_links`` lists them.

    Changes ``ring``, ``carry``, ``phi`` and ``gamma``.
    """
    for t in range(len(direct) - 1, first - 1, -1):
        now, k = (start + t) % len(ring), t - first
        inside(t, tables, linear, direct[t], ring[now], B, start_gamma, firsts, carry, phi, gamma[k])
        ring[now] = 0
        for e in range(len(links)):
            source, wide, delay, at, inputs, n, used, begin = links[e]
            errors = np.empty((B, used * n), gamma.dtype)
            for b in range(B):
                for r in range(used):
                    place = at * B + (b * inputs + ports[e, r]) * n
                    copy(errors[b, r * n : r * n + n], gamma[k, place : place + n])
            weight = theta[begin : begin + used * n * wide].reshape(used * n, wide)
            sent = np.dot(errors, weight)
            for b in range(B):
                add(ring[(start + t - delay) % len(ring), b, source : source + wide], 1, sent[b])


@loop(nogil=True, fastmath=FAST)
def send_sparse(gamma, weight, indptr, indices, delay, source, time, ring, b0, b1):
    """ring[time - delay, b, source + pre] += sum over ports of weight gamma, in lanes b0 .. b1 - 1."""
    _, ports, posts = gamma.shape
    for b in range(b0, b1):
        for i in range(posts):
            alive = False
            for g in range(ports):
                alive |= gamma[b, g, i] != 0
            if alive:
                for e in range(indptr[i], indptr[i + 1]):
                    total = gamma[b, 0, i] * weight[0, e]
                    for g in range(1, ports):
                        total += gamma[b, g, i] * weight[g, e]
                    ring[(time - delay[e]) % len(ring), b, source + indices[e]] += total


@loop(nogil=True, fastmath=FAST)
def weights_sparse(gamma, y, low, first, history, indptr, post, delay, place, into, j0, j1):
    """into[port, synapse] += sum over steps and lanes of gamma_post(t) y_pre(t - delay), sources j0 .. j1 - 1.

    Synapses by source (see ``Link.by_source``): silent ones cost nothing. ``y``: messages of all sources, the link's from
    ``first`` on; row ``low`` is the first step of ``gamma`` (steps, B, ports, posts), and ``history`` the longest delay.
    """
    steps, B, ports, _ = gamma.shape
    for j in range(j0, j1):
        for row in range(low - history, low + steps):
            for b in range(B):
                sent = y[row, b, first + j]
                if sent != 0:
                    for e in range(indptr[j], indptr[j + 1]):
                        t = row - low + delay[e]
                        if 0 <= t < steps:
                            for g in range(ports):
                                into[g, place[e]] += gamma[t, b, g, post[e]] * sent


@loop(fastmath=FAST)
def to_active(count, units, out_ptr, out_post, weight, ports, G, size, local, start_B, gamma, ybar):
    """ybar[t, b, j] += weights of j's synapses times gamma of their targets at t + 1, for gradient-active units j.

    Units of one state, synapses of one delay; ``weight`` (pairs in outgoing order, ports that synapses reach); ``ports`` (N,
    most) names these ports, -1 for none; ``gamma`` (tau, as B of the tape).
    """
    tau, B, _ = ybar.shape
    for t in range(tau - 1):
        for b in range(B):
            for a in range(count[t, b]):
                j = units[t, b, a]
                for e in range(out_ptr[j], out_ptr[j + 1]):
                    i = out_post[e]
                    base = start_B[i] * B + b * G[i] * size[i] + local[i]
                    for r in range(weight.shape[1]):
                        if ports[i, r] >= 0:
                            ybar[t, b, j] += weight[e, r] * gamma[t + 1, base + ports[i, r] * size[i]]
