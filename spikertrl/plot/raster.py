"""How a raster is laid out: one band per population, marks as tall as a row."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import arguments
from ..simulation.run import as_input
from .axes import COLORS, GREY, PALE, axes, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..network.elements import Projection
    from ..network.network import Network
    from ..simulation.recording import Run


class Band(NamedTuple):
    """Rows of one population or input: its events as (step, row)."""

    name: str
    size: int
    kind: str
    color: str
    steps: np.ndarray
    rows: np.ndarray


def _bands(run: Run, lane: int, shown: Sequence[str], x: np.ndarray | None) -> list[Band]:
    """Inputs, if ``x`` is given, then the populations ``shown``; bottom to top."""
    net, found = run.net, []
    for one in net.inputs.values() if x is not None else ():
        steps, rows = np.nonzero(np.asarray(x)[:, lane, one.start : one.start + one.size])
        found.append(Band(one.name, one.size, "channels", GREY, steps, rows))
    for name in shown:
        p = net.populations[name]
        events = run.events.of(lane, p.start, p.start + p.size)
        color = COLORS[list(net.populations).index(name) % len(COLORS)]
        found.append(Band(name, p.size, f"{p.model.name} units", color, events.time, events.unit - p.start))
    return found


def draw_raster(run: Run, lane: int, ax: Axes, shown: Sequence[str], x: np.ndarray | None = None) -> Axes:
    """Draw the events of one lane: of inputs, if ``x`` is given, and of the populations ``shown``, bottom to top."""
    bands, (scale, unit) = _bands(run, lane, shown, x), time_scale(run.net)
    gap = 0.04 * sum(band.size for band in bands) if len(bands) > 1 else 0.0
    centres, bottom = [], 0.0
    top = sum(band.size for band in bands) + gap * (len(bands) - 1)
    begin = 0 if x is not None else first_step(run)
    height, width = mark(ax, top, run.n_steps - begin)
    for band in bands:
        if bottom:
            ax.axhline(bottom - gap / 2 - 0.5, color=PALE, linewidth=0.8, zorder=0)
        ax.scatter(
            (run.start + band.steps) * scale, band.rows + bottom, s=height**2, marker="|", linewidths=width, color=band.color,
            label=band.name, rasterized=True,
        )  # fmt: skip
        centres.append(bottom + (band.size - 1) / 2)
        bottom += band.size + gap
    ax.set_yticks(centres, [f"{band.name}\n{band.size} {band.kind}" for band in bands])
    for label, band in zip(ax.get_yticklabels(), bands, strict=True):
        label.set_color(band.color)
    ax.tick_params(axis="y", length=0)
    first, last = run.start + begin - 0.5, run.start + run.n_steps - 0.5
    ax.set(xlim=(first * scale, last * scale), ylim=(-0.5, top - 0.5), xlabel=f"time ({unit})")
    note(ax, delays(run.net, shown))
    return ax


def time_scale(net: Network) -> tuple[float, str]:
    """Length of a step on the time axis, and its unit."""
    return (net.dt * 1e3, "ms") if any(p.model.is_ode for p in net.populations.values()) else (1.0, "steps")


def first_step(run: Run) -> int:
    """First step whose events were kept."""
    return int(min([run.n_steps, *run.steps[:1], *run.events.time[:1]])) if len(run.steps) or len(run.events) else 0


def mark(ax: Axes, rows: float, steps: int) -> tuple[float, float]:
    """Height and line width of a mark, in points, that fill a row and a step without touching."""
    box = ax.get_window_extent()
    points = 72 / ax.figure.dpi
    return float(np.clip(0.75 * box.height * points / rows, 2.2, 12)), float(
        np.clip(0.6 * box.width * points / steps, 0.9, 2.2)
    )


def delays(net: Network, shown: Sequence[str]) -> str:
    """The delays of the connections onto the populations shown; inputs that arrive at once are not mentioned."""
    scale, unit = time_scale(net)
    found = [
        f"{p.target}\xa0←\xa0{p.source}\xa0{_span(p, scale)}"
        for p in net.projections
        if p.target in shown and p.span[1] > 0
    ]
    lines = textwrap.wrap(f"delay ({unit}): " + ", ".join(found), 90) if found else []
    return "\n".join(lines).replace("\xa0", " ")


def _span(projection: Projection, scale: float) -> str:
    low, high = (steps * scale for steps in projection.span)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def raster(run: Run, lane: int = 0, ax: Axes | None = None, populations: Sequence[str] | None = None, *,
           inputs: Any = None) -> Axes:  # fmt: skip
    """Events of one lane: a mark per event, a coloured band per population, the delays of the connections above.

    Time is in ms if the network has models with differential equations, else in steps.

    Parameters
    ----------
    run : Run
    lane : int
    populations : sequence of str, optional
        Which ones, from bottom to top; default all.
    inputs : array (T, B, channels) or (T, channels), or mapping input name -> (T, B, size), optional
        The x that was simulated: its values that are not zero are drawn below, a grey band per input.

    Raises
    ------
    ValueError
        For a lane or population the run does not have, or inputs of another shape.

    Examples
    --------
    >>> import spikertrl as srl
    >>> net = srl.Network().add_input("x", 1).add_population("h", srl.models.egru, 8)
    >>> net = net.connect("x", "h").connect("h", "h", delay=2).initialize(0)
    >>> ax = raster(srl.simulate(net, np.ones((20, 1, 1))))
    >>> ax.get_xlabel(), [t.get_text() for t in ax.get_yticklabels()], ax.get_title(loc="left")
    ('time (steps)', ['h\\n8 egru units'], 'delay (steps): h ← h 2')
    """
    if not hasattr(run, "events"):
        raise arguments.refuse("raster", "run", run, "a Run, which simulate returns")
    lane, known = arguments.whole("raster", "lane", lane, 0, run.batch - 1), list(run.net.populations)
    shown = known if populations is None else arguments.names("raster", "populations", populations, known)
    if not shown:
        raise arguments.refuse("raster", "populations", populations, f"at least one of {known}")
    x = None if inputs is None else as_input(run.net, inputs)
    if x is not None and x.shape[:2] != (run.n_steps, run.batch):
        raise arguments.refuse("raster", "inputs", inputs, f"what was simulated: {run.n_steps} steps of {run.batch} lanes")
    return draw_raster(run, lane, axes(ax, (6.4, 3.8) if x is None else (6.4, 4.8)), shown, x)
