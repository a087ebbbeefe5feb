"""What exact RTRL gains by taking steps together: the same network, tapes and gradient both ways, in turn, one lane, float32.

**Tapes** whose influence goes by the product of the tape's Jacobians (the route "products") beside the same tapes step by step
(or event by event), nothing waiting, and which of the two is chosen by itself. **Online steps** that wait for one another
(the route "deferred"), tau = 1 with a loss at every step, beside steps taken at once.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/steps_together.py
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from influence import INPUTS, OUTPUTS, with_share

import spikertrl as srl
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.choose import override
from spikertrl.simulation.run import simulator
from spikertrl.tape import Tape

TURN = 48  # steps
AT_ONCE = {"deferred_steps": 0, "dense_deferred_steps": 0}
STEPS, PRODUCT = ({"product_rate": rate, "dense_product_rate": rate} | AT_ONCE for rate in (0.0, 1e9))
TAPES = [  # units, density, wanted share of gradient-active units, tau
    (16, 1.0, 1.0, 16), (64, 1.0, 1.0, 4), (64, 1.0, 1.0, 16), (64, 0.3, 0.3, 16), (128, 1.0, 1.0, 4), (128, 1.0, 1.0, 16),
    (128, 0.1, 0.1, 16), (256, 1.0, 1.0, 16), (256, 0.1, 0.3, 16), (256, 0.1, 0.3, 48), (256, 0.1, 0.1, 16),
]  # fmt: skip
ONLINE = [(64, 1.0, 1.0), (128, 1.0, 1.0), (256, 1.0, 1.0), (128, 0.1, 0.1), (256, 0.02, 0.1), (256, 0.1, 0.1), (256, 0.1, 0.3)]


def compare(
    net: srl.Network, tau: int, ways: dict[str, dict[str, Any]], rounds: int
) -> tuple[dict[str, float], dict[str, float], float]:
    """Milliseconds a step and million multiply-adds a step of each way, and the largest relative difference of gradients."""
    machine, learner, rng = simulator(net), srl.RTRL(), np.random.default_rng(2)
    state, states = machine.start(1), {name: learner.init(net, 1) for name in ways}
    times: dict[str, list[float]] = {name: [] for name in ways}
    macs, worst = dict.fromkeys(ways, 0.0), 0.0

    def one() -> tuple[Tape, Signal]:
        tape = machine.run(state, rng.normal(size=(tau, 1, INPUTS)).astype(np.float32)).copy()
        signal = Signal(0.0, np.zeros_like(tape.z))
        signal.dz[-1] = rng.normal(size=(1, OUTPUTS))
        return tape, signal

    for _ in range(rounds + 1):
        turn, found = [one() for _ in range(max(1, TURN // tau))], {}
        for name, values in ways.items():
            with override(**values):
                before, began = states[name].counts.sum(), time.perf_counter()
                found[name] = [learner.update(states[name], *part) for part in turn]
            times[name].append(1e3 * (time.perf_counter() - began) / len(turn) / tau)
            macs[name] = float(states[name].counts.sum() - before) / len(turn) / tau / 1e6
        first, second = found.values()
        worst = max(worst, *(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(first, second, strict=True)))
    return {name: float(np.median(values[1:])) for name, values in times.items()}, macs, worst


def chosen(net: srl.Network, tau: int) -> str:
    """Which way a tape takes by itself."""
    machine, state = simulator(net), srl.RTRL().init(net, 1)
    start = machine.start(1)
    for _ in range(2):
        tape = machine.run(start, np.random.default_rng(3).normal(size=(tau, 1, INPUTS)).astype(np.float32))
        with override(**AT_ONCE):
            srl.RTRL().update(state, tape, Signal(0.0, np.zeros_like(tape.z)))
    return "product" if state.routes.get("products") == 2 else "steps"


def main(argv: list[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--units", type=int, nargs="*", help="only these sizes")
    options = parser.parse_args(argv)
    print("| units | density | active | tau | steps, ms | product, ms | times | million MACs a step | chosen | difference |")
    for n, density, wanted, tau in TAPES:
        if options.units and n not in options.units:
            continue
        net, share = with_share(n, density, wanted)
        times, macs, gap = compare(net, tau, {"steps": STEPS, "product": PRODUCT}, options.rounds)
        steps, together = times["steps"], times["product"]
        print(
            f"| {n} | {density} | {share:.0%} | {tau} | {steps:.3g} | {together:.3g} | {steps / together:.1f} | "
            f"{macs['steps']:.3g}, {macs['product']:.3g} | {chosen(net, tau)} | {gap:.0e} |",
            flush=True,
        )
    print("\n| units | density | active | influence, MB | at once, ms | waiting, ms | times | difference |")
    for n, density, wanted in ONLINE:
        if options.units and n not in options.units:
            continue
        net, share = with_share(n, density, wanted)
        times, _, gap = compare(net, 1, {"once": AT_ONCE, "waiting": {}}, options.rounds)
        once, together = times["once"], times["waiting"]
        size = net.memory(srl.RTRL()).influence / 1e6
        print(
            f"| {n} | {density} | {share:.0%} | {size:.0f} | {once:.3g} | {together:.3g} | {once / together:.1f} | {gap:.0e} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
