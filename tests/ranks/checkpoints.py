"""Run by mpiexec: checkpoints of ``fit`` written by some ranks go on with others. Prints what differs."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import spikertrl as srl
from networks import stacked
from spikertrl.learners import Learner
from spikertrl.parallel import over_columns, over_lanes

WORLD = MPI.COMM_WORLD
STEPS, BATCH = 4, 5
COLUMNS = (srl.RTRL(), srl.SnAp(1), srl.EProp("adaptive"))
LANES = (srl.RTRL(), srl.UORO(), srl.KFRTRL(2), srl.BPTT(5), srl.SnAp(1), srl.EProp(), srl.RandomPaths(), srl.RTRL(dense=True))


def several() -> srl.Network:
    """Two populations of several states, delays, a leaky readout."""
    return stacked("egru", "alif", "float64")


def plain() -> srl.Network:
    """Blocks of full reach, no readout leaks: online steps may wait for one another."""
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 30, theta=0.2)
    return net.connect("x", "h").connect("h", "h").add_readout("z", "h", 1).initialize(1)


def delays() -> srl.Network:
    """Delays that learn."""
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 12, theta=0.1)
    net.connect("x", "h", delay=0.4, trainable_delay=True, max_delay=2)
    net.connect("h", "h", density=0.5, seed=2, delay=1.6, trainable_delay=True, max_delay=3)
    return net.add_readout("z", "h", 1, decay=0.5).initialize(1)


def trained(build: Callable[[], srl.Network], learner: Learner, steps: int, path: Path | None, tau: int) -> np.ndarray:
    """theta after so many steps, from a checkpoint if there is one."""
    net = build()
    task = Pulses(net)
    srl.fit(net, task, learner, srl.optimizers.adam(1e-2), steps=steps, batch=BATCH, tau=tau, checkpoint=path, progress=False)
    return net.theta


class Pulses(srl.tasks.Stream):
    """Noise in, its running sum out; lanes begin anew now and then."""

    name, tau, valid, test = "pulses", 4, None, None

    def __init__(self, net: srl.Network) -> None:
        self.n_in, self.n_out = net.wiring.n_channels, net.wiring.n_outputs
        self.rng = np.random.default_rng(5)

    def start(self, n: int) -> None:
        self.sums = np.zeros((n, 1))

    def draw(self, steps: int):
        x = self.rng.normal(size=(steps, self.lanes, self.n_in))
        self.fresh = np.zeros((steps, self.lanes), bool)
        self.fresh[0] = self.rng.random(self.lanes) < 0.2
        return x, np.cumsum(x, 0)[:, :, :1]

    def loss(self, labels):
        return Squares(labels) + srl.losses.activity("a" if self.n_in == 3 else "h", 0.2, 0.1)

    def score(self, z, labels):
        return {}


class Squares(srl.losses.Loss):
    """Of all readouts against one target."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def signal(self, readouts, messages, start, total):
        y, dz, value = self.labels[start:], {}, 0.0
        for name, z in readouts.items():
            gap = (z - y[: len(z)]) / (total * z[0].size)
            value, dz[name] = value + float((gap * (z - y[: len(z)])).sum()) / 2, gap
        return srl.losses.Signal(value, dz)


EVERY = "every" in sys.argv
# ranks that write -> ranks that go on, 0: the plain learner
WAYS = dict.fromkeys((0, 2, 4), (0, 1, 3, 4)) if EVERY else {0: (3,), 2: (0, 4)}


def groups() -> list:
    found = [WORLD.Split(0 if WORLD.rank < n else MPI.UNDEFINED, WORLD.rank) for n in range(1, WORLD.size + 1)]
    return [None if comm == MPI.COMM_NULL else comm for comm in found]


def goes_on(name: str, way, learner: Learner, build, tau: int, folder: Path, comms: list, near: float) -> int:
    """Written by 1 (plain), 2, 4 ranks after half of the steps, ended by others: theta beside the plain learner's."""
    expected, done = trained(build, learner, STEPS, None, tau), 0
    for writers, all_readers in WAYS.items():
        written = folder / f"{name}{learner}{writers}.npz"
        comm = comms[writers - 1] if writers else None
        if comm is not None or (not writers and WORLD.rank == 0):
            trained(build, way(learner, comm), STEPS // 2, written, tau)
        WORLD.Barrier()
        for readers in all_readers:
            comm = comms[readers - 1] if readers else None
            path = folder / f"{name}{learner}{writers}{readers}.npz"
            if WORLD.rank == 0:
                shutil.copy(written, path)
            WORLD.Barrier()
            if comm is not None or (not readers and WORLD.rank == 0):
                found = trained(build, way(learner, comm), STEPS, path, tau)
                gap = np.abs(found - expected).max() / np.abs(expected).max()
                if gap > near or (not near and found.tobytes() != expected.tobytes()):
                    print(f"DIFFERS {name} {learner}, {writers} wrote, {readers} went on: {gap}", flush=True)
                done += 1
    return done


def main() -> None:
    """A rank that is alone only compiles."""
    if WORLD.size == 1:
        for learner in (*COLUMNS, *LANES) if EVERY else (COLUMNS[2], *LANES[:2]):
            trained(several, learner, 2, None, 2)
        trained(plain, srl.RTRL(), 2, None, 1)
        if EVERY:
            trained(delays, srl.RTRL(), 2, None, 2)
        return
    folder = Path(WORLD.bcast(tempfile.mkdtemp() if WORLD.rank == 0 else None))
    comms, done = groups(), 0
    for learner in COLUMNS if EVERY else (srl.EProp("adaptive"),):
        done += goes_on("columns", over_columns, learner, several, 2, folder, comms, 0)
    if EVERY:
        done += goes_on("delays", over_columns, srl.RTRL(), delays, 2, folder, comms, 0)
    done += goes_on("waiting", over_columns, srl.RTRL(), plain, 1, folder, comms, 0)
    for learner in LANES if EVERY else LANES[:2]:
        done += goes_on("lanes", over_lanes, learner, several, 2, folder, comms, 1e-10)
    done += goes_on("waiting lanes", over_lanes, srl.RTRL(), plain, 1, folder, comms, 1e-10)
    WORLD.Barrier()
    if WORLD.rank == 0:
        shutil.rmtree(folder)
        print(f"went on {done}", flush=True)


if __name__ == "__main__":
    main()
