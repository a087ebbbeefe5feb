"""Tasks: held-out data is held out, seeds repeat, a restored task resumes bit by bit, and bars and floors are right."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

from spikertrl import tasks
from spikertrl.tasks.digits import FILE
from spikertrl.tasks.mackey_glass import solve


@pytest.fixture(scope="session")
def digits_file(tmp_path_factory):
    """A small file in the format of the real one: 6 speakers x 10 digits x 25 takes, 20 spikes each."""
    file = tmp_path_factory.mktemp("fsdd") / FILE
    speaker, digit, take = (a.ravel().astype(np.uint8) for a in np.meshgrid(range(6), range(10), range(25), indexing="ij"))
    rng = np.random.default_rng(0)
    duration = rng.integers(40, 400, len(digit)).astype(np.uint16)
    times = np.sort(rng.random((len(digit), 20)), axis=1) * duration[:, None] * 10
    np.savez(
        file,
        t_100us=times.ravel().astype(np.uint16),
        unit=rng.integers(0, 70, times.size).astype(np.uint8),
        offsets=20 * np.arange(len(digit) + 1),
        digit=digit,
        speaker=speaker,
        index=take,
        duration_ms=duration,
        speakers=np.array(["ann", "bob", "cat", "dan", "eve", "fay"]),
    )
    return file


MAKERS = {
    "spiral": lambda seed, file: tasks.spiral(seed),
    "spiral_sigmoid": lambda seed, file: tasks.spiral(seed, n_out=1),
    "copy": lambda seed, file: tasks.copy(length=6, seed=seed),
    "delayed_xor": lambda seed, file: tasks.delayed_xor(seed=seed),
    "binary_adding": lambda seed, file: tasks.binary_adding(length=20, seed=seed),
    "spoken_digits": lambda seed, file: tasks.spoken_digits(file, seed=seed),
    "spoken_digits_each": lambda seed, file: tasks.spoken_digits(file, label_at="each", speaker="bob", seed=seed),
    "add": lambda seed, file: tasks.add(hold=3, tau=7, seed=seed),
    "text": lambda seed, file: tasks.text(tau=7, seed=seed),
    "sunspots": lambda seed, file: tasks.sunspots(tau=7, seed=seed),
    "mackey_glass": lambda seed, file: tasks.mackey_glass(24, tau=7, seed=seed),
}
RANDOM = [name for name in MAKERS if name not in ("text", "sunspots", "mackey_glass")]


@pytest.fixture(params=MAKERS)
def make(request, digits_file):
    return lambda seed=0: MAKERS[request.param](seed, digits_file)


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_contract(make):
    task = make()
    assert task.kind in ("sequence", "stream") and isinstance(task.name, str)
    for x, labels in (task.batch(5), task.valid, task.test):
        steps, lanes, n_in = x.shape
        assert x.dtype == np.float32 and n_in == task.n_in and np.isfinite(x).all() and x.any()
        z = np.random.default_rng(1).normal(size=(steps, lanes, task.n_out)).astype(np.float32)
        signal = task.loss(labels).signal({"z": z}, {}, 0, steps)
        assert math.isfinite(signal.value) and signal.dz["z"].any() and signal.dz["z"].dtype == np.float32
        assert all(isinstance(value, float) and math.isfinite(value) for value in task.score(z, labels).values())
    assert task.observe(0.1) in (True, False)


def test_the_right_answer_scores_best(make):
    task = make()
    x, labels = task.batch(5)
    if task.name in ("sunspots", "mackey_glass"):
        assert list(task.score(labels, labels).values()) == [0.0]
        return
    timed = np.broadcast_to(labels, (len(x), 5)) if labels.ndim == 1 else labels
    z = 20.0 * (2 * timed[..., None] - 1 if task.n_out == 1 else np.eye(task.n_out)[np.maximum(timed, 0)])
    assert task.score(z, labels)["accuracy"] == 1.0
    assert task.loss(labels).signal({"z": z}, {}, 0, len(x)).value < 1e-6
    assert task.score(-z, labels)["accuracy"] < 0.9


def test_seeding_is_idempotent_and_held_out_parts_are_fixed(make):
    task, other = make(), make()
    valid, test = task.valid, task.test
    for _ in range(3):
        assert_equal(task.batch(4), other.batch(4))
    assert_equal(task.valid, valid)
    assert_equal(task.test, test)
    assert not (valid[0].shape == test[0].shape and np.array_equal(valid[0], test[0]))


@pytest.mark.parametrize("name", RANDOM)
def test_the_seed_matters(name, digits_file):
    one, other = (MAKERS[name](seed, digits_file).batch(4)[0] for seed in (0, 1))
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_restored_task_resumes_bit_by_bit(make):
    task = make()
    for _ in range(3):
        task.batch(4)
        task.observe(0.2)
    state = json.loads(json.dumps(task.state()))
    expected = [task.batch(4) for _ in range(4)]
    fresh = make()
    for target in (fresh, task):
        target.restore(state)
        for batch in expected:
            assert_equal(target.batch(4), batch)
    with pytest.raises(ValueError, match="state of task 'chess'"):
        fresh.restore(state | {"name": "chess"})


@pytest.mark.parametrize("name", ["add", "text", "sunspots", "mackey_glass"])
def test_streams_continue_and_keep_their_lanes(name, digits_file):
    short, long = (MAKERS[name](0, digits_file) for _ in range(2))
    long.tau = 21
    pieces = [short.batch(3) for _ in range(3)]
    assert_equal([np.concatenate(part) for part in zip(*pieces, strict=True)], long.batch(3))
    with pytest.raises(ValueError, match=r"4 lanes .* runs in 3"):
        short.batch(4)
    one, other = (MAKERS[name](0, digits_file) for _ in range(2))
    x, labels = one.batch(1)
    for t, (x_t, label) in enumerate(other.stream(7)):
        np.testing.assert_array_equal(x_t, x[t, 0])
        np.testing.assert_array_equal(label, labels[t, 0])
    assert t == 6
    state = other.state()
    again = MAKERS[name](0, digits_file)
    again.restore(json.loads(json.dumps(state)))
    for a, b in itertools.islice(zip(other.stream(), again.stream(), strict=True), 20):
        assert_equal(a, b)


def test_a_stream_that_forgets_what_every_stream_keeps_is_told():
    first, second = tasks.add(), tasks.add()
    first.batch(3)
    second.restore_extra = lambda state: None
    with pytest.raises(ValueError, match=r"does not call super\(\)\.restore_extra"):
        second.restore(first.state())
    second.extra_state = lambda: {"mine": 1}
    with pytest.raises(ValueError, match=r"task add: extra_state\(\) leaves out .*super\(\)\.extra_state\(\) \|"):
        second.state()


def test_spiral_parts_share_no_sequence():
    task = tasks.spiral(seed=3)
    parts = [{x[:, i].tobytes() for i in range(x.shape[1])} for x, _ in (task.train, task.valid, task.test)]
    assert [len(part) for part in parts] == [7000, 1500, 1500], "all sequences differ"
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    x, labels = task.batch(64)
    assert {x[:, i].tobytes() for i in range(64)} <= parts[0]
    assert 0.4 < task.train[1].mean() < 0.6
    turn = np.sign(x[0, :, 0] * x[1, :, 1] - x[0, :, 1] * x[1, :, 0])
    np.testing.assert_array_equal(labels, turn < 0)
    with pytest.raises(ValueError, match="n_out is 3"):
        tasks.spiral(n_out=3)


def test_copy_strings():
    task = tasks.copy(length=7)
    x, labels = task.batch(200)
    symbols = x.argmax(2)
    lengths = ((labels >= 0).sum(0) - 2) // 2
    assert set(lengths) == {3, 4, 5, 6, 7} and len(x) == 16
    for lane, n in enumerate(lengths):
        bits = symbols[1 : n + 1, lane].tolist()
        assert set(bits) <= {0, 1}
        assert symbols[: 2 * n + 2, lane].tolist() == [2, *bits, *[3] * (n + 1)]
        assert labels[: 2 * n + 2, lane].tolist() == [*[3] * (n + 1), 2, *bits]
        assert not x[2 * n + 2 :, lane].any() and (labels[2 * n + 2 :, lane] == -1).all()
    assert task.valid[0].shape == (16, 64, 4)


def test_copy_curriculum():
    task, running, grown = tasks.copy(), 2.0, 0
    for _ in range(4000):
        running = 0.999 * running + 0.001 * 0.1
        grow = running < 0.15
        running = 0.3 if grow else running
        grown += grow
        assert task.observe(0.1 * math.log(2)) == grow
        assert task.running == pytest.approx(running)
    assert grown == 1 and task.length == 2
    fixed = tasks.copy(length=3, curriculum=False)
    assert not any(fixed.observe(0.0) for _ in range(4000)) and fixed.length == 3
    assert {len(fixed.batch(5)[0]) for _ in range(5)} == {8}


def test_add_follows_its_law():
    task = tasks.add(delays=(2, 5), tau=20_000, seed=1)
    x, y = task.batch(2)
    bits = x.argmax(2)
    first, second, y = bits[3:-2], bits[:-5], y[5:]
    for a, b in itertools.product((0, 1), (0, 1)):
        chosen = y[(first == a) & (second == b)]
        chance = 0.5 + 0.5 * a - 0.25 * b
        assert abs(chosen.mean() - chance) <= 5 * math.sqrt(chance * (1 - chance) / len(chosen))
    held = tasks.add(hold=4, tau=40).batch(3)
    for part in held:
        np.testing.assert_array_equal(part, np.repeat(part[::4], 4, axis=0))
    for wrong in ((5, 5), (-1, 2)):
        with pytest.raises(ValueError, match="first < second"):
            tasks.add(delays=wrong)


def test_delayed_xor_asks_for_the_exclusive_or():
    x, labels = tasks.delayed_xor(gap=4, delay=3).batch(100)
    assert x.shape == (8, 100, 2) and (x.sum((0, 2)) == 2).all() and not x[5:].any()
    ones = x[:, :, 1].sum(0)
    np.testing.assert_array_equal(labels, ones == 1)
    assert set(x[1:].any(2).argmax(0)) == {0, 1, 2, 3}


def test_binary_adding_counts_the_ones_at_nine_marked_steps():
    task = tasks.binary_adding(length=20)
    x, labels = task.batch(4000)
    bits, marks = x[:, :, 0].astype(int), x[:, :, 1].astype(int)
    assert (marks.sum(0) == 9).all() and set(np.unique(x)) == {0.0, 1.0}
    np.testing.assert_array_equal((bits * marks).sum(0), labels)
    assert np.abs(np.bincount(labels, minlength=10) / 4000 - 0.1).max() < 5 * math.sqrt(0.09 / 4000)
    assert np.abs(marks.mean(1) - 9 / 20).max() < 5 * math.sqrt(0.25 / 4000)
    assert abs(bits[marks == 0].mean() - 0.5) < 5 * math.sqrt(0.25 / (11 * 4000))
    with pytest.raises(ValueError, match="length is 8"):
        tasks.binary_adding(length=8)


def test_binary_adding_knows_what_a_short_memory_can_reach():
    """Against counting: whoever sees the last steps only, and says what was likeliest there among 40,000 other strings."""
    task, seen = tasks.binary_adding(length=12, seed=3), 6
    parts = [task.batch(40_000) for _ in range(2)]
    codes = [(x[-seen:].prod(2).sum(0) + 10 * x[-seen:, :, 1].sum(0)).astype(int) for x, _ in parts]
    votes = np.zeros((110, 10), int)
    np.add.at(votes, (codes[0], parts[0][1]), 1)
    found = (votes.argmax(1)[codes[1]] == parts[1][1]).mean()
    assert found == pytest.approx(task.best_accuracy(seen), abs=0.02)
    assert (task.best_accuracy(0), task.best_accuracy(12)) == (pytest.approx(0.1), pytest.approx(1.0))


def test_mackey_glass_follows_its_equation_and_is_predicted_alone():
    """Derivatives by differences against the right-hand side; a forecast that knows the answer, and one that stands still."""
    x, dt, back = solve(17, 0.7206597, 300.0), 0.1, 170
    late = np.concatenate([np.full(back, x[0]), x])[1 : len(x) - 1]  # x(t - 17) at the inner points
    slope = (x[2:] - x[:-2]) / (2 * dt)
    assert np.abs(slope - (0.2 * late / (1 + late**10) - 0.1 * x[1:-1]))[back + 1 :].max() < 1e-4
    task = tasks.mackey_glass(17)
    later = tasks.mackey_glass(17, start=2)
    np.testing.assert_allclose(later.values[:1200], task.values[75:1275], atol=1e-3)
    changes = np.diff(task.values) / task.change
    heard: list[float] = []

    def oracle(value: np.ndarray) -> np.ndarray:
        heard.append(float(value[0]))
        return changes[len(heard) - 1 :][:1]

    forecast = task.forecast(oracle)
    np.testing.assert_allclose(forecast, task.values[750:1500], atol=1e-9)
    np.testing.assert_allclose(heard, task.encode(task.values[:1499])[:, 0], atol=1e-5)
    still = task.forecast(np.zeros_like)
    assert task.smape(forecast) < 1e-6 and (still == task.values[749]).all()
    assert task.smape(still) == pytest.approx(27.0, abs=0.1), "persistence"
    for wrong in ({"delay": 16}, {"start": -1}):
        with pytest.raises(ValueError, match="mackey_glass"):
            tasks.mackey_glass(**wrong)


def test_arrays_are_sequences_and_labels_as_given():
    x, classes = np.arange(24.0).reshape(3, 4, 2), np.array([0, 1, 2, 1])
    task = tasks.arrays(x, classes, seed=1)
    one, labels = task.batch(4)
    assert one is x and labels is classes and (task.n_in, task.n_out) == (2, 3)
    some, labels = task.batch(3)
    lanes = [int(lane) for lane in some[0, :, 0] // 2]
    assert len(set(lanes)) == 3 and labels.tolist() == classes[lanes].tolist()
    z = np.eye(3)[classes][None].repeat(3, 0)
    assert task.score(z, classes)["accuracy"] == 1.0 and task.loss(classes).at == "last"
    real = tasks.arrays(x, np.ones((3, 4, 1)))
    assert real.score(np.ones((3, 4, 1)) * 3, real.labels) == {"error": 2.0} and real.loss(real.labels).at == "each"
    for wrong in (np.ones(5), np.ones((2, 4, 1))):
        with pytest.raises(ValueError, match="labels have shape"):
            tasks.arrays(x, wrong)
