"""Structured dense RTRL of the event-based GRU: what a careful programmer would write without sparsity.

The influence is one matrix (units, parameters), advanced by one matrix product a step through BLAS; the immediate term is added
where it lies. ``influence.py`` and ``peers.py`` measure themselves against it.
"""

from __future__ import annotations

import numpy as np

import spikertrl as srl
from spikertrl.learners.base import Signal
from spikertrl.tape import Tape


class Dense:
    """Structured dense RTRL of one lane: M (units, parameters), one product of matrices a step.

    ``masked``: a column for every weight that exists, which already uses half of the sparsity; otherwise one for every pair
    of units, 2 n^3 (n + inputs + 1) operations for each of three ports.
    """

    def __init__(self, net: srl.Network, masked: bool = True) -> None:
        self.place = np.arange(len(net.theta))
        if not masked:
            net, self.place = _without_masks(net)
        self.net, w = net, net.wiring
        self.M, self.next = (np.zeros((w.n_units, w.n_recurrent), np.float32) for _ in range(2))
        self.post = np.repeat(np.arange(w.n_units), np.diff(w.col_ptr))
        self.weights = np.zeros((4, w.n_units, w.n_units), np.float32)
        view = net.view(net.theta)["h<-h"]
        for port in net.projections[1].ports:
            weight = view[port]
            place = net.populations["h"].cell.ports.index(port)
            self.weights[place] = weight.toarray() if hasattr(weight, "toarray") else weight
        self.o = np.zeros(w.n_units, np.float32)
        self.q = np.zeros(w.n_units, np.float32)
        self.own = np.flatnonzero(w.col_source == -2)

    def reset(self) -> None:
        """Forget the past, as at the start of a sequence."""
        for array in (self.M, self.o, self.q):
            array[...] = 0

    def update(self, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance M over the tape; return the gradient of the recurrent part, flat like theta (readout: zero)."""
        w, n, n_in = self.net.wiring, self.net.wiring.n_units, self.net.wiring.n_channels
        gradient = np.zeros(w.n_parameters, np.float32)
        out = self.net.view(self.net.theta)["z"]["weight"]
        for t in range(tape.tau):
            gains = tape.B[t].reshape(4, n)
            coupling = np.einsum("gi,gij->ij", gains, self.weights)
            H = coupling * self.o
            H[np.arange(n), np.arange(n)] += tape.A[t]
            np.dot(H, self.M, out=self.next)
            self.next[:, self.own] += coupling * self.q  # the message's own dependence on the unit's parameter
            values = np.concatenate((tape.messages[tape.history + t - 1, 0, n_in:], tape.messages[tape.history + t, 0, :n_in]))
            sent = np.where(w.col_source >= n_in, values[w.col_source - n_in], values[n + np.clip(w.col_source, 0, n_in - 1)])
            sent[w.col_source == -1] = 1
            term = gains[w.col_port, self.post] * sent
            term[self.own] = tape.P[t][self.post[self.own]]
            self.next[self.post, np.arange(w.n_recurrent)] += term
            self.M, self.next = self.next, self.M
            self.o, self.q = tape.o[t], tape.q[t]
            if signal.dz[t].any():
                direct = (signal.dz[t] @ out)[0]
                gradient[w.col_theta] += (direct * self.o) @ self.M
                gradient[w.col_theta[self.own]] += (direct * self.q)[self.post[self.own]]
        return gradient[self.place]


def _without_masks(net: srl.Network) -> tuple[srl.Network, np.ndarray]:
    """The same network with a weight for every pair, zero where there is no synapse; and where its parameters lie there."""
    w = net.wiring
    full = srl.Network().add_input("x", w.n_channels).add_population("h", net.populations["h"].model, w.n_units)
    full = full.connect("x", "h").connect("h", "h").add_readout("z", "h", w.n_outputs).initialize(0)
    view, mine = full.view(full.theta), net.view(np.arange(1, len(net.theta) + 1).astype(np.float64))
    place = np.zeros(len(net.theta), np.int64)
    numbers = full.view(np.arange(len(full.theta)).astype(np.float64))
    for group, parts in mine.items():
        for name, part in parts.items():
            known = np.asarray(part.toarray() if hasattr(part, "toarray") else part, np.int64)
            there = known > 0
            view[group][name][...] = 0
            view[group][name][there] = net.theta[known[there] - 1]
            place[known[there] - 1] = np.asarray(numbers[group][name])[there]
    return full, place
