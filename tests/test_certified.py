"""Certificates: exact along the directions, never below the distance to exact RTRL, and as often beyond it as they say."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
import pytest

import spikertrl as srl
from networks import OUTPUTS, drive, stacked
from spikertrl.learners import textbook
from spikertrl.learners.certified import Certificate, certificate
from spikertrl.learners.engines.tangents import Tangents, init_tangents
from spikertrl.learners.readout import readout_weights
from spikertrl.network.wiring import reachable
from spikertrl.simulation.run import as_input, pieces, simulator
from spikertrl.training.gradients import signal_of
from tolerances import ALIVE, EXACT64

STEPS, LANES = 20, 3
SLOW, FAST = (srl.losses.squared_error(np.ones((STEPS, LANES, OUTPUTS)), readout=name) for name in ("slow", "fast"))
LOSS = SLOW + FAST + 0.3 * srl.losses.activity("a", 0.3)
APPROXIMATE = (srl.SnAp(1), srl.SnAp(2), srl.RandomPaths(3), srl.EProp(), srl.UORO(), srl.Immediate())


@pytest.mark.parametrize("tau", [None, 1, 7])
@pytest.mark.parametrize("models", [("egru", "alif"), ("rnn", "egru")])
def test_the_gradient_along_directions_is_exact(models: tuple[str, str], tau: int | None) -> None:
    """Two populations, delays of 1 to 7, masks, trained thresholds, readouts with and without leak, tapes of any length."""
    net = stacked(*models)
    x, found = as_input(net, drive(STEPS, LANES)), np.zeros(12)
    machine, tangents = simulator(net), init_tangents(net.wiring, LANES, 12, 3)
    state = machine.start(LANES)
    for _ in range(2):  # the second time after a reset
        found[:] = 0
        for part in pieces(STEPS, tau):
            tape = machine.run(state, x[part])
            found += tangents.update(tape, signal_of(net, LOSS, tape, part.start, STEPS))
        state.reset_lanes()
    expected = tangents.along(srl.gradient(net, srl.BPTT(), x, LOSS)[1])
    assert np.abs(expected).min() > ALIVE
    assert np.abs(found - expected).max() < EXACT64 * np.abs(expected).max()


def violations(cases: int, risks: tuple[float, ...], seed: int) -> tuple[list[int], np.ndarray]:
    """How many bounds lie below the distance to exact RTRL, for each risk, and estimate over distance, of random cases.

    All learners see one run of a random network; each is certified by directions of its own.
    """
    rng, below, ratio = np.random.default_rng(seed), [0] * len(risks), []
    while len(ratio) < cases:
        net, x, loss = _case(rng)
        K, tau, learners = int(rng.choice([8, 16, 32])), int(rng.integers(1, len(x) + 1)), (srl.RTRL(), *APPROXIMATE)
        tangents = init_tangents(net.wiring, x.shape[1], K * len(APPROXIMATE), int(rng.integers(1 << 31)))
        along, (exact, *gradients) = _learned(net, learners, x, loss, tau, tangents)
        for k, gradient in enumerate(gradients):
            mine, distance = slice(k * K, (k + 1) * K), float(np.linalg.norm(gradient - exact))
            if distance > 1e-9 * np.linalg.norm(exact):  # else it happens to be exact here
                told = [certificate(along[mine], tangents.along(gradient)[mine], gradient, risk) for risk in risks]
                below = [n + (one.bound < distance) for n, one in zip(below, told, strict=True)]
                ratio.append(told[0].estimate / distance)
    return below, np.array(ratio)


def _learned(net: srl.Network, learners: tuple, x: np.ndarray, loss: srl.losses.Loss, tau: int, tangents: Tangents):
    """The exact gradient along the directions, and the learners' gradients, of a sequence in pieces."""
    machine, memories = simulator(net), [learner.init(net, x.shape[1]) for learner in learners]
    state, along = machine.start(x.shape[1]), np.zeros(tangents.states.shape[2])
    gradients = np.zeros((len(learners), len(net.theta)))
    for part in pieces(len(x), tau):
        tape = machine.run(state, x[part])
        signal = signal_of(net, loss, tape, part.start, len(x), ends=True)
        along += tangents.update(tape, signal)
        for gradient, learner, memory in zip(gradients, learners, memories, strict=True):
            gradient += learner.update(memory, tape, signal)
    return along, gradients


