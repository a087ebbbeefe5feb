"""Exact RTRL by state transitions, where a whole sequence is one tape: the textbook's gradient and that of backpropagation."""

import numba
import numpy as np
import pytest

import networks
import spikertrl as srl
from spikertrl.cost import influence
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.choose import Tuning, override
from spikertrl.learners.engines.transitions.segments import carried, segment_length, segments
from spikertrl.simulation.run import simulator

RTOL, ATOL = 1e-9, 1e-13  # float64: sums in another order
STEPS = 14


def network(density: float | None, decay: float, delay: int | np.ndarray = 1, theta: float = 0.2) -> srl.Network:
    """Two populations, an input that is heard late, a threshold that is learned, readouts that leak or not."""
    net = srl.Network("float64").add_input("x", 4, kind="event").add_population("h", srl.models.egru, 18, theta=theta)
    net.add_population("g", srl.models.gru, 3).connect("x", "h", weight=1.5, delay=2)
    net.connect("h", "h", density=density, seed=1, delay=delay)
    net.connect("h", "g", seed=2).connect("g", "h", seed=3).connect("g", "g", seed=4)
    return net.add_readout("z", "h", 2, decay=decay).add_readout("v", "g", 1).initialize(1)


def sequence(net: srl.Network, lanes: int, steps: int = STEPS, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((steps, lanes, 4)) < 0.4) * rng.normal(1, 0.3, size=(steps, lanes, 4)).astype(net.dtype)


def gradients(net: srl.Network, learners: list, lanes: int, when: tuple[int, ...], steps: int = STEPS) -> list[np.ndarray]:
    """Gradients of two sequences, one after the other in the same states, of losses at the steps ``when``.

    The last learner is RTRL, whose sequences go by transitions.
    """
    machine, found, rng = simulator(net), [], np.random.default_rng(5)
    start, states = machine.start(lanes), [learner.init(net, lanes) for learner in learners]
    for number in range(2):
        start.reset_lanes()
        tape = machine.run(start, sequence(net, lanes, steps, number))
        signal = Signal(0.0, np.zeros_like(tape.z), np.zeros_like(tape.units(net.wiring)), last=True)
        signal.dz[list(when)] = rng.normal(size=(len(when), *signal.dz.shape[1:]))
        signal.dy[list(when), :, 5] = 0.1
        found.append([learner.update(state, tape, signal) for learner, state in zip(learners, states, strict=True)])
    assert states[-1].routes == {"transitions": 2}
    return [np.stack(pair) for pair in zip(*found, strict=True)]


@pytest.mark.parametrize("lanes", [1, 5])
@pytest.mark.parametrize("decay", [0.0, 0.8])
@pytest.mark.parametrize("density", [None, 0.3], ids=["dense", "sparse"])
@pytest.mark.parametrize("when", [(STEPS - 1,), (0, 3, 9)], ids=["at the end", "between"])
@pytest.mark.parametrize("room", [1 << 20, 18 * 12 * 8, 1], ids=["one tile", "some tiles", "many tiles"])
def test_equals_the_textbook_and_backpropagation(room, when, density, decay, lanes):
    net = network(density, decay)
    with override(tile_bytes=room):
        expected, back, found = gradients(net, [srl.RTRL(dense=True), srl.BPTT(), srl.RTRL()], lanes, when)
    for name, parts in net.view(expected[1]).items():
        assert all(np.abs(getattr(part, "data", part)).max() > 0 for part in parts.values()), name
    scale = np.abs(expected).max()
    assert scale > 1e-3
    np.testing.assert_allclose(found, expected, rtol=RTOL, atol=ATOL * scale)
    np.testing.assert_allclose(found, back, rtol=RTOL, atol=ATOL * scale)


@pytest.mark.parametrize("density", [None, 0.3], ids=["dense", "sparse"])
@pytest.mark.parametrize("length", [1, 7, 40])
def test_segments_of_any_length(length, density):
    for when in ((STEPS - 1,), (0, 3, 9), (5,), tuple(range(STEPS))):
        with override(segment_length=length, aside_bytes=1, transition_rate=1e9):  # lane by lane
            expected, found = gradients(network(density, 0.8), [srl.RTRL(dense=True), srl.RTRL()], 3, when)
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(found, expected, rtol=RTOL, atol=ATOL * np.abs(expected).max())


