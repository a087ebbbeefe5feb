"""One network over ranks: processor time and wall time of an update, and influence held, beside the plain learner in one run.

The plain learner is run by rank 0 while the others sleep; then all take their turn. Medians, of the slowest rank.
The exchange is a column of its own: there a rank waits for a slower one in a busy loop.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 mpiexec -n 2 python -m mpi4py benchmarks/ranks.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI

import spikertrl as srl
from spikertrl.learners.base import Signal
from spikertrl.parallel.columns import OverColumns
from spikertrl.simulation.run import simulator
from spikertrl.threads import one_pool

COMM = MPI.COMM_WORLD
CLOCKS = (time.process_time, time.perf_counter)


def network(units: int, density: float, width: float, inputs: int = 32, outputs: int = 8) -> srl.Network:
    """An event-based GRU; ``width`` of the pseudo-derivative sets how many units are gradient-active."""
    surrogate = srl.surrogates.triangle(0.7, width)
    net = srl.Network().add_input("x", inputs).add_population("h", srl.models.egru, units, surrogate=surrogate, theta=0.3)
    net.connect("x", "h").connect("h", "h", density=density, seed=0).add_readout("z", "h", outputs)
    return net.initialize(0)


def stepper(net: srl.Network, learner: srl.learners.Learner, tau: int) -> Callable[[], tuple[np.ndarray, float]]:
    """A function that takes one update; returns milliseconds a step (clocks, parts), and the share active."""
    machine, rng = simulator(net), np.random.default_rng(2)
    state, memory = machine.start(1), learner.init(net, 1)
    inner, kept = (learner.learner, memory.inner) if isinstance(learner, OverColumns) else (learner, memory)

    def step() -> tuple[np.ndarray, float]:
        x, dz = rng.normal(size=(tau, 1, net.wiring.n_channels)).astype(net.dtype), rng.normal(size=(1, net.wiring.n_outputs))
        marks = [[clock() for clock in CLOCKS]]
        tape = machine.run(state, x)
        signal = Signal(0.0, np.zeros_like(tape.z))
        signal.dz[-1] = dz
        marks.append([clock() for clock in CLOCKS])
        mine = inner.update(kept, tape, signal)
        marks.append([clock() for clock in CLOCKS])
        if isinstance(learner, OverColumns):
            learner.exchange(memory, mine)
        marks.append([clock() for clock in CLOCKS])
        return 1e3 * np.diff(marks, axis=0).T / tau, float(tape.active(net.wiring)[0].mean()) / net.wiring.n_units

    return step


def rest(alone: bool) -> None:
    """Let the other ranks sleep, without holding a core, until rank 0 is through."""
    if not alone and COMM.rank == 0:
        for rank in range(1, COMM.size):
            COMM.send(None, rank)
    while not alone and COMM.rank and not COMM.iprobe(0):
        time.sleep(0.002)
    if not alone and COMM.rank:
        COMM.recv(source=0)


def measure(net: srl.Network, tau: int, rounds: int, steps: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Best milliseconds a step (clocks, parts) alone and shared, and the share active; on all ranks the same."""
    together = stepper(net, srl.parallel.over_columns(srl.RTRL(), COMM), tau)
    alone = stepper(net, srl.RTRL(), tau) if COMM.rank == 0 else None
    one, all_, active = [], [], 0.0
    with one_pool():
        for number in range(rounds + 1):
            found = [alone() for _ in range(steps)] if alone else []
            rest(alone=False)
            COMM.Barrier()
            shared = [together() for _ in range(steps)]
            one += [f[0] for f in found] if number else []  # the first turn compiles
            all_ += [f[0] for f in shared] if number else []
            active = np.mean([f[1] for f in shared])
    slowest = np.max(COMM.allgather(np.array(all_)), axis=0)
    return np.median(one, 0) if one else np.zeros((2, 3)), np.median(slowest, 0), float(active)


def main(argv: list[str] | None = None) -> int:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[256])
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--width", type=float, default=0.1, help="of the pseudo-derivative")
    parser.add_argument("--tau", type=int, nargs="+", default=[16, 1])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--updates", type=int, default=12, help="in a turn")
    options = parser.parse_args(argv)
    for units in options.units:
        net = network(units, options.density, options.width)
        held = net.memory(srl.RTRL(), ranks=COMM.size).per_rank
        whole = net.memory(srl.RTRL()).influence
        for tau in options.tau:
            one, shared, active = measure(net, tau, options.rounds, options.updates)
            if COMM.rank:
                continue
            print(f"{units} units, density {options.density}, {active:.1%} active, tau {tau}, {COMM.size} ranks")
            print(f"  influence {whole / 1e6:.1f} MB, on ranks {', '.join(f'{h / 1e6:.1f}' for h in held)}")
            for name, a, b in zip(("processor", "wall"), one, shared, strict=True):
                parts = f"simulation {a[0]:.3f}, {b[0]:.3f}; update {a[1]:.3f}, {b[1]:.3f}; exchange {b[2]:.4f}"
                ratio = f"update {a[1] / b[1]:.2f}x, with the simulation {a[:2].sum() / b[:2].sum():.2f}x"
                print(f"  {name:10} ms a step, alone and shared: {parts}. {ratio}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
