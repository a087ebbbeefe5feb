"""Exact RTRL beside structured dense RTRL through BLAS: one event-based GRU network, the same tape, the same gradient.

The opponent keeps the influence as one matrix (units, parameters) and advances it by one matrix product, M <- H M, with the
immediate term added where it lies; that is what a careful programmer would write without sparsity. It comes twice: **dense**
holds a column for every weight, 2 n^3 (n + inputs + 1) operations for each of three ports, with zeros where the network has no
synapse; **masked** has columns for existing synapses alone, which already uses half of the sparsity. All are timed in turn on
the same tapes, one lane, float32, one thread, and their gradients are compared. The half width of the pseudo-derivative is
chosen so that the wanted share of units is gradient-active.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/influence.py --out results/influence.csv

The first lines are what the machine can do: multiply-adds a second of a large matrix product, and bytes a second of a copy.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _structured_dense import Dense

import spikertrl as srl
from spikertrl.learners.base import Signal
from spikertrl.simulation.run import simulator

INPUTS, OUTPUTS = 32, 8
TURN = 24  # steps
CASES = [  # units, density of input and recurrent connections, wanted share of gradient-active units, dense opponent
    (64, 0.1, 0.1, True), (128, 0.1, 0.1, True), (256, 0.1, 0.1, True), (256, 0.1, 0.3, True), (256, 0.1, 0.02, True),
    (256, 0.02, 0.1, True), (256, 0.3, 0.1, True), (256, 0.4, 0.1, False), (256, 0.4, 0.2, False), (64, 1.0, 1.0, True),
    (128, 1.0, 1.0, True), (256, 1.0, 1.0, True),
    (512, 0.1, 0.1, False), (1024, 0.05, 0.02, False),
]  # fmt: skip


def network(n: int, density: float, width: float, heard: float = 1.0) -> srl.Network:
    """egru; ``density`` of the recurrent connections, ``heard`` of those from the analog input."""
    mask, inputs = (None if share == 1 else share for share in (density, heard))
    narrow = srl.surrogates.triangle(0.7, width)
    net = srl.Network().add_input("x", INPUTS).add_population("h", srl.models.egru, n, surrogate=narrow, theta=0.3)
    net.connect("x", "h", density=inputs, seed=3).connect("h", "h", density=mask, seed=1)
    return net.add_readout("z", "h", OUTPUTS).initialize(0)


def with_share(n: int, density: float, share: float, heard: float = 1.0) -> tuple[srl.Network, float]:
    """The network whose units are gradient-active as often as wanted, found by bisection of the width."""
    low, high = 1e-3, 8.0
    for _ in range(14):
        width = (low * high) ** 0.5
        found = active_share(network(n, density, width, heard))
        low, high = (low, width) if found > share else (width, high)
    net = network(n, density, high, heard)
    return net, active_share(net)


def active_share(net: srl.Network) -> float:
    machine = simulator(net)
    tape = machine.run(machine.start(1), np.random.default_rng(1).normal(size=(64, 1, INPUTS)).astype(np.float32))
    return float(tape.active(net.wiring)[0][16:].mean()) / net.wiring.n_units


def measure(net: srl.Network, tau: int, opponents: dict[str, Dense], rounds: int) -> dict[str, float]:
    """Milliseconds a step of all (medians of turns), largest relative difference of the gradients, multiply-adds a step done.

    A turn of ours is so many tapes that TURN steps are in it: short ones may wait for one another.
    """
    machine, learner, rng = simulator(net), srl.RTRL(), np.random.default_rng(2)
    state, tapes = machine.start(1), max(1, TURN // tau)
    memory: Any = learner.init(net, 1)
    times: dict[str, list[float]] = {"sparse": [], "dense": [], "masked": []}
    worst, macs, steps = 0.0, [], tau * tapes
    for _ in range(rounds + 2):
        turn, before, spent, recurrent = [], memory.counts.sum(), [], net.wiring.col_theta
        for _ in range(tapes):
            tape = machine.run(state, rng.normal(size=(tau, 1, INPUTS)).astype(np.float32)).copy()
            signal = Signal(0.0, np.zeros_like(tape.z))
            signal.dz[-1] = rng.normal(size=(1, OUTPUTS))
            turn.append((tape, signal))
        found = [timed(lambda: learner.update(memory, *one), spent, steps) for one in turn]  # noqa: B023
        times["sparse"].append(sum(spent))
        for name, opponent in opponents.items():
            expected = [timed(lambda: opponent.update(*one), times[name], tau) for one in turn]  # noqa: B023
            for ours, theirs in zip(found, expected, strict=True):
                worst = max(worst, float(np.abs(ours - theirs)[recurrent].max() / np.abs(theirs[recurrent]).max()))
        macs.append(float(memory.counts.sum() - before) / steps)
    settled = {name: float(np.median(values[2:])) for name, values in times.items() if values}
    held = {"bytes": net.memory(learner).influence, "resident": psutil.Process().memory_info().rss}
    return settled | {"difference": worst, "macs": float(np.median(macs[2:]))} | held


def timed(what: Callable[[], np.ndarray], into: list[float], steps: int) -> np.ndarray:
    began = time.perf_counter()
    found = what()
    into.append(1e3 * (time.perf_counter() - began) / steps)
    return found


def machine_limits() -> tuple[float, float]:
    """Giga multiply-adds a second of a matrix product in cache, gigabytes a second read and written by a large copy."""
    a, b = (np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32) for _ in range(2))
    source, target = np.ones(32 << 20, np.float32), np.ones(32 << 20, np.float32)
    product, copy = [], []
    for _ in range(7):
        timed(lambda: a @ b, product, 1)
        timed(lambda: np.copyto(target, source) or target, copy, 1)
    return 512**3 / min(product) / 1e6, 2 * source.nbytes / min(copy) / 1e6


def main(argv: list[str] | None = None) -> int:
    """Print one line a case and write them as CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--units", type=int, nargs="*", help="only these sizes")
    parser.add_argument("--densities", type=float, nargs="*", help="only these densities")
    parser.add_argument("--input-density", type=float, default=1.0, help="density of the input connections (default 1)")
    parser.add_argument("--tau", type=int, nargs="*", default=[16, 1])
    parser.add_argument("--out", type=Path, default=Path("results/influence.csv"))
    options = parser.parse_args(argv)
    peak, bandwidth = machine_limits()
    print(f"matrix product {peak:.1f} G multiply-adds/s, copy {bandwidth:.1f} GB/s")
    rows: list[dict[str, float]] = []
    for n, density, wanted, dense in CASES:
        if (options.units and n not in options.units) or (options.densities and density not in options.densities):
            continue
        net, share = with_share(n, density, wanted, options.input_density)
        slow: dict[str, float] = {}  # of the opponents, timed at the longest tape
        for tau in sorted(options.tau, reverse=True):
            opponents = {"masked": Dense(net)} if dense and (not slow or n <= 256) else {}
            if dense and not slow and density < 1:
                opponents["dense"] = Dense(net, masked=False)
            found = measure(net, tau, opponents, options.rounds)
            slow = slow or {name: found[name] for name in ("dense", "masked") if name in found}
            slow.setdefault("dense", slow.get("masked", float("nan")))
            rate, masked = found["macs"] / found["sparse"] / 1e6, slow.get("masked", float("nan"))
            row = {
                "units": n, "density": density, "share": share, "tau": tau, "parameters": net.wiring.n_recurrent,
                "sparse_ms": found["sparse"], "dense_ms": slow["dense"], "masked_ms": masked,
                "dense_ratio": slow["dense"] / found["sparse"], "masked_ratio": masked / found["sparse"],
                "difference": found["difference"], "gmacs_per_s": rate, "of_peak": rate / peak,
                "influence_MB": found["bytes"] / 1e6, "process_MB": found["resident"] / 1e6,
            }  # fmt: skip
            rows.append(row)
            print(
                f"n={n:5} density {density:.2f} active {share:.3f} tau {tau:2}: {row['sparse_ms']:8.3f} ms a step; dense "
                f"{row['dense_ms']:8.2f}, {row['dense_ratio']:6.1f}x; masked {masked:8.2f}, {row['masked_ratio']:6.1f}x; "
                f"{rate:5.1f} GMAC/s ({row['of_peak']:.0%} of peak), difference {row['difference']:.1e}, "
                f"influence {row['influence_MB']:.0f} MB, process {row['process_MB']:.0f} MB",
                flush=True,
            )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
