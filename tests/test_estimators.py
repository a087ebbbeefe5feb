"""KF-RTRL, UORO and e-prop: unbiased, ordered by noise, equal to the papers' equations and to autodiff, gradients stopped."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

import jax_losses
import spikertrl as srl
from jax_reference import from_network, reference_gradient, to_flat
from networks import OUTPUTS, drive, stacked
from spikertrl.learners import uoro
from spikertrl.learners.engines.adjoint import adjoint
from spikertrl.learners.engines.choose import override
from spikertrl.models import load
from tolerances import EXACT64

ROUNDS, SAMPLES = 40, 250  # 10,000 sign draws in all


def small(model: str, **connect) -> srl.Network:
    net = srl.Network("float64").add_input("x", 3).add_population("h", load(model), 5)
    net.connect("x", "h").connect("h", "h", density=0.6, seed=1, **connect)
    return net.add_readout("z", "h", 2, decay=0.5).initialize(0)


def problem(net: srl.Network, steps: int = 7, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = 3 * rng.normal(size=(steps, 2, 3))
    return x, srl.losses.squared_error(rng.normal(size=(steps, 2, 2)))


@pytest.mark.parametrize("learner", [srl.KFRTRL, srl.UORO])
@pytest.mark.parametrize(
    ("model", "connect"), [("rhn", {}), ("egru", {"delay": 2}), ("alif", {"delay": 3})], ids=["rhn", "egru", "alif"]
)
def test_mean_over_signs_is_the_exact_gradient(learner, model, connect) -> None:
    """Welch's t on random projections (centred), and the distance of the mean against the norm (tight)."""
    net = small(model, **connect)
    x, loss = problem(net)
    exact = srl.gradient(net, srl.RTRL(), x, loss)[1]
    draws = np.array([srl.gradient(net, learner(samples=SAMPLES, seed=seed), x, loss)[1] for seed in range(ROUNDS)])
    assert np.linalg.norm(exact) > 1e-2
    directions = np.random.default_rng(1).normal(size=(6, len(exact)))
    p = [stats.ttest_1samp(draws @ d, exact @ d).pvalue for d in directions]
    assert min(p) > 1e-4, f"biased: p values {p}"
    assert np.linalg.norm(draws.mean(0) - exact) < 0.1 * np.linalg.norm(exact)


def test_kf_rtrl_is_far_less_noisy_than_uoro() -> None:
    net = srl.Network("float64").add_input("x", 3).add_population("h", load("rhn"), 32)
    net.connect("x", "h").connect("h", "h").add_readout("z", "h", 2).initialize(0)
    x, loss = problem(net, 30)
    exact = srl.gradient(net, srl.RTRL(), x, loss)[1][: net.wiring.n_recurrent]

    def cosine(learner) -> float:
        found = srl.gradient(net, learner, x, loss)[1][: net.wiring.n_recurrent]
        return float(found @ exact / np.linalg.norm(found) / np.linalg.norm(exact))

    kf = np.mean([cosine(srl.KFRTRL(seed=s)) for s in range(8)])
    averaged = np.mean([cosine(srl.KFRTRL(samples=8, seed=s)) for s in range(4)])
    rank_one = np.mean([cosine(srl.UORO(seed=s)) for s in range(8)])
    assert averaged > kf > rank_one + 0.2, (averaged, kf, rank_one)


def test_kf_rtrl_on_an_rhn_is_the_papers_u_and_a_step_by_step() -> None:
    """Equations of Mujika et al. 2018, section 3, written out for one group, with the same signs."""
    n, m, steps, seed = 4, 4 + 3 + 1, 6, 3
    net = srl.Network("float64").add_input("x", 3).add_population("h", load("rhn"), n)
    net.connect("x", "h").connect("h", "h").add_readout("z", "h", 2).initialize(1)
    x, loss = np.random.default_rng(0).normal(size=(steps, 1, 3)), srl.losses.squared_error(np.ones((steps, 1, 2)))
    _, found = srl.gradient(net, srl.KFRTRL(seed=seed), x, loss)

    view, rng = net.view(net.theta), np.random.default_rng(seed)
    W = {p: np.hstack((view["h<-x"][p], view["h<-h"][p], view["h"][f"bias_{p}"][:, None])) for p in "cf"}  # (n, m)
    u, A, h, gradient = np.zeros(m), np.zeros((n, 2 * n)), np.zeros(n), np.zeros((2, n, m))
    for t in range(steps):
        hhat = np.concatenate((x[t, 0], h, [1.0]))
        c, f = np.tanh(W["c"] @ hhat), 1 / (1 + np.exp(-W["f"] @ hhat))
        dc, df = (1 - f) * (1 - c**2), (h - c) * f * (1 - f)
        H = np.diag(f) + dc[:, None] * W["c"][:, 3:-1] + df[:, None] * W["f"][:, 3:-1]
        D = np.hstack((np.diag(dc), np.diag(df)))
        h = f * h + (1 - f) * c
        HA, norm = H @ A, np.linalg.norm
        p1 = np.sqrt(norm(HA) / norm(u)) if norm(u) * norm(HA) else 1.0
        p2 = np.sqrt(norm(D) / norm(hhat))
        c1, c2 = (float(uoro.signs(rng, (1, 1), np.dtype(float))[0, 0]) for _ in range(2))
        u, A = c1 * p1 * u + c2 * p2 * hhat, c1 / p1 * HA + c2 / p2 * D
        error = (view["z"]["weight"] @ h + view["z"]["bias"] - 1.0) / steps
        row = error @ view["z"]["weight"] @ A
        gradient += np.stack((np.outer(row[:n], u), np.outer(row[n:], u)))
    for index, port in enumerate("cf"):
        ours = net.view(found)
        whole = np.hstack((ours["h<-x"][port], ours["h<-h"][port], ours["h"][f"bias_{port}"][:, None]))
        assert np.abs(gradient[index]).max() > 1e-3
        np.testing.assert_allclose(whole, gradient[index], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "other"), [("alif", "lif"), ("egru", "cuba_lif")])
