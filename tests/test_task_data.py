"""Tasks made of data: the embedded text and its bars, sunspots, and spoken digits (a small made-up file, and the real one)."""

from __future__ import annotations

import gzip
import hashlib
import math
from collections import Counter

import numpy as np
import pytest

from spikertrl import tasks
from spikertrl.tasks.digits import FILE
from spikertrl.tasks.series import embedded


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


def test_text_lanes_and_held_out_parts():
    task = tasks.text(tau=50)
    assert task.n_in == task.n_out == 60
    assert np.concatenate([task.train_part, task.valid_part, task.test_part]).tolist() == task.symbols.tolist()
    x, y = task.batch(4)
    starts = [b * (len(task.train_part) - 1) // 4 for b in range(4)]
    for lane, start in enumerate(starts):
        np.testing.assert_array_equal(x[:, lane].argmax(1), task.symbols[start : start + 50])
        np.testing.assert_array_equal(y[:, lane], task.symbols[start + 1 : start + 51])
    np.testing.assert_array_equal(task.indices(task.decode(y[:, 0])), y[:, 0])
    held = task.test
    np.testing.assert_array_equal(held[0].argmax(2)[1:], held[1][:-1])
    assert np.isin(held[1].size, range(len(task.test_part) - 8, len(task.test_part)))


def test_text_sources(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"abcab")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"abcab"))
    for source in ("abcab", b"abcab", tmp_path / "a.txt", tmp_path / "a.txt.gz"):
        task = tasks.text(source, split=(1, 0, 0), tau=9)
        assert task.alphabet == b"abc" and task.batch(1)[1][:, 0].tolist() == [1, 2, 0, 1, 1, 2, 0, 1, 1], "it wraps around"
    with pytest.raises(ValueError, match="the valid part holds 0 values"):
        _ = task.valid
    with pytest.raises(ValueError, match="b'x' is not in the alphabet"):
        task.indices("ax")
    for wrong in ((0.5, 0.5), (0.9, 0.2, 0.1), (1.5, -0.5, 0)):
        with pytest.raises(ValueError, match="split"):
            tasks.text("abcab", split=wrong)
    with pytest.raises(ValueError, match="tau is 0"):
        tasks.text("abcab", tau=0)


def test_embedded_data_is_what_the_readme_says():
    readme = embedded("README.md").decode()
    verses = gzip.decompress(embedded("kjv_slice.txt.gz"))
    for content in (embedded("kjv_slice.txt.gz"), verses, embedded("sunspots_yearly.csv")):
        assert hashlib.sha256(content).hexdigest() in readme
    assert len(verses) == 128 * 1024 and verses.isascii()


def counted_bits(text, order, alpha, size, skip=0):
    grams, contexts, bits = Counter(), Counter(), []
    for t in range(order, len(text)):
        context, gram = tuple(text[t - order : t]), tuple(text[t - order : t + 1])
        bits.append(-math.log2((grams[gram] + alpha) / (contexts[context] + alpha * size)))
        grams[gram] += 1
        contexts[context] += 1
    plain = sum(n * math.log2(contexts[gram[:-1]] / n) for gram, n in grams.items()) / len(bits)
    return sum(bits[skip:]) / len(bits[skip:]), plain


@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_ngram_bits_equal_counting_by_hand(order):
    text = np.random.default_rng(0).integers(0, 5, 400) * np.random.default_rng(1).integers(0, 3, 400)
    adaptive, plain = counted_bits(text.tolist(), order, 0.3, len(set(text.tolist())))
    assert tasks.ngram_bits(text, order, alpha=0.3) == pytest.approx(adaptive, rel=1e-12)
    assert tasks.ngram_bits(text, order, method="plain") == pytest.approx(plain, rel=1e-12)
    held, _ = counted_bits(text.tolist(), order, 0.5, 20, skip=300 - order)
    assert tasks.ngram_bits(text[300:], order, history=text[:300], n_symbols=20) == pytest.approx(held, rel=1e-12)


