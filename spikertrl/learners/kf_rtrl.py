"""KF-RTRL: an unbiased Kronecker-factored estimate of the influence.

For every group of ports that hear the same sources, G(t) ~ u(t) (x) A(t) with u over the sources and A (states x columns), a
column being one (unit, port) of the group::

    u' = c1 p1 u + c2 p2 x,     A' = (c1 / p1) (own A + sum_d J_d E_d) + (c2 / p2) D,     c1, c2 random signs,
    p1 = sqrt(|own A + ...| / |u|),  p2 = sqrt(|D| / |x|)

where x are the sources' messages and D = dF/dI. Source: Mujika, Meier and Steger 2018, arXiv 1805.10842 (equations 5 to 8). A
plain RNN or an RHN is one group, as in the paper; a reset-after GRU is three. Beyond the paper: rows in flight (delays) and
rows of leaky readouts are rescaled by the same signs and norms at every step; masks keep the entries that exist; trainable
unit parameters, whose source is the constant 1, need no estimate and are carried exactly.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..tape import Tape
from ..wiring import PHI, Wiring
from . import local
from .base import Sampled, Signal, add_readout_gradient, learning_signal, readout_weights
from .uoro import ratio, signs

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True, eq=False)
class Group:
    """Ports that hear the same sources. Indices into the wiring's columns and this group's factors."""

    source: np.ndarray  # (m) source, or -1 for the bias
    delay: np.ndarray  # (m)
    unit: np.ndarray  # (n) unit of each column of A
    port: np.ndarray  # (n) its port (or parameter)
    columns: np.ndarray  # wiring columns of the group
    row: np.ndarray  # their place in u
    column: np.ndarray  # their place in A
    exact: bool  # one constant source: u = 1, no noise


@dataclass
class Factors:
    """One group, K samples: u (B, K, m), A (B, K, R, n), messages in flight E (D, B, K, N, n), readout rows Z (B, K, O, n)."""

    u: np.ndarray
    A: np.ndarray
    E: np.ndarray
    Z: np.ndarray


@dataclass
class KroneckerState:
    """Factors of every group, and the generator of the signs."""

    wiring: Wiring
    factors: list[Factors]
    rng: np.random.Generator


@functools.lru_cache(maxsize=16)
def groups(w: Wiring) -> tuple[Group, ...]:
    """Kronecker groups: columns of one population whose ports hear the same set of (source, delay)."""
    heard: dict[tuple, list[int]] = {}
    for c in range(w.n_recurrent):
        kind = "phi" if w.col_source[c] == PHI else "port"
        heard.setdefault((int(w.start_o[w.col_unit[c]]), kind, int(w.col_port[c])), []).append(c)
    merged: dict[tuple, list[int]] = {}
    for (population, kind, _), columns in heard.items():
        feed = frozenset(zip(w.col_source[columns].tolist(), w.col_delay[columns].tolist(), strict=True))
        merged.setdefault((population, kind, feed), []).extend(columns)
    return tuple(_group(w, np.array(sorted(columns)), kind == "phi") for (_, kind, _), columns in merged.items())


def _group(w: Wiring, columns: np.ndarray, phi: bool) -> Group:
    pairs, row = np.unique(np.stack((w.col_source[columns], w.col_delay[columns])), axis=1, return_inverse=True)
    targets, column = np.unique(np.stack((w.col_unit[columns], w.col_port[columns])), axis=1, return_inverse=True)
    exact = phi or bool((pairs[0] < 0).all())
    return Group(pairs[0], pairs[1], targets[0], targets[1], columns, row.ravel(), column.ravel(), exact)


@dataclass(frozen=True)
class KFRTRL(Sampled):
    """Unbiased Kronecker-factored RTRL; ``samples`` independent estimates are averaged. ``seed`` fixes all signs.

    Raises
    ------
    ValueError
        If samples < 1.
    """

    def init(self, net: Network, batch: int) -> KroneckerState:
        """All zero."""
        w, D = net.wiring, max(net.wiring.row_history, 1)
        found = []
        for group in groups(w):
            K, m, n = 1 if group.exact else self.samples, len(group.source), len(group.unit)
            shapes = ((batch, K, m), (batch, K, w.n_states, n), (D, batch, K, w.n_units, n), (batch, K, w.n_outputs, n))
            found.append(Factors(*(np.zeros(shape, w.dtype) for shape in shapes)))
        return KroneckerState(w, found, np.random.default_rng(self.seed))

    def update(self, state: KroneckerState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance the factors over the tape; return the gradient, flat like theta."""
        w = state.wiring
        for factors in state.factors:
            for array in (factors.u, factors.A, factors.Z):
                array[tape.reset] = 0
            factors.E[:, tape.reset] = 0
        weights = readout_weights(w, tape.theta)
        direct, leaky = learning_signal(w, signal, weights), signal.dz * (w.decay > 0)
        gradient = np.zeros(w.n_parameters, w.dtype)
        table = local.index(w, tape.batch)
        for t in range(tape.tau):
            J = {int(d): local.couplings(w, tape, t, int(d)) for d in table.delays}
            for group, factors in zip(groups(w), state.factors, strict=True):
                propagated = _propagate(w, tape, table, t, J, factors)
                _mix(w, tape, table, t, group, factors, propagated, weights, state.rng)
                if direct[t].any() or leaky[t].any():
                    row = np.einsum("bn,bknc->bkc", direct[t], factors.E[0]) + np.einsum("bo,bkoc->bkc", leaky[t], factors.Z)
                    outer = np.tensordot(factors.u, row, ((0, 1), (0, 1))) / w.dtype.type(factors.u.shape[1])
                    gradient[w.col_theta[group.columns]] += outer[group.row, group.column]
        add_readout_gradient(w, tape, signal, gradient)
        return gradient


