"""Weights that are not trained: no columns, no gradient, no step; everything else as if they were trained."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import spikertrl as srl
from spikertrl.learners.engines.choose import override
from tolerances import ALIVE, EXACT64

LEARNERS = (srl.RTRL(), srl.RTRL(dense=True), srl.BPTT(), srl.SnAp(20), srl.UORO(), srl.KFRTRL(), srl.EProp(), srl.Immediate())
EXACT = LEARNERS[:4]


def network(feed: bool, loop: bool, readout: bool) -> srl.Network:
    net = srl.Network("float64").add_input("x", 3).add_population("h", srl.models.alif, 6)
    net.connect("x", "h", trainable=feed).connect("h", "h", density=0.5, seed=1, delay=2, trainable=loop)
    return net.add_readout("z", "h", 2, decay=0.8, trainable=readout).initialize(2)


def problem() -> tuple[np.ndarray, srl.losses.Loss]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(25, 3, 3)) + 0.5, srl.losses.squared_error(rng.normal(size=(25, 3, 2)))


@pytest.mark.parametrize(
    "feed, loop, readout", [(False, True, True), (True, False, True), (True, True, False), (False, True, False)]
)
def test_the_trained_part_is_as_before_and_the_rest_is_zero(feed: bool, loop: bool, readout: bool) -> None:
    x, loss = problem()
    _, full = srl.gradient(network(True, True, True), srl.BPTT(), x, loss)
    net = network(feed, loop, readout)
    kept = np.ones(len(full), bool)
    kept[net.wiring.frozen] = False
    assert 0 < kept.sum() < len(full) and np.abs(full[~kept]).max() > ALIVE
    for learner in LEARNERS:
        _, grad = srl.gradient(net, learner, x, loss, tau=7)
        assert not grad[~kept].any()
        if learner in EXACT:
            np.testing.assert_allclose(grad[kept], full[kept], rtol=EXACT64, atol=EXACT64 * np.abs(full[kept]).max())


def test_fewer_columns_cost_less() -> None:
    """Of the influence; what is carried in its place has columns for states, or messages, not for parameters."""
    x, loss = problem()
    networks = network(True, True, True), network(False, True, True)
    with override("general rows"):
        macs = [srl.compare(n, [srl.RTRL()], x, loss).cost["RTRL(dense=False)"].macs for n in networks]
    assert macs[1] < 0.8 * macs[0]
    with override("transitions"):
        macs = [srl.compare(n, [srl.RTRL()], x, loss).cost["RTRL(dense=False)"].macs for n in networks]
    assert 0.8 * macs[0] < macs[1] < macs[0]


def test_no_optimizer_moves_what_is_frozen() -> None:
    net = network(False, True, True)
    before = net.theta.copy()
    online = srl.Online(net, srl.RTRL(), srl.optimizers.adamw(1e-2, weight_decay=0.5), srl.losses.squared_error)
    for t in range(5):
        online.predict_one(np.ones(3))
        online.learn_one(np.full(2, float(t)))
    moved = net.theta != before
    assert not moved[net.wiring.frozen].any() and moved.any()


def test_one_port_of_several() -> None:
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 4)
    net.connect("x", "h", trainable=("u",)).connect("h", "h").add_readout("z", "h", 1).initialize(0)
    grad = srl.gradient(net, srl.RTRL(), np.ones((9, 1, 2)), srl.losses.squared_error(np.ones((9, 1, 1))))[1]
    view = net.view(grad)["h<-x"]
    assert np.abs(view["u"]).max() > 0 and not view["r"].any() and not view["x"].any()
    with pytest.raises(ValueError, match="trainable"):
        net.connect("x", "h", trainable=("nothing",), name="again")


def test_sparse_masks_weights_and_delays_are_the_dense_ones() -> None:
    rng = np.random.default_rng(3)
    mask, weight, delay = rng.random((6, 6)) < 0.4, rng.normal(size=(6, 6)), rng.integers(1, 9, (6, 6))

    def build(wrap) -> srl.Network:
        net = srl.Network("float64").add_input("x", 3).add_population("h", srl.models.alif, 6).connect("x", "h")
        net.connect(
            "h",
            "h",
            mask=wrap(mask),
            weight={"v": wrap(weight * mask)},
            delay=wrap(delay * mask) if wrap(mask) is not mask else delay,
        )
        return net.initialize(0)

    dense, thin = build(lambda a: a), build(sparse.coo_matrix)
    assert np.array_equal(dense.theta, thin.theta)
    assert np.array_equal(dense.projections[1].delay, thin.projections[1].delay)
    assert np.array_equal(dense.projections[1].indices, thin.projections[1].indices)
