"""Optimizers against plain formulas written independently, wrappers, schedules, and what they refuse."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from spikertrl import optimizers, schedules

GRADS = np.random.default_rng(0).normal(size=(12, 5))
START = np.linspace(-1, 1, 5)
LR = 0.05


def run(optimizer, grads=GRADS, start=START):
    theta = start.copy()
    state = optimizer.init(theta)
    for grad in grads:
        optimizer.update(state, theta, grad)
    return theta


def plain_momentum(beta, nesterov):
    moves = np.zeros(5)
    for t in range(len(GRADS)):
        velocity = sum(beta ** (t - k) * GRADS[k] for k in range(t + 1))
        moves += beta * velocity + GRADS[t] if nesterov else velocity
    return START - LR * moves


def plain_adam(b1=0.9, b2=0.999, eps=1e-8, decay=0.0):
    theta = START.copy()
    for t in range(1, len(GRADS) + 1):
        past = np.arange(t - 1, -1, -1)[:, None]
        mean = (b1**past * GRADS[:t]).sum(0) / (b1**past).sum(0)
        square = (b2**past * GRADS[:t] ** 2).sum(0) / (b2**past).sum(0)
        theta = theta - LR * decay * theta - LR * mean / (np.sqrt(square) + eps)
    return theta


def plain_rmsprop(decay=0.99, eps=1e-8):
    theta = START.copy()
    for t in range(1, len(GRADS) + 1):
        square = sum((1 - decay) * decay ** (t - 1 - k) * GRADS[k] ** 2 for k in range(t))
        theta = theta - LR * GRADS[t - 1] / (np.sqrt(square) + eps)
    return theta


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (optimizers.sgd(LR), START - LR * GRADS.sum(0)),
        (optimizers.momentum(LR, 0.7), plain_momentum(0.7, False)),
        (optimizers.momentum(LR, 0.7, nesterov=True), plain_momentum(0.7, True)),
        (optimizers.adam(LR), plain_adam()),
        (optimizers.adam(LR, 0.5, 0.8, 1e-2), plain_adam(0.5, 0.8, 1e-2)),
        (optimizers.adamw(LR, 0.3), plain_adam(decay=0.3)),
        (optimizers.rmsprop(LR), plain_rmsprop()),
        (optimizers.rmsprop(LR, 0.5, 1e-2), plain_rmsprop(0.5, 1e-2)),
    ],
)
def test_equals_the_plain_formula(optimizer, expected):
    np.testing.assert_allclose(run(optimizer), expected, rtol=1e-12)


ALL = {
    "sgd": optimizers.sgd(0.1),
    "momentum": optimizers.momentum(0.02),
    "nesterov": optimizers.momentum(0.02, nesterov=True),
    "adam": optimizers.adam(schedules.exponential(0.1, 0.5, 100)),
    "adamw": optimizers.adamw(schedules.exponential(0.1, 0.5, 100), weight_decay=1e-6),
    "rmsprop": optimizers.rmsprop(schedules.exponential(0.1, 0.5, 50)),
    "clip_norm": optimizers.clip_norm(optimizers.sgd(0.1), 1.0),
    "clip_value": optimizers.clip_value(optimizers.sgd(0.1), 1.0),
    "scale_groups": optimizers.scale_groups(optimizers.sgd(0.1), np.array([1.0, 2.0])),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_converges_on_a_quadratic_in_place_and_keeps_the_float_type(name, dtype):
    optimizer, theta, curvature = ALL[name], np.array([4.0, -3.0], dtype), np.array([1.0, 3.0], dtype)
    memory, state = theta, optimizer.init(theta)
    for _ in range(1200):
        grad = curvature * (theta - 1)
        before = grad.copy()
        optimizer.update(state, theta, grad)
        np.testing.assert_array_equal(grad, before)
    assert theta is memory and theta.dtype == dtype
    assert all(value.dtype == dtype for value in state.values() if isinstance(value, np.ndarray))
    np.testing.assert_allclose(theta, 1.0, atol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_state_saved_and_loaded_resumes_bit_by_bit(name):
    optimizer, grads = ALL[name], GRADS[:, :2]
    expected = run(optimizer, grads, START[:2])
    theta = START[:2].copy()
    state = optimizer.init(theta)
    for grad in grads[:5]:
        optimizer.update(state, theta, grad)
    text = json.dumps({key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in state.items()})
    state = {key: np.array(value) if isinstance(value, list) else value for key, value in json.loads(text).items()}
    for grad in grads[5:]:
        optimizer.update(state, theta, grad)
    np.testing.assert_array_equal(theta, expected)


def test_clip_norm_keeps_the_direction_and_short_gradients():
    clipped = optimizers.clip_norm(optimizers.sgd(1.0), 2.0)
    move = run(clipped, [np.full(5, 10.0)], np.zeros(5))
    np.testing.assert_allclose(move, -2.0 / math.sqrt(5))
    np.testing.assert_array_equal(run(clipped, [np.full(5, 0.5)], np.zeros(5)), np.full(5, -0.5))
    huge = np.full(5, 1e30, np.float32)
    np.testing.assert_allclose(run(clipped, [huge], np.zeros(5, np.float32)), -2.0 / math.sqrt(5), rtol=1e-6)


def test_wrappers_nest():
    one = optimizers.clip_value(optimizers.clip_norm(optimizers.adam(LR), 1.0), 0.5)
    cut = [g * min(1.0, 1.0 / np.linalg.norm(g)) for g in GRADS.clip(-0.5, 0.5)]
    np.testing.assert_allclose(run(one), run(optimizers.adam(LR), cut), rtol=1e-12)


def test_scale_groups_multiplies_steps():
    scale = np.array([0.0, 0.5, 1.0, 2.0, 1.0])
    inner = optimizers.adamw(LR, 0.1)
    theta = START.copy()
    optimizers.scale_groups(inner, scale).update(inner.init(theta), theta, GRADS[0])
    np.testing.assert_allclose(theta - START, scale * (run(inner, GRADS[:1]) - START), atol=1e-15)
    np.testing.assert_array_equal(run(optimizers.scale_groups(inner, np.ones(5))), run(inner))
    assert run(optimizers.scale_groups(inner, scale))[0] == START[0]


def test_a_learning_rate_may_be_any_callable_of_the_step():
    seen = []

    def lr(step):
        seen.append(step)
        return 0.1 / (step + 1)

    theta = run(optimizers.sgd(lr), GRADS[:3])
    assert seen == [0, 1, 2]
    np.testing.assert_allclose(theta, START - 0.1 * (GRADS[0] + GRADS[1] / 2 + GRADS[2] / 3))


@pytest.mark.parametrize("wrap", [lambda o: o, lambda o: optimizers.clip_norm(o, 1.0), lambda o: optimizers.clip_value(o, 1.0)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_raises_and_changes_nothing(wrap, bad):
    optimizer, theta = wrap(optimizers.adam(LR)), START.copy()
    state = optimizer.init(theta)
    with pytest.raises(FloatingPointError, match=r"1 of 5 entries .* index 3"):
        optimizer.update(state, theta, np.where(np.arange(5) == 3, bad, 1.0))
    np.testing.assert_array_equal(theta, START)
    assert state["step"] == 0 and not state["mean"].any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimizers.sgd(0.0), "lr is 0.0"),
        (lambda: optimizers.sgd(math.nan), "lr is nan"),
        (lambda: optimizers.momentum(0.1, 1.0), "beta is 1.0"),
        (lambda: optimizers.adam(0.1, b2=-0.1), "b2 is -0.1"),
        (lambda: optimizers.adamw(0.1, -1.0), "weight_decay is -1.0"),
        (lambda: optimizers.rmsprop(0.1, eps=0.0), "eps is 0.0"),
        (lambda: optimizers.clip_norm(optimizers.sgd(0.1), 0.0), "limit is 0.0"),
        (lambda: optimizers.scale_groups(optimizers.sgd(0.1), [-1.0]), "negative"),
        (lambda: run(optimizers.sgd(0.1), [np.ones(4)]), r"\(4,\) and theta \(5,\)"),
        (lambda: run(optimizers.scale_groups(optimizers.sgd(0.1), np.ones(4))), r"scale has shape \(4,\)"),
        (lambda: schedules.constant(0), "lr is 0"),
        (lambda: schedules.warmup_cosine(1.0, 5, 5), "warmup is 5; legal: a whole number 0 .. 4"),
        (lambda: schedules.warmup_cosine(1.0, 0, 5, floor=2.0), "floor is 2.0"),
        (lambda: schedules.warmup_cosine(-1.0, 1, 5), "peak is -1.0"),
        (lambda: schedules.warmup_cosine(1.0, 1, 2.5), "total is 2.5"),
        (lambda: schedules.warmup_cosine(1.0, -1, 5), "warmup is -1"),
        (lambda: schedules.warmup_cosine(1.0, 1, 5, floor=-0.1), "floor is -0.1"),
        (lambda: schedules.exponential(0.0, 0.5), "lr is 0.0"),
        (lambda: schedules.exponential(1.0, 0.5, every=0), "every is 0"),
        (lambda: schedules.exponential(1.0, 1.5), "rate is 1.5"),
        (lambda: schedules.exponential(1.0, -0.5), "rate is -0.5"),
        (lambda: schedules.step(-1.0, 0.5, 1), "lr is -1.0"),
        (lambda: schedules.step(1.0, 0.0, 1), "factor is 0.0"),
        (lambda: schedules.step(1.0, 0.5, 0), "every is 0"),
    ],
)
def test_wrong_settings_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_optimizers_are_themselves_and_stay_so():
    for name in ALL:
        one, state = ALL[name], ALL[name].init(np.ones(2))
        assert {one: 1}[one] == 1 and state["step"] == 0
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, dataclasses.fields(one)[0].name, None)
    assert optimizers.sgd(0.1) != optimizers.sgd(0.1)


def test_theta_must_be_an_array_of_floats():
    with pytest.raises(TypeError, match="dtype int"):
        optimizers.sgd(0.1).init(np.arange(3))
    with pytest.raises(TypeError, match="list"):
        optimizers.sgd(0.1).init([1.0])


def test_schedules():
    rate = schedules.warmup_cosine(1.0, warmup=4, total=12, floor=0.2)
    values = [rate(t) for t in range(20)]
    assert values[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert (np.diff(values[4:13]) < 0).all()
    assert values[8] == pytest.approx(0.6) and values[12:] == [pytest.approx(0.2)] * 8
    assert schedules.exponential(2.0, 0.5)(3) == 0.25
    assert [schedules.step(1.0, 0.1, 2)(t) for t in (0, 1, 2, 3, 4)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert schedules.constant(0.3)(99) == 0.3


@pytest.mark.parametrize("kind", ["every other", "half precision", "a single number", "shared by threads"])
def test_adam_takes_any_array_of_floats(kind) -> None:
    """Kingma and Ba 2015, algorithm 1, on whole arrays of doubles."""
    rng = np.random.default_rng(0)
    room = {"every other": rng.normal(size=(6, 8))[::2, ::2], "half precision": rng.normal(size=7).astype(np.float16),
            "a single number": np.array(1.5), "shared by threads": rng.normal(size=(1 << 18) + 3)}  # fmt: skip
    theta, optimizer = room[kind], optimizers.adamw(1e-2, weight_decay=0.1)
    expected, mean, square = theta.astype(float), 0.0, 0.0
    state = optimizer.init(theta)
    for step in (1, 2, 3):
        grad = rng.normal(size=theta.shape).astype(theta.dtype)
        optimizer.update(state, theta, grad)
        mean, square = 0.9 * mean + 0.1 * grad.astype(float), 0.999 * square + 0.001 * grad.astype(float) ** 2
        expected = expected * (1 - 1e-3) - 1e-2 * mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    precise = np.finfo(theta.dtype).eps
    np.testing.assert_allclose(theta, expected, rtol=50 * precise, atol=50 * precise)
