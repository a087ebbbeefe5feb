"""Which way exact RTRL is computed: said, forced, refused with a reason; and what states tell whatever way ran."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest

import networks
import spikertrl as srl
from spikertrl.cost import influence, zeros
from spikertrl.demo import spiral_network
from spikertrl.learners.base import Signal, State
from spikertrl.learners.engines.choose import ROUTES, Tuning, forced, override, tuning
from spikertrl.simulation.run import simulator
from tolerances import EXACT64, VALUES64

STEPS, LANES = 12, 2


def network(density: float = 0.3, decay: float = 0.0, delay: int = 1) -> srl.Network:
    narrow = srl.surrogates.triangle(0.7, 0.4)
    net = srl.Network("float64").add_input("x", 3).add_population("h", srl.models.egru, 16, surrogate=narrow, theta=0.2)
    net.connect("x", "h", weight=1.5).connect("h", "h", density=density, seed=1, delay=delay)
    return net.add_readout("z", "h", 2, decay=decay).initialize(1)


def compared(net: srl.Network, learner: srl.learners.Learner, tau: int | None) -> tuple[dict[str, int], float]:
    """Routes that ran, and the largest difference to the textbook, relative to its largest entry."""
    x = np.random.default_rng(0).normal(size=(STEPS, LANES, 3))
    loss = srl.losses.squared_error(np.ones((STEPS, LANES, 2)))
    table = srl.compare(net, [srl.RTRL(dense=True), learner], x, loss, tau=tau)
    expected, found = table.gradients.values()
    assert np.abs(expected).max() > 1e-2
    return table.routes[repr(learner)], float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_can_be_asked_for(route: str) -> None:
    """All give the textbook's gradient; the keyword and the context do the same."""
    tau = {"transitions": None, "deferred": 1}.get(route, 4)
    x = np.random.default_rng(0).normal(size=(STEPS, LANES, 3))
    if route == "deferred":  # the last piece of a sequence is never deferred: an online stream
        net, learner = network(), srl.RTRL(route=route)
        start, states = simulator(net).start(LANES), [srl.RTRL(dense=True).init(net, LANES), learner.init(net, LANES)]
        for t in range(STEPS):
            tape = simulator(net).run(start, x[t : t + 1])
            signal = Signal(0.0, np.ones_like(tape.z))
            expected, found = srl.RTRL(dense=True).update(states[0], tape, signal), learner.update(states[1], tape, signal)
            np.testing.assert_allclose(found, expected, rtol=EXACT64, atol=VALUES64)
        assert states[1].routes["deferred"] >= STEPS - 2
        return
    ran, gap = compared(network(), srl.RTRL(route=route), tau)
    assert ran == {route: 1 if tau is None else 3} and gap < EXACT64
    with override(route):
        again, gap = compared(network(), srl.RTRL(), tau)
    assert again == ran and gap < EXACT64


@pytest.mark.parametrize("tau", [1, 4, None])
def test_rows_of_several_states_delays_and_masks(tau: int | None) -> None:
    """Two populations, units of two states in one of them, delays of 1 to 7 steps, readouts with and without a leak."""
    net = networks.stacked("alif", "egru")
    x = networks.drive(STEPS, LANES)
    loss = srl.losses.squared_error(np.ones((STEPS, LANES, networks.OUTPUTS)), readout="slow")
    loss += srl.losses.squared_error(np.ones((STEPS, LANES, networks.OUTPUTS)), readout="fast")
    _, expected = srl.gradient(net, srl.BPTT(), x, loss)
    whole = [] if tau else [srl.RTRL(route="transitions")]
    events = srl.RTRL(route="events")
    for learner in (srl.RTRL(route="general rows"), events, srl.SnAp(20), srl.RTRL(dense=True), *whole):
        gap, where = networks.worst_block(net, srl.gradient(net, learner, x, loss, tau=tau)[1], expected)
        assert gap < EXACT64, (learner, where)
    for store in (1, 2000):  # segments of a step each, and of a few
        with override(store_bytes=store):
            gap, where = networks.worst_block(net, srl.gradient(net, events, x, loss, tau=tau)[1], expected)
        assert gap < EXACT64, (store, where)
    assert np.mean(expected != 0) > 0.5


