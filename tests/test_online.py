"""Online: what a step without a label, a new beginning and several lanes do, beside runs of their own."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import spikertrl as srl
from spikertrl.optimizers import Optimizer
from tolerances import DIFFERENCES

LEARNERS = [srl.RTRL(), srl.SnAp(1), srl.EProp(), srl.BPTT(truncate=4), srl.RTRL(dense=True)]
TINY = 1e-9  # the same steps in lanes beside other lanes: sums in another order, times what learning makes of it


def network(delay: int = 2) -> srl.Network:
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 6, theta=0.05)
    net.connect("x", "h").connect("h", "h", delay=delay)
    return net.add_readout("z", "h", 1, decay=0.5).initialize(0)


class Still(Optimizer):
    """Moves nothing and counts."""

    def __init__(self) -> None:
        self.seen = 0

    def buffers(self) -> tuple[str, ...]:
        return ()

    def advance(self, state: Any, theta: np.ndarray, grad: np.ndarray) -> None:
        self.seen += 1


def online(net: srl.Network, learner: Any, batch: int = 1, optimizer: Optimizer | None = None) -> srl.Online:
    return srl.Online(net, learner, optimizer or Still(), srl.losses.squared_error, batch=batch)


X = 2 * np.random.default_rng(0).normal(size=(9, 3, 2))


def test_what_was_predicted_before_a_new_beginning_is_not_learned_from_after_it() -> None:
    one = online(network(), srl.RTRL())
    one.predict_one(X[0, 0])
    one.reset()
    before = one.net.theta.copy()
    with pytest.raises(RuntimeError, match="needs a predict_one"):
        one.learn_one([1.0])
    np.testing.assert_array_equal(one.net.theta, before)


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_a_prediction_without_label_before_a_new_beginning_of_another_lane(learner: Any) -> None:
    """Lane 0 goes on, and its unlabelled step moves its influence; lane 1 begins anew: a lane at a time shows what is right."""
    gradients = [[], []]
    both = online(network(), Recording(learner, gradients[0]), 2)
    for t in range(6):
        if t == 4:
            both.reset(np.array([False, True]))
        both.predict_one(X[t, :2])
        if t in (2, 5):
            both.learn_one(np.ones((2, 1)))
    for lane in (0, 1):
        alone = online(network(), Recording(learner, gradients[1]))
        for t in range(6):
            if t == 4 and lane == 1:
                alone.reset()
            alone.predict_one(X[t, lane])
            if t in (2, 5):
                alone.learn_one([1.0])
    expected = (gradients[1][5] + gradients[1][11]) / 2
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(gradients[0][5], expected, rtol=TINY, atol=TINY)


class Recording:
    """A learner that writes down the gradient of every step."""

    def __init__(self, learner: Any, into: list[np.ndarray]) -> None:
        self.learner, self.into, self.claim = learner, into, learner.claim
        self.init = learner.init

    def update(self, state: Any, tape: Any, signal: Any) -> np.ndarray:
        gradient = self.learner.update(state, tape, signal)
        self.into.append(gradient.copy())
        return gradient


@pytest.mark.parametrize("which", [None, np.array([True, False, True])], ids=["all", "some"])
def test_lanes_begin_anew_and_others_go_on(which: np.ndarray | None) -> None:
    """With nothing learned, a lane put back to the start says what it says on a first run, the others what they would have."""
    whole, cut, fresh = (online(network(), srl.SnAp(1), 3) for _ in range(3))
    for t in range(5):
        whole.predict_one(X[t])
        cut.predict_one(X[t])
    cut.reset(which)
    begun = np.ones(3, bool) if which is None else which
    for t in range(5, 9):
        going, found, first = (one.predict_one(X[t]) for one in (whole, cut, fresh))
        assert np.abs(going - first).min() > 1e-6
        np.testing.assert_allclose(found, np.where(begun[:, None], first, going), rtol=TINY)
    assert cut.steps == 9


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_a_new_beginning_forgets_the_influence(learner: Any) -> None:
    """After a reset the same steps give the same gradients as a network that has never done anything."""
    gradients: list[list[np.ndarray]] = [[], []]
    for kept, before in zip(gradients, (0, 4), strict=True):
        one = online(network(), Recording(learner, kept))
        for t in range(before):
            one.predict_one(X[t, 0])
            one.learn_one([0.3])
        one.reset()
        del kept[:]
        for t in range(4, 9):
            one.predict_one(X[t, 0])
            one.learn_one([1.0])
    assert np.abs(gradients[0][-1]).max() > 1e-3
    np.testing.assert_array_equal(gradients[0], gradients[1])


def test_a_step_is_one_update_of_the_optimizer_with_the_gradient_of_that_step() -> None:
    """Learning with a rate: theta moves by minus rate times gradient, exactly once per label, and what is said was before."""
    net, kept = network(), []
    one, before = online(net, Recording(srl.RTRL(), kept), 1, srl.optimizers.sgd(0.05)), net.theta.copy()
    for t in range(4):
        z = one.predict_one(X[t, 0])
        loss = one.learn_one([1.0])
        assert loss == pytest.approx(0.5 * (z[0] - 1.0) ** 2, rel=1e-12)
        before -= 0.05 * kept[-1]
        np.testing.assert_allclose(net.theta, before, rtol=1e-12)
    assert len(kept) == 4 and one.steps == 4


def test_an_answer_does_not_change_later() -> None:
    for lanes in (1, 2):
        one = online(network(), srl.SnAp(1), lanes)
        first = one.predict_one(X[0, :lanes])
        kept = first.copy()
        one.learn_one(np.ones((lanes, 1)))
        second = one.predict_one(X[1, :lanes])
        assert first.shape == second.shape == ((1,) if lanes == 1 else (2, 1)) and not np.array_equal(second, kept)
        np.testing.assert_array_equal(first, kept)


def test_every_label_is_learned_from_once() -> None:
    still = Still()
    one = srl.Online(network(), srl.SnAp(1), still, srl.losses.squared_error)
    for t in range(5):
        one.predict_one(X[t, 0])
        if t % 2:
            one.learn_one([1.0])
            with pytest.raises(RuntimeError, match="once"):
                one.learn_one([1.0])
    assert still.seen == 2


@pytest.mark.parametrize("lanes", [1, 3])
def test_metrics_see_what_was_predicted_and_its_label(lanes: int) -> None:
    seen = []
    metrics = {"gap": lambda z, y: seen.append((z, y)) or np.abs(z - y).max()}
    one = srl.Online(network(), srl.SnAp(1), Still(), srl.losses.squared_error, batch=lanes, metrics=metrics)
    for t in range(2):
        z, y = one.predict_one(X[t, :lanes]), np.full((lanes, 1) if lanes > 1 else 1, float(t))
        loss = one.learn_one(y)
        np.testing.assert_array_equal(seen[t][0], z)
        assert seen[t][1] is y and one.history.rows[t] == {"step": t + 1, "loss": loss, "gap": np.abs(z - y).max()}


# -- what comes in -------------------------------------------------------------------------------------------------------
def two_outputs(batch: int, loss: Any = srl.losses.squared_error) -> srl.Online:
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 6, theta=0.05).connect("x", "h")
    net.connect("h", "h", delay=2).add_readout("z", "h", 2).add_readout("w", "h", 1).initialize(0)
    return srl.Online(net, srl.SnAp(1), Still(), loss, batch=batch)


def one_of_two(y: np.ndarray) -> Any:
    return srl.losses.squared_error(y, readout="z")


@pytest.mark.parametrize(
    "y", [[1, 0], np.array([1, 0]), (1.0, 0.0), [True, False], [[1, 0]], np.array([1, 0], np.uint8)], ids=repr
)
def test_targets_of_one_of_two_readouts_in_any_form(y: Any) -> None:
    stream = two_outputs(1, one_of_two)
    z = stream.predict_one(X[0, 0])
    assert stream.learn_one(y) == pytest.approx(0.5 * ((z[:2] - [1, 0]) ** 2).sum(), rel=1e-12)


def test_labels_of_lanes() -> None:
    classes = two_outputs(3, lambda y: srl.losses.cross_entropy(y, readout="z"))
    targets = two_outputs(3, one_of_two)
    for y in ([0, 1, 1], np.array([[0], [1], [1]]), [False, True, True]):
        z = classes.predict_one(X[0])[:, :2]
        expected = np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(3), [0, 1, 1]])
        assert classes.learn_one(y) == pytest.approx(expected, rel=1e-12)
        classes.reset()
    z = targets.predict_one(X[0])[:, :2]
    assert targets.learn_one(np.eye(3, 2)) == pytest.approx(0.5 * ((z - np.eye(3, 2)) ** 2).sum() / 3, rel=1e-12)


def test_one_channel_needs_no_axis() -> None:
    net = srl.Network("float64").add_input("x", 1).add_population("h", srl.models.egru, 6).connect("x", "h").initialize(0)
    for batch, forms in ((1, (0.5, [0.5], [[0.5]])), (3, ([0.5] * 3, [[0.5]] * 3))):
        for x in forms:
            assert online(net, srl.SnAp(1), batch).predict_one(x).size == 0


@pytest.mark.parametrize(
    "x", [np.ones((2, 3)), np.ones(6), np.ones(2), np.ones((3, 2, 1)), 1.0, "ab", None, [[1j, 0]] * 3, [[1], [2, 3]]],
    ids=str,
)  # fmt: skip
def test_an_input_of_another_shape_or_kind_is_refused(x: Any) -> None:
    stream = two_outputs(3)
    with pytest.raises(ValueError, match=r"x_t (must have 2 values .* legal: \(3, 2\)|is .* real numbers)"):
        stream.predict_one(x)
    assert stream.steps == 0
    with pytest.raises(ValueError, match="x_t is not finite at step 0"):
        stream.predict_one(np.full((3, 2), np.nan))


@pytest.mark.parametrize("y", [np.ones((2, 3)), np.ones(2), np.ones((1, 3, 2)), 1, "ab", None, []], ids=str)
def test_a_label_of_another_shape_is_refused_and_may_be_given_again(y: Any) -> None:
    stream = two_outputs(3, one_of_two)
    stream.predict_one(X[0])
    with pytest.raises(ValueError, match=r"Online: y_t has shape .*; legal: \(3,\) or \(3, outputs\)"):
        stream.learn_one(y)
    assert stream.learn_one(np.ones((3, 2))) > 0


@pytest.mark.parametrize("lanes", [[0], [1, 0, 1], np.ones(2, bool), True, "all"], ids=str)
def test_lanes_to_put_back_are_truth_values(lanes: Any) -> None:
    with pytest.raises(ValueError, match=r"lanes must be bool of shape \(3,\)"):
        two_outputs(3).reset(lanes)


def test_several_readouts_each_with_its_loss() -> None:
    """The gradient of a step is that of the losses' sum; a readout without a label is left out."""

    def two() -> srl.Network:
        return network().add_readout("c", "h", 3).initialize(0)

    rules, seen = {"z": srl.losses.squared_error, "c": srl.losses.cross_entropy}, []
    one = srl.Online(two(), Recording(srl.SnAp(1), seen), Still(), rules)
    z = one.predict_one(X[0, 0])
    found = one.learn_one({"c": 2, "z": [1.5]})
    loss = srl.losses.squared_error([1.5], readout="z") + srl.losses.cross_entropy(2, readout="c")
    value, expected = srl.gradient(two(), srl.SnAp(1), X[:1, :1], loss)
    assert z.shape == (4,) and found == pytest.approx(value, rel=1e-12) and np.abs(expected).max() > 0.01
    np.testing.assert_allclose(seen[-1], expected, rtol=1e-12, atol=1e-15)
    one.predict_one(X[1, 0])
    one.learn_one({"z": [0.5]})
    assert not one.net.view(seen[-1])["c"]["weight"].any() and one.net.view(seen[-1])["z"]["weight"].any()


