"""Groups and synapses of a Brian2 network, one function for each kind of part of a spikertrl network."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import brian2 as b2
import numpy as np
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension
from scipy import sparse

from ...compile import discretise
from ...compile.quantities import dimension
from ...network.elements import Input, NetworkError, Population, Projection, Readout
from ...network.network import Network
from ...network.projections import synapses
from .text import GroupText, discrete_step, group_text

MESSAGES = {
    "Event": lambda v: np.where(v > 0, 1.0, 0.0),
    "StopEvent": lambda v: np.where(v > 0, 1.0, 0.0),
    "IsZero": lambda v: np.where(v <= 0, 1.0, 0.0),
    "Sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "Select": np.where,
    "Test": lambda v: np.where(v, 1.0, 0.0),
    "Clip": np.clip,
    "Absolute": np.abs,
    "Sign": np.sign,
}


class Sender(NamedTuple):
    """A group that sends messages; whether they have values, by which event, and where the message of d steps ago is."""

    group: Any
    graded: bool
    event: str
    now: int  # d of the message that stands in y when synapses are served: 0 for inputs, 1 for units

    def message(self, delay: int) -> str:
        return "y_pre" if delay == self.now else f"y_{delay}_pre"


def safe_name(name: str, taken: set[str]) -> str:
    """A name that Brian2 accepts and that no other object of the network has."""
    post, arrow, pre = name.partition("<-")
    found = re.sub(r"\W", "_", f"{pre}_to_{post}" if arrow else name, flags=re.ASCII)
    found = found if re.match(r"[A-Za-z]", found) else f"group_{found}"
    while found in taken:
        found += "_"
    taken.add(found)
    return found


def quantity(values: Any, dim: Dimension) -> Any:
    """Numbers in SI base units as a Brian2 quantity."""
    return np.asarray(values, float) if dim is DIMENSIONLESS else b2.Quantity(np.asarray(values, float), dim=dim)


def longest_delay(net: Network, source: str) -> int:
    """The longest delay of what a source sends, at least 1."""
    return max([1, *(int(np.max(p.delay)) for p in net.projections if p.source == source and p.n_synapses)])


# -- units -------------------------------------------------------------------------------------------------------------
def population_group(net: Network, population: Population, clock: Any, name: str) -> tuple[Any, GroupText]:
    """The NeuronGroup of a population, its regular operations included."""
    model, view = population.model, net.view(net.theta).get(population.name, {})
    values = {n: view[n] if n in model.trainable else population.parameters[n] for n in model.parameters}
    for parameter, value in values.items():
        if callable(value):
            raise NetworkError(
                f"population {population.name!r}: {parameter} is drawn at random; call net.initialize(seed) first"
            )
    shared = {n for n, value in values.items() if np.ndim(value) == 0}
    positive = {n for n, value in values.items() if np.all(np.asarray(value) > 0)}
    first = _first_message(population, values)
    synaptic = {f"w_{port}" for p in net.populations.values() for port in p.model.ports}
    text = group_text(model, shared, positive, longest_delay(net, population.name), synaptic)
    group = b2.NeuronGroup(
        population.size,
        text.equations,
        method="euler" if model.integrate else model.method,
        threshold=text.threshold or None,
        reset=text.reset if text.threshold else None,
        refractory=text.names.get(model.refractory, model.refractory) or False,
        events={"sent": "y != 0"} if text.event == "sent" else None,
        namespace=dict(text.namespace),
        dtype=np.dtype(net.dtype).type,
        clock=clock,
        name=name,
    )
    for n, value in values.items():
        setattr(group, text.names.get(n, n), quantity(value, dimension(model.parameters[n].unit)))
    for n, value in population.initial.items():
        setattr(group, text.names.get(n, n), quantity(value, dimension(model.states[n].unit)))
    for port in (p for p, record in model.ports.items() if record.bias):
        setattr(group, f"bias_{port}", quantity(view[f"bias_{port}"], dimension(model.ports[port].unit)))
        setattr(group, f"I_{port}", quantity(view[f"bias_{port}"], dimension(model.ports[port].unit)))
    if "y" in group.variables:
        group.y = first
    for k, (when, order, code) in enumerate(text.operations):
        group.run_regularly(code, clock=clock, when=when, order=order, name=f"{name}_step_{k}")
    return group, text


def _first_message(population: Population, values: dict[str, Any]) -> np.ndarray:
    """y (n,) before the first step, which the first update may read; nobody receives it."""
    import sympy

    known = {**{n: np.asarray(v, float) for n, v in values.items()}, **population.initial, discretise.COUNTER: 0.0}
    message = discrete_step(population.model).message
    names = sorted(str(s) for s in message.free_symbols)
    found = sympy.lambdify(names, message, modules=[MESSAGES, "numpy"])(*(known[n] for n in names))
    found = np.broadcast_to(np.asarray(found, float), (population.size,))
    if population.model.is_ode and found.any():
        raise NetworkError(
            f"population {population.name!r}: units {np.flatnonzero(found)[:5].tolist()} start above threshold; Brian2 sees a "
            "spike only after its first step, so the two would differ. Start below it: add_population(..., initial={...})"
        )
    return found


# -- inputs ------------------------------------------------------------------------------------------------------------
def input_group(net: Network, channels: Input, x: np.ndarray | None, clock: Any, name: str) -> tuple[Any, Sender]:
    """Events of value 1 as a SpikeGeneratorGroup, other values as a group that reads a TimedArray; x (T, n) or None."""
    dt = net.dt * b2.second
    part = np.zeros((0, channels.size)) if x is None else x[:, channels.start : channels.start + channels.size]
    if channels.kind == "event" and np.isin(part, (0, 1)).all():
        times, indices = np.nonzero(part)
        group = b2.SpikeGeneratorGroup(channels.size, indices, times * dt, clock=clock, when="start", name=name)
        return group, Sender(group, False, "spike", 0)
    depth = longest_delay(net, channels.name)
    values = b2.TimedArray(np.vstack([part, np.zeros(channels.size)]), dt=dt, name=f"{name}_values")
    equations = "\n".join(["y : 1", *(f"y_{d} : 1" for d in range(1, depth + 1))])
    group = b2.NeuronGroup(
        channels.size,
        equations,
        threshold="y != 0",
        reset="",
        namespace={values.name: values},
        dtype=np.dtype(net.dtype).type,
        clock=clock,
        name=name,
    )
    code = [*(f"y_{d} = {f'y_{d - 1}' if d > 1 else 'y'}" for d in range(depth, 0, -1)), f"y = {values.name}(t, i)"]
    group.run_regularly("\n".join(code), clock=clock, when="start", order=0, name=f"{name}_read")
    group.thresholder["spike"].when = "start"
    group.thresholder["spike"].order = 1
    return group, Sender(group, True, "spike", 0)


# -- synapses ----------------------------------------------------------------------------------------------------------
def projection_synapses(net: Network, projection: Projection, sender: Sender, target: Any, text: GroupText, clock: Any,
                        name: str) -> Any:  # fmt: skip
    """Synapses with one weight a port, and their delays; from unit to unit Brian2's delay is one step less."""
    model = net.populations[projection.target].model
    post, pre, delay = synapses(projection)
    uniform = not len(delay) or bool((delay == delay[0]).all())
    weights = [f"w_{p} : {discretise._unit(model.ports[p].unit)}" for p in projection.ports]
    weights += ["steps : integer (constant)"] if sender.graded and not uniform else []
    message = _message(sender, delay, uniform)
    code = [text.receive[p].format(f"w_{p}{message}") for p in projection.ports]
    waits = (delay - sender.now) * net.dt * b2.second
    keywords = {"delay": waits[0] if len(waits) else 0 * b2.second} if uniform else {}
    found = b2.Synapses(
        sender.group, target, "\n".join(weights), on_pre="\n".join(code), on_event=sender.event, namespace={},
        dtype=np.dtype(net.dtype).type, clock=clock, name=name, **keywords,
    )  # fmt: skip
    if not len(post):
        found.connect(condition="False")
        return found
    found.connect(i=pre, j=post)
    view = net.view(net.theta)[projection.name]
    for port in projection.ports:
        values = view[port].data if sparse.issparse(view[port]) else np.asarray(view[port]).reshape(-1)
        setattr(found, f"w_{port}", quantity(values, dimension(model.ports[port].unit)))
    if not uniform:
        found.pre.delay = waits
        if sender.graded:
            found.steps = delay
    return found


