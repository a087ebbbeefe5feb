"""Exact RTRL by products of a tape's Jacobians: the gradient and the influence of the textbook matrix, tape after tape."""

import numba
import numpy as np
import pytest

import spikertrl as srl
from spikertrl.cost import influence
from spikertrl.learners.base import Signal
from spikertrl.learners.engines.choose import Tuning, override
from spikertrl.learners.engines.products.update import lanes_together
from spikertrl.simulation.run import simulator

RTOL, ATOL = 1e-9, 1e-13  # float64: sums in another order
TAPES = (12, 1, 5, 16, 3)


def network(density: float | None, decay: float) -> srl.Network:
    """Two populations, an input that is silent at first, a threshold that is trained, readouts that leak or not."""
    net = srl.Network("float64").add_input("x", 4, kind="event").add_population("h", srl.models.egru, 18, theta=0.2)
    net.add_population("g", srl.models.gru, 3).connect("x", "h", weight=1.5, delay=2).connect("h", "h", density=density, seed=1)
    net.connect("h", "g", seed=2).connect("g", "h", seed=3).connect("g", "g", seed=4)
    return net.add_readout("z", "h", 2, decay=decay).add_readout("v", "g", 1).initialize(1)


def compare(net: srl.Network, lanes: int, products: bool = True, **tuning: object):
    """Yield (gradients, states) of the textbook and of RTRL, whose tapes go by products or never do."""
    rate = 1e9 if products else 0.0
    with override(product_rate=rate, dense_product_rate=rate, **tuning):
        yield from _compare(net, lanes)


