"""Run by mpiexec: an experiment that knows nothing of ranks; the first prints and writes, learners are shared out."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from checkpoints import plain

import spikertrl as srl
from spikertrl.parallel.world import run_together

WORLD = MPI.COMM_WORLD
LEARNERS = (srl.RTRL(), srl.UORO())


def main(words: list[str]) -> int:
    """Trains with both learners; writes what came out, and reads what was there."""
    out = Path(words[words.index("--out") + 1])
    if (out / "before").read_text() != "there":
        print("WRONG: results from before are not seen", file=sys.stderr)
    for learner in LEARNERS:
        net, rng = plain(), np.random.default_rng(0)
        task = srl.tasks.arrays(rng.normal(size=(4, 6, 2)), rng.normal(size=(4, 6, 1)))
        adam, path = srl.optimizers.adam(1e-2), out / f"{learner}.npz"
        history = srl.fit(net, task, learner, adam, steps=2, batch=5, tau=2, checkpoint=path, progress=False)
        np.save(out / f"{learner}.npy", np.concatenate((net.theta, history["loss"], history["macs"])))
        shared = type(srl.learners.base.learner_of("fit", learner, 5)).__name__
        print(shared, flush=True)
    return 3


def run() -> None:
    """Beside the same without ranks, which the first does while the others wait."""
    folder = Path(WORLD.bcast(tempfile.mkdtemp() if WORLD.rank == 0 else None))
    if WORLD.rank == 0:
        for name in ("alone", "together"):
            (folder / name).mkdir()
            (folder / name / "before").write_text("there")
        main(["--out", str(folder / "alone")])
    WORLD.Barrier()
    code = run_together(main, ["--out", str(folder / "together")], Path("results"), WORLD)
    WORLD.Barrier()
    if WORLD.rank == 0:
        names = [sorted(p.name for p in (folder / n).iterdir()) for n in ("alone", "together")]
        a, b = (np.concatenate([np.load(folder / n / f"{x}.npy") for x in LEARNERS]) for n in ("alone", "together"))
        if names[0] != names[1] or not np.allclose(a, b, rtol=1e-10) or code != 3:
            print(f"DIFFERS {names} {np.abs(a - b).max()} {code}", flush=True)
        shutil.rmtree(folder)
