"""Does each way of its own pay? Exact RTRL's loops for full reach beside the general rows, and the loop for a single lane.

**Full reach by lists** (route "rows") beside "general rows": the same network, tapes and gradient both ways, in turn, one lane,
float32. **One lane**: what an update of the local learners takes alone, and with a register full of lanes (8), which is what a
single lane would take in the loop for several.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/routes.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from influence import INPUTS, with_share

import spikertrl as srl
from spikertrl.learners.base import Learner, Signal
from spikertrl.learners.engines.choose import override
from spikertrl.simulation.run import simulator
from spikertrl.threads import one_pool

CASES = [(64, 0.1, 0.1), (64, 0.3, 0.3), (128, 0.1, 0.1), (256, 0.1, 0.1), (256, 0.1, 0.3), (256, 0.02, 0.1), (512, 0.1, 0.1)]
WAYS, TURN, REGISTER = ("rows", "general rows"), 48, 8
LOCAL = [("rnn", 64, 1.0), ("rnn", 256, 1.0), ("egru", 256, 0.1), ("lif", 256, 0.1), ("lif", 2000, 0.02)]


def full_reach(n: int, density: float, share: float, tau: int, rounds: int) -> tuple[float, dict[str, np.ndarray]]:
    """Share of active units, and milliseconds a step of each way and turn."""
    net, found = with_share(n, density, share)
    machine, learner, rng = simulator(net), srl.RTRL(), np.random.default_rng(2)
    state, memory = machine.start(1), {}
    for way in WAYS:
        with override(way):
            memory[way] = learner.init(net, 1)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds + 1):
        spent, gradients = dict.fromkeys(WAYS, 0.0), {}
        for _ in range(max(1, TURN // tau)):
            tape = machine.run(state, rng.normal(size=(tau, 1, INPUTS)).astype(net.dtype)).copy()
            signal = Signal(0.0, rng.normal(size=tape.z.shape).astype(net.dtype))
            for way in WAYS:
                with override(way):
                    began = time.perf_counter()
                    gradients[way] = learner.update(memory[way], tape, signal)
                    spent[way] += time.perf_counter() - began
        np.testing.assert_allclose(*gradients.values(), rtol=1e-3, atol=1e-4 * np.abs(gradients["rows"]).max())
        for way in WAYS:
            times[way].append(1e3 * spent[way] / max(1, TURN // tau) / tau)
    return found, {way: np.array(values[1:]) for way, values in times.items()}


def local(model: str, n: int, density: float, learner: Learner, tau: int, rounds: int) -> dict[int, np.ndarray]:
    """Milliseconds a step of an update with one lane and with a register full of them, turn by turn."""
    net = srl.Network().add_input("x", INPUTS).add_population("h", srl.models.load(model), n).connect("x", "h")
    net.connect("h", "h", density=density, seed=0).add_readout("z", "h", 2).initialize(0)
    machine, rng, times = simulator(net), np.random.default_rng(0), {1: [], REGISTER: []}
    states = {lanes: (machine.start(lanes), learner.init(net, lanes)) for lanes in times}
    for _ in range(rounds + 1):
        for lanes, (state, memory) in states.items():
            spent = 0.0
            for _ in range(max(1, TURN // tau)):
                tape = machine.run(state, rng.normal(size=(tau, lanes, INPUTS)).astype(net.dtype))
                signal = Signal(0.0, rng.normal(size=tape.z.shape).astype(net.dtype))
                began = time.perf_counter()
                learner.update(memory, tape, signal)
                spent += time.perf_counter() - began
            times[lanes].append(1e3 * spent / max(1, TURN // tau) / tau)
    return {lanes: np.array(values[1:]) for lanes, values in times.items()}


def main(argv: list[str] | None = None) -> int:
    """Print both tables; ratios of medians (of minima)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--units", type=int, nargs="*", help="only these sizes")
    options = parser.parse_args(argv)
    with one_pool():
        print("| units | density | active | tau | rows, ms | general rows, ms | times (least) |\n|---|---|---|---|---|---|---|")
        for n, density, share in CASES:
            for tau in (16, 1) if not options.units or n in options.units else ():
                found, ms = full_reach(n, density, share, tau, options.rounds)
                mine, other = (ms[way] for way in WAYS)
                print(
                    f"| {n} | {density} | {found:.0%} | {tau} | {np.median(mine):.3g} | {np.median(other):.3g} "
                    f"| {np.median(other) / np.median(mine):.2f} ({other.min() / mine.min():.2f}) |",
                    flush=True,
                )
        print("\n| learner | model | units | tau | one lane, ms | a register of lanes, ms | times (least) |")
        print("|---|---|---|---|---|---|---|")
        for model, n, density in LOCAL:
            for learner in (srl.SnAp(1), srl.EProp()) if not options.units or n in options.units else ():
                for tau in (16, 1):
                    ms = local(model, n, density, learner, tau, options.rounds)
                    one, many = ms[1], ms[REGISTER]
                    print(
                        f"| {type(learner).__name__} | {model} | {n} | {tau} | {np.median(one):.3g} | {np.median(many):.3g} "
                        f"| {np.median(many) / np.median(one):.2f} ({many.min() / one.min():.2f}) |",
                        flush=True,
                    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
