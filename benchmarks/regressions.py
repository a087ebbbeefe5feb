"""What one call of the common ways to use the library takes, to be compared from one version to the next (pytest-benchmark).

Keep a version's figures, then fail where the least time of another is more than a quarter above them; both on the same machine:

    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 pytest -c benchmarks/pytest.ini benchmarks/regressions.py --benchmark-save=before
    NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 pytest -c benchmarks/pytest.ini benchmarks/regressions.py --benchmark-compare \\
        --benchmark-compare-fail=min:25%
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from influence import INPUTS, network

import spikertrl as srl
from spikertrl.learners.base import Signal
from spikertrl.simulation.run import simulator
from spikertrl.threads import one_pool

DENSE, SPARSE = (16, 1.0, 1.0), (128, 0.1, 0.1)  # units, density, half width of the pseudo-derivative
SEQUENCE = 32  # steps
LEARNERS = {
    "RTRL": srl.RTRL(), "SnAp-1": srl.SnAp(1), "SnAp-2": srl.SnAp(2), "KF-RTRL": srl.KFRTRL(), "UORO": srl.UORO(),
    "OK-2": srl.OK(2), "e-prop": srl.EProp(), "RFLO": srl.RFLO(), "BPTT": srl.BPTT(),
}  # fmt: skip


def updates(sizes: tuple, learner: srl.learners.Learner, lanes: int, tau: int, last: bool) -> Callable[[], Any]:
    """One learner's update over a tape that is there; ``last``: of whole sequences, each from the start."""
    net = network(*sizes)
    machine, memory, rng = simulator(net), learner.init(net, lanes), np.random.default_rng(0)
    tape = machine.run(machine.start(lanes), rng.normal(size=(tau, lanes, INPUTS)).astype(net.dtype)).copy()
    tape.reset[:] = last
    signal = Signal(0.0, rng.normal(size=tape.z.shape).astype(net.dtype), last=last)
    assert np.abs(learner.update(memory, tape, signal)).max() > 0
    return lambda: learner.update(memory, tape, signal)


@pytest.fixture(autouse=True)
def one_pool_of_threads():
    with one_pool():
        yield


@pytest.mark.parametrize("sizes", [DENSE, SPARSE], ids=["16 dense", "128 sparse"])
@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_sequences(benchmark, learner, sizes):
    benchmark(updates(sizes, learner, 8, SEQUENCE, True))


@pytest.mark.parametrize("tau", [1, 16])
@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_streams(benchmark, learner, tau):
    if learner == srl.BPTT():
        pytest.skip("keeps all that was")
    benchmark(updates(SPARSE, learner, 1, tau, False))


@pytest.mark.parametrize("linearise", [False, True], ids=["values", "derivatives"])
@pytest.mark.parametrize("model", srl.models.names())
def test_simulation(benchmark, model, linearise):
    net = srl.Network().add_input("x", 8, kind="event").add_population("h", srl.models.load(model), 256)
    net.connect("x", "h").connect("h", "h", density=0.1, seed=1).initialize(0)
    machine, x = simulator(net), (np.random.default_rng(0).random((100, 4, 8)) < 0.1).astype(net.dtype)
    state = machine.start(4)
    benchmark(lambda: machine.run(state, x, linearise=linearise))
