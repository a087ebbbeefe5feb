"""What common calls take in earlier versions and in this one, side by side: each in a process of its own, in turn.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 taskset -c 0 python benchmarks/history.py COMMITS --out benchmarks/history.json
    python benchmarks/history.py --draw benchmarks/history.json --figure docs/images/history.png

A version is a commit, checked out into a folder that is removed at the end. The calls use only what all versions have:
networks, ``gradient``, ``simulate`` and ``Online``, so their times, the least of all turns, contain what surrounds a kernel,
too. The second line draws.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE, STEPS = Path(__file__).resolve(), 32
CALLS = {  # what one call is
    "exact RTRL, a sequence": "gradient by exact RTRL of one sequence of 32 steps, 128 egru units, density 0.1",
    "exact RTRL, tapes of 8": "the gradient by exact RTRL of that sequence in tapes of 8 steps",
    "BPTT, a sequence": "gradient by BPTT of one sequence of 32 steps, 128 egru units, density 0.1",
    "e-prop, a sequence": "gradient by e-prop of one sequence of 32 steps, 128 egru units, density 0.1",
    "an online step": "16 egru units, exact RTRL, Adam: predict_one and learn_one",
    "simulation": "2,000 LIF neurons, 100 synapses each, 0.1 s in steps of 0.1 ms, spikes only",
}


def calls() -> dict[str, Callable[[], Callable[[], Any]]]:
    """Name -> what makes the call, in the version that is imported."""
    from brian2 import mV

    import spikertrl as srl

    def sequence(learner: str, **options: Any) -> Callable[[], Any]:
        net = srl.Network().add_input("x", 32).add_population("h", srl.models.egru, 128).connect("x", "h", seed=3)
        net = net.connect("h", "h", density=0.1, seed=1).add_readout("z", "h", 8).initialize(0)
        x, target = (np.random.default_rng(2).normal(size=(STEPS, 1, n)).astype(np.float32) for n in (32, 8))
        known, loss = getattr(srl, learner)(), srl.losses.squared_error(target)
        return lambda: srl.gradient(net, known, x, loss, **options)

    def online() -> Callable[[], Any]:
        net = srl.Network().add_input("x", 4).add_population("h", srl.models.egru, 16).connect("x", "h").connect("h", "h")
        net = net.add_readout("z", "h", 2).initialize(0)
        learning = srl.Online(net, srl.RTRL(), srl.optimizers.adam(1e-4), srl.losses.squared_error)
        x, y = np.ones(4, np.float32), np.zeros(2, np.float32)
        return lambda: (learning.predict_one(x), learning.learn_one(y))

    def simulation() -> Callable[[], Any]:
        rest = np.random.default_rng(4).uniform(18, 24, 2000)
        net = srl.Network("float64", dt=1e-4).add_population("h", srl.models.lif, 2000, v_rest=rest * mV)
        net.connect("h", "h", density=0.05, weight=1e-4, delay=15, trainable=False).initialize(0)
        record = srl.Record(states=False, messages=False)
        return lambda: srl.simulate(net, steps=1000, record=record)

    kinds = [("RTRL", {}), ("RTRL", {"tau": 8}), ("BPTT", {}), ("EProp", {})]
    made: list[Any] = [lambda k=kind, o=options: sequence(k, **o) for kind, options in kinds]
    return dict(zip(CALLS, [*made, online, simulation], strict=True))


def work() -> None:
    """In a version's process: for every name that is read, milliseconds a call, the mean of a turn."""
    ready: dict[str, Callable[[], Any]] = {}
    made = calls()
    for line in sys.stdin:
        name = line.strip()
        try:
            if name not in ready:
                ready[name] = made[name]()
                ready[name]()
            began = time.perf_counter()
            ready[name]()
            count = int(np.clip(0.05 / (time.perf_counter() - began), 1, 200))
            began = time.perf_counter()
            for _ in range(count):
                ready[name]()
            print("=", 1e3 * (time.perf_counter() - began) / count, flush=True)
        except Exception as error:  # a version that cannot: said in the table, the others go on
            print("!", f"{type(error).__name__}: {error}".splitlines()[0][:200], flush=True)


class Version:
    """A commit, checked out, and the process that answers for it."""

    def __init__(self, commit: str, folder: Path) -> None:
        told = _git("show", "-s", "--date=short", "--format=%h%n%ad%n%s", commit).splitlines()
        self.row: dict[str, Any] = dict(zip(("commit", "date", "subject"), told, strict=True))
        self.tree = folder / self.row["commit"]
        _git("worktree", "add", "--detach", str(self.tree), commit)
        cache = {"SPIKERTRL_CACHE": str(self.tree / "cells"), "NUMBA_CACHE_DIR": str(self.tree / "loops")}
        command, known = (
            [sys.executable, "-W", "ignore", str(HERE), "--work"],
            os.environ | cache | {"PYTHONPATH": str(self.tree)},
        )
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process: Any = subprocess.Popen(command, env=known, text=True, cwd=self.tree, **pipes)

    def ask(self, name: str) -> float | str:
        """Milliseconds a call, or why there are none."""
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line[:2] in ("= ", "! "):
                return float(line[2:]) if line[0] == "=" else line[2:].strip()
        return "its process ended"

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        _git("worktree", "remove", "--force", str(self.tree))


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=HERE.parent, check=True, capture_output=True, text=True).stdout


