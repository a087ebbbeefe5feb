"""Sparse RTRL on the spiral task: what events and missing weights save, with the gradient exact.

Claim (Subramoney 2023, Efficient real time recurrent learning through combined activity and parameter sparsity,
arXiv:2303.05641): event-based units and a fixed random mask on the recurrent weights together make RTRL cheap, and learning
does not suffer.

Setting: 16 units, loss at the last of 17 steps, sigmoid readout, Adam 3e-3, batch 32, 1,700 iterations, theta ~ N(0, 1) - 1,
Glorot normal weights, biases from U(-1, 1)/sqrt(n), a mask with a share omega of zeros on h<-h only, validation every 100
iterations, "solved" when the last three validations average above 0.999. Unlike the paper's code, no test sequence is ever
trained on.

The control "without events" is the same unit with its event function replaced by 1: it speaks at every step, subtracts its
threshold at every step, and no pseudo-derivative is involved.

Zeros are those of M(t) = dmessage(t)/dtheta over the parameters of h<-h, mean over the time steps; masked weights count as
zeros. Compute-adjusted iterations are the running sum of the density of M. Multiply-adds are those really done, counted in the
loops.

Expected: test accuracy at least 99% at every omega; zeros of M at the end .57 (omega 0) to .965 (omega .9), +-.03; activity
sparsity .55 to .63; at omega .9 with events at least 18 times fewer multiply-adds than dense RTRL.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import axes, load, parser, store, table
from tqdm import tqdm

import spikertrl as srl
from spikertrl import cost, plot
from spikertrl.learners import Signal
from spikertrl.simulation.run import as_input, simulator

NAME, UNITS, BATCH, RATE, VALIDATE = "subramoney_2023_spiral", 16, 32, 3e-3, 100
MODELS = {"subramoney": "egru_subramoney_2023", "egru": "egru"}
EVENT = {"egru_subramoney_2023": "event(c - thr)", "egru": "event(c - theta)"}
ZEROS = (0.57, 0.615, 0.65, 0.705, 0.74, 0.765, 0.82, 0.87, 0.915, 0.965)  # in the paper, omega 0 to 0.9
PAPER = dict(zip(np.round(np.arange(0, 1, 0.1), 1).tolist(), ZEROS, strict=True))
CAUSES = ("zeros", "zeros_mask", "zeros_columns", "zeros_rows")


class Probe:
    """Callback of ``fit``: every ``every``-th iteration, the zeros of M on held-out sequences, mean over all time steps."""

    def __init__(self, x: np.ndarray, every: int) -> None:
        self.x, self.every, self.rows = x, every, []

    def __call__(self, net: srl.Network, history: Any) -> None:
        if (len(history) - 1) % self.every == 0:
            self.rows.append({"step": len(history)} | zeros_over_time(net, self.x))


def zeros_over_time(net: srl.Network, x: np.ndarray) -> dict[str, float]:
    """Shares of zeros of M, in all and by cause, mean over the steps and lanes of x (T, B, 2)."""
    learner, machine = srl.RTRL(), simulator(net)
    memory, state = learner.init(net, x.shape[1]), machine.start(x.shape[1])
    found = []
    for t in range(len(x)):
        tape = machine.run(state, x[t : t + 1])
        learner.update(memory, tape, Signal(0.0, np.zeros_like(tape.z)))
        found.append(cost.zeros(net, memory, "h<-h", of="message"))
    names = {"zeros": "all", "zeros_mask": "mask", "zeros_columns": "columns", "zeros_rows": "rows"}
    return {name: float(np.mean([getattr(row, field) for row in found])) for name, field in names.items()}


def network(model: str, omega: float, events: bool, seed: int) -> srl.Network:
    """The paper's network; without events, the event function of the model is 1."""
    found = getattr(srl.models, MODELS[model])
    if not events:
        found = found.replace(name=f"{found.name}_dense", update=found.update.replace(EVENT[found.name], "1"), message="c")
    start: dict[str, Any] = {"theta": lambda rng, n: rng.standard_normal(n) - 1} if model == "subramoney" else {}
    net = srl.Network().add_input("x", 2)
    net.add_population("h", found, UNITS, bias=lambda rng, n: rng.uniform(-1, 1, n) / np.sqrt(n), **start)
    net.connect("x", "h").connect("h", "h", density=1 - omega if omega else None, seed=seed)
    return net.add_readout("z", "h", 1).initialize(seed)


