"""Losses: gradients equal finite differences, stretches add up to the whole, and wrong labels are refused at the door."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from spikertrl import losses

T, B = 7, 4
RNG = np.random.default_rng(0)
MASK_T = np.array([0, 1, 0, 0, 1, 1, 0], bool)
MASK_TB = RNG.random((T, B)) < 0.4
STEP, CLOSE = 1e-6, 1e-8  # central differences of smooth functions of order 1, in float64


def central_differences(f, x):
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[i] += STEP
        below[i] -= STEP
        out[i] = (f(above) - f(below)) / (2 * STEP)
    return out


def make(kind, n_out, at):
    last = isinstance(at, str) and at == "last"
    if kind == "squared_error":
        return losses.squared_error(RNG.normal(size=(B, n_out) if last else (T, B, n_out)), at)
    return losses.cross_entropy(RNG.integers(0, max(n_out, 2), (B,) if last else (T, B)), at)


CASES = [
    pytest.param(kind, n_out, at, id=f"{kind}-{n_out}-{name}")
    for kind in ("cross_entropy", "squared_error")
    for n_out in (1, 3)
    for name, at in {"each": "each", "last": "last", "mask_t": MASK_T, "mask_tb": MASK_TB}.items()
]


@pytest.mark.parametrize(("kind", "n_out", "at"), CASES)
def test_gradient_equals_finite_differences(kind, n_out, at):
    z = RNG.normal(size=(T, B, n_out))
    loss = make(kind, n_out, at)
    signal = loss.signal({"z": z}, {}, 0, T)
    expected = central_differences(lambda z: loss.signal({"z": z}, {}, 0, T).value, z)
    assert np.abs(expected).max() > 1e-3, "the reference is dead"
    np.testing.assert_allclose(signal.dz["z"], expected, atol=CLOSE)


@pytest.mark.parametrize(("kind", "n_out", "at"), CASES)
@pytest.mark.parametrize("tau", [1, 3])
def test_stretches_add_up_to_the_whole(kind, n_out, at, tau):
    z, y = RNG.normal(size=(T, B, n_out)), RNG.normal(size=(T, B, 5)) * (RNG.random((T, B, 5)) < 0.3)
    loss = make(kind, n_out, at) * 2 + losses.activity("h", 0.1, 3.0)
    whole = loss.signal({"z": z}, {"h": y}, 0, T)
    cuts = [slice(s, min(s + tau, T)) for s in range(0, T, tau)]
    parts = [loss.signal({"z": z[c]}, {"h": y[c]}, c.start, T) for c in cuts]
    assert whole.value > 0
    assert math.isclose(sum(p.value for p in parts), whole.value, rel_tol=1e-12)
    np.testing.assert_allclose(np.concatenate([p.dz["z"] for p in parts]), whole.dz["z"], rtol=1e-12)
    np.testing.assert_allclose(np.concatenate([p.dy["h"] for p in parts]), whole.dy["h"], rtol=1e-12)


def test_value_is_the_mean_over_counted_entries():
    z, labels = RNG.normal(size=(T, B, 3)), RNG.integers(0, 3, (T, B))
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    nats = -np.log(np.take_along_axis(p, labels[..., None], -1)[..., 0])
    for at, expected in (("each", nats), ("last", nats[-1]), (MASK_T, nats[MASK_T]), (MASK_TB, nats[MASK_TB])):
        value = losses.cross_entropy(labels, at).signal({"z": z}, {}, 0, T).value
        assert math.isclose(value, expected.mean(), rel_tol=1e-12)
        assert math.isclose(losses.bits_per_symbol(z, labels, at), expected.mean() / math.log(2), rel_tol=1e-12)


def test_one_sigmoid_output_equals_two_softmax_outputs():
    z, labels = RNG.normal(size=(T, B, 1)), RNG.integers(0, 2, (T, B))
    two = np.concatenate([np.zeros_like(z), z], axis=2)
    one, other = (losses.cross_entropy(labels).signal({"z": x}, {}, 0, T) for x in (z, two))
    assert math.isclose(one.value, other.value, rel_tol=1e-12)
    np.testing.assert_allclose(one.dz["z"][..., 0], other.dz["z"][..., 1], rtol=1e-9)
    assert losses.accuracy(z, labels) == losses.accuracy(two, labels)


def test_large_readouts_stay_finite_and_float32_is_kept():
    for n_out, z in ((1, [[[1e4], [-1e4]]]), (2, [[[1e4, -1e4], [-1e4, 1e4]]])):
        signal = losses.cross_entropy(np.array([0, 0]), at="last").signal({"z": np.array(z, np.float32)}, {}, 0, 1)
        assert math.isfinite(signal.value) and signal.value > 1e3, n_out
        assert signal.dz["z"].dtype == np.float32 and np.isfinite(signal.dz["z"]).all()
    y = np.ones((2, 3, 4), np.float32)
    assert losses.activity("h", 0.0).signal({}, {"h": y}, 0, 2).dy["h"].dtype == np.float32


def test_labels_of_uncounted_steps_are_never_looked_at():
    z, labels = RNG.normal(size=(T, B, 3)), np.where(MASK_TB, 1, -1)
    loss = losses.cross_entropy(labels, at=MASK_TB)
    assert not loss.signal({"z": z}, {}, 0, T).dz["z"][~MASK_TB].any()
    targets = np.where(MASK_TB[..., None], z, np.nan)
    assert losses.squared_error(targets, at=MASK_TB).signal({"z": z}, {}, 0, T).value == 0
    assert losses.accuracy(z, labels, MASK_TB) == (z.argmax(-1)[MASK_TB] == 1).mean()


@pytest.mark.parametrize("labels", [np.array([[1, 0]]), np.array([1, 0])])
def test_one_step_takes_labels_of_every_sensible_shape(labels):
    z = np.array([[[1.0, 2.0], [3.0, 5.0]]])
    expected = losses.cross_entropy(np.array([[1, 0]])).signal({"z": z}, {}, 0, 1)
    assert losses.cross_entropy(labels).signal({"z": z}, {}, 0, 1).value == expected.value
    for one in (1, np.array(1), np.array([1]), np.array([[1]])):
        assert losses.cross_entropy(one).signal({"z": z[:, :1]}, {}, 0, 1).value == pytest.approx(math.log(1 + math.exp(-1)))
    for y in (2.0, [2.0], [[2.0]], np.float32(2)):
        assert losses.squared_error(y).signal({"z": np.zeros((1, 1, 1))}, {}, 0, 1).value == 2.0
    for y in ([2.0, 0.0], [[2.0, 0.0]]):
        assert losses.squared_error(y).signal({"z": np.zeros((1, 1, 2))}, {}, 0, 1).value == 2.0
    assert losses.squared_error([2.0, 0.0]).signal({"z": np.zeros((1, 2, 1))}, {}, 0, 1).value == 1.0


def test_losses_compose():
    readouts = {"a": RNG.normal(size=(T, B, 2)), "b": RNG.normal(size=(T, B, 1))}
    a, b = losses.cross_entropy(np.ones((T, B), int), readout="a"), losses.squared_error(np.ones((B, 1)), "last", readout="b")
    one, two = (loss.signal(readouts, {}, 0, T) for loss in (a, b))
    both = (a + 0.5 * b + a).signal(readouts, {}, 0, T)
    assert math.isclose(both.value, 2 * one.value + 0.5 * two.value)
    np.testing.assert_allclose(both.dz["a"], 2 * one.dz["a"])
    np.testing.assert_allclose(both.dz["b"], 0.5 * two.dz["b"])
    np.testing.assert_array_equal(one.dz["a"], a.signal(readouts, {}, 0, T).dz["a"])
    for wrong in (lambda: a * b, lambda: a + 1.0, lambda: a + None):
        with pytest.raises(TypeError, match="unsupported operand"):
            wrong()


def test_activity_pulls_towards_its_target():
    y = np.zeros((2, 2, 4))
    y[0, :, :2] = 1.0
    y[1, 0, 0] = -0.5
    signal = losses.activity("h", 0.25, 2.0).signal({}, {"h": y}, 0, 2)
    assert signal.value == pytest.approx(2.0 * ((0.5 - 0.25) ** 2 + (0.125 - 0.25) ** 2) / 2)
    slope = 2 * 2.0 / (2 * 8)
    np.testing.assert_allclose(signal.dy["h"][0], slope * 0.25)
    assert signal.dy["h"][1, 0, 0] == pytest.approx(slope * 0.125), "a negative message must grow in size"
    assert signal.dy["h"][1, 1, 1] == pytest.approx(-slope * 0.125)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.cross_entropy(np.ones(3)), "dtype float64"),
        (lambda: losses.cross_entropy(np.ones((1, 2, 3), int)), r"shape \(1, 2, 3\)"),
        (lambda: losses.cross_entropy(1, at="first"), "'each', 'last'"),
        (lambda: losses.cross_entropy(1, at=np.array([1, 0])), "dtype int"),
        (lambda: losses.cross_entropy(1, at=np.zeros(3, bool)), "counts no step"),
        (lambda: losses.squared_error("spam"), "real numbers"),
        (lambda: losses.activity("h", 1.5), "0 .. 1"),
        (lambda: losses.activity("h", 0.5, -1.0), "weight"),
        (lambda: losses.activity(3, 0.5), "population is 3; legal: the name of a population"),
    ],
)
def test_wrong_settings_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (losses.cross_entropy(np.ones(B, int)), r"legal for 7 steps and 4 lanes: \(7, 4\); one entry a lane"),
        (losses.cross_entropy(np.full((T, B), 3)), "label 3 .* 0 .. 2"),
        (losses.cross_entropy(np.full(B, -1), at="last"), "label -1"),
        (losses.cross_entropy(np.ones((T, B), int), at=np.ones(T + 1, bool)), r"shape \(8,\)"),
        (losses.cross_entropy(np.ones((T, B), int), readout="y"), r"no readout 'y'; readouts here: \['z'\]"),
        (losses.squared_error(np.full((T, B, 3), np.nan)), "NaN"),
        (losses.squared_error(np.ones((T, B, 2))), r"\(7, 4, 3\)"),
        (losses.squared_error(np.ones((T, B))), r"labels have shape \(7, 4\); legal .*: \(7, 4, 3\); one entry"),
        (losses.activity("g", 0.5), r"populations here: \['h'\]"),
    ],
)
def test_wrong_labels_are_refused_at_the_first_stretch(loss, message):
    with pytest.raises(ValueError, match=message):
        loss.signal({"z": np.zeros((2, B, 3))}, {"h": np.zeros((2, B, 5))}, 0, T)


def test_several_readouts_need_a_name():
    with pytest.raises(ValueError, match=r"2 readouts, \['a', 'b'\]"):
        losses.cross_entropy(0).signal({"b": np.zeros((1, 1, 2)), "a": np.zeros((1, 1, 2))}, {}, 0, 1)


def test_factors_and_sums_reach_the_messages_too():
    """Two penalties on one population, one of them scaled twice: values and slopes add up, and nothing given is changed."""
    y, z = np.ones((T, B, 5)), RNG.normal(size=(T, B, 2))
    one, two = losses.activity("h", 0.25), losses.activity("h", 0.5, 4.0)
    first, second = (loss.signal({}, {"h": y}, 0, T) for loss in (one, two))
    both = (3.0 * (2.0 * one) + two + losses.squared_error(np.zeros((T, B, 2)))).signal({"z": z}, {"h": y}, 0, T)
    assert first.value == pytest.approx(0.75**2) and second.value == pytest.approx(4 * 0.25)
    assert first.dy["h"] == pytest.approx(2 * 0.75 / (T * B * 5)) and second.dy["h"] == pytest.approx(8 * 0.5 / (T * B * 5))
    np.testing.assert_allclose(both.dy["h"], 6 * first.dy["h"] + second.dy["h"], rtol=1e-12)
    np.testing.assert_allclose(both.dz["z"], z / (T * B), rtol=1e-12)
    assert both.value == pytest.approx(6 * first.value + second.value + 0.5 * (z**2).sum() / (T * B))


def test_one_output_is_guessed_by_its_sign():
    """The smallest numbers above and below zero, and zero itself, which is no event: class 0."""
    z = np.array([5e-324, 0.05, 1.0, 0.0, -5e-324, -1.0]).reshape(-1, 1, 1)
    assert losses.accuracy(z, np.array([1, 1, 1, 0, 0, 0])[:, None]) == 1.0
    assert losses.accuracy(z, np.array([0, 1, 1, 1, 0, 0])[:, None]) == pytest.approx(4 / 6)


def test_scores_look_at_counted_entries_alone():
    z = np.array([[[3.0, 0.0]], [[0.0, 3.0]], [[3.0, 0.0]]])
    labels, late = np.array([[1], [1], [0]]), np.array([False, True, True])
    assert losses.accuracy(z, labels) == pytest.approx(2 / 3) and losses.accuracy(z, labels, late) == 1.0
    assert losses.accuracy(z, labels[-1], "last") == 1.0
    with pytest.raises(ValueError, match=r"labels have dtype float64; legal: integers"):
        losses.accuracy(z, labels.astype(float))
    right, wrong = np.log2(1 + np.exp(-3.0)), np.log2(1 + np.exp(3.0))
    assert losses.bits_per_symbol(z, labels) == pytest.approx((2 * right + wrong) / 3)
    assert losses.bits_per_symbol(z, labels, late) == pytest.approx(right)


def test_softmax_of_large_numbers():
    z = np.array([[1000.0, 1000.0 + math.log(3.0)], [-1000.0, 0.0]])
    np.testing.assert_allclose(losses.softmax(z), [[0.25, 0.75], [0.0, 1.0]], rtol=1e-12)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_activity_counts_events_and_not_their_size(sign):
    y = np.array([[[2.0, 0.0, 0.0, 0.0]]]) * sign
    signal = losses.activity("h", 0.75).signal({}, {"h": y}, 0, 4)
    assert signal.value == pytest.approx(0.25 / 4), "half the units short, one step of four"
    assert signal.dy["h"].ravel().tolist() == pytest.approx([sign * -0.0625, *[-0.0625] * 3])


def test_whole_numbers_are_targets_in_the_type_of_the_readout():
    z = np.full((1, 1, 2), 0.5, np.float32)
    signal = losses.squared_error(np.array([[[1, -1]]])).signal({"z": z}, {}, 0, 1)
    assert signal.value == 0.5 * (0.25 + 2.25) and signal.dz["z"].dtype == np.float32
    np.testing.assert_array_equal(signal.dz["z"], [[[-0.5, 1.5]]])


def test_losses_are_themselves_and_stay_so():
    """Two of the same labels are two losses; settings are not changed, nor is what they say."""
    kinds = [lambda: losses.squared_error(np.ones((T, B, 3))), lambda: losses.activity("h", 0.5), lambda: 2 * kinds[0](),
             lambda: kinds[0]() + kinds[1](), lambda: kinds[0]().signal({"z": np.zeros((T, B, 3))}, {}, 0, T)]  # fmt: skip
    for make in kinds:
        one, other = make(), make()
        assert len({one, other, one}) == 2 and one == one and one != other
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, dataclasses.fields(one)[0].name, None)
    one = kinds[0]()
    assert 2 * one != 2 * one and one + one != one + one, "also of the same loss"
