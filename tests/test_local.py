"""The rows that SnAp-1, e-prop and RFLO keep, beside the general blocks cut down to a unit's own rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import spikertrl as srl
from networks import CHANNELS, drive, randomize
from spikertrl.cost import cost_of, influence
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.choose import override
from spikertrl.learners.engines.influence import Influence, init_influence, update_blocks
from spikertrl.learners.engines.local.layout import lane_groups, shared_out
from spikertrl.learners.engines.local.update import LocalState, init_local, update_local
from spikertrl.simulation.run import simulator
from spikertrl.tape import Tape
from tolerances import ALIVE, EXACT64, VALUES64

LANES, PIECES, RESET = 3, (1, 5, 2, 3, 39), 2  # before the piece RESET the last lane starts again


def network(dtype: str = "float64", leaks: int = 2) -> srl.Network:
    """a (egru) and b (alif: two states), delays 0 to 3, masks, synapses of units onto themselves, leaks of 2 or 4 kinds."""
    rng = np.random.default_rng(1)
    net = srl.Network(dtype).add_input("x", CHANNELS).add_population("a", srl.models.egru, 11)  # more than lie together
    net.add_population("b", srl.models.alif, 4, trainable=("rho", "beta"))
    net.connect("x", "a").connect("x", "b", density=0.6, seed=1, delay=2)
    delay = rng.integers(1, 4, (11, 11))
    delay[np.diag_indices(11)] = 1
    net.connect("a", "a", mask=(rng.random((11, 11)) < 0.5) | np.eye(11, dtype=bool), delay=delay)
    net.connect("a", "b", mask=rng.random((4, 11)) < 0.7, delay=rng.integers(1, 4, (4, 11)))
    net.connect("b", "b", delay=1)
    net.add_readout("slow", "b", 2, decay=0.8).add_readout("fast", "a", 2).add_readout("other", "a", 1, decay=0.5)
    if leaks == 4:  # a is heard with the first and the third, b with the last three
        net.add_readout("third", "a", 1, decay=0.9).add_readout("fourth", "b", 1, decay=0.95)
        net.add_readout("fifth", "b", 1, decay=0.9)
    return randomize(net.initialize(0), rng, 2.0)


def pieces(net: srl.Network, lanes: int = LANES) -> list[tuple[Tape, Signal]]:
    """Tapes of unequal length, one lane reset on the way, with random signals on readouts and messages."""
    rng, machine = np.random.default_rng(2), simulator(net)
    state, x, found = machine.start(lanes), drive(sum(PIECES), lanes), []
    begin = 0
    for number, tau in enumerate(PIECES):
        if number == RESET:
            state.reset_lanes(np.arange(lanes) == lanes - 1)
        tape = machine.run(state, x[begin : begin + tau].astype(net.dtype)).copy()
        dz, dy = (rng.normal(size=(tau, lanes, n)).astype(net.dtype) for n in (net.wiring.n_outputs, net.wiring.n_units))
        found.append((tape, Signal(0.0, dz, dy if number % 2 else None)))
        begin += tau
    return found


@pytest.mark.parametrize("by_events", [False, True], ids=["steps", "events"])
@pytest.mark.parametrize(("lanes", "leaks"), [(1, 2), (1, 4), (LANES, 2), (LANES, 4), (9, 2)])
@pytest.mark.parametrize("synaptic", [True, False], ids=["snap", "eprop"])
def test_local_rows_are_the_blocks_of_one_unit(synaptic: bool, lanes: int, leaks: int, by_events: bool) -> None:
    net = network(leaks=leaks)
    w = net.wiring
    feedback = None if synaptic else np.where(w.out_theta >= 0, np.random.default_rng(3).normal(size=w.out_theta.shape), 0.0)
    theta = net.theta.copy()  # e-prop is SnAp-1 of units that do not hear themselves, read through the feedback
    theta[w.syn_theta] = 0
    if feedback is not None:
        theta[w.out_theta[w.out_theta >= 0]] = feedback[w.out_theta >= 0]
    local, blocks = init_local(w, lanes, "local"), init_influence(w, lanes, 0)
    taped = pieces(net, lanes)
    assert taped[RESET][0].reset.tolist() == [False] * (lanes - 1) + [True]
    for tape, signal in taped:
        with override(local_unit=0 if by_events else np.inf, local_column=0, local_event=0):
            found = update_local(local, tape, signal, synaptic=synaptic, feedback=feedback)
        expected = update_blocks(blocks, tape if synaptic else replace(tape, theta=theta), signal)
        for (group, name), (part, _) in w.layout.items():
            assert np.linalg.norm(expected[part]) > ALIVE or tape.tau < max(PIECES), f"the gradient of {group}.{name} is dead"
        assert np.abs(found - expected).max() <= VALUES64 * np.abs(expected).max()
    for of in ("state", "message"):
        for lane in range(lanes):
            rows, kept = influence(blocks, lane, of), influence(local, lane, of)
            assert np.abs(rows).max() > ALIVE
            np.testing.assert_allclose(kept, rows, rtol=0, atol=VALUES64 * np.abs(rows).max())


@pytest.mark.parametrize("by_events", [False, True], ids=["steps", "events"])
@pytest.mark.parametrize(("model", "lanes"), [(srl.models.egru, 1), (srl.models.egru, LANES), (srl.models.rnn, 1)], ids=str)
def test_rows_where_nothing_leaks_and_no_unit_hears_itself(model: srl.Model, lanes: int, by_events: bool) -> None:
    """Units of one state, whose rows and gradient are then gone through once; beside the blocks, tape after tape."""
    net, off = srl.Network("float64").add_input("x", CHANNELS).add_population("a", model, 6), ~np.eye(6, dtype=bool)
    net.connect("x", "a", delay=2).connect("a", "a", mask=off).add_readout("z", "a", 2)
    w = randomize(net.initialize(0), np.random.default_rng(1), 2.0).wiring
    local, blocks = init_local(w, lanes, "local"), init_influence(w, lanes, 0)
    for tape, signal in pieces(net, lanes):
        with override(local_unit=0 if by_events else np.inf, local_column=0, local_event=0):
            found = update_local(local, tape, signal)
        expected = update_blocks(blocks, tape, signal)
        assert np.abs(expected).max() > ALIVE
        np.testing.assert_allclose(found, expected, rtol=0, atol=VALUES64 * np.abs(expected).max())
        for lane in range(lanes):
            rows, kept = influence(blocks, lane), influence(local, lane)
            np.testing.assert_allclose(kept, rows, rtol=0, atol=VALUES64 * np.abs(rows).max())


@pytest.mark.parametrize("lanes", [1, 9])
def test_states_alone_by_events(lanes: int) -> None:
    """RFLO's rows, which forget what a state passes to another."""
    net = network()
    w, (tape, signal) = net.wiring, pieces(net, lanes)[-1]
    found = []
    for unit in (0.0, np.inf):
        state = init_local(w, lanes, "local")
        with override(local_unit=unit, local_column=0, local_event=0):
            found.append((update_local(state, tape, signal, alone=True, synaptic=False), state.M))
    for one, other in zip(*found, strict=True):
        assert np.abs(other).max() > ALIVE
        np.testing.assert_allclose(one, other, rtol=0, atol=VALUES64 * np.abs(other).max())