def _message(sender: Sender, delay: np.ndarray, uniform: bool) -> str:
    """ "*y" as it was sent; nothing for events of value 1."""
    if not sender.graded:
        return ""
    if uniform:
        return f"*{sender.message(int(delay[0]) if len(delay) else sender.now)}"
    return "*(" + " + ".join(f"int(steps == {d})*{sender.message(d)}" for d in np.unique(delay)) + ")"


# -- readouts ----------------------------------------------------------------------------------------------------------
def readout_group(net: Network, readout: Readout, sender: Sender, clock: Any, name: str, synapses_name: str) -> tuple[Any, Any]:
    """z(t) = decay z(t-1) + W y(t) + b at the end of the step, and the synapses that carry y(t) there."""
    view, dtype = net.view(net.theta)[readout.name], np.dtype(net.dtype).type
    equations = "z : 1\nI_z : 1\nbias : 1 (constant)\ndecay : 1 (constant, shared)"
    group = b2.NeuronGroup(readout.size, equations, namespace={}, dtype=dtype, clock=clock, name=name)
    group.bias, group.decay = np.asarray(view["bias"], float), readout.decay
    group.run_regularly("z = decay*z + I_z + bias\nI_z = 0", clock=clock, when="end", order=0, name=f"{name}_read")
    found = b2.Synapses(
        sender.group,
        group,
        "weight : 1",
        on_pre=f"I_z_post += weight{'*y_pre' * sender.graded}",
        on_event=sender.event,
        delay=0 * b2.second,
        namespace={},
        dtype=dtype,
        clock=clock,
        name=synapses_name,
    )
    found.pre.when = "before_end"  # events of a name of their own come after the thresholds
    post, pre = (x.reshape(-1) for x in np.indices(view["weight"].shape))
    found.connect(i=pre, j=post)
    found.weight = np.asarray(view["weight"], float).reshape(-1)
    return group, found