def _propagate(w: Wiring, tape: Tape, table: local.Index, t: int, J: dict[int, np.ndarray], factors: Factors) -> np.ndarray:
    """own A + sum_d J_d E_d, (B, K, R, n)."""
    found = np.moveaxis(local.own_path(tape, table, t, np.moveaxis(factors.A, 2, 1)), 1, 2)
    for delay, matrix in J.items():
        found = found + matrix[:, None] @ factors.E[delay - 1]
    return found


def _mix(w: Wiring, tape: Tape, table: local.Index, t: int, group: Group, factors: Factors, propagated: np.ndarray,
         weights: np.ndarray, rng: np.random.Generator) -> None:  # fmt: skip
    """One random mix of the propagated and the immediate term; everything in flight follows."""
    B, K = factors.u.shape[:2]
    D = _immediate(w, tape, t, group, propagated.shape)
    if group.exact:
        a, b, factors.u = np.ones((B, K), w.dtype), np.ones((B, K), w.dtype), np.ones_like(factors.u)
    else:
        x = tape.messages[tape.history + t - group.delay, :, np.maximum(group.source, 0)].T
        x = np.where(group.source < 0, w.dtype.type(1), x)[:, None]
        norm = np.linalg.norm
        p1 = ratio(norm(propagated, axis=(2, 3)), norm(factors.u, axis=2))
        p2 = ratio(np.broadcast_to(norm(D, axis=(2, 3)), (B, K)), np.broadcast_to(norm(x, axis=2), (B, K)))
        c1, c2 = signs(rng, (B, K), w.dtype), signs(rng, (B, K), w.dtype)
        factors.u = (c1 * p1)[..., None] * factors.u + (c2 * p2)[..., None] * x
        a, b = c1 / p1, c2 / p2
    a, b = a[..., None, None], b[..., None, None]
    factors.A = a * propagated + b * D
    E = np.moveaxis(local.messages(tape, table, w, t, np.moveaxis(factors.A, 2, 1)), 1, 2)
    if group.exact:
        _add_direct(w, tape, t, group, E)
    factors.E = np.concatenate((E[None], a * factors.E[:-1]))
    factors.Z = w.decay.astype(w.dtype)[:, None] * a * factors.Z + weights @ E


def _immediate(w: Wiring, tape: Tape, t: int, group: Group, shape: tuple[int, ...]) -> np.ndarray:
    """D (B, 1, R, n): what the input at a column's port (or its parameter) does to the states of its unit."""
    B, _, _, n = shape
    found = np.zeros((B, 1, *shape[2:]), w.dtype)
    k, lanes = group.unit, np.arange(B)[:, None]
    phi = group.source[0] == PHI
    flat, start, count = (tape.P[t], w.start_P, w.Q) if phi else (tape.B[t], w.start_B, w.G)
    for s in range(w.max_states):
        there = np.flatnonzero(s < w.S[k])
        u = k[there]
        place = start[u] * B + (lanes * (w.S[u] * count[u]) + s * count[u] + group.port[there]) * w.size[u] + w.local[u]
        found[:, 0, w.first_state[u] + s, np.arange(n)[there]] = flat[place]
    return found


def _add_direct(w: Wiring, tape: Tape, t: int, group: Group, E: np.ndarray) -> None:
    """dO/dphi at each unit's own parameters."""
    if group.source[0] != PHI:
        return
    B, k = len(E), group.unit
    place = w.start_q[k] * B + (np.arange(B)[:, None] * w.Q[k] + group.port) * w.size[k] + w.local[k]
    E[:, 0, k, np.arange(len(k))] += tape.q[t][place]
