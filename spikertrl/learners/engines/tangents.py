"""Tangents: what moves when the parameters move along some directions. Exact derivatives along these, at a tape's pace.

With directions s_1 .. s_K in the space of the parameters, T = M s and e = E s obey the recursion of the influence itself,

    T(t) = A(t) T(t-1) + sum_d B(t) Theta_d e(t-d) + F(t) s,    e(t) = o(t) T(t) + q(t) s,

and the gradient along them is the sum over dL/dy(t) e(t): s . g, without g. K numbers a state, whatever the number of
parameters. Only sources that fired move a current through their weights, only gradient-active units pass a tangent on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...derived import derived
from ...fitted import out_of_range
from ...loops import loop
from ...network.wiring import BIAS, Wiring
from ...tape import LINEAR, Tape
from ..base import Signal
from ..readout import leaks, learning_signal, readout_weights
from .weights import Outgoing, outgoing


class Heard(NamedTuple):
    """Columns that are weights, by (source, delay); int64. X such pairs. A port is one of those of all units."""

    source: np.ndarray  # (X)
    delay: np.ndarray  # (X)
    ptr: np.ndarray  # (X + 1)
    column: np.ndarray  # of the wiring
    port: np.ndarray  # it goes to
    first: np.ndarray  # (N + 1) first port of each unit


class Units(NamedTuple):
    """A population: its units, where its states and ports are among those of all units, and where it begins on a tape."""

    units: slice
    states: slice
    ports: slice
    counts: tuple[int, int, int]  # S, G, Q
    starts: dict[str, int]
    own: np.ndarray  # (n, Q) columns of trainable parameters

    def of(self, tape: Tape, name: str, t: int) -> np.ndarray:
        """A step of an array of the tape, (B, ..., n)."""
        S, G, Q = self.counts
        shape, n = {"A": (S, S), "B": (S, G), "P": (S, Q), "o": (S,), "q": (Q,)}[name], len(self.own)
        first, wide = self.starts[name] * tape.batch, tape.batch * n * int(np.prod(shape))
        return getattr(tape, name)[t, first : first + wide].reshape(tape.batch, *shape, n)


@dataclass
class Tangents:
    """Tangents along K directions, which ``seed`` draws: of states (B, R, K), of messages in flight (D, B, N, K), which of
    these are not zero (D, B, N), and of leaky readouts (B, L, K)."""  # fmt: skip

    wiring: Wiring
    seed: int
    states: np.ndarray
    messages: np.ndarray
    live: np.ndarray
    readouts: np.ndarray
    clock: int = 0

    @property
    def directions(self) -> np.ndarray:
        """(C, K), columns in the order of ``wiring.col_theta``: independent standard normal numbers."""
        return _directions(self.wiring, self.states.shape[2], self.seed)

    def bytes_held(self) -> int:
        """Bytes of what is carried, and of the directions."""
        return sum(a.nbytes for a in (self.states, self.messages, self.live, self.readouts, self.directions))

    def misfit(self, other: Tangents) -> str:
        """Indices of another state that do not fit this one, see ``fitted``."""
        return out_of_range({"clock": (other.clock, 0, len(self.live) - 1), "seed": (other.seed, self.seed, self.seed)})

    def along(self, gradient: np.ndarray) -> np.ndarray:
        """(K) a flat gradient along the directions."""
        return gradient[self.wiring.col_theta].astype(float) @ self.directions

    def update(self, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance over the tape, in place; (K) the exact gradient of the signal's loss along the directions."""
        w, found = self.wiring, np.zeros(self.states.shape[2])
        self.states[tape.reset], self.readouts[tape.reset], self.live[:, tape.reset] = 0, 0, False
        weights, leaky = readout_weights(w, tape.theta), leaks(w)
        direct, dz = learning_signal(w, signal, weights), signal.dz[:, :, leaky.outputs]
        synapses, biases, live = outgoing(w, tape.theta), _biases(w, self.directions), tape.active(w)[2] >= 0
        for t in range(tape.tau):
            e = self._step(tape, t, synapses, biases, live[t])
            found += np.einsum("bn,bnk->k", direct[t], e)
            if len(leaky.outputs):
                self.readouts *= leaky.decay[:, None]
                self.readouts += weights[leaky.outputs] @ e
                found += np.einsum("bl,blk->k", dz[t], self.readouts)
        return found

    def _step(self, tape: Tape, t: int, synapses: Outgoing, biases: np.ndarray, live: np.ndarray) -> np.ndarray:
        """One step; the tangents of its messages, (B, N, K)."""
        now, move, heard = self.clock, self.directions, _heard(self.wiring)
        currents = np.repeat(biases[None], tape.batch, 0)
        _hear(tape.history + t, heard, tape.messages, move, currents)
        _arrive(now, heard.first, synapses, self.messages, self.live, currents)
        for part in _populations(self.wiring):
            S, G, Q = part.counts
            states = self.states[:, part.states].reshape(tape.batch, -1, S, move.shape[1])
            into = currents[:, part.ports].reshape(tape.batch, -1, G, move.shape[1])
            new = np.einsum("bsrn,bnrk->bnsk", part.of(tape, "A", t), states)
            new += np.einsum("bsgn,bngk->bnsk", part.of(tape, "B", t), into)
            if Q:
                new += np.einsum("bsqn,nqk->bnsk", part.of(tape, "P", t), move[part.own])
            e = np.einsum("bsn,bnsk->bnk", part.of(tape, "o", t), new)
            if Q:
                e += np.einsum("bqn,nqk->bnk", part.of(tape, "q", t), move[part.own])
            states[...], self.messages[now][:, part.units] = new, e
        self.live[now], self.clock = live, (now + 1) % len(self.live)
        return self.messages[now]


