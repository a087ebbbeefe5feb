"""Recordings as the data structures of other packages: neo, pandas, xarray. Each is imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from .. import arguments
from ..optional import needed


class Recorded(Protocol):
    """What is read of a ``Run``."""

    net: Any
    dt: float
    n_steps: int
    batch: int
    readouts: dict[str, np.ndarray]
    events: Any  # arrays time, batch, unit, value of equal length, and ``of(lane, first, last)``
    states: dict[str, dict[str, np.ndarray]]
    messages: dict[str, np.ndarray]
    steps: np.ndarray
    units: dict[str, np.ndarray]
    start: int


# Dimensions (metre, kilogram, second, ampere, kelvin, mole, candela) of the units that states come in, and their SI names.
UNITS: dict[tuple[float, ...], str] = {
    (0, 0, 0, 0, 0, 0, 0): "dimensionless",
    (2, 1, -3, -1, 0, 0, 0): "volt",
    (0, 0, 0, 1, 0, 0, 0): "ampere",
    (-2, -1, 3, 2, 0, 0, 0): "siemens",
    (2, 1, -3, -2, 0, 0, 0): "ohm",
    (-2, -1, 4, 2, 0, 0, 0): "farad",
    (0, 0, 1, 0, 0, 0, 0): "second",
    (0, 0, -1, 0, 0, 0, 0): "hertz",
    (0, 0, 1, 1, 0, 0, 0): "coulomb",
}
BASE = ("metre", "kilogram", "second", "ampere", "kelvin", "mole", "candela")




def unit_name(dims: tuple[float, ...]) -> str:
    """SI unit of Brian2's seven exponents, such as "volt" or "metre * second**-1".

    >>> unit_name((0, 0, 0, 1, 0, 0, 0)), unit_name((1, 0, -1, 0, 0, 0, 0))
    ('ampere', 'metre * second**-1')
    """
    if tuple(dims) in UNITS:
        return UNITS[tuple(dims)]
    return " * ".join(name if x == 1 else f"{name}**{x:g}" for name, x in zip(BASE, dims, strict=True) if x)


def recorded(run: Recorded) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """(population, variable, unit, values (steps, B, units)) of all states, and of all messages under the name "y"."""
    for name, population in run.net.populations.items():
        for state, values in run.states.get(name, {}).items():
            yield name, state, unit_name(population.cell.dims.get(state, (0.0,) * 7)), values
        if name in run.messages:
            yield name, "y", "dimensionless", run.messages[name]


# -- neo ---------------------------------------------------------------------------------------------------------------
def to_neo(run: Recorded, states: bool) -> Any:
    """See ``Run.to_neo``."""
    arguments.flag("to_neo", "states", states)
    neo, pq = needed("neo", "run.to_neo()"), needed("quantities", "run.to_neo()")
    block = neo.Block(name="spikertrl", dt=run.dt * pq.s)
    begin, stop = run.start * run.dt * pq.s, (run.start + run.n_steps) * run.dt * pq.s
    for lane in range(run.batch):
        segment = neo.Segment(name=f"lane {lane}", index=lane)
        for name, population in run.net.populations.items():
            events = run.events.of(lane, population.start, population.start + population.size)
            order = np.argsort(events.unit, kind="stable")
            unit, step, value = (x[order] for x in (events.unit - population.start, run.start + events.time, events.value))
            cuts = np.searchsorted(unit, np.arange(population.size + 1))
            for i in range(population.size):
                part = slice(cuts[i], cuts[i + 1])
                train = neo.SpikeTrain(
                    step[part] * run.dt * pq.s, t_stop=stop, t_start=begin, sampling_rate=1 / (run.dt * pq.s),
                    name=f"{name}[{i}]", array_annotations={"value": value[part].astype(float), "step": step[part]},
                    population=name, unit=i, lane=lane, model=population.model.name,
                )  # fmt: skip
                segment.spiketrains.append(train)
        for signal in _signals(run, lane, neo, pq) if states else ():
            segment.analogsignals.append(signal)
        block.segments.append(segment)
    return block


def _signals(run: Recorded, lane: int, neo: Any, pq: Any) -> Iterator[Any]:
    """States and messages of a lane as AnalogSignals (steps, units), and readouts."""
    every = int(run.steps[1] - run.steps[0]) if len(run.steps) > 1 else 1
    first = (run.start + float(run.steps[0])) * run.dt if len(run.steps) else 0.0
    for name, variable, unit, values in recorded(run):
        yield neo.AnalogSignal(
            values[:, lane].astype(float), units=_quantity(pq, unit), sampling_period=every * run.dt * pq.s,
            t_start=first * pq.s, name=f"{name}.{variable}", population=name, variable=variable, lane=lane,
            units_recorded=run.units[name].tolist(),
        )  # fmt: skip
    for name, z in run.readouts.items():
        yield neo.AnalogSignal(
            z[:, lane].astype(float), units="dimensionless", sampling_period=run.dt * pq.s,
            t_start=run.start * run.dt * pq.s, name=name,
            readout=name, lane=lane,
        )  # fmt: skip


def _quantity(pq: Any, unit: str) -> Any:
    """A unit of the package quantities."""
    found = pq.dimensionless
    for factor in unit.split(" * "):
        name, _, power = factor.partition("**")
        found = found * getattr(pq, {"candela": "cd"}.get(name, name)) ** float(power or 1)
    return found if " * " in unit or "**" in unit else getattr(pq, unit)


# -- pandas ------------------------------------------------------------------------------------------------------------
def to_pandas(run: Recorded, what: str) -> Any:
    """See ``Run.to_pandas``."""
    arguments.choice("to_pandas", "what", what, ("events", "states", "messages", "readouts"))
    pd = needed("pandas", "run.to_pandas()")
    if what == "events":
        return _events_frame(run, pd)
    if what == "readouts":
        steps = np.arange(run.n_steps)
        blocks = [(n, "z", z, np.arange(z.shape[2]), steps) for n, z in run.readouts.items()]
    else:
        wanted = (lambda v: v == "y") if what == "messages" else (lambda v: v != "y")
        blocks = [(n, v, x, run.units[n], run.steps) for n, v, _, x in recorded(run) if wanted(v)]
    owner = "readout" if what == "readouts" else "population"
    frames = [_block_frame(run, pd, owner, *block) for block in blocks]
    columns = ["step", "time", "lane", owner, "unit", "variable", "value"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _events_frame(run: Recorded, pd: Any) -> Any:
    populations = list(run.net.populations.values())
    starts = np.array([p.start for p in populations])
    which = np.searchsorted(starts, run.events.unit, side="right") - 1
    columns = {
        "step": run.start + run.events.time,
        "time": (run.start + run.events.time) * run.dt,
        "lane": run.events.batch,
        "population": pd.Categorical.from_codes(which, [p.name for p in populations]),
        "unit": run.events.unit - starts[which],
        "value": run.events.value,
    }
    return pd.DataFrame(columns)


def _block_frame(run: Recorded, pd: Any, owner: str, name: str, variable: str, values: np.ndarray, units: np.ndarray,
                 steps: np.ndarray) -> Any:  # fmt: skip
    step, lane, i = (x.reshape(-1) for x in np.indices(values.shape))
    steps = run.start + steps
    frame = {"step": steps[step], "time": steps[step] * run.dt, "lane": lane, owner: name, "unit": units[i]}
    return pd.DataFrame(frame | {"variable": variable, "value": values.reshape(-1)})


# -- xarray ------------------------------------------------------------------------------------------------------------
def to_xarray(run: Recorded, name: str | None) -> Any:
    """See ``Run.to_xarray``."""
    xr = needed("xarray", "run.to_xarray()")
    names = [*run.net.populations, *run.readouts]
    if name is not None:
        if name not in names:
            raise ValueError(f"to_xarray: {name!r} is neither a population nor a readout; there are {names}")
        return _dataset(run, xr, name)
    tree = xr.DataTree.from_dict({f"/{n.replace('/', '_')}": _dataset(run, xr, n) for n in names})
    tree.attrs.update(dt=run.dt, steps=run.n_steps)
    return tree


def _dataset(run: Recorded, xr: Any, name: str) -> Any:
    if name in run.readouts:
        z = run.readouts[name]
        variables = {"z": (("time", "batch", "unit"), z, {"units": "dimensionless"})}
        coords, attrs = _coordinates(run, np.arange(run.n_steps), np.arange(z.shape[2])), {"kind": "readout"}
    else:
        found = [(v, u, x) for n, v, u, x in recorded(run) if n == name]
        variables = {v: (("time", "batch", "unit"), x, {"units": u}) for v, u, x in found}
        coords = _coordinates(run, run.steps, run.units[name])
        attrs = {"kind": "population", "model": run.net.populations[name].model.name}
    return xr.Dataset(variables, coords, {"name": name, "dt": run.dt, **attrs})


def _coordinates(run: Recorded, steps: np.ndarray, units: np.ndarray) -> dict[str, Any]:
    return {
        "time": ("time", (run.start + steps) * run.dt, {"units": "second"}),
        "step": ("time", run.start + steps),
        "batch": ("batch", np.arange(run.batch)),
        "unit": ("unit", units),
    }
