"""Resident memory of a process that learns by exact RTRL, step after step: it stays where it was.

A sparse event-based GRU reads noise and says what it heard a step ago, an update at the end of every tape; the resident set is
noted ten times. Compiling takes room too: run it twice.

    OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/long_run.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import psutil

import spikertrl as srl
from spikertrl.simulation.run import simulator
from spikertrl.threads import one_pool
from spikertrl.training.gradients import descend, signal_of


def main(argv: list[str] | None = None) -> int:
    """Print one line for every tenth of the run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--tau", type=int, default=10)
    options = parser.parse_args(argv)
    narrow = srl.surrogates.triangle(0.7, 0.3)
    net = srl.Network().add_input("x", 8).add_population("h", srl.models.egru, options.units, surrogate=narrow, theta=0.3)
    net.connect("x", "h").connect("h", "h", density=0.1, seed=1).add_readout("z", "h", 8, decay=0.5).initialize(0)
    machine, learner, optimizer = simulator(net), srl.RTRL(), srl.optimizers.adam(1e-3)
    state, memory, moments = machine.start(1), learner.init(net, 1), optimizer.init(net.theta)
    rng, process = np.random.default_rng(0), psutil.Process()
    tapes = options.steps // options.tau
    began, loss, active = time.perf_counter(), 0.0, 0.0
    with one_pool():
        for number in range(tapes + 1):
            x = rng.normal(size=(options.tau + 1, 1, 8)).astype(net.dtype)
            tape = machine.run(state, x[1:])
            told = signal_of(net, srl.losses.squared_error(x[:-1]), tape, 0, options.tau)
            descend(net, optimizer, moments, learner.update(memory, tape, told))
            loss, active = loss + told.value, active + float(tape.active(net.wiring)[0].mean())
            if number % max(1, tapes // 10) == 0:
                count = max(1, tapes // 10) if number else 1
                held, seconds = process.memory_info().rss / 1e6, time.perf_counter() - began
                shares = f"loss {loss / count:.4f}  {active / count / options.units:.0%} active"
                print(f"{number * options.tau:>9,} steps  {held:7.1f} MB resident  {seconds:6.0f} s  {shares}", flush=True)
                loss, active = 0.0, 0.0
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
