"""Run by mpiexec: mean gradients of lanes shared out over 1, 2, 3, 4 ranks beside one rank with all lanes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import spikertrl as srl
from networks import OUTPUTS, drive, stacked

WORLD = MPI.COMM_WORLD
STEPS, BATCH = 8, 7
LEARNERS = (srl.RTRL(), srl.BPTT())


def loss(lanes: slice) -> srl.losses.Loss:
    """Squared error of some of the lanes."""
    return srl.losses.squared_error(np.random.default_rng(5).normal(size=(STEPS, BATCH, OUTPUTS))[:, lanes], readout="slow")


def gradient(net: srl.Network, learner: srl.learners.Learner, lanes: slice) -> np.ndarray:
    """Of some of the lanes, in pieces."""
    return srl.gradient(net, learner, drive(STEPS, BATCH)[:, lanes], loss(lanes), tau=4)[1]


def main() -> None:
    """Prints the number of gradients that agree, or what does not."""
    net, done = stacked("egru", "alif", "float64"), 0
    for learner in LEARNERS:
        whole = gradient(net, learner, slice(0, BATCH))
        for ranks in range(1, WORLD.size + 1):
            comm = WORLD.Split(0 if WORLD.rank < ranks else MPI.UNDEFINED, WORLD.rank)
            if comm == MPI.COMM_NULL:
                continue
            lanes = srl.parallel.my_lanes(comm, BATCH)
            found, again = (gradient(net, srl.parallel.over_lanes(learner, comm), lanes) for _ in range(2))
            gap = np.abs(found - whole).max() / np.abs(whole).max()
            everywhere = comm.allgather(found.tobytes())

            if gap > 1e-12 or again.tobytes() != found.tobytes() or len(set(everywhere)) > 1:
                print(f"DIFFERS {learner} on {ranks} ranks: {gap}, lanes {lanes}", flush=True)
            done += 1
    if WORLD.rank == 0:
        print(f"agree {done}", flush=True)

