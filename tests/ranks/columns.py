"""Run by mpiexec: gradients of one network over 1, 2, 3, 4 ranks beside those of the plain learner. Prints what differs."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import spikertrl as srl
from networks import CHANNELS, OUTPUTS, drive, single, stacked
from spikertrl import resources
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.choose import override
from spikertrl.network import budget
from spikertrl.resources import NotEnoughMemory
from spikertrl.simulation.run import simulator

WORLD = MPI.COMM_WORLD
STEPS = 6
LEARNERS = (srl.SnAp(1), srl.SnAp(2), srl.EProp(), srl.EProp("adaptive"), srl.RFLO())


def groups() -> list:
    """Communicators of the first 1, 2, 3, 4 ranks, None where this rank is not among them."""
    found = [WORLD.Split(0 if WORLD.rank < n else MPI.UNDEFINED, WORLD.rank) for n in range(1, WORLD.size + 1)]
    return [None if comm == MPI.COMM_NULL else comm for comm in found]


def dense(dtype: str) -> srl.Network:
    """Whole blocks, some groups of units, every unit hears every other."""
    return single("egru", dtype, units=30)


def wide(dtype: str) -> srl.Network:
    """Whole blocks, some groups, few synapses, a part of the weights fixed."""
    net = srl.Network(dtype).add_input("x", CHANNELS).add_population("h", srl.models.egru, 48, theta=0.3)
    net.connect("x", "h", trainable=("u", "r")).connect("h", "h", density=0.15, seed=2)
    return net.add_readout("z", "h", OUTPUTS).add_readout("slow", "h", 1, decay=0.7, trainable=False).initialize(1)


def several(dtype: str) -> srl.Network:
    """Two populations of several states, delays."""
    return stacked("alif", "cuba_lif", dtype)


def gradients(net: srl.Network, learner: srl.learners.Learner, batch: int, tau: int) -> list[np.ndarray]:
    """One gradient a piece of two sequences of which some lanes begin anew in between; nothing is over."""
    machine, rng = simulator(net), np.random.default_rng(3)
    state, memory, found = machine.start(batch), learner.init(net, batch), []
    x = drive(STEPS * 2, batch)
    for begin in (0, STEPS):
        for first in range(begin, begin + STEPS, tau):
            tape = machine.run(state, x[first : min(first + tau, begin + STEPS)])
            dz = rng.normal(size=tape.z.shape).astype(tape.z.dtype)
            found.append(learner.update(memory, tape, Signal(0.0, dz)).copy())
        state.reset_lanes(np.arange(batch) % 2 == 0)
    return found


def whole_sequence(net: srl.Network, learner: srl.learners.Learner, batch: int) -> list[np.ndarray]:
    """The gradient of a sequence that is one tape, after which nothing follows."""
    loss = srl.losses.squared_error(np.random.default_rng(4).normal(size=(STEPS, batch, OUTPUTS)), readout="z")
    return [srl.gradient(net, learner, drive(STEPS, batch), loss)[1]]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    """Every bit of every gradient."""
    return len(one) == len(other) and all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def compare(name: str, comms: list, learner: srl.learners.Learner, gradients_of) -> int:
    """Print a line for every number of ranks whose gradients differ from the plain learner's. Returns comparisons done."""
    expected = gradients_of(learner)
    if not any(np.abs(g).max() > 1e-3 for g in expected):
        print(f"DEAD {name}", flush=True)
    for ranks, comm in enumerate(comms, 1):
        if comm is not None and not same(expected, gradients_of(srl.parallel.over_columns(learner, comm))):
            print(f"DIFFERS {name} on {ranks} ranks, rank {comm.rank}", flush=True)
    return len(expected)


def cases() -> Iterator[tuple]:
    """Network, type, learner, lanes and steps of a piece: exact RTRL in full, what leaves rows out in part."""
    pieces = ((1, 1), (1, 4), (5, 4), (5, STEPS))
    kinds = ((several, "float32"), (several, "float64"), (dense, "float32"), (wide, "float64"))
    for (build, dtype), (batch, tau) in itertools.product(kinds, pieces):
        yield build, dtype, srl.RTRL(), batch, tau
    for learner, (dtype, batch, tau) in itertools.product(LEARNERS, (("float32", 5, 1), ("float64", 1, 4))):
        yield several, dtype, learner, batch, tau
        if learner == srl.SnAp(2):
            yield wide, dtype, learner, batch, tau


def gradients_are_the_same(comms: list) -> None:
    """Every case, whole sequences, and online steps that wait for one another."""
    done = 0
    for build, dtype, learner, batch, tau in cases():
        net, name = build(dtype), f"{build.__name__} {dtype} {learner} batch {batch} tau {tau}"
        done += compare(name, comms, learner, lambda x, net=net, b=batch, t=tau: gradients(net, x, b, t))
    for dtype, batch in (("float32", 5), ("float64", 1)):
        net = dense(dtype)
        done += compare(f"whole {dtype}", comms, srl.RTRL(), lambda x, net=net, b=batch: whole_sequence(net, x, b))
    with override(deferred_bytes=0, dense_deferred_bytes=0):  # online steps are deferred
        for build, batch in itertools.product((plain_dense, plain), (1, 5)):
            net, name = build("float32"), f"kept {build.__name__} {batch}"
            done += compare(name, comms, srl.RTRL(), lambda x, net=net, b=batch: gradients(net, x, b, 1))
    if WORLD.rank == 0:
        print(f"compared {done}", flush=True)


