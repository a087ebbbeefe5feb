"""Figures of the comparison of peers, drawn from its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import spikertrl as srl

Row = Mapping[str, Any]
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999"]
MARKERS = "osD^vP*X"


def new_axes(wide: float = 8.5) -> Any:
    """Axes of a figure that needs no display."""
    from matplotlib.figure import Figure

    return Figure((wide, 4.6), layout="constrained").add_subplot()


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Exponent of a power law, fitted on logarithms; nan below two points."""
    if len(set(x)) < 2:
        return float("nan")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def curves(rows: Sequence[Row], x: str, y: str, labels: tuple[str, str], out: Path) -> None:
    """One line a peer on logarithmic axes; the fitted exponent stands in the legend."""
    ax, peers = new_axes(), list(dict.fromkeys(row["peer"] for row in rows))
    for k, peer in enumerate(peers):
        points = sorted((float(r[x]), float(r[y])) for r in rows if r["peer"] == peer and r.get(y, 0) and r[y] > 0)
        if not points:
            continue
        at, values = zip(*points, strict=True)
        found = slope(at, values)
        label = peer if np.isnan(found) else f"{peer}: exponent {found:.2f}"
        dashes = ("-", "--", ":")[k // len(COLORS)]
        ax.plot(at, values, color=COLORS[k % 8], marker=MARKERS[k % 8], linestyle=dashes, label=label, markersize=5)
    if not ax.lines:
        return
    ax.set(xscale="log", yscale="log", xlabel=labels[0], ylabel=labels[1])
    ax.grid(alpha=0.25, which="both")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)
    srl.plot.save(ax, out)


def roofline(rows: Sequence[Row], peak: float, bandwidth: float, out: Path) -> None:
    """Multiply-adds a second over multiply-adds a byte of influence touched; roofs: a large copy and a matrix product."""
    measured = [r for r in rows if r.get("macs") and r.get("touched") and r.get("learner_ms")]
    if not measured:
        return
    ax, peers = new_axes(), list(dict.fromkeys(r["peer"] for r in measured))
    intensities = [r["macs"] / r["touched"] for r in measured]
    x = np.geomspace(min(*intensities, 0.1) / 2, max(*intensities, 2 * peak / bandwidth) * 2, 200)
    roofs = f"copy {bandwidth:.1f} GB/s, matrix product {peak:.1f} GMAC/s"
    ax.plot(x, np.minimum(peak, bandwidth * x), color="black", linewidth=1.5, label=roofs)
    for k, peer in enumerate(peers):
        points = [(r["macs"] / r["touched"], r["macs"] / r["learner_ms"] / 1e6, r) for r in measured if r["peer"] == peer]
        ax.plot([p[0] for p in points], [p[1] for p in points], MARKERS[k % 8], color=COLORS[k % 8], label=peer, markersize=6)
        for a, b, row in points:
            ax.annotate(f" {row['units']}", (a, b), fontsize=7, color=COLORS[k % 8])
    ax.set(xscale="log", yscale="log", xlabel="multiply-adds a byte of influence touched", ylabel="G multiply-adds a second")
    ax.set_title("number at a point: units", fontsize=9, loc="left")
    ax.grid(alpha=0.25, which="both")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)
    srl.plot.save(ax, out)


def bars(rows: Sequence[Row], out: Path) -> None:
    """Seconds a simulated second of the simulators."""
    done = [r for r in rows if r.get("s_per_s")]
    if not done:
        return
    ax = new_axes(6.5)
    ax.barh([r["peer"] for r in done], [r["s_per_s"] for r in done], color=COLORS[0])
    for k, r in enumerate(done):
        ax.text(r["s_per_s"], k, f" {r['s_per_s']:.3g} s", va="center", fontsize=9)
    first = done[0]
    ax.set(xlabel="seconds a simulated second", xlim=(0, 1.2 * max(r["s_per_s"] for r in done)))
    ax.set_title(
        f"{first['sweep']}: {first['units']} units, {first['synapses']:.3g} synapses, {first['rate_hz']:.3g} Hz",
        fontsize=9,
        loc="left",
    )
    srl.plot.save(ax, out)


def draw_all(rows: Sequence[Row], peak: float, bandwidth: float, out: Path) -> None:
    """Every figure for which there are rows."""
    ms = "ms a step"
    of: Callable[[str], list[Row]] = lambda sweep: [r for r in rows if r["sweep"] == sweep]  # noqa: E731
    curves(of("units"), "units", "ms", ("units", ms), out / "time_units.png")
    curves(of("rate"), "share", "ms", ("gradient-active share of units", ms), out / "time_share.png")
    curves(of("density"), "density", "ms", ("density of connections", ms), out / "time_density.png")
    curves(of("length"), "steps", "bytes", ("steps of a sequence", "bytes kept of the past"), out / "memory_steps.png")
    kernel = [r for r in rows if r["peer"].startswith(("spikertrl RTRL, tapes", "spikertrl SnAp"))]  # they hold influence
    roofline(kernel, peak, bandwidth, out / "roofline.png")
    for kind in ("lif", "delays", "coba", "coba_delays"):
        bars(of(kind), out / f"{kind}.png")
