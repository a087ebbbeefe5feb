"""An independent reference: networks of the shipped models in JAX, float64, differentiated by JAX alone.

Every cell is written by hand from the equations (``jax_cells``), never from the text of a Model, and the event function is a
``custom_jvp`` whose derivative is the pseudo-derivative. One step t, for every population:

1. I(t) = bias + sum over synapses of weight * y_pre(t - delay); a delay of 0 is for inputs only; messages before t = 1 are 0;
2. s(t) = F(s(t-1), I(t)); the unit's own previous message inside F is O(s(t-1)), recomputed, and the gradient passes through it
   unless ``reset_gradient`` is False, which stops it at every event inside F;
3. y(t) = O(s(t)); 4. z(t) = decay * z(t-1) + W y(t) + b.

``params`` mirrors ``net.view(net.theta)``: params["h<-x"]["u"] (post, pre), params["h"]["bias_u"], params["h"]["theta"],
params["z"]["weight"], params["z"]["bias"].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import SimpleNamespace as Names

import jax
import jax.numpy as jnp
import numpy as np

from jax_cells import CELLS, make_event
from jax_losses import Loss

PREFIX = {"p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0}
UNITS = {prefix + unit: factor for prefix, factor in PREFIX.items() for unit in ("V", "s", "A", "F", "S")}


@dataclass(frozen=True)
class PopulationSpec:
    """``parameters``: SI values, scalar or (n,), used where ``params`` holds none. ``initial``: states before t = 1."""

    model: str
    size: int
    parameters: Mapping[str, np.ndarray | float] = field(default_factory=dict)
    initial: Mapping[str, np.ndarray | float] = field(default_factory=dict)
    surrogate: tuple[str, Mapping[str, float]] = ("triangle", {"gamma": 0.7, "width": 1.0})
    reset_gradient: bool = True


@dataclass(frozen=True)
class ProjectionSpec:
    """``mask``: bool (post, pre); ``delay``: steps, one number or (post, pre); learned: at most so many, in ``params``."""

    name: str
    source: str
    target: str
    ports: tuple[str, ...]
    mask: np.ndarray
    delay: int | np.ndarray
    learned: bool = False


@dataclass(frozen=True)
class ReadoutSpec:
    name: str
    source: str
    size: int
    decay: float = 0.0


@dataclass(frozen=True, eq=False)
class NetworkSpec:
    """A network: inputs (name -> channels), populations, projections, readouts, and the step in seconds."""

    inputs: Mapping[str, int]
    populations: Mapping[str, PopulationSpec]
    projections: tuple[ProjectionSpec, ...]
    readouts: tuple[ReadoutSpec, ...]
    dt: float = 1e-3
    stop_between_units: bool = False  # e-prop: no gradient through messages from unit to unit
    stop_between_states: bool = False  # RFLO, with the line above: nor from one state of a unit to another

    def __post_init__(self) -> None:
        for p in self.projections:
            if np.any(self.delays(p)[p.mask] < (p.source in self.populations)):
                raise ValueError(f"projection {p.name!r}: delays start at 1 between units and at 0 from an input")

    @staticmethod
    def delays(projection: ProjectionSpec) -> np.ndarray:
        """Delays as (post, pre)."""
        return np.broadcast_to(projection.delay, projection.mask.shape)

    def depth(self, source: str) -> int:
        """How many past messages of a source are needed."""
        used = [self.delays(p)[p.mask] for p in self.projections if p.source == source]
        return max((int(d.max()) for d in used if d.size), default=0)


# -- the network -------------------------------------------------------------------------------------------------------
def unroll(spec: NetworkSpec, params: Mapping, x: np.ndarray | Mapping) -> tuple[dict, dict, dict]:
    """Run the network on x: (T, B, channels of all inputs), or a dict; returns readouts, messages, states as (T, B, n)."""
    if not isinstance(x, Mapping):
        x = dict(zip(spec.inputs, jnp.split(x, np.cumsum(list(spec.inputs.values()))[:-1], axis=2), strict=True))
    x = {name: jnp.asarray(values, jnp.float64) for name, values in x.items()}
    batch = next(iter(x.values())).shape[1]
    sizes = dict(spec.inputs) | {name: pop.size for name, pop in spec.populations.items()}
    past = {name: jnp.zeros((spec.depth(name), batch, n)) for name, n in sizes.items()}
    states = {name: _start(pop, batch) for name, pop in spec.populations.items()}
    z = {r.name: jnp.zeros((batch, r.size)) for r in spec.readouts}
    _, (readouts, messages, states) = jax.lax.scan(partial(_step, spec, params), (states, past, z), x)
    return readouts, messages, states


def _start(pop: PopulationSpec, batch: int) -> dict[str, jax.Array]:
    shape = batch, pop.size
    initial = {name: jnp.asarray(pop.initial.get(name, 0.0), jnp.float64) for name in CELLS[pop.model].states}
    return {name: jnp.broadcast_to(values, shape) for name, values in initial.items()}


def _step(spec: NetworkSpec, params: Mapping, carry: tuple, x_t: dict) -> tuple:
    states, past, z = carry
    arrived = {name: _arrivals(spec, params, name, x_t, past) for name in spec.populations}
    done = {
        name: _unit(pop, params.get(name, {}), states[name], arrived[name], spec.dt, spec.stop_between_states)
        for name, pop in spec.populations.items()
    }
    states = {name: s for name, (s, _) in done.items()}
    messages = {name: y for name, (_, y) in done.items()}
    sent = {**x_t, **messages}
    past = {name: jnp.concatenate([sent[name][None], old])[: len(old)] for name, old in past.items()}
    z = {r.name: r.decay * z[r.name] + _read(params[r.name], messages[r.source]) for r in spec.readouts}
    return (states, past, z), (z, messages, states)


def _read(weights: Mapping, message: jax.Array) -> jax.Array:
    return message @ weights["weight"].T + weights["bias"]


def _arrivals(spec: NetworkSpec, params: Mapping, target: str, x_t: Mapping, past: Mapping) -> dict[str, jax.Array | float]:
    own = params.get(target, {})
    total = {port: own.get(f"bias_{port}", 0.0) for port in CELLS[spec.populations[target].model].ports}
    for p in (p for p in spec.projections if p.target == target):
        delays = spec.delays(p)
        recent = jnp.concatenate([x_t[p.source][None], past[p.source]]) if p.source in x_t else past[p.source]
        recent = jax.lax.stop_gradient(recent) if spec.stop_between_units else recent
        if p.learned:
            between = _between(params[p.name]["delay"] - (p.source not in x_t), recent)
            for port in p.ports:
                total[port] = total[port] + jnp.einsum("ij,ijb->bi", jnp.where(p.mask, params[p.name][port], 0), between)
            continue
        lags = np.arange(len(recent)) + (p.source not in x_t)
        chosen = (p.mask & (delays == lags[:, None, None])).astype(float)  # (lag, post, pre): the synapses of every delay
        for port in p.ports:
            total[port] = total[port] + jnp.einsum("lij,ij,lbj->bi", chosen, params[p.name][port], recent)
    return total


def _between(back: jax.Array, recent: jax.Array) -> jax.Array:
    """Messages ``back`` (post, pre) places ago, newest of ``recent`` (places, B, pre) first, on the line between neighbours."""
    newer = jnp.clip(jnp.floor(jax.lax.stop_gradient(back)).astype(int), 0, len(recent) - 2)
    pre = jnp.arange(recent.shape[2])
    first, second = recent[newer, :, pre], recent[newer + 1, :, pre]
    return first + (back - newer)[..., None] * (second - first)


def _unit(pop: PopulationSpec, trained: Mapping, s: dict, arrived: dict, dt: float, alone: bool) -> tuple:
    cell = CELLS[pop.model]
    event = make_event(*pop.surrogate)
    inside = event if pop.reset_gradient else lambda v: jax.lax.stop_gradient(event(v))
    p = Names(**{n: jnp.asarray(v, jnp.float64) for n, v in pop.parameters.items()} | dict(trained))
    new = cell.advance(p, Names(**s), Names(**arrived), inside, dt)
    if alone:
        for name in new:
            others = {n: v if n == name else jax.lax.stop_gradient(v) for n, v in s.items()}
            new[name] = cell.advance(p, Names(**others), Names(**arrived), inside, dt)[name]
    new = {name: jnp.broadcast_to(value, s[name].shape) for name, value in new.items()}
    return new, cell.emit(p, Names(**new), event)


# -- gradients ---------------------------------------------------------------------------------------------------------
def reference_run(spec: NetworkSpec, params: Mapping, x: np.ndarray | Mapping) -> tuple[dict, dict, dict]:
    """``unroll`` in float64, compiled, as numpy arrays."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, _compiled(spec, None, False)(_float64(params), x))