# -- gradients of any direction, and labels that come late -----------------------------------------------------------------
def textbook(net: srl.Network, x: np.ndarray, dz: np.ndarray) -> np.ndarray:
    """dz . dz_T/dtheta by finite differences of the whole run."""
    theta, found = net.theta.copy(), np.zeros(net.theta.size)

    def said(step: float, k: int) -> float:
        net.theta[...] = theta
        net.theta[k] += step
        return float((srl.simulate(net, x).z[-1] * dz).sum())

    for k in range(theta.size):
        ends = [said(step, k) for step in (-2e-4, -1e-4, 1e-4, 2e-4)]
        found[k] = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / 12e-4
    net.theta[...] = theta
    return found


def test_the_gradient_of_a_direction_is_that_of_the_textbook() -> None:
    """A smooth network: finite differences of the run from its start, several directions at once, a leaky readout."""
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.rnn, 3).connect("x", "h")
    net.connect("h", "h", delay=2).add_readout("z", "h", 2, decay=0.5).initialize(1)
    one, directions = online(net, srl.RTRL()), np.array([[1.0, 0.0], [0.0, 1.0], [0.3, -2.0]])
    for t in range(6):
        one.predict_one(X[t, 0])
        if t == 2:
            one.gradient_one([0.5, 0.5])
    before = net.theta.copy()
    found = one.gradient_one(directions)
    np.testing.assert_array_equal(net.theta, before)
    np.testing.assert_allclose(found[2], 0.3 * found[0] - 2 * found[1], rtol=1e-12, atol=1e-15)
    for row, dz in zip(found, directions, strict=True):
        expected = textbook(net, X[:6, :1], dz)
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(row, expected, rtol=DIFFERENCES, atol=1e-10)


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_a_gradient_that_is_applied_is_what_is_learned(learner: Any) -> None:
    """learn_one = gradient_one of the loss's direction, then apply; and the steps after it learn the same, too."""
    one, two = (online(network(), learner, 1, srl.optimizers.adam(1e-2)) for _ in range(2))
    for t in range(6):
        z, same = one.predict_one(X[t, 0]), two.predict_one(X[t, 0])
        one.learn_one([0.7])
        gradients = two.gradient_one([z - 0.7, z * 0])
        assert not gradients[1].any()
        two.apply(gradients[0])
        np.testing.assert_array_equal(z, same)
    np.testing.assert_array_equal(one.net.theta, two.net.theta)


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_labels_that_come_late(learner: Any, tmp_path: Any) -> None:
    """Labels two steps late give the gradients that they would have given in time, through a file that is read on the way."""
    kept: list[list[np.ndarray]] = [[], []]
    timely, late = online(network(), Recording(learner, kept[0])), None
    for t in range(8):
        timely.predict_one(X[t, 0])
        if t != 3:
            timely.learn_one([t])
    late = srl.Online(network(), Recording(learner, kept[1]), Still(), srl.losses.squared_error, horizon=2)
    for t in range(8):
        late.predict_one(X[t, 0])
        if t == 6:
            own = {"learner": late.learner, "optimizer": late.optimizer}
            late = srl.load(late.save(tmp_path / "late.npz"), **own)
        if t >= 2 and t != 5:
            late.learn_one([t - 2], ago=2)
    late.learn_one([6], ago=1)
    late.learn_one([7])
    assert np.abs(kept[0][-1]).max() > 1e-3
    np.testing.assert_allclose(kept[1], kept[0], rtol=TINY, atol=1e-15)


