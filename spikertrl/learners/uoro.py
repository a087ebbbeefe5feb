"""UORO: unbiased online recurrent optimization, a rank-one random estimate of the influence.

    G(t) ~ s(t) (x) theta~(t),   s' = rho0 (own s + sum_d J_d e) + rho1 nu,   theta~' = theta~ / rho0 + nu^T F / rho1

Source: Tallec and Ollivier 2018, arXiv 1702.05043 (algorithm 1); several independent samples averaged as in Mujika et al. 2018.
Messages in flight and the rows of leaky readouts are rescaled by the same rho0 at every step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..tape import Tape
from ..wiring import Wiring
from . import local
from .base import Sampled, Signal, add_readout_gradient, learning_signal, readout_weights, signs

if TYPE_CHECKING:
    from ..network import Network


@dataclass
class RankOneState:
    """K samples, B lanes: s (B, R, K), messages in flight e (D, B, N, K), readout rows z (B, O, K), parameters (B, C, K)."""

    wiring: Wiring
    s: np.ndarray
    e: np.ndarray
    z: np.ndarray
    side: np.ndarray
    rng: np.random.Generator


@dataclass(frozen=True)
class UORO(Sampled):
    """Unbiased rank-one estimate; ``samples`` independent ones are averaged. ``seed`` fixes all signs.

    Raises
    ------
    ValueError
        If samples < 1.
    """

    def init(self, net: Network, batch: int) -> RankOneState:
        """All zero."""
        w, K = net.wiring, self.samples
        flying = (max(w.row_history, 1), batch, w.n_units, K)
        shapes = ((batch, w.n_states, K), flying, (batch, w.n_outputs, K), (batch, w.n_recurrent, K))
        return RankOneState(w, *(np.zeros(shape, w.dtype) for shape in shapes), rng=np.random.default_rng(self.seed))

    def update(self, state: RankOneState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance the factors over the tape; return the gradient, flat like theta."""
        w = state.wiring
        for array in (state.s, state.z, state.side):
            array[tape.reset] = 0
        state.e[:, tape.reset] = 0
        weights = readout_weights(w, tape.theta)
        direct = learning_signal(w, signal, weights)
        gradient = np.zeros(w.n_parameters, w.dtype)
        for t in range(tape.tau):
            _step(state, tape, t, weights)
            told = np.einsum("bn,bnk->bk", direct[t], state.e[0])
            told += np.einsum("bo,bok->bk", signal.dz[t] * (w.decay > 0), state.z)
            gradient[w.col_theta] += np.einsum("bk,bck->c", told, state.side) / w.dtype.type(self.samples)
        add_readout_gradient(w, tape, signal, gradient)
        return gradient


def ratio(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """sqrt(upper / lower), 1 where either is zero: any positive value keeps the estimate unbiased."""
    safe = (upper > 0) & (lower > 0)
    return np.sqrt(np.divide(upper, lower, out=np.ones_like(upper), where=safe))


def _step(state: RankOneState, tape: Tape, t: int, weights: np.ndarray) -> None:
    w = state.wiring
    batch, K = tape.batch, state.s.shape[2]
    table = local.index(w, batch)
    s = local.own_path(tape, table, t, state.s)
    for delay in table.delays:
        s = s + local.couplings(w, tape, t, int(delay)) @ state.e[delay - 1]
    nu = signs(state.rng, (batch, w.n_states, K), w.dtype)
    mu = signs(state.rng, (batch, w.n_units, K), w.dtype)  # for dO/dphi, straight into messages
    mu *= (w.Q > 0)[:, None].astype(w.dtype)
    gains = local.column_gains(tape, table, t) * local.column_values(w, tape, t)[:, None]
    padded = np.concatenate((nu, np.zeros_like(nu[:, :1])), 1)
    side = np.zeros_like(state.side)
    for r in range(gains.shape[1]):
        side += gains[:, r, :, None] * padded[:, table.column_state[r]]
    if len(table.phi):
        side[:, table.phi] += tape.q[t][table.phi_q][:, :, None] * mu[:, w.col_unit[table.phi]]
    norm = np.linalg.norm
    rho0 = ratio(norm(state.side, axis=1), norm(s, axis=1))[:, None]
    rho1 = ratio(norm(side, axis=1), norm(nu, axis=1))[:, None]
    state.s = rho0 * s + rho1 * nu
    state.side = state.side / rho0 + side / rho1
    e = local.messages(tape, table, w, t, state.s) + rho1 * mu
    state.e = np.concatenate((e[None], rho0 * state.e[:-1]))
    state.z = w.decay.astype(w.dtype)[:, None] * rho0 * state.z + weights @ e
