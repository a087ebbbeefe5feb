"""What sparsity buys at a size that matters, and what it costs in accuracy: a harder spiral, 128 and 256 event-based GRUs.

Claim (Subramoney 2023, arXiv:2303.05641, with 16 units): silent units and missing weights make exact RTRL cheap, and learning
does not suffer. Here the same question at 128 and 256 units, for shares omega of missing recurrent weights and half widths of
the pseudo-derivative; the narrower, the fewer units pass on a sensitivity.

Task: which way a point turns, and whether once or one and a half times, on a spiral of 33 noisy points; four classes, a loss
at the last step. Training by exact RTRL in whole sequences; then, on the trained network, the time of a sequence's gradient,
simulation included, by exact RTRL in one tape and by BPTT, beside dense RTRL: all rows and all weights, step by step, by
compiled products of matrices, which does not depend on omega and width (measured over a few steps, times their number).

    spikertrl run sparsity_at_size
    spikertrl run sparsity_at_size --units 128 --widths 1 0.3 --seeds 3
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import spikertrl as srl
from spikertrl import plot
from spikertrl.simulation.run import simulator
from spikertrl.tasks.base import TRAIN, Batch, Drawn, generator
from spikertrl.training.gradients import signal_of

NAME, POINTS, TURNS, NOISE = "sparsity_at_size", 33, (1.0, 1.5), 0.05
RATE, DENSE_STEPS = 1e-2, 3  # of one lane, for the time of dense RTRL


class NoisySpiral(Drawn):
    """Points (POINTS, B, 2) at falling radius, a random angle at the start; classes: direction and number of turns."""

    name, n_in, n_out, held = "noisy spiral", 2, 4, 1000

    def __init__(self, seed: int) -> None:
        self.seed, self.rng = seed, generator(seed, TRAIN)

    def draw(self, rng: np.random.Generator, n: int) -> Batch:
        labels = rng.integers(0, self.n_out, n)
        way = np.where(labels % 2, 1, -1) * np.array(TURNS)[labels // 2]
        t = np.linspace(0, 1, POINTS)[:, None]
        angle, radius = 2 * np.pi * (t * way + rng.random(n)), 1 / (1 + 2 * t)
        points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], 2)
        return (points + rng.normal(0, NOISE, points.shape)).astype(np.float32), labels


def network(units: int, omega: float, width: float, seed: int) -> srl.Network:
    """Event-based GRUs with a share ``omega`` of their recurrent weights missing."""
    narrow = srl.surrogates.triangle(0.7, width)
    net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, units, surrogate=narrow, theta=0.03)
    net.connect("x", "h").connect("h", "h", density=1 - omega if omega else None, seed=seed)
    return net.add_readout("z", "h", 4).initialize(seed)


def run(units: int, omega: float, width: float, seed: int, steps: int, batch: int) -> dict[str, Any]:
    """Train one network; its accuracy and what learning took."""
    net, task = network(units, omega, width, seed), NoisySpiral(seed)
    optimizer = srl.optimizers.clip_norm(srl.optimizers.adam(srl.schedules.warmup_cosine(RATE, steps // 20, steps)), 1.0)
    every = max(1, steps // 10)
    history = srl.fit(net, task, srl.RTRL(), optimizer, steps=steps, batch=batch, progress=False, validate_every=every)
    last = slice(-min(50, len(history)), None)
    at, valid = history.series("valid_accuracy")
    return {
        "units": units, "omega": omega, "width": width, "seed": seed, "updates": steps,
        "accuracy": srl.evaluate(net, task, *task.test)["accuracy"],
        "active": float(history["activity"][last].mean()), "gradient active": float(history["gradient_activity"][last].mean()),
        "multiply-adds": history.last("macs") / (steps * batch * POINTS),
        "dense multiply-adds": history.last("macs_dense") / (steps * batch * POINTS), "seconds": history.last("seconds"),
        "sequence ms": 1e3 * whole(net, srl.RTRL(), task), "BPTT ms": 1e3 * whole(net, srl.BPTT(), task),
        "at": at, "valid": valid,
    }  # fmt: skip


def whole(net: srl.Network, learner: Any, task: NoisySpiral, lanes: int = 8, rounds: int = 5) -> float:
    """Seconds of a sequence's gradient, least of some rounds."""
    x, labels = task.test[0][:, :lanes], task.test[1][:lanes]
    return min(timed(lambda: srl.gradient(net, learner, x, task.loss(labels))) for _ in range(rounds)) / lanes


