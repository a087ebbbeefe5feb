"""Memory is predicted before it is taken, and refused with a way out."""

import numpy as np
import psutil
import pytest

import spikertrl as srl
from spikertrl.learners.engines.simd.rows import zeros_on_demand
from spikertrl.resources import NotEnoughMemory
from spikertrl.simulation.run import simulator


def network(units=24, **kw):
    net = srl.Network().add_input("x", 3).add_population("h", srl.models.egru, units)
    return net.connect("x", "h").connect("h", "h", **kw).add_readout("z", "h", 2, decay=0.5).initialize(0)


@pytest.mark.parametrize("learner", [srl.RTRL(), srl.RTRL(dense=True), srl.SnAp(1), srl.SnAp(2)], ids=str)
def test_prediction_is_what_is_allocated(learner):
    net = network(density=0.2, seed=1)
    state = learner.init(net, 3)
    arrays = [getattr(state, name) for name in "GMEZF" if hasattr(state, name)]
    assert net.memory(learner, batch=3).influence == sum(a.nbytes for a in arrays)


def test_tape_is_predicted():
    net = network()
    machine = simulator(net)
    tape = machine.run(machine.start(4), np.zeros((7, 4, 3), np.float32))
    held = sum(getattr(tape, name).nbytes for name in ("A", "B", "P", "o", "q", "messages", "z"))
    assert held <= net.memory(srl.RTRL(), batch=4, tau=7).tape <= 1.5 * held


def test_sampled_learners_are_measured():
    net = network()
    assert net.memory(srl.KFRTRL(samples=4)).influence > 3 * net.memory(srl.KFRTRL()).influence > 0


@pytest.mark.parametrize("learner", [srl.RTRL(), srl.RTRL(dense=True), srl.SnAp(2)], ids=str)
def test_too_much_is_refused_before_allocation(monkeypatch, learner):
    net = network(density=0.3, seed=2)
    needed = net.memory(learner, batch=8).influence
    smallest = net.memory(srl.SnAp(1), batch=8).influence
    free = (needed + smallest) // 2
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Free", (), {"available": free})())
    assert not net.memory(learner, batch=8).fits
    with pytest.raises(NotEnoughMemory, match=r"needs .* are available") as caught:
        learner.init(net, 8)
    if learner == srl.RTRL():
        for way in ("density=", "batch ", "SnAp(order=", "KFRTRL"):
            assert way in str(caught.value)
    srl.SnAp(1).init(net, 8)  # what the message offers works


@pytest.mark.parametrize("units", [1, 2, 3, 4, 5, 13])
@pytest.mark.parametrize("density", [None, 0.4])
def test_blocks_of_any_shape(units, density):
    """Panels of rows with a remainder, one unit alone, units that nobody hears: equal to backpropagation."""
    net = srl.Network("float64").add_input("x", 3).add_population("h", srl.models.egru, units, theta=0.0)
    net = net.connect("x", "h").connect("h", "h", density=density, seed=3).add_readout("z", "h", 2).initialize(2)
    x = np.random.default_rng(0).normal(size=(11, 3, 3))
    loss = srl.losses.squared_error(np.ones((11, 3, 2)))
    _, expected = srl.gradient(net, srl.BPTT(), x, loss)
    _, found = srl.gradient(net, srl.RTRL(), x, loss, tau=4)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


def test_zeros_on_demand_are_zeros_small_and_large() -> None:
    for elements in (10, 3 << 20):
        room = zeros_on_demand(elements, "float32")
        assert room.dtype == np.float32 and room.shape == (elements,) and not room.any()
        room[-1] = 1.0
        assert room.sum() == 1.0