@pytest.mark.parametrize(("lanes", "when"), [(1, (29,)), (5, (0, 3, 22))], ids=["one lane", "five"])
@pytest.mark.parametrize("delay", [1, 6, 20], ids=["one step", "the same", "each its own"])
@pytest.mark.parametrize("room", [1 << 20, 24 * 1024, 1], ids=["one window", "some windows", "many windows"])
def test_between_messages(room, delay, lanes, when):
    """All delays 1, all 6, or 1 to 20 steps mixed; where all are 1, transitions between states are not to be chosen."""
    each = np.random.default_rng(1).integers(1, 21, (18, 18))
    net = network(0.3, 0.8, each if delay == 20 else delay)
    rates = {"message_rate": 0.0, "all_to_all": 0.0 if delay == 1 else 2.0}
    with override("transitions", tile_bytes=room, **rates):
        expected, found = gradients(net, [srl.BPTT(), srl.RTRL()], lanes, when, steps=30)
    scale = np.abs(expected).max()
    assert scale > 1e-3
    np.testing.assert_allclose(found, expected, rtol=RTOL, atol=ATOL * scale)


@pytest.mark.parametrize("model", ["cuba_lif", "alif"])
def test_between_messages_with_losses_in_some_lanes(model):
    """An input moves both states of the one, the first of the other; one lane is silent, another has no loss."""
    net = networks.single(model, units=8, delay=np.random.default_rng(1).integers(1, 6, (8, 8)), strength=2.0)
    x = networks.drive(30, 4)
    x[:, 0] = 0
    tape = simulator(net).run(simulator(net).start(4), 2 * x)
    signal = Signal(0.0, np.zeros_like(tape.z), last=True)
    signal.dz[-1, :2], signal.dz[[4, 20], 3] = 1.0, np.random.default_rng(2).normal(size=(2, networks.OUTPUTS))
    assert tape.active(net.wiring)[0].any(axis=0).tolist() == [False, True, True, True]
    found = []
    with override("transitions", tile_bytes=24 * 1024):
        for learner in (srl.BPTT(), srl.RTRL()):
            state = learner.init(net, 4)
            found.append(learner.update(state, tape, signal))
    assert state.routes == {"transitions": 1} and np.abs(found[0][net.wiring.syn_theta]).max() > 1e-3
    np.testing.assert_allclose(found[1], found[0], rtol=RTOL, atol=ATOL * np.abs(found[0]).max())


@pytest.mark.parametrize("room", [1 << 20, 1], ids=["one window", "many windows"])
def test_multiply_adds_between_messages_are_known(room):
    """A message's row has a column for every message of earlier steps; it is made, and a loss that hears it reads it."""
    net = srl.Network("float64").add_input("x", 4).add_population("h", srl.models.egru, 10, theta=0.2).connect("x", "h")
    net = net.connect("h", "h").add_readout("z", "h", 2).initialize(1)
    tape, learner = simulator(net).run(simulator(net).start(3), np.random.default_rng(0).normal(size=(STEPS, 3, 4))), srl.RTRL()
    with override("transitions", message_rate=0.0, tile_bytes=room):
        state = learner.init(net, 3)
        learner.update(state, tape, Signal(0.0, np.ones_like(tape.z), last=True))
    active = tape.active(net.wiring)[0].astype(int)
    earlier = np.cumsum(active, axis=0) - active
    assert 0 < active.mean() < 10 and state.counts[1] == STEPS * 3 * len(net.wiring.col_theta)
    assert state.counts[2] == state.counts[3] == (active * earlier).sum() > 0


def test_the_length_of_segments_and_the_lanes_together_are_obeyed():
    """By what is held: one lane's steps within segments, and none where a segment is one step."""
    held = {}
    for length, room in ((1, 1), (7, 1), (7, 1 << 20)):
        net, state = network(None, 0.0), None
        with override("transitions", segment_length=length, aside_bytes=room):
            state = srl.RTRL().init(net, 3)
            tape = simulator(net).run(simulator(net).start(3), sequence(net, 3))
            srl.RTRL().update(state, tape, Signal(0.0, np.ones_like(tape.z), last=True))
        held[length, room] = state.transition_bytes
    cut = segments(21, np.dtype("float64"), STEPS, 7)
    assert cut.aside_bytes == 2 * 21 * 6 * 24 * 8 and segments(21, np.dtype("float64"), STEPS, 1).aside_bytes == 0
    assert held[7, 1 << 20] - held[7, 1] == 2 * cut.aside_bytes


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_short_sequences(steps):
    learners = [srl.RTRL(dense=True), srl.RTRL(route="transitions")]
    expected, found = gradients(network(None, 0.0), learners, 2, (steps - 1,), steps)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=RTOL, atol=ATOL)


def test_lanes_go_in_groups_whose_transitions_fit():
    cut = segments(32, np.dtype("float32"), 150)
    one = cut.aside_bytes
    assert cut.room(1).nbytes == one > 0
    for batch, room, expected in ((1, 0, 1), (780, 10 * one, 10), (4, 10 * one, 4)):
        assert cut.lanes_together(batch, room) == expected


