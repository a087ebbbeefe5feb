"""Kronecker-factored estimates of the influence: state and update shared by KF-RTRL and OK (loops in ``kronecker_kernel``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ....fitted import out_of_range
from ....network.wiring import Wiring
from ....tape import Tape
from ....threads import share, threads, threads_for
from ...base import Signal
from ...readout import add_readout_gradient, leaks, learning_signal, readout_weights
from ...signs import as_signs, coins
from ..blocks import step_jacobian
from ..records import Linear
from ..weights import Outgoing, dense_weights, outgoing, synapse_tables
from . import kernel
from .groups import Group, groups
from .records import Columns, Sent, Signals, Synapses, Terms, Work

_HISTORY_BYTES = 32 << 20  # how much of the factors' past is kept for one product with the errors


@dataclass
class Factors:
    """One group, K terms: u (B, K, m), A (B, K, R, n); rows in flight E (B, D, K, N, n), leaky readouts' Z (B, K, L, n)."""

    u: np.ndarray
    A: np.ndarray
    E: np.ndarray
    Z: np.ndarray


@dataclass
class KroneckerState:
    """Factors of every group, what the last steps sent, and the generator of the signs.

    ``sent`` (D, B, N): slot of the gradient-active units, else -1; ``o``, ``q``: dO/ds and dO/dphi of the last step.
    ``counts``: multiply-adds done (propagation, immediate terms and mixing, messages, readout).
    """

    wiring: Wiring
    factors: list[Factors]
    sent: np.ndarray
    o: np.ndarray
    q: np.ndarray
    rng: np.random.Generator
    clock: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(4, np.int64))
    lane_steps: int = 0
    work: tuple[list[Work], np.ndarray] | None = field(default=None, init=False, repr=False)

    @property
    def batch(self) -> int:
        """Lanes."""
        return self.sent.shape[1]

    def bytes_held(self) -> int:
        """Bytes of the factors."""
        return sum(a.nbytes for f in self.factors for a in (f.u, f.A, f.E, f.Z))

    def misfit(self, other: KroneckerState) -> str:
        """Indices of another state that do not fit this one, see ``fitted``."""
        return out_of_range({"clock": (other.clock, 0, len(self.sent) - 1), "sent": (other.sent, -1, self.wiring.n_units - 1)})


def init(w: Wiring, batch: int, terms: int, seed: int) -> KroneckerState:
    """All zero; groups without noise keep one term."""
    D, leaky, found = max(w.row_history, 1), int((w.decay > 0).sum()), []
    for group in groups(w):
        K, m, n = 1 if group.exact else terms, len(group.source), len(group.unit)
        flying = (batch, D if D > 1 else 0, K, w.n_units, n)
        shapes = ((batch, K, m), (batch, K, w.n_states, n), flying, (batch, K, leaky, n))
        found.append(Factors(*(np.zeros(shape, w.dtype) for shape in shapes)))
    sent = np.full((D, batch, w.n_units), -1, np.int32)
    o, q = (np.zeros(int(count.sum()) * batch, w.dtype) for count in (w.S, w.Q))
    return KroneckerState(w, found, sent, o, q, np.random.default_rng(seed))


def update(state: KroneckerState, tape: Tape, signal: Signal, kind: int) -> np.ndarray:
    """Advance all groups over a tape; return the gradient, flat like theta. ``kind``: SIGNED or OPTIMAL mixing."""
    w = state.wiring
    _reset(state, tape.reset)
    weights = readout_weights(w, tape.theta)
    direct = learning_signal(w, signal, weights)
    gradient = np.zeros(w.n_parameters, w.dtype)
    drawn = _draw(state, tape, kind)
    sent = _sent(state, tape)
    o, q = np.concatenate((state.o[None], tape.o)), np.concatenate((state.q[None], tape.q))
    with threads_for(float(tape.batch * tape.tau) * sum(f.A[0].size for f in state.factors) * w.n_units):
        synapses, eps = _synapses(state, tape), synapse_tables(w).eps if kind == kernel.OPTIMAL else None
        for group, factors, mine in zip(groups(w), state.factors, drawn, strict=True):
            how = kernel.EXACT if group.exact else kind
            _advance(state, tape, signal, how, eps, group, factors, mine, (sent, o, q), synapses, direct, weights, gradient)
    D = len(state.sent)
    state.sent, state.o, state.q = sent.slot[len(sent.slot) - D :].copy(), tape.o[-1].copy(), tape.q[-1].copy()
    state.clock = (state.clock + tape.tau) % D
    state.lane_steps += tape.batch * tape.tau
    add_readout_gradient(w, tape, signal, gradient)
    return gradient


def _sent(state: KroneckerState, tape: Tape) -> Sent:
    """By slot, and packed where the step Jacobian goes by pairs."""
    count, units, slot = tape.active(state.wiring)
    if synapse_tables(state.wiring).dense:
        return Sent(np.concatenate((state.sent, slot)), count[:0], units[:0])
    before = state.sent >= 0
    earlier = np.argsort(~before, axis=2, kind="stable").astype(units.dtype)
    counts = np.concatenate((before.sum(2, dtype=count.dtype), count))
    return Sent(np.concatenate((state.sent, slot)), counts, np.concatenate((earlier, units)))


