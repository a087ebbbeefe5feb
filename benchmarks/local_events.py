"""e-prop of many neurons with few spikes: by events beside step by step, and a simulated second of a large network.

Recurrent LIF neurons of one population; messages are drawn at a rate, independently for each neuron and channel, and a fifth of
the neurons is gradient-active at a step. Time of an update of the traces and the gradient, float32, one thread, minimum over
turns; both ways on the same tape. ``--second`` learns a second of the network's own spiking online, in tapes, simulation and
optimizer included, and says the memory that it took.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/local_events.py
    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/local_events.py --neurons 100000 --second
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import numpy as np
import scipy.sparse

import spikertrl as srl
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.choose import override
from spikertrl.simulation.run import simulator
from spikertrl.training.gradients import descend

WAYS: dict[str, dict[str, Any]] = {
    "steps": {"local_unit": np.inf},
    "events": {"local_unit": 0.0, "local_column": 0.0, "local_event": 0.0},
}


def network(neurons: int, fan_in: int, model: str, decay: float) -> srl.Network:
    """Each neuron hears so many others, and two channels."""
    rng = np.random.default_rng(1)
    net = srl.Network(dt=1e-3).add_input("x", neurons, kind="event").add_population("h", model, neurons)
    for source, wide in (("x", 2), ("h", fan_in)):
        post = np.repeat(np.arange(neurons), wide)
        pre = rng.integers(0, neurons, neurons * wide)
        net.connect(source, "h", mask=scipy.sparse.coo_array((np.ones(len(post), bool), (post, pre)), (neurons, neurons)))
    return net.add_readout("z", "h", 2, decay=decay).initialize(0)


def compare(net: srl.Network, rate: float, tau: int, lanes: int, turns: int) -> tuple[dict[str, float], float]:
    """Seconds of an update by each way, and how far the gradients are apart."""
    rng, machine, learner = np.random.default_rng(0), simulator(net), srl.EProp()
    tape = machine.run(machine.start(lanes), np.zeros((tau, lanes, net.wiring.n_channels), net.dtype)).copy()
    tape.messages[...] = rng.random(tape.messages.shape) < rate * net.dt
    tape.o[...] = (rng.random(tape.o.shape) < 0.2) * rng.normal(size=tape.o.shape)
    signal, spent, found = Signal(0.0, rng.normal(size=tape.z.shape).astype(net.dtype)), {}, {}
    for way, values in WAYS.items():
        state, times = learner.init(net, lanes), []
        with override(**values):
            for _ in range(turns):
                began = time.perf_counter()
                found[way] = learner.update(state, tape, signal)
                times.append(time.perf_counter() - began)
        spent[way] = min(times)
    gap = np.abs(found["steps"] - found["events"]).max() / np.abs(found["steps"][: net.wiring.n_recurrent]).max()
    return spent, float(gap)


def second(net: srl.Network, tau: int, rate: float) -> None:
    """Learn a second of the network's own spiking, the readout following a slow sine; print time, rate and memory."""
    rng, machine, learner, optimizer = np.random.default_rng(0), simulator(net), srl.EProp(), srl.optimizers.sgd(1e-9)
    for name, mean, spread in (("h<-x", 25e-3, 0.0), ("h<-h", 0.0, 1e-3)):
        place = net.wiring.layout[name, "v"][0]
        net.theta[place] = rng.normal(mean, spread, place.stop - place.start)
    state, memory, moments = machine.start(1), learner.init(net, 1), optimizer.init(net.theta)
    spent = {"simulation": 0.0, "learning": 0.0, "optimizer": 0.0}
    spikes = 0
    for number in range(1 + round(1 / net.dt) // tau):  # the first tape compiles, and is not counted
        x = (rng.random((tau, 1, net.wiring.n_channels)) < rate * net.dt).astype(net.dtype)
        target = np.sin(2 * np.pi * np.arange(number * tau, (number + 1) * tau) * net.dt)[:, None, None]
        marks = [time.perf_counter()]
        tape = machine.run(state, x)
        marks.append(time.perf_counter())
        gradient = learner.update(memory, tape, Signal(0.0, (tape.z - target).astype(net.dtype)))
        marks.append(time.perf_counter())
        descend(net, optimizer, moments, gradient)
        marks.append(time.perf_counter())
        if number:
            spikes += int(np.count_nonzero(tape.units(net.wiring)))
            for name, begin, end in zip(spent, marks, marks[1:], strict=False):
                spent[name] += end - begin
    held, synapses = memory.bytes_held(), net.wiring.n_recurrent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{net.wiring.n_units:,} neurons, {synapses:,} synapses, {spikes / net.wiring.n_units:.1f} Hz: a second takes "
          + ", ".join(f"{name} {value:.1f} s" for name, value in spent.items())
          + f"; traces {held / synapses:.1f} bytes a synapse, the process at most {peak / synapses:.0f}")  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Print a line a rate, or the second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, default=10_000)
    parser.add_argument("--fan-in", type=int, default=100)
    parser.add_argument("--model", default="lif")
    parser.add_argument("--decay", type=float, default=0.0, help="of the readout")
    parser.add_argument("--rates", type=float, nargs="+", default=[1, 3, 10, 50, 100])
    parser.add_argument("--tau", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--second", action="store_true")
    options = parser.parse_args(argv)
    net = network(options.neurons, options.fan_in, options.model, options.decay)
    if options.second:
        second(net, options.tau[0], options.rates[-1])
        return 0
    for tau in options.tau:
        spent = []
        for rate in options.rates:
            found, gap = compare(net, rate, tau, options.lanes, options.turns)
            spent.append(found["events"])
            a_step = {way: 1e3 * value / tau for way, value in found.items()}
            print(f"tau {tau} {rate:5.0f} Hz: {a_step['steps']:8.3f} ms a step, by events {a_step['events']:7.3f}, "
                  f"{found['steps'] / found['events']:5.1f}x; gradients {gap:.0e} apart", flush=True)  # fmt: skip
        if len(spent) > 1:
            print(f"tau {tau}: exponent of time to rate {np.polyfit(np.log(options.rates), np.log(spent), 1)[0]:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