def test_where_little_is_said_it_goes_by_events() -> None:
    """Chosen by itself, in fewer multiply-adds."""
    net = srl.Network("float64").add_input("x", 60, kind="event").add_population("h", srl.models.egru, 20)
    net.connect("x", "h").connect("h", "h").add_readout("z", "h", 1).initialize(0)
    rng, done = np.random.default_rng(0), {}
    for said in (0.01, 0.5):
        x = (rng.random((40, 1, 60)) < said).astype(float)
        tape, state = simulator(net).run(simulator(net).start(1), x), init_local(net.wiring, 1, "local")
        tape.messages[:, :, 60:] *= rng.random((tape.messages.shape[0], 1, 20)) < said
        update_local(state, tape, Signal(0.0, np.ones_like(tape.z)), synaptic=False)
        done[said] = state.counts.sum()
    assert 0 < done[0.01] < 0.5 * done[0.5]


def test_a_unit_hears_itself_in_snap_and_not_in_eprop() -> None:
    net = network()
    tape, signal = pieces(net)[-1]
    with_loops, without = (
        update_local(init_local(net.wiring, LANES, "local"), tape, signal, synaptic=synaptic) for synaptic in (True, False)
    )
    assert np.abs(with_loops - without).max() > 1e-3 * np.abs(without).max()


def test_states_alone_forget_what_they_pass_on() -> None:
    """RFLO: the unit's own Jacobian without what leads from one state to another."""
    net = network()
    w, (tape, signal) = net.wiring, pieces(net)[-1]
    found, whole = (update_local(init_local(w, LANES, "local"), tape, signal, alone=a, synaptic=False) for a in (True, False))
    cut = tape.copy()
    for k in range(w.n_units):
        for s in range(w.S[k]):
            for r in range(w.S[k]):
                lanes = np.arange(LANES) * w.S[k] ** 2 + s * w.S[k] + r
                cut.A[:, w.start_A[k] * LANES + lanes * w.size[k] + w.local[k]] *= s == r
    np.testing.assert_array_equal(found, update_local(init_local(w, LANES, "local"), cut, signal, synaptic=False))
    assert np.abs(found - whole).max() > 0.1 * ALIVE, "adaptation passes little on, and far more than is rounded"


