"""BPTT: backpropagation through time over the tapes, full or truncated, and its one-step limit, Immediate.

The adjoint of a step, backwards in time (lambda = dL/ds, gamma = dL/dI):

    ybar_j(t) = dL/dy_j(t) + sum over synapses j -> i of theta_c gamma_i(t + d_c)
    lambda(t) = A(t+1)^T lambda(t+1) + o(t) ybar(t),    gamma(t) = B(t)^T lambda(t)
    dL/dtheta_c += gamma_i(t) y_j(t - d_c),    dL/dphi += P(t)^T lambda(t) + q(t) ybar(t)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numba
import numpy as np
from numba import njit, prange

from ..tape import Tape
from ..threads import SMALL_WORK, threads_for
from ..wiring import Wiring
from .base import Signal, add_readout_gradient, readout_weights

if TYPE_CHECKING:
    from ..network import Network


@dataclass
class TapeState:
    """Copies of the tapes that a later loss may still reach, oldest first."""

    wiring: Wiring
    batch: int
    tapes: list[Tape] = field(default_factory=list)


@dataclass(frozen=True)
class BPTT:
    """Backpropagation through time.

    Parameters
    ----------
    truncate : int, optional
        None (full): exact, memory grows with the sequence. k: a loss reaches back k steps, its own included.
    stride : int
        With ``truncate``: the losses of ``stride`` consecutive steps share one backward pass that reaches k steps back from the
        last of them (BPTT(h; h') of Williams and Peng 1990). 1: every loss reaches exactly k steps; k: the usual chunks.

    Raises
    ------
    ValueError
        If truncate < 1 or stride is not in 1..truncate.
    """

    truncate: int | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        if self.truncate is not None and not 1 <= self.stride <= self.truncate:
            raise ValueError(f"BPTT: need 1 <= stride <= truncate, got truncate={self.truncate}, stride={self.stride}")

    @property
    def claim(self) -> str:
        return "exact" if self.truncate is None else "truncated"

    def init(self, net: Network, batch: int) -> TapeState:
        """No tape yet."""
        return TapeState(net.wiring, batch)

    def update(self, state: TapeState, tape: Tape, signal: Signal) -> np.ndarray:
        """Send the signal back through this tape and the kept ones; return the gradient, flat like theta."""
        w = state.wiring
        if tape.reset.all():
            state.tapes.clear()
        gradient = np.zeros(w.n_parameters, w.dtype)
        for steps, reach in self._groups(tape):
            _backward(w, [*state.tapes, tape], _masked(tape, signal, steps), reach, gradient)
        add_readout_gradient(w, tape, signal, gradient)
        self._keep(state, tape)
        return gradient

    def _groups(self, tape: Tape) -> list[tuple[slice, int | None]]:
        """Steps of the tape whose losses go back together, and the first step (absolute) that they reach."""
        if self.truncate is None:
            return [(slice(0, tape.tau), None)]
        edges = range(tape.start - tape.start % self.stride, tape.start + tape.tau, self.stride)
        return [
            (slice(max(edge - tape.start, 0), edge + self.stride - tape.start), edge + self.stride - self.truncate)
            for edge in edges
        ]

    def _keep(self, state: TapeState, tape: Tape) -> None:
        if self.truncate == 1:
            return
        state.tapes.append(tape.copy())
        if self.truncate is not None:
            while state.tapes and state.tapes[0].start + state.tapes[0].tau <= tape.start + tape.tau - self.truncate:
                state.tapes.pop(0)


@dataclass(frozen=True)
class Immediate:
    """Only the gradient of the present step, through nothing recurrent: the baseline that every figure must show."""

    claim = "approximate"

    def init(self, net: Network, batch: int) -> TapeState:
        """Nothing to keep."""
        return TapeState(net.wiring, batch)

    def update(self, state: TapeState, tape: Tape, signal: Signal) -> np.ndarray:
        """Gradient of every step's loss with respect to this step's parameters alone."""
        return BPTT(truncate=1).update(state, tape, signal)


def _masked(tape: Tape, signal: Signal, steps: slice) -> Signal:
    """The signal of some steps only, up to the last of them."""
    if steps.start == 0 and steps.stop >= tape.tau:
        return signal
    end = min(steps.stop, tape.tau)

    def cut(array: np.ndarray | None) -> np.ndarray | None:
        if array is None:
            return None
        kept = array[:end].copy()
        kept[: steps.start] = 0
        return kept

    return Signal(signal.value, cut(signal.dz), cut(signal.dy))  # type: ignore[arg-type]


def _backward(w: Wiring, tapes: list[Tape], signal: Signal, reach: int | None, gradient: np.ndarray) -> None:
    """One backward pass of ``signal`` (of the last tape's first len(dz) steps) down to absolute step ``reach``."""
    batch, D = tapes[-1].batch, max(w.row_history, 1)
    carry = np.zeros((batch, w.n_states), w.dtype)
    ring = np.zeros((D + 1, batch, w.n_units), w.dtype)
    zbar = np.zeros((batch, w.n_outputs), w.dtype)
    decay = w.decay.astype(w.dtype)
    end = len(signal.dz)
    for index in range(len(tapes) - 1, -1, -1):
        tape = tapes[index]
        first = 0 if reach is None else max(reach - tape.start, 0)
        if first >= end:
            break
        weights = readout_weights(w, tape.theta)
        direct = np.empty((end, batch, w.n_units), w.dtype)
        for t in range(end - 1, -1, -1):
            zbar = decay * zbar + (signal.dz[t] if index == len(tapes) - 1 else 0)
            direct[t] = zbar @ weights
        if index == len(tapes) - 1 and signal.dy is not None:
            direct += signal.dy
        _sweep(w, tape, direct, first, end, carry, ring, gradient)
        for array in (carry, zbar):
            array[tape.reset] = 0
        ring[:, tape.reset] = 0
        if tape.reset.all():
            break
        end = tapes[index - 1].tau if index else 0


def _sweep(
    w: Wiring, tape: Tape, direct: np.ndarray, first: int, end: int, carry: np.ndarray, ring: np.ndarray, gradient: np.ndarray
) -> None:
    work = (end - first) * tape.batch * (len(w.syn_theta) * 2 + w.n_recurrent)
    workers = min(tape.batch, numba.get_num_threads()) if work > SMALL_WORK else 1
    partial = np.zeros((workers, w.n_parameters), w.dtype)
    with threads_for(work):
        _sweep_lanes(
            first, end, tape.start, tape.batch, w.S, w.G, w.Q, w.size, w.local, w.start_A, w.start_B, w.start_P, w.start_o,
            w.start_q, w.first_state, tape.A, tape.B, tape.P, tape.o, tape.q, w.col_ptr, w.col_theta, w.col_source, w.col_delay,
            w.col_port, w.pair_ptr, w.pair_pre, w.pair_delay, w.pair_syn, w.syn_theta, w.syn_port, tape.theta, tape.messages,
            tape.history, direct, carry, ring, partial,
        )  # fmt: skip
    gradient += partial.sum(0)


@njit(parallel=True, cache=True)
def _sweep_lanes(first, end, start, B, S, G, Q, size, local, start_A, start_B, start_P, start_o, start_q, first_state, tape_A,
                 tape_B, tape_P, tape_o, tape_q, col_ptr, col_theta, col_source, col_delay, col_port, pair_ptr, pair_pre,
                 pair_delay, pair_syn, syn_theta, syn_port, theta, messages, history, direct, carry, ring,
                 partial):  # fmt: skip
    """Steps end-1..first of one tape, lanes shared by workers; ``carry`` (B, R), ``ring`` (D+1, B, N) pass between tapes."""
    workers = len(partial)
    N, D1 = len(S), len(ring)
    most_S, most_G = S.max(), G.max()
    for worker in prange(workers):
        grad = partial[worker]
        lam, gam, zero = np.zeros(most_S, theta.dtype), np.zeros(most_G, theta.dtype), np.zeros(1, theta.dtype)
        for b in range(worker, B, workers):
            for t in range(end - 1, first - 1, -1):
                now = (start + t) % D1
                for i in range(N):
                    n, place, f = size[i], local[i], first_state[i]
                    ybar = direct[t, b, i] + ring[now, b, i]
                    ring[now, b, i] = 0
                    at = start_o[i] * B + b * S[i] * n + place
                    alive = False
                    for s in range(S[i]):
                        lam[s] = carry[b, f + s] + tape_o[t, at + s * n] * ybar
                        alive |= lam[s] != 0
                    if ybar != 0:
                        at = start_q[i] * B + b * Q[i] * n + place
                        for c in range(col_ptr[i + 1] - 1, col_ptr[i] - 1, -1):
                            if col_source[c] != -2:
                                break
                            grad[col_theta[c]] += tape_q[t, at + col_port[c] * n] * ybar
                    if not alive:
                        for s in range(S[i]):
                            carry[b, f + s] = 0
                        continue
                    at = start_B[i] * B + b * S[i] * G[i] * n + place
                    for g in range(G[i]):
                        gam[g] = 0
                        for s in range(S[i]):
                            gam[g] += tape_B[t, at + (s * G[i] + g) * n] * lam[s]
                    at = start_P[i] * B + b * S[i] * Q[i] * n + place
                    for c in range(col_ptr[i], col_ptr[i + 1]):
                        source = col_source[c]
                        if source >= 0:
                            grad[col_theta[c]] += gam[col_port[c]] * messages[history + t - col_delay[c], b, source]
                        elif source == -1:
                            grad[col_theta[c]] += gam[col_port[c]]
                        else:
                            for s in range(S[i]):
                                grad[col_theta[c]] += tape_P[t, at + (s * Q[i] + col_port[c]) * n] * lam[s]
                    for e in range(pair_ptr[i], pair_ptr[i + 1]):
                        back = (start + t - pair_delay[e]) % D1
                        value = zero[0]
                        for c in range(pair_syn[e], pair_syn[e + 1]):
                            value += theta[syn_theta[c]] * gam[syn_port[c]]
                        ring[back, b, pair_pre[e]] += value
                    at = start_A[i] * B + b * S[i] * S[i] * n + place
                    for r in range(S[i]):
                        total = zero[0]
                        for s in range(S[i]):
                            total += tape_A[t, at + (s * S[i] + r) * n] * lam[s]
                        carry[b, f + r] = total
