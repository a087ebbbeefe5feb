"""Brian2's sources of spikes as channels of the network: what they send in every step, drawn anew or replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import brian2 as b2
import numpy as np
from brian2.core.variables import Subexpression
from brian2.input.poissongroup import PoissonGroup

from .drives import known_values
from .expressions import Names, evaluate, parse
from .plan import Drive


@dataclass(frozen=True)
class Channels:
    """An input. ``draw(rng, steps, batch)`` gives its messages (steps, batch, size)."""

    name: str
    size: int
    kind: str
    draw: Callable[[np.random.Generator, int, int], np.ndarray]


def spike_source(group: Any, namespace: Mapping[str, Any], dt: float) -> Channels:
    """A PoissonGroup or SpikeGeneratorGroup."""
    size = int(group.variables["N"].get_value())
    draw = _poisson(group, namespace, dt, size) if isinstance(group, PoissonGroup) else _generator(group, dt, size)
    return Channels(group.name, size, "event", draw)


def _poisson(group: Any, namespace: Mapping[str, Any], dt: float, size: int) -> Callable:
    variable = group.variables["rates"]
    if not isinstance(variable, Subexpression):
        chance = np.array(variable.get_value(), float) * dt
        return lambda rng, steps, batch: rng.random((steps, batch, size)) < chance
    tree, line = parse(group, variable.expr), f"rates: {variable.expr}"
    values = known_values(Names(group, namespace), tree, line, dt)

    def draw(rng: np.random.Generator, steps: int, batch: int) -> np.ndarray:
        rows = [np.broadcast_to(evaluate(tree, {**values, "t": step * dt}), (size,)) for step in range(steps)]
        return rng.random((steps, batch, size)) < np.array(rows)[:, None] * dt

    return draw


def _generator(group: Any, dt: float, size: int) -> Callable:
    index, time = (np.array(group.variables[n].get_value()) for n in ("neuron_index", "spike_time"))
    step = np.asarray((time + 1e-3 * dt) / dt, np.int64)  # as Brian2 bins them
    period = int(np.rint(float(group.variables["period"].get_value().item()) / dt))

    def draw(rng: np.random.Generator, steps: int, batch: int) -> np.ndarray:
        found = np.zeros((steps, batch, size))
        for shift in range(0, steps, period) if period else (0,):
            inside = step + shift < steps
            found[step[inside] + shift, :, index[inside]] = 1
        return found

    return draw


def poisson_input(thing: Any, size: int, dt: float) -> Channels:
    """A PoissonInput: the number of its spikes, for every neuron."""
    chance = float(thing.rate) * dt
    return Channels(
        thing.name, size, "event", lambda rng, steps, batch: rng.binomial(int(thing.N), chance, (steps, batch, size))
    )


def drive(part: Drive, dt: float) -> Channels:
    """A part of the equations that depends on time alone."""

    def draw(rng: np.random.Generator, steps: int, batch: int) -> np.ndarray:
        return np.repeat(part.sample(np.arange(steps) * dt)[:, None], batch, axis=1)

    return Channels(part.name, part.channels, "analog", draw)


def replayed(values: Any, channels: Channels, steps: int, batch: int, dt: float) -> np.ndarray:
    """Given messages for an input as (steps, batch, size): an array, or a SpikeMonitor of the source.

    Raises
    ------
    ValueError
        If the shape does not fit.
    """
    if isinstance(values, b2.SpikeMonitor):
        found = np.zeros((steps, batch, channels.size))
        step, index = np.rint(np.asarray(values.t) / dt).astype(int), np.asarray(values.i)
        inside = step < steps
        found[step[inside], :, index[inside]] = 1
        return found
    array = np.asarray(values, float)
    array = array[:, None] if array.ndim == 2 else array
    if array.shape not in ((steps, batch, channels.size), (steps, 1, channels.size)):
        raise ValueError(
            f"replace[{channels.name!r}] has shape {array.shape}; legal: {(steps, batch, channels.size)} or a SpikeMonitor"
        )
    return np.broadcast_to(array, (steps, batch, channels.size))
