"""Populations without synapses among themselves: how the time of exact RTRL grows with the units, and what it counts.

Updates over tapes of 16 steps (float32, one thread, 8 lanes and inputs, 2 outputs): the processor time of an update alone, all
sizes in turn, the minimum of all rounds. The exponent is fitted to time against parameters; beside it multiply-adds a step,
lane and parameter, which do not grow. With ``--steps 1`` an update is an online step, of which some 0.1 ms are the call itself,
whatever the size: what is fitted then is smaller.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/own_units.py
    python benchmarks/own_units.py --models lru adlif --units 64 256 1024 4096 --steps 1
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import spikertrl as srl
from spikertrl.cost import cost_of
from spikertrl.learners.base import Signal
from spikertrl.simulation.run import simulator
from spikertrl.threads import one_pool

LANES = 8


class Population:
    """One population that learns, and what its updates took so far."""

    def __init__(self, model: str, units: int) -> None:
        self.units = units
        net = srl.Network().add_input("x", 8).add_population("h", model, units).connect("x", "h")
        self.net, self.learner = net.add_readout("z", "h", 2).initialize(0), srl.RTRL()
        self.machine, self.rng = simulator(net), np.random.default_rng(0)
        self.state, self.memory = self.machine.start(LANES), self.learner.init(net, LANES)
        self.seconds: list[float] = []

    def turn(self, steps: int) -> None:
        """One tape, one update."""
        x = self.rng.normal(size=(steps, LANES, 8)).astype(self.net.dtype)
        tape = self.machine.run(self.state, x)
        signal = Signal(0.0, np.ones_like(tape.z))
        began = time.thread_time()
        self.learner.update(self.memory, tape, signal)
        self.seconds.append((time.thread_time() - began) / steps)

    def found(self, steps: int) -> tuple[int, float, float]:
        """Parameters that RTRL learns, seconds a step, multiply-adds of a step, lane and parameter."""
        cost, parameters = cost_of(self.memory), self.net.wiring.n_recurrent
        macs = (cost.macs if cost else float("nan")) / parameters / (len(self.seconds) * steps * LANES)
        return parameters, min(self.seconds), macs


def main(argv: list[str] | None = None) -> int:
    """Print one table a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["lru", "elstm", "adlif"])
    parser.add_argument("--units", type=int, nargs="+", default=[64, 128, 256, 512, 1024, 2048, 4096])
    parser.add_argument("--steps", type=int, default=16, help="steps of a tape (default 16)")
    parser.add_argument("--rounds", type=int, default=40, help="updates of each size (default 40)")
    options: Any = parser.parse_args(argv)
    for model in options.models:
        populations = [Population(model, units) for units in options.units]
        with one_pool():
            for _ in range(options.rounds):
                for one in populations:
                    one.turn(options.steps)
        rows = [one.found(options.steps) for one in populations]
        parameters, seconds = np.array([row[:2] for row in rows]).T
        exponent = np.polyfit(np.log(parameters), np.log(seconds), 1)[0]
        print(f"{model}: time of a step grows with parameters to the power {exponent:.2f}")
        for units, (count, spent, macs) in zip(options.units, rows, strict=True):
            each = f"{1e9 * spent / count / LANES:6.1f} ns and {macs:5.1f} multiply-adds a lane and parameter"
            print(f"  {units:6} units {count:8} parameters {1e6 * spent:10.1f} us, {each}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
