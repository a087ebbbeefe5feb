"""UORO: unbiased online recurrent optimization, a rank-one random estimate of the influence.

    G(t) ~ s(t) (x) theta~(t),   s' = rho0 (own s + sum_d J_d e) + rho1 nu,   theta~' = theta~ / rho0 + nu^T F / rho1

Source: Tallec and Ollivier 2018, arXiv 1702.05043 (algorithm 1); several independent samples averaged as in Mujika et al. 2018.
Messages in flight and the rows of leaky readouts are rescaled by the same rho0 at every step. nu^T F is an outer product within
each group of ports that hear the same sources (``groups``), and theta~ is laid out accordingly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..derived import derived
from ..fitted import out_of_range
from ..network.wiring import Wiring
from ..tape import Tape
from ..threads import share, threads, threads_for
from .base import Length, Plan, Signal
from .engines.kronecker import rank_one_kernel as kernel
from .engines.kronecker.groups import groups
from .engines.kronecker.records import AllColumns, RankOne, StepSignals
from .engines.records import linear
from .engines.weights import dense_weights, synapse_tables
from .readout import add_readout_gradient, leaks, learning_signal, readout_weights
from .signs import Sampled, signs

if TYPE_CHECKING:
    from ..network.network import Network


@dataclass
class RankOneState:
    """K samples, B lanes: s (B, R, K), messages in flight e (D, N, B, K) by clock, leaky readouts' z (B, L, K), theta~.

    ``side`` (B, K, P): theta~, a matrix (columns, sources) a group; ``norm`` (B, K) of it. ``counts``: multiply-adds done
    (propagation, immediate terms and mixing, messages, readout).
    """

    wiring: Wiring
    s: np.ndarray
    e: np.ndarray
    z: np.ndarray
    side: np.ndarray
    norm: np.ndarray
    rng: np.random.Generator
    clock: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(4, np.int64))
    lane_steps: int = 0

    @property
    def batch(self) -> int:
        """Lanes."""
        return len(self.s)

    def bytes_held(self) -> int:
        """Bytes of the vectors."""
        return sum(a.nbytes for a in (self.s, self.e, self.z, self.side))

    def misfit(self, other: RankOneState) -> str:
        """Indices of another state that do not fit this one, see ``fitted``."""
        return out_of_range({"clock": (other.clock, 0, len(self.e) - 1)})


@dataclass(frozen=True, eq=False)
class GroupTables:
    """All groups one after the other: first source, column and entry of each; which entries exist."""

    columns: AllColumns
    full: bool  # every entry of every group is a parameter
    has_own: np.ndarray  # (N, 1): 1 where a unit has trainable parameters, else 0
    own: int  # multiply-adds of the units' own paths and ports


@derived
def _group_tables(w: Wiring) -> GroupTables:
    every = groups(w)
    m, n = [len(g.source) for g in every], [len(g.unit) for g in every]
    first = [np.concatenate(([0], np.cumsum(x))).astype(np.int64) for x in (m, n, np.multiply(m, n))]
    full, mask = np.array([g.full for g in every], bool), np.zeros(first[2][-1], w.dtype)
    for group, start in zip(every, first[2], strict=False):
        mask[start + group.place] = 1
    none = np.zeros(0, np.int64)
    unit, port = np.concatenate([none, *(g.unit for g in every)]), np.concatenate([none, *(g.port for g in every)])
    phi, has_own, own = np.array([g.phi for g in every], bool), (w.Q > 0)[:, None].astype(w.dtype), (w.S**2 + w.S * w.G).sum()
    columns = AllColumns(first[0], first[1], first[2], phi, full, mask, unit, port)
    return GroupTables(columns, bool(full.all()), has_own, int(own))


@dataclass(frozen=True)
class UORO(Sampled):
    """Unbiased rank-one estimate; ``samples`` independent ones are averaged. ``seed`` fixes all signs.

    Raises
    ------
    ValueError
        If samples < 1.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.rhn, 6)
    >>> net = net.connect("x", "h").connect("h", "h").add_readout("z", "h", 1).initialize(0)
    >>> x, loss = np.random.default_rng(0).normal(size=(12, 1, 2)), srl.losses.squared_error(np.ones((12, 1, 1)))
    >>> table = srl.compare(net, [srl.RTRL(), UORO(samples=2000)], x, loss)
    >>> table.cosine["UORO(samples=2000, seed=0)"]["h<-h"] > 0.8
    True
    """

    def init(self, net: Network, batch: int) -> RankOneState:
        """All zero."""
        w, K, leaky = net.wiring, self.samples, int((net.wiring.decay > 0).sum())
        flying = (max(w.row_history, 1), w.n_units, batch, K)
        entries = int(_group_tables(w).columns.first_P[-1])
        shapes = ((batch, w.n_states, K), flying, (batch, leaky, K), (batch, K, entries), (batch, K))
        return RankOneState(w, *(np.zeros(shape, w.dtype) for shape in shapes), rng=np.random.default_rng(self.seed))

    def plan(self, net: Network, length: Length) -> Plan:
        """How it would be computed, see ``explain``."""
        w = net.wiring
        macs = self.samples * (len(w.syn_theta) + w.n_states + 2 * w.n_recurrent)
        return Plan("rank one", "samples times (synapses between units + states + 2 P)", float(macs), by_density=True)

    def update(self, state: RankOneState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance the factors over the tape; return the gradient, flat like theta."""
        w, table = state.wiring, _group_tables(state.wiring)
        for array in (state.s, state.z, state.side, state.norm):
            array[tape.reset] = 0
        state.e[:, :, tape.reset] = 0
        weights = readout_weights(w, tape.theta)
        direct, leaky = learning_signal(w, signal, weights), leaks(w).outputs
        dz, weights = signal.dz[:, :, leaky], weights[leaky]
        alone = tape.tau * state.norm.size == 1 and table.full  # the gradient is one multiple of theta~
        given = np.zeros_like(state.norm)
        with threads_for(3.0 * state.side.size):
            workers = min(tape.batch, threads())
            found = np.zeros((workers, 0 if alone else state.side.shape[2]), w.dtype)
            none = np.zeros((tape.tau, tape.batch, 0), w.dtype)
            x = np.concatenate([none, *(group.inputs(tape) for group in groups(w))], 2)
            W = dense_weights(w, tape.theta)
            for t in range(tape.tau):
                _step(state, tape, t, x[t], W, direct[t], dz[t], weights, given, found)
        gradient = np.zeros(w.n_parameters, w.dtype)
        total, factor = (state.side[0, 0], given[0, 0]) if alone else (found.sum(0), 1 / self.samples)
        for group, start, stop in zip(groups(w), table.columns.first_P, table.columns.first_P[1:], strict=False):
            group.put(total[start:stop].reshape(len(group.unit), -1), factor, gradient)
        add_readout_gradient(w, tape, signal, gradient)
        return gradient


