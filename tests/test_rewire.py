"""Networks that rewire while they learn: gradients against the textbook, and everything along theta goes along."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikertrl as srl
import spikertrl.experiments as _experiment
from spikertrl.learners import textbook
from spikertrl.network.wiring import reachable
from tolerances import DIFFERENCES

SAME = 1e-9  # two roads to one gradient, along a trajectory that both of them have made
X = 2 * np.random.default_rng(0).normal(size=(14, 2, 2))


def network(model: str = "egru", delay: int = 1, decay: float = 0.5, **keywords: Any) -> srl.Network:
    """As in the tests of Online, with half of the synapses."""
    net = srl.Network("float64").add_input("x", 2).add_population("h", model, 6, **keywords)
    net.connect("x", "h").connect("h", "h", delay=delay, density=0.4, seed=3)
    return net.add_readout("z", "h", 1, decay=decay).initialize(0)


def pairs(net: srl.Network) -> set[tuple[int, int]]:
    projection = next(p for p in net.projections if p.name == "h<-h")
    post = np.repeat(np.arange(6), np.diff(projection.indptr))
    return set(zip(post.tolist(), projection.indices.tolist(), strict=True))


def stream(net: srl.Network, learner: Any, rule: Any, lanes: int = 2) -> list[np.ndarray]:
    """Gradients of a stream that learns and rewires, each as {parameter: value}."""
    found: list[np.ndarray] = []
    online = srl.Online(net, learner, srl.optimizers.momentum(0.02), srl.losses.squared_error, batch=lanes, rewire=rule)
    for t, x in enumerate(X[:, :lanes]):
        if t == 9:
            online.reset(np.array([True, False]))
        z = online.predict_one(x)
        found.append(online.gradient_one(z - 1))
        online.apply(found[-1])
    return found


OFTEN = srl.rewire.sparse_evolution("h<-h", every=2, share=0.3, seed=1)


def exact_sums(net: srl.Network, history: list[tuple[np.ndarray, set[tuple[int, int]]]], k: tuple[int, int]) -> float:
    """dz_T/dw of a synapse, by finite differences of a dense network along the history of its weights since its birth."""
    born = max((t + 1 for t, (_, there) in enumerate(history) if k not in there), default=0)

    def said(step: float) -> float:
        state = None
        for t, (dense, _) in enumerate(history):
            net.theta[...] = dense
            if t >= born:
                net.view(net.theta)["h<-h"]["f"][k] += step
            run = srl.simulate(net, X[t : t + 1, :1], state=state)
            state = run.state
        return float(run.z[-1].sum())

    ends = [said(step) for step in (-2e-4, -1e-4, 1e-4, 2e-4)]
    return (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / 12e-4


@pytest.mark.parametrize("learner", [srl.RTRL(), srl.RTRL(dense=True)], ids=repr)
def test_the_gradient_is_exact_for_the_synapses_that_there_are(learner: Any) -> None:
    """A smooth network: finite differences along the same history of weights, each synapse counted since its birth."""
    net, dense = network("rhn", 2), srl.Network("float64").add_input("x", 2).add_population("h", "rhn", 6).connect("x", "h")
    dense.connect("h", "h", delay=2).add_readout("z", "h", 1, decay=0.5).initialize(0)
    online = srl.Online(net, learner, srl.optimizers.sgd(0.1), srl.losses.squared_error, rewire=OFTEN)
    history: list[tuple[np.ndarray, set[tuple[int, int]]]] = []
    for x in X[:7, 0]:
        z = online.predict_one(x)
        for group, named in net.view(net.theta).items():
            for name, values in named.items():
                dense.view(dense.theta)[group][name][...] = values.toarray() if group == "h<-h" else values
        history.append((dense.theta.copy(), pairs(net)))
        gradient = online.gradient_one([1.0])
        online.apply(gradient * (z - 1))
    assert len({frozenset(there) for _, there in history}) == 4
    post, pre = (p for p in net.view(net.theta)["h<-h"]["c"].nonzero())
    found = net.view(gradient)["h<-h"]["f"].toarray()
    for k in set(list(zip(post.tolist(), pre.tolist(), strict=True))[::2]):
        expected = exact_sums(dense, history, k)
        assert found[k] == pytest.approx(expected, rel=DIFFERENCES, abs=1e-9)
    assert np.abs(found).max() > 1e-3


@pytest.mark.parametrize(
    ("learner", "hops"),
    [(srl.RTRL(), None), (srl.SnAp(1), 0), (srl.SnAp(2), 1), (srl.EProp(), -1)],
    ids=lambda value: repr(value),
)
@pytest.mark.parametrize("delay", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_learners_carry_what_the_textbook_carries(learner: Any, hops: int, delay: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events, lanes, a leaky readout, momentum: the textbook matrix, with the rows that the learner keeps, and no others."""
    advance = textbook._advance

    def limited(state: Any, tape: Any, t: int) -> np.ndarray:
        w = state.wiring
        if hops == -1:
            silent = np.where(np.isin(np.arange(len(tape.theta)), w.syn_theta), 0, tape.theta)
            return advance(state, dataclasses.replace(tape, theta=silent), t)
        kept = np.ones((w.n_states, w.n_recurrent), bool)  # one state a unit
        if hops is not None:
            pointer, units = reachable(w, hops)
            for k in range(w.n_units):
                rows = units[pointer[k] : pointer[k + 1]]
                kept[:, w.col_ptr[k] : w.col_ptr[k + 1]] = np.isin(np.arange(w.n_states), rows)[:, None]
        state.G, state.E = state.G * kept, state.E * kept  # rows out of reach after a rewiring are dropped
        return advance(state, tape, t) * kept

    monkeypatch.setattr(textbook, "_advance", limited)
    decay = 0.5 if hops is None or hops > 0 else 0.0  # own rows are read with the readout's present weights
    found = [network("egru", delay, decay, theta=0.05) for _ in range(2)]
    gradients = [stream(net, one, OFTEN) for net, one in zip(found, (learner, srl.RTRL(dense=True)), strict=True)]
    assert pairs(found[0]) == pairs(found[1]) != pairs(network()) and np.abs(gradients[0][-1]).max() > 1e-3
    np.testing.assert_allclose(found[0].theta, found[1].theta, rtol=SAME, atol=SAME)
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=SAME, atol=SAME)


