"""40 runs of the spiral task one after the other, by joblib and by Dask's LocalCluster on two workers: time and results.

Beside the ratio of wall times that of processor times: of the runs in this process to those of a worker, half of what all
workers and their start took. A machine that other programs use as well spoils the first more than the second. Then a sweep is
killed half-way, with its workers, and started again.

    OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/sweep.py
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import spikertrl as srl

GRID = {"omega": [0.0, 0.3, 0.5, 0.7, 0.9], "seed": list(range(8))}
WORKERS = 2


def spiral(omega: float, seed: int, steps: int = 100) -> dict[str, float]:
    """Loss and held-out accuracy of one network."""
    task = srl.tasks.spiral(seed)
    net = srl.Network().add_input("x", task.n_in).add_population("h", srl.models.egru, 24, theta=0.05)
    net.connect("x", "h").connect("h", "h", density=1 - omega, seed=seed).add_readout("z", "h", task.n_out).initialize(seed)
    history = srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(3e-3), steps=steps, batch=32, tau=1, progress=False)
    return {"loss": float(history["loss"][-1])} | srl.evaluate(net, task, *task.valid)


def seconds() -> float:
    """Of processor time, of this process and of all that it has waited for."""
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def timed(executor: str, grid: dict, out: Path | None = None) -> tuple[srl.Sweep, float, float]:
    """What was found, wall seconds, processor seconds."""
    before, began = seconds(), time.perf_counter()
    found = srl.sweep(spiral, grid, executor, workers=WORKERS, out=out, progress=False)
    return found, time.perf_counter() - began, seconds() - before


def killed(grid: dict, folder: Path) -> None:
    """Kill a sweep, and all that it started, when half of its runs have finished; start it again."""
    code = f"from sweep import *; srl.sweep(spiral, {grid!r}, 'joblib', workers={WORKERS}, out={str(folder)!r}, progress=False)"
    job = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent, start_new_session=True)
    runs = len(grid["omega"]) * len(grid["seed"])
    while len(list(folder.glob("*.json"))) < runs // 2 and job.poll() is None:
        time.sleep(0.01)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()


def main(argv: list[str] | None = None) -> int:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help="of training in each run")
    parser.add_argument("--on", nargs="+", default=["joblib", "dask"])
    options = parser.parse_args(argv)
    grid = GRID | {"steps": [options.steps]}
    spiral(0.5, 0, 2)  # compiles
    serial, wall, processor = timed("serial", grid)
    print(f"serial  {len(serial.rows)} runs, {wall:.1f} s, processor {processor:.1f} s", flush=True)
    for executor in options.on:
        found, w, p = timed(executor, grid)
        same = found.rows == serial.rows
        ratios = f"{wall / w:.2f}x; by processor time {processor / (p / WORKERS):.2f}x"
        print(f"{executor:7} {w:.1f} s, processor {p:.1f} s: {ratios}; results the same: {same}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        killed(grid, Path(folder))
        there = len(list(Path(folder).glob("*.json")))
        found, w, _ = timed("joblib", grid, Path(folder))
        same = found.rows == serial.rows
        print(f"killed when {there} had finished; again: {found.skipped} skipped, {w:.1f} s; results the same: {same}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