def reference_value(spec: NetworkSpec, params: Mapping, x: np.ndarray | Mapping, loss_fn: Loss) -> float:
    """``loss_fn(readouts, messages)`` in float64."""
    with jax.enable_x64(True):
        return float(_compiled(spec, loss_fn, False)(_float64(params), x))


def reference_gradient(spec: NetworkSpec, params: Mapping, x: np.ndarray | Mapping, loss_fn: Loss) -> tuple[float, dict]:
    """Value and gradient (nested like ``params``) of ``loss_fn(readouts, messages)`` in float64; masked entries get 0."""
    with jax.enable_x64(True):
        value, grads = _compiled(spec, loss_fn, True)(_float64(params), x)
        return float(value), jax.tree.map(np.asarray, grads)


@lru_cache(maxsize=64)
def _compiled(spec: NetworkSpec, loss_fn: Loss | None, gradient: bool) -> Callable:
    """Compiled once per specification and loss, both taken by identity; barely optimized, as the networks are small."""

    def run(params: Mapping, x: np.ndarray | Mapping) -> object:
        found = unroll(spec, params, x)
        return found if loss_fn is None else loss_fn(*found[:2])

    return jax.jit(jax.value_and_grad(run) if gradient else run, compiler_options={"xla_backend_optimization_level": 0})