def init_tangents(w: Wiring, batch: int, directions: int, seed: int) -> Tangents:
    """All zero. Raises ValueError for delays that learn: the bound would be of their taps' gradient, not of theirs."""
    if w.taps is not None:
        raise ValueError("certificates: there is none of delays that learn; call net.round_delays() first")
    flying, leaky = (max(w.row_history, 1), batch, w.n_units), len(leaks(w).outputs)
    states, messages = np.zeros((batch, w.n_states, directions), w.dtype), np.zeros((*flying, directions), w.dtype)
    return Tangents(w, seed, states, messages, np.zeros(flying, bool), np.zeros((batch, leaky, directions), w.dtype))


@derived
def _directions(w: Wiring, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((w.n_recurrent, count), w.dtype)


@derived
def _heard(w: Wiring) -> Heard:
    columns = np.flatnonzero(w.col_source >= 0)
    columns = columns[np.lexsort((w.col_delay[columns], w.col_source[columns]))]
    source, delay, first = w.col_source[columns], w.col_delay[columns], np.append(0, np.cumsum(w.G))
    starts = np.flatnonzero((np.diff(source, prepend=-1) != 0) | (np.diff(delay, prepend=-1) != 0))
    port = first[w.col_unit[columns]] + w.col_port[columns]
    return Heard(source[starts], delay[starts], np.append(starts, len(columns)), columns, port, first)


@derived
def _populations(w: Wiring) -> tuple[Units, ...]:
    first, found = np.append(0, np.cumsum(w.G)), []
    for i in w.firsts.tolist():
        S, G, Q, n = (int(table[i]) for table in (w.S, w.G, w.Q, w.size))
        states, ports = (slice(int(at[i]), int(at[i]) + n * count) for at, count in ((w.first_state, S), (first, G)))
        starts = {name: int(getattr(w, f"start_{name}")[i]) for name in LINEAR}
        own = w.col_ptr[i + 1 : i + n + 1, None] - Q + np.arange(Q)  # in the order of the parameters
        found.append(Units(slice(i, i + n), states, ports, (S, G, Q), starts, own))
    return tuple(found)


def _biases(w: Wiring, directions: np.ndarray) -> np.ndarray:
    """What the directions add to the current of every port, whoever fires."""
    first, columns = _heard(w).first, np.flatnonzero(w.col_source == BIAS)
    found = np.zeros((int(first[-1]), directions.shape[1]), directions.dtype)
    found[first[w.col_unit[columns]] + w.col_port[columns]] = directions[columns]
    return found


@loop(nogil=True)
def _hear(step, heard, messages, directions, currents):
    """currents (B, ports, K) += what sources that fired bring through weights that move."""
    for b in range(len(currents)):
        for x in range(len(heard.source)):
            value = messages[step - heard.delay[x], b, heard.source[x]]
            if value != 0:
                for c in range(heard.ptr[x], heard.ptr[x + 1]):
                    to, move = currents[b, heard.port[c]], directions[heard.column[c]]
                    for k in range(len(to)):
                        to[k] += value * move[k]


@loop(nogil=True)
def _arrive(now, first, synapses, messages, live, currents):
    """currents (B, ports, K) += what messages that moved bring through the weights."""
    D, B, N = live.shape
    for b in range(B):
        for d in range(len(synapses.delays)):
            at = (now - synapses.delays[d]) % D
            for j in range(N):
                if live[at, b, j]:
                    for p in range(synapses.out_ptr[d * N + j], synapses.out_ptr[d * N + j + 1]):
                        i = synapses.out_post[p]
                        for g in range(synapses.ports.shape[1]):
                            if synapses.ports[i, g] >= 0:
                                to, weight = currents[b, first[i] + synapses.ports[i, g]], synapses.weight[p, g]
                                for k in range(len(to)):
                                    to[k] += weight * messages[at, b, j, k]