def dense_time(units: int) -> dict[str, float]:
    """Milliseconds of a sequence by dense RTRL, one lane, all weights there: the median step times their number."""
    net, task, learner, times = network(units, 0.0, 1.0, 0), NoisySpiral(0), srl.RTRL(route="dense rows"), []
    machine, memory, loss = simulator(net), learner.init(net, 1), task.loss(task.test[1][:1])
    state = machine.start(1)
    for t in range(DENSE_STEPS + 1):  # the first one compiles
        tape = machine.run(state, task.test[0][t : t + 1, :1])
        signal = signal_of(net, loss, tape, t, POINTS)
        times.append(timed(lambda tape=tape, signal=signal: learner.update(memory, tape, signal)))
    return {"ms": 1e3 * POINTS * float(np.median(times[1:]))}


def timed(action: Callable[[], Any]) -> float:
    """Seconds."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def main(argv: list[str] | None = None) -> int:
    """Run what is missing, print the table, write logs and the figure."""
    options = common.parser(NAME, __doc__, 300, 1)
    options.add_argument("--units", type=common.positive, nargs="+", default=[128, 256])
    missing, half = "shares of missing weights, in [0, 1)", "half widths of the pseudo-derivative"
    options.add_argument("--omegas", type=float, nargs="+", default=[0.0, 0.5, 0.9, 0.95], help=missing)
    options.add_argument("--widths", type=float, nargs="+", default=[1.0, 0.3, 0.1], help=half)
    options.add_argument("--batch", type=common.positive, default=32)
    args = options.parse_args(argv)
    if min(args.omegas) < 0 or max(args.omegas) >= 1 or min(args.widths) <= 0:
        options.error("--omegas must be in [0, 1), --widths above 0")
    if args.quick:
        args.units, args.omegas, args.widths, args.steps, args.batch = [16], [0.0, 0.9], [0.3], min(args.steps, 3), 4
    rows = []
    for units in args.units:
        path = args.out / "runs" / f"dense_{units}.json"
        dense = common.load(path, args.again) or common.store(path, dense_time(units))
        for omega in args.omegas:
            for width in args.widths:
                rows.append(means(args, units, omega, width) | {"dense RTRL ms": dense["ms"]})
                print("  ".join(f"{name} {value:.4g}" for name, value in rows[-1].items()), flush=True)
    common.write_csv(args.out / "table.csv", rows)
    print(common.table([list(rows[0]), *(list(row.values()) for row in rows)]))
    draw(rows, args.out / f"{NAME}.png")
    return 0


def means(args: Any, units: int, omega: float, width: float) -> dict[str, float]:
    """Over the seeds."""
    found = []
    for seed in range(args.seeds):
        path = args.out / "runs" / f"{units}_{omega}_{width}_{args.steps}x{args.batch}_seed{seed}.json"
        known = common.load(path, args.again)
        found.append(known or common.store(path, run(units, omega, width, seed, args.steps, args.batch)))
    names = [name for name, value in found[0].items() if isinstance(value, int | float) and name != "seed"]
    return {name: float(np.mean([one[name] for one in found])) for name in names}


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Accuracy against multiply-adds, and against the time of a sequence, omega at every point; dense RTRL beside them."""
    ax = common.axes(9.6, 3.8)
    figure = ax.figure
    figure.clear()
    panels = figure.subplots(1, 2, sharey=True)
    for panel, own, dense, label in zip(
        panels, ("multiply-adds", "sequence ms"), ("dense multiply-adds", "dense RTRL ms"),
        ("multiply-adds a step", "ms a sequence"), strict=True,
    ):  # fmt: skip
        for units, marker in zip(dict.fromkeys(row["units"] for row in rows), "os^v", strict=False):
            for k, width in enumerate(dict.fromkeys(row["width"] for row in rows)):
                mine = [row for row in rows if (row["units"], row["width"]) == (units, width)]
                accuracy = [100 * row["accuracy"] for row in mine]
                panel.plot([row[own] for row in mine], accuracy, f"C{k}{marker}", label=f"{units:g} units, width {width:g}")
                for row, value in zip(mine, accuracy, strict=True):
                    panel.annotate(f"{row['omega']:g}", (row[own], value), (3, -9), textcoords="offset points", fontsize=6)
            panel.axvline(mine[0][dense], color="k", linestyle=":", linewidth=1)
        panel.set(xlabel=label, xscale="log")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("test accuracy, %; dotted: dense RTRL")
    panels[0].legend(frameon=False, fontsize=7)
    plot.save(panels[0], path)


if __name__ == "__main__":
    sys.exit(main())
