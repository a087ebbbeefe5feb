"""to_jax: a network as pure functions of JAX, printed from the same symbolic step that its cells are compiled from.

What XLA makes of them runs on whatever JAX runs on, and composes with ``jax.grad``, ``vmap``, ``jit`` and optimizers such as
optax's. There are no events in it: all units send at every step, zeros too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import arguments
from ..compile.jax_cell import JaxCell, jax_cell
from ..network.elements import DELAY, Population, Projection
from ..network.projections import synapses
from ..optional import needed
from ..simulation.simulator import constant

if TYPE_CHECKING:
    from ..network.network import Network

Params = Mapping[str, Mapping[str, Any]]


class Carry(NamedTuple):
    """What goes on from step to step, for B lanes."""

    states: dict[str, dict[str, Any]]  # population -> state -> (B, n)
    past: dict[str, Any]  # source -> (steps, B, n), its messages, that of time t at t modulo steps
    readouts: dict[str, Any]  # name -> (B, outputs)
    time: Any  # steps so far


class Outputs(NamedTuple):
    """What a step says, (B, ...), or a scan, (T, B, ...)."""

    readouts: dict[str, Any]
    messages: dict[str, Any]  # population -> (T, B, n)
    states: dict[str, dict[str, Any]]

    @property
    def z(self) -> Any:
        """The readout, if there is one.

        Raises
        ------
        ValueError
            If there are none or several; they are in ``readouts``, by name.
        """
        if len(self.readouts) != 1:
            raise ValueError(f"there are {len(self.readouts)} readouts, {sorted(self.readouts)}; take one of readouts[...]")
        return next(iter(self.readouts.values()))


def to_jax(net: Network) -> JaxNetwork:
    """A network as pure functions of JAX.

    Parameters
    ----------
    net : Network
        Its structure, dt and what is not trained are taken as they are now; its parameters are arguments of the functions.

    Returns
    -------
    JaxNetwork
        With ``params()``, ``init(batch)``, ``step(params, carry, x)`` and ``scan(params, x)``.

    Raises
    ------
    ModuleNotFoundError
        Without the package ``jax`` (the extra ``jax``).
    ModelError
        As in ``add_population``.
    ValueError
        If the network has no population, or a parameter that is drawn was not yet.

    Examples
    --------
    >>> import jax, numpy as np, spikertrl as srl
    >>> net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 16, theta=0.1).connect("x", "h")
    >>> net = net.connect("h", "h", density=0.5, seed=1).add_readout("z", "h", 2).initialize(0)
    >>> f = srl.to_jax(net)
    >>> x, target = np.ones((20, 4, 2), "float32"), np.zeros((20, 4, 2))
    >>> def loss(params):
    ...     _, out = f.scan(params, x)
    ...     return 0.5 * ((out.z - target) ** 2).sum(-1).mean()
    >>> value, grads = jax.jit(jax.value_and_grad(loss))(f.params())
    >>> grads["h<-x"]["u"].shape, grads["h<-h"]["u"].shape        # (post, pre), or one number a synapse
    ((16, 2), (128,))
    >>> _, expected = srl.gradient(net, srl.BPTT(), x, srl.losses.squared_error(target))
    >>> bool(np.abs(f.theta(grads) - expected).max() < 1e-5 * np.abs(expected).max())
    True
    """
    arguments.network("to_jax", net)
    needed("jax", "srl.to_jax")
    return JaxNetwork(net)


class JaxNetwork:
    """What ``to_jax`` returns. It never changes, and its functions are pure.

    A pytree of parameters has the names of ``net.view(net.theta)``. Weights of a masked connection are one number a synapse, in
    the order of ``net.view(net.theta)[...][...].data``. What is not trained has gradient zero.
    """

    def __init__(self, net: Network) -> None:
        net.ready()
        self._net, self.dtype, self.dt, self._layout = net, net.wiring.dtype, float(net.dt), dict(net.wiring.layout)
        self._inputs = {name: i.size for name, i in net.inputs.items()}
        self._cells = {p.name: jax_cell(p.model) for p in net.populations.values()}
        self._units = {p.name: _Units(p, self._cells[p.name]) for p in net.populations.values()}
        self._links = [_Link(p, p.source in net.inputs, self.dtype) for p in net.projections]
        self._readouts = list(net.readouts)
        self._fixed = {(p.name, port) for p in net.projections for port in p.ports if port not in p.trained_ports}
        self._fixed |= {(r.name, name) for r in net.readouts if not r.trained for name in ("weight", "bias")}
        sizes = self._inputs | {name: p.size for name, p in net.populations.items()}
        longest = {name: max((link.longest for link in self._links if link.source == name), default=0) for name in sizes}
        self._history = {n: (k + (n in self._inputs), sizes[n]) for n, k in longest.items() if k}  # source -> steps, size

    @property
    def source(self) -> dict[str, str]:
        """The generated text of every population's step."""
        return {name: cell.source for name, cell in self._cells.items()}

    # -- parameters ----------------------------------------------------------------------------------------------------
    def params(self, theta: Any = None) -> dict[str, dict[str, Any]]:
        """A vector like theta, default the network's own parameters as they are now, as a pytree.

        Raises
        ------
        ValueError
            If the vector has another shape, or it is float64 and JAX is not set to it.
        """
        np_ = self._numpy()
        theta = self._net.theta if theta is None else theta
        if np.shape(theta) != (self._size,):
            raise ValueError(f"to_jax: a vector like theta has shape ({self._size},), got {np.shape(theta)}")
        theta = np_.array(theta, self.dtype)  # a copy: theta changes as the network is trained
        found: dict[str, dict[str, Any]] = {}
        for (group, name), (part, shape) in self._layout.items():
            found.setdefault(group, {})[name] = theta[part].reshape(shape)
        return found

    def theta(self, params: Params) -> np.ndarray:
        """Parameters, or their gradients, as a vector like ``net.theta``; ``net.theta = f.theta(params)`` brings them back."""
        parts = [np.asarray(params[group][name]).reshape(-1) for group, name in self._layout]
        return np.concatenate([np.zeros(0, self.dtype), *parts]).astype(self.dtype)

    @property
    def _size(self) -> int:
        return max((part.stop for part, _ in self._layout.values()), default=0)

    # -- running -------------------------------------------------------------------------------------------------------
    def init(self, batch: int = 1) -> Carry:
        """What ``step`` begins with: states at their initial values, nothing under way."""
        np_, batch = self._numpy(), arguments.whole("to_jax, init", "batch", batch)
        states = {
            name: {s: np_.broadcast_to(np_.asarray(v, self.dtype), (batch, units.size)) for s, v in units.start.items()}
            for name, units in self._units.items()
        }
        past = {name: np_.zeros((steps, batch, n), self.dtype) for name, (steps, n) in self._history.items()}
        readouts = {r.name: np_.zeros((batch, r.size), self.dtype) for r in self._readouts}
        return Carry(states, past, readouts, np_.asarray(0, "int32"))

    def step(self, params: Params, carry: Carry, x: Any = None) -> tuple[Carry, Outputs]:
        """One step with input x (B, channels), or a mapping input -> (B, size)."""
        return self._step(self._ready(params), carry, self._input(x, 2))

    def scan(self, params: Params, x: Any, carry: Carry | None = None) -> tuple[Carry, Outputs]:
        """All steps of x (T, B, channels), or of a mapping input -> (T, B, size); a network without inputs takes (T, B, 0).

        Parameters
        ----------
        params : pytree
        x : array or mapping
        carry : Carry, optional
            Go on from here; default the start.

        Returns
        -------
        carry : Carry
            After the last step.
        outputs : Outputs
            Arrays (T, B, ...).
        """
        x = self._input(x, 3)
        carry = self.init(next(iter(x.values())).shape[1]) if carry is None else carry
        ready = self._ready(params)
        jax = needed("jax", "srl.to_jax")
        return jax.lax.scan(lambda carry, x_t: self._step(ready, carry, x_t), carry, x)

    def _step(self, ready: dict[str, Any], carry: Carry, x: dict[str, Any]) -> tuple[Carry, Outputs]:
        """Deliver, advance, emit, read: the order of ``simulation.simulator``."""
        jax = needed("jax", "srl.to_jax")
        past, time = dict(carry.past), carry.time
        for name in self._inputs:
            if name in past:
                past[name] = past[name].at[time % len(past[name])].set(x[name])
        currents = dict(ready["bias"])
        for link, weight in zip(self._links, ready["weights"], strict=True):
            arrived = link.deliver(weight, past.get(link.source), x.get(link.source), time)
            for k, port in enumerate(link.ports):
                currents[link.target, port] = currents[link.target, port] + arrived[:, k]
        states, messages, readouts = {}, {}, {}
        for name, units in self._units.items():
            heard = {port: currents[name, port] for port in units.cell.ports}
            states[name], messages[name] = units.step(carry.states[name], heard, ready["own"][name], self.dt, self.dtype)
            if name in past:
                past[name] = past[name].at[time % len(past[name])].set(messages[name])
        for r in self._readouts:
            weight, bias = ready["readouts"][r.name]
            readouts[r.name] = r.decay * carry.readouts[r.name] + _dot(jax, messages[r.source], weight.T) + bias
        return Carry(states, past, readouts, time + 1), Outputs(readouts, messages, states)

    def _ready(self, params: Params) -> dict[str, Any]:
        """What of the parameters is the same at all steps."""
        np_, jax = self._numpy(), needed("jax", "srl.to_jax")
        if missing := [f"[{g!r}][{n!r}]" for g, n in self._layout if n not in params.get(g, {})]:
            raise ValueError(f"to_jax: the parameters lack {', '.join(missing)}; params() gives all of them")

        def of(group: str, name: str) -> Any:
            value = np_.asarray(params[group][name], self.dtype)
            return jax.lax.stop_gradient(value) if (group, name) in self._fixed else value

        bias = {
            (name, port): of(name, f"bias_{port}") if (name, f"bias_{port}") in self._layout else np_.zeros((), self.dtype)
            for name, units in self._units.items()
            for port in units.cell.ports
        }
        own = {name: units.fixed | {n: of(name, n) for n in units.trained} for name, units in self._units.items()}
        names = [(*link.ports, DELAY) if link.bounds else link.ports for link in self._links]
        weights = [link.matrix(np_, [of(link.name, n) for n in own]) for link, own in zip(self._links, names, strict=True)]
        readouts = {r.name: (of(r.name, "weight"), of(r.name, "bias")) for r in self._readouts}
        return {"bias": bias, "own": own, "weights": weights, "readouts": readouts}

    # -- at the door ---------------------------------------------------------------------------------------------------
    def _numpy(self) -> Any:
        """``jax.numpy``, if it can hold the network's numbers now."""
        jax = needed("jax", "srl.to_jax")
        if jax.dtypes.canonicalize_dtype(self.dtype) != self.dtype:
            raise ValueError(
                f"to_jax: the network is {self.dtype} and JAX is set to float32; "
                "call jax.config.update('jax_enable_x64', True) first, or build the network with Network('float32')"
            )
        return jax.numpy

    def _input(self, x: Any, ndim: int) -> dict[str, Any]:
        """x by input; shapes are looked at, values are not (they may be traced). No inputs: the lanes, under the name ""."""
        np_, sizes = self._numpy(), self._inputs
        legal = "(B, {})" if ndim == 2 else "(T, B, {})"
        if x is None and not sizes and ndim == 2:
            return {}
        if isinstance(x, Mapping):
            if set(x) != set(sizes):
                raise ValueError(f"to_jax: x names the inputs {sorted(x)}, the network has {sorted(sizes)}")
            parts = {name: np_.asarray(x[name], self.dtype) for name in sizes}
        else:
            total, found = sum(sizes.values()), getattr(x, "shape", type(x).__name__)
            if x is None or np.ndim(x) != ndim or np.shape(x)[-1] != total:
                raise ValueError(f"to_jax: x must have shape {legal.format(total)} for inputs {sizes}, got {found}")
            whole, ends = np_.asarray(x, self.dtype), np.cumsum([0, *sizes.values()])
            parts = {name: whole[..., a:b] for name, a, b in zip(sizes, ends, ends[1:], strict=False)} or {"": whole}
        lead = next(iter(parts.values())).shape[:-1]
        for name, part in parts.items():
            if part.ndim != ndim or part.shape != (*lead, sizes.get(name, 0)):
                raise ValueError(f"to_jax: x[{name!r}] must have shape {legal.format(sizes[name])}, got {part.shape}")
        return parts


