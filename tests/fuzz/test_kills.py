"""Training that is killed at random moments and started again ends bit by bit where the uninterrupted run does."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from fuzzing import ROOT, SURVIVED, fuzz, tried
from test_checkpoint import LEARNERS, network, run

STEPS = 12
LIMIT_S = 60  # of a run that takes a tenth of a second
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_kills() -> None:
    """In a process of its own that has run every learner before, so that a fork starts at once; files in memory."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        kills(Path(folder))


def kills(tmp_path: Path) -> None:
    expected = {}
    for name, learner in LEARNERS.items():
        net = network()
        history = run(net, learner, STEPS)
        expected[name] = [float(loss) for loss in history["loss"]]
        np.save(tmp_path / f"{name}.npy", net.theta)
    (tmp_path / "losses.json").write_text(json.dumps(expected))
    environment = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue", "NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    done = subprocess.run([sys.executable, __file__, str(tmp_path)], env=environment, cwd=ROOT, check=False)
    assert done.returncode == 0


def attempt(folder: Path, seed: int) -> str:
    """Kill a run one to three times, let it end, compare."""
    rng = np.random.default_rng([seed, 3])
    name = list(LEARNERS)[seed % len(LEARNERS)]
    path = folder / f"run_{seed}" / "c.npz"
    path.parent.mkdir()
    told = []
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        which, moment = SIGNALS[int(rng.integers(3))], float(rng.random()) * _seconds[name]
        told.append(f"{which} after {1e3 * moment:.1f} ms")
        child = start(name, path)
        time.sleep(moment)
        os.kill(child, getattr(signal, which))
        os.waitpid(child, 0)
    _, status = os.waitpid(start(name, path), 0)
    if status:
        return f"{name}: the run after {', '.join(told)} ended with {status}: {(path.parent / 'error').read_text()}"
    same = np.array_equal(np.load(path.parent / "theta.npy"), np.load(folder / f"{name}.npy"))
    same &= json.loads((path.parent / "losses.json").read_text()) == json.loads((folder / "losses.json").read_text())[name]
    if left := [p.name for p in path.parent.glob("*.tmp")]:
        return f"{name}: {left} stay after {', '.join(told)}"
    return SURVIVED if same else f"{name}: other numbers after {', '.join(told)}"


def start(name: str, path: Path) -> int:
    """A process that trains, from the checkpoint if there is one; its id."""
    if child := os.fork():
        return child
    try:
        faulthandler.dump_traceback_later(LIMIT_S, exit=True)
        net = network()
        history = run(net, LEARNERS[name], STEPS, path, checkpoint_every=1)
        np.save(path.parent / "theta.npy", net.theta)
        (path.parent / "losses.json").write_text(json.dumps([float(loss) for loss in history["loss"]]))
        os._exit(0)
    except BaseException as error:
        (path.parent / "error").write_text(f"{type(error).__name__}: {error}")
        os._exit(130 if isinstance(error, KeyboardInterrupt) else 1)


_seconds: dict[str, float] = {}  # that an uninterrupted run takes


def main(folder: Path) -> None:
    """Fork and kill, in a process that has compiled everything."""
    for name in LEARNERS:
        for k in range(2):
            began = time.perf_counter()
            (folder / f"first_{name}_{k}").mkdir()
            child = start(name, folder / f"first_{name}_{k}" / "c.npz") if k else 0
            if k:
                assert os.waitpid(child, 0)[1] == 0, (folder / f"first_{name}_{k}" / "error").read_text()
            else:
                run(network(), LEARNERS[name], STEPS, folder / f"first_{name}_{k}" / "c.npz", checkpoint_every=1)
            _seconds[name] = time.perf_counter() - began
    fuzz("kills", 60, lambda seed: tried(attempt, folder, seed))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
