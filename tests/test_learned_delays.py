"""Delays that learn: gradients against JAX, which interpolates messages by itself, and all doors of a network."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from scipy import sparse

import spikertrl as srl
import spikertrl.experiments as _experiment
from jax_losses import squared_error
from jax_reference import from_network, reference_gradient, to_flat
from networks import worst_block
from spikertrl.learners.base import Length
from spikertrl.network import NetworkError
from tolerances import ALIVE, EXACT64, VALUES64

T, B = 16, 2
X = 2 * np.random.default_rng(0).normal(size=(T, B, 2))
TARGETS = np.random.default_rng(1).normal(size=(T, B, 1))
LOSS, REFERENCE = srl.losses.squared_error(TARGETS), squared_error(TARGETS)


def network(
    model: str = "egru", delay: Any = None, *, learned: bool = True, trainable: bool = True, **keywords: Any
) -> srl.Network:
    """As in the tests of rewiring, with delays from 0 to 3 of the input and from 1 to 4 between units, none of them whole."""
    rng = np.random.default_rng(2)
    late = rng.uniform(0, 3, (6, 2)), 1 + rng.uniform(0, 3, (6, 6))
    net = srl.Network("float64").add_input("x", 2).add_population("h", model, 6, **keywords)
    learn = {"trainable_delay": True, "max_delay": 4} if learned else {}
    net.connect("x", "h", delay=late[0] if learned else 0, trainable=trainable, **learn)
    net.connect("h", "h", delay=(late[1] if learned else 1) if delay is None else delay, density=0.6, seed=3, **learn)
    return net.add_readout("z", "h", 1, decay=0.5).initialize(0)


def delays(net: srl.Network, vector: np.ndarray | None = None) -> np.ndarray:
    """All of them, or their places in a vector like theta."""
    view = net.view(net.theta if vector is None else vector)
    return np.concatenate([view["h<-x"]["delay"].reshape(-1), view["h<-h"]["delay"].data])


def by_taps(net: srl.Network) -> tuple[srl.Network, Any]:
    """The same network of ordinary synapses, written by hand; and its gradient as one of weights and delays."""
    plain = srl.Network("float64").add_input("x", 2).add_population("h", "egru", 6, theta=0.05)
    view, mask = net.view(net.theta), net.view(np.ones_like(net.theta))["h<-h"]["u"].toarray()
    every = {("h<-x", k): ("x", None, k) for k in range(5)} | {("h<-h", k): ("h", mask, k) for k in range(1, 5)}
    for (name, k), (source, which, _) in every.items():
        plain.connect(source, "h", mask=which, delay=k, name=f"{name} {k}")
    plain.add_readout("z", "h", 1, decay=0.5).initialize(0)

    def full(values: Any) -> np.ndarray:
        return values.toarray() if sparse.issparse(values) else np.array(values)

    def write() -> None:
        for name, k in every:
            share = np.maximum(0, 1 - np.abs(full(view[name]["delay"]) - k))
            for port, weights in view[name].items():
                if port != "delay":
                    plain.view(plain.theta)[f"{name} {k}"][port] = share * full(weights)
        for group in ("h", "z"):
            for name, values in view[group].items():
                plain.view(plain.theta)[group][name] = values

    def pulled(gradient: np.ndarray) -> np.ndarray:
        into, of = np.zeros_like(net.theta), plain.view(gradient)
        found = net.view(into)
        for group in ("h", "z"):
            for name, values in of[group].items():
                found[group][name] = values
        for name in ("h<-x", "h<-h"):
            late, slope = full(view[name]["delay"]), 0
            for port in [p for p in view[name] if p != "delay"]:
                g = {k: full(of[f"{name} {k}"][port]) for n, k in every if n == name}
                found[name][port] = sum(np.maximum(0, 1 - np.abs(late - k)) * g[k] for k in g)
                newer = np.minimum(np.floor(late), 3)  # at the longest delay the slope is that to its left
                after, before = (sum(np.where(newer + n == k, g[k], 0) for k in g) for n in (1, 0))
                slope = slope + full(view[name][port]) * (after - before)
            found[name]["delay"] = slope if name == "h<-x" else np.where(mask, slope, 0)
        return into

    write()
    return plain, (write, pulled)


LEARNERS = [srl.BPTT(), srl.RTRL(), srl.RTRL(dense=True), srl.SnAp(6), srl.SnAp(1), srl.SnAp(2), srl.EProp(), srl.RFLO(),
            srl.Immediate(), srl.KFRTRL(), srl.UORO(), srl.OK(4), srl.BPTT(truncate=3)]  # fmt: skip
EXACT = LEARNERS[:4]


@pytest.mark.parametrize(
    ("learners", "stop"), [(EXACT, False), pytest.param([srl.EProp()], True, marks=pytest.mark.slow)], ids=["exact", "e-prop"]
)
def test_gradients_are_those_of_jax(learners: list, stop: bool) -> None:
    """Exact learners; e-prop where nothing passes from unit to unit. All blocks, the delays among them, are alive."""
    net = network(theta=0.05)
    spec, params = from_network(net)
    expected_value, grads = reference_gradient(dataclasses.replace(spec, stop_between_units=stop), params, X, REFERENCE)
    expected = to_flat(net, grads)
    assert (np.abs(delays(net, expected)) > 1e-6 * np.abs(expected).max()).mean() > 0.8
    for learner in learners:
        value, found = srl.gradient(net, learner, X, LOSS)
        assert value == pytest.approx(expected_value, rel=VALUES64)
        gap, block = worst_block(net, found, expected)
        assert gap <= EXACT64, (learner, block, gap)


@pytest.mark.slow
@pytest.mark.parametrize("model", srl.models.names())
def test_gradients_of_every_model_are_those_of_jax(model: str) -> None:
    net = network(model)
    rng = np.random.default_rng(0)
    for group, values in net.view(net.theta).items():
        for port, weights in values.items():
            if "<-" in group and port != "delay":
                into = weights.data if group == "h<-h" else weights
                into[...] = net.populations["h"].cell.scale[port] * rng.normal(size=into.shape)
    spec, params = from_network(net)
    _, grads = reference_gradient(spec, params, X, REFERENCE)
    expected = to_flat(net, grads)
    assert np.linalg.norm(delays(net, expected)) > ALIVE
    for learner in (srl.BPTT(), srl.RTRL(), srl.RTRL(dense=True)):
        gap, block = worst_block(net, srl.gradient(net, learner, X, LOSS)[1], expected)
        assert gap <= EXACT64, (learner, block, gap)


def test_every_learner_learns_taps_as_it_does_synapses() -> None:
    """All learners, approximate and random ones too: ordinary synapses at all whole delays, and the chain rule by hand."""
    net = network(theta=0.05)
    plain, (_, pulled) = by_taps(net)
    for learner in LEARNERS:
        found, expected = (srl.gradient(one, learner, X, LOSS)[1] for one in (net, plain))
        np.testing.assert_allclose(found, pulled(expected), rtol=0, atol=1e-10 * np.abs(found).max(), err_msg=repr(learner))


def test_pieces_are_the_whole_and_lanes_are_alone() -> None:
    net = network(theta=0.05)
    _, whole = srl.gradient(net, srl.RTRL(), X, LOSS)
    _, pieces = srl.gradient(net, srl.RTRL(), X, LOSS, tau=5)
    alone = [srl.gradient(net, srl.RTRL(), X[:, [b]], srl.losses.squared_error(TARGETS[:, [b]]))[1] for b in range(B)]
    for other in (pieces, sum(alone) / B):
        np.testing.assert_allclose(other, whole, rtol=0, atol=1e-11 * np.abs(whole).max())


def test_online_across_whole_delays() -> None:
    """The influence that is carried is that of the taps: it stays what it is where a delay passes a whole number."""
    net = network(theta=0.05)
    plain, (write, pulled) = by_taps(net)
    scale = np.ones_like(net.theta)
    for name in ("h<-x", "h<-h"):
        net.view(scale)[name]["delay"] = 20
    faster = srl.optimizers.scale_groups(srl.optimizers.sgd(0.1), scale)
    one = srl.Online(net, srl.RTRL(), faster, srl.losses.squared_error, batch=B)
    other = srl.Online(plain, srl.RTRL(), srl.optimizers.sgd(1.0), srl.losses.squared_error, batch=B)
    steps, end = [np.floor(delays(net))], np.concatenate(([[0.0, 4.0]] * 12, [[1.0, 4.0]] * (len(delays(net)) - 12)))
    for x, y in zip(X, TARGETS, strict=True):
        write()
        z, expected = one.predict_one(x), other.predict_one(x)
        np.testing.assert_allclose(z, expected, atol=1e-12)
        gradient = one.gradient_one(z - y)
        np.testing.assert_allclose(gradient, pulled(other.gradient_one(z - y)), atol=1e-10 * np.abs(gradient).max())
        one.apply(gradient)
        steps.append(np.floor(delays(net)))
        assert (delays(net) >= end[:, 0]).all() and (delays(net) <= end[:, 1]).all()
    assert (np.diff(steps, axis=0) != 0).any(0).mean() > 0.2, "delays passed whole numbers"


def test_the_ends_of_the_range() -> None:
    """At the longest delay the slope is that to its left; what lies beyond counts as the end, and comes back by a gradient."""
    net, h = network("rhn"), 1e-6
    for place, inward in ((4.0, -h), (1.0, h)):
        net.view(net.theta)["h<-h"]["delay"] = place
        value, gradient = srl.gradient(net, srl.RTRL(), X, LOSS)
        late = net.view(net.theta)["h<-h"]["delay"].data
        slopes = net.view(gradient)["h<-h"]["delay"].data
        late[3] += inward
        assert (srl.gradient(net, srl.BPTT(), X, LOSS)[0] - value) / inward == pytest.approx(slopes[3], rel=1e-4)
        late[3] -= 5 * inward
        assert srl.gradient(net, srl.BPTT(), X, LOSS)[0] == pytest.approx(value, rel=1e-12)


def test_weights_that_are_not_trained_and_constraints() -> None:
    net = network(theta=0.05, trainable=False)
    gradient = net.view(srl.gradient(net, srl.RTRL(), X, LOSS)[1])["h<-x"]
    assert not any(gradient[port].any() for port in "urx") and np.abs(gradient["delay"]).min() > 0
    weights = [net.view(net.theta)["h<-x"][port].copy() for port in "urx"]
    task = srl.tasks.arrays(X, TARGETS)
    srl.fit(net, task, srl.RTRL(), srl.optimizers.adamw(0.7), steps=9, batch=B, progress=False)
    found = net.view(net.theta)["h<-x"]
    np.testing.assert_array_equal(weights, [found[port] for port in "urx"])
    assert found["delay"].min() == 0 < found["delay"].max() <= 4 and len(np.unique(found["delay"])) > 5
    rule = srl.constraints.Constraints(net, {"h<-x": srl.constraints.between(5, 6)})
    theta = net.theta.copy()
    rule(theta)
    np.testing.assert_array_equal(theta, net.theta, "weights are fixed here, delays are not weights")
    rule = srl.constraints.Constraints(net, {"h<-x": {"delay": lambda values, post, pre: np.copyto(values, post + 9.0)}})
    rule(theta)
    np.testing.assert_array_equal(net.view(theta)["h<-x"]["delay"], np.full((6, 2), 4.0))


def test_files_copies_and_checkpoints(tmp_path: Path) -> None:
    net = network(theta=0.05)
    for again in (srl.load(net.save(tmp_path / "net.npz")), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert repr(again) == repr(net) and "delay 1-4 learned" in repr(net)
        np.testing.assert_array_equal(again.theta, net.theta)
        np.testing.assert_array_equal(again.initialize(0).theta, net.theta)
    online = srl.Online(net, srl.RTRL(), srl.optimizers.momentum(0.1), srl.losses.squared_error, batch=B)
    for x, y in zip(X[:6], TARGETS, strict=False):
        online.predict_one(x)
        online.learn_one(y)
    other = srl.load(online.save(tmp_path / "online.npz"))
    for x, y in zip(X[6:], TARGETS, strict=False):
        for one in (online, other):
            one.predict_one(x)
            one.learn_one(y)
        np.testing.assert_array_equal(online.net.theta, other.net.theta)
    task = srl.tasks.arrays(X, TARGETS, seed=1)
    found = []
    for cut in (None, 3):
        mine = network(theta=0.05)
        for steps in (cut, 7) if cut else (7,):
            given = {"batch": B, "progress": False, "checkpoint": tmp_path / f"{cut}.npz"}
            srl.fit(mine, copy.deepcopy(task), srl.RTRL(), srl.optimizers.adam(0.05), steps=steps, **given)
            mine = mine if steps == 7 else network(theta=0.05)
        found.append(mine.theta)
    np.testing.assert_array_equal(*found)


def test_drawn_delays(tmp_path: Path) -> None:
    """A function of the generator and the shape; once it has drawn, its values go into a file."""
    net = network(delay=lambda rng, shape: rng.uniform(1, 4, shape), theta=0.05)
    first = delays(net)[12:].copy()
    assert len(np.unique(first)) == len(first) and (first >= 1).all() and (first <= 4).all()
    np.testing.assert_array_equal(delays(net.initialize(0))[12:], first)
    assert (delays(net.initialize(1))[12:] != first).all()
    with pytest.raises(NetworkError, match="the delay of 'h<-h' is given by a function"):
        net.save(tmp_path / "net.npz")
    again = srl.load(net.save(tmp_path / "net.npz", functions="values"))
    np.testing.assert_array_equal(delays(again.initialize(5)), delays(net))
    with pytest.raises(NetworkError, match=r"a delay is 9 steps; legal: 1 to 4"):
        network(delay=lambda rng, shape: np.full(shape, 9.0), theta=0.05)


def test_rounding() -> None:
    """Afterwards it is the network that has these delays from the start."""
    net = network(theta=0.05)
    weights, late = copy.deepcopy(net.view(net.theta)), net.view(net.theta)
    whole = np.rint(late["h<-x"]["delay"]), np.rint(late["h<-h"]["delay"].toarray())
    online = srl.Online(net, srl.RTRL(), srl.optimizers.sgd(0.1), srl.losses.squared_error, batch=B)
    rounded = network(theta=0.05)
    for name, values in zip(("h<-x", "h<-h"), whole, strict=True):
        rounded.view(rounded.theta)[name]["delay"] = values
    expected = srl.simulate(rounded, X).z
    assert net.round_delays() is net and "learned" not in repr(net)
    with pytest.raises(RuntimeError, match="the network has changed"):
        online.predict_one(X[0])
    plain = srl.Network("float64").add_input("x", 2).add_population("h", "egru", 6, theta=0.05)
    plain.connect("x", "h", delay=whole[0]).connect("h", "h", delay=whole[1], density=0.6, seed=3)
    plain.add_readout("z", "h", 1, decay=0.5)
    for group, values in plain.view(plain.theta).items():
        for name in values:
            values[name] = weights[group][name]
    np.testing.assert_array_equal(net.theta, plain.theta)
    np.testing.assert_array_equal(srl.simulate(net, X).z, srl.simulate(plain, X).z)
    np.testing.assert_allclose(srl.simulate(net, X).z, expected, atol=1e-12)
    assert srl.simulate(net, X).messages["h"].any() and "delay 1-4" in repr(net)
    assert net.round_delays() is net


@pytest.mark.slow
def test_brian_says_the_same_after_rounding() -> None:
    """Spiking neurons learn delays of their input and among themselves; rounded, Brian2 runs the same network."""
    codegen = pytest.importorskip("brian2").prefs.codegen
    rng = np.random.default_rng(0)
    net = srl.Network("float64").add_input("x", 3, kind="event").add_population("h", "cuba_lif", 6)
    net.connect("x", "h", delay=rng.uniform(0, 5, (6, 3)), trainable_delay=True, max_delay=5, weight=0.5)
    net.connect("h", "h", delay=rng.uniform(1, 5, (6, 6)), density=0.5, trainable_delay=True, max_delay=5)
    net.add_readout("z", "h", 1, decay=0.5).initialize(0)
    first, x = net.theta.copy(), (rng.random((60, 4, 3)) < 0.2) * 1.0
    task = srl.tasks.arrays(x, rng.normal(size=(60, 4, 1)))
    srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(0.05), steps=5, batch=4, progress=False)
    moved = np.abs(net.theta - first)
    assert all(net.view(moved)[name]["delay"].max() > 0.1 for name in ("h<-x", "h<-h"))
    net.round_delays()
    assert all(np.ndim(p.delay) and p.delay.dtype.kind == "i" for p in net.projections)
    before, codegen.target = codegen.target, "numpy"
    try:
        ours, theirs = srl.simulate(net, x[:, :1]).events, srl.to_brian(net, x[:, :1]).run().events
    finally:
        codegen.target = before
    assert len(ours) > 30
    np.testing.assert_array_equal(ours.time, theirs.time)
    np.testing.assert_array_equal(ours.unit, theirs.unit)


@pytest.mark.slow
def test_to_jax_interpolates_too() -> None:
    net = network(theta=0.05)
    _, expected = srl.gradient(net, srl.BPTT(), X, LOSS)
    with jax.enable_x64(True):
        f = srl.to_jax(net)
        run = jax.jit(jax.grad(lambda p: REFERENCE(f.scan(p, X)[1].readouts, {})),
                      compiler_options={"xla_backend_optimization_level": 0})  # fmt: skip
        found = f.theta(run(f.params()))
    gap, block = worst_block(net, found, expected)
    assert gap <= EXACT64, block


def test_size_is_told() -> None:
    """K whole delays are K synapses; the network's own parameters are one more a synapse."""
    net, plain = network(theta=0.05), network(theta=0.05, learned=False)
    assert len(net.theta) == len(plain.theta) + 12 + net.projections[1].n_synapses
    parts = [srl.RTRL(), srl.SnAp(1)]
    assert all(net.memory(p).influence > 3 * plain.memory(p).influence for p in parts)
    plans = [srl.RTRL().plan(one, Length(B, None, T, 1.0)) for one in (net, plain)]
    assert plans[0].macs > 3 * plans[1].macs
    assert "0-4 learned" in net.summary() and f"{len(net.theta)} parameters, {len(net.theta)} of them learned" in net.summary()
    found = [srl.cost.zeros(one, srl.RTRL().init(one, B), "h<-h") for one in (net, plain)]
    assert found[0].mask == found[1].mask == pytest.approx(0.4, abs=0.02), "every tap has the mask of the connection"


