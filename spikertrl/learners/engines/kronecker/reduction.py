"""The least-variance unbiased reduction of K + 1 Kronecker terms to K (Benzing et al. 2019, arXiv 1902.03993, algorithm 1).

With v_i and M_i the K + 1 vectors and matrices, coordinates in orthonormal bases give a small matrix C with
sum_i v_i (x) M_i = Q_v C Q_M^T. Its large singular values are kept; the small ones, d_0 .. d_k with k d_i <= sum d for all of
them, are replaced by k terms with random signs whose mean is the same. Orthonormal bases are never formed: their coordinates
come from the Gram matrices, and everything is expressed in the old vectors and matrices.
"""

from __future__ import annotations

import math

import numpy as np

from ....loops import inner, loop

TINY = 64  # roundings (of the dtype) below which a direction or a singular value counts as zero


@inner()
def coordinates(gram, eps):
    """Upper triangular R with R^T R = gram (unit diagonal, or a zero row); directions lost in rounding become zero."""
    n = len(gram)
    R = np.zeros((n, n))
    for i in range(n):
        pivot = gram[i, i]
        for k in range(i):
            pivot -= R[k, i] * R[k, i]
        if pivot <= eps:
            continue
        R[i, i] = math.sqrt(pivot)
        for j in range(i + 1, n):
            value = gram[i, j]
            for k in range(i):
                value -= R[k, i] * R[k, j]
            R[i, j] = value / R[i, i]
    return R


@loop()
def mixing(d, signs):
    """F (K, K + 1) with mean F^T F = diag(d) over the signs; ``d`` descending, K + 1 values."""
    r = len(d) - 1
    F, z = np.zeros((r, r + 1)), np.zeros(r + 1)
    total, least, k = d[r], 0.0, 0
    for number in range(1, r + 1):  # the last number + 1 values
        total += d[r - number]
        if number * d[r - number] <= total:
            k, least = number, total
    for i in range(r - k):
        F[i, i] = math.sqrt(d[i])
    if least <= 0:
        return F
    norm = 0.0
    for i in range(k + 1):
        z[i] = math.sqrt(max(0.0, 1.0 - k * d[r - k + i] / least))
        if i == 0:
            z[i] += 1.0  # Householder vector that takes the first axis to -z
        norm += z[i] * z[i]
    for i in range(k + 1):
        for j in range(1, k + 1):
            value = (1.0 if i == j else 0.0) - 2.0 * z[i] * z[j] / norm
            F[r - k + j - 1, r - k + i] = math.sqrt(least / k) * signs[r - k + i] * value
    return F


@inner()
def gram_matrices(u, x, T, gains, places):
    """Inner products of the K + 1 vectors and of the K + 1 matrices, and their norms; scaled to norm 1."""
    r = len(u)
    V, M, n, m = np.zeros((r + 1, r + 1)), np.zeros((r + 1, r + 1)), np.zeros(r + 1), np.zeros(r + 1)
    uu, TT = np.dot(u, u.T), np.dot(T, T.T)
    for i in range(r):
        for j in range(r):
            V[i, j], M[i, j] = uu[i, j], TT[i, j]
        for e in range(len(x)):
            V[i, r] += u[i, e] * x[e]
        for e in range(len(gains)):
            M[i, r] += T[i, places[e]] * gains[e]
        V[r, i], M[r, i] = V[i, r], M[i, r]
    for e in range(len(x)):
        V[r, r] += x[e] * x[e]
    for e in range(len(gains)):
        M[r, r] += gains[e] * gains[e]
    for i in range(r + 1):
        n[i], m[i] = math.sqrt(V[i, i]), math.sqrt(M[i, i])
    for i in range(r + 1):
        for j in range(r + 1):
            V[i, j] = V[i, j] / (n[i] * n[j]) if n[i] * n[j] > 0 else 0.0
            M[i, j] = M[i, j] / (m[i] * m[j]) if m[i] * m[j] > 0 else 0.0
    return V, M, n, m


@inner()
def reduce_terms(u, x, T, gains, places, signs, factors, last, eps):
    """K terms u_k (x) T_k and x (x) D become K: u is replaced; new A_k = sum_i factors[k, i] T_i + last[k] D.

    ``D``: entries ``gains`` at flat ``places``. ``signs`` (K + 1). ``eps``: share below which a direction counts as zero.
    """
    r = len(u)
    V, M, n, m = gram_matrices(u, x, T, gains, places)
    Rv, Rm = coordinates(V, eps), coordinates(M, eps)
    C, finite = np.zeros((r + 1, r + 1)), True
    for i in range(r + 1):
        for j in range(r + 1):
            for k in range(max(i, j), r + 1):
                C[i, j] += Rv[i, k] * n[k] * m[k] * Rm[j, k]
            finite &= math.isfinite(C[i, j])
    if not finite:
        u[:] = math.nan
        factors[:] = math.nan
        return
    X, d, Yt = np.linalg.svd(C)
    for k in range(r + 1):
        if d[k] <= eps * d[0]:
            d[k] = 0.0
    F, alpha, beta = mixing(d, signs), np.zeros((r, r + 1)), np.zeros((r, r + 1))
    for v in range(r + 1):
        if d[v] == 0:
            continue
        for i in range(r + 1):
            left = right = 0.0
            for k in range(i + 1):
                left += X[k, v] * Rv[k, i]
                right += Yt[v, k] * Rm[k, i]
            for k in range(r):
                alpha[k, i] += F[k, v] * right * m[i] / d[v]
                beta[k, i] += F[k, v] * left * n[i] / d[v]
    before = u.copy()
    for k in range(r):
        for e in range(len(x)):
            u[k, e] = alpha[k, r] * x[e]
        for i in range(r):
            factors[k, i] = beta[k, i]
            for e in range(len(x)):
                u[k, e] += alpha[k, i] * before[i, e]
        last[k] = beta[k, r]