def measure(commits: Sequence[str], rounds: int, names: Sequence[str]) -> dict[str, Any]:
    """Versions in the order given, and what each takes at least, in milliseconds; None where a version cannot."""
    with tempfile.TemporaryDirectory() as folder:
        versions: list[Version] = []
        try:
            versions += [Version(commit, Path(folder)) for commit in commits]
            found: dict[str, list[list[Any]]] = {name: [[] for _ in versions] for name in names}
            for k, version in enumerate(versions):
                for name, turns in found.items():
                    turns[k].append(version.ask(name))  # compiles; the turn is kept
                    print(version.row["commit"], name, turns[k][0], file=sys.stderr, flush=True)
            for _ in range(rounds - 1):
                for name, turns in found.items():
                    for version, times in zip(versions, turns, strict=True):
                        if not isinstance(times[0], str):
                            times.append(version.ask(name))
        finally:
            for version in versions:
                version.close()
    words = [{name: t[k][0] for name, t in found.items() if isinstance(t[k][0], str)} for k in range(len(versions))]
    rows = [version.row | ({"cannot": said} if said else {}) for version, said in zip(versions, words, strict=True)]
    least = {name: [None if isinstance(t[0], str) else min(t) for t in turns] for name, turns in found.items()}
    chosen = " ".join(json.dumps(name) for name in names)
    command = " ".join(["python benchmarks/history.py", *commits, f"--rounds {rounds}", f"--calls {chosen}"])
    return {"command": command, "calls": {name: CALLS[name] for name in names}, "versions": rows, "least_ms": least}


def joined(files: Sequence[Path]) -> dict[str, Any]:
    """What several runs found; the first has all commits, where another has one not, there is no time."""
    found, *others = [json.loads(file.read_text()) for file in files]
    for other in others:
        at = {version["commit"]: k for k, version in enumerate(other["versions"])}
        found["calls"] |= other["calls"]
        for name, times in other["least_ms"].items():
            rows = [at.get(version["commit"]) for version in found["versions"]]
            found["least_ms"][name] = [None if k is None else times[k] for k in rows]
    return found


def show(found: dict[str, Any]) -> None:
    """The figures as a table in Markdown."""
    versions = found["versions"]
    print("| ms | " + " | ".join(f"{v['date'][5:]} `{v['commit']}`" for v in versions) + " | first over last |")
    print("|---" * (len(versions) + 2) + "|")
    for name, times in found["least_ms"].items():
        known = [t for t in times if t is not None]
        cells = ["-" if t is None else f"{t:.3g}" for t in times]
        print(f"| {name} | " + " | ".join(cells) + (f" | {known[0] / known[-1]:.1f} |" if known else " | - |"))


def draw(found: dict[str, Any], out: Path) -> None:
    """Times over versions, each call relative to its first, on a logarithmic axis."""
    from _peer_figures import COLORS, MARKERS, new_axes

    import spikertrl as srl

    ax, versions = new_axes(), found["versions"]
    for k, (name, times) in enumerate(found["least_ms"].items()):
        points = [(j, t) for j, t in enumerate(times) if t is not None]
        if points:
            at, values = zip(*points, strict=True)
            label = f"{name}: {values[-1]:.3g} ms"
            ax.plot(at, [v / values[0] for v in values], color=COLORS[k], marker=MARKERS[k], label=label, markersize=5)
    ax.set_xticks(range(len(versions)), [f"{v['date'][5:]}\n{v['commit']}" for v in versions], fontsize=8)
    ax.set(yscale="log", ylabel="time of a call, first version 1")
    ax.grid(alpha=0.25, which="both")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False, title="and its last", title_fontsize=8)
    srl.plot.save(ax, out)


def main(argv: list[str] | None = None) -> int:
    """Measure commits and write JSON, or draw such a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs="*", help="oldest first")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", nargs="+", choices=list(CALLS), default=list(CALLS))
    parser.add_argument("--out", type=Path, default=Path("results/history.json"))
    parser.add_argument("--draw", type=Path, nargs="+", help="files that were written: show, with --figure draw them")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.work:
        work()
        return 0
    if not options.draw and not options.commits:
        parser.error("name commits to measure, oldest first, or a file to --draw")
    found = joined(options.draw) if options.draw else measure(options.commits, options.rounds, options.calls)
    if not options.draw:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    show(found)
    if options.figure:
        draw(found, options.figure)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
