"""One network over many ranks: a model of time and room, fitted to what can be measured here, and drawn out to 1,024 ranks.

**Measured**: processor time of an update of the rank with most to do, its part run alone in one process, for 1 to 32 ranks;
and, under mpiexec, the exchange of vectors of several sizes between the ranks that there are. **Modelled**: a step takes

    what every rank does + what is shared out / ranks + (latency log2(ranks) + bytes (ranks - 1) / ranks / bandwidth) / steps

with the first two fitted to what was measured, and latency and bandwidth those of a cluster (--latency, --bandwidth: assumed,
not measured; those of this machine are printed beside). A part that is run alone has caches and memory for itself. The largest
network is what fits by the count of ``net.memory`` (without padding: 2 to 13% less) into 8 GB a rank, optimizer included.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 mpiexec -n 2 python -m mpi4py benchmarks/scale.py --figure docs/images/ranks.png
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

import spikertrl as srl
from ranks import COMM, network
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.divide import Part, part_of
from spikertrl.plot.axes import COLORS, GREY, MARKERS, axes, legend
from spikertrl.simulation.run import simulator
from spikertrl.threads import one_pool

RANKS = (1, 2, 3, 4, 8, 16, 32)
ROOM = 8e9  # bytes of a rank


def part_time(net: srl.Network, ranks: int, tau: int, updates: int) -> float:
    """Processor milliseconds a step of the rank with most to do: simulation and update, best of some turns."""
    learner, w = srl.RTRL(), net.wiring
    owner = learner.share_out(w, ranks)
    most = int(np.bincount(owner, np.diff(w.col_ptr), ranks).argmax())
    memory = learner.init(Part(net, part_of(w, owner == most, most == 0)), 1)
    machine, rng = simulator(net), np.random.default_rng(2)
    state, times = machine.start(1), []
    with one_pool():
        for _ in range(4):
            total = 0.0
            for _ in range(updates):
                x, dz = rng.normal(size=(tau, 1, w.n_channels)).astype(net.dtype), rng.normal(size=(1, w.n_outputs))
                began = time.process_time()
                tape = machine.run(state, x)
                signal = Signal(0.0, np.zeros_like(tape.z))
                signal.dz[-1] = dz
                learner.update(memory, tape, signal)
                total += time.process_time() - began
            times.append(1e3 * total / updates / tau)
    return min(times[1:])


def shares(times: dict[int, float]) -> tuple[float, float]:
    """What every rank does and what is shared out, ms a step: least squares, of relative errors."""
    ranks, found = np.array(RANKS), np.array([times[r] for r in RANKS])
    rows = np.stack((np.ones(len(ranks)), 1 / ranks), 1) / found[:, None]
    return tuple(np.linalg.lstsq(rows, np.ones(len(ranks)), rcond=None)[0])  # type: ignore[return-value]


def exchange() -> tuple[float, float]:
    """Latency (s) and bandwidth (bytes/s) of an Allgather on the ranks that there are: best of many, fitted to seven sizes."""
    sizes, best = [1 << k for k in range(8, 23, 2)], []
    for size in sizes:
        mine, every = np.zeros(size // COMM.size, np.uint8), np.zeros(size // COMM.size * COMM.size, np.uint8)
        found = []
        for _ in range(60):
            COMM.Barrier()
            began = time.perf_counter()
            COMM.Allgather(mine, every)
            found.append(time.perf_counter() - began)
        best.append(max(COMM.allgather(min(found))))
    travels = np.array(sizes) * (COMM.size - 1) / COMM.size
    rows = np.stack((np.full(len(sizes), math.log2(COMM.size)), travels), 1) / np.array(best)[:, None]
    latency, inverse = np.linalg.lstsq(rows, np.ones(len(sizes)), rcond=None)[0]
    return float(latency), 1 / float(inverse)


def model(ranks: np.ndarray, alone: float, shared: float, size: int, tau: int, latency: float, bandwidth: float) -> np.ndarray:
    """Milliseconds a step."""
    travel = latency * np.log2(ranks) + size * (ranks - 1) / ranks / bandwidth
    return alone + shared / ranks + 1e3 * travel / tau


def bytes_of(units: float, density: float, ranks: float, inputs: int = 32) -> float:
    """Of a rank: its share of the influence of egru, and parameters, gradient and two moments, float32."""
    columns = 3 * inputs + 3 * density * units + 5  # two times three ports, four biases and the threshold
    return 4 * units * columns * (units / ranks + 4)


def largest(density: float, ranks: float) -> float:
    """Units of the largest network that fits."""
    low, high = 1.0, 1e7
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if bytes_of(middle, density, ranks) <= ROOM else (low, middle)
    return low


def draw(path: str, measured: dict, fits: dict, sizes: dict, tau: int, network_: tuple[float, float]) -> None:
    """Two panels: time against ranks, and the largest network against ranks."""
    figure = axes(None, (11.0, 4.2)).figure
    figure.clear()
    left, right = figure.subplots(1, 2)
    ranks = 2.0 ** np.linspace(0, 10, 101)
    for k, (units, times) in enumerate(measured.items()):
        color = COLORS[k]
        label = f"{units} units, measured (part run alone)"
        axes(left).plot(list(times), list(times.values()), MARKERS[k], color=color, label=label)
        curve = model(ranks, *fits[units], sizes[units], tau, *network_)
        left.plot(ranks, curve, color=color, linewidth=1, label=f"{units} units, model with exchange")
        left.axhline(fits[units][0], color=color, linewidth=0.6, linestyle=":")
    left.set(xscale="log", yscale="log", xlabel="ranks", ylabel=f"ms a step, tau {tau} (dotted: done on every rank)")
    for k, density in enumerate((0.02, 0.1, 1.0)):
        most = [largest(density, r) for r in ranks]
        axes(right).plot(ranks, most, color=COLORS[k], label=f"density {density:g}")
    right.set(xscale="log", yscale="log", xlabel="ranks", ylabel="units that fit, 8 GB a rank (computed)")
    for ax in (left, right):
        ax.grid(color=GREY, alpha=0.2, linewidth=0.5)
        legend(ax, fontsize=7.5)
    figure.savefig(path, dpi=150)


def main(argv: list[str] | None = None) -> int:
    """Print what was measured and what follows; draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--tau", type=int, default=16)
    parser.add_argument("--updates", type=int, default=4, help="in a turn, of four")
    parser.add_argument("--width", type=float, default=0.05, help="of the pseudo-derivative")
    parser.add_argument("--latency", type=float, default=5e-6, help="of a network, s (assumed)")
    parser.add_argument("--bandwidth", type=float, default=5e9, help="of a network, bytes/s (assumed)")
    parser.add_argument("--figure", help="where to draw")
    options = parser.parse_args(argv)
    if COMM.size > 1:
        found = exchange()
        if COMM.rank == 0:
            print(f"exchange on {COMM.size} ranks here: latency {1e6 * found[0]:.1f} us, {found[1] / 1e9:.2f} GB/s", flush=True)
    if COMM.rank:
        return 0
    measured, fits, sizes, cluster = {}, {}, {}, (options.latency, options.bandwidth)
    for units in options.units:
        net = network(units, 0.1, options.width)
        measured[units] = {r: part_time(net, r, options.tau, options.updates) for r in RANKS}
        fits[units], sizes[units] = shares(measured[units]), 4 * net.wiring.n_parameters
        alone, shared = fits[units]
        told = ", ".join(f"{r}: {t:.3f}" for r, t in measured[units].items())
        print(f"{units} units, tau {options.tau}, ms a step by ranks: {told}; fit {alone:.3f} + {shared:.3f} / ranks")
        curve = model(np.array([4, 64, 1024]), alone, shared, sizes[units], options.tau, *cluster)
        told = ", ".join(f"{r}: {t:.3f}" for r, t in zip((4, 64, 1024), curve, strict=True))
        print(f"  model with {1e6 * cluster[0]:.0f} us and {cluster[1] / 1e9:.0f} GB/s (assumed): {told}", flush=True)
    for density in (0.02, 0.1, 1.0):
        told = ", ".join(f"{r} ranks {largest(density, r):,.0f}" for r in (1, 2, 16, 1024))
        print(f"density {density:g}, units that fit: {told}")
    if options.figure:
        draw(options.figure, measured, fits, sizes, options.tau, cluster)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
