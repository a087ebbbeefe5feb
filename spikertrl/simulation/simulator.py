"""Simulation: the only place that knows the order inside a step.

One step, for all populations at once:

1. **deliver** I(t) = bias + sum over synapses of theta * y_pre(t - d); d >= 1 between units, d >= 0 from inputs;
2. **advance** s(t) = F(s(t-1), y(t-1), I(t); phi);
3. **emit** y(t) = O(s(t); phi), nonzero messages become events;
4. **read** z(t) = decay z(t-1) + W_out y(t) + b_out;
5. **learn** the learner sees step t (after the piece of tau steps, on its tape).

All messages before the first step are zero; states start at the model's initial values.

Who owns which array, so that any number of users share one network:

- the **network** owns theta. It is read (once a piece, through ``net.theta``) while it runs; only ``fit``, ``Online`` and the
  user write it;
- its **wiring** and its ``Plan`` (delivery tables) never change and are shared by all; a network that changes gets new ones;
- a ``Simulator`` owns what is written while a network runs: buffers of pieces, tables of parameters and constants, gathered
  weights. It has one user at a time: an ``Online`` and a training session make their own, ``simulate``, ``gradient`` and
  ``compare`` borrow one for the length of the call (``run.borrowed``). A tape consists of its buffers;
- a ``SimState`` and a learner's state belong to the run that advances them; ``simulate`` copies a state given to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from ..compile.cell import SURROGATE
from ..network.elements import Population, Projection, Readout
from ..network.learned_delays import delivered
from ..network.projections import Link
from ..resources import require
from ..tape import LINEAR, Tape, lists
from .delivery import by_event, event_table
from .divergence import SimulationDiverged, diverged, finite
from .events import EventQueue, deliver_step, push_step
from .state import SimState

if TYPE_CHECKING:
    from ..network.network import Network

UNASKED = 1 << 26  # bytes that are taken without a look at what is free
IN_ORDER = 32  # steps times lanes from which weights are laid out in the order of delivery, for parameters that change

Synapses = tuple[np.ndarray, ...]  # of ``events.deliver``


class Read(NamedTuple):
    """A readout in places: which units it reads, its rows of z, its weights (outputs, units) and biases in theta, its leak."""

    units: slice
    rows: slice
    shape: tuple[int, ...]
    weight: slice
    bias: slice
    decay: float


class Product(NamedTuple):
    """Messages through the weights of a projection, by BLAS, into the currents of the same steps."""

    link: Link
    messages: np.ndarray  # (steps, B, pre)
    currents: np.ndarray  # (steps, B, ports of the target, post)

    def add(self, theta: np.ndarray) -> None:
        """Add W y."""
        link, into = self.link, self.currents
        post, pre = link.shape
        y, weights = self.messages.reshape(-1, pre), theta[link.theta]
        if link.is_dense:
            found = (y @ weights.reshape(-1, pre).T).reshape(*into.shape[:2], -1, post)
        else:
            rows = weights.reshape(len(link.ports), -1)
            masked = (sparse.csr_array((row, link.indices, link.indptr), link.shape) for row in rows)
            found = np.stack([(weight @ y.T).T.reshape(*into.shape[:2], post) for weight in masked], axis=2)
        for part, ports in link.runs:
            into[:, :, ports] += found[:, :, part]


class Plan:
    """A version of a network made ready to run: tables that never change, shared by all who run it."""

    def __init__(self, net: Network) -> None:
        parts = delivered(net.elements)
        w = self.wiring = net.wiring
        self.populations, self.inputs, self.readouts = parts.populations, parts.inputs, parts.readouts
        self.events = event_table(parts, w)
        # of what BLAS delivers; the window of messages is not made for the delay of a projection without synapses
        pairs = [(p, w.links[k]) for k, p in enumerate(parts.projections) if p.n_synapses and not by_event(parts, p)]
        self.analog = [(p, link) for p, link in pairs if p.source in parts.inputs]
        self.recurrent = [(p, link) for p, link in pairs if p.source in parts.populations]
        self.at_once = len(parts.populations) == 1 and not self.recurrent  # all steps of a piece in one compiled loop
        listed = np.zeros(w.n_channels, bool)
        for projection in parts.projections:
            if projection.source in parts.inputs and by_event(parts, projection):
                source = parts.inputs[projection.source]
                listed[source.start : source.start + source.size] = True
        self.listed = listed if listed.any() else None
        self.reads = [self._read(readout) for readout in self.readouts]
        self.decays = sorted({float(d) for d in w.decay if d > 0})
        self.start = {p.name: self._start(p) for p in parts.populations.values()}
        units = tuple((p.name, p.cell.states, p.size) for p in parts.populations.values())
        self.kind = (units, w.n_channels, w.history, tuple(w.decay.tolist()), str(w.dtype))

    def _read(self, readout: Readout) -> Read:
        source, layout = self.populations[readout.source], self.wiring.layout
        units, rows = slice(source.start, source.start + source.size), slice(readout.start, readout.start + readout.size)
        (weight, shape), (bias, _) = layout[readout.name, "weight"], layout[readout.name, "bias"]
        return Read(units, rows, shape, weight, bias, readout.decay)

    def _start(self, p: Population) -> np.ndarray:
        """States before the first step, (states, n)."""
        values = np.zeros((len(p.cell.states), p.size), self.wiring.dtype)
        for j, name in enumerate(p.cell.states):
            values[j] = p.initial.get(name, 0.0)
        return values


class Simulator:
    """Runs a network for one user at a time: reusable buffers, and tables of parameters and constants."""

    def __init__(self, net: Network, plan: Plan | None = None) -> None:
        plan = plan or Plan(net)
        self.net: Any = net  # none while nobody uses it: a network does not keep itself alive
        self.plan, self.wiring, self.dtype = plan, plan.wiring, plan.wiring.dtype
        self.events, self.at_once = plan.events, plan.at_once
        self.populations = plan.populations
        self._buffers: dict[tuple[int, int, bool], Buffers] = {}
        self._tables: dict[int, Any] = {}  # lanes -> tables of ``events``, shared by the buffers
        self._gathered: tuple[np.ndarray, np.ndarray] | None = None  # theta, and its weights in the order of delivery
        self._phi = {p.name: np.zeros((len(p.cell.phi), p.size), self.dtype) for p in plan.populations.values()}
        self._k = {p.name: np.zeros((p.cell.n_constants, p.size), self.dtype) for p in plan.populations.values()}

    def tables(self, batch: int) -> tuple[np.ndarray, ...]:
        """``events.tables``, made once for so many lanes and shared by the buffers."""
        if batch not in self._tables:
            self._tables = {batch: self.events.tables(batch)}
        return self._tables[batch]

    def queue(self, tau: int, batch: int) -> EventQueue:
        """An empty event window.

        Raises
        ------
        NotEnoughMemory
            If messages of so long a delay do not fit.
        """
        history, sources = self.wiring.history, self.wiring.n_channels + self.wiring.n_units
        size = 2 * (history + tau) * batch * sources * (self.dtype.itemsize + 4)  # the piece, and what a state keeps of it
        if size > UNASKED:
            what = f"the messages of {sources} sources, {batch} lanes and the last {history} steps (the longest delay)"
            require(size, what, lambda _: "shorten the delays or take fewer lanes")
        return EventQueue(history, tau, batch, sources, self.dtype)

    def start(self, batch: int) -> SimState:
        """State before the first step of ``batch`` lanes."""
        w, plan = self.wiring, self.plan
        states = {name: np.repeat(values[None], batch, axis=0) for name, values in plan.start.items()}
        traces = {d: np.zeros((batch, w.n_units), self.dtype) for d in plan.decays}
        ones = {d: np.zeros(batch, self.dtype) for d in plan.decays}
        z, every = np.zeros((batch, w.n_outputs), self.dtype), np.ones(batch, bool)
        return SimState(batch, 0, states, self.queue(0, batch), z, traces, ones, every, plan.start, plan.kind)

    def run(self, state: SimState, x: np.ndarray, linearise: bool = True) -> Tape:
        """Advance ``state`` by the tau steps of x (tau, B, channels); return their tape (Jacobians only if ``linearise``).

        Raises
        ------
        SimulationDiverged
            If a state, message or readout is not finite at the end.
        """
        tau, batch = x.shape[:2]
        w, theta = self.wiring, self._theta()
        buffers = self.buffers(tau, batch, linearise)
        queue = buffers.queue
        queue.begin(state.past)
        queue.feed(x, self.plan.listed)
        self._prepare()
        self._currents(buffers, theta)
        for name, values in state.states.items():
            buffers.states[name][0] = values
        in_order = not linearise or tau * batch >= IN_ORDER
        synapses = buffers.synapses + (self._weights_in_order(theta) if in_order else (self.events.where, theta))
        if self.at_once:
            cell, window, arguments = buffers.at_once
            (cell.linearise_steps if linearise else cell.advance_steps)(*window, *synapses, *arguments)
        else:
            self._steps(buffers, synapses, theta, linearise)
        last = (queue.values[-1], *(values[tau] for values in buffers.states.values()))
        if not all(map(finite, last)):
            raise self._diverged(buffers, theta, state.time, read=False)
        traces = {k: v.copy() for k, v in state.traces.items()}
        ones = {k: v.copy() for k, v in state.trace_one.items()}
        z = self._read(state, buffers, theta)
        if not finite(z):
            raise self._diverged(buffers, theta, state.time, read=True)
        tape = Tape(state.time, tau, batch, theta, queue.values, z, state.reset.copy(), traces, ones, **buffers.linear,
                    history=w.history, room=buffers.active)  # fmt: skip
        state.states = {name: values[tau].copy() for name, values in buffers.states.items()}
        state.past.follow(queue)
        state.time += tau
        state.reset[...] = False
        return tape

    def _diverged(self, buffers: Buffers, theta: np.ndarray, start: int, read: bool) -> SimulationDiverged:
        """What is not finite in a piece, and where and when; ``read``: readouts have been computed."""
        w, y = self.wiring, buffers.queue.values[self.wiring.history :, :, self.wiring.n_channels :]
        populations = self.populations.values()
        states = {name: values[1:] for name, values in buffers.states.items()}
        messages = {p.name: y[:, :, p.start : p.start + p.size] for p in populations}
        readouts = {r.name: buffers.z[:, :, r.start : r.start + r.size] for r in self.plan.readouts if read}
        return diverged(w, theta, states, messages, readouts, {p.name: p.cell.states for p in populations}, start)

    def _steps(self, buffers: Buffers, synapses: Synapses, theta: np.ndarray, linearise: bool) -> None:
        """Delivery, units and events, step by step."""
        queue = buffers.queue
        for t, calls in enumerate(buffers.calls):
            for product in buffers.recurrent[t]:
                product.add(theta)
            if len(self.events.where):
                deliver_step(queue.history + t, queue.values, queue.fired, queue.n_fired, *synapses, buffers.currents[t])
            for cell, arguments, pushed in calls:
                (cell.linearise if linearise else cell.advance)(*arguments)
                push_step(*pushed)

    def _theta(self) -> np.ndarray:
        """The parameters, with the taps of delays that learn: the one place where a run reads them."""
        if self.net is None:
            raise RuntimeError("this simulator was given back; take one with simulator(net)")
        if self.net.wiring is not self.wiring:
            raise RuntimeError("the network has changed since this run began; start again (a new Online, a new simulation)")
        return self.wiring.whole(self.net.theta)

    # -- parts of a piece ----------------------------------------------------------------------------------------------
    def _prepare(self) -> None:
        """Parameter tables and the constants that depend on them."""
        view = self.net.view(self.net.theta)
        for p in self.populations.values():
            phi = self._phi[p.name]
            for j, name in enumerate(p.cell.phi):
                if name in p.cell.trainable:
                    phi[j] = view[p.name][name]
                elif name in p.parameters:
                    phi[j] = constant(p, name)
                else:
                    phi[j] = p.model.surrogate.parameters[name.removeprefix(SURROGATE)]
            p.cell.constants(phi, self.dtype.type(self.net.dt), self._k[p.name])

    def _weights_in_order(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """No places, and the weights of ``events`` in the order of delivery, gathered again only when theta has changed."""
        if self._gathered is None or not np.array_equal(self._gathered[0], theta):
            self._gathered = theta.copy(), theta[self.events.where]
        return self.events.where[:0], self._gathered[1]

    def _currents(self, buffers: Buffers, theta: np.ndarray) -> None:
        """I for the whole piece before the first event: biases, and analog inputs through BLAS."""
        for rest, bias in buffers.biases:
            rest[...] = 0 if bias is None else theta[bias]
        for product in buffers.analog:
            product.add(theta)

    def _read(self, state: SimState, buffers: Buffers, theta: np.ndarray) -> np.ndarray:
        """z for the piece, advancing the readouts and their traces."""
        w, z, tau = self.wiring, buffers.z, buffers.tau
        y = buffers.queue.values[w.history :, :, w.n_channels :]
        for units, rows, shape, weight, bias, decay in self.plan.reads:
            said = y[:, :, units].reshape(-1, shape[1]) @ theta[weight].reshape(shape).T + theta[bias]
            z[:, :, rows] = said.reshape(tau, -1, shape[0])
            if decay:
                previous = state.z[:, rows]
                for t in range(tau):
                    previous = z[t, :, rows] = z[t, :, rows] + self.dtype.type(decay) * previous
        state.z = z[-1].copy()
        for decay, trace in state.traces.items():
            powers, kept = (decay ** np.arange(tau - 1, -1, -1)).astype(self.dtype), self.dtype.type(decay**tau)
            trace *= kept
            trace += y[0] if tau == 1 else np.tensordot(powers, y, 1)
            state.trace_one[decay] *= kept
            state.trace_one[decay] += powers.sum()
        return z

    def buffers(self, tau: int, batch: int, linearise: bool) -> Buffers:
        key = (tau, batch, linearise)
        if key not in self._buffers:
            if len(self._buffers) > 4:  # odd last pieces must not pile up
                self._buffers.clear()
            self._buffers[key] = Buffers(self, tau, batch, linearise)
        return self._buffers[key]


def constant(population: Population, name: str) -> Any:
    """The value of a parameter that is not learned; ValueError if it is a function that has not drawn it yet."""
    value = population.parameters[name]
    if callable(value):
        raise ValueError(f"population {population.name!r}: {name} is drawn at random; call net.initialize(seed) first")
    return value


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
        populations, w, dtype = simulator.populations, simulator.wiring, simulator.dtype
        self.tau, self.queue = tau, simulator.queue(tau, batch)
        sizes = {name: sum(count(p) * p.size for p in populations.values()) for name, count in _COUNTS.items()}
        self.linear = {name: np.zeros((tau, batch * sizes[name] if linearise else 0), dtype) for name in LINEAR}
        self.active, self.synapses = lists(tau, batch, w.n_units) if linearise else None, simulator.tables(batch)
        self.currents = np.zeros((tau, batch * sizes["I"]), dtype)
        self.z = np.zeros((tau, batch, w.n_outputs), dtype)
        self.states = {p.name: np.zeros((tau + 1, batch, len(p.cell.states), p.size), dtype) for p in populations.values()}
        self.biases: list[tuple[np.ndarray, slice | None]] = []  # currents of a port (tau, B, n), and its bias in theta
        self.at_once: tuple = ()  # cell and arguments of all steps together, see ``Simulator.at_once``
        self.calls: list[list[tuple]] = [[] for _ in range(tau)]  # else, of every step and population
        places, inputs = dict.fromkeys(_COUNTS, 0), {}
        for p in populations.values():
            views = {}
            for name, count in _COUNTS.items():
                flat = self.currents if name == "I" else self.linear[name]
                first, places[name] = places[name], places[name] + count(p) * p.size
                if linearise or name == "I":
                    views[name] = flat[:, first * batch : places[name] * batch].reshape(tau, batch, count(p), p.size)
            inputs[p.name] = views["I"]
            for g, port in enumerate(p.cell.ports):
                bias = w.layout[p.name, f"bias_{port}"][0] if p.model.ports[port].bias else None
                self.biases.append((views["I"][:, :, g], bias))
            self._make_calls(simulator, p, views, batch, linearise)
        self.analog = [self._product(*pair, inputs, 0, tau) for pair in simulator.plan.analog]
        self.recurrent = [[self._product(*pair, inputs, t, t + 1) for pair in simulator.plan.recurrent] for t in range(tau)]

    def _product(self, projection: Projection, link: Link, inputs: dict[str, np.ndarray], begin: int, end: int) -> Product:
        """For steps begin..end-1."""
        low = self.queue.history + begin - int(projection.delay)
        messages = self.queue.values[low : low + end - begin, :, link.source : link.source + link.shape[1]]
        return Product(link, messages, inputs[projection.target][begin:end])

    def _make_calls(
        self, simulator: Simulator, p: Population, views: dict[str, np.ndarray], batch: int, linearise: bool
    ) -> None:
        y = np.zeros((batch, p.size), simulator.dtype)
        s, queue, jacobian = self.states[p.name], self.queue, [views[name] for name in LINEAR if linearise]
        tables, first = (simulator._phi[p.name], simulator._k[p.name]), simulator.wiring.n_channels + p.start
        if simulator.at_once:
            window = (queue.history, first, queue.values, queue.fired, queue.n_fired)
            self.at_once = (p.cell, window, (self.currents, s, views["I"], *tables, y, *jacobian))
            return
        for t in range(self.tau):
            arguments = (s[t], views["I"][t], *tables, s[t + 1], y, *(view[t] for view in jacobian))
            self.calls[t].append((p.cell, arguments, (y, queue.history + t, first, queue.values, queue.fired, queue.n_fired)))
