"""The loops of exact RTRL in turn, in one process: rows by events and step by step, with one thread and with two.

The network of ``influence.py`` at several sizes, densities and shares of gradient-active units, tapes of 16 steps, one lane. In
its turn each is called several times, as in training, where a second thread is awake from the call before; medians of the
learner's update, ms a step. The last columns: what the library would take by itself, and what the second thread gives there, by
medians and by the least times (on a shared machine the second core is not always there).

    python benchmarks/block_loops.py
"""

from __future__ import annotations

import time

import numpy as np
from influence import INPUTS, with_share

import spikertrl as srl
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.choose import override
from spikertrl.simulation.run import simulator
from spikertrl.threads import at_most, one_pool

CASES = [(128, 0.1, 0.1), (256, 0.1, 0.1), (256, 0.1, 0.2), (256, 0.1, 0.3), (256, 0.4, 0.1), (256, 0.3, 0.3), (512, 0.1, 0.1)]
TAU, TURNS, CALLS = 16, 11, 6


def times(n: int, density: float, share: float) -> tuple[float, bool, dict[tuple[str, int], np.ndarray]]:
    """Share of active units, whether the library goes by events, times of (loop, threads)."""
    net, found = with_share(n, density, share)
    machine, learner, rng = simulator(net), srl.RTRL(), np.random.default_rng(2)
    state, memory = machine.start(1), learner.init(net, 1)
    by_itself = learner.init(net, 1)
    taken: dict[tuple[str, int], list[float]] = {(loop, k): [] for loop in ("events", "steps") for k in (1, 2)}
    for _ in range(TURNS):
        for (loop, threads), into in taken.items():
            spent = 0.0
            for _ in range(CALLS):
                tape = machine.run(state, rng.normal(size=(TAU, 1, INPUTS)).astype(net.dtype))
                signal = Signal(0.0, np.zeros_like(tape.z))
                signal.dz[-1] = 1.0
                with override("events" if loop == "events" else "rows"), at_most(threads):
                    began = time.perf_counter()
                    learner.update(memory, tape, signal)
                    spent += time.perf_counter() - began
            into.append(1e3 * spent / TAU / CALLS)
    with override(product_rate=0.0):  # by events or steps: see steps_together.py
        learner.update(by_itself, tape, signal)
    return found, by_itself.route == "events", {way: np.array(values[2:]) for way, values in taken.items()}


def main() -> int:
    """Print one table."""
    print("units density active  events, 1 and 2 threads    steps, 1 and 2 threads   taken    second thread   by least times")
    with one_pool():
        for n, density, share in CASES:
            found, by_events, ms = times(n, density, share)
            taken = "events" if by_events else "steps"
            middle = {way: float(np.median(values)) for way, values in ms.items()}
            cells = "".join(f"{middle[loop, 1]:14.2f}{middle[loop, 2]:10.2f}" for loop in ("events", "steps"))
            gains = middle[taken, 1] / middle[taken, 2], ms[taken, 1].min() / ms[taken, 2].min()
            print(f"{n:5}{density:7.1f}{found:8.0%}{cells}   {taken:8}{gains[0]:8.2f}x{gains[1]:15.2f}x", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
