"""Learning from reward: traces, directions and step sizes against their definitions; environments; agents that remember."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import spikertrl as srl
from spikertrl import experiments as _experiment
from spikertrl.rl import StreamAC, StreamQ, bounded_rate
from spikertrl.rl.bounded import RewardScale, Running
from tolerances import DIFFERENCES

X = np.random.default_rng(0).normal(size=(6, 2))
STILL = {"rate": 0.0, "scale_reward": False, "discount": 0.9, "trace": 0.7}  # nothing moves


def network(outputs: int) -> srl.Network:
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.rnn, 3).connect("x", "h")
    return net.connect("h", "h", delay=2).add_readout("z", "h", outputs, decay=0.5).initialize(outputs)


def slope(net: srl.Network, of: Any) -> np.ndarray:
    """d of()/dtheta by finite differences."""
    theta, found = net.theta.copy(), np.zeros(net.theta.size)

    def at(k: int, step: float) -> float:
        net.theta[...] = theta
        net.theta[k] += step
        return float(of())

    for k in range(theta.size):
        found[k] = (8 * (at(k, 1e-4) - at(k, -1e-4)) - (at(k, 2e-4) - at(k, -2e-4))) / 12e-4
    net.theta[...] = theta
    return found


def said(net: srl.Network, steps: int) -> np.ndarray:
    return srl.simulate(net, X[:steps, None]).z[-1, 0]


def test_the_trace_of_action_values() -> None:
    """The sum of (discount lambda)^age dq(action)/dtheta over the steps, and nothing of it after an action not the best."""
    net = network(3)
    agent = StreamQ(net, srl.RTRL(), epsilon=lambda t: float(t == 2), seed=3, **STILL)
    actions: list[int | None] = [agent.begin(X[0])]
    for t in range(1, 5):
        actions.append(agent.step(0.5, X[t], False))
    best = [int(said(net, t + 1).argmax()) for t in range(5)]
    assert actions[:2] + actions[3:] == best[:2] + best[3:] and actions[2] != best[2]
    expected = np.zeros(net.theta.size)
    for t in (3, 4):
        expected = 0.63 * expected + slope(net, lambda t=t: said(net, t + 1)[actions[t]])
    np.testing.assert_allclose(agent._part.trace, expected, rtol=DIFFERENCES, atol=1e-9)
    assert np.abs(expected).max() > 0.1
    assert agent.step(1.0, X[5], False, truncated=True) is None and agent.begin(X[0]) == best[0]


def test_the_trace_of_a_policy() -> None:
    """Of log pi(action) + entropy sign(error) H, with the error of the step after; and of the value."""
    actor, critic = network(3), network(1)
    agent = StreamAC(actor, critic, srl.RTRL(), entropy=0.3, seed=1, **STILL)
    actions: list[int | None] = [agent.begin(X[0])]
    rewards = [2.0, -2.0, 0.1, 0.7]
    for t, reward in enumerate(rewards[:-1]):
        actions.append(agent.step(reward, X[t + 1], False))
    assert agent.step(rewards[-1], None, True) is None
    values = [float(said(critic, t + 1)[0]) for t in range(4)] + [0.0]
    errors = [r + 0.9 * later - now for r, now, later in zip(rewards, values[:-1], values[1:], strict=True)]
    assert errors[0] > 0 > errors[1]

    def worth(t: int) -> float:
        z = said(actor, t + 1)
        logs = z - np.log(np.exp(z).sum())
        return logs[actions[t]] - 0.3 * np.sign(errors[t]) * (np.exp(logs) * logs).sum()

    expected = [np.zeros(actor.theta.size), np.zeros(critic.theta.size)]
    for t in range(4):
        expected[0] = 0.63 * expected[0] + slope(actor, lambda t=t: worth(t))
        expected[1] = 0.63 * expected[1] + slope(critic, lambda t=t: said(critic, t + 1)[0])
    for part, wanted in zip((agent._actor, agent._critic), expected, strict=True):
        np.testing.assert_allclose(part.trace, wanted, rtol=DIFFERENCES, atol=1e-9)


def test_an_optimizer_steps_down_the_error_times_the_trace() -> None:
    """In place of the bounded step, whose settings then say nothing; both parts of an actor-critic have it."""
    net = network(3)
    before = net.theta.copy()
    agent = StreamQ(net, srl.RTRL(), optimizer=srl.optimizers.sgd(0.1), epsilon=0.0, **STILL)
    action = agent.begin(X[0])
    value, expected = float(said(net, 1)[action]), slope(net, lambda: said(net, 1)[action])
    later = float(said(net, 2).max())
    agent.step(0.5, X[1], False)
    np.testing.assert_allclose(net.theta - before, 0.1 * (0.5 + 0.9 * later - value) * expected, rtol=DIFFERENCES, atol=1e-9)
    pair = [network(3), network(1)]
    begun = [one.theta.copy() for one in pair]
    both = StreamAC(pair[0], pair[1], srl.RTRL(), optimizer=srl.optimizers.sgd(0.1), **STILL)
    both.begin(X[0])
    both.step(0.5, X[1], False)
    assert all(np.abs(one.theta - theta).max() > 1e-3 for one, theta in zip(pair, begun, strict=True)), "rate=0 is not asked"
    wrong: Any = 3
    with pytest.raises(ValueError, match="optimizer is 3"):
        StreamQ(network(3), srl.RTRL(), optimizer=wrong)


def test_an_update_does_not_overshoot() -> None:
    """A linear value of features up to 1: the error keeps its sign and does not grow, whatever it is."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        features, weights, reward = rng.uniform(-1, 1, 5), rng.normal(size=5), rng.normal(0, 10)
        error = reward - features @ weights
        after = reward - features @ (weights + bounded_rate(float(error), features) * error * features)
        assert 0 <= after / error < 1