def test_the_comparison_runs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """All kinds of delays on waves from a formula; without its data Braille is left out."""
    main = _experiment.load("learned_delays")
    assert main(["--quick", "--out", str(tmp_path), "--data", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "learned delays, rounded" in told.out and "braille skipped" in told.err and (tmp_path / "wave.png").exists()
    x, ways = main.__globals__["Wave"](0, jitter=0.0, noise=0.0).batch(64)
    assert (x.sum(0) == 1).all(), "every direction has one spike of every sensor"
    times = x.argmax(0)
    for way in range(8):
        late = times[ways == way] - times[ways == way].min(1, keepdims=True)
        assert (late == late[0]).all() and late[0].argmin() == way and late[0].max() == 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trainable_delay": 1}, "trainable_delay is 1; legal: True or False"),
        ({"max_delay": 4}, "max_delay is of delays that learn; say trainable_delay=True too"),
        ({"trainable_delay": True, "delay": 5, "max_delay": 4}, "a delay is 5 steps; legal: 1 to 4"),
        ({"trainable_delay": True, "delay": 0.5}, "a delay is 0.5 steps; legal: 1 to 2"),
        ({"trainable_delay": True, "delay": np.full((3, 3), np.nan), "max_delay": 4}, "a delay is nan steps"),
        ({"trainable_delay": True, "delay": np.ones((2, 3))}, r"delay has shape \(2, 3\); legal: a number, or one per pair"),
        ({"trainable_delay": True, "max_delay": 1}, "max_delay is 1 steps; legal: one whole number, at least 2"),
        ({"trainable_delay": True, "max_delay": 2.5}, "max_delay must be whole steps"),
        ({"trainable_delay": True, "delay": lambda rng, shape: 1}, "delay is a function; say how long delays may become"),
    ],
)
def test_refused_when_connecting(given: dict, message: str) -> None:
    net = srl.Network().add_population("h", "rnn", 3)
    with pytest.raises(ValueError, match=message):
        net.connect("h", "h", **given)
    assert not net.projections