@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize("tau", [1, 4])
def test_loops_of_their_own_count_the_same_work(tau: int, decay: float) -> None:
    """Of the same rows: each kind of multiply-add, as far as the loops do the same."""
    x, found = np.random.default_rng(0).normal(size=(STEPS, LANES, 3)), {}
    for route in ("events", "dense rows", "rows", "general rows"):
        net, learner = network(decay=decay), srl.RTRL(route=route)
        start, state = simulator(net).start(LANES), learner.init(net, LANES)
        for t in range(0, STEPS, tau):
            tape = simulator(net).run(start, x[t : t + tau])
            learner.update(state, tape, Signal(0.0, np.ones_like(tape.z)))
        found[route] = state.counts.tolist()
    events, dense, rows, general = found.values()
    assert min(rows) > 0 and general == rows and dense[1:] == rows[1:], "dense rows advance units that nobody hears, too"
    assert events[1] == rows[1] and events[0] >= rows[0]
    if tau == 1:  # longer stretches are gone through unit by unit, and columns that wake on the way count from their begin
        assert events[2] == rows[2] and (decay or events[3] == rows[3])


def counted(route: str, columns: int, density: float | None) -> tuple[list[int], list[int]]:
    """Multiply-adds of two tapes of a stream whose columns are all alive, and those that a dense network needs for the second.

    Sources of synapses that learn speak at every step. Row by row: what arrives of every unit that spoke in the step before,
    and the row's own leak; an immediate term a column; a row sent, and read by the loss, for every unit that speaks.
    """
    narrow = srl.surrogates.triangle(0.7, 0.4)
    net = srl.Network("float64").add_input("x", 3).add_population("h", srl.models.egru, 16, surrogate=narrow, theta=0.2)
    net.connect("x", "h", weight=1.5).connect("h", "h", density=density, seed=1, trainable=False)
    w, learner = net.add_readout("z", "h", 2).initialize(1).wiring, srl.RTRL()
    with override(route, store_bytes=1, block_columns=columns):  # segments of a step
        start, state, before = simulator(net).start(LANES), learner.init(net, LANES), np.zeros(1)
        known, done = np.zeros(4), [np.zeros(4, int)]
        for x in np.random.default_rng(0).normal(size=(2, STEPS, LANES, 3)):
            tape = simulator(net).run(start, x)
            learner.update(state, tape, Signal(0.0, np.ones_like(tape.z)))
            active = tape.active(w)[0]
            arriving = 16 * (before.sum() + active[:-1].sum()) + np.count_nonzero(tape.A)
            known = len(w.col_theta) * np.array([arriving, STEPS * LANES, active.sum(), active.sum()])
            done.append(state.counts.copy())
            before = active[-1]
    assert state.routes == {route: 2} and 0 < active.mean() < 16
    return [done[1].tolist(), (done[2] - done[1]).tolist()], known.astype(int).tolist()


@pytest.mark.parametrize("columns", [1024, 1], ids=["one block", "unit by unit"])
@pytest.mark.parametrize("route", ["events", "rows", "dense rows"])
def test_multiply_adds_of_a_dense_network_are_known(route: str, columns: int) -> None:
    (_, second), known = counted(route, columns, None)
    assert second == known


@pytest.mark.parametrize("columns", [1024, 1], ids=["one block", "unit by unit"])
def test_multiply_adds_by_events_are_those_of_rows_where_a_segment_is_a_step(columns: int) -> None:
    """Also in the first tape, where nothing has reached most rows yet."""
    assert counted("events", columns, 0.3)[0] == counted("rows", columns, 0.3)[0]


@pytest.mark.parametrize(
    ("route", "tau", "options", "reason"),
    [
        ("transitions", 4, {}, "the tape is not a whole sequence"),
        ("deferred", 4, {}, "a tape of 4 steps is longer than half of the 4 that are kept"),
        ("deferred", 1, {"decay": 0.5}, "readouts leak"),
        ("products", None, {}, "nothing would remain but BPTT; give tau"),
        ("products", 4, {"delay": 2}, "not every block has full reach"),
        ("dense rows", 4, {"delay": 2}, "not every block has full reach"),
    ],
)
def test_a_route_that_cannot_serve_is_refused(route: str, tau: int | None, options: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=f"RTRL: the route '{route}' cannot serve here: .*{reason}"):
        compared(network(**options), srl.RTRL(route=route), tau)


def test_names_of_routes_and_what_checkpoints_compare() -> None:
    with pytest.raises(ValueError, match="RTRL: there is no route 'fast'; routes: 'transitions', 'deferred'"):
        srl.RTRL(route="fast")
    with pytest.raises(ValueError, match="the textbook matrix, it has no route"):
        srl.RTRL(dense=True, route="rows")
    with pytest.raises(ValueError, match="override: there is no route 'x'"), override("x"):
        pass
    with pytest.raises(TypeError, match="tile"), override(tile=3):
        pass
    assert [repr(one) for one in (srl.RTRL(), srl.SnAp(2), srl.RTRL(route="rows"))] == [
        "RTRL(dense=False)", "SnAp(order=2)", "RTRL(dense=False, route='rows')",
    ]  # fmt: skip


