"""Ranks that are killed while they train together: the others are stopped, none is left, and the run goes on to its bits."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from test_parallel import FOUND, HERE, needs_mpi

pytestmark = [pytest.mark.slow, needs_mpi]
KILLS, STEPS, PAUSE, SECONDS = int(os.environ.get("FUZZ", 20)), 60, 0.05, 20.0  # SECONDS: within which all have to be gone
ALONE = {"NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}


def start(checkpoint: Path, result: Path, ranks: int = 2, pause: float = PAUSE) -> subprocess.Popen:
    """``fit`` under mpiexec, in a group of its own."""
    Path(f"{checkpoint}.started").unlink(missing_ok=True)
    script = [str(HERE / "ranks" / "fitting.py"), str(checkpoint), str(result), str(STEPS), str(pause)]
    command = [str(FOUND), "-n", str(ranks), sys.executable, "-m", "mpi4py", *script]
    return subprocess.Popen(command, env=os.environ | ALONE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ranks_of(job: subprocess.Popen) -> list[psutil.Process]:
    """The Python processes of a job."""
    return [p for p in psutil.Process(job.pid).children(recursive=True) if "python" in p.name()]


def left(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that are still there after some seconds."""
    _, alive = psutil.wait_procs(processes, timeout=5)
    return [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def begun(job: subprocess.Popen, checkpoint: Path) -> bool:
    """Wait until steps are taken; False if the job has ended before that."""
    mark = Path(f"{checkpoint}.started")
    while not mark.exists() and job.poll() is None:
        time.sleep(0.01)
    return job.poll() is None


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> np.ndarray:
    folder = tmp_path_factory.mktemp("whole")
    for ranks in (1, 2):  # the first compiles
        job = start(folder / f"c{ranks}.npz", folder / f"theta{ranks}.npy", ranks, 0.0)
        said, _ = job.communicate(timeout=500)
        assert job.returncode == 0, said
    one, two = (np.load(folder / f"theta{ranks}.npy") for ranks in (1, 2))
    assert one.tobytes() == two.tobytes()
    return one


def test_killed_ranks(uninterrupted, tmp_path) -> None:
    """SIGKILL of one rank at a random moment; prints how long the others lived and how many runs ended to the bit."""
    rng, killed, ended, longest = random.Random(int(os.environ.get("FUZZ_SEED", 0))), 0, 0, 0.0
    checkpoint, result = tmp_path / "c.npz", tmp_path / "theta.npy"
    while killed < KILLS or checkpoint.exists():
        job = start(checkpoint, result)
        if killed < KILLS and begun(job, checkpoint):
            time.sleep(rng.uniform(0, 0.5 * STEPS * PAUSE))
            every = [*psutil.Process(job.pid).children(recursive=True)] if job.poll() is None else []
            if victims := [p for p in every if "python" in p.name()]:
                os.kill(rng.choice(victims).pid, signal.SIGKILL)
                began = time.monotonic()
                said, _ = job.communicate(timeout=SECONDS)
                killed, longest = killed + 1, max(longest, time.monotonic() - began)
                assert job.returncode != 0
                assert said.count("BAD TERMINATION") == 1, said
                assert not left(every)
        said, _ = job.communicate(timeout=500)
        if job.returncode == 0:
            assert np.load(result).tobytes() == uninterrupted.tobytes()
            ended += 1
            shutil.rmtree(tmp_path)
            tmp_path.mkdir()
    print(f"{killed} kills, others gone after at most {longest:.1f} s, {ended} runs ended to the bit")
    assert ended


def test_ctrl_c_on_mpiexec_leaves_a_checkpoint(uninterrupted, tmp_path) -> None:
    checkpoint, result = tmp_path / "c.npz", tmp_path / "theta.npy"
    job = start(checkpoint, result)
    assert begun(job, checkpoint)
    ranks = ranks_of(job)
    job.send_signal(signal.SIGINT)
    said, _ = job.communicate(timeout=SECONDS)
    assert job.returncode != 0
    assert not result.exists()
    assert not left(ranks)
    assert "stopped after step" in said, said
    again = start(checkpoint, result, 3, 0.0)
    said, _ = again.communicate(timeout=500)
    assert again.returncode == 0, said
    assert np.load(result).tobytes() == uninterrupted.tobytes()