def test_about_the_root_of_the_steps_is_carried():
    for steps in (2, 17, 100, 1000):
        m = segment_length(steps)
        assert carried(steps, 1) == steps * (steps - 1) // 2
        assert carried(steps, m) == min(carried(steps, k) for k in range(1, steps))
        assert abs(m - steps**0.5) <= 1 and carried(steps, m) < 1.2 * steps**1.5


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one thread")
def test_two_threads_share_lanes_and_tiles():
    for lanes in (1, 5):
        with override(shared_work=0.0, transition_work=0.0, tile_bytes=18 * 12 * 8):
            expected, found = gradients(network(None, 0.8), [srl.RTRL(dense=True), srl.RTRL()], lanes, (3, 9))
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(found, expected, rtol=RTOL, atol=1e-12)


def test_no_gradient_where_no_step_has_a_loss():
    net = network(None, 0.0)
    tape = simulator(net).run(simulator(net).start(2), sequence(net, 2))
    state = srl.RTRL().init(net, 2)
    assert not srl.RTRL().update(state, tape, Signal(0.0, np.zeros_like(tape.z), last=True)).any()
    assert state.routes == {"transitions": 1}


def whole(net: srl.Network, x: np.ndarray, tau: int | None = None, route: str | None = None) -> bool:
    """Whether the sequence goes by transitions, once the gradient has been found equal to that of backpropagation."""
    loss = srl.losses.squared_error(np.ones((*x.shape[:2], 1)), readout="v")
    learner = srl.RTRL(route=route)
    table = srl.compare(net, [srl.BPTT(), learner], x, loss, tau=tau)
    expected, found = table.gradients.values()
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(found, expected, rtol=RTOL, atol=1e-12)
    return "transitions" in table.routes[repr(learner)]


def test_whole_sequences_alone():
    net = network(None, 0.0)
    assert not whole(net, sequence(net, 2), tau=STEPS - 1)
    assert whole(net, sequence(net, 2))


def test_not_where_the_influence_is_the_smaller():
    few = srl.Network("float64").add_input("x", 4, kind="event").add_population("h", srl.models.rnn, 8)  # 13 parameters a unit
    few = few.connect("x", "h").connect("h", "h").add_readout("v", "h", 1).initialize(1)
    assert not whole(few, sequence(few, 1, steps=200))
    assert whole(few, sequence(few, 1, steps=20))
    columns = srl.Network("float64").add_input("x", 60, kind="event").add_population("h", srl.models.gru, 8)
    columns = columns.connect("x", "h").connect("h", "h").add_readout("v", "h", 1).initialize(1)
    machine, learner = simulator(columns), srl.RTRL()
    for heard in (0, 60):  # of the channels
        x = np.broadcast_to(np.arange(60) < heard, (40, 1, 60)).astype(float)
        tape = machine.run(machine.start(1), x)
        state = learner.init(columns, 1)
        learner.update(state, tape, Signal(0.0, np.ones_like(tape.z), last=True))
        assert (state.route == "transitions") == (heard == 60)


def test_nothing_is_learned_in_the_network():
    frozen = {"trainable": False}
    net = (
        srl.Network("float64")
        .add_input("x", 4, kind="event")
        .add_population("h", srl.models.lif, 5)
        .connect("x", "h", **frozen)
    )
    net = net.connect("h", "h", **frozen).add_readout("v", "h", 1).initialize(1)
    assert not len(net.wiring.col_theta)
    assert not whole(net, sequence(net, 2))


def test_not_where_the_step_jacobian_takes_too_much_room():
    net = network(0.3, 0.0)
    x = sequence(net, 2, steps=120)
    with override(transition_rate=1e9):
        assert whole(net, x)
        with override(jacobian_list_bytes=0):  # less than it needs; the influence's own bytes are not enough either
            assert not whole(net, x)
            with pytest.raises(ValueError, match="the step Jacobian and what is set aside take"):
                whole(net, x, route="transitions")


