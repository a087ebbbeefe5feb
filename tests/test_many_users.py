"""One network, many users: calls that interleave or run in threads give what they give alone, bit for bit."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import spikertrl as srl
from spikertrl.training.gradients import Comparison

LEARNERS = [
    srl.RTRL(), srl.RTRL(dense=True), srl.SnAp(1), srl.SnAp(2), srl.EProp(), srl.RFLO(), srl.KFRTRL(), srl.OK(2), srl.UORO(),
    srl.BPTT(), srl.BPTT(truncate=3), srl.Immediate(), srl.RandomPaths(),
]  # fmt: skip
RNG = np.random.default_rng(0)
XS = [RNG.normal(size=(12, 3, 2)) for _ in range(8)]
LOSS = srl.losses.squared_error(np.ones((12, 3, 1)))


def network() -> srl.Network:
    net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 7, theta=0.05)
    net.connect("x", "h").connect("h", "h", density=0.5, seed=1)
    return net.add_readout("z", "h", 1, decay=0.5).initialize(0)


def simulated(net: srl.Network, k: int) -> np.ndarray:
    return srl.simulate(net, XS[k]).z


def learned(net: srl.Network, k: int) -> np.ndarray:
    return srl.gradient(net, LEARNERS[k % len(LEARNERS)], XS[k % 8], LOSS, tau=None if k % 2 else 5)[1]


def compared(net: srl.Network, k: int) -> np.ndarray:
    found: Comparison = srl.compare(net, [srl.RTRL(), srl.SnAp(1)], XS[k], LOSS)
    return np.concatenate(list(found.gradients.values()))


def test_threads_that_simulate_and_learn_from_one_network() -> None:
    net = network()
    calls = [(job, k) for k in range(13) for job in (simulated, learned, compared) if job is learned or k < 8]
    alone = [job(net, k) for job, k in calls]
    assert max(np.abs(a).max() for a in alone) > 0.01, "something must happen"
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            found = list(pool.map(lambda call: call[0](net, call[1]), calls))
            for a, b in zip(alone, found, strict=True):
                np.testing.assert_array_equal(a, b)


def test_a_comparison_is_each_learner_alone() -> None:
    net, learners = network(), [srl.RTRL(), srl.SnAp(1), srl.BPTT(), srl.RTRL()]
    found = srl.compare(net, learners, XS[0], LOSS, tau=5)
    assert list(found.gradients) == [*(repr(learner) for learner in learners[:3]), f"{srl.RTRL()!r} #2"]
    rows = str(found).split("\n")
    for learner, name, row in zip(learners, found.gradients, rows[1:], strict=True):
        value, alone = srl.gradient(net, learner, XS[0], LOSS, tau=5)
        np.testing.assert_array_equal(found.gradients[name], alone)
        assert found.value == value and found.norm[name] == pytest.approx(float(np.linalg.norm(alone)), rel=1e-12)
        exact = np.dot(alone, found.gradients[repr(learners[0])]) / found.norm[name] / found.norm[repr(learners[0])]
        assert found.cosine[name]["all"] == pytest.approx(float(exact), rel=1e-6)
        macs = found.cost[name]
        assert row.split()[0] in name and f"{found.norm[name]:.4g}" in row and (f"{macs.macs:.3g}" if macs else " - ") in row
    assert not np.array_equal(found.gradients[repr(learners[0])], found.gradients[repr(learners[1])])
    with pytest.raises(ValueError, match="at least one learner"):
        srl.compare(net, [], XS[0], LOSS)


@pytest.mark.slow
def test_a_thousand_calls_of_eight_threads() -> None:
    net = network()
    calls = [((simulated, learned)[k % 2], (k // 2) % (8 if k % 2 == 0 else 13)) for k in range(1000)]
    alone = {call: call[0](net, call[1]) for call in set(calls)}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda call: call[0](net, call[1]), calls))
    for call, array in zip(calls, found, strict=True):
        np.testing.assert_array_equal(array, alone[call])


def online(net: srl.Network, learner: object) -> srl.Online:
    return srl.Online(net, learner, srl.optimizers.sgd(lambda step: 0.0), srl.losses.squared_error)  # type: ignore[arg-type]


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_two_streams_on_one_network(learner: object) -> None:
    """Predictions and labels alternate; nothing else changes the network, so that each stream is what it is alone."""

    def losses(streams: list[srl.Online]) -> list[list[float]]:
        found: list[list[float]] = [[] for _ in streams]
        for t in range(6):
            for i, stream in enumerate(streams):
                stream.predict_one(XS[i][t, 0])
            for i, stream in enumerate(streams):
                found[i].append(stream.learn_one([float(i + 1)]))
        return found

    net = network()
    together = losses([online(net, learner), online(net, learner)])
    alone = [losses([online(net, learner)])[0]]
    assert together[0] == alone[0] and together[0] != together[1]


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_a_prediction_waits_through_whatever_else_is_done(learner: object) -> None:
    def run(between: bool) -> np.ndarray:
        net = network()
        stream = srl.Online(net, learner, srl.optimizers.sgd(0.1), srl.losses.squared_error)  # type: ignore[arg-type]
        for t in range(5):
            stream.predict_one(XS[0][t, 0])
            if between:
                srl.gradient(net, srl.RTRL(), XS[1], LOSS)
                srl.simulate(net, XS[2])
                srl.compare(net, [srl.BPTT()], XS[3], LOSS)
                srl.evaluate(net, srl.tasks.arrays(XS[4], np.ones((12, 3, 1))), XS[4], np.ones((12, 3, 1)))
            stream.learn_one([1.0])
        return net.theta.copy()

    np.testing.assert_array_equal(run(True), run(False))
    assert not np.array_equal(run(False), network().theta)


def test_fit_goes_on_through_what_callbacks_do() -> None:
    def run(*callbacks: object) -> np.ndarray:
        net = network()
        task = srl.tasks.arrays(XS[0], np.ones((12, 3, 1)))
        options = {"steps": 3, "batch": 3, "tau": 4, "progress": False, "callbacks": callbacks}
        srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(1e-2), **options)  # type: ignore[arg-type]
        return net.theta.copy()

    def busy(net: srl.Network, history: object) -> None:
        del history
        srl.simulate(net, XS[1])
        srl.gradient(net, srl.UORO(), XS[2], LOSS)

    np.testing.assert_array_equal(run(busy), run())


def test_a_state_that_is_handed_in_stays_as_it_is() -> None:
    net = network()
    first = srl.simulate(net, XS[0][:5])
    kept = first.state.snapshot()
    once, twice = (srl.simulate(net, XS[0][5:], state=first.state).z for _ in range(2))
    np.testing.assert_array_equal(once, twice)
    np.testing.assert_array_equal(once, srl.simulate(net, XS[0]).z[5:])
    np.testing.assert_array_equal(first.state.snapshot()["z"], kept["z"])
    assert first.state.time == 5


def test_a_state_of_another_network_is_refused() -> None:
    other = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 8).connect("x", "h").initialize(0)
    state = srl.simulate(other, XS[0]).state
    with pytest.raises(ValueError, match="another network"):
        srl.simulate(network(), XS[0], state=state)
    with pytest.raises(ValueError, match="lanes"):
        srl.simulate(other, XS[0][:, :2], state=state)
    with pytest.raises(ValueError, match="state is a dict"):
        srl.simulate(other, XS[0], state={})  # type: ignore[arg-type]


def test_time_belongs_to_the_state() -> None:
    net = network()
    first = srl.simulate(net, XS[0][:5])
    rest = srl.simulate(net, XS[0][5:], state=first.state)
    frames = [r.to_pandas("readouts") for r in (first, rest, srl.simulate(net, XS[0]))]
    assert [*frames[0]["time"].unique(), *frames[1]["time"].unique()] == frames[2]["time"].unique().tolist()
    assert rest.to_xarray("h")["time"].values[0] == 5 * net.dt
    assert float(rest.to_neo().segments[0].spiketrains[0].t_start) == 5 * net.dt


def test_first_use_of_a_model_in_a_thread() -> None:
    model = srl.Model(
        "thread_" + str(threading.get_native_id()), equations="dv/dt = -v/(20*ms) : 1", threshold="v > 1", reset="v = 0",
        receive="v += I_v", states={"v": srl.State()}, ports={"v": srl.Port()},
    )  # fmt: skip
    found: list[object] = []

    def use() -> None:
        try:
            net = srl.Network().add_input("x", 1).add_population("h", model, 2).connect("x", "h").initialize(0)
            found.append(srl.simulate(net, np.ones((3, 1, 1))).n_steps)
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert found == [3]


def in_a_child() -> float:
    return float(np.abs(learned(network(), 0)).sum())


def answer(queue: object) -> None:
    try:
        queue.put(in_a_child())  # type: ignore[attr-defined]
    except Exception as error:
        queue.put(f"{type(error).__name__}: {error}")  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")
def test_a_forked_child_computes_or_says_what_to_do() -> None:
    expected = in_a_child()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=answer, args=(queue,))
    child.start()
    found = queue.get(timeout=120)
    child.join(10)
    assert found == expected or "spawn" in str(found), found
    assert child.exitcode == 0


@pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["deepcopy", "pickle"])
def test_a_copy_is_as_good_as_the_original(again) -> None:
    """It trains as the original does, to the bit, and what is written into its views reaches its theta."""

    def trained(net: srl.Network) -> np.ndarray:
        task = srl.tasks.arrays(XS[0], np.ones((12, 3, 1)))
        srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(1e-2), steps=3, batch=3, progress=False)
        return net.theta

    original = network()
    original.view(original.theta)  # a view that outlives what it viewed would be copied with it
    srl.simulate(original, XS[0])
    other = again(original)
    np.testing.assert_array_equal(trained(other), trained(original))
    assert other.theta is not original.theta and np.shares_memory(other.view(other.theta)["z"]["weight"], other.theta)
    other.theta[...] *= 2
    assert not np.array_equal(srl.simulate(other, XS[0]).z, srl.simulate(original, XS[0]).z)


def test_a_dropped_network_leaves_nothing_behind() -> None:
    left = []
    for seed in range(20):
        net = network().initialize(seed)
        srl.simulate(net, XS[0])
        left += [weakref.ref(net), weakref.ref(net.wiring)]
    del net
    gc.collect()
    assert sum(one() is not None for one in left) == 0


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_what_learners_made_of_a_network_dies_with_it(learner) -> None:
    """Index tables of a wiring lie in the wiring itself: dropped networks leave none alive."""
    wirings = []
    for _ in range(3):
        net = network()
        srl.gradient(net, learner, XS[0], LOSS, tau=5)
        wirings.append(weakref.ref(net.wiring))
        del net
    gc.collect()
    assert [one() for one in wirings] == [None] * 3
