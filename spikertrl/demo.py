"""The demonstration behind ``spikertrl demo``: an event-based GRU learns online and exactly, in about a minute.

Three parts: the gradient of exact sparse RTRL beside BPTT and the textbook matrix; the spiral task of Subramoney (2023); a text
read once, character by character, learning at every step. Prints one table and writes figures and histories.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from . import losses, optimizers, plot, surrogates, tasks
from .cost import cost_of
from .learners import BPTT, RTRL
from .models import load
from .network.network import Network
from .plot.axes import axes
from .simulation.run import simulate
from .tasks.ngram import ngram_bits
from .training.fit import evaluate, fit
from .training.gradients import gradient
from .training.online import Online


@dataclass(frozen=True)
class _Size:
    spiral_steps: int
    characters: int


PRECISION = "float64"  # one for all, so that loops are compiled once, and gradients agree to its rounding
FULL, QUICK = _Size(400, 8_000), _Size(200, 2_000)


def main(out: str | Path = "results/demo", quick: bool = False) -> dict[str, Any]:
    """Run the demonstration and return the numbers of its table.

    Parameters
    ----------
    out : path
        Folder for figures (PNG), histories (CSV) and ``summary.json``.
    quick : bool
        A few seconds, for a first look; the figures are then less impressive.
    """
    out, size = Path(out), QUICK if quick else FULL
    out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    print("compiling (first run only) ...", flush=True)
    summary: dict[str, Any] = {"exactness": _exactness(), "spiral": _spiral(out, size), "text": _text(out, size)}
    summary["seconds"] = time.perf_counter() - began
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(_table(summary))
    print(f"figures and histories in {out}/: {', '.join(sorted(p.name for p in out.iterdir()))}")
    return summary


def spiral_network(density: float = 0.5, seed: int = 0) -> Network:
    """16 event-based GRU units, as in Subramoney (2023), with a fixed random recurrent mask."""
    net = Network(PRECISION).add_input("x", 2).add_population("h", load("egru"), 16, theta=0.1)
    net.connect("x", "h").connect("h", "h", density=density, seed=seed)
    return net.add_readout("z", "h", 2).initialize(seed)


def _exactness() -> dict[str, float]:
    """Largest difference to BPTT, relative to the largest entry, in float64."""
    net, task = spiral_network(), tasks.spiral(seed=1)
    x, labels = task.batch(4)
    loss = task.loss(labels)
    _, reference = gradient(net, BPTT(), x, loss)
    scale = np.abs(reference).max()
    learners = {"sparse": RTRL(), "textbook": RTRL(dense=True)}
    differences = {name: np.abs(gradient(net, learner, x, loss)[1] - reference).max() for name, learner in learners.items()}
    return {name: float(value / scale) for name, value in differences.items()} | {"largest_entry": float(scale)}


def _spiral(out: Path, size: _Size) -> dict[str, float]:
    net, task = spiral_network(), tasks.spiral(seed=0)
    print(f"spiral: {net}")
    history = fit(net, task, RTRL(), optimizers.adam(3e-3), steps=size.spiral_steps, validate_every=100, zeros_every=50)
    history.to_csv(out / "spiral.csv")
    run = simulate(net, task.test[0][:, :1])
    plot.save(plot.raster(run), out / "spiral_raster.png")
    plot.save(plot.learning_curve(history), out / "spiral_learning.png")
    plot.save(plot.sparsity(history), out / "spiral_sparsity.png")
    last = history.rows[-1]
    return {
        "test_accuracy": evaluate(net, task, *task.test)["accuracy"],
        "events": float(np.mean(history["activity"][-50:])),
        "macs": last["macs"],
        "macs_dense": last["macs_dense"],
        "seconds": last["seconds"],
    }


def text_network(symbols: int, units: int = 64, seed: int = 0) -> Network:
    """An event-based GRU for characters: one-hot symbols come in as events, sparse recurrence, narrow pseudo-derivative."""
    narrow = surrogates.triangle(0.7, 0.3)
    net = (
        Network(PRECISION)
        .add_input("x", symbols, kind="event")
        .add_population("h", load("egru"), units, surrogate=narrow, theta=0.3)
    )
    net.connect("x", "h").connect("h", "h", density=0.1, seed=seed)
    return net.add_readout("z", "h", symbols).initialize(seed)


def _text(out: Path, size: _Size) -> dict[str, float]:
    task = tasks.text(split=(1.0, 0.0, 0.0))
    net = text_network(task.n_in)
    print(f"text: {net}")
    online = Online(net, RTRL(), optimizers.adam(3e-3), losses.cross_entropy)
    bits, events = np.zeros(size.characters), 0
    began = time.perf_counter()
    for t, (x, y) in enumerate(tqdm(task.stream(size.characters), total=size.characters, unit="char", dynamic_ncols=True)):
        online.predict_one(x)
        bits[t] = online.learn_one(y) / np.log(2)
        events += int(online.state.past.n_fired[-1, 0]) - 1
    tenth = size.characters // 10
    seen = task.symbols[: size.characters + 1]
    cost = cost_of(online.memory)
    assert cost is not None
    plot.save(_reading(bits, tenth), out / "text_bits.png")
    return {
        "characters": size.characters,
        "bits_last_tenth": float(bits[-tenth:].mean()),
        "unigram_last_tenth": float(ngram_bits(seen[-tenth:], 0, history=seen[:-tenth])),
        "events": events / size.characters / net.wiring.n_units,
        "macs": cost.macs,
        "macs_dense": cost.macs_dense,
        "seconds": time.perf_counter() - began,
    }


def _reading(bits: np.ndarray, window: int) -> Any:
    """Bits per character while reading, running mean."""
    ax = axes(None)
    smooth = np.convolve(bits, np.ones(window) / window, "valid")
    ax.plot(np.arange(window, len(bits) + 1), smooth)
    ax.set(
        xlabel="characters read",
        ylabel=f"bits per character (mean of {window})",
        title="One pass over a text, learning at every character",
    )
    return ax


def _table(summary: dict[str, Any]) -> str:
    exact, spiral, text = summary["exactness"], summary["spiral"], summary["text"]
    alone = f"symbol frequencies alone: {text['unigram_last_tenth']:.2f}"
    rows = [
        ("gradient, RTRL sparse - BPTT (float64)", f"{exact['sparse']:.1e} of the largest entry"),
        ("gradient, RTRL textbook - BPTT (float64)", f"{exact['textbook']:.1e} of the largest entry"),
        ("spiral, test accuracy", f"{spiral['test_accuracy']:.1%} ({spiral['seconds']:.0f} s)"),
        ("spiral, units that send an event", f"{spiral['events']:.0%}"),
        ("spiral, multiply-adds saved", _saved(spiral, digits=1)),
        ("text, bits per character (last tenth)", f"{text['bits_last_tenth']:.2f} ({alone})"),
        ("text, characters read once", f"{text['characters']} ({text['seconds']:.0f} s)"),
        ("text, units that send an event", f"{text['events']:.0%}"),
        ("text, multiply-adds saved", _saved(text, digits=0)),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(["", *(f"  {name.ljust(width)}  {value}" for name, value in rows), ""])


def _saved(row: dict[str, float], digits: int) -> str:
    return f"{row['macs_dense'] / row['macs']:.{digits}f}x ({row['macs']:.2e} of {row['macs_dense']:.2e})"