def test_a_late_label_is_learned_with_the_parameters_of_its_step() -> None:
    """What was updated in between does not change the gradient of a step that waits, and moves from where theta is now."""
    seen: list[np.ndarray] = []
    first = online(network(), Recording(srl.RTRL(), seen))
    for t in range(4):
        first.predict_one(X[t, 0])
        expected = first.gradient_one([1.0])
    late = srl.Online(network(), srl.RTRL(), srl.optimizers.sgd(0.1), srl.losses.squared_error, horizon=1)
    for t in range(4):
        late.predict_one(X[t, 0])
    late.apply(np.ones(late.net.theta.size))
    np.testing.assert_array_equal(late.gradient_one([1.0]), expected)
    moved = late.net.theta.copy()
    late.apply(expected)
    np.testing.assert_allclose(moved - late.net.theta, 0.1 * expected, rtol=1e-9, atol=1e-12)


def test_steps_beyond_the_horizon_and_labels_out_of_order_are_refused() -> None:
    late = srl.Online(network(), srl.SnAp(1), Still(), srl.losses.squared_error, horizon=2)
    for t in range(4):
        late.predict_one(X[t, 0])
    with pytest.raises(ValueError, match=r"ago is 3; legal: a whole number 0 \.\. 2"):
        late.learn_one([1.0], ago=3)
    late.learn_one([1.0], ago=1)
    for ago in (1, 2):
        with pytest.raises(RuntimeError, match="once, in their order"):
            late.learn_one([1.0], ago=ago)
    late.learn_one([1.0])
    with pytest.raises(RuntimeError, match="gradient_one needs a predict_one"):
        late.gradient_one([1.0])
    late.predict_one(X[4, 0])
    for dz in (np.ones(2), np.ones((0, 1)), np.ones((2, 1, 1, 1)), "ab"):
        with pytest.raises(ValueError, match="Online: dz"):
            late.gradient_one(dz)
    with pytest.raises(FloatingPointError, match="is not finite"):
        late.apply(np.full(late.net.theta.size, np.nan))
    with pytest.raises(ValueError, match="flat like net"):
        late.apply(np.ones(3))
    late.reset()
    with pytest.raises(RuntimeError):
        late.learn_one([1.0])


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("more", [{}, {"horizon": 2}, {"rewire": srl.rewire.sparse_evolution("h<-h", every=10)}], ids=str)
def test_a_copy_goes_on_as_the_original_would(again, more) -> None:
    """Made between a prediction and its label; then both go on, each with a network of its own."""
    net = srl.Network("float64").add_input("x", 3).add_population("h", srl.models.egru, 10, theta=0.1).connect("x", "h")
    net = net.connect("h", "h", density=0.4, seed=0).add_readout("z", "h", 2).initialize(0)
    online = srl.Online(net, srl.RTRL(), srl.optimizers.adam(1e-2), srl.losses.squared_error, **more)
    x, y = np.random.default_rng(0).normal(size=(50, 3)), np.random.default_rng(1).normal(size=(50, 2))
    for t in range(25):
        online.predict_one(x[t])
        online.learn_one(y[t])
    online.predict_one(x[25])
    other, before = again(online), net.theta.copy()
    other.learn_one(y[25])
    assert np.array_equal(net.theta, before)
    assert not np.array_equal(other.net.theta, before)
    online.learn_one(y[25])
    for t in range(26, 50):
        assert np.array_equal(online.predict_one(x[t]), other.predict_one(x[t]))
        assert online.learn_one(y[t]) == other.learn_one(y[t])
    assert other.net is not net
    assert np.array_equal(net.theta, other.net.theta)