def _synapses(state: KroneckerState, tape: Tape) -> Synapses:
    """Weights between units, as matrices or by pairs."""
    w, table = state.wiring, synapse_tables(state.wiring)
    place = _workspace(state, min(tape.batch, threads()))[-1] if state.factors else None
    W = dense_weights(w, tape.theta, place)
    if W is None:
        return Synapses(table.delays, table.linked, np.zeros((0, 0, 0, 0), w.dtype), outgoing(w, tape.theta))
    none = np.zeros((0, w.heard_ports.shape[1]), w.dtype)
    return Synapses(table.delays, table.linked, W, Outgoing(none, w.heard_ports, w.delays, w.out_ptr, w.out_post, w.pair_ptr))


def _draw(state: KroneckerState, tape: Tape, kind: int) -> list[np.ndarray]:
    """Signs (tau, B, ...) of every group, drawn step by step, so that a tape may be cut anywhere."""
    found = []
    for group, factors in zip(groups(state.wiring), state.factors, strict=True):
        K = 0 if group.exact else factors.u.shape[1]
        found.append(np.empty((tape.tau, tape.batch, 2 * K if kind == kernel.SIGNED else K + (K > 0)), np.int8))
    for t in range(tape.tau):
        for mine, factors in zip(found, state.factors, strict=True):
            if mine.shape[2]:
                B, K = factors.u.shape[:2]
                mine[t, :, :K] = coins(state.rng, (B, K))
                mine[t, :, K:] = coins(state.rng, (B, mine.shape[2] - K))
    return [as_signs(mine, state.wiring.dtype) for mine in found]


def _advance(state: KroneckerState, tape: Tape, signal: Signal, kind: int, eps: float | None, group: Group, factors: Factors,
             drawn: np.ndarray, past: tuple[Sent, np.ndarray, np.ndarray], synapses: Synapses, direct: np.ndarray,
             weights: np.ndarray, gradient: np.ndarray) -> None:  # fmt: skip
    w, linear, table, leaky = state.wiring, (tape.A, tape.B, tape.P), synapse_tables(state.wiring), leaks(state.wiring)
    workers = min(tape.batch, threads())
    B, (K, m), n, D = tape.batch, factors.u.shape[1:], factors.A.shape[3], len(state.sent)
    buffers, _ = _workspace(state, workers)
    x, dz = group.inputs(tape), signal.dz[:, :, leaky.outputs]
    counts = np.zeros((workers, 4), np.int64)
    piece = max(1, _HISTORY_BYTES // max(1, B * K * (m + n) * w.dtype.itemsize))
    for t0 in range(0, tape.tau, piece):
        cut = slice(t0, min(t0 + piece, tape.tau))
        tau, last = cut.stop - cut.start, slice(cut.start, cut.stop + 1)
        U, rows = np.empty((B, tau, K, m), w.dtype), np.empty((B, tau, K, n), w.dtype)
        jacobians = Linear(*(part[cut] for part in linear), past[1][last], past[2][last])  # type: ignore[call-arg]
        arrived, signs, errors, outer = (np.ascontiguousarray(part[cut].swapaxes(0, 1)) for part in (x, drawn, direct, dz))
        arguments = (
            kind, eps, (state.clock + t0) % D, D, table.dense, table.foldable and not group.phi, synapses, w.tables,
            jacobians, Sent(*(part[t0 : D + cut.stop] for part in past[0])), Columns(group.unit, group.port, group.phi),
            Signals(arrived, signs, errors, outer, weights[leaky.outputs], leaky.decay),
            Terms(factors.u, factors.A, factors.E, factors.Z),
        )  # fmt: skip
        written = [(work, U, rows, counts[k]) for k, work in enumerate(buffers[:workers])]
        share(partial(_run, workers, arguments, written), workers)
        if rows.any():
            if kind == kernel.SIGNED:
                rows /= K
            group.add_product(rows.reshape(-1, n), U.reshape(-1, m), gradient)
    state.counts += counts.sum(0)


def _run(workers: int, arguments: tuple, written: list[tuple], worker: int) -> None:
    kernel.advance(worker, workers, *arguments, *written[worker])


def _workspace(state: KroneckerState, workers: int) -> tuple[list[Work], np.ndarray]:
    """Buffers of each worker, and W (delays, G, N, N)."""
    if state.work is None or len(state.work[0]) < workers:
        w, table = state.wiring, synapse_tables(state.wiring)
        most = len(table.delays) * w.n_units
        widest = max(f.A.shape[3] for f in state.factors)
        terms = max(f.A[0].size for f in state.factors)
        J = w.n_states * most if table.dense else 0
        sizes = (J, most * widest, terms)
        W = np.zeros((len(table.delays), *table.linked.shape, w.n_units) if table.dense else (0, 0, 0, 0), w.dtype)
        one = [step_jacobian.one_row(w, listed=not table.dense) for _ in range(workers)]
        state.work = [Work(lists, *(np.zeros(size, w.dtype) for size in sizes)) for lists in one], W
    return state.work


def _reset(state: KroneckerState, which: np.ndarray) -> None:
    """Forget the given lanes."""
    if which.any():
        for factors in state.factors:
            for array in (factors.u, factors.A, factors.E, factors.Z):
                array[which] = 0
        state.sent[:, which] = -1
