"""What exact RTRL gains where a whole sequence is one tape: the same gradient by state transitions (the route "transitions")
and by the influence itself, in turn, float32; and which of the two is chosen by itself.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/whole_sequences.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from influence import INPUTS, OUTPUTS, with_share

import spikertrl as srl
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.choose import override
from spikertrl.simulation.run import simulator

NEVER, ALWAYS = 0.0, 1e9
CASES = [  # units, density, wanted share of gradient-active units, steps, lanes
    (16, 1.0, 1.0, 17, 32), (16, 1.0, 1.0, 100, 32), (16, 0.1, 1.0, 17, 32), (64, 1.0, 1.0, 17, 8), (64, 1.0, 1.0, 100, 8),
    (64, 1.0, 1.0, 200, 8), (64, 1.0, 0.3, 50, 8), (128, 1.0, 1.0, 100, 2), (128, 0.1, 0.1, 32, 2), (128, 0.1, 0.1, 100, 2),
    (128, 0.1, 0.3, 100, 2), (256, 1.0, 1.0, 32, 1), (256, 0.1, 0.3, 32, 1), (256, 0.1, 0.1, 32, 1), (256, 0.1, 0.1, 100, 1),
    (256, 0.02, 0.1, 32, 1), (256, 0.02, 0.02, 100, 1),
]  # fmt: skip


def compare(net: srl.Network, steps: int, lanes: int, rounds: int) -> tuple[dict[str, float], dict[str, float], str, float]:
    """Milliseconds and million multiply-adds a sequence of each way, which is chosen, the largest relative difference."""
    machine, learner, rng = simulator(net), srl.RTRL(), np.random.default_rng(2)
    start = machine.start(lanes)
    rates = {"influence": NEVER, "transitions": ALWAYS}
    times: dict[str, list[float]] = {name: [] for name in rates}
    macs, worst, states = dict.fromkeys(rates, 0.0), 0.0, {name: learner.init(net, lanes) for name in rates}
    for _ in range(rounds + 1):
        start.reset_lanes()
        tape = machine.run(start, rng.normal(size=(steps, lanes, INPUTS)).astype(np.float32))
        signal, found = Signal(0.0, np.zeros_like(tape.z), last=True), {}
        signal.dz[-1] = rng.normal(size=(lanes, OUTPUTS))
        for name, rate in rates.items():
            with override(transition_rate=rate):
                before, began = states[name].counts.sum(), time.perf_counter()
                found[name] = learner.update(states[name], tape, signal)
                times[name].append(1e3 * (time.perf_counter() - began))
            macs[name] = float(states[name].counts.sum() - before) / 1e6
        first, second = found.values()
        worst = max(worst, float(np.abs(first - second).max() / np.abs(first).max()))
    learner.update(states["transitions"], tape, signal)
    taken = "transitions" if states["transitions"].route == "transitions" else "influence"
    return {name: float(np.median(values[1:])) for name, values in times.items()}, macs, taken, worst


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--units", type=int, nargs="*", help="only these sizes")
    options = parser.parse_args(argv)
    print(
        "| units | density | active | steps | lanes | influence, ms | transitions, ms | times | million MACs | chosen | diff |"
    )
    for n, density, wanted, steps, lanes in CASES:
        if options.units and n not in options.units:
            continue
        net, share = with_share(n, density, wanted)
        times, macs, taken, gap = compare(net, steps, lanes, options.rounds)
        influence, transitions = times["influence"], times["transitions"]
        print(
            f"| {n} | {density} | {share:.0%} | {steps} | {lanes} | {influence:.3g} | {transitions:.3g} | "
            f"{influence / transitions:.1f} | {macs['influence']:.3g}, {macs['transitions']:.3g} | {taken} | {gap:.0e} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