def test_eprop_is_autodiff_with_gradients_stopped_between_units(name: str, other: str) -> None:
    net = stacked(name, other)
    x, rng = drive(12, 3), np.random.default_rng(0)
    slow, fast = rng.normal(size=(12, 3, OUTPUTS)), rng.normal(size=(12, 3, OUTPUTS))
    loss = srl.losses.squared_error(slow, readout="slow") + srl.losses.squared_error(fast, readout="fast")
    losses = (jax_losses.squared_error(slow, readout="slow"), jax_losses.squared_error(fast, readout="fast"))
    reference_loss = jax_losses.add(*losses)
    spec, params = from_network(net)
    stopped = dataclasses.replace(spec, stop_between_units=True)
    expected = to_flat(net, reference_gradient(stopped, params, x, reference_loss)[1])
    whole = to_flat(net, reference_gradient(spec, params, x, reference_loss)[1])
    found = srl.gradient(net, srl.EProp(), x, loss)[1]
    assert np.abs(expected - whole).max() > 1e-3 * np.abs(whole).max(), "the synaptic path must matter"
    assert np.abs(found - expected).max() <= EXACT64 * np.abs(expected).max()


def test_eprop_feedback_kinds() -> None:
    net = small("alif")
    x, loss = problem(net)
    kinds = ("symmetric", "random", "adaptive")
    symmetric, fixed, adaptive = (srl.gradient(net, srl.EProp(kind, seed=2), x, loss)[1] for kind in kinds)
    np.testing.assert_array_equal(fixed, adaptive)  # until the readout changes
    assert np.abs(symmetric - fixed).max() > 1e-3
    with pytest.raises(ValueError, match=r"feedback is 'guess'; legal"):
        srl.EProp("guess")


def test_adaptive_feedback_follows_the_readout() -> None:
    net = small("alif")
    learner = srl.EProp("adaptive", seed=2)
    online = srl.Online(net, learner, srl.optimizers.sgd(0.1), srl.losses.squared_error)
    start = online.memory.feedback.copy()
    before = net.view(net.theta)["z"]["weight"].copy()
    for t in range(6):
        online.predict_one([3.0, -3.0, np.sin(t)])
        online.learn_one([1.0, -1.0])
        if t == 4:
            after = net.view(net.theta)["z"]["weight"].copy()
    np.testing.assert_allclose(online.memory.feedback - start, after - before, atol=1e-12)
    assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize("learner", [srl.KFRTRL(samples=2, seed=5), srl.UORO(seed=5)], ids=repr)
def test_pieces_equal_the_whole_and_seeds_repeat(learner) -> None:
    net = small("egru", delay=2)
    x, loss = problem(net)
    whole, again, pieces = (srl.gradient(net, learner, x, loss, tau=tau)[1] for tau in (None, None, 3))
    np.testing.assert_array_equal(whole, again)
    np.testing.assert_allclose(pieces, whole, rtol=1e-9, atol=1e-12)
    other = srl.gradient(net, dataclasses.replace(learner, seed=6), x, loss)[1]
    assert np.abs(other - whole).max() > 1e-6


def test_gradients_of_synapses_message_by_message_and_as_a_product(monkeypatch) -> None:
    """Of masks with one delay each; finite differences beside both."""
    net = srl.Network("float64").add_input("x", 5).add_population("h", srl.models.rnn, 12)
    net.connect("x", "h", density=0.5, seed=3, delay=2).connect("h", "h", density=0.3, seed=1, delay=3)
    net.add_readout("z", "h", 2).initialize(0)
    x, loss = np.random.default_rng(0).normal(size=(20, 3, 5)), srl.losses.squared_error(np.ones((20, 3, 2)))
    found, counts, products, product, filled = [], [], [], adjoint._dense_weights, adjoint._filled
    monkeypatch.setattr(adjoint, "_dense_weights", lambda w, link, parts: products.append(link) or product(w, link, parts))
    monkeypatch.setattr(adjoint, "_filled", lambda link, weight: products.append(link) or filled(link, weight))
    for share in (2.0, 0.0):
        with override(message_product=share, message_product_rows=1, error_product=share, error_product_lanes=1):
            found.append(srl.gradient(net, srl.BPTT(), x, loss)[1])
            assert len(products) == (0 if share else 3), "h<-h once on the way back, both masks at the end"
            (cost,) = srl.compare(net, [srl.RTRL(route="transitions")], x, loss).cost.values()
            counts.append(cost.macs)
    missing = sum(p.shape[0] * p.shape[1] - p.n_synapses for p in net.projections)
    assert counts[1] - counts[0] == 20 * 3 * missing, "what is done in gaps is counted"
    np.testing.assert_allclose(*found, rtol=EXACT64, atol=EXACT64 * np.abs(found[0]).max())
    direction, step = np.random.default_rng(1).normal(size=net.theta.shape), 1e-6
    values = []
    for way in (step, -step):
        net.theta[...] += way * direction
        values.append(loss.signal({"z": srl.simulate(net, x).z}, {}, 0, 20).value)
        net.theta[...] -= way * direction
    slope = (values[0] - values[1]) / (2 * step)
    assert abs(slope) > 1e-3
    assert found[1] @ direction == pytest.approx(slope, rel=1e-6)
