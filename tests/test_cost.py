"""What is counted: the textbook's work by hand, and every zero of an influence told apart entry by entry."""

from __future__ import annotations

import numpy as np
import pytest

import spikertrl as srl
from networks import drive
from spikertrl.cost import Cost, cost_of, influence, zeros
from spikertrl.learners.base import Learner
from spikertrl.simulation.run import simulator
from spikertrl.training.gradients import signal_of

STEPS, LANES, CHANNELS, N = 7, 3, 3, 6


def network(dtype: str = "float64", model: str = "egru", density: float = 0.4, **keywords: object) -> srl.Network:
    net = srl.Network(dtype).add_input("x", CHANNELS).add_population("h", srl.models.load(model), N, **keywords)
    net.connect("x", "h", density=0.7, seed=2).connect("h", "h", density=density, seed=1)
    return net.add_readout("z", "h", 2, decay=0.5).initialize(0)


def learned(net: srl.Network, learner: Learner, steps: int = STEPS, gain: float = 2.0) -> object:
    """The state of a learner after some steps."""
    machine = simulator(net)
    state, memory = machine.start(LANES), learner.init(net, LANES)
    tape = machine.run(state, (gain * drive(steps, LANES)).astype(net.dtype))
    loss = srl.losses.squared_error(np.ones((steps, LANES, 2)))
    learner.update(memory, tape, signal_of(net, loss, tape, 0, steps))
    return memory


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "learner",
    [srl.RTRL(), srl.SnAp(1), srl.SnAp(2), srl.EProp(), srl.RFLO(), srl.KFRTRL(), srl.OK(2), srl.UORO(), srl.RandomPaths(2)],
    ids=repr,
)
def test_beside_the_textbook(learner, dtype: str) -> None:
    """Dense RTRL: n^2 p multiply-adds to propagate, n p to read, with every weight there: by hand, for every learner alike."""
    cost = cost_of(learned(network(dtype), learner))
    assert cost is not None
    filled = 3 * N * CHANNELS + 3 * N * N + (4 + 1) * N  # ports u, r, x from inputs; u, r, h between units; biases, thresholds
    assert cost.macs_dense == (N * N * filled + N * filled) * STEPS * LANES
    assert cost.bytes_dense == LANES * N * filled * (4 if dtype == "float32" else 8)
    assert cost.lane_steps == STEPS * LANES and cost.bytes_held > 0
    assert cost.macs == cost.propagation + cost.immediate + cost.messages + cost.readout > 0
    assert cost.saving == pytest.approx(cost.macs_dense / cost.macs)


def test_two_states_a_unit_and_what_is_not_trained() -> None:
    net = srl.Network("float64").add_input("x", CHANNELS).add_population("h", srl.models.alif, N, trainable=("beta",))
    net.connect("x", "h", trainable=False).connect("h", "h", density=0.5, seed=1).add_readout("z", "h", 2).initialize(0)
    cost = cost_of(learned(net, srl.RTRL()))
    assert cost is not None
    states, filled = 2 * N, N * N + N
    assert cost.macs_dense == (states + 1) * states * filled * STEPS * LANES and cost.bytes_dense == 8 * LANES * states * filled


def test_a_full_network_of_units_that_always_speak_saves_nothing_of_the_readout() -> None:
    """Where nothing is zero and nothing masked, each unit's row meets every column: as many as the textbook reads."""
    net = srl.Network("float64").add_input("x", CHANNELS).add_population("h", srl.models.rnn, N).connect("x", "h")
    net.connect("h", "h").add_readout("z", "h", 2).initialize(0)
    cost = cost_of(learned(net, srl.RTRL(), steps=40, gain=0.3))
    assert cost is not None
    filled = N * (CHANNELS + N + 1)
    assert cost.bytes_held == cost.bytes_dense == 8 * LANES * N * filled
    assert 0.9 < cost.macs_dense / (cost.propagation + cost.readout) < 1.2


def test_nothing_done_yet() -> None:
    assert Cost(0, 0, 0, 0, 5, 0, 1, 0).saving == float("inf")
    assert Cost(1, 2, 3, 4, 40, 0, 1, 0).macs == 10 and Cost(1, 2, 3, 4, 40, 0, 1, 0).saving == 4.0


@pytest.mark.parametrize("learner", [srl.BPTT(), srl.RTRL(dense=True)], ids=repr)
def test_learners_that_do_not_count(learner) -> None:
    assert cost_of(learned(network(), learner)) is None


@pytest.mark.parametrize("of", ["state", "message"])
@pytest.mark.parametrize("projection", [None, "h<-h", "h<-x"])
@pytest.mark.parametrize("learner", [srl.RTRL(), srl.RTRL(dense=True), srl.SnAp(1)], ids=repr)
def test_zeros_are_told_apart_entry_by_entry(learner, projection: str | None, of: str) -> None:
    """One step after silence: sources not heard yet, units far from their threshold, masks."""
    net = network(theta=0.4)
    state = learned(net, learner, steps=2)
    found = zeros(net, state, projection, of)
    w = net.wiring
    dense = learned(net, srl.RTRL(dense=True), steps=2) if learner == srl.RTRL() else state
    expected = np.zeros(5)
    chosen = next(p for p in net.projections if p.name == (projection or "h<-h"))
    places = [range(w.layout[chosen.name, port][0].start, w.layout[chosen.name, port][0].stop) for port in chosen.ports]
    theta = [i for part in places for i in part]
    full = len(chosen.ports) * chosen.shape[0] * chosen.shape[1]
    for lane in range(LANES):
        matrix = influence(dense, lane, of)[:, [int(np.flatnonzero(w.col_theta == i)[0]) for i in theta]]
        silent = [not matrix[:, c].any() for c in range(len(theta))]
        quiet = [not any(matrix[r, c] for c in range(len(theta)) if not silent[c]) for r in range(len(matrix))]
        for r in range(len(matrix)):
            expected[1] += full - len(theta)
            for c in range(len(theta)):
                if matrix[r, c] == 0:
                    expected[2 if silent[c] else 3 if quiet[r] else 4] += 1
    expected[0] = expected[1:].sum()
    expected /= LANES * full * len(matrix)
    values = [found.all, found.mask, found.columns, found.rows, found.scattered]
    assert values == pytest.approx(expected, rel=1e-12) and found.mask == pytest.approx(1 - len(theta) / full)
    assert of == "state" or projection != "h<-x" or found.rows > 0, "some unit must be far from its threshold"


def test_zeros_of_an_unknown_projection() -> None:
    net = network()
    with pytest.raises(ValueError, match=r"no projection 'h<-y'; projections: \['h<-x', 'h<-h'\]"):
        zeros(net, learned(net, srl.RTRL()), "h<-y")
