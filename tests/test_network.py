"""Networks: named views that share memory, the layout of theta, seeds, and errors at the door that say what to do."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import sparse

import spikertrl as srl
from networks import randomize, stacked
from spikertrl import Network
from spikertrl.models import alif, egru, lif, rnn
from spikertrl.network import NetworkError


def small(**keywords: object) -> Network:
    net = Network("float64").add_input("x", 2).add_population("h", egru, 5, **keywords).connect("x", "h")
    return net.connect("h", "h", density=0.4, seed=1).add_readout("z", "h", 3).initialize(0)


# -- views ---------------------------------------------------------------------------------------------------------------
def test_every_view_shares_memory_in_both_directions() -> None:
    """Small sparse blocks of a large theta too, which scipy would copy if it were asked plainly."""
    net = stacked("egru", "alif")
    for group, named in net.view(net.theta).items():
        for name, values in named.items():
            data = values.data if sparse.issparse(values) else values
            assert data.size == 0 or np.shares_memory(data, net.theta), (group, name)
            data[...] = 7.0
            assert (net.theta[net.wiring.layout[group, name][0]] == 7.0).all()
    net.theta[...] = 1.0
    assert all(
        (v.data if sparse.issparse(v) else v).min() == 1.0 for named in net.view(net.theta).values() for v in named.values()
    )


def test_sparse_connections_get_weights_and_use_them() -> None:
    net = small()
    weights = net.view(net.theta)["h<-h"]["u"]
    assert sparse.isspmatrix_csr(weights) and weights.shape == (5, 5) and weights.nnz == 10 and np.all(weights.data != 0)
    x = np.ones((10, 1, 2))
    before = srl.simulate(net, x).z
    net.view(net.theta)["h<-h"]["h"].data[...] *= 3
    assert not np.allclose(before, srl.simulate(net, x).z)


def test_theta_is_laid_out_as_documented() -> None:
    net = small()
    groups = list(net.wiring.layout)
    assert groups == [
        ("h<-x", "u"),
        ("h<-x", "r"),
        ("h<-x", "x"),
        ("h<-h", "u"),
        ("h<-h", "r"),
        ("h<-h", "h"),
        ("h", "bias_u"),
        ("h", "bias_r"),
        ("h", "bias_x"),
        ("h", "bias_h"),
        ("h", "theta"),
        ("z", "weight"),
        ("z", "bias"),
    ]
    parts = [part for part, _ in net.wiring.layout.values()]
    assert parts[0].start == 0 and parts[-1].stop == len(net.theta)
    assert all(a.stop == b.start for a, b in itertools.pairwise(parts))
    view = net.view(net.theta)
    assert (
        view["h<-x"]["u"].shape == (5, 2) and view["z"]["weight"].shape == (3, 5) and view["h"]["theta"].tolist() == [0.3] * 5
    )
    assert np.array_equal(view["h<-x"]["u"].reshape(-1), net.theta[:10])


def test_theta_stays_the_same_array_until_the_network_changes() -> None:
    net = small()
    theta = net.theta
    net.initialize(1)
    net.theta = np.arange(len(theta), dtype=float)
    assert net.theta is theta and theta[1] == 1
    net.add_readout("w", "h", 1)
    assert net.theta is not theta and len(net.theta) == len(theta) + 6


def test_initialize_is_idempotent_and_seeds_differ() -> None:
    one, two = small(), small()
    assert np.array_equal(one.theta, two.theta)
    assert np.array_equal(one.initialize(0).theta, two.theta)
    assert not np.array_equal(one.initialize(1).theta, two.theta)
    masks = [
        Network().add_population("h", rnn, 6).connect("h", "h", density=0.5, seed=s).projections[0].indices for s in (1, 1, 2)
    ]
    assert np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[0], masks[2])


def test_default_weights_are_glorot_over_actual_fans_times_the_ports_scale() -> None:
    net = (
        Network("float64")
        .add_population("a", lif, 200)
        .add_population("b", lif, 300)
        .connect("a", "b", density=0.1, seed=0)
        .initialize(0)
    )
    weights = net.view(net.theta)["b<-a"]["v"]
    assert weights.nnz == 6000
    assert weights.data.std() == pytest.approx(net.populations["b"].cell.scale["v"] * np.sqrt(2 / (20 + 30)), rel=0.05)


def test_given_weights_and_parameters() -> None:
    net = (
        Network("float64")
        .add_input("x", 2)
        .add_population("h", alif, 3, v_th=lambda rng, n: rng.uniform(1, 2, n), beta=np.array([0.1, 0.2, 0.3]))
    )
    net.connect("x", "h", mask=[[1, 0], [0, 1], [1, 1]], weight=np.array([[1.0, 9], [9, 2], [3, 4]])).initialize(5)
    assert net.view(net.theta)["h<-x"]["v"].toarray().tolist() == [[1, 0], [0, 2], [3, 4]]
    drawn = net.populations["h"].parameters["v_th"]
    assert drawn.shape == (3,) and drawn.min() >= 1 and len(set(drawn)) == 3


def test_trained_parameters_are_used_from_theta() -> None:
    net = randomize(small(trainable=["theta"]), np.random.default_rng(0))
    x = np.ones((12, 1, 2))
    before = srl.simulate(net, x).activity
    net.view(net.theta)["h"]["theta"][...] = 5.0
    assert before > 0 == srl.simulate(net, x).activity


@pytest.mark.parametrize(
    ("act", "value"),
    [
        (lambda v: v["h<-h"]["u"].__setitem__(Ellipsis, 0.1), 0.1),
        (lambda v: v["h<-h"]["u"].__setitem__(slice(None), 0.1), 0.1),
        (lambda v: v["h<-h"].__setitem__("u", 0.1), 0.1),
        (lambda v: setattr(v["h<-h"]["u"], "data", np.full(10, 0.1)), 0.1),
        (lambda v: v["h<-h"].__setitem__("u", abs(v["h<-h"]["u"])), None),
        (lambda v: v["h<-h"]["u"].__setitem__(Ellipsis, abs(v["h<-h"]["u"]).toarray()), None),
        (lambda v: v["h<-h"]["u"].__imul__(-1.0), -1),
    ],
)
def test_what_is_written_into_a_view_of_masked_weights_reaches_theta(act, value) -> None:
    net = small()
    part, _ = net.wiring.layout["h<-h", "u"]
    before = net.theta[part].copy()
    act(net.view(net.theta))
    expected = np.abs(before) if value is None else -before if value == -1 else np.full(10, value)
    np.testing.assert_array_equal(net.theta[part], expected)
    assert np.shares_memory(net.view(net.theta)["h<-h"]["u"].data, net.theta)
    np.testing.assert_array_equal(net.view(net.theta)["h<-h"]["u"].data, expected)


def test_one_synapse_or_row_of_a_view_and_what_has_none() -> None:
    net = small()
    weights, part = net.view(net.theta)["h<-h"]["u"], net.wiring.layout["h<-h", "u"][0]
    full, before = weights.toarray(), weights.toarray()
    i, j = np.argwhere(full != 0)[3]
    weights[i, j] = 7.0
    full[i, j] = 7.0
    weights[i] = 2 * full[i]
    full[i] *= 2
    np.testing.assert_array_equal(weights.toarray(), full)
    np.testing.assert_array_equal(net.theta[part], weights.data)
    gone = np.argwhere(before == 0)[0]
    for act in (
        lambda: weights.__setitem__(tuple(gone), 1.0),
        lambda: weights.__setitem__(Ellipsis, np.ones((5, 5))),
        lambda: weights.eliminate_zeros(),
        lambda: setattr(weights, "data", np.ones(3)),
        lambda: net.view(net.theta)["h<-h"].update(u=1.0),
        lambda: net.view(net.theta).pop("h<-h"),
        lambda: net.view(net.theta).__setitem__("h<-h", weights),
    ):
        with pytest.raises(NetworkError):
            act()
    np.testing.assert_array_equal(weights.toarray(), full)
    free = weights.copy()
    free.data[...] = 0.0
    free.eliminate_zeros()
    assert free.nnz == 0 and weights.nnz == 10
    np.testing.assert_array_equal(weights.toarray(), full)


# -- parameters that nobody chose --------------------------------------------------------------------------------------------
def test_a_network_that_was_never_initialized_is_drawn_with_seed_0_by_what_uses_it() -> None:
    def fresh() -> Network:
        net = Network("float64").add_input("x", 2).add_population("h", egru, 5)
        return net.connect("x", "h", weight=0.9).connect("h", "h").add_readout("z", "h", 1)

    x, expected = np.ones((6, 1, 2)), fresh().initialize(0).theta
    loss, task = srl.losses.squared_error(np.ones((6, 1, 1))), srl.tasks.arrays(x, np.ones((6, 1, 1)))
    still = srl.optimizers.sgd(lambda step: 0.0)
    for use in (
        lambda n: srl.simulate(n, x),
        lambda n: srl.gradient(n, srl.SnAp(1), x, loss),
        lambda n: srl.compare(n, [srl.SnAp(1)], x, loss),
        lambda n: srl.Online(n, srl.SnAp(1), still, srl.losses.squared_error),
        lambda n: srl.fit(n, task, srl.SnAp(1), still, steps=1, batch=1, progress=False),
    ):
        net = fresh()
        use(net)
        np.testing.assert_array_equal(net.theta, expected)
    for write in (lambda n: n.theta.fill(0.0), lambda n: n.view(n.theta)["z"].__setitem__("weight", 1.0)):
        net = fresh()
        write(net)
        before = net.theta.copy()
        np.testing.assert_array_equal(srl.simulate(net, x).z * 0, 0)
        np.testing.assert_array_equal(net.theta, before)


def test_a_network_that_has_learned_keeps_it_when_parts_are_added() -> None:
    net = small()
    net.theta[...] = np.arange(len(net.theta)) + 1.0
    before = {key: net.theta[part].copy() for key, (part, _) in net.wiring.layout.items()}
    net.add_input("more", 3).add_population("k", egru, 4).connect("more", "k").connect("h", "k").add_readout("y", "k", 1)
    srl.simulate(net, np.ones((3, 1, 5)))
    for key, (part, _) in net.wiring.layout.items():
        if key in before:
            np.testing.assert_array_equal(net.theta[part], before[key])
        elif "bias" not in key[1]:
            assert np.any(net.theta[part] != 0), key


def test_dt_is_fixed_once_a_delay_was_given_as_a_time() -> None:
    net = Network("float64").add_population("h", egru, 2)
    net.dt = 5e-4
    net.connect("h", "h", delay="4*ms")
    assert net.projections[0].delay == 8
    with pytest.raises(NetworkError, match=r"dt = 0\.0005 s is fixed"):
        net.dt = 1e-3


# -- errors --------------------------------------------------------------------------------------------------------------
ERRORS = {
    "unknown source": (lambda n: n.connect("y", "h"), r"unknown source 'y'; sources: \['x', 'h'\]"),
    "target is an input": (lambda n: n.connect("h", "x"), r"target 'x' is not a population; populations: \['h'\]"),
    "twice": (lambda n: n.connect("x", "h"), r"connection 'h<-x' exists already; give the second one a name="),
    "port": (
        lambda n: n.connect("x", "h", ports="q", name="more"),
        r"ports \('q',\) not all in \('u', 'r', 'x', 'h'\) of egru",
    ),
    "mask shape": (
        lambda n: n.connect("h", "h", mask=np.ones((2, 3)), name="m"),
        r"mask must have shape \(post, pre\) = \(5, 5\), got \(2, 3\)",
    ),
    "density and mask": (
        lambda n: n.connect("h", "h", mask=np.ones((5, 5)), density=0.5, name="m"),
        "give density or mask, not both",
    ),
    "density": (lambda n: n.connect("h", "h", density=1.5, name="m"), r"density must be in \(0, 1\], got 1.5"),
    "delay 0 inside": (lambda n: n.connect("h", "h", delay=0, name="m"), r"delay must be at least 1 step\(s\), got 0"),
    "delay not whole": (
        lambda n: n.connect("h", "h", delay=1.5, name="m"),
        r"delay must be whole steps of dt = 0.001 s, got 1.5",
    ),
    "delay not a multiple": (lambda n: n.connect("h", "h", delay="1.5*ms", name="m"), r"must be whole steps of dt"),
    "name in use": (lambda n: n.add_input("h", 2), "the name 'h' is in use already"),
    "arrow in a name": (lambda n: n.add_input("a<-b", 2), "name must be text without '<-'"),
    "size": (lambda n: n.add_population("k", egru, 0), "'k': size must be a positive integer, got 0"),
    "kind": (lambda n: n.add_input("k", 2, kind="digital"), "kind must be 'analog' or 'event', got 'digital'"),
    "not a model": (lambda n: n.add_population("k", 3.0, 3), "model must be a Model, got float; see spikertrl.models.names"),
    "parameter": (lambda n: n.add_population("k", egru, 3, thetta=1), r"egru has no parameter 'thetta'; it has \['theta'\]"),
    "initial": (lambda n: n.add_population("k", egru, 3, initial={"d": 1}), r"egru has no state 'd'; it has \['c'\]"),
    "unit": (
        lambda n: n.add_population("k", lif, 3, v_th=1.0),
        r"k.v_th = 1.0 has the wrong unit; give a Brian2 quantity or text",
    ),
    "no unit": (lambda n: n.add_population("k", egru, 3, theta="3*mV"), "has the wrong unit; it has no unit"),
    "shape": (
        lambda n: n.add_population("k", egru, 3, theta=np.ones(4)),
        r"k.theta must be a number or have shape \(3,\), got shape \(4,\)",
    ),
    "trainable": (
        lambda n: n.add_population("k", egru, 3, trainable=["tau"]),
        r"cannot train \['tau'\]: no such parameter; it has \['theta'\]",
    ),
    "readout of an input": (lambda n: n.add_readout("k", "x", 1), r"'x' is not a population; populations: \['h'\]"),
    "decay": (lambda n: n.add_readout("k", "h", 1, decay=1.0), r"decay must be in \[0, 1\), got 1.0"),
    "theta": (lambda n: setattr(n, "theta", np.zeros(3)), r"theta has shape \(\d+,\), got \(3,\)"),
    "view": (lambda n: n.view(np.zeros(3)), r"a vector like theta has shape \(\d+,\), got \(3,\)"),
    "input shape": (
        lambda n: srl.simulate(n, np.ones((4, 3))),
        r"x must have shape \(T, B, 2\) or \(T, 2\) for inputs {'x': 2}, got \(4, 3\)",
    ),
    "input name": (
        lambda n: srl.simulate(n, {"y": np.ones((4, 1, 2))}),
        r"x names the inputs \['y'\], the network has \['x'\]",
    ),
    "nan": (lambda n: srl.simulate(n, np.array([[0.0, 1], [np.nan, 1]])), "x is not finite at step 1, lane 0, channel 0"),
    "no steps": (lambda n: srl.simulate(n, np.ones((0, 1, 2))), "x must have shape"),
    "lanes": (
        lambda n: srl.simulate(n, np.ones((2, 3, 2)), state=srl.simulate(n, np.ones((2, 1, 2))).state),
        "x has 3 lanes, the state that it continues has 1",
    ),
    "record": (lambda n: srl.Record(every=0), "Record: every is 0; legal: a whole number >= 1"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_is_legal(case: str) -> None:
    act, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        act(small())


def test_errors_leave_the_network_as_it_was() -> None:
    net = small()
    text, theta = repr(net), net.theta.copy()
    for act, _ in ERRORS.values():
        with pytest.raises(ValueError):
            act(net)
    assert repr(net) == text and np.array_equal(net.theta, theta)


def test_an_empty_network_and_an_undrawn_parameter() -> None:
    with pytest.raises(ValueError, match="no population"):
        _ = Network().add_input("x", 1).theta
    net = Network().add_input("x", 1).add_population("h", alif, 2, v_th=lambda rng, n: np.ones(n)).connect("x", "h")
    net.theta[...] = 1.0  # chosen, so that nothing is drawn
    with pytest.raises(ValueError, match=r"v_th is drawn at random; call net\.initialize"):
        srl.simulate(net, np.ones((2, 1)))
    with pytest.raises(ValueError, match="needs exactly one readout"):
        _ = srl.simulate(net.initialize(0), np.ones((2, 1))).z
    assert issubclass(NetworkError, ValueError)
