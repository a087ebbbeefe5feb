"""What came out of a sweep, against its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import refuse
from .axes import COLORS, GREY, MARKERS, axes, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..parallel.runs import Sweep

SEEDS = ("seed", "seeds")  # arguments over which a mean is taken
MOST = 6  # panels


def sweep(found: Sweep, values: str | Sequence[str] | None = None, *, x: str | None = None) -> Figure:
    """One panel a result: against one argument, a line for each combination of the others; mean and range over seeds.

    Parameters
    ----------
    found : Sweep
        What ``srl.sweep`` returned.
    values : str or sequence of str, optional
        Results to draw; default: those that are numbers, six at most.
    x : str, optional
        Argument along the axis; default: the one with most values that is no seed.

    Returns
    -------
    matplotlib Figure
        To be saved with ``figure.savefig``.

    Raises
    ------
    ValueError
        If there is no such result or argument, or nothing to draw.

    Examples
    --------
    >>> import spikertrl as srl
    >>> def area(wide, high, seed):
    ...     return {"area": wide * high + seed}
    >>> found = srl.sweep(area, {"wide": [1, 2, 3], "high": [3, 4], "seed": [0, 1]}, "serial", progress=False)
    >>> [panel.get_ylabel() for panel in srl.plot.sweep(found).axes]
    ['area']
    """
    names = dict.fromkeys(name for row in found.rows for name in row if name not in found.arguments)
    numbers = [name for name in names if _is_number(found, name)]
    chosen = [values] if isinstance(values, str) else list(values or numbers[:MOST])
    if not chosen or set(chosen) - set(numbers):
        raise refuse("plot.sweep", "values", values, f"results that are numbers: {', '.join(numbers) or 'there are none'}")
    along = x or max((n for n in found.arguments if n not in SEEDS), key=lambda n: len(_values(found, n)), default=SEEDS[0])
    if along not in found.arguments:
        raise refuse("plot.sweep", "x", x, f"an argument of the sweep: {', '.join(found.arguments)}")
    panels = _panels(len(chosen))
    for ax, name in zip(panels, chosen, strict=False):
        _draw(axes(ax), found, along, name)
    return panels[0].figure


def _panels(count: int) -> list[Any]:
    """Axes side by side of one figure, in rows of three."""
    wide, high = min(count, 3), -(-count // 3)
    figure = axes(None, (1.2 + 3.6 * wide, 0.4 + 3.0 * high)).figure
    figure.clear()
    every = np.atleast_1d(figure.subplots(high, wide)).ravel()
    for ax in every[count:]:
        ax.remove()
    return list(every[:count])


def _draw(ax: Any, found: Sweep, along: str, name: str) -> None:
    """One result; lines by the other arguments, the mean over seeds and all that they span."""
    others = [n for n in found.arguments if n != along and n not in SEEDS and len(_values(found, n)) > 1]
    places = _values(found, along)
    numeric = all(isinstance(p, (int, float)) and not isinstance(p, bool) for p in places)
    at: Mapping[Any, float] = {p: p if numeric else i for i, p in enumerate(places)}
    lines: dict[tuple, dict[Any, list[float]]] = {}
    for row in found.rows:
        if isinstance(row.get(name), (int, float)):
            lines.setdefault(tuple(row[n] for n in others), {}).setdefault(row[along], []).append(float(row[name]))
    for k, (key, points) in enumerate(lines.items()):
        there = sorted(points, key=lambda p: at[p])
        spots, color = [at[p] for p in there], COLORS[k % len(COLORS)]
        label = ", ".join(f"{n} {v}" for n, v in zip(others, key, strict=True))
        mean = [np.mean(points[p]) for p in there]
        ax.plot(spots, mean, color=color, marker=MARKERS[k % len(MARKERS)], markersize=4, label=label)
        if any(len(points[p]) > 1 for p in there):
            low, high = ([f(points[p]) for p in there] for f in (min, max))
            ax.fill_between(spots, low, high, color=color, alpha=0.15, linewidth=0)
    if not numeric:
        ax.set_xticks(range(len(places)), [str(p) for p in places])
    ax.set_xlabel(along)
    ax.set_ylabel(name)
    ax.yaxis.label.set_color(GREY)
    if others:
        legend(ax)


def _values(found: Sweep, name: str) -> list[Any]:
    return list(dict.fromkeys(row[name] for row in found.rows))


def _is_number(found: Sweep, name: str) -> bool:
    there = [row[name] for row in found.rows if name in row]
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in there)
