"""How long does the import of a large Brian2 network take, beside what Brian2 needs to build it?

10,000 neurons, a million synapses with weights and delays of their own, built twice in one process: the first round pays for
compilation on both sides, the second does not.

    python benchmarks/brian_import.py
    python benchmarks/brian_import.py --neurons 2000
"""

from __future__ import annotations

import argparse
import time

import brian2 as b2

import spikertrl as srl


def build(neurons: int) -> b2.Network:
    """The network in Brian2, a hundred synapses a neuron."""
    b2.start_scope()
    cells = b2.NeuronGroup(neurons, "dv/dt = -v/(10*ms) : 1", threshold="v > 1", reset="v = 0", method="exact", name="cells")
    S = b2.Synapses(cells, cells, "w : 1", on_pre="v_post += w", name="S")
    S.connect(p=100 / neurons)
    S.w, S.delay = "rand()", "rand()*2*ms"
    return b2.Network(cells, S)


def main() -> None:
    """Print one line a round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, default=10_000)
    neurons = parser.parse_args().neurons
    b2.prefs.codegen.target = "numpy"
    for name in ("first", "second"):
        start = time.perf_counter()
        network = build(neurons)
        built = time.perf_counter()
        net = srl.from_brian(network, trainable=["S.w"])
        size = net.theta.size  # weights in place
        imported = time.perf_counter()
        network.run(b2.defaultclock.dt)
        brian, ours, step = built - start, imported - built, time.perf_counter() - imported
        print(f"{name}: {size} synapses; Brian2 {brian:.2f} s, its first step {step:.2f} s; import {ours:.2f} s")


if __name__ == "__main__":
    main()
