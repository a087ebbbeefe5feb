"""Populations without synapses among themselves: exact RTRL costs as much as their parameters, and stays exact when stacked."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import spikertrl as srl
import spikertrl.experiments as _experiment
from networks import CORE, marked, randomize
from spikertrl.cost import cost_of
from spikertrl.simulation.run import simulator
from spikertrl.training.gradients import signal_of
from tolerances import ALIVE, EXACT64

LATER = [name for name in srl.models.names() if name not in CORE]
MODELS = marked(["cuba_lif", *LATER])


def stack(model: str, depth: int, units: int = 5, decay: float = 0.0) -> srl.Network:
    """x -> h1 -> h2 ..., none of them onto itself; a readout of the last one, and one of the first."""
    net, before = srl.Network("float64").add_input("x", 3), "x"
    for name in (f"h{k + 1}" for k in range(depth)):
        net.add_population(name, model, units).connect(before, name)
        before = name
    net.add_readout("z", before, 2, decay=decay).add_readout("first", "h1", 1)
    return randomize(net.initialize(0), np.random.default_rng(0), 2.0)


def gradients(net: srl.Network, steps: int = 20, tau: int | None = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    x = np.abs(rng.normal(size=(steps, 3, 3)))
    loss = srl.losses.squared_error(rng.normal(size=(steps, 3, 2)), readout="z")
    loss += srl.losses.squared_error(rng.normal(size=(steps, 3, 1)), readout="first")
    return [srl.gradient(net, one, x, loss, tau=tau)[1] for one in (srl.BPTT(), srl.RTRL(), srl.RTRL(dense=True))]


@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("model", MODELS)
def test_stacks_stay_exact(model: str, depth: int, decay: float) -> None:
    expected, *found = gradients(stack(model, depth, decay=decay))
    assert np.linalg.norm(expected) > ALIVE
    for one in found:
        assert np.abs(one - expected).max() < EXACT64 * np.abs(expected).max()


@pytest.mark.parametrize("model", MODELS)
def test_multiply_adds_and_memory_grow_with_the_parameters(model: str) -> None:
    """The same for every parameter, whatever the number of units."""
    shares = []
    for units in (8, 64):
        net = stack(model, 1, units)
        machine, learner, x = simulator(net), srl.RTRL(), np.abs(np.random.default_rng(2).normal(size=(30, 1, 3)))
        state, memory = machine.start(1), learner.init(net, 1)
        loss = srl.losses.squared_error(np.ones((30, 1, 2)), readout="z")
        for t in range(30):
            tape = machine.run(state, x[t : t + 1])
            learner.update(memory, tape, signal_of(net, loss, tape, t, 30))
        cost = cost_of(memory)
        assert cost is not None
        assert cost.macs <= 30 * srl.explain(net, learner).plan.macs
        shares.append((cost.macs / net.wiring.n_recurrent, net.memory(learner).influence / net.wiring.n_recurrent))
    assert shares[1][0] < 1.5 * shares[0][0] and shares[1][1] == pytest.approx(shares[0][1], rel=0.3)


@pytest.mark.slow
def test_the_comparison_runs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """One layer: a trace a layer is exact. Two: it is not."""
    assert _experiment.load("stacked_traces")(["--quick", "--out", str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    cosine = {(int(row["depth"]), row["learner"]): float(row["cosine"]) for row in rows}
    assert "per layer" in capsys.readouterr().out and (tmp_path / "stacked_macs.png").exists()
    assert cosine[1, "per layer"] > 1 - 1e-5 and cosine[2, "exact RTRL"] > 1 - 1e-5 and cosine[2, "per layer"] < 0.999
