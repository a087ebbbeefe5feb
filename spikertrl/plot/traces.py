"""Traces of a few units: one state each, with its events and its threshold."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import arguments
from .axes import COLORS, GREY, axes, note
from .raster import time_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..network.elements import Population
    from ..simulation.recording import Run

SYMBOLS = {"volt": "V", "amp": "A", "siemens": "S", "second": "s", "hertz": "Hz", "ohm": "ohm", "farad": "F"}
PREFIXES = ((1.0, ""), (1e3, "m"), (1e6, "µ"), (1e9, "n"), (1e12, "p"))
# A state above a number, threshold="v > v_th" or message="event(v - v_th)", and nothing more: "v - v_th - a" is no number.
ABOVE = re.compile(r"^\s*(\w+)\s*>=?\s*([\w.]+)\s*$|event\(\(*(\w+) - ([\w.]+)(\)*)(?:/\w+)?\)")


def traces(
    run: Run, population: str | None = None, units: Sequence[int] = (0, 1, 2), *, state: str | None = None, lane: int = 0,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """A state of chosen units over time, one under the other; events as ticks above each, its threshold as a dashed line.

    Time is in ms if the network has models with differential equations, else in steps.

    Parameters
    ----------
    run : Run
        With the states of these units.
    population : str, optional
        May be left out when there is only one.
    units : sequence of int
        Numbers within the population.
    state : str, optional
        Default: the one that the threshold speaks of, or else the first.
    lane : int

    Raises
    ------
    ValueError
        For a population, state, unit or lane that the run did not record.

    Examples
    --------
    >>> import spikertrl as srl
    >>> net = srl.Network().add_input("x", 1).add_population("h", srl.models.lif, 4, tau="10*ms")
    >>> run = srl.simulate(net.connect("x", "h", weight=0.005).initialize(0), np.ones((50, 1, 1)))
    >>> ax = traces(run, units=[0, 3])
    >>> ax.get_xlabel(), ax.get_ylabel(), [tick.get_text() for tick in ax.get_yticklabels()]
    ('time (ms)', 'v of h', ['unit 0', 'unit 3'])
    """
    if not hasattr(run, "states"):
        raise arguments.refuse("traces", "run", run, "a Run, which simulate returns")
    lane, found = arguments.whole("traces", "lane", lane, 0, run.batch - 1), _recorded(run, population)
    name = found.name
    watched: str = arguments.choice("traces", "state", state or _above(found)[0], tuple(run.states[name]))
    rows = [_row(run, name, unit) for unit in units]
    if not rows:
        raise arguments.refuse("traces", "units", units, "at least one unit")
    scale, time = time_scale(run.net)
    values = run.states[name][watched][:, lane, rows].astype(float)
    limits = _threshold(run, found, watched, units)
    reach = max(float(np.ptp(np.concatenate((values.ravel(), limits[np.isfinite(limits)])))), 1e-30)
    ax = axes(ax, (7.2, 0.9 + 0.8 * len(rows)))
    color = COLORS[list(run.net.populations).index(name) % len(COLORS)]
    at, apart, middle = (run.start + run.steps) * scale, 1.35 * reach, (values.min() + values.max()) / 2
    for k, unit in enumerate(units):
        base = -k * apart - middle
        ax.plot(at, values[:, k] + base, color=color, linewidth=1.2)
        if np.isfinite(limits[k]):
            ax.axhline(limits[k] + base, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        events = run.events.of(lane, found.start + unit, found.start + unit + 1)
        top = max(values.max(), np.max(limits, initial=-np.inf, where=np.isfinite(limits))) + base
        ax.vlines((run.start + events.time) * scale, top + 0.04 * reach, top + 0.14 * reach, color="black", linewidth=1.2)
    ax.set_yticks([-k * apart for k in range(len(rows))], [f"unit {unit}" for unit in units])
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel=f"time ({time})", ylabel=f"{watched} of {name}")
    ax.margins(x=0.02)
    _bar(ax, reach, found.model.states[watched].unit)
    return ax


def _recorded(run: Run, population: str | None) -> Population:
    """The population whose states are drawn."""
    name = next(iter(run.states)) if population is None and len(run.states) == 1 else population
    if name is None or name not in run.states:
        raise arguments.refuse("traces", "population", population, f"one whose states were recorded: {list(run.states)}")
    return run.net.populations[name]


def _row(run: Run, name: str, unit: int) -> int:
    """Where a unit lies among those recorded."""
    kept = run.units.get(name, np.arange(run.net.populations[name].size)).tolist()
    if unit not in kept:
        shown = f"{kept[0]} .. {kept[-1]}" if kept == list(range(kept[0], kept[-1] + 1)) else str(kept)
        raise arguments.refuse("traces", "units", unit, f"units recorded of {name!r}: {shown}")
    return kept.index(unit)


def _above(population: Population) -> tuple[str, str]:
    """A state, and the parameter or number above which it sends, where it is as simple as that; or the first state."""
    model = population.model
    for text in filter(None, (model.threshold, model.message, model.update)):
        if found := ABOVE.search(text):
            state, limit = (found[1], found[2]) if found[1] else (found[3], found[4])
            if state in population.cell.states:
                return state, limit
    return population.cell.states[0], ""


def _threshold(run: Run, population: Population, state: str, units: Sequence[int]) -> np.ndarray:
    """Its present value for each unit, NaN where the model's threshold is not a comparison of this state with one number."""
    watched, limit = _above(population)
    every = np.full(population.size, np.nan)
    if watched == state:
        trained = run.net.view(run.net.theta).get(population.name, {})
        if limit in trained:
            every[:] = trained[limit]
        elif limit in population.parameters and not callable(population.parameters[limit]):
            every[:] = population.parameters[limit]
        elif limit.replace(".", "", 1).isdigit():
            every[:] = float(limit)
    return every[list(units)]


def _bar(ax: Axes, reach: float, unit: str) -> None:
    """How much the height of a trace is, in the unit of the state."""
    height = 10.0 ** math.floor(math.log10(reach))
    height *= max(step for step in (1, 2, 5) if step * height <= reach)
    fitting = [one for one in PREFIXES if height * one[0] >= 0.999] if unit in SYMBOLS else []
    factor, prefix = fitting[0] if fitting else PREFIXES[0]
    note(ax, f"bar: {height * factor:g} {prefix}{SYMBOLS.get(unit, '' if unit == '1' else unit)}".rstrip())
    across = ax.get_yaxis_transform()
    ax.plot([1.01, 1.01], [-height / 2, height / 2], transform=across, color="black", linewidth=2, clip_on=False)