def test_times_and_the_default_range() -> None:
    net = srl.Network(dt="0.5*ms").add_input("x", 1).add_population("h", "rnn", 3)
    net.connect("x", "h", delay="1.2*ms", trainable_delay=True).connect("h", "h", trainable_delay=True, max_delay="2*ms")
    assert [p.bounds for p in net.projections] == [(0, 6), (1, 4)]
    np.testing.assert_allclose(net.view(net.theta)["h<-x"]["delay"], 2.4, rtol=1e-6)
    np.testing.assert_array_equal(net.view(net.theta)["h<-h"]["delay"], 1)
    with pytest.raises(NetworkError, match="is fixed, since a delay given as a time"):
        net.dt = 1e-3


def test_where_delays_have_to_be_whole() -> None:
    net = network(theta=0.05)
    with pytest.raises(NetworkError, match=r"to_brian: the delays of 'h<-x' are learned .*; call net.round_delays\(\) first"):
        srl.to_brian(net)
    pytest.importorskip("nir")
    with pytest.raises(ValueError, match=r"to_nir: the delays of 'h<-x' are learned .*; call net.round_delays\(\) first"):
        srl.to_nir(net)
    with pytest.raises(ValueError, match=r"certificates: there is none of delays that learn; call net.round_delays\(\) first"):
        srl.compare(net, [srl.RTRL(), srl.SnAp(1)], X, LOSS, certify=4)
    assert srl.compare(net, [srl.RTRL(), srl.BPTT()], X, LOSS).cosine["BPTT(truncate=None, stride=1)"]["h<-h"] > 1 - 1e-12
    rule = srl.rewire.deep_r("h<-h")
    with pytest.raises(NetworkError, match="rewire: the delays of connection 'h<-h' are learned"):
        srl.Online(net, srl.RTRL(), srl.optimizers.sgd(0.1), srl.losses.squared_error, rewire=rule)