def test_deep_rewiring_keeps_signs_and_density() -> None:
    """Weights that come to zero die; those that stay have the sign that they were born with, and as many grow."""
    net = network(theta=0.05)
    before, signs = pairs(net), {}
    rule = srl.rewire.deep_r("h<-h", every=1, shrink=0.02, seed=2)
    online = srl.Online(net, srl.SnAp(1), srl.optimizers.sgd(0.05), srl.losses.squared_error, rewire=rule)
    for t in range(40):
        online.predict_one(X[t % 14, 0])
        online.learn_one([1.0])
        weights = {(port, *k): v for port, m in net.view(net.theta)["h<-h"].items() for k, v in _entries(m)}
        for key, value in weights.items():
            if value and key in signs:
                assert np.sign(value) == signs[key]
        signs = {key: np.sign(value) or signs.get(key, 0.0) for key, value in weights.items()}
        signs = {key: value for key, value in signs.items() if value}
        assert len(pairs(net)) == len(before)
    assert len(pairs(net) & before) < len(before)


def _entries(matrix: Any) -> list[tuple[tuple[int, int], float]]:
    """Synapses, those of weight zero, too."""
    post = np.repeat(np.arange(6), np.diff(matrix.indptr))
    return list(zip(zip(post.tolist(), matrix.indices.tolist(), strict=True), matrix.data.tolist(), strict=True))


def test_a_stream_goes_on_from_a_file(tmp_path: Path) -> None:
    rules = [OFTEN, srl.rewire.deep_r("in", every=3, shrink=0.01)]
    net = network(theta=0.05).connect("x", "h", name="in", density=0.5).initialize(0)
    online = srl.Online(net, srl.SnAp(2), srl.optimizers.adam(0.05), srl.losses.squared_error, rewire=rules)
    again = online
    for t, x in enumerate(X[:, 0]):
        if t in (5, 8):  # with a step that waits, and with a rewiring that waits
            if t == 5:
                online.predict_one(X[0, 1])
            again = srl.load(online.save(tmp_path / "online.npz"))
        for one in {id(online): online, id(again): again}.values():
            one.predict_one(x)
            one.learn_one([1.0])
    np.testing.assert_array_equal(again.net.theta, online.net.theta)
    assert pairs(again.net) == pairs(net) != pairs(network())