@pytest.mark.parametrize(
    ("order", "adaptive", "plain"), [(0, 4.3550, 4.3522), (1, 3.2521, 3.1827), (2, 2.6954, 2.3061), (3, 2.7494, 1.6422)]
)
def test_ngram_bars_of_the_embedded_text(order, adaptive, plain):
    """Numbers of `counted_bits` on the whole slice, to the digits given."""
    symbols = tasks.text().symbols
    assert tasks.ngram_bits(symbols, order) == pytest.approx(adaptive, abs=6e-5)
    assert tasks.ngram_bits(symbols, order, method="plain") == pytest.approx(plain, abs=6e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "?"}, "'adaptive', 'plain'"),
        ({"order": -1}, "order"),
        ({"alpha": 0.0}, "alpha"),
        ({"order": 9}, "too few"),
    ],
)
def test_ngram_bits_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        tasks.ngram_bits(np.arange(9), **({"order": 1} | arguments))


def test_sunspots_look_one_year_ahead():
    task = tasks.sunspots()
    x, y = task.batch(1)
    np.testing.assert_array_equal(x[1:], y[:-1])
    assert x[0, 0, 0] == np.float32(0.05) and len(task.train_part) == 216


def test_spoken_digits_frames_hold_every_spike(digits_file):
    task = tasks.spoken_digits(digits_file, ms=20)
    numbers = task.parts["train"][:6]
    x, labels = task.frames(numbers)
    assert (x.sum((0, 2)) == 20).all()
    frames = -(-task.data["duration_ms"][numbers].astype(int) // 20)
    for lane, number in enumerate(numbers):
        assert not x[frames[lane] :, lane].any()
        assert labels[frames[lane] - 1, lane] == task.data["digit"][number] and (labels[:, lane] >= 0).sum() == 1
        first, last = 20 * number, 20 * number + 20
        spikes = zip(task.data["t_100us"][first:last] // 200, task.data["unit"][first:last], strict=True)
        for (frame, unit), count in Counter((int(f), int(u)) for f, u in spikes).items():
            assert x[frame, lane, unit] == count
    each = tasks.spoken_digits(digits_file, ms=20, label_at="each").frames(numbers)[1]
    np.testing.assert_array_equal((each >= 0).sum(0), frames)


def test_spoken_digits_splits(digits_file):
    task = tasks.spoken_digits(digits_file)
    assert {part: len(numbers) for part, numbers in task.parts.items()} == {"train": 1020, "valid": 180, "test": 300}
    assert (task.data["index"][task.parts["test"]] < 5).all()
    out = tasks.spoken_digits(digits_file, speaker="cat")
    assert {part: len(numbers) for part, numbers in out.parts.items()} == {"train": 1000, "valid": 250, "test": 250}
    assert (out.data["speaker"][out.parts["test"]] == 2).all()
    assert not any((out.data["speaker"][out.parts[part]] == 2).any() for part in ("train", "valid"))
    for one in (task, out):
        assert sorted(np.concatenate(list(one.parts.values()))) == list(range(1500))


def test_spoken_digits_sensing(digits_file):
    plain = tasks.spoken_digits(digits_file, ms=20)
    numbers = plain.parts["valid"][:5]
    counts = plain.frames(numbers)[0]
    blurred = tasks.spoken_digits(digits_file, ms=20, blur=2.0).frames(numbers)[0]
    weights = np.exp(-0.5 * ((np.arange(70) - 30) / 2.0) ** 2)
    np.testing.assert_allclose(blurred[:, :, 30], counts @ (weights / weights.sum()).astype(np.float32), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        tasks.spoken_digits(digits_file, ms=20, compress=3.0).frames(numbers)[0], np.log1p(3 * counts), rtol=1e-6
    )
    for label_at, share in (("last", 0.0), ("half", 0.5), ("each", 1.0)):
        labels = tasks.spoken_digits(digits_file, ms=20, label_at=label_at).frames(numbers)[1]
        frames = plain.frame_counts[numbers]
        assert ((labels >= 0).sum(0) == np.maximum(1, np.ceil(share * frames))).all()
        assert (labels[frames - 1, np.arange(5)] == plain.data["digit"][numbers]).all()


def test_spoken_digits_vary_in_training_only(digits_file):
    vary = tasks.Vary(stretch=0.2, shift=3, drop=0.5, delay=40.0)
    task, plain = (tasks.spoken_digits(digits_file, ms=20, vary=v) for v in (vary, None))
    for part in ("valid", "test"):
        for given, expected in zip(getattr(task, part), getattr(plain, part), strict=True):
            np.testing.assert_array_equal(given, expected)
    saved = task.state()
    x, labels = task.batch(64)
    assert 20 * 0.6 < x.sum((0, 2)).mean() < 20 * 0.9, (
        "a quarter of the spikes is dropped on average, and few leave the channels"
    )
    task.restore(saved)
    again, labels_again = task.batch(64)
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert not np.array_equal(task.batch(64)[0].sum(), x.sum())


def test_vary_moves_spikes_as_told():
    rng, ms, unit = np.random.default_rng(0), np.linspace(0, 300, 50), np.full(50, 68)
    assert all(np.array_equal(a, b) for a, b in zip(tasks.Vary()(rng, ms, unit, 300.0), (ms, unit, 300.0), strict=True))
    for _ in range(50):
        times, moved, duration = tasks.Vary(stretch=0.1, delay=20.0)(rng, ms, unit, 300.0)
        assert 0 <= times[0] <= 20 and duration == pytest.approx(times[-1]) and 0.9 <= (times[-1] - times[0]) / 300 <= 1.1
        _, moved, _ = tasks.Vary(shift=2)(rng, ms, unit, 300.0)
        assert len(moved) == 0 or (len(set(moved.tolist())) == 1 and 66 <= moved[0] <= 69), "all channels move together, or out"
    for wrong in ({"stretch": 1.0}, {"drop": -0.1}, {"delay": -1.0}, {"shift": 1.5}):
        with pytest.raises(ValueError, match="Vary"):
            tasks.Vary(**wrong)


def test_spoken_digits_batches_are_of_similar_length(digits_file):
    task = tasks.spoken_digits(digits_file)
    last = [(task.batch(16)[1] >= 0).argmax(0) for _ in range(20)]
    spread = np.mean([ends.max() - ends.min() for ends in last])
    assert spread < 0.5 * (task.frame_counts.max() - task.frame_counts.min())


def test_spoken_digits_finds_its_file(digits_file, tmp_path, monkeypatch):
    for place in (digits_file, digits_file.parent, str(digits_file)):
        assert tasks.spoken_digits(place).n_out == 10
    monkeypatch.setenv("SPIKERTRL_DATA", str(digits_file.parent))
    assert tasks.spoken_digits().data["speakers"][0] == "ann"
    monkeypatch.setenv("SPIKERTRL_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="SPIKERTRL_DATA"):
        tasks.spoken_digits()
    monkeypatch.delenv("SPIKERTRL_DATA")
    (tmp_path / "data" / "fsdd").mkdir(parents=True)
    (tmp_path / "data" / "fsdd" / FILE).write_bytes(digits_file.read_bytes())
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert tasks.spoken_digits().data["speakers"][0] == "ann"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"speaker": "zoe"}, "legal: ann, bob"),
        ({"ms": 0}, "ms is 0"),
        ({"label_at": "x"}, "'last', 'half', 'each'"),
        ({"blur": -1.0}, "blur"),
    ],
)
def test_spoken_digits_refuses(digits_file, arguments, message):
    with pytest.raises(ValueError, match=message):
        tasks.spoken_digits(digits_file, **arguments)


