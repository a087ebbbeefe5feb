"""``tasks.arrays``: what is held out is held out, samples of unequal length, and events as input."""

from __future__ import annotations

import numpy as np
import pytest

import spikertrl as srl
from spikertrl import losses, tasks

RNG = np.random.default_rng(0)
LENGTHS = [4, 7, 2, 5]
SAMPLES = [RNG.normal(size=(n, 3)) for n in LENGTHS]
CLASSES = np.array([0, 1, 1, 0])


def network(outputs: int = 2, inputs: int = 3) -> srl.Network:
    net = srl.Network("float64").add_input("x", inputs).add_population("h", srl.models.egru, 6, theta=0.05)
    return net.connect("x", "h").connect("h", "h").add_readout("z", "h", outputs, decay=0.5).initialize(0)


def test_training_and_held_out_samples_share_nothing() -> None:
    """Every sample is named by its input: 20% and 30% of 20 are drawn with the seed, the rest is trained on."""
    x = np.broadcast_to(np.arange(20.0)[None, :, None], (3, 20, 1)).copy()
    task = tasks.arrays(x, np.arange(20) % 2, valid=0.2, test=0.3, seed=3)
    parts = [{int(v) for v in part[0, :, 0]} for part in (task.x, task.valid[0], task.test[0])]
    assert [len(part) for part in parts] == [10, 4, 6] and set.union(*parts) == set(range(20))
    drawn = {int(v) for _ in range(40) for v in task.batch(4)[0][0, :, 0]}
    assert drawn == parts[0]
    for held, labels in (task.valid, task.test):
        np.testing.assert_array_equal(labels, held[0, :, 0] % 2)
    again, other = (tasks.arrays(x, np.arange(20) % 2, valid=0.2, test=0.3, seed=s) for s in (3, 4))
    np.testing.assert_array_equal(again.valid[0], task.valid[0])
    assert not np.array_equal(other.valid[0], task.valid[0])


def test_nothing_is_validated_on_what_was_trained_on() -> None:
    task, adam = tasks.arrays(SAMPLES, CLASSES), srl.optimizers.adam(1e-2)
    for which in ("valid", "test"):
        with pytest.raises(ValueError, match=rf"nothing is held out; give {which}=0\.2"):
            getattr(task, which)
    with pytest.raises(ValueError, match="nothing is held out"):
        srl.fit(network(), task, srl.SnAp(1), adam, steps=2, batch=2, validate_every=1, progress=False)
    own = tasks.arrays(SAMPLES, CLASSES, valid=(SAMPLES[:1], CLASSES[:1]))
    history = srl.fit(network(), own, srl.SnAp(1), adam, steps=2, batch=2, validate_every=1, progress=False)
    assert len(history.series("valid_accuracy")[1]) == 2 and len(own.valid[0]) == LENGTHS[0] and own.x.shape[1] == 4


@pytest.mark.parametrize("kind", ["class", "classes", "target", "targets"])
@pytest.mark.parametrize("form", ["list", "padded"])
def test_a_ragged_batch_is_its_samples_one_by_one(form: str, kind: str) -> None:
    """Loss, gradient and score: the mean over counted entries of each sample run alone, weighted by their number."""
    labels = {
        "class": [*CLASSES],
        "classes": [RNG.integers(0, 2, n) for n in LENGTHS],
        "target": [*RNG.normal(size=(4, 2))],
        "targets": [RNG.normal(size=(n, 2)) for n in LENGTHS],
    }[kind]
    given = labels if kind.endswith("s") and kind != "class" else np.array(labels)
    if form == "list":
        task = tasks.arrays(SAMPLES, given)
    else:
        x = np.full((9, 4, 3), 5.0)  # what stands after a sample's end has no meaning
        every = np.zeros((9, 4, *np.shape(labels[0])[1:]), np.asarray(labels[0]).dtype)
        for lane, sample in enumerate(SAMPLES):
            x[: len(sample), lane] = sample
            if kind.endswith("s") and kind != "class":
                every[: len(sample), lane] = labels[lane]
        task = tasks.arrays(x, every if kind.endswith("s") and kind != "class" else given, lengths=LENGTHS)
    net = network()
    x, marked = task.batch(4)
    value, grad = srl.gradient(net, srl.RTRL(), x, task.loss(marked))
    score = srl.evaluate(net, task, x, marked)
    total, expected, values, right = 0, np.zeros_like(grad), 0.0, 0.0
    for sample, label in zip(SAMPLES, labels, strict=True):
        label, at = np.asarray(label), "each" if kind in ("classes", "targets") else "last"
        label = label[:, None] if at == "each" else label[None]
        one = losses.squared_error(label, at) if kind.startswith("target") else losses.cross_entropy(label, at)
        count = len(sample) if at == "each" else 1
        v, g = srl.gradient(net, srl.RTRL(), sample[:, None], one)
        total, expected, values = total + count, expected + count * g, values + count * v
        if not kind.startswith("target"):
            right += count * losses.accuracy(srl.simulate(net, sample[:, None]).z, label, at)
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(grad, expected / total, rtol=1e-9, atol=1e-12)
    assert value == pytest.approx(values / total, rel=1e-12)
    if kind.startswith("target"):
        assert score["error"] == pytest.approx(values / total, rel=1e-6)
    else:
        assert score["accuracy"] == pytest.approx(right / total) and score["bits"] == pytest.approx(values / total / np.log(2))


