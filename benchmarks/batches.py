"""Training in batches: the gradient of a sequence by BPTT, and its simulation alone, float32, one lane and 32.

Spiking units connected to all, or to a tenth; 32 noisy inputs to all. Least of some turns, ms a step. Run it in two versions in
turn to compare them.

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 taskset -c 0 python benchmarks/batches.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import spikertrl as srl
from spikertrl.models import load

INPUTS, OUTPUTS, STEPS = 32, 4, 64
CASES = [  # model, units, share of recurrent connections, lanes
    ("lif", 256, None, 32), ("lif", 256, None, 1), ("lif", 64, None, 32), ("lif", 256, 0.1, 32), ("egru", 256, 0.1, 32),
]  # fmt: skip
QUIET = srl.Record(states=False, messages=False, events=False)


def least(action: Callable[[], object], rounds: int) -> float:
    """Milliseconds a step."""
    times = []
    for _ in range(rounds + 1):  # the first one compiles
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return 1e3 * min(times[1:]) / STEPS


def main(argv: list[str] | None = None) -> int:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args(argv).rounds
    print(f"{'network':38}{'active':>8}{'BPTT':>10}{'simulation':>12}")
    for model, units, density, lanes in CASES:
        net = srl.Network().add_input("x", INPUTS).add_population("h", load(model), units)
        net.connect("x", "h", weight=lambda rng, shape: rng.normal(0.3, 0.3, shape)).connect("h", "h", density=density, seed=0)
        net.add_readout("z", "h", OUTPUTS).initialize(0)
        x = np.random.default_rng(0).normal(0.5, 1.0, (STEPS, lanes, INPUTS)).astype(np.float32)
        loss = srl.losses.squared_error(np.ones((STEPS, lanes, OUTPUTS)))
        active = (srl.simulate(net, x).messages["h"] != 0).mean()
        bptt = least(lambda net=net, x=x, loss=loss: srl.gradient(net, srl.BPTT(), x, loss), rounds)
        alone = least(lambda net=net, x=x: srl.simulate(net, x, record=QUIET), rounds)
        name = f"{units} {model}, density {density or 1:g}, {lanes} lanes"
        print(f"{name:38}{active:8.0%}{bptt:10.4f}{alone:12.4f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