@pytest.mark.parametrize("learner", [srl.RTRL(), srl.SnAp(2)], ids=repr)
def test_training_goes_on_from_a_checkpoint(learner: Any, tmp_path: Path) -> None:
    """With pieces, momentum and a stop in between: bit by bit the same; another mask gives the states of SnAp other shapes."""

    evolve = srl.rewire.sparse_evolution("h<-h", every=3, share=0.4)

    def train(net: srl.Network, steps: int, path: Path | None = None, rule: Any = evolve) -> srl.Network:
        task, adam = srl.tasks.delayed_xor(2, 1, seed=0), srl.optimizers.adam(0.02)
        srl.fit(net, task, learner, adam, steps=steps, batch=2, tau=4, rewire=rule, checkpoint=path, progress=False)
        return net

    def fresh() -> srl.Network:
        net = srl.Network("float64").add_input("x", 2).add_population("h", "egru", 6, theta=0.05).connect("x", "h")
        return net.connect("h", "h", density=0.4, seed=3).add_readout("z", "h", 2, decay=0.5).initialize(0)

    whole, path = train(fresh(), 6), tmp_path / "run.npz"
    first = train(fresh(), 3, path)
    assert pairs(first) != pairs(fresh())
    second = train(fresh(), 6, path)
    assert pairs(second) == pairs(whole)
    np.testing.assert_array_equal(second.theta, whole.theta)
    with pytest.raises(ValueError, match="rewire"):
        train(fresh(), 9, path, srl.rewire.deep_r("h<-h"))


def test_what_cannot_be_rewired_is_refused() -> None:
    def online(net: srl.Network, rule: Any, learner: Any = srl.SnAp, **keywords: Any) -> srl.Online:
        return srl.Online(net, learner, srl.optimizers.sgd(0.1), srl.losses.squared_error, rewire=rule, **keywords)

    def other(**keywords: Any) -> srl.Network:
        net = network().connect("h", "h", name="p", **({"density": 0.5} | keywords))
        return net.initialize(0)

    rule = srl.rewire.sparse_evolution("p", every=1)
    delays = np.arange(36).reshape(6, 6) % 3 + 1
    for net, given, why in (
        (other(), srl.rewire.deep_r("q"), "there is no connection 'q'; connections"),
        (other(), [rule, rule], "one rule for a connection"),
        (other(), "p", "rewire"),
        (other(density=None), rule, "has 36 synapses; legal: a mask"),
        (other(delay=delays), rule, "a delay for each synapse; legal: one for all"),
        (other(trainable=["u"]), rule, "trains the ports"),
    ):
        with pytest.raises(ValueError, match=why):
            online(net, given)
    with pytest.raises(ValueError, match="horizon is 2; legal: 0 where"):
        online(other(), rule, horizon=2)
    noisy = online(other(), rule, srl.BPTT(truncate=3))
    noisy.predict_one(X[0, 0])
    noisy.learn_one([1.0])
    with pytest.raises(ValueError, match=r"BPTT.* cannot go on with another mask"):
        noisy.predict_one(X[1, 0])
    for wrong in ({"every": 0}, {"share": 0}, {"share": 1.5}, {"seed": -1}):
        with pytest.raises(ValueError, match="sparse_evolution"):
            srl.rewire.sparse_evolution("p", **wrong)
    with pytest.raises(ValueError, match="deep_r: shrink"):
        srl.rewire.deep_r("p", shrink=-1)


def test_the_comparison_runs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    main, out = _experiment.load("rewired_masks"), ["--out", str(tmp_path)]
    assert main(["--quick", *out]) == 0
    assert "sparse evolution" in capsys.readouterr().out and (tmp_path / "spiral.png").exists()
    assert main(["--quick", "--task", "digits", "--data", str(tmp_path), *out]) == 2 and "skipped" in capsys.readouterr().err


@pytest.mark.slow
def test_the_comparison_on_digits_runs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Input and recurrence rewire together, where the data are there."""
    found = _experiment.load("rewired_masks")(["--quick", "--task", "digits", "--out", str(tmp_path)])
    if found == 2:
        pytest.skip("no data")
    rows = list(csv.DictReader((tmp_path / "digits_curves.csv").read_text().splitlines()))
    assert found == 0 and len({row["mask"] for row in rows}) == 3 and (tmp_path / "digits.png").exists()
