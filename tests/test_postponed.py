"""Short tapes whose steps the influence takes together later: every gradient is still that of the textbook matrix at once."""

import numpy as np
import pytest

import spikertrl as srl
from spikertrl.cost import influence
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.blocks import kept_steps
from spikertrl.learners.engines.choose import override
from spikertrl.network.budget import _held
from spikertrl.simulation.run import simulator
from spikertrl.training import checkpoint

RTOL, ATOL = 1e-9, 1e-13  # float64: sums in another order
TAPES = (1, 1, 1, 2, 1, 1, 1, 1, 9, 1, 1, 2, 2, 1, 1, 1, 1, 1)


@pytest.fixture(autouse=True)
def small_cache():
    with override(deferred_bytes=0, dense_deferred_bytes=0, dense_deferred_steps=12, most_active=1.0):
        yield


def network(model=srl.models.egru, density: float | None = 0.3) -> srl.Network:
    net = srl.Network("float64").add_input("x", 5).add_population("h", model, 20).add_population("g", model, 4)
    net.connect("x", "h", weight=1.5, delay=2).connect("x", "h", trainable=False, name="fixed")
    net.connect("h", "h", density=density, seed=1)
    net.connect("h", "g", density=0.5, seed=2).connect("g", "h", seed=3)
    return net.add_readout("z", "h", 2).add_readout("v", "g", 1).initialize(1)


def late() -> srl.Network:
    """Units of one and of two states with parameters of their own, delays of 1 to 6 steps: more than are kept, and fewer."""
    delays = np.random.default_rng(0).integers(1, 7, (10, 10))
    net = srl.Network("float64").add_input("x", 5).add_population("h", srl.models.egru, 10)
    net.add_population("a", srl.models.alif, 5, surrogate=srl.surrogates.triangle(0.7, 0.6), trainable=("beta",))
    net.connect("x", "h", weight=1.5, delay=2).connect("h", "h", density=0.4, seed=1, delay=delays)
    net.connect("h", "a", delay=2, weight=0.1).connect("a", "h", density=0.5, seed=3, delay=3)
    return net.add_readout("z", "h", 2).add_readout("v", "a", 1).initialize(1)


def stack() -> srl.Network:
    """Two populations of one state: the blocks of the second do not hold the first."""
    net = srl.Network("float64").add_input("x", 5).add_population("h", srl.models.egru, 12)
    net.add_population("g", srl.models.egru, 8).connect("x", "h", weight=1.5).connect("h", "h", density=0.4, seed=1)
    net.connect("h", "g", weight=0.8).connect("g", "g", density=0.5, seed=2)
    return net.add_readout("z", "g", 2).initialize(1)


def pieces(
    net: srl.Network, lanes: int, ways: dict[str, tuple], learning: float = 0.02, resets: tuple = (6, 13), heard: int = -1
):
    """Yield (number, states, gradients) after every tape, while the weights change; some lanes, then all, begin anew.

    ``heard``: the losses hear this unit alone; -1: all of them.
    """
    rng, machine = np.random.default_rng(0), simulator(net)
    start, kept = machine.start(lanes), {name: learner.init(net, lanes) for name, learner in ways.items()}
    for number, tau in enumerate(TAPES):
        if number == resets[0]:
            start.reset_lanes(np.arange(lanes) == 0)
        if number == resets[1]:
            start.reset_lanes()
        tape = machine.run(start, rng.normal(size=(tau, lanes, 5)))
        signal = Signal(0.0, rng.normal(size=tape.z.shape), 0.1 * rng.normal(size=(tau, lanes, net.wiring.n_units)))
        if heard >= 0:
            signal.dz[:], signal.dy[:, :, np.arange(net.wiring.n_units) != heard] = 0, 0
        found = {name: learner.update(kept[name], tape, signal).copy() for name, learner in ways.items()}
        yield number, kept, found
        gradient = next(iter(found.values()))
        net.theta -= learning * np.sign(gradient)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize(("density", "most"), [(0.3, 3), (None, 6)])
@pytest.mark.parametrize("model", [srl.models.egru, srl.models.gru, srl.models.rhn], ids=lambda model: model.name)
def test_equals_the_textbook_at_once_while_weights_change(model, density, most, lanes):
    waited, net = set(), network(model, density)
    before = net.theta.copy()
    for number, kept, found in pieces(net, lanes, {"dense": srl.RTRL(dense=True), "kept": srl.RTRL()}):
        waited.add(kept["kept"].kept.steps if kept["kept"].kept else 0)
        scale = np.abs(found["dense"]).max()
        assert scale > 1e-3
        np.testing.assert_allclose(found["kept"], found["dense"], rtol=RTOL, atol=ATOL * scale, err_msg=f"tape {number}")
    assert waited >= set(range(most + 1))
    assert np.abs(net.theta - before).max() > 0.05


@pytest.mark.parametrize(("density", "most", "columns"), [(0.3, 3, 1024), (0.3, 3, 1), (None, 6, 1024)])
def test_losses_that_hear_one_unit_equal_the_textbook(density, most, columns):
    """Few rows of the influence are read then: of blocks of all units, and of one unit each, of many widths."""
    net, waited = network(density=density), set()
    with override(block_columns=columns):
        for number, kept, found in pieces(net, 2, {"dense": srl.RTRL(dense=True), "kept": srl.RTRL()}, heard=5):
            waited.add(kept["kept"].kept.steps if kept["kept"].kept else 0)
            atol = ATOL * np.abs(found["dense"]).max()
            np.testing.assert_allclose(found["kept"], found["dense"], rtol=RTOL, atol=atol, err_msg=f"tape {number}")
    assert waited >= set(range(most + 1))


