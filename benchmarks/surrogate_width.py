"""What the width of the pseudo-derivative costs: the same network trained with several half widths.

An event-based GRU (256 units, 10% recurrent density, dense analog input) learns which way a spiral turns. A wide
pseudo-derivative lets many units send rows of sensitivity, a narrow one few: speed against accuracy, measured on networks
that have learned, not on random ones. They are trained through BPTT, whose gradient is the same as that of exact RTRL;
then RTRL is timed on each trained network, and the two gradients are compared.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/surrogate_width.py --out results/surrogate_width
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import spikertrl as srl
from spikertrl import plot
from spikertrl.simulation.run import simulator
from spikertrl.training.gradients import signal_of


def train(width: float, options: argparse.Namespace) -> dict[str, float]:
    """Figures of one training run."""
    narrow = srl.surrogates.triangle(0.7, width)
    net = (
        srl.Network()
        .add_input("x", 2)
        .add_population("h", srl.models.egru, options.units, surrogate=narrow, theta=options.theta)
    )
    net = net.connect("x", "h").connect("h", "h", density=options.density, seed=1).add_readout("z", "h", 2).initialize(0)
    task = srl.tasks.spiral(seed=0)
    history = srl.fit(
        net, task, srl.BPTT(), srl.optimizers.adam(options.rate), steps=options.steps, batch=options.batch, progress=False
    )
    x, labels = srl.tasks.spiral(seed=1000).batch(options.test)
    z = srl.simulate(net, x, record=srl.Record(states=False, messages=False, events=False)).z
    tail = slice(-max(1, options.steps // 4), None)
    return {
        "width": width,
        **time_rtrl(net),
        "loss": float(np.mean(history["loss"][tail])),
        "accuracy": float((z[-1].argmax(1) == np.asarray(labels).reshape(-1)[-options.test :]).mean()),
    }


def time_rtrl(net: srl.Network, batch: int = 4, rounds: int = 7) -> dict[str, float]:
    """Shares of active units, time of exact RTRL a step and lane, and how far its gradient is from that of BPTT."""
    x, labels = srl.tasks.spiral(seed=2000).batch(batch)
    loss, learner, machine = srl.losses.cross_entropy(labels, at="last"), srl.RTRL(), simulator(net)
    memory, state, times = learner.init(net, batch), machine.start(batch), []
    found = np.zeros(0)
    for _ in range(rounds):
        state.reset_lanes()
        tape = machine.run(state, x)
        began = time.perf_counter()
        found = learner.update(memory, tape, signal_of(net, loss, tape, 0, len(x), ends=True))
        times.append(1e3 * (time.perf_counter() - began) / (batch * len(x)))
    _, expected = srl.gradient(net, srl.BPTT(), x, loss)
    return {
        "gradient_active": float(tape.active(net.wiring)[0].mean()) / net.wiring.n_units,
        "fire": float((tape.units(net.wiring) != 0).mean()),
        "ms_per_step": float(np.median(times)),
        "difference": float(np.abs(found - expected).max() / np.abs(expected).max()),
    }


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Time and accuracy of every width against the share of gradient-active units."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    left = figure.subplots()
    right = left.twinx()
    share = [100 * r["gradient_active"] for r in rows]
    left.plot(share, [r["ms_per_step"] for r in rows], "o-", color="C0")
    right.plot(share, [100 * r["accuracy"] for r in rows], "s--", color="C1")
    for k, (x, r) in enumerate(zip(share, rows, strict=True)):  # neighbours may lie close together
        below = (-14, -12 - 11 * (k % 2))
        left.annotate(f"width {r['width']:g}", (x, r["ms_per_step"]), textcoords="offset points", xytext=below, fontsize=8)
    left.set(xlabel="gradient-active units, %, after training", ylim=(0, None))
    left.set_ylabel("ms a step of one sequence", color="C0")
    right.set_ylabel("test accuracy, %", color="C1")
    right.set_ylim(45, 102)
    plot.save(left, path)


def main(argv: list[str] | None = None) -> int:
    """Train, print a table, write it and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=float, nargs="*", default=[1.0, 0.3, 0.1, 0.03])
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--theta", type=float, default=0.03, help="initial threshold (default 0.03)")
    parser.add_argument("--test", type=int, default=500, help="sequences of the test (default 500)")
    parser.add_argument("--out", type=Path, default=Path("results/surrogate_width"))
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for width in options.widths:
        rows.append(train(width, options))
        print("  ".join(f"{name} {value:.4g}" for name, value in rows[-1].items()), flush=True)
    with (options.out / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, options.out / "surrogate_width.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
