"""Memory is predicted before it is taken, and refused with a way out."""

import os
from dataclasses import dataclass

import numpy as np
import psutil
import pytest

import spikertrl as srl
from spikertrl.learners.engines.simd.rows import zeros_on_demand
from spikertrl.resources import NotEnoughMemory, cores, enough_ranks, readable, smaller
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


def test_lanes_are_shared_out_where_there_are_no_columns():
    net, learner = network(), srl.UORO()
    one, three, two = (net.memory(learner, lanes).influence for lanes in (5, 3, 2))
    assert net.memory(learner, 5, ranks=2).per_rank == (two, three)
    assert net.memory(learner, 5, ranks=2).influence == three < one
    with pytest.raises(ValueError, match="5 lanes are too few for 6 ranks"):
        net.memory(learner, 5, ranks=6)


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


def test_messages_of_a_long_delay_are_refused_before_allocation(monkeypatch):
    """They wait for as long as it lasts: 500,000 steps of 27 sources, in the piece and in the state."""
    net = network(delay=500_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Free", (), {"available": 2**26})())
    with pytest.raises(NotEnoughMemory, match=r"messages of 27 sources, 1 lanes and the last 500000 steps .* needs 206 MiB"):
        srl.simulate(net, np.zeros((3, 3)))


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("delay", [1, 5])
def test_every_part_of_a_prediction_is_what_is_taken(dtype, delay):
    """Tape: linearisation, messages with those still in flight, currents, readouts twice; theta, gradient, two moments."""
    net = srl.Network(dtype).add_input("x", 3).add_population("h", srl.models.alif, 9, trainable=("beta",))
    net.connect("x", "h").connect("h", "h", delay=delay).add_readout("z", "h", 2, decay=0.5).initialize(0)
    machine, batch, tau = simulator(net), 4, 7
    tape = machine.run(machine.start(batch), np.zeros((tau, batch, 3), dtype))
    currents = tau * batch * 9 * net.wiring.dtype.itemsize
    taken = sum(getattr(tape, name).nbytes for name in ("A", "B", "P", "o", "q", "messages")) + currents + 2 * tape.z.nbytes
    found = net.memory(srl.SnAp(1), batch=batch, tau=tau)
    assert (found.tape, found.parameters) == (taken, 4 * net.theta.nbytes)
    assert found.total == found.influence + found.tape + found.parameters and found.available > 0


@pytest.mark.parametrize("learner", [srl.KFRTRL(3), srl.OK(3), srl.UORO(3), srl.RandomPaths(2)], ids=repr)
def test_what_is_measured_grows_with_the_lanes(learner):
    """Learners that cannot tell are asked for one lane: many lanes take as many times that."""
    net = network(6, density=0.5)
    one, five = (net.memory(learner, batch=batch).influence for batch in (1, 5))
    state = learner.init(net, 1)
    if isinstance(learner, srl.UORO):
        assert one == sum(a.nbytes for a in (state.s, state.e, state.z, state.side, state.norm, state.counts))
    assert five == 5 * one > 0


@dataclass
class Held:
    wiring: object
    parts: dict
    steps: int = 0


class Own:
    """A learner that is not ours, and does not tell what its state takes."""

    def init(self, net, batch):
        return Held(net.wiring, {"a": np.zeros((batch, 3)), "b": [np.zeros(2), (np.zeros(5 * batch, np.float32), None)]})


def test_arrays_are_found_wherever_a_state_of_ones_own_holds_them():
    """In records, mappings, lists and tuples, for one lane; not in the wiring, which the network has anyway."""
    net = network()
    one = 3 * 8 + 2 * 8 + 5 * 4
    assert (net.memory(Own()).influence, net.memory(Own, 4).influence) == (one, 4 * one)
    assert net.memory(Own(), 5, ranks=2).per_rank == (2 * one, 3 * one)


def test_the_way_out_that_is_offered_is_as_far_as_it_goes(monkeypatch):
    net, batch = network(density=0.3, seed=2), 8
    needed = net.memory(srl.RTRL(), batch=batch).influence
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Free", (), {"available": int(0.4 * needed)})())
    with pytest.raises(NotEnoughMemory) as caught:
        srl.RTRL().init(net, batch)
    assert "batch 3" in str(caught.value) and "40.0% of the connections" in str(caught.value)
    srl.RTRL().init(net, 3)
    with pytest.raises(NotEnoughMemory):
        srl.RTRL().init(net, 4)


def test_what_fits_is_compared_with_everything_that_is_needed():
    memory = srl.network.budget.Memory(influence=100, tape=20, parameters=3, available=123)
    assert memory.total == 123 and memory.fits
    assert not srl.network.budget.Memory(100, 20, 4, 123).fits
    assert str(memory) == "123 B (influence 100 B, tape 20 B, parameters 3 B); available 123 B"


def test_bytes_are_said_in_their_unit():
    sizes = (0, 999, 1023, 1000 << 10, 1024, 1025, 1536, 2**20, 10 * 2**20, 2**30, 2**40, 2**50)
    said = [
        "0 B", "999 B", "1023 B", "1000 KiB", "1 KiB", "1 KiB", "1.5 KiB", "1 MiB", "10 MiB", "1.00 GiB", "1.00 TiB",
        "1024.00 TiB",
    ]  # fmt: skip
    assert [readable(size) for size in sizes] == said


def test_fewer_lanes_are_offered_where_one_would_fit():
    """As many as fit; none where there is one already, or where even one is too much."""
    few = "keep at most {} of the connections (density=)"
    assert smaller(12, 6, 2) == [few.format("50.0%"), "batch 1"] and smaller(100, 35, 10) == [few.format("35.0%"), "batch 3"]
    assert smaller(12, 6, 1) == [few.format("50.0%")] and smaller(14, 6, 2) == [few.format("42.9%")]


def test_ranks_that_are_enough():
    """As few as hold the pieces, each of which stays whole; 0 where one is too large for any."""
    few, one = np.array([6, 6, 6]), np.ones(3, int)
    assert [enough_ranks(few, one, room) for room in (5, 6, 11, 12, 17, 18, 100)] == [0, 3, 3, 2, 2, 1, 1]
    assert enough_ranks(np.array([4, 4, 4]), one, 6) == 3, "two ranks would hold 12 in all, but two pieces of 4 each do not fit"
    assert enough_ranks(np.array([], int), np.array([], int), 6) == 0


def test_cores_are_those_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    for count, found in ((7, 7), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert cores() == found
