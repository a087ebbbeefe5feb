"""Read a text once, character by character, and learn at every character: exact RTRL online, against counting n-grams.

Claim: an event-based GRU that updates its weights by exact RTRL after every single character predicts English, in its first
pass over 131,071 characters (the start of the King James Bible), better than the frequencies of character pairs allow. Nothing
is stored but the influence matrix, so memory does not grow with the length of the text.

Prediction is scored before learning (prequential): bits per character = -log2 p(next character). Bars, on the whole text:

* 3.23 and 2.46 bits: fixed reference bars for contexts of 1 and 2 characters;
* "counting": n-grams counted while reading, add-half smoothing, as ``tasks.ngram_bits(method="adaptive")``: 3.25 and 2.70;
* "entropy": conditional entropy of the counts of the whole text, which knows the future ("plain"): 3.18 and 2.31.

The learning rate falls as lr/sqrt(1 + characters/after), so that the first pass does not depend on how many follow.

Sources: Williams and Zipser 1989 (RTRL); Subramoney 2023, arXiv 2303.05641 (events); Dawid 1984 (prequential scores).

Expected: below 3.23 bits over the last tenth of the first pass.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import axes, load, parser, positive, store, table
from tqdm import tqdm

import spikertrl as srl
from spikertrl import cost, plot
from spikertrl.tasks import ngram_bits

NAME, BARS, BLOCK = "online_text", {1: 3.23, 2: 2.46}, 1000
LEARNERS = {"rtrl": srl.RTRL(), "snap1": srl.SnAp(1), "immediate": srl.Immediate(), "bptt": srl.BPTT(truncate=20, stride=1)}
SETTINGS = ("learner", "units", "density", "width", "theta", "rate", "after", "passes", "memory", "steps")


def network(symbols: int, options: argparse.Namespace, seed: int) -> srl.Network:
    """One-hot symbols in as events, an event-based GRU with sparse recurrence, a readout of its events."""
    net = srl.Network().add_input("x", symbols, kind="event")
    narrow = srl.surrogates.triangle(0.7, options.width)
    net.add_population("h", srl.models.egru, options.units, surrogate=narrow, theta=options.theta)
    net.connect("x", "h").connect("h", "h", density=options.density, seed=seed)
    return net.add_readout("z", "h", symbols).initialize(seed)


def falling(lr: float, after: float) -> srl.schedules.Schedule:
    """lr / sqrt(1 + step/after): needs no end.

    >>> falling(0.1, 100)(300)
    0.05
    """
    return srl.schedules.Schedule("falling", _falling, {"lr": lr, "after": after})


def _falling(step: int, lr: float, after: float) -> float:
    return lr / float(np.sqrt(1 + step / after))


def read(online: srl.Online, symbols: np.ndarray, one_hot: np.ndarray, title: str) -> dict[str, Any]:
    """One pass: predict, score, learn, for every character."""
    bits, fired, sent, began = np.zeros(len(symbols) - 1), 0, 0, 0.0
    for t in (bar := tqdm(range(len(bits)), unit="char", dynamic_ncols=True, desc=title)):
        online.predict_one(one_hot[symbols[t]])
        bits[t] = online.learn_one(symbols[t + 1]) / np.log(2)
        fired += int(online.state.past.n_fired[-1, 0]) - 1
        sent += int(np.count_nonzero(online.memory.sent[-1] >= 0)) if hasattr(online.memory, "sent") else 0
        began = began or time.perf_counter()  # the first character may have to compile
        if t % BLOCK == BLOCK - 1:
            bar.set_postfix_str(f"{bits[t + 1 - BLOCK : t + 1].mean():.3f} bits", refresh=False)
    seconds, unit_steps = time.perf_counter() - began, len(bits) * online.net.wiring.n_units
    spent = cost.cost_of(online.memory)
    costs = {"macs": spent.macs, "macs_dense": spent.macs_dense, "bytes": spent.bytes_held} if spent else {}
    return costs | {
        "characters": len(bits),
        "bits": float(bits.mean()),
        "bits_last_tenth": float(bits[-max(1, len(bits) // 10) :].mean()),
        "seconds": seconds,
        "ms_per_character": 1000 * seconds / len(bits),
        "activity": fired / unit_steps,
        "gradient_activity": sent / unit_steps,
        "curve": [float(part.mean()) for part in np.array_split(bits, max(1, len(bits) // BLOCK))],
    }


def run(symbols: np.ndarray, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """All passes of one network, and the memory test if it was asked for."""
    size = int(symbols.max()) + 1
    net, one_hot = network(size, options, seed), np.eye(size, dtype=np.float32)
    optimizer = srl.optimizers.adam(falling(options.rate, options.after))
    online = srl.Online(net, LEARNERS[options.learner], optimizer, srl.losses.cross_entropy)
    title = f"{options.learner}, seed {seed}"
    passes = [read(online, symbols, one_hot, f"{title}, pass {k + 1}") for k in range(options.passes)]
    found = {"seed": seed, "network": repr(net), "parameters": len(net.theta), "passes": passes}
    return found | ({"memory": memory(online, symbols, one_hot, options.memory)} if options.memory else {})


def memory(online: srl.Online, symbols: np.ndarray, one_hot: np.ndarray, steps: int) -> dict[str, Any]:
    """Resident memory in MB, before and after ``steps`` further characters; the first 2,000 warm up and are not counted."""
    sizes, done = [], 0
    for part in [2000, *[len(p) for p in np.array_split(np.arange(steps), 10)]]:
        for _ in tqdm(range(part), unit="char", dynamic_ncols=True, desc="memory", leave=False):
            t, done = done % (len(symbols) - 1), done + 1
            online.predict_one(one_hot[symbols[t]])
            online.learn_one(symbols[t + 1])
        gc.collect()
        sizes.append(resident_mb())
    return {"steps": steps, "before": sizes[0], "after": sizes[-1], "samples": sizes}


def resident_mb() -> float:
    """Resident memory of this process in MB (its peak where the system does not tell the present size)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def main(argv: Sequence[str] | None = None) -> int:
    """Read with every seed, then draw and print."""
    options = _options(argv)
    symbols = srl.tasks.text().symbols[: options.steps + 1]
    options.steps = len(symbols) - 1
    bars, results = _bars(symbols), []
    for seed in range(options.seeds):
        name = "_".join(str(getattr(options, setting)) for setting in SETTINGS)
        path = options.out / "runs" / f"{name}_{seed}.json"
        results.append(load(path, options.again) or store(path, run(symbols, seed, options)))
    _draw(results, bars, options)
    short = [r | {"passes": [{k: v for k, v in p.items() if k != "curve"} for p in r["passes"]]} for r in results]
    summary = {"learner": options.learner, "characters": options.steps, "bars": bars, "reached": _reached(results)}
    store(options.out / f"summary_{options.learner}.json", summary | {"runs": short})
    print(_table(results, bars, options.learner))
    print(f"figures, runs and summary in {options.out}")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    found = parser(NAME, __doc__, steps=131_071, seeds=1)
    add = found.add_argument
    add("--characters", dest="steps", type=positive, help="the same as --steps: characters in a pass (default: all 131071)")
    add("--passes", type=positive, default=1, help="passes over the text (default 1)")
    add("--learner", choices=LEARNERS, default="rtrl", help="default rtrl; bptt is truncated to 20 steps")
    add("--units", type=positive, default=64, help="hidden units (default 64)")
    add("--density", type=float, default=0.1, help="share of recurrent weights that exist (default 0.1)")
    add("--width", type=float, default=0.3, help="half width of the pseudo-derivative (default 0.3)")
    add("--theta", type=float, default=0.3, help="initial threshold (default 0.3)")
    add("--rate", type=float, default=3e-3, help="initial learning rate of Adam (default 0.003)")
    add("--after", type=float, default=2e4, help="characters after which the rate falls (default 20000)")
    add("--memory", type=positive, nargs="?", const=100_000, metavar="N", help="then watch memory over N more (default 100000)")
    options = found.parse_args(argv)
    if options.quick:
        options.steps, options.units = min(options.steps, 3000), min(options.units, 32)
    return options