def trained(learner: srl.learners.Learner, build: Callable[[str], srl.Network] | None = None) -> np.ndarray:
    """theta after some steps of ``fit`` on a stream."""
    if build:
        net = build("float32")
        task = srl.tasks.arrays(drive(STEPS, 3), np.zeros((STEPS, 3, OUTPUTS), np.float32))
        srl.fit(net, task, learner, srl.optimizers.adam(1e-2), steps=2, batch=3, tau=3, progress=False)
        return net.theta
    task = srl.tasks.delayed_xor(3, delay=2)
    net = srl.Network().add_input("x", task.n_in).add_population("h", srl.models.egru, 24, theta=0.1)
    net = net.connect("x", "h").connect("h", "h").add_readout("z", "h", task.n_out).initialize(0)
    srl.fit(net, task, learner, srl.optimizers.adam(1e-2), steps=4, batch=3, tau=3, progress=False)
    return net.theta


def training_is_the_same(comms: list) -> None:
    """``fit`` ends with the same parameters."""
    expected = trained(srl.RTRL())
    for comm in comms:
        if comm is not None and trained(srl.parallel.over_columns(srl.RTRL(), comm)).tobytes() != expected.tobytes():
            print(f"DIFFERS fit on {comm.size} ranks", flush=True)
    if WORLD.rank == 0:
        print("trained", flush=True)


def budget_of_two(comms: list) -> None:
    """What one process refuses, for want of memory, trains on two ranks that have as much each: the bits of one with enough."""
    net, free = plain("float32"), resources.available
    needed = [net.memory(srl.RTRL(), 3, ranks=ranks).influence for ranks in (1, 2)]
    expected = trained(srl.RTRL(), plain)
    try:
        resources.available = budget.available = lambda: needed[1] + 1000
        said = refusal(NotEnoughMemory, lambda: trained(srl.RTRL(), plain))
        if "2 ranks, each with" not in said or net.memory(srl.RTRL(), 3).fits:
            print(f"WRONG words: {said}", flush=True)
        found = None if comms[1] is None else trained(srl.parallel.over_columns(srl.RTRL(), comms[1]), plain)
        if found is not None and found.tobytes() != expected.tobytes():
            print("DIFFERS within a budget", flush=True)
    finally:
        resources.available = budget.available = free
    if WORLD.rank == 0:
        print("fits", flush=True)


def doors_are_shut() -> None:
    """Ranks that do not agree, or of which one has no memory left, all say so."""
    net = plain("float32")
    net.theta[0] += WORLD.rank == 2
    said = refusal(ValueError, lambda: srl.parallel.over_columns(srl.RTRL(), WORLD).init(net, 1))
    if "theta is not the same on all ranks" not in said or "rank 2" not in said:
        print(f"WRONG words: {said}", flush=True)
    net = plain("float32")
    if WORLD.rank == 1:
        resources.available = budget.available = lambda: 300_000
    said = refusal(NotEnoughMemory, lambda: srl.parallel.over_columns(srl.RTRL(), WORLD).init(net, 4))
    if "what would fit" not in said or (WORLD.rank != 1) != said.startswith("rank 1: "):
        print(f"WRONG words: {said}", flush=True)
    if WORLD.rank == 0:
        print("shut", flush=True)


def refusal(kind: type[Exception], action: Callable[[], object]) -> str:
    """What an action says when it fails as it should."""
    try:
        action()
    except kind as error:
        return str(error)
    return "nothing"


def main() -> None:
    """All of it; a rank that is alone only takes the plain learner's gradients, for which loops are compiled."""
    comms = groups() if WORLD.size > 1 else []
    gradients_are_the_same(comms)
    training_is_the_same(comms)
    if comms:
        budget_of_two(comms)
        doors_are_shut()


def plain_dense(dtype: str) -> srl.Network:
    """As ``dense``, without a leaky readout."""
    net = srl.Network(dtype).add_input("x", CHANNELS).add_population("h", srl.models.egru, 30, theta=0.2)
    return net.connect("x", "h").connect("h", "h").add_readout("z", "h", OUTPUTS).initialize(1)


def plain(dtype: str) -> srl.Network:
    """As ``wide``, without a leaky readout; few units are gradient-active."""
    net = srl.Network(dtype).add_input("x", CHANNELS)
    net.add_population("h", srl.models.egru, 48, theta=0.3, surrogate=srl.surrogates.triangle(0.7, 0.1))
    return net.connect("x", "h").connect("h", "h", density=0.15, seed=2).add_readout("z", "h", OUTPUTS).initialize(1)

