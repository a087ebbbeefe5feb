"""Unbiasedness without chance: every sequence of signs, one a lane, so that the mean over them is the expectation itself.

All lanes get the same input, hence the mean over lanes, which is what a gradient is, is the mean over all signs that could have
been drawn. It must be the exact gradient to rounding; laws that sample (``test_estimators``) let some percent pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikertrl as srl
from networks import randomize, worst_block
from spikertrl.learners import uoro
from spikertrl.learners.engines.kronecker import update as kronecker
from spikertrl.models import load
from tolerances import ALIVE, EXACT64

LIMIT = 1 << 16  # lanes: more are not needed


class Counting:
    """A generator that says zero, and counts what each lane draws."""

    drawn = 0

    def integers(self, low: int, high: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        assert (low, high) == (0, 2)
        self.drawn += int(np.prod(shape[1:]))
        return np.zeros(shape, dtype)


class Every:
    """A generator that says to lane b, as its k-th coin, the k-th binary digit of b."""

    def __init__(self) -> None:
        self.drawn = 0

    def integers(self, low: int, high: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        lanes, each = shape[0], int(np.prod(shape[1:]))
        digits = np.arange(self.drawn, self.drawn + each)
        self.drawn += each
        return ((np.arange(lanes)[:, None] >> digits) & 1).astype(dtype).reshape(shape)


class Scripted:
    """A learner whose signs come from ``rng``."""

    def __init__(self, learner: Any, rng: Any) -> None:
        self.learner, self.rng, self.claim, self.update = learner, rng, learner.claim, learner.update

    def init(self, net: srl.Network, batch: int) -> Any:
        state = self.learner.init(net, batch)
        state.rng = self.rng
        return state


def problem(steps: int, lanes: int) -> tuple[np.ndarray, srl.losses.Loss]:
    """The same sequence in every lane."""
    rng = np.random.default_rng(0)
    x, targets = rng.uniform(0.2, 1.0, (steps, 1, 1)), rng.normal(size=(steps, 1, 1))
    return np.tile(x, (1, lanes, 1)), srl.losses.squared_error(np.tile(targets, (1, lanes, 1)))


def small(model: str, units: int, delay: int = 1, **keywords: Any) -> srl.Network:
    net = srl.Network("float64").add_input("x", 1).add_population("h", load(model), units, **keywords)
    net.connect("x", "h").connect("h", "h", delay=delay).add_readout("z", "h", 1, decay=0.5)
    randomize(net.initialize(0), np.random.default_rng(3))
    for part, _ in net.wiring.layout.values():  # excited, so that spikes come; no tanh far in its saturation
        net.theta[part] = 0.6 * np.abs(net.theta[part])
    return net


def expectation(net: srl.Network, learner: Any, steps: int) -> tuple[np.ndarray, int]:
    """The gradient's mean over all signs, and how many sequences of signs there are."""
    counting = Counting()
    srl.gradient(net, Scripted(learner, counting), *problem(steps, 1))
    lanes = 1 << counting.drawn
    assert 1 < lanes <= LIMIT, f"{counting.drawn} signs a lane"
    return srl.gradient(net, Scripted(learner, Every()), *problem(steps, lanes))[1], lanes


CASES = [  # signs a step: KF-RTRL 2 a group and sample, OK rank + 1 a group, UORO one a state and one a unit
    pytest.param(learner, *rest, id=f"{learner!r}-{'-'.join(map(str, rest))}")
    for learner, *rest in (
        (srl.KFRTRL(), "rhn", 2, {}, 5),
        (srl.KFRTRL(), "rhn", 2, {"delay": 2}, 5),
        (srl.KFRTRL(samples=2), "rhn", 2, {}, 3),
        (srl.KFRTRL(), "alif", 2, {"trainable": ("beta",)}, 6),
        (srl.KFRTRL(), "gru", 1, {}, 2),
        (srl.OK(1), "rhn", 2, {}, 5),
        (srl.OK(2), "rhn", 2, {}, 5),
        (srl.OK(1), "alif", 2, {"delay": 2}, 5),
        (srl.OK(3), "rnn", 3, {}, 4),
        (srl.UORO(), "rhn", 2, {}, 4),
        (srl.UORO(), "rnn", 2, {"delay": 2}, 4),
        (srl.UORO(), "alif", 1, {"trainable": ("beta",)}, 5),
        (srl.UORO(samples=2), "rnn", 1, {}, 4),
        (srl.UORO(), "egru", 1, {"theta": 0.05}, 6),
    )
]


@pytest.mark.parametrize(("learner", "model", "units", "keywords", "steps"), CASES)
def test_the_mean_over_every_sign_is_the_exact_gradient(learner, model, units, keywords, steps) -> None:
    net = small(model, units, **keywords)
    exact = srl.gradient(net, srl.BPTT(), *problem(steps, 1))[1]
    found, _ = expectation(net, learner, steps)
    columns = net.wiring.col_theta
    assert np.linalg.norm(exact[columns]) > ALIVE
    single = srl.gradient(net, learner, *problem(steps, 1))[1]
    assert np.abs(single - exact).max() > 1e-3 * np.abs(exact).max(), "one draw must be noisy"
    gap, block = worst_block(net, found, exact)
    assert gap < EXACT64, block


@pytest.mark.parametrize("learner", [srl.KFRTRL(), srl.OK(1), srl.UORO()], ids=repr)
def test_a_bias_of_one_percent_is_seen(monkeypatch, learner) -> None:
    """Signs that are 1 and -0.99: mean and square are 1% off in every step."""
    net, steps = small("rhn", 2), 3
    exact = srl.gradient(net, srl.BPTT(), *problem(steps, 1))[1]
    for module, name in ((kronecker, "as_signs"), (uoro, "signs")):
        right = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, right=right: np.maximum(right(*args), -0.99))
    assert worst_block(net, expectation(net, learner, steps)[0], exact)[0] > 1e4 * EXACT64
