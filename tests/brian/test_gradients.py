"""Gradients of an imported network against a JAX program written from the Brian2 objects, delays of 0 to 19 steps mixed."""

from __future__ import annotations

import brian2 as b2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

import spikertrl as srl
from jax_cells import make_event
from tolerances import ALIVE, EXACT64

DT, STEPS, LANES, N, FEED = 0.5e-3, 150, 2, 12, 8
TAU_S, TAU_A, T_REF = 5e-3, 30e-3, 2e-3
SURROGATE = ("triangle", {"gamma": 0.4, "width": 0.8})


@pytest.fixture(scope="module")
def script() -> dict:
    """Adaptive, refractory neurons in Brian2, fed and coupled through delays of each synapse."""
    old, dt = b2.prefs.codegen.target, b2.defaultclock.dt
    b2.prefs.codegen.target, b2.defaultclock.dt = "numpy", DT * b2.second
    b2.seed(3)
    eqs = """
    dv/dt = (I - v)/tau : 1 (unless refractory)
    dI/dt = -I/(5*ms) : 1
    da/dt = -a/(30*ms) : 1
    tau : second (constant)
    """
    cells = b2.NeuronGroup(
        N, eqs, threshold="v > 1 + a", reset="v = 0; a += 0.3", refractory=2 * b2.ms, method="euler", name="cells"
    )
    cells.tau = "(8 + 4*rand())*ms"
    cells.v = "0.5*rand()"
    feed = b2.PoissonGroup(FEED, 100 * b2.Hz, name="feed")
    S_in = b2.Synapses(feed, cells, "w : 1", on_pre="I_post += 2*w", name="S_in")
    S_in.connect(p=0.8)
    S_in.w = "2*rand()"
    S = b2.Synapses(cells, cells, "w : 1\nfactor : 1 (constant)", on_pre="v_post += w*factor", name="S")
    S.connect(p=0.6)
    S.w, S.factor = "0.6*randn()", "0.5 + rand()"
    S.delay = np.random.default_rng(0).permutation(len(S)) % 20 * DT * b2.second
    options = {"surrogate": srl.surrogates.triangle(0.4, 0.8), "threshold_scale": 1.5}
    net = srl.from_brian([cells, feed, S_in, S], trainable=[S.w, S_in.w, cells.tau], **options)
    net.add_readout("z", "cells", 2, decay=0.9)
    brian = {"w_in": np.array(S_in.w), "w": np.array(S.w), "tau": np.array(cells.tau), "v": np.array(cells.v),
             "factor": np.array(S.factor), "in": (np.array(S_in.i), np.array(S_in.j)), "loop": (np.array(S.i), np.array(S.j)),
             "delay": np.rint(np.array(S.delay) / DT).astype(int)}  # fmt: skip
    b2.prefs.codegen.target, b2.defaultclock.dt = old, dt
    assert set(brian["delay"]) == set(range(20))
    return {"net": net, "brian": brian, "objects": (cells, feed, S_in, S)}


def problem(net: srl.Network) -> tuple[np.ndarray, np.ndarray]:
    target = np.random.default_rng(4).normal(size=(STEPS, LANES, 2))
    return net.brian_inputs(STEPS, batch=LANES, seed=5), target