def test_a_sequence_in_pieces_follows_one_that_was_whole():
    net, rng = network(0.3, 0.8), np.random.default_rng(3)
    machine, learners = simulator(net), (srl.RTRL(dense=True), srl.RTRL())
    start, states = machine.start(2), [learner.init(net, 2) for learner in learners]
    for number, (tau, last) in enumerate([(STEPS, True), (6, False), (5, False), (4, True), (STEPS, True)]):
        if number in (0, 1, 4):
            start.reset_lanes()
        tape = machine.run(start, sequence(net, 2, tau, number))
        signal = Signal(0.0, rng.normal(size=tape.z.shape), last=last)
        expected, found = (learner.update(state, tape, signal) for learner, state in zip(learners, states, strict=True))
        assert np.abs(expected).max() > 1e-2
        np.testing.assert_allclose(found, expected, rtol=RTOL, atol=1e-12, err_msg=f"tape {number}")
        if not last:
            rows = [influence(state, 1) for state in states]
            assert np.abs(rows[0]).max() > 1e-2
            np.testing.assert_allclose(rows[1], rows[0], rtol=RTOL, atol=1e-12)
    assert states[1].routes["transitions"] == 2


def test_fewer_operations_and_less_memory():
    net = srl.Network().add_input("x", 4).add_population("h", srl.models.egru, 40).connect("x", "h").connect("h", "h")
    net = net.add_readout("z", "h", 2).initialize(0)
    x, loss = np.random.default_rng(0).normal(size=(20, 2, 4)), srl.losses.cross_entropy([0, 1], at="last")
    costs = []
    for rate in (0.0, Tuning().transition_rate):
        with override(transition_rate=rate):
            table = srl.compare(net, [srl.RTRL(), srl.BPTT()], x.astype(np.float32), loss)
        assert ("transitions" in table.routes["RTRL(dense=False)"]) == (rate > 0)
        cost = table.cost["RTRL(dense=False)"]
        assert cost is not None and abs(table.cosine["RTRL(dense=False)"]["all"] - 1) < 1e-5  # float32
        costs.append(cost)
    assert costs[1].macs < 0.5 * costs[0].macs
    assert 0 < costs[1].bytes_held < 0.5 * costs[0].bytes_held


@pytest.mark.parametrize("density", [None, 0.3, 0.06], ids=["dense", "sparse", "out of reach"])
@pytest.mark.parametrize("model", ["rnn", "threshold_rnn"])
def test_units_without_memory_and_units_out_of_reach(model, density):
    narrow = {"surrogate": srl.surrogates.triangle(0.8, 0.3)} if model == "threshold_rnn" else {}
    net = srl.Network("float64").add_input("x", 4, kind="event").add_population("h", getattr(srl.models, model), 20, **narrow)
    net.add_population("g", srl.models.egru, 3).connect("x", "h").connect("h", "h", density=density, seed=1).connect("h", "g")
    net = (net if density == 0.06 else net.connect("g", "h")).add_readout("v", "g", 1).initialize(1)
    reached = np.diff(srl.RTRL().init(net, 1).layout.reach_ptr)
    assert (reached.min() < net.wiring.n_units) == (density == 0.06)
    tape = simulator(net).run(simulator(net).start(3), sequence(net, 3))
    active = tape.active(net.wiring)[0].mean() / net.wiring.n_units
    assert 0.1 < active < (0.7 if narrow else 1)
    assert whole(net, sequence(net, 3), route="transitions")


def test_not_where_the_influence_is_an_approximation():
    net = network(0.3, 0.0)
    loss, x = srl.losses.squared_error(np.ones((STEPS, 2, 1)), readout="v"), sequence(net, 2)
    assert not srl.SnAp(2).init(net, 2).layout.full_reach.all()
    whole, pieces = (srl.compare(net, [srl.SnAp(2), srl.SnAp(20)], x, loss, tau=tau) for tau in (None, 5))
    expected = pieces.gradients["SnAp(order=2)"]
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(whole.gradients["SnAp(order=2)"], expected, rtol=RTOL, atol=1e-12)
    assert "transitions" not in whole.routes["SnAp(order=2)"] and whole.routes["SnAp(order=20)"] == {"transitions": 1}
    with pytest.raises(ValueError, match=r"SnAp\(order=2\): the route 'transitions' cannot serve here: .* rows are left out"):
        srl.gradient(net, srl.SnAp(2, route="transitions"), x, loss)


@pytest.mark.parametrize("paths", [0, 3])
def test_random_paths_are_the_same_paths(paths):
    net = network(None, 0.8)
    loss, x = srl.losses.squared_error(np.ones((STEPS, 2, 2)), readout="z"), sequence(net, 2)
    with override(transition_rate=1e9):
        whole, cut = (srl.compare(net, [srl.RandomPaths(paths)], x, loss, tau=tau) for tau in (None, 5))
    (found,), (pieces,) = whole.gradients.values(), cut.gradients.values()
    assert np.abs(pieces[net.wiring.layout["h<-h", "h"][0]]).max() > 1e-3
    np.testing.assert_allclose(found, pieces, rtol=RTOL, atol=1e-12)
    assert list(whole.routes.values()) == [{"transitions": 1}]