def _dot(jax: Any, a: Any, b: Any) -> Any:
    """A product of matrices in the type of its factors: accelerators would take fewer digits."""
    return jax.numpy.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


class _Units:
    """A population: its step, and what of it is not trained."""

    def __init__(self, population: Population, cell: JaxCell) -> None:
        self.cell, self.size, dtype = cell, population.size, population.cell.dtype
        self.trained = population.cell.trainable
        self.start = {n: np.broadcast_to(population.initial.get(n, 0.0), self.size).astype(dtype) for n in cell.states}
        fixed = [n for n in population.model.parameters if n not in self.trained]
        self.fixed = {n: np.broadcast_to(constant(population, n), self.size).astype(dtype) for n in fixed}

    def step(self, states: Mapping, heard: Mapping, own: Mapping, dt: float, dtype: np.dtype) -> tuple[dict[str, Any], Any]:
        """New states and messages (B, n). Counters carry no gradient."""
        jax = needed("jax", "srl.to_jax")
        new = self.cell.advance(states, heard, own, dt)
        shape = next(iter(states.values())).shape
        new = {n: jax.numpy.broadcast_to(jax.numpy.asarray(v, dtype), shape) for n, v in new.items()}
        new = {n: v if n in self.cell.memory else jax.lax.stop_gradient(v) for n, v in new.items()}
        return new, jax.numpy.broadcast_to(jax.numpy.asarray(self.cell.message(new, own, dt), dtype), shape)