def by_hand(brian: dict, readout: dict, x: np.ndarray, target: np.ndarray) -> tuple[float, dict]:
    """Loss and gradient with respect to Brian2's own variables."""
    event = make_event(*SURROGATE)
    pre_in, post_in = brian["in"]
    pre, post = brian["loop"]
    period = int(np.floor(T_REF / DT + 1e-3))

    def step(params, carry, now):
        v, current, a, wait, past, heard, z = carry  # past (20, B, N): spikes of the last steps; heard (B, FEED): input spikes
        alive = (wait <= 0) * 1.0
        spike = event((v - (1 + a)) / 1.5) * alive
        hard = jax.lax.stop_gradient(spike)
        past = jnp.concatenate([spike[None], past])[:20]
        arrived = past[brian["delay"], :, pre] * (params["w"] * brian["factor"])[:, None]
        into_v = jnp.zeros((N, LANES)).at[post].add(arrived).T
        into_i = jnp.zeros((N, LANES)).at[post_in].add(2 * params["w_in"][:, None] * heard[:, pre_in].T).T
        v = jnp.where((wait <= 0) & (hard == 0), v + into_v, v)
        v, a, current = (1 - spike) * v, a + 0.3 * spike, current + into_i
        wait = jnp.where(hard > 0, period - 1, jnp.maximum(wait - 1, 0))
        v = jnp.where(wait <= 0, v + DT * (current - v) / params["tau"], v)
        current, a = current - DT * current / TAU_S, a - DT * a / TAU_A
        sent = event((v - (1 + a)) / 1.5) * (wait <= 0)
        z = 0.9 * z + sent @ params["weight"].T + params["bias"]
        return (v, current, a, wait, past, now, z), (z, sent)

    def loss(params):
        v = jnp.broadcast_to(brian["v"], (LANES, N)) + 0.0
        zero = jnp.zeros((LANES, N))
        start = (v, zero, zero, zero, jnp.zeros((20, LANES, N)), jnp.zeros((LANES, FEED)), jnp.zeros((LANES, 2)))
        _, (z, sent) = jax.lax.scan(lambda c, now: step(params, c, now), start, jnp.asarray(x))
        return 0.5 * ((z - target) ** 2).sum() / (STEPS * LANES), sent.sum()

    with jax.enable_x64(True):
        params = {n: jnp.asarray(brian[n]) for n in ("w", "w_in", "tau")} | {n: jnp.asarray(v) for n, v in readout.items()}
        (value, spikes), grads = jax.value_and_grad(loss, has_aux=True)(params)
        assert int(spikes) > 100
    return float(value), {n: np.asarray(g) for n, g in grads.items()}


def at_synapses(view: object, pairs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A named view in the order of Brian2's synapses (pre, post)."""
    matrix = view.toarray() if sparse.issparse(view) else view
    return matrix[pairs[1], pairs[0]]


def test_gradients_equal_the_unrolled_reference(script: dict) -> None:
    net, brian = script["net"], script["brian"]
    x, target = problem(net)
    readout = {k: np.array(v) for k, v in net.view(net.theta)["z"].items()}
    value, expected = by_hand(brian, readout, x, target)
    loss = srl.losses.squared_error(target)
    for learner in (srl.BPTT(), srl.RTRL(), srl.RTRL(dense=True)):
        ours, grad = srl.gradient(net, learner, x, loss, tau=17)
        view = net.view(grad)
        found = {
            "w": at_synapses(view["S"]["v"], brian["loop"]) * brian["factor"],  # theta = w * factor
            "w_in": at_synapses(view["S_in"]["I"], brian["in"]),
            "tau": view["cells"]["tau"],
            **view["z"],
        }
        assert ours == pytest.approx(value, rel=EXACT64)
        for name, wanted in expected.items():
            assert np.abs(wanted).max() > ALIVE, name
            np.testing.assert_allclose(found[name], wanted, rtol=EXACT64, atol=EXACT64 * np.abs(wanted).max(), err_msg=name)


def test_every_learner_takes_it_and_learning_online_lowers_the_loss(script: dict) -> None:
    net = script["net"]
    x, target = problem(net)
    before = net.theta.copy()
    learners = [srl.RTRL(), srl.SnAp(2), srl.KFRTRL(), srl.UORO(), srl.EProp(), srl.BPTT(truncate=20), srl.Immediate()]
    table = srl.compare(net, learners, x, srl.losses.squared_error(target))
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in table.gradients.values())
    optimizer = srl.optimizers.scale_groups(srl.optimizers.adam(3e-3), net.magnitudes())
    online = srl.Online(net, srl.RTRL(), optimizer, srl.losses.squared_error, batch=LANES)
    losses = []
    for _ in range(3):
        online.reset()
        losses.append(0.0)
        for x_t, y_t in zip(x, np.full_like(target, 1.5), strict=True):
            online.predict_one(x_t)
            losses[-1] += online.learn_one(y_t)
    net.theta = before
    assert losses[2] < 0.7 * losses[0]


def test_imported_weights_survive_a_new_readout(script: dict) -> None:
    cells, feed, S_in, S = script["objects"]
    net = srl.from_brian([cells, feed, S_in, S], trainable=["S.w"])
    weights = at_synapses(net.view(net.theta)["S"]["v"], script["brian"]["loop"])
    assert np.array_equal(weights, script["brian"]["w"] * script["brian"]["factor"])
    theta = net.theta.copy()
    net.add_readout("more", "cells", 1)
    assert np.array_equal(net.theta[: len(theta)], theta)