def run(omega: float, events: bool, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one network; everything that the figures and the table need."""
    net, task = network(options.model, omega, events, seed), srl.tasks.spiral(seed, n_out=1)
    probe = Probe(as_input(net, task.valid[0][:, : options.lanes]), options.zeros_every)
    adam = srl.optimizers.adam(RATE)
    history = srl.fit(net, task, srl.RTRL(), adam, steps=options.steps, batch=BATCH, validate_every=VALIDATE,
                      callbacks=[probe], progress=False)  # fmt: skip
    steps, valid = history.series("valid_accuracy")
    last = slice(-min(100, len(history)), None)
    end = {name: float(np.mean([r[name] for r in probe.rows[-3:]])) for name in CAUSES}
    density = np.interp(history["step"], [r["step"] for r in probe.rows], [1 - r["zeros"] for r in probe.rows])
    curve = {"step": history["step"].astype(int), "loss": history["loss"].round(5), "adjusted": density.cumsum().round(3)}
    return {
        "omega": omega, "events": events, "seed": seed, "model": options.model, "steps": len(history),
        "seconds": history.last("seconds"),
        "test_accuracy": srl.evaluate(net, task, *task.test)["accuracy"], "solved_at": solved_at(steps, valid),
        "activity_sparsity": 1 - float(history["activity"][last].mean()),
        "silent_gradient": 1 - float(history["gradient_activity"][last].mean()),
        **end, "zeros_first": probe.rows[0]["zeros"],
        "macs": history.last("macs"), "macs_dense": history.last("macs_dense"),
        "curve": curve | {"macs": history["macs"]},
        "valid": {"step": steps, "accuracy": valid}, "zeros_curve": probe.rows,
    }  # fmt: skip


def solved_at(steps: np.ndarray, valid: np.ndarray) -> int | None:
    """Iteration at which the last three validations average above 0.999, or None.

    >>> solved_at(np.array([100, 200, 300, 400]), np.array([0.9, 1.0, 1.0, 1.0]))
    400
    """
    means = np.convolve(valid, np.ones(3) / 3, "valid")
    there = np.flatnonzero(means > 0.999)
    return int(steps[there[0] + 2]) if len(there) else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, then draw and print."""
    options = _options(argv)
    results = []
    plan = list(itertools.product(options.omegas, options.events, range(options.seeds)))
    for omega, events, seed in (bar := tqdm(plan, unit="run", dynamic_ncols=True)):
        bar.set_postfix_str(f"omega {omega}, {'with' if events else 'no'} events, seed {seed}")
        path = options.out / "runs" / f"{options.model}_{omega}_{'events' if events else 'dense'}_{seed}_{options.steps}.json"
        results.append(load(path, options.again) or store(path, run(omega, bool(events), seed, options)))
    _draw(results, options.out)
    keys = dict.fromkeys((r["omega"], r["events"]) for r in results)
    summary = [_summary([r for r in results if (r["omega"], r["events"]) == key]) for key in keys]
    store(options.out / "summary.json", {"model": options.model, "steps": options.steps, "rows": summary})
    print(_table(summary))
    print(f"figures, runs and summary.json in {options.out}")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    found = parser(NAME, __doc__, steps=1700, seeds=5)
    found.add_argument("--model", choices=MODELS, default="subramoney", help="the paper's unit or the package's egru")
    missing = "shares of missing recurrent weights, in [0, 1)"
    found.add_argument("--omegas", type=float, nargs="+", default=list(PAPER), metavar="OMEGA", help=missing)
    found.add_argument("--events", choices=("both", "with", "without"), default="both", help="which units to run")
    found.add_argument("--lanes", type=int, default=8, help="look at the influence of so many held-out sequences (default 8)")
    found.add_argument("--zeros-every", type=int, default=50, help="... every so many iterations (default 50)")
    options = found.parse_args(argv)
    if min(options.omegas) < 0 or max(options.omegas) >= 1:
        found.error(f"--omegas must be in [0, 1), got {options.omegas}")
    if options.lanes < 1 or options.zeros_every < 1:
        found.error("--lanes and --zeros-every must be at least 1")
    options.events = {"both": (True, False), "with": (True,), "without": (False,)}[options.events]
    if options.quick:
        options.omegas, options.seeds, options.steps = [0.0, 0.9], 1, min(options.steps, 300)
    return options


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds (of accuracy also the worst)."""
    names = ("test_accuracy", *CAUSES, "zeros_first", "activity_sparsity", "silent_gradient", "macs", "macs_dense", "seconds")
    means = {name: float(np.mean([r[name] for r in runs])) for name in names}
    there = [r for r in runs if r["solved_at"]]
    solved = [r["solved_at"] for r in there]
    at = {n: [float(np.interp(r["solved_at"], r["curve"]["step"], r["curve"][n])) for r in there] for n in ("adjusted", "macs")}
    return {"omega": runs[0]["omega"], "events": runs[0]["events"], "seeds": len(runs), "solved": len(solved)} | means | {
        "test_worst": min(r["test_accuracy"] for r in runs),
        "adjusted_total": float(np.mean([r["curve"]["adjusted"][-1] for r in runs])),
        "solved_at": float(np.mean(solved)) if solved else None,
        "solved_adjusted": float(np.mean(at["adjusted"])) if solved else None,
        "solved_macs": float(np.mean(at["macs"])) if solved else None,
    }  # fmt: skip


def _table(summary: list[dict[str, Any]]) -> str:
    head = "omega events test worst zeros paper mask columns rows silent solved at adjusted macs fewer".split()
    rows: list[tuple] = [(*head, "vs control")]
    control = next((r for r in summary if not r["events"] and r["omega"] == 0), None)
    for r in summary:
        paper = f"{PAPER[r['omega']]:.3f}" if r["events"] and r["omega"] in PAPER else "-"
        shares = [f"{r[k]:.3f}" for k in ("zeros_mask", "zeros_columns", "zeros_rows", "activity_sparsity")]
        solved = [f"{r[k]:.0f}" if r[k] else "-" for k in ("solved_at", "solved_adjusted")]
        rows.append((f"{r['omega']:.1f}", "yes" if r["events"] else "no", f"{r['test_accuracy']:.4f}",
                     f"{r['test_worst']:.4f}", f"{r['zeros']:.3f}", paper, *shares, f"{r['solved']}/{r['seeds']}", *solved,
                     f"{r['macs']:.2e}", f"{r['macs_dense'] / r['macs']:.1f}x",
                     f"{control['macs'] / r['macs']:.1f}x" if control else "-"))  # fmt: skip
    notes = (
        "test, worst: accuracy, mean and worst seed. zeros ... rows: means of the last probes; silent: of the last 100",
        "iterations. solved: seeds; at which iteration and compute-adjusted iteration. fewer: multiply-adds of textbook RTRL",
        "over those done; vs control: those of omega 0 without events over these.",
    )
    return "\n".join(("", table(rows), "", *notes))


def _draw(results: list[dict[str, Any]], out: Path) -> None:
    """Loss against iterations, compute-adjusted iterations and multiply-adds, with and without events; zeros by cause."""
    labels = {
        "step": "iteration",
        "adjusted": "compute-adjusted iteration (sum of density of M)",
        "macs": "multiply-adds really done",
    }
    for x, label in labels.items():
        for events in dict.fromkeys(r["events"] for r in results):
            ax = axes()
            for omega in dict.fromkeys(r["omega"] for r in results):
                runs = [r["curve"] for r in results if (r["omega"], r["events"]) == (omega, events)]
                at, loss = np.mean([c[x] for c in runs], 0), np.mean([c["loss"] for c in runs], 0)
                ax.plot(at, _smooth(loss), color=_shade(omega), label=f"omega {omega}")
            title = "with events" if events else "without events"
            ax.set(xlabel=label, ylabel="loss, mean over seeds", ylim=(0, None), title=title)
            ax.set_xscale("log" if x == "macs" else "linear")
            ax.legend(fontsize=7, frameon=False)
            plot.save(ax, out / f"loss_against_{x}_{'events' if events else 'dense'}.png")
    _draw_zeros([r for r in results if r["events"]], out)


def _draw_zeros(results: list[dict[str, Any]], out: Path) -> None:
    if not results:
        return
    ax, omegas = axes(), sorted({r["omega"] for r in results})
    shares = {n: [np.mean([r[n] for r in results if r["omega"] == omega]) for omega in omegas] for n in CAUSES}
    below = np.zeros(len(omegas))
    causes = {"zeros_mask": "masked weight", "zeros_columns": "source silent so far", "zeros_rows": "unit sends nothing"}
    for (name, text), color in zip(causes.items(), ("#4C8FBD", "#8DBBDA", "#F0B27A"), strict=True):
        ax.bar(omegas, shares[name], 0.07, below, color=color, label=text)
        below = below + shares[name]
    ax.bar(omegas, np.array(shares["zeros"]) - below, 0.07, below, color="#D9D9D9", label="scattered")
    ax.plot(list(PAPER), list(PAPER.values()), "k_", markersize=16, label="Subramoney 2023")
    ax.set(xlabel="omega", ylabel="share of zeros of M at the end of training", ylim=(0, 1))
    ax.legend(fontsize=8, frameon=False, loc="lower right")
    plot.save(ax, out / "zeros.png")


def _smooth(values: np.ndarray, window: int = 20) -> np.ndarray:
    padded = np.concatenate((np.full(window - 1, values[0]), values))
    return np.convolve(padded, np.ones(window) / window, "valid")


def _shade(omega: float) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](0.95 * omega)


if __name__ == "__main__":
    sys.exit(main())