class _Link:
    """A projection: a matrix where all delays are equal, a list of synapses where they are not."""

    def __init__(self, projection: Projection, from_input: bool, dtype: np.dtype) -> None:
        self.name, self.source, self.target = projection.name, projection.source, projection.target
        self.ports, self.shape, self.from_input = projection.ports, projection.shape, from_input
        self.bounds = projection.bounds
        fixed = replace(projection, delay=projection.bounds[1]) if projection.bounds else projection
        self.post, self.pre, self.delays = synapses(fixed)
        self.longest = int(self.delays.max(initial=0))
        self.is_dense = projection.is_dense
        self.one_delay = not projection.bounds and bool((self.delays == self.longest).all())

    def matrix(self, np_: Any, weights: list[Any]) -> Any:
        """(pre, ports * post), or (synapses, ports); with delays that learn, which come last, also (synapses) each:

        the step before, and the share of the step after it.
        """
        if self.bounds:
            low, high = self.bounds
            *weights, given = (w.reshape(-1) for w in weights)
            stop = needed("jax", "srl.to_jax").lax.stop_gradient
            delay = given + stop(np_.clip(given, low, high) - given)
            before = np_.minimum(np_.floor(stop(delay)), high - 1)
            return np_.stack(weights, axis=1), before.astype("int32"), delay - before
        if not self.one_delay:
            return np_.stack([w.reshape(-1) for w in weights], axis=1)
        if not self.is_dense:
            empty = np_.zeros(self.shape, weights[0].dtype)
            weights = [empty.at[self.post, self.pre].set(w, unique_indices=True, indices_are_sorted=True) for w in weights]
        return np_.concatenate(weights, axis=0).T

    def deliver(self, weight: Any, past: Any, x: Any, time: Any) -> Any:
        """What arrives at this step, (B, ports, post). A message of time t lies at t modulo the length of ``past``."""
        jax = needed("jax", "srl.to_jax")
        if self.one_delay:
            sent = x if self.from_input and not self.longest else past[(time - self.longest) % len(past)]
            return _dot(jax, sent, weight).reshape(len(sent), len(self.ports), self.shape[0])
        if self.bounds:
            weight, before, after = weight
            sent = [past[(time - before - k) % len(past), :, self.pre] for k in (0, 1)]
            sent = (1 - after)[:, None] * sent[0] + after[:, None] * sent[1]
        else:
            sent = past[(time - self.delays) % len(past), :, self.pre]  # (synapses, B)
        each = sent[:, :, None] * weight[:, None]
        found = jax.ops.segment_sum(each, self.post, self.shape[0], indices_are_sorted=True)
        return found.transpose(1, 2, 0)