def _compare(net: srl.Network, lanes: int, tapes: tuple[int, ...] = TAPES, reset: int = 2):
    rng, machine, learners = np.random.default_rng(0), simulator(net), (srl.RTRL(dense=True), srl.RTRL())
    start, states = machine.start(lanes), [learner.init(net, lanes) for learner in learners]
    for number, tau in enumerate(tapes):
        if number == reset:
            start.reset_lanes(np.arange(lanes) == lanes - 1)
        x = (rng.random((tau, lanes, 4)) < 0.3) * (np.arange(4) < 2 + number) * rng.normal(1, 0.3, size=(tau, lanes, 4))
        tape = machine.run(start, x)
        signal = Signal(0.0, np.zeros_like(tape.z), last=number == len(tapes) - 1)
        signal.dz[[tau // 2, -1]] = rng.normal(size=signal.dz[[tau // 2, -1]].shape)
        yield [learner.update(state, tape, signal) for learner, state in zip(learners, states, strict=True)], states


@pytest.mark.parametrize("lanes", [1, 5])
@pytest.mark.parametrize("decay", [0.0, 0.8])
@pytest.mark.parametrize(
    ("density", "columns"), [(None, 1024), (None, 1), (0.3, 1024)], ids=["dense", "unit by unit", "sparse"]
)
@pytest.mark.parametrize("products", [False, True], ids=["steps", "products"])
def test_equals_the_textbook(products, density, columns, decay, lanes):
    net, states = network(density, decay), []
    for number, ((expected, gradient), found) in enumerate(compare(net, lanes, products, block_columns=columns)):
        scale, states = np.abs(expected).max(), found
        assert scale > 1e-3
        np.testing.assert_allclose(gradient, expected, rtol=RTOL, atol=ATOL * scale, err_msg=f"tape {number}")
        if number < len(TAPES) - 1:
            rows = [influence(state, lanes - 1) for state in states]
            assert np.abs(rows[0]).max() > 1e-2
            np.testing.assert_allclose(rows[1], rows[0], rtol=RTOL, atol=1e-12)
    assert states[1].routes.get("products", 0) == (len(TAPES) if products else 0)
    assert (np.diff(states[1].layout.group).max() == 1) == (columns == 1)


@pytest.mark.parametrize(
    ("route", "room", "decay", "columns"),
    [("events", 1, 0.8, 1), ("events", 1 << 20, 0.8, 1), ("events", 1, 0.0, 1024), ("rows", 0, 0.8, 1),
     ("general rows", 0, 0.8, 1)],
)  # fmt: skip
def test_every_way_to_advance_rows_equals_the_textbook(route, room, decay, columns):
    """By events in segments of one step and of a tape, and step by step; one lane begins anew where others go on."""
    routes = {}
    with override(route, store_bytes=room, block_columns=columns):
        for number, ((expected, gradient), states) in enumerate(compare(network(0.3, decay), 3)):
            np.testing.assert_allclose(gradient, expected, rtol=RTOL, atol=ATOL * np.abs(expected).max())
            for lane in (0, 2) if number < len(TAPES) - 1 else ():
                rows = [influence(state, lane) for state in states]
                np.testing.assert_allclose(rows[1], rows[0], rtol=RTOL, atol=1e-12, err_msg=f"tape {number}, lane {lane}")
            routes = states[1].routes
    assert routes == {route: len(TAPES)}


def test_ways_to_advance_rows_take_turns():
    """What one leaves, the next takes up: also rows that nothing has reached yet, where those of before still lie."""
    found, order = [], ("dense rows", "rows", "dense rows", "events", "dense rows", "events", "rows")
    with override(store_bytes=1, block_columns=1):
        tapes = _compare(network(0.3, 0.8), 3, (12, 1, 1, 1, 2, 4, 3), reset=1)
        for route in order:
            with override(route):
                (expected, gradient), states = next(tapes)
            np.testing.assert_allclose(gradient, expected, rtol=RTOL, atol=ATOL * np.abs(expected).max())
            found.append(states[1].route)
            if len(found) < len(order):
                rows = [influence(state, 2) for state in states]
                np.testing.assert_allclose(rows[1], rows[0], rtol=RTOL, atol=1e-12)
    assert tuple(found) == order


def test_lanes_go_back_a_few_at_a_time():
    routes = {}
    for (expected, gradient), states in compare(network(None, 0.8), 9, jacobian_bytes=4 * 17 * 21 * 24 * 8):  # of four lanes
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(gradient, expected, rtol=RTOL, atol=1e-12)
        routes = states[1].routes
    assert routes == {"products": len(TAPES)}


def test_lanes_whose_products_fit():
    edges = np.array([0, 3, 6, 9])
    for room, expected in ((0, [0, 3, 6, 9]), (30, [0, 3, 6, 9]), (60, [0, 6, 9]), (1000, [0, 9])):
        assert lanes_together(edges, 10, room).tolist() == expected


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one thread")
def test_two_threads_share_lanes_and_blocks():
    routes = {}
    for (expected, gradient), states in compare(network(None, 0.8), 5, shared_work=0.0, block_columns=1):
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(gradient, expected, rtol=RTOL, atol=1e-12)
        routes = states[1].routes
    assert routes == {"products": len(TAPES)}


def test_fewer_operations_where_it_is_chosen():
    net = srl.Network().add_input("x", 4).add_population("h", srl.models.egru, 40).connect("x", "h").connect("h", "h")
    net = net.add_readout("z", "h", 2).initialize(0)
    x = np.random.default_rng(0).normal(size=(64, 2, 4)).astype(np.float32)
    loss, macs = srl.losses.squared_error(np.ones((64, 2, 2), np.float32)), []
    for rate in (0.0, Tuning().dense_product_rate):
        with override(dense_product_rate=rate):
            table = srl.compare(net, [srl.RTRL(), srl.BPTT()], x, loss, tau=16)
        assert table.routes["RTRL(dense=False)"] == {"products" if rate else "dense rows": 4}
        cost = table.cost["RTRL(dense=False)"]
        assert cost is not None
        macs.append(cost.macs)
        assert abs(table.cosine["RTRL(dense=False)"]["all"] - 1) < 1e-5  # float32
    assert macs[1] < 0.5 * macs[0]


def test_a_sequence_that_is_one_tape_is_carried_forward():
    net, x = network(None, 0.0), np.random.default_rng(0).normal(size=(20, 2, 4))
    loss = srl.losses.squared_error(np.ones((20, 2, 1)), readout="v")
    for tau, often in ((20, {"transitions": 1}), (10, {"products": 2})):
        with override(dense_product_rate=1e9):
            table = srl.compare(net, [srl.BPTT(), srl.RTRL()], x, loss, tau=tau)
        expected, gradient = table.gradients.values()
        assert np.abs(expected).max() > 1e-2
        assert table.routes["RTRL(dense=False)"] == often
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match=r"'products' cannot serve here: a sequence that is one tape: .* give tau"):
        srl.gradient(net, srl.RTRL(route="products"), x, loss)