def test_a_batch_is_as_long_as_its_longest_sample() -> None:
    task = tasks.arrays(SAMPLES, CLASSES, seed=1)
    for _ in range(9):
        x, labels = task.batch(2)
        (last, lane) = np.nonzero(labels >= 0)
        assert len(x) == last.max() + 1 and sorted(lane.tolist()) == [0, 1]
        for b, t in zip(lane, last, strict=True):
            number = LENGTHS.index(t + 1)
            np.testing.assert_array_equal(x[: t + 1, b], SAMPLES[number])
            assert labels[t, b] == CLASSES[number]


def test_labels_of_minus_one_do_not_count() -> None:
    x, labels = RNG.normal(size=(5, 3, 3)), np.array([1, -1, 0])
    task, kept = tasks.arrays(x, labels), tasks.arrays(x[:, [0, 2]], labels[[0, 2]])
    found, expected = (srl.gradient(network(), srl.RTRL(), t.x, t.loss(t.labels))[1] for t in (task, kept))
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert task.n_out == 2
    with pytest.raises(ValueError, match="no label counts"):
        tasks.arrays(x, np.full(3, -1))


def test_events_are_counted_in_steps_and_channels() -> None:
    """The same as the arrays that they fall into; two events of one step and unit add up, values count."""
    samples = [[(0.0, 1), (0.9, 1), (4.1, 2, 0.5)], [], np.array([[2.0, 0.0]])]
    task = tasks.arrays(samples, [1, 0, 1], channels=3, step=0.5)
    expected = np.zeros((9, 3, 3))
    expected[0, 0, 1] = expected[1, 0, 1] = expected[4, 2, 0] = 1
    expected[8, 0, 2] = 0.5
    np.testing.assert_array_equal(task.x, expected)
    assert np.argwhere(task.labels >= 0).tolist() == [[0, 1], [4, 2], [8, 0]]
    double = tasks.arrays(samples, [1, 0, 1], channels=3, step=1.0)
    assert double.x[0, 0, 1] == 2 and len(double.x) == 5


def test_a_task_of_ragged_samples_is_learned_and_resumed(tmp_path) -> None:
    """The class is the sign of the input; held-out samples of other lengths are told, and a run goes on bit by bit."""
    rng = np.random.default_rng(1)
    samples = [sign + rng.normal(0, 0.1, (rng.integers(2, 6), 1)) for sign in rng.choice([-2.0, 2.0], 80)]
    labels = [int(sample[0, 0] > 0) for sample in samples]

    def run(steps: int, path=None) -> tuple[srl.Network, float]:
        net = srl.Network("float64").add_input("x", 1).add_population("h", srl.models.rnn, 6).connect("x", "h")
        net.connect("h", "h").add_readout("z", "h", 2).initialize(0)
        task = tasks.arrays(samples, labels, valid=0.25)
        history = srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(5e-2), steps=steps, batch=16, validate_every=20,
                          checkpoint=path, progress=False)  # fmt: skip
        return net, history.last("valid_accuracy")

    whole, accuracy = run(60)
    assert accuracy > 0.9
    run(40, tmp_path / "c.npz")
    np.testing.assert_array_equal(run(60, tmp_path / "c.npz")[0].theta, whole.theta)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tasks.arrays([], [0]), "x has shape"),
        (lambda: tasks.arrays([np.ones((2, 3)), np.ones((2, 4))], [0, 1]), "equal|same channels"),
        (lambda: tasks.arrays([np.ones((0, 3))], [0]), "not"),
        (lambda: tasks.arrays(SAMPLES, CLASSES[:3]), r"labels have shape \(3,\)"),
        (lambda: tasks.arrays(SAMPLES, CLASSES, lengths=LENGTHS), "lengths of its own|its own lengths"),
        (lambda: tasks.arrays(np.ones((3, 2, 1)), [0, 1], lengths=[3, 4]), "lengths is .* 1 .. 3"),
        (lambda: tasks.arrays(SAMPLES, np.ones(4)), r"use labels\[..., None\]"),
        (lambda: tasks.arrays(SAMPLES, CLASSES, valid=1.5), "valid is 1.5"),
        (lambda: tasks.arrays(SAMPLES, CLASSES, valid=1.0), "none of 4 samples to train on"),
        (lambda: tasks.arrays(SAMPLES, CLASSES, valid=0.5, test=0.5), "test=0.5 leaves none"),
        (lambda: tasks.arrays(SAMPLES, CLASSES, valid=([np.ones((2, 4))], [0])), "valid has other channels"),
        (lambda: tasks.arrays(SAMPLES, CLASSES, valid="half"), "valid is 'half'"),
        (lambda: tasks.arrays(SAMPLES, CLASSES, loss="mse"), "loss is 'mse'"),
        (lambda: tasks.arrays([[(0, 3)]], [0], channels=3), r"event of unit 3; legal: 0 .. 2"),
        (lambda: tasks.arrays([[(-1, 0)]], [0], channels=3), "a time is negative"),
        (lambda: tasks.arrays([[(1, 0, 1, 1)]], [0], channels=3), "4 entries"),
        (lambda: tasks.arrays([[(1, 0)]], [0], channels=0), "channels is 0"),
        (lambda: tasks.arrays([[(1, 0)]], [0], channels=1, step=0), "step is 0"),
    ],
)
def test_what_does_not_fit_is_told(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