def _case(rng: np.random.Generator) -> tuple[srl.Network, np.ndarray, srl.losses.Loss]:
    """A random network with events, an input that makes it speak, a loss at every step."""
    model, n, lanes, steps = rng.choice(["egru", "alif", "rnn"]), *(int(k) for k in rng.integers((3, 1, 3), (9, 4, 20)))
    net = srl.Network("float64").add_input("x", 2).add_population("h", str(model), n)
    net.connect("x", "h").connect("h", "h", mask=rng.random((n, n)) < rng.choice([0.3, 1.0]), delay=int(rng.integers(1, 4)))
    net.add_readout("z", "h", 2, decay=float(rng.choice([0.0, 0.7]))).initialize(int(rng.integers(1 << 31)))
    net.theta[...] *= np.exp(rng.uniform(-1, 1.5))
    x = np.abs(rng.normal(size=(steps, lanes, 2))) * np.exp(rng.uniform(-1, 1))
    return net, x, srl.losses.squared_error(rng.normal(size=(steps, lanes, 2)))


def test_bounds_hold_and_are_as_tight_as_they_say() -> None:
    """The sharp part: with a risk of a tenth, a tenth of them fail."""
    cases, risks = 60, (1e-6, 0.1, 0.5)
    below, ratio = violations(cases, risks, 0)
    assert below[0] == 0
    for risk, found in zip(risks[1:], below[1:], strict=True):
        assert abs(found - risk * len(ratio)) < 4 * np.sqrt(len(ratio) * risk * (1 - risk))
    assert abs(np.mean(ratio**2) - 1) < 0.15
    assert len(ratio) >= cases


@pytest.mark.slow
def test_no_bound_of_ten_thousand_is_below_the_distance_to_exact_rtrl() -> None:
    below, ratio = violations(10_000, (1e-6, 0.01, 0.1, 0.5), 1)
    print(f"{len(ratio)} cases: bounds below the distance {below}, mean squared ratio {np.mean(ratio**2):.4f}")
    assert below[0] == 0
    for risk, found in zip((0.01, 0.1, 0.5), below[1:], strict=True):
        assert abs(found - risk * len(ratio)) < 4 * np.sqrt(len(ratio) * risk * (1 - risk))


def test_a_certified_learner_hands_its_gradient_on_and_compare_says_the_same() -> None:
    net, x = stacked("egru", "alif"), drive(STEPS, LANES)
    plain, certified = srl.SnAp(1), srl.Certified(srl.SnAp(1))
    table = srl.compare(net, [srl.BPTT(), plain], x, LOSS, certify=16)
    exact, told = table.certificate.values()
    distance = np.linalg.norm(table.gradients["SnAp(order=1)"] - table.gradients["BPTT(truncate=None, stride=1)"])
    assert exact.relative < EXACT64 < told.relative
    assert distance < told.bound < 5 * distance
    assert np.cos(np.arccos(told.cosine)) <= table.cosine["SnAp(order=1)"]["all"]
    assert f"{told.relative:.3g}" in str(table) and "certificate" in table._repr_html_()
    assert "certificate" not in str(srl.compare(net, [plain], x, LOSS))
    assert np.array_equal(srl.gradient(net, certified, x, LOSS)[1], srl.gradient(net, plain, x, LOSS)[1])