def test_an_override_holds_in_its_own_thread_alone() -> None:
    seen = []
    with override("events", store_bytes=1):
        thread = threading.Thread(target=lambda: seen.append((forced(), tuning())))
        thread.start()
        thread.join()
        assert forced() == "events" and tuning().store_bytes == 1
    assert seen == [(None, Tuning())] and forced() is None and tuning() == Tuning()


def test_the_reason_is_written_down(caplog) -> None:
    with caplog.at_level(logging.DEBUG, "spikertrl"):
        ran, _ = compared(network(), srl.RTRL(), None)
    assert ran == {"transitions": 1}
    assert "RTRL, step 0: transitions: a whole sequence: " in caplog.text


@pytest.mark.parametrize("tau", [None, 5, 1])
def test_zeros_while_training_are_those_of_the_textbook(tau: int | None) -> None:
    """The demo's spiral run: whole sequences go by transitions, asked for or not, and their influence is never touched."""
    found, thetas = [], []
    first = srl.RTRL(route=None if tau else "transitions")
    for learner, every in ((first, 2), (srl.RTRL(dense=True), 2), (srl.RTRL(), None)):
        net = spiral_network()
        history = srl.fit(net, srl.tasks.spiral(0), learner, srl.optimizers.adam(3e-3), steps=4, batch=4, tau=tau,
                          zeros_every=every, progress=False)  # fmt: skip
        found.append(history)
        thetas.append(net.theta)
    names = ("zeros", "zeros_mask", "zeros_columns", "zeros_rows")
    for name in names:
        steps, values = found[0].series(name)
        assert steps.tolist() == [2, 4]
        np.testing.assert_allclose(values, found[1].series(name)[1], rtol=0, atol=1e-12, err_msg=name)
    assert 0.5 < found[0].last("zeros") < 0.99, "neither none nor all"
    np.testing.assert_array_equal(thetas[0], thetas[2], err_msg="looking changes nothing")
    np.testing.assert_array_equal(found[0]["macs"], found[2]["macs"])


def test_an_influence_that_was_not_brought_up_to_date_is_not_shown() -> None:
    net, learner = network(), srl.RTRL()
    for tau in (STEPS, 5):
        state, machine = learner.init(net, LANES), simulator(net)
        start = machine.start(LANES)
        for t in range(0, STEPS, tau):
            tape = machine.run(start, np.ones((min(tau, STEPS - t), LANES, 3)))
            learner.update(state, tape, Signal(0.0, np.ones_like(tape.z), last=t + tau >= STEPS))
        for look in (influence, lambda one: zeros(net, one), srl.plot.influence):
            with pytest.raises(ValueError, match="RTRL did not bring it up to date in its last tape"):
                look(state)


def test_zeros_need_a_learner_that_holds_an_influence() -> None:
    with pytest.raises(ValueError, match="fit: zeros_every is 2; legal: None for BPTT"):
        srl.fit(
            spiral_network(), srl.tasks.spiral(0), srl.BPTT(), srl.optimizers.sgd(0.1), steps=2, zeros_every=2, progress=False
        )


@pytest.mark.parametrize(
    "learner",
    [srl.RTRL(), srl.RTRL(dense=True), srl.SnAp(1), srl.SnAp(2), srl.RandomPaths(3), srl.EProp(), srl.RFLO(), srl.KFRTRL(),
     srl.OK(2), srl.UORO(), srl.BPTT(3)],
    ids=repr,
)  # fmt: skip
def test_states_tell_of_themselves(learner: srl.learners.Learner) -> None:
    net = network()
    state, machine = learner.init(net, LANES), simulator(net)
    tape = machine.run(machine.start(LANES), np.ones((3, LANES, 3)))
    learner.update(state, tape, Signal(0.0, np.ones_like(tape.z)))
    assert isinstance(state, State) and state.batch == LANES and state.bytes_held() > 0 and state.wiring is net.wiring
    cost = srl.cost.cost_of(state)
    assert (cost is None) == (state.counts is None)
    if cost is not None:
        assert cost.lane_steps == state.lane_steps == 3 * LANES and cost.bytes_held == state.bytes_held()
        assert cost.macs == state.counts.sum() > 0
    if hasattr(state, "influence"):
        assert state.influence(1, "message").shape == (16, net.wiring.n_recurrent) and state.influence(1).any()


