"""Figures: every function draws on Axes and returns them.

Without ``ax=`` a figure of its own is made that needs no display and is not known to pyplot; ``save`` writes it. In a notebook,
``ax.figure`` shows it. Colours are Okabe and Ito's, and where lines meet, markers or dashes tell them apart too.

>>> ax = learning_curve([{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.5}])
>>> ax.get_xlabel(), ax.get_ylabel()
('training step', 'loss')
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments
from .axes import COLORS, GREY, MARKERS, PALE, as_histories, as_history, axes, legend, running_mean, series, together, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..surrogates import Surrogate


def save(ax: Axes, path: str | Path, dpi: int = 150) -> Path:
    """Write the figure that holds ``ax``; the suffix chooses the format. Makes missing folders.

    >>> import tempfile
    >>> save(surrogate(), Path(tempfile.mkdtemp()) / "new" / "psi.png").stat().st_size > 1000
    True
    """
    dpi = arguments.whole("save", "dpi", dpi)
    if not hasattr(ax, "figure"):
        raise arguments.refuse("save", "ax", ax, "Axes of matplotlib")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ax.figure.canvas.figure.savefig(path, dpi=dpi)
    return path


def learning_curve(history: Any, ax: Axes | None = None, metric: str = "loss", *, x: str = "step", smooth: int | None = None,
                   references: Mapping[str, float] | None = None) -> Axes:  # fmt: skip
    """A column of one or several histories against another.

    Parameters
    ----------
    history : History, rows, columns (name -> values), or mapping label -> any of these, or label -> list of them
        Several histories of one label are runs of one thing (seeds): their mean is drawn, with a band from the lowest to the
        highest.
    metric : str
        Column drawn; rows without it are left out (validation).
    x : str
        Column it is drawn against: "step", "seconds", "macs".
    smooth : int, optional
        Width of the running mean drawn over the faint raw values; default a 40th of the series, 1 draws the values themselves.
    references : mapping, optional
        Label -> height of dashed horizontal lines to compare with.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    smooth = None if smooth is None else arguments.whole("learning_curve", "smooth", smooth)
    if not isinstance(references, Mapping | None):
        raise arguments.refuse("learning_curve", "references", references, "a mapping, label -> height")
    heights = {k: arguments.number("learning_curve", f"references[{k!r}]", v) for k, v in (references or {}).items()}
    ax = axes(ax)
    for k, (label, runs) in enumerate(as_histories(history).items()):
        color, (at, every) = COLORS[k % len(COLORS)], together([series(one, x, metric) for one in runs])
        values = every.mean(0)
        window = max(1, len(values) // 40) if smooth is None else smooth
        if len(every) > 1:
            low, high = (running_mean(edge, window) for edge in (every.min(0), every.max(0)))
            ax.fill_between(at, low, high, color=color, alpha=0.18, linewidth=0, zorder=1.5)
        elif window > 1:
            ax.plot(at, values, color=color, alpha=0.22, linewidth=0.7, zorder=1.5)
        marker = MARKERS[k % len(MARKERS)] if len(values) <= 30 else None
        ax.plot(at, running_mean(values, window), color=color, linewidth=1.8, marker=marker, markersize=4, label=label or None)
    for k, (label, height) in enumerate(heights.items()):
        dashes = (0, ((4, 2), (1, 1.5), (6, 2, 1, 2))[k % 3])
        ax.axhline(height, color=GREY, linewidth=1.1, linestyle=dashes, label=f"{label} ({height:.3g})", zorder=1)
    ax.set(xlabel=words(x), ylabel=words(metric))
    ax.margins(x=0.02)
    legend(ax)
    return ax


def loss_against_macs(history: Any, ax: Axes | None = None, metric: str = "loss", *, smooth: int | None = None) -> Axes:
    """A column against the multiply-adds really done so far (logarithmic); takes what ``learning_curve`` takes.

    Histories of learners that count nothing (no column "macs") raise ValueError.

    >>> rows = [{"loss": 1 / n, "macs": 1e6 * n} for n in range(1, 9)]
    >>> loss_against_macs({"sparse": rows, "dense": [{**r, "macs": 20 * r["macs"]} for r in rows]}).get_xscale()
    'log'
    """
    ax = learning_curve(history, ax, metric, x="macs", smooth=smooth)
    ax.set_xscale("log")
    return ax


def sparsity(history: Any, ax: Axes | None = None, x: str = "step") -> Axes:
    """Shares over time: zeros of the influence by cause (areas, added up) and active units (lines).

    Draws what is there of the columns zeros, zeros_mask, zeros_columns, zeros_rows, activity, gradient_activity.

    Raises
    ------
    ValueError
        If none of them is there.

    Examples
    --------
    >>> ax = sparsity({"activity": [0.3, 0.2], "zeros": [0.9, 0.95], "zeros_mask": [0.8, 0.8]})
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['fire', 'zero: scattered', 'zero: masked weight']
    """
    data, ax = as_history(history), axes(ax, (7.2, 3.8))
    causes = {"zeros_mask": "masked weight", "zeros_columns": "source never fired", "zeros_rows": "unit sends nothing"}
    there = {name: text for name, text in causes.items() if name in data.columns}
    lines = {n: t for n, t in {"activity": "fire", "gradient_activity": "send sensitivity"}.items() if n in data.columns}
    if not lines and "zeros" not in data.columns:
        raise ValueError(f"sparsity: no column of zeros or activity; columns: {data.columns}")
    if "zeros" in data.columns:
        at, total = series(data, x, "zeros")
        parts = [series(data, x, name)[1] for name in there]
        labels = [f"zero: {text}" for text in (*there.values(), "scattered")]
        shades = [*("#4C8FBD", "#8DBBDA", "#F0B27A")[: len(parts)], PALE]
        ax.stackplot(at, *parts, total - sum(parts, np.zeros_like(total)), labels=labels, colors=shades, linewidth=0)
    for (name, text), (color, dashes) in zip(lines.items(), (("black", "-"), ("#A03A00", (0, (3, 1)))), strict=False):
        at, values = series(data, x, name)
        ax.plot(at, running_mean(values, max(1, len(values) // 40)), color=color, linestyle=dashes, linewidth=1.6, label=text)
    ax.set(xlabel=words(x), ylabel="share of units (lines), of influence (areas)", ylim=(0, 1))
    ax.margins(x=0)
    legend(ax, loc="center left", bbox_to_anchor=(1.01, 0.5), reverse=True)
    return ax


def surrogate(surrogates: Surrogate | Sequence[Surrogate] | None = None, ax: Axes | None = None) -> Axes:
    """Pseudo-derivatives over the distance from threshold; default all of ``surrogates`` with their default settings.

    >>> from spikertrl.surrogates import triangle
    >>> surrogate(triangle(0.7, 0.5)).get_legend().get_texts()[0].get_text()
    'triangle, zero beyond 0.5'
    """
    from .. import surrogates as known

    if surrogates is None:
        surrogates = [known.triangle(), known.boxcar(), known.fast_sigmoid(), known.arctan(), known.gaussian()]
    drawn = list(surrogates) if isinstance(surrogates, Sequence) else [surrogates]
    if not drawn or not all(isinstance(one, known.Surrogate) for one in drawn):
        raise arguments.refuse("surrogate", "surrogates", surrogates, "a Surrogate, or several")
    ax = axes(ax)
    reach = 1.5 * max([s.support for s in drawn if math.isfinite(s.support)], default=4 / 3)
    v = np.linspace(-reach, reach, 801)
    for k, one in enumerate(drawn):
        support = f"zero beyond {one.support:g}" if math.isfinite(one.support) else "never zero"
        values = [one(x) for x in v]
        dashes = ("-", (0, (5, 1.5)), (0, (2, 1)))[k % 3]
        ax.plot(v, values, color=COLORS[k % len(COLORS)], linestyle=dashes, linewidth=1.8, label=f"{one.name}, {support}")
        if len(drawn) == 1:
            ax.fill_between(v, values, color=COLORS[0], alpha=0.15, linewidth=0)
    ax.set(xlabel="distance from threshold v", ylabel="pseudo-derivative psi(v)", ylim=(0, None))
    ax.margins(x=0)
    legend(ax)
    return ax
