"""to_jax against the simulation and BPTT, for every shipped model: values, gradients, and what JAX makes of the functions."""

from __future__ import annotations

import functools
import sys

import jax
import numpy as np
import pytest

import spikertrl as srl
from networks import OUTPUTS, drive, randomize, single, stacked, worst_block
from spikertrl import arguments
from spikertrl.bridges.to_jax import Outputs
from spikertrl.network import Network
from spikertrl.surrogates import Surrogate
from tolerances import ALIVE, EXACT64, VALUES32, VALUES64

T, B = 14, 4
NAMES = srl.models.names()
FAST = ("egru",)
EVERY = [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in NAMES]
OTHER = {name: NAMES[(k + 3) % len(NAMES)] for k, name in enumerate(NAMES)}
TARGETS = np.random.default_rng(3).normal(size=(T, B, OUTPUTS))
LABELS = np.random.default_rng(4).integers(0, OUTPUTS, B)


@functools.cache
def network(name: str, dtype: str = "float64") -> Network:
    net = stacked(name, OTHER[name], dtype)
    if name == "lru":  # linear: at whole strength the loop grows to 400 in 14 steps, and a rounding as much
        randomize(net, np.random.default_rng(0), 0.5)
    return net


def loss(out):
    """Squared error of one readout, cross-entropy of the other at the end, and the messages of the first population."""
    nats = jax.nn.logsumexp(out.readouts["fast"][-1], axis=1) - out.readouts["fast"][-1][np.arange(B), LABELS]
    return 0.5 * ((out.readouts["slow"] - TARGETS) ** 2).sum(2).mean() + nats.mean()


