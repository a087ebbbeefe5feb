"""BPTT, dense RTRL and sparse RTRL against the independent JAX reference, for every shipped model.

One compiled reference per network serves all cases: the loss takes the weight of every (step, lane) as an argument, so that
shorter sequences and fewer lanes are the same computation with zeros.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import spikertrl as srl
from jax_reference import from_network, to_flat, unroll
from networks import CORE, OUTPUTS, drive, marked, stacked, worst_block
from spikertrl.network import Network
from tolerances import ALIVE, EVERY_STEP, EXACT32, EXACT64, MOVED, VALUES64

T, B = 14, 5
LATER = [name for name in srl.models.names() if name not in CORE]
# every model also stands second, after another one
OTHER = {name: names[(k + 3) % len(names)] for names in (CORE, LATER) for k, name in enumerate(names)}
LEARNERS = (srl.BPTT(), srl.RTRL(dense=True), srl.RTRL())


class Case(NamedTuple):
    """Which part of the input and which loss."""

    steps: int = T
    lanes: int = B
    each: bool = True  # squared error of "slow" at every step
    last: bool = True  # cross-entropy of "fast" at the last step
    activity: float = 0.0


CASES = {
    "everything": Case(activity=0.5),
    "one lane": Case(lanes=1),
    "four steps": Case(steps=4),
    "one step": Case(steps=1),
    "loss at the last step": Case(each=False),
    "loss at each step": Case(last=False),
}


class Subject(NamedTuple):
    """A network, its input and labels, and its compiled reference."""

    net: Network
    params: dict
    x: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    reference: Callable


def subject(name: str, other: str | None = None, **keywords: Mapping) -> Subject:
    """Two stacked populations of different models, and the reference compiled for them."""
    net = stacked(name, other or OTHER[name], **keywords)
    spec, params = from_network(net)
    rng = np.random.default_rng(3)

    def loss(params, x, labels, targets, each, last, strength):
        z, messages, _ = unroll(spec, params, x)
        gaps = 0.5 * jnp.sum((z["slow"] - targets) ** 2, axis=2)
        nats = jax.nn.logsumexp(z["fast"], axis=2) - jnp.take_along_axis(z["fast"], labels[..., None], axis=2)[..., 0]
        y = messages["a"]
        size = jnp.where(y < 0, -y, y)
        share = jnp.mean(size + jax.lax.stop_gradient((y != 0) - size), axis=(1, 2))
        return jnp.sum(gaps * each) + jnp.sum(nats * last) + strength * jnp.mean((share - 0.2) ** 2)

    compiled = jax.jit(jax.value_and_grad(loss), compiler_options={"xla_backend_optimization_level": 0})
    return Subject(
        net, params, drive(T, B, seed=1), rng.integers(0, OUTPUTS, (T, B)), rng.normal(size=(T, B, OUTPUTS)), compiled
    )


shipped = functools.cache(subject)


def expected(s: Subject, case: Case) -> tuple[float, np.ndarray]:
    """Loss and gradient of the reference."""
    each, last = np.zeros((T, B)), np.zeros((T, B))
    each[: case.steps, : case.lanes] = case.each / (case.steps * case.lanes)
    last[case.steps - 1, : case.lanes] = case.last / case.lanes
    with jax.enable_x64(True):
        params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), s.params)
        value, grads = s.reference(params, jnp.asarray(s.x), s.labels, jnp.asarray(s.targets), each, last, float(case.activity))
        flat = np.zeros(s.net.theta.shape)
        flat += to_flat(s.net, jax.tree.map(np.asarray, grads))
        return float(value), flat


def arguments(s: Subject, case: Case) -> tuple[np.ndarray, srl.losses.Loss]:
    """The same part of the input, and the same loss, for spikertrl."""
    part = slice(case.steps), slice(case.lanes)
    loss = 0.0 * srl.losses.squared_error(np.zeros((case.steps, case.lanes, OUTPUTS)), readout="slow")
    if case.each:
        loss += srl.losses.squared_error(s.targets[part], readout="slow")
    if case.last:
        loss += srl.losses.cross_entropy(s.labels[part], at="last", readout="fast")
    return s.x[part], loss + srl.losses.activity("a", 0.2, case.activity) if case.activity else loss


def check(s: Subject, case: Case, taus: tuple[int | None, ...]) -> np.ndarray:
    """All learners, all tape lengths, against the reference."""
    value, grad = expected(s, case)
    x, loss = arguments(s, case)
    ways = [(learner, tau) for learner in LEARNERS for tau in taus]
    if None in taus:
        ways.append((srl.RTRL(route="transitions"), None))
    for learner, tau in ways:
        found, flat = srl.gradient(s.net, learner, x, loss, tau=tau)
        assert found == pytest.approx(value, rel=VALUES64), (learner, tau)
        gap, where = worst_block(s.net, flat, grad)
        assert gap < EXACT64, (learner, tau, where)
    return grad


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", marked(srl.models.names()))
def test_learners_equal_the_reference(name: str, case: str) -> None:
    grad = check(shipped(name), CASES[case], (1, 4, None) if case == "everything" else (None, 3))
    assert np.isfinite(grad).all() and np.linalg.norm(grad) > ALIVE


@pytest.mark.parametrize("name", marked(srl.models.names()))
def test_the_reference_is_alive(name: str) -> None:
    s = shipped(name)
    _, grad = expected(s, CASES["everything"])
    run = srl.simulate(s.net, s.x)
    for label in "ab":
        share = np.mean(run.messages[label] != 0)
        assert share > 0.05, (label, share)
        assert share < 0.9 or not s.net.populations[label].cell.spiking, (label, share)
    assert np.mean(grad != 0) > 0.5
    for key, (part, _) in s.net.wiring.layout.items():
        assert np.linalg.norm(grad[part]) > 0, key


def rounded(s: Subject, case: Case, draws: int = 3) -> float:
    """What the gradient moves by, in float64, where every parameter moves by half a last place of float32."""
    net, (x, loss), rng = copy.deepcopy(s.net), arguments(s, case), np.random.default_rng(0)
    _, grad = srl.gradient(s.net, srl.BPTT(), x, loss)
    gaps = []
    for _ in range(draws):
        net.theta[...] = s.net.theta * (1 + np.finfo(np.float32).eps / 2 * rng.choice([-1, 1], len(net.theta)))
        gaps.append(worst_block(net, srl.gradient(net, srl.BPTT(), x, loss)[1], grad)[0])
    return max(gaps)


@pytest.mark.parametrize("name", marked(srl.models.names()))
def test_float32_equals_the_reference(name: str) -> None:
    s = shipped(name)
    net = stacked(name, OTHER[name], dtype="float32")
    net.theta[...] = s.net.theta
    for case in ("everything", "one lane"):
        _, grad = expected(s, CASES[case])
        x, loss = arguments(s, CASES[case])
        same = [srl.simulate(n, x).events for n in (net, s.net)]
        assert np.array_equal(same[0].time, same[1].time) and np.array_equal(same[0].unit, same[1].unit)
        for learner in LEARNERS:
            gap, where = worst_block(net, srl.gradient(net, learner, x, loss, tau=4)[1], grad)
            assert gap < EXACT32 or gap < EVERY_STEP * rounded(s, CASES[case]), (learner, where, gap)


def knob(name: str, other: str = "rnn", **keywords: object) -> None:
    """Learners equal the reference with these keywords of ``stacked``, and the keywords move the gradient."""
    s = subject(name, other, **keywords)
    grad = check(s, CASES["everything"], (1, 4))
    x, loss = arguments(s, CASES["everything"])
    plain = srl.gradient(stacked(name, other), srl.BPTT(), x, loss)[1]
    assert np.linalg.norm(grad) > ALIVE
    assert plain.shape == grad.shape and np.linalg.norm(grad - plain) > MOVED * np.linalg.norm(grad)


@pytest.mark.parametrize("name", ["egru", pytest.param("lif", marks=pytest.mark.slow), "alif"])
def test_without_reset_gradient(name: str) -> None:
    knob(name, first={"reset_gradient": False})


@pytest.mark.parametrize(("one", "two"), [("boxcar", "fast_sigmoid"), ("arctan", "gaussian")])
def test_surrogates(one: str, two: str) -> None:
    pair = {"surrogate": getattr(srl.surrogates, one)()}, {"surrogate": getattr(srl.surrogates, two)()}
    knob("cuba_lif", "cuba_lif", first=pair[0], second=pair[1])


@pytest.mark.parametrize("delay", [1, 7])
def test_one_delay_for_all(delay: int) -> None:
    knob("egru", delay=delay)


def test_refractory_units_are_deaf() -> None:
    """A refractory period longer than the gaps between inputs changes spikes and gradient, in both programs alike."""
    knob("lif", first={"t_ref": "4*ms"})


@pytest.mark.parametrize("density", [None, 0.4])
def test_parallel_synapses_add_up(density):
    """Two projections between the same units with the same delay, self-connections included, act as their sum."""
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 6, theta=0.1)
    net = net.connect("x", "h", weight=lambda rng, shape: rng.normal(size=shape))
    for k in range(2):
        net.connect("h", "h", name=f"h<-h{k}", density=density, seed=1, weight=lambda rng, shape: rng.normal(size=shape))
    net = net.add_readout("z", "h", 1).initialize(3)
    x = np.random.default_rng(0).normal(size=(12, 2, 2))
    loss = srl.losses.squared_error(np.ones((12, 2, 1)))
    _, expected = srl.gradient(net, srl.BPTT(), x, loss)
    parts = net.view(expected)
    assert all(np.abs(parts[f"h<-h{k}"]["u"]).max() > 1e-3 for k in range(2))
    for learner in (srl.RTRL(), srl.RTRL(dense=True), srl.SnAp(6)):
        _, found = srl.gradient(net, learner, x, loss)
        np.testing.assert_allclose(found, expected, rtol=0, atol=EXACT64 * np.abs(expected).max())
