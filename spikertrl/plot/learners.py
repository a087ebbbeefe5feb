"""Figures of what a learner holds and does: its influence matrix, its gradient beside another's, its multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments
from .. import cost as costs
from .axes import COLORS, GREY, MARKERS, PALE, as_history, axes, legend, note, number, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def influence(matrix: Any, ax: Axes | None = None, lane: int = 0, of: str = "state") -> Axes:
    """The influence matrix as an image: magnitudes in colour (logarithmic, six decades), exact zeros white.

    Masked weights have no column in a learner's state, so they are not among the zeros counted here.

    Parameters
    ----------
    matrix : ndarray (rows, columns), or the state of an RTRL or SnAp learner
    lane, of
        For a learner's state, see ``cost.influence``.

    Raises
    ------
    ValueError
        If the matrix is not two-dimensional or holds values that are not finite.

    Examples
    --------
    >>> influence(np.eye(4)).get_title(loc="left")
    '75% of 4 x 4 entries are zero (white)'
    """
    from matplotlib.colors import LogNorm

    starts, names = (), ("row", "column")
    if not isinstance(matrix, np.ndarray):
        names = (
            "unit whose message changes" if of == "message" else "state that changes",
            "parameter, grouped by receiving unit",
        )
        starts = getattr(getattr(matrix, "wiring", None), "col_ptr", ())
        matrix = costs.influence(matrix, lane, of)
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise ValueError(f"influence: needs a finite matrix (rows, columns), got shape {matrix.shape}")
    ax, size = axes(ax, (7.2, 3.2)), np.abs(matrix)
    high = float(size.max()) or 1.0
    least = float(size[size > 0].min(initial=high))
    low, clipped = max(least, 1e-6 * high), least < 1e-6 * high
    shown = np.ma.masked_equal(np.where(size > 0, np.maximum(size, low), 0), 0)
    norm = LogNorm(low if low < high else high / 10, high)
    image = ax.imshow(shown, norm=norm, cmap="viridis", aspect="auto", interpolation="nearest")
    ax.set_xticks(np.asarray(starts[1:-1]) - 0.5, minor=True)
    ax.set(ylabel=names[0], xlabel=names[1])
    ax.figure.colorbar(image, ax=ax, label="magnitude", pad=0.02, extend="min" if clipped else "neither")
    note(ax, f"{np.mean(size == 0):.0%} of {matrix.shape[0]} x {matrix.shape[1]} entries are zero (white)")
    return ax


def alignment(comparison: Any, ax: Axes | None = None) -> Axes:
    """Cosine to the reference gradient, per group of parameters and learner.

    Parameters
    ----------
    comparison : Comparison, or mapping learner -> group -> cosine
        Of a Comparison, the first learner is the reference and is drawn as the line at 1.

    Examples
    --------
    >>> ax = alignment({"SnAp-1": {"all": 0.8, "h<-h": 0.4}, "Immediate": {"all": 0.1, "h<-h": float("nan")}})
    >>> [tick.get_text() for tick in ax.get_yticklabels()], ax.get_xlabel()
    (['all', 'h ← h'], 'cosine to the reference gradient')
    """
    given, label = getattr(comparison, "cosine", comparison), "the reference gradient"
    if not isinstance(given, Mapping) or not all(isinstance(cosines, Mapping) for cosines in given.values()):
        raise arguments.refuse("alignment", "comparison", comparison, "a Comparison, or learner -> group -> cosine")
    drawn = dict(given)
    if hasattr(comparison, "cosine") and len(drawn) > 1:
        label = f"the gradient of {next(iter(drawn))}"
        del drawn[next(iter(drawn))]
    if not drawn:
        raise ValueError("alignment: no learner to draw; give learner -> group -> cosine")
    groups = list(dict.fromkeys(group for cosines in drawn.values() for group in cosines))
    ax = axes(ax, (6.4, 1.3 + 0.25 * len(groups) * max(2, min(len(drawn), 4)) ** 0.5))
    for row in range(1, len(groups), 2):
        ax.axhspan(row - 0.5, row + 0.5, color="#F5F5F5", linewidth=0, zorder=0)
    for k, (name, cosines) in enumerate(drawn.items()):
        offset = 0.5 * (k - (len(drawn) - 1) / 2) / max(len(drawn), 3)
        heights = [groups.index(group) + offset for group in cosines]
        ax.plot(
            list(cosines.values()),
            heights,
            MARKERS[k % 7],
            color=COLORS[k % 7],
            markersize=6.5,
            alpha=0.9,
            label=name,
            linestyle="none",
        )
    low = min([0.0, *(c for cosines in drawn.values() for c in cosines.values() if math.isfinite(c))])
    for x in (0.0, 1.0):
        ax.axvline(x, color=GREY, linewidth=0.8, zorder=1)
    ax.set(xlim=(low - 0.05, 1.05), ylim=(len(groups) - 0.5, -0.5), xlabel=f"cosine to {label}")
    ax.set_yticks(range(len(groups)), [group.replace("<-", " ← ") for group in groups])
    ax.tick_params(axis="y", length=0)
    legend(ax, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def savings(cost: Any, ax: Axes | None = None) -> Axes:
    """Multiply-adds done as a bar, on the bar of what dense RTRL would do.

    Parameters
    ----------
    cost : Cost or History, or mapping label -> either
        Labels without a cost (None) are left out; of a History the last counts are taken.

    Examples
    --------
    >>> savings({"RTRL": [{"macs": 5e6, "macs_dense": 1e8}]}).texts[0].get_text()
    '20x fewer: 5M instead of 100M'
    """
    given = cost if isinstance(cost, Mapping) else {"": cost}
    counts = {str(label): _counts(one) for label, one in given.items() if one is not None}
    if not counts:
        raise ValueError("savings: nothing to draw; none of the learners counts its operations")
    ax = axes(ax, (6.4, 1.1 + 0.5 * len(counts)))
    for row, (done, dense) in enumerate(counts.values()):
        ax.barh(row, 1.0, height=0.62, color=PALE)
        ax.barh(row, done / dense, height=0.62, color=COLORS[0])
        inside = done / dense < 0.45
        text = f"{number(dense / done)}x fewer: {number(done)} instead of {number(dense)}"
        ax.text(
            done / dense + 0.015 if inside else 0.015, row, text, va="center", fontsize=9, color="black" if inside else "white"
        )
    ax.set(xlabel="multiply-adds done (share of dense RTRL)", xlim=(0, 1), ylim=(len(counts) - 0.5, -0.5))
    ax.set_yticks(range(len(counts)), list(counts))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return ax


def _counts(cost: Any) -> tuple[float, float]:
    """(multiply-adds done, multiply-adds of dense RTRL) of a Cost or a History."""
    if not hasattr(cost, "macs"):
        done, dense = series(as_history(cost), "macs", "macs_dense")
        return float(done[-1]), float(dense[-1])
    return float(cost.macs), float(cost.macs_dense)
