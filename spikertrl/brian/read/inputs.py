"""Brian2's sources of spikes as channels of the network: what they send in every step, drawn anew or replayed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import brian2 as b2
import numpy as np
from brian2.core.functions import Function
from brian2.core.variables import Subexpression
from brian2.input.poissongroup import PoissonGroup
from brian2.input.timedarray import TimedArray
from brian2.parsing.expressions import parse_expression_dimensions

from .errors import refuse
from .expressions import NUMPY, RANDOM_FUNCTIONS, Names, evaluate, functions, identifiers, parse, timed_array
from .plan import Drive, Plan


@dataclass(frozen=True)
class Channels:
    """An input. ``draw(rng, first, steps, batch)`` gives its messages (steps, batch, size) from step ``first`` on."""

    name: str
    size: int
    kind: str
    draw: Callable[[np.random.Generator, int, int, int], np.ndarray]


def spike_source(group: Any, namespace: Mapping[str, Any], dt: float) -> Channels:
    """A PoissonGroup or SpikeGeneratorGroup."""
    size = int(group.variables["N"].get_value())
    draw = _poisson(group, namespace, dt, size) if isinstance(group, PoissonGroup) else _generator(group, dt, size)
    return Channels(group.name, size, "event", draw)


def _poisson(group: Any, namespace: Mapping[str, Any], dt: float, size: int) -> Callable:
    variable = group.variables["rates"]
    if not isinstance(variable, Subexpression):
        chance = np.array(variable.get_value(), float) * dt
        return lambda rng, first, steps, batch: rng.random((steps, batch, size)) < chance
    tree, line = parse(group, variable.expr), f"rates: {variable.expr}"
    values = known_values(Names(group, namespace), tree, line, dt)

    def draw(rng: np.random.Generator, first: int, steps: int, batch: int) -> np.ndarray:
        times = (step * dt for step in range(first, first + steps))
        rows = [np.broadcast_to(evaluate(tree, {**values, "t": t}), (size,)) for t in times]
        return rng.random((steps, batch, size)) < np.array(rows)[:, None] * dt

    return draw


def _generator(group: Any, dt: float, size: int) -> Callable:
    index, time = (np.array(group.variables[n].get_value()) for n in ("neuron_index", "spike_time"))
    step = np.asarray((time + 1e-3 * dt) / dt, np.int64)  # as Brian2 bins them
    period = int(np.rint(float(group.variables["period"].get_value().item()) / dt))

    def draw(rng: np.random.Generator, first: int, steps: int, batch: int) -> np.ndarray:
        found = np.zeros((steps, batch, size))
        for shift in range(first - first % period, first + steps, period) if period else (0,):
            late = step + shift - first
            inside = (late >= 0) & (late < steps)
            found[late[inside], :, index[inside]] = 1
        return found

    return draw


def poisson_input(thing: Any, size: int, dt: float) -> Channels:
    """A PoissonInput: the number of its spikes, for every neuron."""
    chance = float(thing.rate) * dt
    return Channels(
        thing.name, size, "event", lambda rng, first, steps, batch: rng.binomial(int(thing.N), chance, (steps, batch, size))
    )


def drive(part: Drive, dt: float) -> Channels:
    """A part of the equations that depends on time alone."""

    def draw(rng: np.random.Generator, first: int, steps: int, batch: int) -> np.ndarray:
        return np.repeat(part.sample(np.arange(first, first + steps) * dt)[:, None], batch, axis=1)

    return Channels(part.name, part.channels, "analog", draw)


def replayed(values: Any, channels: Channels, first: int, steps: int, batch: int, dt: float) -> np.ndarray:
    """Given messages for an input as (steps, batch, size): an array, or a SpikeMonitor of the source from step ``first`` on.

    Raises
    ------
    ValueError
        If the shape does not fit.
    """
    if isinstance(values, b2.SpikeMonitor):
        found = np.zeros((steps, batch, channels.size))
        step, index = np.rint(np.asarray(values.t) / dt).astype(int) - first, np.asarray(values.i)
        inside = (step >= 0) & (step < steps)
        found[step[inside], :, index[inside]] = 1
        return found
    array = np.asarray(values, float)
    array = array[:, None] if array.ndim == 2 else array
    if array.shape not in ((steps, batch, channels.size), (steps, 1, channels.size)):
        raise ValueError(
            f"replace[{channels.name!r}] has shape {array.shape}; legal: {(steps, batch, channels.size)} or a SpikeMonitor"
        )
    return np.broadcast_to(array, (steps, batch, channels.size))


def known_values(names: Names, tree: ast.AST, line: str, dt: float) -> dict[str, Any]:
    """Values in SI units of every name in the tree but ``t``, TimedArrays included."""
    found: dict[str, Any] = {"dt": dt}
    for name in sorted(functions(tree) - set(NUMPY)):
        function = names.find(name, line)
        if isinstance(function, TimedArray):
            found[name] = timed_array(function, dt)
        elif name in RANDOM_FUNCTIONS:
            refuse(names.group, line, f"{name}() is random", "random input comes from PoissonGroup or PoissonInput")
        else:
            refuse(names.group, line, f"the function {name}() is not known here", "sample it into a TimedArray")
    for name in sorted(identifiers(tree) - set(NUMPY) - {"t", "dt"}):
        variable = names.find(name, line)
        if isinstance(variable, Function):
            refuse(names.group, line, f"{name!r} is a function, not a number", f"call it, as in {name}(t)")
        found[name] = np.array(variable.get_value())
    return found


def drive_of(plan: Plan, tree: ast.expr, line: str) -> str:
    """Register the part as a drive; returns the name of its port. Equal parts share one."""
    text = ast.unparse(tree)
    if have := next((d for d in plan.drives if d.text == text), None):
        return have.port
    dt = float(plan.group.clock.dt_)
    values = known_values(plan.names, tree, line, dt)
    channels = plan.size if any(np.ndim(v) for v in values.values() if not callable(v)) else 1
    names = identifiers(tree) | functions(tree)
    variables = plan.group.resolve_all(names, plan.names.namespace, user_identifiers=set())
    port = plan.port("drive", parse_expression_dimensions(text, variables), text)

    def sample(t: np.ndarray) -> np.ndarray:
        rows = [np.broadcast_to(evaluate(tree, {**values, "t": moment}), (channels,)) for moment in t]
        return np.array(rows, float).reshape(len(t), channels)

    plan.drives.append(Drive(f"{plan.name}.{port}", text, port, channels, sample))
    return port
