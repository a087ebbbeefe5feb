"""Arrays that a simulation reuses from piece to piece, and the arguments of its compiled calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..tape import LINEAR

if TYPE_CHECKING:
    from ..network.elements import Population
    from .simulator import Simulator

_COUNTS: dict[str, Callable[[Population], int]] = {  # components of every flat array, per unit
    "I": lambda p: len(p.cell.ports),
    "A": lambda p: len(p.cell.memory) ** 2,
    "B": lambda p: len(p.cell.memory) * len(p.cell.ports),
    "P": lambda p: len(p.cell.memory) * len(p.cell.trainable),
    "o": lambda p: len(p.cell.memory),
    "q": lambda p: len(p.cell.trainable),
}


class Buffers:
    """Arrays for pieces of one size, and the arguments of every compiled call, made once."""

    def __init__(self, simulator: Simulator, tau: int, batch: int, linearise: bool) -> None:
        net, w, dtype = simulator.net, simulator.wiring, simulator.dtype
        self.tau, self.queue = tau, simulator.queue(tau, batch)
        sizes = {name: sum(count(p) * p.size for p in net.populations.values()) for name, count in _COUNTS.items()}
        self.linear = {name: np.zeros((tau, batch * sizes[name] if linearise else 0), dtype) for name in LINEAR}
        self.synapses = simulator.tables(batch)
        self.currents = np.zeros((tau, batch * sizes["I"]), dtype)
        self.z = np.zeros((tau, batch, w.n_outputs), dtype)
        self.states = {p.name: np.zeros((tau + 1, batch, len(p.cell.states), p.size), dtype) for p in net.populations.values()}
        self.inputs: dict[str, np.ndarray] = {}
        self.at_once: tuple = ()  # cell and arguments of all steps together, see ``Simulator.at_once``
        self.calls: list[list[tuple]] = [[] for _ in range(tau)]  # else, of every step and population
        places = dict.fromkeys(_COUNTS, 0)
        for p in net.populations.values():
            views = {}
            for name, count in _COUNTS.items():
                flat = self.currents if name == "I" else self.linear[name]
                first, places[name] = places[name], places[name] + count(p) * p.size
                if linearise or name == "I":
                    views[name] = flat[:, first * batch : places[name] * batch].reshape(tau, batch, count(p), p.size)
            self.inputs[p.name] = views["I"]
            self._make_calls(simulator, p, views, batch, linearise)

    def _make_calls(
        self, simulator: Simulator, p: Population, views: dict[str, np.ndarray], batch: int, linearise: bool
    ) -> None:
        y = np.zeros((batch, p.size), simulator.dtype)
        s, queue, jacobian = self.states[p.name], self.queue, [views[name] for name in LINEAR if linearise]
        tables, first = (simulator._phi[p.name], simulator._k[p.name]), simulator.wiring.n_channels + p.start
        if simulator.at_once:
            window = (queue.history, first, queue.values, queue.fired, queue.n_fired)
            self.at_once = (p.cell, window, (s, views["I"], *tables, y, *jacobian))
            return
        for t in range(self.tau):
            arguments = (s[t], views["I"][t], *tables, s[t + 1], y, *(view[t] for view in jacobian))
            self.calls[t].append((p.cell, arguments, (y, queue.history + t, first, queue.values, queue.fired, queue.n_fired)))