def test_scales_are_those_of_numpy() -> None:
    values, seen = np.random.default_rng(1).normal(2, 3, 50), Running()
    for value in values:
        seen.see(value)
    assert float(seen.mean) == pytest.approx(values.mean()) and float(seen.deviation) == pytest.approx(values.std(ddof=1))
    scale, sums, total = RewardScale(0.5), [], 0.0
    for k, value in enumerate(values):
        found, total = scale(value, k % 7 == 6), 0.5 * total + value
        sums.append(total)
        total = 0.0 if k % 7 == 6 else total
    assert found == pytest.approx(values[-1] / np.std(sums, ddof=1), rel=1e-6)


def test_environments_ask_for_memory() -> None:
    """An agent that knows gets the best return, one that guesses gets chance."""
    space = _experiment.load("stream_rl").__globals__
    for kind, turns in ((space["MemoryChain"], (0, 1)), (space["TMaze"], (2, 0))):
        for knows in (True, False):
            env, returns = kind(4, seed=0), []
            for _ in range(200):
                seen, _ = env.reset()
                told, total, ended = int(seen[0] > 0), 0.0, False
                while not ended:
                    side = told if knows else int(env.rng.integers(2))
                    seen, reward, ended, late, _ = env.step(turns[side] if seen[1] or kind.actions == 2 else 1)
                    total += reward
                    assert not late
                returns.append(total)
            assert np.mean(returns) == pytest.approx(kind.best if knows else kind.chance, abs=1e-9 if knows else 0.4)


def test_cards_ask_for_memory() -> None:
    """POPGym's own environment: who knows the suit of four cards ago gets 1, who always says the same gets chance."""
    pytest.importorskip("popgym")
    kind, returns = _experiment.load("stream_rl").__globals__["RepeatPrevious"], {True: [], False: []}
    for knows, found in returns.items():
        env = kind(4, seed=0)
        for _ in range(20):
            seen, ended, total = [env.reset()[0]], False, 0.0
            while not ended:
                said = seen[-4] if knows and len(seen) > 3 else np.eye(4)[0]
                card, reward, ended, *_ = env.step(int(said[:4].argmax()))
                seen, total = [*seen, card], total + reward
            found.append(total)
    assert returns[True] == pytest.approx([kind.best] * 20) and np.mean(returns[False]) == pytest.approx(kind.chance, abs=0.05)


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"StreamAC: critic is .*one output"):
        StreamAC(network(2), network(2), srl.RTRL())
    with pytest.raises(ValueError, match=r"StreamQ: discount is 1\.5"):
        StreamQ(network(2), srl.RTRL(), discount=1.5)
    agent = StreamQ(network(2), srl.RTRL())
    with pytest.raises(ValueError, match="learn: env"):
        agent.learn(3, 10)
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'spikertrl\[rl\]'"):
        agent.learn("CartPole-v1", 10)


def test_the_comparison_runs(tmp_path: Any, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    main = _experiment.load("stream_rl")
    monkeypatch.setitem(sys.modules, "popgym", None)
    assert main(["--quick", "--steps", "60", "--out", str(tmp_path), "--methods", "tbptt1", "none"]) == 0
    told = capsys.readouterr()
    assert "repeat skipped. the task 'repeat' needs the package 'popgym'" in told.err
    assert "TBPTT(1)" in told.out and (tmp_path / "chain2.png").exists() and (tmp_path / "table.csv").exists()
