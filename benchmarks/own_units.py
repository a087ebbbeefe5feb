"""Populations without synapses among themselves: how the time of exact RTRL grows with the units, and what it counts.

Online steps (float32, one thread, 8 lanes and inputs, 2 outputs), the processor time of an update alone, minimum over turns.
The exponent is fitted to time against parameters; beside it multiply-adds a step, lane and parameter, which do not grow.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/own_units.py
    python benchmarks/own_units.py --models lru adlif --units 64 256 1024 4096
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import spikertrl as srl
from spikertrl.cost import cost_of
from spikertrl.learners.base import Signal
from spikertrl.simulation.run import simulator
from spikertrl.threads import one_pool

TURNS, LANES = 60, 8


def measure(model: str, units: int) -> tuple[int, float, float]:
    """Parameters that are learned by RTRL, seconds of an update, multiply-adds of a step and parameter."""
    net = srl.Network().add_input("x", 8).add_population("h", model, units).connect("x", "h").add_readout("z", "h", 2)
    net.initialize(0)
    machine, learner, rng, times = simulator(net), srl.RTRL(), np.random.default_rng(0), []
    state, memory = machine.start(LANES), learner.init(net, LANES)
    with one_pool():
        for _ in range(TURNS):
            tape = machine.run(state, rng.normal(size=(1, LANES, 8)).astype(net.dtype))
            signal = Signal(0.0, np.ones_like(tape.z))
            began = time.thread_time()
            learner.update(memory, tape, signal)
            times.append(time.thread_time() - began)
    cost, parameters = cost_of(memory), net.wiring.n_recurrent
    return parameters, min(times[TURNS // 4 :]), (cost.macs if cost else float("nan")) / parameters / TURNS / LANES


def main(argv: list[str] | None = None) -> int:
    """Print one table a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["lru", "elstm", "adlif"])
    parser.add_argument("--units", type=int, nargs="+", default=[64, 128, 256, 512, 1024, 2048, 4096])
    options = parser.parse_args(argv)
    for model in options.models:
        rows = [measure(model, units) for units in options.units]
        parameters, seconds = np.array([row[:2] for row in rows]).T
        exponent = np.polyfit(np.log(parameters), np.log(seconds), 1)[0]
        print(f"{model}: time of an update grows with parameters to the power {exponent:.2f}")
        for units, (count, spent, macs) in zip(options.units, rows, strict=True):
            print(f"  {units:6} units {count:8} parameters {1e6 * spent:10.1f} us {macs:8.1f} multiply-adds a parameter")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