def test_spoken_digits_name_the_speaker_too(digits_file):
    """The digit is scored after the speakers are summed out."""
    plain, both = (tasks.spoken_digits(digits_file, ms=20, name_speaker=n) for n in (False, True))
    numbers = both.parts["test"]
    labels = both.frames(numbers)[1]
    assert both.n_out == 10 * len(both.data["speakers"])
    np.testing.assert_array_equal(labels.max(0) // 10, both.data["speaker"][numbers])
    np.testing.assert_array_equal(labels.max(0) % 10, plain.frames(numbers)[1].max(0))
    z = np.zeros((*labels.shape, both.n_out), np.float32)
    lane = np.arange(len(numbers))
    other = (labels.max(0) + 10) % both.n_out  # the right digit, another speaker
    z[:, lane, other] = 5
    assert both.score(z, labels)["accuracy"] == 1
    z[:, lane, (labels.max(0) + 1) % 10] = 9
    assert both.score(z, labels)["accuracy"] == 0


def test_real_spoken_digits():
    try:
        task = tasks.spoken_digits()
    except FileNotFoundError:
        pytest.skip("the spoken digit data is not here")
    x, labels = task.test
    assert x.shape == (115, 300, 70) and np.bincount(labels.max(0)).tolist() == [30] * 10
    total = sum(task.frames(numbers)[0].sum() for numbers in task.parts.values())
    assert total == 598_319
    assert tasks.spoken_digits(speaker="theo").parts["test"].size == 250