def _arrived(state: RankOneState, theta: np.ndarray, W: np.ndarray | None) -> np.ndarray:
    """What the messages due now bring to every port, (G, N, B, K)."""
    w, table, D = state.wiring, synapse_tables(state.wiring), len(state.e)
    found = np.zeros((*table.linked.shape, *state.e.shape[2:]), w.dtype)
    into = found.reshape(*table.linked.shape, -1)
    for d, delay in enumerate(table.delays):
        e = state.e[(state.clock - delay) % D].reshape(w.n_units, -1)
        if W is not None:
            into += (W[d].reshape(-1, w.n_units) @ e).reshape(into.shape)
        else:
            kernel.arrive(d, table.which, theta[w.syn_theta], w.pair_ptr, w.pair_pre, w.pair_syn, w.syn_port, e, into)
    synapses = len(w.syn_theta) if W is None else W.size
    state.counts[0] += (synapses + _group_tables(w).own) * found[0, 0].size
    return found


def _step(state: RankOneState, tape: Tape, t: int, x: np.ndarray, W: np.ndarray | None, direct: np.ndarray, dz: np.ndarray,
          weights: np.ndarray, given: np.ndarray, found: np.ndarray) -> None:  # fmt: skip
    """One step; ``given`` (B, K) becomes dL/ds~, ``found`` (workers, P) collects the gradient unless P = 0."""
    w, table, (B, _, K) = state.wiring, _group_tables(state.wiring), state.s.shape
    nu = signs(state.rng, (B, w.n_states, K), w.dtype)
    mu = signs(state.rng, (B, w.n_units, K), w.dtype)  # for dO/dphi, straight into messages
    mu *= table.has_own
    signals = StepSignals(
        x, nu, mu, np.ascontiguousarray(direct), np.ascontiguousarray(dz), weights, leaks(w).decay
    )
    factors, arrived = RankOne(state.s, state.e, state.z, state.side, state.norm), _arrived(state, tape.theta, W)
    arguments = (len(found), t, state.clock, w.tables, linear(tape), table.columns, signals, arrived, factors, given)
    share(partial(_run, arguments, found), len(found))
    state.clock = (state.clock + 1) % len(state.e)
    state.lane_steps += B
    state.counts[1] += 2 * state.side.size + 2 * state.s.size
    state.counts[2] += B * K * (w.n_states + w.n_units * (1 + state.z.shape[1]))
    state.counts[3] += state.side.size


def _run(arguments: tuple, found: np.ndarray, worker: int) -> None:
    kernel.step(worker, *arguments, found[worker])  # pyright: ignore[reportCallIssue]
