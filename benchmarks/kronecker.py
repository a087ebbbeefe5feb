"""One step of the Kronecker learners (tau = 1, float32), beside the bare BLAS products that they cannot avoid.

A recurrent highway network (or another model) reads characters; the learner's update of one simulated step is timed, round
after round in turn with the bare products ``J @ E`` of the same shapes (one (states, sources) @ (sources, columns) per lane and
term), so that a busy machine slows all alike. Medians are reported; ``--cpu`` counts processor time instead of wall time (for
one thread on a busy machine).

    python benchmarks/kronecker.py
    python benchmarks/kronecker.py --units 128 --batch 16 --ranks 16
    python benchmarks/kronecker.py --model threshold_rnn --width 0.1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import spikertrl as srl
from spikertrl.models import load
from spikertrl.simulation.run import simulator
from spikertrl.threads import one_pool
from spikertrl.training.gradients import signal_of

clock = time.perf_counter


def network(model: str, units: int, symbols: int, width: float | None, theta: float | None) -> srl.Network:
    """Characters in and out, all-to-all."""
    more: dict[str, Any] = {} if width is None else {"surrogate": srl.surrogates.triangle(0.7, width)}
    more |= {} if theta is None else {"theta": theta}
    net = srl.Network().add_input("x", symbols).add_population("h", load(model), units, **more)
    return net.connect("x", "h").connect("h", "h").add_readout("z", "h", symbols).initialize(0)


def stepper(net: srl.Network, learner: srl.learners.Learner, batch: int, active: list[float]) -> Callable[[], float]:
    """A function that simulates a step, learns from it, and returns the milliseconds of the learner's update alone.

    ``active`` collects the share of gradient-active units.
    """
    task = srl.tasks.text(tau=1)
    machine = simulator(net)
    state, memory = machine.start(batch), learner.init(net, batch)

    def step() -> float:
        x, labels = task.batch(batch)
        tape = machine.run(state, x)
        told = signal_of(net, task.loss(labels), tape, 0, 1)
        active.append(float(tape.active(net.wiring)[0].mean()) / net.wiring.n_units)
        began = clock()
        learner.update(memory, tape, told)
        return 1e3 * (clock() - began)

    return step


def products(states: int, sources: int, columns: int, terms: int, batch: int) -> Callable[[], float]:
    """The bare products: batch * terms times (states, sources) @ (sources, columns)."""
    rng = np.random.default_rng(0)
    J = rng.normal(size=(batch, 1, states, sources)).astype(np.float32)
    E = rng.normal(size=(batch, terms, sources, columns)).astype(np.float32)
    out = np.empty((batch, terms, states, columns), np.float32)

    def multiply() -> float:
        began = clock()
        np.matmul(J, E, out=out)
        return 1e3 * (clock() - began)

    return multiply


def main(argv: list[str] | None = None) -> int:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="rhn")
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--width", type=float, default=None, help="support of the pseudo-derivative of an event-based model")
    parser.add_argument("--theta", type=float, default=None, help="threshold of an event-based model")
    parser.add_argument("--ranks", type=int, nargs="*", default=[8])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--cores", type=int, default=2, help="threads of the bare products")
    parser.add_argument("--more", action="store_true", help="the other learners of the long comparisons too")
    parser.add_argument("--cpu", action="store_true", help="processor time, for one thread")
    options = parser.parse_args(argv)
    if options.cpu:
        global clock
        clock = time.process_time
    symbols = srl.tasks.text(tau=1).n_in
    net = network(options.model, options.units, symbols, options.width, options.theta)
    learners: dict[str, Any] = {"KFRTRL": srl.KFRTRL(), "UORO": srl.UORO()}
    learners |= {f"OK({rank})": srl.OK(rank) for rank in options.ranks}
    if options.more:
        learners |= {
            "SnAp(1)": srl.SnAp(1),
            "RFLO": srl.RFLO(),
            "BPTT(25)": srl.BPTT(25),
            "BPTT(5)": srl.BPTT(5),
            "Immediate": srl.Immediate(),
        }
    w = net.wiring
    ports = len(np.unique(w.col_port[w.col_source >= w.n_channels]))
    active: list[float] = []
    ways = {name: stepper(net, learner, options.batch, active) for name, learner in learners.items()}
    bare = {rank: products(w.n_states, w.n_units, w.n_units * ports, rank, options.batch) for rank in [1, *options.ranks]}
    times: dict[Any, list[float]] = {name: [] for name in [*ways, *bare]}
    for _ in range(options.rounds):
        with one_pool():
            for name, step in ways.items():
                times[name].append(step())
        with one_pool(options.cores):
            for rank, multiply in bare.items():
                times[rank].append(multiply())
    print(f"{'':28}{'median ms':>10}{'min':>9}{'/ bare':>9}")
    for rank in bare:
        print(f"{f'bare products, {rank} term(s)':28}{np.median(times[rank]):10.2f}{min(times[rank]):9.2f}{1:9.2f}")
    for name in ways:
        rank = int(name[3:-1]) if name.startswith("OK") else 1
        middle = float(np.median(times[name][1:]))
        print(f"{name:28}{middle:10.2f}{min(times[name]):9.2f}{middle / np.median(times[rank]):9.2f}")
    print(f"gradient-active units: {np.mean(active[len(active) // 2 :]):.1%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