def test_where_a_unit_hears_itself_late_blocks_take_over() -> None:
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 4)
    net.connect("x", "h").connect("h", "h", delay=2).add_readout("z", "h", 1).initialize(0)
    assert isinstance(srl.SnAp(1).init(net, 2), Influence)
    assert isinstance(srl.EProp().init(net, 2).traces, LocalState)
    assert isinstance(srl.SnAp(1).init(network(), 2), LocalState)


@pytest.mark.parametrize(("dtype", "lanes", "room"), [("float32", LANES, 8), ("float64", 1, 1)])
def test_what_is_counted_and_held(dtype: str, lanes: int, room: int) -> None:
    """Units that remember nothing, without a leaky readout: a multiply-add per column to add, one to read."""
    net = srl.Network(dtype).add_input("x", 2).add_population("h", srl.models.rnn, 5)
    net.connect("x", "h").connect("h", "h").add_readout("z", "h", 1).initialize(0)
    learner, steps = srl.RFLO(), 6
    state, machine = learner.init(net, lanes), simulator(net)
    tape = machine.run(machine.start(lanes), drive(steps, lanes, channels=2).astype(dtype))
    with override(local_unit=np.inf):  # step by step
        learner.update(state, tape, Signal(0.0, np.ones_like(tape.z)))
    cost, work = cost_of(state), steps * lanes * net.wiring.n_recurrent
    assert cost is not None and state.feedback is not None
    assert (cost.propagation, cost.immediate, cost.messages, cost.readout) == (0, work, 0, work)
    held = net.wiring.dtype.itemsize * room * net.wiring.n_recurrent  # three lanes in a register of eight
    assert cost.bytes_held == state.traces.M.nbytes == held
    assert cost.bytes_held + state.feedback.nbytes == net.memory(learner, batch=lanes).influence


def test_lanes_together_are_the_sum_of_lanes_alone() -> None:
    """Few units: their work is shared out by lanes as well, and the parts of the gradient are added."""
    lanes, steps = 9, 20
    net = srl.Network("float64").add_input("x", CHANNELS).add_population("h", srl.models.egru, 2, theta=0.1)
    net.connect("x", "h").connect("h", "h").add_readout("z", "h", 1, decay=0.5)
    randomize(net.initialize(0), np.random.default_rng(1), 2.0)
    x, dz = drive(2 * steps, lanes), np.random.default_rng(2).normal(size=(2 * steps, lanes, 1))
    assert shared_out(net.wiring, lane_groups(net.wiring, lanes)[0], 1)[1] > 1

    def gradient(which: slice, **tuning: float) -> tuple[np.ndarray, np.ndarray]:
        heard, signal = x[:, which], dz[:, which]
        machine, learner = simulator(net), srl.SnAp(1)
        run, state, total = machine.start(heard.shape[1]), learner.init(net, heard.shape[1]), np.zeros(net.wiring.n_parameters)
        for part in (slice(0, steps), slice(steps, 2 * steps)):
            with override(**tuning):
                total += learner.update(state, machine.run(run, heard[part]), Signal(0.0, signal[part]))
        return total, state.counts[:2]

    single = [slice(b, b + 1) for b in range(lanes)]
    together, alone = gradient(slice(None))[0], sum(gradient(lane)[0] for lane in single)
    work, each = gradient(slice(None), local_unit=np.inf)[1], [gradient(lane, local_unit=np.inf)[1] for lane in single]
    assert work[0] == sum(each)[0] > 0, "multiply-adds to propagate, step by step, counted by two loops"
    np.testing.assert_allclose(work[1], sum(each)[1], rtol=0.02, err_msg="one of them counts biases that add zero, too")
    assert np.abs(together).max() > ALIVE
    np.testing.assert_allclose(together, alone, rtol=0, atol=VALUES64 * np.abs(together).max())


def test_lanes_one_by_one_are_lanes_side_by_side() -> None:
    """Two loops of their own; the first signal comes late, and units have one state and biases."""
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 6, theta=0.1)
    net.connect("x", "h").connect("h", "h", density=0.6, seed=1).add_readout("z", "h", 1).initialize(0)
    x = np.random.default_rng(0).normal(size=(9, 2, 2))
    with override(local_unit=1e9):  # step by step
        apart = [
            srl.gradient(net, srl.SnAp(1), x[:, [b]], srl.losses.squared_error(np.ones((1, 1)), at="last"), tau=5)[1]
            for b in range(2)
        ]
        together = srl.gradient(net, srl.SnAp(1), x, srl.losses.squared_error(np.ones((2, 1)), at="last"), tau=5)[1]
    assert np.count_nonzero(together) > 0.9 * len(together)
    np.testing.assert_allclose(np.mean(apart, axis=0), together, rtol=EXACT64, atol=EXACT64)
