"""One online step (tau = 1, one lane, float32, one thread), taken apart: simulation, loss, the learner's update.

A network of dense tanh units hears a few noisy inputs and is told a target at every step; e-prop is also timed on LIF neurons.
Learners take turns, block after block, so that a busy machine slows all alike. Minima and medians in milliseconds. Then
``Online``: whole steps, ``predict_one`` and ``learn_one`` with all that Python does around the loops; and learning in one call
or in two, ``gradient_one`` and ``apply``, which do the same.

    OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 taskset -c 0 python benchmarks/online_step.py
    python benchmarks/online_step.py --inputs 60 --outputs 60
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import spikertrl as srl
from spikertrl.models import load
from spikertrl.simulation.run import simulator
from spikertrl.threads import one_pool
from spikertrl.training.gradients import signal_of

PARTS = ("simulation", "loss", "update", "step")
BLOCK = 50  # steps of one learner before it is the next one's turn


def stepper(model: str, learner: srl.learners.Learner, units: int, inputs: int, outputs: int) -> Callable[[], list[float]]:
    """A function that takes one step and returns the milliseconds of its ``PARTS``."""
    net = srl.Network().add_input("x", inputs).add_population("h", load(model), units)
    net.connect("x", "h").connect("h", "h").add_readout("z", "h", outputs).initialize(0)
    machine, rng = simulator(net), np.random.default_rng(0)
    state, memory = machine.start(1), learner.init(net, 1)

    def step() -> list[float]:
        x, target = rng.normal(size=(1, 1, inputs)).astype(net.dtype), rng.normal(size=(1, 1, outputs))
        marks = [time.perf_counter()]
        tape = machine.run(state, x)
        marks.append(time.perf_counter())
        signal = signal_of(net, srl.losses.squared_error(target), tape, 0, 1)
        marks.append(time.perf_counter())
        learner.update(memory, tape, signal)
        marks.append(time.perf_counter())
        return [1e3 * part for part in (*np.diff(marks), marks[-1] - marks[0])]

    return step


def online(
    model: str, learner: srl.learners.Learner, units: int, *, apart: bool = False, density: float | None = None,
    whole: bool = False,
) -> Callable[[], float]:  # fmt: skip
    """A function that takes one step of ``Online`` and returns how many ms learning took, in one call or ``apart`` in two.

    ``whole``: prediction included.
    """
    net = srl.Network().add_input("x", 8).add_population("h", load(model), units).connect("x", "h")
    net = net.connect("h", "h", density=density, seed=0).add_readout("z", "h", 2).initialize(0)
    found, rng = srl.Online(net, learner, srl.optimizers.adam(1e-4), srl.losses.squared_error), np.random.default_rng(0)

    def step() -> float:
        x, target = rng.normal(size=8), rng.normal(size=2)
        start = time.perf_counter()
        z = found.predict_one(x)
        began = start if whole else time.perf_counter()
        if apart:
            found.apply(found.gradient_one(z - target))
        else:
            found.learn_one(target)
        return 1e3 * (time.perf_counter() - began)

    return step


def whole_steps(rounds: int) -> None:
    """Print what a user waits for a step."""
    print(f"\n{'a whole step of Online':34}{'minimum (median), ms':>22}")
    kinds = [("egru", srl.RTRL(), 32, 0.1), ("egru", srl.RTRL(), 32, None), ("rnn", srl.RFLO(), 256, None)]
    ways = [online(model, learner, units, density=density, whole=True) for model, learner, units, density in kinds]
    times: list[list[float]] = [[] for _ in kinds]
    for number in range(rounds + 1):
        for way, step in zip(times, ways, strict=True):
            taken = [step() for _ in range(BLOCK)]
            way += taken if number else []
    for (model, learner, units, density), way in zip(kinds, times, strict=True):
        name = f"{units} {model}, {type(learner).__name__}, density {density or 1:g}"
        print(f"{name:34}{f'{min(way):.3f} ({np.median(way):.3f})':>22}")


def in_two_calls(rounds: int) -> None:
    """Print what the two calls take beside the one."""
    print(f"\n{'minimum (median), ms':24}{'learn_one':>18}{'gradient_one, apply':>22}{'ratio':>16}")
    for model, learner, units in (("egru", srl.RTRL(), 16), ("egru", srl.RTRL(), 64), ("rnn", srl.SnAp(1), 256)):
        ways = [online(model, learner, units, apart=apart) for apart in (False, True)]
        times: list[list[float]] = [[], []]
        for number in range(rounds + 1):
            for way, step in zip(times, ways, strict=True):
                taken = [step() for _ in range(BLOCK)]
                way += taken if number else []
        low, middle = np.min(times, 1), np.median(times, 1)
        cells = [f"{a:.3f} ({b:.3f})" for a, b in zip(low, middle, strict=True)]
        ratio = f"{low[1] / low[0]:.2f} ({middle[1] / middle[0]:.2f})"
        print(f"{f'{units} {model}, {type(learner).__name__}':24}{cells[0]:>18}{cells[1]:>22}{ratio:>16}")


def main(argv: list[str] | None = None) -> int:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--inputs", type=int, default=8)
    parser.add_argument("--outputs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40, help=f"turns of {BLOCK} steps")
    options = parser.parse_args(argv)
    size = options.units, options.inputs, options.outputs
    learners = [srl.KFRTRL(), srl.UORO(), srl.SnAp(1), srl.RFLO(), srl.EProp()]
    ways = {f"rnn, {type(learner).__name__}": stepper("rnn", learner, *size) for learner in learners}
    ways["lif, EProp"] = stepper("lif", srl.EProp(), *size)
    times: dict[str, list[list[float]]] = {name: [] for name in ways}
    with one_pool():
        for number in range(options.rounds + 1):
            for name, step in ways.items():
                taken = [step() for _ in range(BLOCK)]
                times[name] += taken if number else []  # the first turn compiles
    print(f"{'minimum (median), ms':20}" + "".join(f"{part:>18}" for part in PARTS))
    for name, rows in times.items():
        cells = (f"{low:.3f} ({middle:.3f})" for low, middle in zip(np.min(rows, 0), np.median(rows, 0), strict=True))
        print(f"{name:20}" + "".join(f"{cell:>18}" for cell in cells))
    whole_steps(options.rounds)
    in_two_calls(options.rounds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