def test_online_and_fit_tell_and_a_file_holds_it() -> None:
    net = stacked("egru", "alif")
    online = srl.Online(net, srl.Certified(srl.SnAp(1), 8), srl.optimizers.sgd(1e-3), loss={"slow": srl.losses.squared_error})
    x = drive(30, 1)[:, 0]
    for x_t in x[:20]:
        online.predict_one(x_t)
        online.learn_one({"slow": [1.0, -1.0]})
    again = srl.load(online.save(os.path.join(tempfile.mkdtemp(), "online.npz")))
    for one in (online, again):
        for x_t in x[20:]:
            one.predict_one(x_t)
            one.learn_one({"slow": [1.0, -1.0]})
    assert online.memory.certificate == again.memory.certificate and online.memory.certificate.bound > 0
    assert online.memory.bytes_held() > online.memory.inner.bytes_held()
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 6, theta=0.05).connect("x", "h")
    net = net.connect("h", "h").add_readout("z", "h", 2).initialize(0)
    given = (net, srl.tasks.spiral(0), srl.Certified(srl.SnAp(1)), srl.optimizers.sgd(1e-3))
    history = srl.fit(*given, steps=2, batch=4, progress=False)
    assert (history["certificate"] > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("inner", [srl.KFRTRL(), srl.OK(2), srl.UORO()], ids=str)
def test_learners_with_random_signs_are_certified_too(inner: srl.learners.Learner) -> None:
    """The gradient is the learner's own, sign by sign; the distance is below the bound; a file goes on with both."""
    net, x = stacked("egru", "alif"), drive(STEPS, LANES)
    exact, plain = (srl.gradient(net, learner, x, LOSS, tau=STEPS)[1] for learner in (srl.RTRL(), inner))
    learner = srl.Certified(inner, 8)
    memory, machine = learner.init(net, LANES), simulator(net)
    tape = machine.run(machine.start(LANES), as_input(net, x))
    found = learner.update(memory, tape, signal_of(net, LOSS, tape, 0, STEPS, ends=True))
    np.testing.assert_array_equal(found, plain)
    distance = float(np.linalg.norm(found - exact))
    assert memory.certificate is not None and ALIVE < distance < memory.certificate.bound < 20 * distance
    online = srl.Online(net, learner, srl.optimizers.sgd(1e-3), loss={"slow": srl.losses.squared_error})
    again = online
    for t, x_t in enumerate(x[:, 0]):
        again = srl.load(online.save(os.path.join(tempfile.mkdtemp(), "online.npz"))) if t == 5 else again
        for one in (online, again) if t >= 5 else (online,):
            one.predict_one(x_t)
            one.learn_one({"slow": [1.0, -1.0]})
    assert online.memory.certificate == again.memory.certificate
    np.testing.assert_array_equal(online.net.theta, again.net.theta)


def test_a_certificate_says_what_it_can() -> None:
    assert Certificate(3.0, 1.0, 6.0, 1e-6).relative == 0.5
    assert Certificate(3.0, 1.0, 6.0, 1e-6).cosine == pytest.approx(0.75**0.5)
    assert Certificate(3.0, 1.0, 2.0, 1e-6).cosine == -1 and Certificate(0.0, 0.0, 0.0, 1e-6).relative == 0
    assert Certificate(1.0, 0.5, 0.0, 1e-6).relative == np.inf
    text: Any = "SnAp"
    wrong = (
        lambda: srl.Certified(text), lambda: srl.Certified(srl.SnAp(1), 0), lambda: srl.Certified(srl.SnAp(1), risk=1.0),
        lambda: srl.Certified(srl.SnAp(1), risk=0.0), lambda: srl.Certified(srl.SnAp(1), seed=-1),
    )  # fmt: skip
    for call in wrong:
        with pytest.raises(ValueError, match=r"Certified: .*legal: "):
            call()


# -- learners that keep more from some step on ---------------------------------------------------------------------------
def _units_apart(order: int) -> srl.Network:
    """A chain of eight units that also hear themselves, its synapses of 1 step, or of up to 3 where units are not the same."""
    n = 8
    delay = np.ones((n, n), int) if order < 3 else 1 + (np.arange(n)[:, None] + 2 * np.arange(n)) % 3
    np.fill_diagonal(delay, 1)
    mask = np.eye(n, dtype=bool) | np.eye(n, k=-1, dtype=bool) | np.eye(n, k=3, dtype=bool)
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, n, theta=0.05)
    net.connect("x", "h").connect("h", "h", mask=mask, delay=delay)
    return net.add_readout("z", "h", 2, decay=0.6).add_readout("y", "h", 2).initialize(4)


def _by_masks(net: srl.Network, steps: list, masks: list[np.ndarray], flying: list[bool]) -> list[np.ndarray]:
    """Gradients of steps (tape, signal) by the textbook matrix, of which every step keeps units' rows (to, from) of its mask.

    Where not ``flying``, what was sent before the last step is lost.
    """
    w, found = net.wiring, []
    state, decay = textbook.init(w, steps[0][0].batch), w.decay[None, :, None]
    weights, rows = readout_weights(w, net.theta), np.repeat(np.arange(w.n_units), w.S)
    for (tape, signal), mask, kept in zip(steps, masks, flying, strict=True):
        state.E[1:] *= kept
        state.G = textbook._advance(state, tape, 0) * mask[rows][:, w.col_unit]
        sent = textbook._messages(w, tape, 0, state.G) * mask[:, w.col_unit]
        state.E = np.concatenate((sent[None], state.E[:-1]))
        state.Z = decay * state.Z + weights @ sent
        found.append(np.einsum("bo,bop->p", signal.dz[0], state.Z))
    return found


