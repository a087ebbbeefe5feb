"""What a newcomer waits for: whole processes, import included, with nothing in any cache and once more with all of it.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/first_use.py

Each row is a script of its own, the README's, in a process and with caches of its own. ``--rounds`` repeats the warm ones.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

NET = """
import spikertrl as srl
net = srl.Network().add_input("x", {inputs}).add_population("h", srl.models.egru, 16, theta=0.1)
net = net.connect("x", "h").connect("h", "h", density=0.5, seed=1).add_readout("z", "h", {outputs}).initialize(seed=0)
"""
SPIRAL = NET.format(inputs=2, outputs=2) + "task = srl.tasks.spiral(seed=0)\n"
SCRIPTS = {
    "`import spikertrl`, a network": NET.format(inputs=2, outputs=2),
    "first gradient: 17 steps, 32 lanes, exact RTRL": SPIRAL
    + "x, labels = task.batch(32)\nsrl.gradient(net, srl.RTRL(), x, srl.losses.cross_entropy(labels, at='last'))",
    "`fit` of the spiral: 400 updates of 32 sequences": SPIRAL
    + "srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(1e-2), steps=400, batch=32, progress=False)",
    "`Online`: 5,000 samples, an update at each": NET.format(inputs=1, outputs=1)
    + """
online = srl.Online(net, srl.RTRL(), srl.optimizers.adam(1e-3), srl.losses.squared_error)
for x, y in srl.tasks.sunspots().stream(5000):
    online.predict_one(x)
    online.learn_one(y)
""",
}


def seconds(script: str, caches: str) -> tuple[float, float]:
    """Of the processor, and by the clock."""
    names = ("SPIKERTRL_CACHE", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR")
    environment = os.environ | {name: os.path.join(caches, name) for name in names}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; seconds of the processor (by the clock)\n")
    print("| | nothing cached | warm |\n|---|---|---|")
    for name, script in SCRIPTS.items():
        with tempfile.TemporaryDirectory() as caches:
            cold = seconds(script, caches)
            warm = [statistics.median(column) for column in zip(*(seconds(script, caches) for _ in range(rounds)), strict=True)]
        print(f"| {name} | {cold[0]:.1f} ({cold[1]:.1f}) | {warm[0]:.2f} ({warm[1]:.2f}) |", flush=True)


if __name__ == "__main__":
    main()
