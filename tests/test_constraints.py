"""Constraints: what they leave of an update, where they apply, and that a checkpoint knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikertrl as srl
from spikertrl.constraints import Constraints
from spikertrl.training.checkpoint import CheckpointError
from spikertrl.training.gradients import descend

SIGNS = np.array([1, -1, 1, 0, -1, 1])
RULES = {
    "h<-h": srl.constraints.dale(SIGNS),
    "h<-x": srl.constraints.non_negative,
    "h": {"theta": srl.constraints.between(0.04, 0.06)},
}


def network(density: float | None = None, trainable: Any = True, inputs: int = 1) -> srl.Network:
    """x -> h -> z and h -> h, of the sizes of other tests."""
    net = srl.Network("float64").add_input("x", inputs).add_population("h", srl.models.egru, 6, theta=0.05)
    net.connect("x", "h").connect("h", "h", density=density, seed=1, trainable=trainable)
    return net.add_readout("z", "h", 1, decay=0.5).initialize(0)


def test_biases_and_parameters_are_named() -> None:
    """A population and a readout hold values of units; a connection's ports are all alike."""
    for name, one in (("h", "bias_|theta"), ("z", "bias")):
        with pytest.raises(ValueError, match=rf"constraints: '{name}' holds .*; say which: {{'{name}': {{'({one}).*': \.\.\."):
            Constraints(network(), {name: srl.constraints.non_negative})
    assert len(Constraints(network(), {"h<-h": srl.constraints.non_negative}).parts) == 3


@pytest.mark.parametrize("density", [None, 0.5])
def test_an_update_is_projected(density: float | None) -> None:
    """Against matrices: weights of a wrong sign become 0, the others are those of the update."""
    net, free = network(density), network(density)
    gradient = np.random.default_rng(1).normal(size=net.theta.shape)
    keep, optimizer = Constraints(net, RULES), srl.optimizers.sgd(0.5)
    descend(net, optimizer, optimizer.init(net.theta), gradient, keep)
    descend(free, optimizer, optimizer.init(free.theta), gradient)
    found, before = net.view(net.theta), free.view(free.theta)

    def dense(matrix: Any) -> np.ndarray:
        return matrix.toarray() if density else matrix

    for port in "urh":
        old = dense(before["h<-h"][port])
        expected = np.where(old * np.array([1, -1, 1, 0, -1, 1])[None, :] < 0, 0, old)
        np.testing.assert_array_equal(dense(found["h<-h"][port]), expected)
        assert (expected != old).any() and (expected[:, 3] == old[:, 3]).all()
    np.testing.assert_array_equal(found["h<-x"]["u"], np.maximum(before["h<-x"]["u"], 0))
    np.testing.assert_array_equal(found["h"]["theta"], np.clip(before["h"]["theta"], 0.04, 0.06))
    np.testing.assert_array_equal(found["z"]["weight"], before["z"]["weight"])


def test_what_is_not_trainable_stays_and_a_rule_of_ones_own_sees_both_ends() -> None:
    net, seen = network(trainable=("u",)), []

    def rule(values: np.ndarray, post: np.ndarray, pre: np.ndarray | None) -> None:
        seen.append((post.tolist(), None if pre is None else pre.tolist()))
        values[:] = 7.0

    before = net.theta.copy()
    Constraints(net, {"h<-h": rule, "z": {"bias": rule}})(net.theta)
    view, old = net.view(net.theta), net.view(before)
    assert (view["h<-h"]["u"] == 7).all() and (view["z"]["bias"] == 7).all()
    np.testing.assert_array_equal(view["h<-h"]["r"], old["h<-h"]["r"])
    assert seen[0] == (np.repeat(np.arange(6), 6).tolist(), np.tile(np.arange(6), 6).tolist()) and seen[-1] == ([0], None)


def test_the_first_step_of_training_is_of_parameters_that_keep_to_them() -> None:
    """As if they had been brought there by hand; without them it has another loss."""
    found = []
    for by_hand, rules in ((True, None), (False, RULES), (False, None)):
        net = network(0.5)
        net.theta += np.random.default_rng(0).normal(size=len(net.theta))
        if by_hand:
            Constraints(net, RULES)(net.theta)
        history = srl.fit(net, srl.tasks.sunspots(tau=8), srl.SnAp(2), srl.optimizers.adam(1e-2), steps=1, batch=2, tau=8,
                          constraints=rules, progress=False)  # fmt: skip
        found.append(history["loss"][0])
    by_hand, by_rules, without = found
    assert by_rules == by_hand != without


def test_training_keeps_to_them_and_a_checkpoint_knows_them(tmp_path: Path) -> None:
    """Also where they come in: the first prediction is of a network that keeps to them."""

    def run(net: srl.Network, steps: int, rules: Any = RULES, **more: Any) -> srl.Network:
        task, optimizer = srl.tasks.sunspots(tau=8), srl.optimizers.adam(1e-2)
        seen = []

        def look(net: srl.Network, _: Any) -> None:
            seen.append(bool((net.view(net.theta)["h<-h"]["u"].toarray() * SIGNS >= 0).all()))

        srl.fit(net, task, srl.SnAp(2), optimizer, steps=steps, batch=2, tau=4, constraints=rules, callbacks=[look],
                progress=False, **more)  # fmt: skip
        assert all(seen) or rules != RULES
        return net

    path = tmp_path / "c.npz"
    run(network(0.5), 2, checkpoint=path)
    other = RULES | {"h<-x": srl.constraints.between(0, 1)}
    with pytest.raises(CheckpointError, match=r'constraints, h<-x: .*resume="anyway"'):
        run(network(0.5), 4, other, checkpoint=path)
    resumed = run(network(0.5), 4, checkpoint=path)
    np.testing.assert_array_equal(resumed.theta, run(network(0.5), 4).theta)
    assert np.abs(resumed.theta - run(network(0.5), 4, None).theta).max() > 1e-3, "they must make a difference"


def test_a_stream_keeps_to_them_and_takes_them_along(tmp_path: Path) -> None:
    online = srl.Online(network(inputs=2), srl.SnAp(1), srl.optimizers.sgd(0.5), srl.losses.squared_error, constraints=RULES)
    again = None
    for t in range(6):
        for one in filter(None, (online, again)):
            one.predict_one([np.sin(t), 1.0])
            one.learn_one([1.0 - t])
            assert (one.net.view(one.net.theta)["h<-h"]["h"] * SIGNS >= 0).all()
        if t == 2:
            again = srl.load(online.save(tmp_path / "online.npz"))
    assert again is not None and repr(again.constraints) == repr(RULES)
    np.testing.assert_array_equal(again.net.theta, online.net.theta)