@pytest.mark.parametrize("delays", [False, True])
@pytest.mark.parametrize(
    ("first", "then"),
    [(srl.SnAp(1), srl.SnAp(2)), (srl.SnAp(1), srl.RTRL()), (srl.SnAp(2), srl.SnAp(3)), (srl.SnAp(2), srl.RTRL())],
    ids=str,
)
def test_a_learner_that_keeps_more_goes_on_with_what_was_kept(
    first: srl.SnAp, then: srl.SnAp | srl.RTRL, delays: bool
) -> None:
    """Against a reference whose mask widens at that step."""
    net, lanes, change = _units_apart(3 if delays else 1), 2, 9
    machine, x = simulator(net), as_input(net, 2 * drive(18, lanes, channels=2))
    both = [srl.losses.squared_error(np.ones((1, lanes, 2)), readout=name) for name in ("z", "y")]
    loss = both[0] + both[1]
    online = srl.Online(net, first, srl.optimizers.sgd(1.0), loss=srl.losses.squared_error, batch=lanes)
    state, steps, gradients = machine.start(lanes), [], []
    for t in range(len(x)):
        if t == change:
            online.change_learner(then)
        tape = machine.run(state, x[t : t + 1])
        signal = signal_of(net, loss, tape, 0, 1)
        gradients.append(online.learner.update(online.memory, tape, signal)[net.wiring.col_theta])
        steps.append((tape.copy(), signal))
    masks = []
    for learner in (first, then):
        ptr, units = reachable(net.wiring, learner.order - 1 if isinstance(learner, srl.SnAp) else None)
        mask = np.zeros((8, 8), bool)
        mask[units, np.repeat(np.arange(8), np.diff(ptr))] = True
        masks.append(mask)
    flying = [t != change or first.order > 1 for t in range(len(x))]
    expected = _by_masks(net, steps, [masks[t >= change] for t in range(len(x))], flying)
    wider = _by_masks(net, steps, [masks[1]] * len(x), flying)
    apart = max(np.abs(one - other).max() / np.abs(other).max() for one, other in zip(wider, expected, strict=True))
    assert apart > ALIVE, "the reference tells them apart"
    for t, (found, right) in enumerate(zip(gradients, expected, strict=True)):
        assert np.abs(found - right).max() < EXACT64 * max(np.abs(right).max(), ALIVE), f"step {t}"


def test_paths_and_certificates_go_on_and_other_learners_are_refused() -> None:
    net, x = _units_apart(1), drive(12, 1, channels=2)[:, 0]

    def learned(learner: Any, then: Any) -> tuple[np.ndarray, Any]:
        online = srl.Online(net, learner, srl.optimizers.sgd(1.0), loss={"z": srl.losses.squared_error})
        for t, x_t in enumerate(x):
            if t == 6 and then is not None:
                online.change_learner(then)
            online.predict_one(x_t)
            gradient = online.gradient_one([1.0, 0, 0, 0])
        return gradient, online.memory

    paths = srl.RandomPaths(8)
    exact, found = learned(srl.RTRL(), None)[0], learned(paths, srl.RandomPaths(8, seed=1))[0]
    assert np.abs(found - exact).max() < EXACT64 * np.abs(exact).max()
    raised, memory = learned(srl.Certified(srl.SnAp(1)), srl.Certified(srl.RTRL()))
    assert 0 < np.linalg.norm(raised - exact) < memory.certificate.bound < 20 * np.linalg.norm(raised - exact)
    certified = srl.Certified(srl.SnAp(1))
    refused = ((srl.UORO(), srl.RTRL()), (srl.SnAp(1), srl.UORO()), (srl.SnAp(1), certified), (srl.RandomPaths(2), srl.RTRL()),
               (certified, srl.Certified(srl.SnAp(2), 8)))  # fmt: skip
    for first, then in refused:
        with pytest.raises(ValueError, match=r"cannot go on from a .*; legal: "):
            learned(first, then)
