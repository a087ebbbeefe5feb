"""fit, Online, checkpoints: exact resume, divergence, interruption, histories."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import spikertrl as srl
from spikertrl.models import load
from spikertrl.training import checkpoint
from spikertrl.training.fit import Interrupted
from spikertrl.training.history import History, early_stop, wrong_with
from spikertrl.training.session import TrainingDiverged

LEARNERS = [srl.RTRL(), srl.RTRL(dense=True), srl.SnAp(1), srl.BPTT(), srl.BPTT(truncate=4), srl.Immediate()]


def network(
    model: str = "egru", inputs: int = 2, outputs: int = 2, decay: float = 0.0, delay: int = 1, seed: int = 0
) -> srl.Network:
    net = srl.Network().add_input("x", inputs).add_population("h", load(model), 8)
    net.connect("x", "h").connect("h", "h", density=0.5, seed=1, delay=delay)
    return net.add_readout("z", "h", outputs, decay=decay).initialize(seed)


def sunspots_net(delay: int = 3) -> srl.Network:
    return network("alif", 1, 1, decay=0.8, delay=delay)


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_resumed_run_equals_uninterrupted_run_bit_by_bit(tmp_path, learner):
    """A stream task: influence, events in flight, readout traces, random state and optimizer all cross the cut."""

    def run(steps, net, task, path=None):
        adam = srl.optimizers.adam(1e-2)
        return srl.fit(net, task, learner, adam, steps=steps, batch=3, tau=4, checkpoint=path, progress=False)

    whole, task = sunspots_net(), srl.tasks.sunspots(tau=8)
    expected = run(6, whole, task)
    path = tmp_path / "run.npz"
    first = sunspots_net()
    run(3, first, srl.tasks.sunspots(tau=8), path)
    second = sunspots_net()
    resumed = run(6, second, srl.tasks.sunspots(tau=8), path)
    assert np.abs(whole.theta - sunspots_net().theta).max() > 1e-3, "training must move the parameters"
    np.testing.assert_array_equal(second.theta, whole.theta)
    assert [row["loss"] for row in resumed.rows] == [row["loss"] for row in expected.rows]
    assert len(resumed) == 6


def test_sequence_task_resumes_bit_by_bit(tmp_path):
    def run(steps, net, path):
        task, adam = srl.tasks.spiral(3), srl.optimizers.adam(1e-2)
        return srl.fit(net, task, srl.RTRL(), adam, steps=steps, batch=4, checkpoint=path, progress=False)

    whole, cut, rest = network(), network(), network()
    run(5, whole, None)
    run(2, cut, tmp_path / "c.npz")
    run(5, rest, tmp_path / "c.npz")
    np.testing.assert_array_equal(rest.theta, whole.theta)


def test_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "c.npz"
    args = (srl.tasks.spiral(0), srl.RTRL(), srl.optimizers.sgd(0.1))
    srl.fit(network(), *args, steps=1, batch=2, checkpoint=path, progress=False)
    with pytest.raises(ValueError, match="belongs to another run"):
        srl.fit(network("gru"), *args, steps=2, batch=2, checkpoint=path, progress=False)
    history = srl.fit(network("gru"), *args, steps=2, batch=2, checkpoint=path, resume=False, progress=False)
    assert len(history) == 2


def test_divergence_names_step_and_parameter():
    net = network()
    net.view(net.theta)["h"]["theta"][2] = np.nan
    with pytest.raises(TrainingDiverged, match=r"step 1: parameter h\['theta'\]"):
        srl.fit(net, srl.tasks.spiral(0), srl.RTRL(), srl.optimizers.sgd(0.1), steps=3, batch=2, progress=False)


def test_first_interrupt_finishes_the_step_and_saves(tmp_path):
    path = tmp_path / "c.npz"

    def press(net, history):
        if len(history) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    args = (srl.tasks.spiral(0), srl.RTRL(), srl.optimizers.sgd(0.1))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="stopped after step 2") as caught:
        srl.fit(network(), *args, steps=50, batch=2, checkpoint=path, callbacks=[press], progress=False)
    assert len(caught.value.history) == 2 and path.exists()
    assert signal.getsignal(signal.SIGINT) is before
    assert len(srl.fit(network(), srl.tasks.spiral(0), *args[1:], steps=3, batch=2, checkpoint=path, progress=False)) == 3


def test_validation_zeros_early_stop_and_regularizer():
    net = network()
    history = srl.fit(
        net,
        srl.tasks.spiral(0),
        srl.RTRL(),
        srl.optimizers.adam(1e-2),
        steps=6,
        batch=4,
        validate_every=2,
        zeros_every=3,
        regularizer=srl.losses.activity("h", 0.2, 1.0),
        stop=lambda h: len(h) == 4,
        progress=False,
    )
    assert len(history) == 4
    assert list(history.series("valid_accuracy")[0]) == [2, 4]
    zeros = history.rows[2]
    assert zeros["zeros_mask"] == pytest.approx(0.5, abs=0.01)
    parts = zeros["zeros_mask"] + zeros["zeros_columns"] + zeros["zeros_rows"]
    assert zeros["zeros"] == pytest.approx(parts, abs=0.2)
    assert history["macs"][-1] < history["macs_dense"][-1]
    plain = srl.fit(network(), srl.tasks.spiral(0), srl.RTRL(), srl.optimizers.adam(1e-2), steps=1, batch=4, progress=False)
    assert history["loss"][0] > plain["loss"][0]


def test_history_round_trip(tmp_path):
    history = History([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "valid_bits": 1.0}])
    assert History.from_jsonl(history.to_jsonl(tmp_path / "h.jsonl")).rows == history.rows
    assert history.to_csv(tmp_path / "h.csv").read_text().splitlines()[0] == "step,loss,valid_bits"
    with pytest.raises(KeyError, match="no column 'x'"):
        history["x"]
    assert not early_stop("loss", 1)(history)


def test_a_history_by_columns_is_the_same_history():
    rows = [{"step": 1, "loss": 0.5, "macs": 3}, {"step": 2, "loss": 1 / 3, "note": "warm"}, {"step": 3, "loss": 2}]
    rows[2]["macs"] = 1 << 53
    columns = History(rows).to_columns()
    back = History.from_columns(columns)
    assert back.rows == rows and [type(row["step"]) for row in back.rows] == [int] * 3 and History.from_columns({}).rows == []
    assert isinstance(back.rows[0]["macs"], int) and isinstance(back.rows[1]["loss"], float)
    for odd in (None, [1.0], np.zeros(2), b"x"):
        with pytest.raises(ValueError, match=r"history: column 'odd' holds .*; legal: numbers, truth values, text"):
            History([rows[0] | {"odd": 1.0}, rows[1] | {"odd": odd}]).to_columns()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"loss": ([0, 1, 3], [0.0, 1.0, 2.0])}, "column 'loss' of its history is of rows that are not there"),
        ({"loss": ([0, 1, 1], [0.0, 1.0, 2.0])}, "column 'loss' of its history is of rows that are not there"),
        ({"loss": ([-1, 0, 1], [0.0, 1.0, 2.0])}, "column 'loss' of its history is of rows that are not there"),
        ({"loss": ([0, 1], [0.0, 1.0])}, "its history lacks loss in some rows"),
        ({"loss": ([0, 1, 2], [0.0, 1.0])}, "column 'loss' of its history is no pair of places and values"),
        ({"step": ([0, 1, 2], [1, 2, 4])}, "the steps of its history are not 1, 2, 3 and so on"),
        ({"step": ([], np.zeros(0, int))}, "column 'loss' of its history is of rows that are not there"),
        ({"x": ([0], np.zeros(1, complex))}, "column 'x' of its history holds complex128 at int64, not"),
        ({}, ""),
    ],
)
def test_columns_that_are_no_history_are_said(change, said):
    columns = {"step": ([0, 1, 2], [1, 2, 3])} | {name: ([0, 1, 2], [0.5, 0.5, 0.5]) for name in ("loss", "activity")} | change
    found = wrong_with({k: (np.array(at, np.int64), np.array(v)) for k, (at, v) in columns.items()})
    assert found.startswith(said) if said else not found


def test_checkpoint_refuses_what_it_cannot_store(tmp_path):
    with pytest.raises(TypeError, match=r"checkpoint\['f'\]"):
        checkpoint.save(tmp_path / "x.npz", {"f": lambda: None})
    assert not list(tmp_path.iterdir())


def test_online_equals_gradient_of_the_whole_sequence():
    """With a learning rate of zero effect, the sum of the online gradients is the gradient of the sum of the losses."""
    net, x = network("egru", 2, 1), np.random.default_rng(0).normal(size=(9, 1, 2))
    targets = np.ones((9, 1, 1))
    value, whole = srl.gradient(net, srl.RTRL(), x, srl.losses.squared_error(targets))
    seen = []

    class Collect(type(srl.optimizers.sgd(1.0))):
        def advance(self, state, theta, grad):
            seen.append(grad.copy())

    online = srl.Online(net, srl.RTRL(), Collect(1.0), srl.losses.squared_error)
    losses = []
    for t in range(9):
        online.predict_one(x[t, 0])
        losses.append(online.learn_one(targets[t, 0]))
    assert np.abs(whole).max() > 1e-4
    np.testing.assert_allclose(np.sum(seen, 0) / 9, whole, rtol=1e-4, atol=1e-6)
    assert np.mean(losses) == pytest.approx(value, rel=1e-5)


def test_online_step_without_label_still_moves_the_influence():
    x = np.random.default_rng(1).normal(size=(6, 2)) * 2
    kept = []
    for labelled in (range(6), [5]):
        net = network("egru", 2, 1)
        grads = []

        class Collect(type(srl.optimizers.sgd(1.0))):
            def advance(self, state, theta, grad, into=grads):
                into.append(grad.copy())

        online = srl.Online(net, srl.RTRL(), Collect(1.0), srl.losses.squared_error)
        for t in range(6):
            online.predict_one(x[t])
            if t in labelled:
                online.learn_one([1.0])
        kept.append(grads[-1])
    assert np.abs(kept[0]).max() > 1e-4
    np.testing.assert_array_equal(kept[0], kept[1])


def test_online_memory_does_not_grow():
    net = network()
    online = srl.Online(net, srl.RTRL(), srl.optimizers.sgd(1e-3), srl.losses.cross_entropy)

    def size():
        return sum(v.nbytes for v in vars(online.memory).values() if isinstance(v, np.ndarray))

    sizes = set()
    for t in range(30):
        online.predict_one([np.sin(t), 1.0])
        online.learn_one(t % 2)
        sizes.add(size())
    assert len(sizes) == 1


def test_online_refuses_bad_calls():
    online = srl.Online(network(), srl.RTRL(), srl.optimizers.sgd(1e-3), srl.losses.cross_entropy)
    with pytest.raises(RuntimeError, match="needs a predict_one"):
        online.learn_one(0)
    with pytest.raises(ValueError, match="must have 2 values"):
        online.predict_one([1.0])
    with pytest.raises(ValueError, match="not finite at step 0"):
        online.predict_one([1.0, np.nan])
