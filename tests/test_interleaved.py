"""Any two users of one network, one in the middle of the other: whoever runs it owns what is written meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import spikertrl as srl
from spikertrl.optimizers import Optimizer
from spikertrl.training.fit import evaluate

T, B = 5, 2
X = 2 * np.random.default_rng(1).normal(size=(T, B, 2))
Y = np.random.default_rng(2).normal(size=(T, B, 2))
LEARNERS = [
    srl.RTRL(), srl.RTRL(dense=True), srl.SnAp(1), srl.SnAp(2), srl.EProp(), srl.RFLO(), srl.BPTT(), srl.BPTT(truncate=3),
    srl.KFRTRL(), srl.OK(), srl.UORO(), srl.Immediate(), srl.RandomPaths(),
]  # fmt: skip


def network(seed: int = 0) -> srl.Network:
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 6, theta=0.05)
    net.connect("x", "h").connect("h", "h", delay=2)
    return net.add_readout("z", "h", 2, decay=0.5).initialize(seed)


class Noting(Optimizer):
    """Writes gradients down and moves nothing, so that all users see the same parameters."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def buffers(self) -> tuple[str, ...]:
        return ()

    def advance(self, state: Any, theta: np.ndarray, grad: np.ndarray) -> None:
        self.seen.append(grad.copy())


class Meanwhile:
    """A learner that lets others use the network while its tape waits to be learned from."""

    def __init__(self, learner: Any, others: Callable[[], None]) -> None:
        self.learner, self.others, self.claim, self.init = learner, others, learner.claim, learner.init

    def update(self, state: Any, tape: Any, signal: Any) -> np.ndarray:
        self.others()
        return self.learner.update(state, tape, signal)


# -- users: each gives a list of arrays and numbers ------------------------------------------------------------------------
def simulating(net: srl.Network, learner: Any, others: Callable[[], None]) -> list:
    state, found = None, []
    for part in (slice(0, 3), slice(3, 4), slice(4, 5)):
        run = srl.simulate(net, X[part], state=state)
        state = run.state
        found += [run.z, run.states["h"]["c"], run.messages["h"]]
        others()
    return found


def taking_gradients(net: srl.Network, learner: Any, others: Callable[[], None]) -> list:
    loss = srl.losses.squared_error(Y)
    return [part for tau in (None, 2) for part in srl.gradient(net, Meanwhile(learner, others), X, loss, tau=tau)]


def comparing(net: srl.Network, learner: Any, others: Callable[[], None]) -> list:
    found = srl.compare(net, [Meanwhile(srl.RTRL(), others), learner], X, srl.losses.squared_error(Y), tau=4)
    return [found.value, *found.gradients.values()]


def fitting(net: srl.Network, learner: Any, others: Callable[[], None]) -> list:
    notes, task = Noting(), srl.tasks.spiral(0)
    history = srl.fit(net, task, Meanwhile(learner, others), notes, steps=2, batch=2, progress=False)
    return [*history["loss"], *notes.seen]


def learning_online(net: srl.Network, learner: Any, others: Callable[[], None]) -> list:
    notes = Noting()
    online, found = srl.Online(net, learner, notes, srl.losses.squared_error, batch=B), []
    for x, y in zip(X, Y, strict=True):
        found.append(online.predict_one(x))
        others()
        found.append(online.learn_one(y))
    return [*found, *notes.seen]


def evaluating(net: srl.Network, learner: Any, others: Callable[[], None]) -> list:
    task = srl.tasks.spiral(0)
    found = list(evaluate(net, task, *task.batch(3)).values())
    others()
    return found


USERS = [simulating, taking_gradients, comparing, fitting, learning_online, evaluating]


def nobody() -> None:
    pass


def same(found: list, expected: list) -> bool:
    return len(found) == len(expected) and all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_any_two_users_of_one_network_get_what_each_gets_alone(learner: Any) -> None:
    alone = {user: user(network(), learner, nobody) for user in USERS}
    net = network()
    for first in USERS:
        for second in USERS:
            turns = iter(range(1))

            def others(second: Callable = second, turns: Any = turns) -> None:
                if next(turns, None) is not None:
                    assert same(second(net, learner, nobody), alone[second])

            assert same(first(net, learner, others), alone[first]), (first.__name__, second.__name__)


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_threads_that_use_one_network_get_what_each_gets_alone(learner: Any) -> None:
    alone, net = {user: user(network(), learner, nobody) for user in USERS}, network()
    many(net, [(user, learner, alone[user]) for user in USERS] * 2)


def many(net: srl.Network, calls: list[tuple[Callable, Any, list]], threads: int = 8) -> None:
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda call: call[0](net, call[1], nobody), calls))
    wrong = [call[0].__name__ for call, result in zip(calls, found, strict=True) if not same(result, call[2])]
    assert not wrong


@pytest.mark.slow
def test_eight_threads_and_a_thousand_calls_of_all_users_and_learners() -> None:
    net = network()
    calls = [(user, learner, user(network(), learner, nobody)) for learner in LEARNERS for user in USERS]
    chosen = np.random.default_rng(0).integers(len(calls), size=1000)
    many(net, [calls[k] for k in chosen])


def test_a_network_that_changes_under_a_stream_is_told() -> None:
    net = network()
    online = srl.Online(net, srl.RTRL(), Noting(), srl.losses.squared_error)
    online.predict_one(X[0, 0])
    net.add_readout("more", "h", 1)
    with pytest.raises(RuntimeError, match="network has changed since this run began"):
        online.predict_one(X[1, 0])
