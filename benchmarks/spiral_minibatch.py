"""One gradient of the spiral minibatch (32 sequences of 17 steps, 16 event-based GRU units, float32), side by side with JAX.

Four ways, the same network, data and loss, checked to agree: JAX forward mode (``jacfwd`` of the whole sequence, which is how
the experiments of Subramoney 2023 compute RTRL), JAX reverse mode (BPTT), exact sparse RTRL and BPTT of spikertrl. The four are
timed in turn, round after round, and the median of each is reported, so that a busy machine slows all alike. In its turn each
is called ``--calls`` times, as in training, where a gradient finds the caches as the last one left them; the turn's time is
their mean. One thread is the plain comparison:

    NUMBA_NUM_THREADS=1 taskset -c 0 python benchmarks/spiral_minibatch.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from _egru_programs import jax_program

import spikertrl as srl
from spikertrl.models import load
from spikertrl.simulation.run import simulator
from spikertrl.training.gradients import signal_of

BATCH, UNITS = 32, 16


def network(density: float | None) -> srl.Network:
    """The network of the comparison, at its initial weights."""
    net = srl.Network().add_input("x", 2).add_population("h", load("egru"), UNITS)
    return net.connect("x", "h").connect("h", "h", density=density, seed=1).add_readout("z", "h", 2).initialize(0)


def jax_loss(net: srl.Network, labels: jax.Array) -> Callable:
    """Cross-entropy of the last step as a function of (theta, x), written for JAX by hand."""
    program = jax_program(net)

    def loss(theta: jax.Array, x: jax.Array) -> jax.Array:
        p = program.unpack(theta)
        c, _ = jax.lax.scan(lambda c, x_t: (program.step(p, c, x_t), None), jnp.zeros((BATCH, UNITS), x.dtype), x)
        return -jnp.mean(jax.nn.log_softmax(program.read(p, c))[jnp.arange(BATCH), labels])

    return loss


def ours(net: srl.Network, learner: srl.learners.Learner, x: np.ndarray, loss: srl.losses.Loss) -> Callable[[], np.ndarray]:
    """A gradient from the start state with buffers that are already there, as in training."""
    machine, memory = simulator(net), learner.init(net, BATCH)
    state = machine.start(BATCH)

    def run() -> np.ndarray:
        state.reset_lanes()
        tape = machine.run(state, x)
        return learner.update(memory, tape, signal_of(net, loss, tape, 0, len(x), ends=True))

    return run


def main(argv: list[str] | None = None) -> int:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="turns of each way (default 20)")
    parser.add_argument("--calls", type=int, default=8, help="calls in a turn (default 8)")
    parser.add_argument("--density", type=float, default=None, help="recurrent density (default: no mask)")
    options = parser.parse_args(argv)
    net = network(options.density)
    x, labels = srl.tasks.spiral(seed=0).batch(BATCH)
    function = jax_loss(net, jnp.asarray(np.asarray(labels).reshape(-1)[-BATCH:]))
    forward, backward = jax.jit(jax.jacfwd(function)), jax.jit(jax.grad(function))
    theta, xs = jnp.asarray(net.theta), jnp.asarray(x)
    loss = srl.losses.cross_entropy(labels, at="last")
    ways = {
        "JAX jacfwd (RTRL by forward mode)": lambda: np.asarray(forward(theta, xs)),
        "JAX grad (BPTT)": lambda: np.asarray(backward(theta, xs)),
        "spikertrl RTRL, exact and sparse": ours(net, srl.RTRL(), x, loss),
        "spikertrl BPTT": ours(net, srl.BPTT(), x, loss),
    }
    gradients = {name: way() for name, way in ways.items()}
    reference = gradients["JAX jacfwd (RTRL by forward mode)"]
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            for _ in range(options.calls):
                way()
            times[name].append(1e3 * (time.perf_counter() - began) / options.calls)
    slowest = np.median(times["JAX jacfwd (RTRL by forward mode)"])
    print(f"{'way':36}{'median ms':>10}{'min':>8}{'max':>8}{'jacfwd / this':>15}{'difference':>12}")
    for name, values in times.items():
        gap = np.abs(gradients[name] - reference).max() / np.abs(reference).max()
        middle = np.median(values)
        print(f"{name:36}{middle:10.2f}{min(values):8.2f}{max(values):8.2f}{slowest / middle:15.1f}{gap:12.1e}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