def _bars(symbols: np.ndarray) -> dict[str, list[float]]:
    """Bits with contexts of 0, 1 and 2 characters, by definition; counting over the last tenth, all before it being known, is
    the fairest to a reader of the same text."""
    tenth, size = max(1, (len(symbols) - 1) // 10), int(symbols.max()) + 1
    before, end = symbols[:-tenth], symbols[-tenth:]
    return {
        "counting": [ngram_bits(symbols, order, n_symbols=size) for order in range(3)],
        "counting, last tenth": [ngram_bits(end, order, history=before, n_symbols=size) for order in range(3)],
        "entropy": [ngram_bits(symbols, order, method="plain") for order in range(3)],
    }


def _reached(results: list[dict[str, Any]]) -> dict[str, list[int | None]]:
    """First pass whose last tenth, and whose mean, is below each asked-for bar; by seed, None if none was."""
    found = {}
    for order, bar in BARS.items():
        for key, what in (("bits_last_tenth", "last tenth"), ("bits", "mean")):
            passes = [next((k + 1 for k, p in enumerate(r["passes"]) if p[key] < bar), None) for r in results]
            found[f"{what} of a pass below {bar} bits (contexts of {order})"] = passes
    return found


def _table(results: list[dict[str, Any]], bars: dict[str, list[float]], learner: str) -> str:
    head = (
        "learner",
        "seed",
        "pass",
        "bits",
        "last tenth",
        "fire",
        "send rows",
        "ms/char",
        "multiply-adds",
        "fewer than dense",
    )
    rows: list[Sequence[Any]] = [head]
    for result in results:
        for k, p in enumerate(result["passes"]):
            macs = (f"{p['macs']:.2e}", f"{p['macs_dense'] / p['macs']:.0f}x") if "macs" in p else ("-", "-")
            figures = [
                f"{p['bits']:.3f}",
                f"{p['bits_last_tenth']:.3f}",
                f"{p['activity']:.0%}",
                f"{p['gradient_activity']:.0%}",
            ]
            rows.append((learner, result["seed"], k + 1, *figures, f"{p['ms_per_character']:.2f}", *macs))
    contexts: list[Sequence[Any]] = [("bits of n-grams, characters of context", "0", "1", "2")]
    contexts += [(name, *(f"{b:.3f}" for b in values)) for name, values in bars.items()]
    contexts.append(("asked for", "-", *(f"{bar:.2f}" for bar in BARS.values())))
    notes = []
    for what, passes in _reached(results).items():
        notes.append(f"{what}: {', '.join('not reached' if k is None else f'pass {k}' for k in passes)}")
    for m in (r["memory"] for r in results if "memory" in r):
        grown = m["after"] - m["before"]
        notes.append(f"memory: {m['before']:.2f} MB, {m['after']:.2f} MB after {m['steps']} more characters ({grown:+.2f} MB)")
    return "\n".join(("", table(rows), "", table(contexts), "", *notes))


def _draw(results: list[dict[str, Any]], bars: dict[str, list[float]], options: argparse.Namespace) -> None:
    """Bits per character while reading, and the bars."""
    ax = axes(7.2, 4.4)
    for k, result in enumerate(results):
        curve = np.concatenate([p["curve"] for p in result["passes"]])
        at = np.linspace(0, options.steps * options.passes, len(curve) + 1)[1:]
        ax.plot(at, curve, color="#0072B2", alpha=0.25, linewidth=0.7)
        label = None if k else f"{options.learner}, {options.units} units"
        ax.plot(at, _smooth(curve), color="#0072B2", linewidth=1.8, label=label)
    for (order, bar), dashes in zip(BARS.items(), ("--", ":"), strict=True):
        ax.axhline(bar, color="black", linewidth=1, linestyle=dashes, label=f"asked for, contexts of {order} ({bar})")
        low, high = sorted((bars["entropy"][order], bars["counting"][order]))
        label = f"contexts of {order}: entropy to counting ({low:.2f} to {high:.2f})"
        ax.axhspan(low, high, color="#E69F00", alpha=0.2, linewidth=0, label=label)
    ax.set(xlabel="characters read, learning at each", ylabel="bits per character, before learning it")
    ax.legend(fontsize=7, frameon=False)
    plot.save(ax, options.out / f"bits_{options.learner}.png")


def _smooth(values: np.ndarray, window: int = 9) -> np.ndarray:
    window = min(window, len(values))
    padded = np.pad(values, (window // 2, window - 1 - window // 2), mode="edge")
    return np.convolve(padded, np.ones(window) / window, "valid")


if __name__ == "__main__":
    sys.exit(main())