LEARNERS = [srl.RTRL(), srl.RTRL(dense=True), srl.SnAp(1), srl.SnAp(2), srl.RandomPaths(3), srl.EProp(), srl.RFLO(),
            srl.KFRTRL(), srl.OK(2), srl.UORO(), srl.BPTT(3), srl.BPTT(), srl.Immediate()]  # fmt: skip


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_every_learner_is_explained(learner: srl.learners.Learner) -> None:
    net = network(density=0.5)
    found = srl.explain(net, learner, batch=3, tau=4)
    assert found.plan.macs > 0 and found.nbytes == net.memory(learner, 3).influence
    assert repr(learner) in str(found) and found.plan.route in str(found) and "dense RTRL: " in str(found)
    assert str(srl.explain(state=learner.init(net, 3))).endswith("B")


@pytest.mark.parametrize("tau", [None, 3, 12])
@pytest.mark.parametrize("density", [0.1, 1.0])
def test_what_is_explained_is_what_runs(density: float, tau: int | None) -> None:
    """The route, and the multiply-adds that are counted, where every unit is active."""
    net = srl.Network("float64").add_input("x", 3).add_population("h", srl.models.gru, 24).connect("x", "h")
    net = net.connect("h", "h", density=density, seed=1).add_readout("z", "h", 2).initialize(1)
    told = srl.explain(net, srl.RTRL(), LANES, tau, steps=24)
    x = np.random.default_rng(0).normal(size=(24, LANES, 3))
    table = srl.compare(net, [srl.RTRL()], x, srl.losses.squared_error(np.ones((24, LANES, 2))), tau=tau)
    (routes,), (cost,) = table.routes.values(), table.cost.values()
    assert list(routes) == [told.plan.route]
    assert 0.5 < told.plan.macs / (cost.macs / cost.lane_steps) < 2.0
    assert told.macs_dense == cost.macs_dense / cost.lane_steps


def test_explain_is_asked_in_the_wrong_way() -> None:
    net, learner = network(), srl.RTRL()
    for wrong in ({}, {"net": net, "learner": learner, "batch": 0}, {"net": net, "learner": learner, "active": 2}):
        with pytest.raises(ValueError, match="explain: "):
            srl.explain(**wrong)


def test_what_ran_in_the_last_call() -> None:
    online = srl.Online(network(), srl.RTRL(), srl.optimizers.sgd(0.1), srl.losses.squared_error)
    for _ in range(3):
        online.predict_one(np.ones(3))
        online.learn_one(np.ones(2))
    assert sum(online.memory.routes.values()) == 3
    assert f"{online.memory.route} 3 times" in str(srl.explain(state=online.memory))
    history = srl.fit(
        spiral_network(), srl.tasks.spiral(0), srl.RTRL(), srl.optimizers.sgd(0.1), steps=2, batch=2, progress=False
    )
    assert history.routes == {"transitions": 2}


@pytest.mark.parametrize("learner", [srl.RTRL(), srl.SnAp(2), srl.RTRL(route="general rows")], ids=repr)
@pytest.mark.parametrize(("density", "decay"), [(None, 0.0), (0.3, 0.9)])
def test_steps_whose_arrays_come_again(learner: srl.learners.Learner, density: float | None, decay: float) -> None:
    """Tapes that are copied have other arrays each time: to the bit the same, while weights change and a lane begins anew."""
    net = srl.Network("float64").add_input("x", 3).add_population("h", srl.models.egru, 12, theta=0.1)
    net.connect("x", "h").connect("h", "h", density=density, seed=1).add_readout("z", "h", 2, decay=decay).initialize(0)
    machine, rng = simulator(net), np.random.default_rng(0)
    state, again, anew = machine.start(2), learner.init(net, 2), learner.init(net, 2)
    for t in range(20):
        if t == 9:
            state.reset_lanes(np.array([True, False]))
        tape = machine.run(state, rng.normal(size=(1, 2, 3)))
        signal = Signal(0.0, rng.normal(size=tape.z.shape))
        mine, copied = learner.update(again, tape, signal), learner.update(anew, tape.copy(), signal)
        assert np.array_equal(mine, copied)
        assert np.abs(mine).max() > 0
        net.theta[...] -= 0.01 * mine
    assert again.one_step is not None
    assert anew.one_step is None
    assert again.routes == anew.routes
    for name in ("M", "E", "Z", "sent", "o", "q", "counts", "position", "width", "slot", "row_live"):
        assert np.array_equal(getattr(again, name), getattr(anew, name)), name