def test_rows_that_are_read_are_counted():
    """By every gradient that goes back through kept steps: all rows, of units that always speak, with all their columns."""
    net, lanes, before, seen = network(srl.models.gru, None), 2, 0, 0
    size = lanes * net.wiring.n_units * len(net.wiring.col_theta)
    for number, kept, _ in pieces(net, lanes, {"kept": srl.RTRL()}, resets=(99, 99)):
        state = kept["kept"]
        if number > 8 and 0 < state.kept.steps < 5:  # the influence stands behind the ninth tape
            back = (
                3 * lanes * state.kept.steps * len(net.wiring.col_theta)
            )  # through the kept steps: less than three a parameter
            assert size <= state.counts[3] - before <= size + back
            seen += 1
        before = int(state.counts[3])
    assert seen > 1


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("make", [late, stack])
def test_rows_on_their_way_and_blocks_of_limited_reach(make, lanes):
    net = make()
    alive = np.zeros(len(net.theta), bool)
    with override(row_overhead=0, block_overhead=0, most_visits=9, most_arrivals=99):  # blocks apart, by events
        for number, states, found in pieces(net, lanes, {"dense": srl.RTRL(dense=True), "kept": srl.RTRL()}):
            scale, state = np.abs(found["dense"]).max(), states["kept"]
            np.testing.assert_allclose(found["kept"], found["dense"], rtol=RTOL, atol=ATOL * scale, err_msg=f"tape {number}")
            alive |= found["dense"] != 0
    full = state.layout.full_reach
    assert not full.any() if make is late else full.any() and not full.all()
    assert state.routes["deferred"] > len(TAPES) // 2 and state.routes["events"] > 3 and alive.mean() > 0.8


def test_weights_of_each_step_matter(monkeypatch):
    """The same with the last step's weights for all kept steps is seen: the test above can fail."""
    fill = kept_steps.DeferredSteps.add

    def forget(self, tape):
        fill(self, tape)
        self.theta[: self.steps] = tape.theta

    monkeypatch.setattr(kept_steps.DeferredSteps, "add", forget)
    gaps = [
        np.abs(found["kept"] - found["dense"]).max() / np.abs(found["dense"]).max()
        for _, _, found in pieces(network(), 1, {"dense": srl.RTRL(dense=True), "kept": srl.RTRL()})
    ]
    assert max(gaps) > 1e-4


def test_the_influence_is_brought_up_to_date_when_it_is_looked_at():
    for number, kept, _ in pieces(network(), 2, {"dense": srl.RTRL(dense=True), "kept": srl.RTRL()}):
        if number in (1, 5, 12):
            assert kept["kept"].kept.steps
            for of in ("state", "message"):
                expected = influence(kept["dense"], 1, of)
                assert np.abs(expected).max() > 1e-2
                np.testing.assert_allclose(influence(kept["kept"], 1, of), expected, rtol=RTOL, atol=1e-12)


def test_a_checkpoint_holds_the_steps_that_wait(tmp_path):
    net, learner = network(), srl.RTRL()
    machine, rng = simulator(net), np.random.default_rng(0)
    start, kept = machine.start(2), learner.init(net, 2)

    def step(*states):
        tape = machine.run(start, rng.normal(size=(1, 2, 5)))
        signal = Signal(0.0, rng.normal(size=tape.z.shape))
        found = [learner.update(state, tape, signal).copy() for state in states]
        net.theta -= 0.01 * np.sign(found[0])
        return found

    for _ in range(6):
        step(kept)
    assert kept.kept.steps == 2
    again = checkpoint.load(checkpoint.save(tmp_path / "c.npz", kept), net.wiring)
    for _ in range(5):
        one, other = step(kept, again)
        assert np.abs(one).max() > 1e-3
        np.testing.assert_array_equal(one, other)


def test_memory_is_predicted():
    net = network()
    *_, (_, kept, _) = pieces(net, 3, {"kept": srl.RTRL()})
    held = _held([getattr(kept["kept"], name) for name in ("M", "E", "Z", "kept")], {id(net.wiring)})
    assert held == net.memory(srl.RTRL(), batch=3).influence


def test_leaky_readouts_and_small_influences_take_every_step_at_once():
    for decay, least in ((0.5, 0), (0.0, 1 << 60)):
        net = srl.Network("float64").add_input("x", 5).add_population("h", srl.models.egru, 9).connect("x", "h")
        net = net.connect("h", "h", density=0.3, seed=1).add_readout("z", "h", 3, decay=decay).initialize(0)
        with override(deferred_bytes=least):
            for _, kept, found in pieces(net, 2, {"dense": srl.RTRL(dense=True), "kept": srl.RTRL()}):
                assert kept["kept"].kept is None
                np.testing.assert_allclose(found["kept"], found["dense"], rtol=RTOL, atol=1e-12)


def test_steps_wait_only_while_few_units_are_active():
    for width, waits in ((0.05, True), (1e3, False)):
        net = srl.Network("float64").add_input("x", 5)
        net.add_population("h", srl.models.egru, 20, surrogate=srl.surrogates.triangle(0.7, width)).connect("x", "h")
        net = net.connect("h", "h", density=0.3, seed=1).add_readout("z", "h", 3).initialize(0)
        with override(most_active=0.2):
            *_, (_, states, _) = pieces(net, 1, {"kept": srl.RTRL()})
        assert ("deferred" in states["kept"].routes) == waits


def test_random_paths_take_every_step_at_once():
    found = []
    for least in (0, 1 << 60):
        with override(deferred_bytes=least):
            net = network()
            found.append([gradients["paths"] for *_, gradients in pieces(net, 2, {"paths": srl.RandomPaths(4)})])
    assert np.abs(found[0]).max() > 1e-3
    np.testing.assert_array_equal(*found)