def compiled(function):
    """Barely optimized: the networks are small."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


@pytest.mark.parametrize("name", EVERY)
def test_values_and_gradients(name: str) -> None:
    net, x = network(name), drive(T, B, seed=1)
    run = srl.simulate(net, x)
    ours = srl.losses.squared_error(TARGETS, readout="slow") + srl.losses.cross_entropy(LABELS, at="last", readout="fast")
    expected_value, expected = srl.gradient(net, srl.BPTT(), x, ours)
    assert np.linalg.norm(expected) > ALIVE
    with jax.enable_x64(True):
        f = srl.to_jax(net)
        run_jax = compiled(jax.value_and_grad(lambda p: (loss(out := f.scan(p, x)[1]), out), has_aux=True))
        (value, out), grads = jax.tree.map(np.asarray, run_jax(f.params()))
        found = f.theta(grads)
    for population, messages in out.messages.items():
        size = np.abs(run.messages[population]).max()
        assert size > 0 and np.abs(messages - run.messages[population]).max() <= VALUES64 * size
        for state, values in out.states[population].items():
            if state in run.states[population]:
                there = run.states[population][state]
                assert np.abs(values - there).max() <= VALUES64 * np.abs(there).max(), (population, state)
    for readout, z in out.readouts.items():
        assert np.abs(z - run.readouts[readout]).max() <= VALUES64 * np.abs(z).max()
    assert float(value) == pytest.approx(expected_value, rel=VALUES64)
    gap, where = worst_block(net, found, expected)
    assert gap < EXACT64, where


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) for n in NAMES])
def test_values_in_float32(name: str) -> None:
    net, x = network(name, "float32"), drive(T, B, seed=1)
    run = srl.simulate(net, x)
    f = srl.to_jax(net)
    out = jax.tree.map(np.asarray, compiled(f.scan)(f.params(), x)[1])
    for population, messages in out.messages.items():
        assert messages.dtype == np.float32
        assert np.abs(messages - run.messages[population]).max() <= VALUES32 * np.abs(run.messages[population]).max()
    for readout, z in out.readouts.items():
        assert np.abs(z - run.readouts[readout]).max() <= VALUES32 * np.abs(z).max()


@functools.cache
def small() -> tuple[Network, np.ndarray]:
    """The network of the example of ``to_jax``, but for its weights."""
    net = single("egru", "float32", units=6, delay=2, theta=0.1)
    return net, drive(T, B, seed=1).astype("float32")


def test_step_by_step_and_piece_by_piece() -> None:
    net, x = small()
    f = srl.to_jax(net)
    expected = srl.simulate(net, x).z
    params, step, scan = f.params(), compiled(f.step), compiled(f.scan)
    carry, steps = f.init(B), []
    for x_t in x:
        carry, out = step(params, carry, x_t)
        steps.append(out.z)
    np.testing.assert_allclose(np.stack(steps), expected, rtol=0, atol=1e-5)
    between, first = scan(params, x[: T // 2], f.init(B))
    last, second = scan(params, {"x": x[T // 2 :]}["x"], between)
    np.testing.assert_allclose(np.concatenate([first.z, second.z]), expected, rtol=0, atol=1e-5)
    assert int(last.time) == int(carry.time) == T and float(np.abs(expected).max()) > 0.1


def test_many_networks_at_once() -> None:
    """``vmap`` over parameters: each network is the one that it is alone."""
    net, x = small()
    f, own = srl.to_jax(net), net.theta.copy()
    thetas = own + 0.1 * np.random.default_rng(0).normal(size=(3, len(own))).astype("float32")
    z = compiled(jax.vmap(lambda theta: f.scan(f.params(theta), {"x": x})[1].z))(thetas)
    for theta, found in zip(thetas, z, strict=True):
        net.theta = theta
        np.testing.assert_allclose(found, srl.simulate(net, x).z, rtol=0, atol=1e-5)
    net.theta = own
    assert np.ptp(z, axis=0).max() > 0.01


def test_what_is_not_trained_has_no_gradient_and_training_comes_back() -> None:
    net, x = small()
    fixed = Network().add_input("x", 3).add_population("h", net.populations["h"].model, 6, theta=0.1).connect("x", "h")
    fixed = fixed.connect("h", "h", trainable=("u", "r")).add_readout("z", "h", 2, trainable=False).initialize(0)
    f = srl.to_jax(fixed)
    targets = np.random.default_rng(0).normal(size=(T, B, 2)).astype("float32")
    run = compiled(jax.value_and_grad(lambda params: ((f.scan(params, x)[1].z - targets) ** 2).mean()))
    value, grads = run(f.params())
    flat = f.theta(grads)
    assert not flat[fixed.wiring.frozen].any() and np.count_nonzero(flat) > 50
    params = f.params()
    for _ in range(30):
        last, grads = run(params)
        params = jax.tree.map(lambda p, g: p - 0.3 * g, params, grads)
    fixed.theta = f.theta(params)
    z = srl.simulate(fixed, x).z
    assert ((z - targets) ** 2).mean() == pytest.approx(float(run(params)[0]), rel=1e-4) and last < 0.95 * value


class OnlyDLPack:
    """An array that speaks nothing else."""

    def __init__(self, values: np.ndarray) -> None:
        self._values, self.__dlpack_device__ = values, values.__dlpack_device__

    def __dlpack__(self, **asked: object) -> object:
        return self._values.__dlpack__(**asked)


def test_arrays_of_others_come_in_without_a_copy() -> None:
    net, x = small()
    targets = np.zeros((T, B, OUTPUTS), "float32")
    expected = srl.gradient(net, srl.BPTT(), x, srl.losses.squared_error(targets))
    for make, place in (
        (jax.numpy.asarray, lambda a: a.unsafe_buffer_pointer()),
        (OnlyDLPack, lambda a: a._values.ctypes.data),
    ):
        there = make(x)
        assert arguments.numbers("here", "x", there).ctypes.data == place(there)
        value, grad = srl.gradient(net, srl.BPTT(), there, srl.losses.squared_error(make(targets)))
        assert value == expected[0] and np.array_equal(grad, expected[1])
    with pytest.raises(ValueError, match=r"x is a .*Tracer that cannot be read"):
        jax.jit(lambda x: srl.simulate(net, x).z)(x)


def test_what_is_refused() -> None:
    net, x = small()
    f = srl.to_jax(net)
    wrong_ones = {r"\(T, B, 3\)": (x[..., :2], x[0], {"x": x[..., :2]}), "names the inputs": ({"y": x},)}
    for why, wrong in ((why, wrong) for why, those in wrong_ones.items() for wrong in those):
        with pytest.raises(ValueError, match=why):
            f.scan(f.params(), wrong)
    with pytest.raises(ValueError, match=r"\['h<-x'\]\['u'\]"):
        f.scan({k: v for k, v in f.params().items() if k != "h<-x"}, x)
    with pytest.raises(ValueError, match="shape"):
        f.params(np.zeros(3))
    with pytest.raises(ValueError, match="jax_enable_x64"):
        srl.to_jax(network("egru")).params()
    with pytest.raises(ValueError, match="2 readouts"):
        _ = Outputs({"a": x, "b": x}, {}, {}).z


def test_without_jax_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'spikertrl\[jax\]'"):
        srl.to_jax(small()[0])


EVERYTHING = srl.Model(
    "everything",
    update="""
    w = where(a > 0.1 and not (I_v > 1) or a < -2, clip(I_v, -lim, lim), abs(I_v) - sign(a)*a)
    a = 0.9*a + 0.1*sin(w) + 0.1*log(1 + w**2) + sqrt(abs(w) + 0.1)*cos(w)**3
    n = n + int(a > 0.2)
    b = 0.5*b + exp(-w**2) + sigmoid(a)*tanh(w)/(1 + 0.1*n) - y
    """,
    message="b*event(b - 0.5)",
    states={"a": srl.State(), "b": srl.State(0.1), "n": srl.State(discrete=True)},
    ports={"v": srl.Port(bias=True)},
    parameters={"lim": srl.Parameter(0.8, trainable=True)},
    surrogate=Surrogate("odd", "k*(1 - abs(v)) if abs(v) < 1 and not v > 0.9 else k*max(0, 0.1, v)*exp(-v*v)", {"k": 0.4}),
)


@pytest.mark.slow
@pytest.mark.parametrize("reset_gradient", [True, False])
def test_the_whole_language(reset_gradient: bool) -> None:
    """Every function and kind of condition, and a pseudo-derivative with decisions in it."""
    net = Network("float64").add_input("x", 3).add_population("h", EVERYTHING, 8, reset_gradient=reset_gradient)
    net = net.connect("x", "h").connect("h", "h", density=0.5, seed=2).add_readout("z", "h", OUTPUTS, decay=0.3).initialize(1)
    x = drive(T, B)
    expected_value, expected = srl.gradient(net, srl.BPTT(), x, srl.losses.squared_error(TARGETS))
    with jax.enable_x64(True):
        f = srl.to_jax(net)
        run = compiled(jax.value_and_grad(lambda p: 0.5 * ((f.scan(p, x)[1].z - TARGETS) ** 2).sum(2).mean()))
        value, grads = run(f.params())
        found = f.theta(grads)
    assert float(value) == pytest.approx(expected_value, rel=VALUES64) and np.linalg.norm(expected) > ALIVE
    gap, where = worst_block(net, found, expected)
    assert gap < EXACT64, where
