"""What the long comparisons share: methods by name, one resumable run with its log, learning curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import spikertrl as srl
from spikertrl.models import load

LOG_EVERY, SAVE_EVERY = 100, 10_000  # steps between rows of the log, and between checkpoints

METHODS: dict[str, tuple[str, Callable[[int], Any]]] = {  # name -> (label, learner for a seed)
    "ok16": ("OK(16)", lambda seed: srl.OK(16, seed)),
    "ok8": ("OK(8)", lambda seed: srl.OK(8, seed)),
    "kf": ("KF-RTRL", lambda seed: srl.KFRTRL(seed=seed)),
    "uoro": ("UORO", lambda seed: srl.UORO(seed=seed)),
    "snap1": ("SnAp-1", lambda seed: srl.SnAp(1)),
    "tbptt25": ("TBPTT-25", lambda seed: srl.BPTT(25)),
    "tbptt5": ("TBPTT-5", lambda seed: srl.BPTT(5)),
    "immediate": ("Immediate (TBPTT-1)", lambda seed: srl.Immediate()),
    "events": ("event-based, exact RTRL", lambda seed: srl.RTRL()),
}


def network(method: str, inputs: int, outputs: int, units: int, seed: int) -> srl.Network:
    """The papers' recurrent highway network, weights ~ N(0, 0.01^2); for "events" a sparse event-based GRU instead."""
    net = srl.Network().add_input("x", inputs)
    if method == "events":
        net.add_population("h", load("egru"), units, theta=0.1, surrogate=srl.surrogates.triangle(0.7, 0.2))
        net.connect("x", "h").connect("h", "h", density=0.1, seed=seed)
        return net.add_readout("z", "h", outputs).initialize(seed)

    def weight(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return rng.normal(0.0, 0.01, shape)

    net.add_population("h", load("rhn"), units).connect("x", "h", weight=weight).connect("h", "h", weight=weight)
    return net.add_readout("z", "h", outputs).initialize(seed)


def options(name: str, text: str | None, steps: int, units: int, batch: int, methods: Sequence[str]) -> Any:
    """The options of a long comparison."""
    found = common.parser(name, text, steps, 1)
    found.add_argument("--methods", nargs="+", choices=METHODS, default=list(methods))
    found.add_argument("--units", type=common.positive, default=units)
    found.add_argument("--batch", type=common.positive, default=batch)
    found.add_argument("--rate", type=float, default=10**-3.5, help="learning rate of Adam (default 10^-3.5)")
    found.add_argument(
        "--save-every", type=common.positive, default=SAVE_EVERY,
        help=f"steps between checkpoints, which hold a row for every step (default {SAVE_EVERY})",
    )  # fmt: skip
    return found


def run(args: Any, method: str, seed: int, task: Any, note: Callable[[srl.Network, Any], dict[str, float]],
        every: int = LOG_EVERY) -> list[dict[str, Any]]:  # fmt: skip
    """One method on one task, from its checkpoint if there is one: the rows of its log, every ``every`` steps.

    ``note`` adds to the row of every step that is logged. The log is a CSV file beside the checkpoint.
    """
    path = args.out / f"{method}_{args.units}x{args.batch}_seed{seed}"
    if args.again:
        path.with_suffix(".npz").unlink(missing_ok=True)
    net = network(method, task.n_in, task.n_out, args.units, seed)

    def log(net: srl.Network, history: Any) -> None:
        if len(history) % every:
            return
        recent = np.mean([row["loss"] for row in history.rows[-every:]])
        history.rows[-1] |= {"bits": float(recent / np.log(2.0))} | note(net, history)
        if len(history) % (10 * every) == 0 or len(history) == args.steps:
            common.write_csv(path.with_suffix(".csv"), logged(history))

    learner, optimizer = METHODS[method][1](seed), srl.optimizers.clip_norm(srl.optimizers.adam(args.rate), 1.0)
    saved = path.with_suffix(".npz")
    history = srl.fit(
        net, task, learner, optimizer, steps=args.steps, batch=args.batch, callbacks=[log], checkpoint=saved,
        checkpoint_every=args.save_every,
    )  # fmt: skip
    return logged(history)


def logged(history: Any) -> list[dict[str, Any]]:
    """The rows that the log holds."""
    return [row for row in history.rows if "bits" in row]


def curves(runs: dict[str, list[dict[str, Any]]], y: str, label: str, path: Path) -> None:
    """``y`` against steps, seconds and multiply-adds of the learner, one line a run."""
    ax = common.axes(12.0, 3.8)
    figure = ax.figure
    figure.clear()
    panels = figure.subplots(1, 3, sharey=True)
    for x, name, panel in zip(("step", "seconds", "macs"), ("steps", "seconds", "multiply-adds"), panels, strict=True):
        for number, (run_name, rows) in enumerate(runs.items()):
            there = [row for row in rows if x in row and y in row]
            if there:
                panel.plot([row[x] for row in there], [row[y] for row in there], f"C{number}", label=run_name)
        panel.set(xlabel=name, xscale="linear" if x == "step" else "log")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(label)
    panels[0].legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=150)


def pace(rows: list[dict[str, Any]]) -> float:
    """Milliseconds a step over the second half of a log."""
    half = rows[len(rows) // 2 - 1 if len(rows) > 1 else 0]
    last = rows[-1]
    steps = last["step"] - half["step"]
    return 1e3 * (last["seconds"] - half["seconds"]) / steps if steps else 1e3 * last["seconds"] / last["step"]
