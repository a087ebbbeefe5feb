"""Run by mpiexec, and killed: ``fit`` over the columns of all ranks. Arguments: checkpoint, file for theta, steps, pause."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from checkpoints import BATCH, Pulses, plain

import spikertrl as srl


def main(checkpoint: str, result: str, steps: str, pause: str) -> None:
    """Trains; the first rank leaves theta."""
    net, comm = plain(), MPI.COMM_WORLD
    started = Path(f"{checkpoint}.started")

    def slowly(net: srl.Network, history: srl.History) -> None:
        if comm.rank == 0:
            started.touch()
        time.sleep(float(pause))

    srl.fit(
        net, Pulses(net), srl.parallel.over_columns(srl.RTRL(), comm), srl.optimizers.adam(1e-2), steps=int(steps), batch=BATCH,
        tau=1, checkpoint=checkpoint, checkpoint_every=3, callbacks=[slowly], progress=False,
    )  # fmt: skip
    if comm.rank == 0:
        np.save(result, net.theta)


if __name__ == "__main__":
    main(*sys.argv[1:])
