"""Where the product of matrices overtakes the step Jacobian as lists in exact RTRL: the same network both ways, in turn.

Event-based GRU, one lane, float32, tapes of 16 steps. ``choose.Tuning.all_to_all`` is the share of connected pairs from which
rows are advanced as a product of matrices; here it is forced to either side.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/crossover.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from influence import INPUTS, network, with_share

import spikertrl as srl
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.choose import override
from spikertrl.simulation.run import simulator

TAU = 16


def stepper(net: srl.Network, threshold: float) -> Callable[[], tuple[float, np.ndarray]]:
    """A function that simulates a tape, learns from it, and returns milliseconds a step and the gradient."""
    machine, learner, rng = simulator(net), srl.RTRL(), np.random.default_rng(2)
    state, memory = machine.start(1), learner.init(net, 1)

    def step() -> tuple[float, np.ndarray]:
        tape = machine.run(state, rng.normal(size=(TAU, 1, INPUTS)).astype(np.float32))
        signal = Signal(0.0, np.zeros_like(tape.z))
        signal.dz[-1] = rng.normal(size=signal.dz[-1].shape)
        with override(all_to_all=threshold, product_rate=0.0, dense_product_rate=0.0):  # step by step: see steps_together.py
            began = time.perf_counter()
            found = learner.update(memory, tape, signal)
            return 1e3 * (time.perf_counter() - began) / TAU, found

    return step


def main(argv: list[str] | None = None) -> int:
    """Print one line for each size, share and density."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[16, 64, 128])
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0, 0.3, 0.1], help="gradient-active shares")
    parser.add_argument("--densities", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(argv)
    for n in options.units:
        for share in options.shares:
            for density in options.densities:
                net, found = (network(n, density, 1e3), 1.0) if share == 1 else with_share(n, density, share)
                ways = {"lists": stepper(net, 2.0), "product": stepper(net, 0.0)}
                times: dict[str, list[float]] = {name: [] for name in ways}
                for _ in range(options.rounds + 1):
                    results = {name: way() for name, way in ways.items()}
                    for name, (ms, _) in results.items():
                        times[name].append(ms)
                a, b = (results[name][1] for name in ways)
                assert np.allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(a).max())
                lists, panels = (float(np.median(times[name][1:])) for name in ways)
                print(
                    f"n={n:4} active {found:.2f} density {density:.2f}: lists {lists:7.3f} ms a step, "
                    f"product {panels:7.3f}, ratio {lists / panels:.2f}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