def _float64(params: Mapping) -> dict:
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), dict(params))


# -- from records and networks: the only code that knows the package -----------------------------------------------------
def si(value: float | str) -> float:
    """A number, or text such as "20*ms", in SI units."""
    if not isinstance(value, str):
        return float(value)
    return float(eval(value, {}, UNITS))


def population(model: object, size: int, initial: Mapping | None = None, **parameters: object) -> PopulationSpec:
    """A population of a Model record: its defaults, initial values and surrogate; keywords replace parameters (SI values)."""
    values = {name: si(p.default) for name, p in model.parameters.items()} | parameters
    start = {name: si(s.initial) for name, s in model.states.items()} | dict(initial or {})
    surrogate = (model.surrogate.name, dict(model.surrogate.parameters))
    return PopulationSpec(model.name, size, values, start, surrogate, model.reset_gradient)


def from_network(net: object) -> tuple[NetworkSpec, dict]:
    """Specification and float64 parameters of a spikertrl Network, read through its public face."""
    view = net.view(net.theta)
    populations = {name: population(p.model, p.size, p.initial, **p.parameters) for name, p in net.populations.items()}
    projections = tuple(
        ProjectionSpec(p.name, p.source, p.target, tuple(p.ports), *_synapses(p), bool(p.bounds)) for p in net.projections
    )
    readouts = tuple(ReadoutSpec(r.name, r.source, r.size, float(r.decay)) for r in net.readouts)
    params = {group: {name: _dense(values) for name, values in named.items()} for group, named in view.items()}
    inputs = {name: source.size for name, source in net.inputs.items()}
    return NetworkSpec(inputs, populations, projections, readouts, float(net.dt)), params


def _synapses(projection: object) -> tuple[np.ndarray, np.ndarray]:
    """Mask and delays of a projection as (post, pre); it keeps delays as one number or in CSR order."""
    rows, columns = np.indices(projection.shape).reshape(2, -1)
    if projection.indptr is not None:
        rows, columns = np.repeat(np.arange(projection.shape[0]), np.diff(projection.indptr)), projection.indices
    mask, delay = np.zeros(projection.shape, bool), np.zeros(projection.shape, int)
    mask[rows, columns] = True
    delay[rows, columns] = projection.bounds[1] if projection.bounds else projection.delay
    return mask, delay


def _dense(weights: object) -> np.ndarray:
    return np.array(weights.toarray() if hasattr(weights, "toarray") else weights, np.float64)


def to_flat(net: object, grads: Mapping) -> np.ndarray:
    """Gradients of ``reference_gradient`` in the order of ``net.theta``."""
    flat = np.zeros(net.theta.shape, net.theta.dtype)
    view = net.view(flat)
    for name, group in grads.items():
        for key, value in group.items():
            if hasattr(view[name][key], "toarray"):
                csr = view[name][key]
                csr.data[...] = value[np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr)), csr.indices]
            else:
                view[name][key][...] = value
    return flat
