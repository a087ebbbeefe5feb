"""Readers of event files, against events written by hand and against the same recordings from another source."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spikertrl import experiments as _experiment
from spikertrl.tasks import arrays, read_dvs, read_shd, read_tonic
from spikertrl.tasks.digits import _places

h5py = pytest.importorskip("h5py")


def data(*names: str) -> Path:
    """A file of the shared data, or skip."""
    for folder in _places():
        if (file := folder.joinpath(*names)).is_file():
            return file
    pytest.skip(f"{'/'.join(names)} is not here")


def test_dvs_events_are_five_bytes_each(tmp_path) -> None:
    rng = np.random.default_rng(0)
    x, y, p, t = rng.integers(0, 34, 50), rng.integers(0, 20, 50), rng.integers(0, 2, 50), np.sort(rng.integers(0, 2**23, 50))
    events = zip(x, y, (p << 23 | t).tolist(), strict=True)
    rows = [bytes((a, b)) + last.to_bytes(3, "big") for a, b, last in events]
    file = tmp_path / "sample.bin"
    file.write_bytes(b"".join(rows))
    found = read_dvs(file, 34, 20)
    np.testing.assert_allclose(found[:, 0], t / 1e3)
    assert np.array_equal(found[:, 1], (p * 20 + y) * 34 + x)
    task = arrays([found], [1], channels=2 * 34 * 20, step=100.0)
    assert task.x.sum() == 50
    with pytest.raises(ValueError, match=r"34 x 20 pixels; legal: within width=34, height=12"):
        read_dvs(file, 34, 12)
    file.write_bytes(b"1234567")
    with pytest.raises(ValueError, match="7 bytes"):
        read_dvs(file)


def test_heidelberg_files(tmp_path) -> None:
    times, units = [np.array([0.001, 0.25], np.float16), np.array([0.5], np.float16)], [np.array([3, 699]), np.array([0])]
    with h5py.File(tmp_path / "shd.h5", "w") as file:
        for name, values, kind in (("times", times, np.float16), ("units", units, np.uint16)):
            stored = file.create_dataset(f"spikes/{name}", (2,), h5py.vlen_dtype(kind))
            for k, value in enumerate(values):
                stored[k] = value
        file["labels"] = np.array([7, 0])
    samples, labels = read_shd(tmp_path / "shd.h5")
    assert labels.tolist() == [7, 0] and [len(sample) for sample in samples] == [2, 1]
    np.testing.assert_allclose(samples[0], [[1.0, 3], [250.0, 699]], rtol=1e-3)
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file["labels"] = np.zeros(1)
    (tmp_path / "text.h5").write_text("no")
    for name, message in (("bad.h5", "has no 'spikes/times'"), ("text.h5", "is no HDF5 file")):
        with pytest.raises(ValueError, match=message):
            read_shd(tmp_path / name)


@pytest.mark.parametrize("suffix", ["aedat4", "raw", "dat", "es"])
def test_recordings_of_cameras(tmp_path, suffix: str) -> None:
    """Files of the makers' formats; AEDAT4 is written by iniVation's own package where that is here."""
    faery, n, rng = pytest.importorskip("faery"), 60, np.random.default_rng(0)
    t, x, y, p = np.sort(rng.integers(5000, 90000, n)), rng.integers(0, 40, n), rng.integers(0, 20, n), rng.integers(0, 2, n)
    file = tmp_path / f"sample.{suffix}"
    if suffix == "aedat4" and (dv := pytest.importorskip("dv_processing")):
        camera, store = dv.io.MonoCameraWriter.EventOnlyConfig("DVXplorer_0", (40, 20)), dv.EventStore()
        writer = dv.io.MonoCameraWriter(str(file), camera)
        for event in zip((1_700_000_000_000_000 + t).tolist(), x.tolist(), y.tolist(), p.astype(bool).tolist(), strict=True):
            store.push_back(*event)
        writer.writeEvents(store)
        del writer
    else:
        events = np.array(list(zip(t, x, y, p, strict=True)), faery.EVENTS_DTYPE)
        faery.events_stream_from_array(events, (40, 20)).to_file(file)
    found = read_dvs(file)
    np.testing.assert_allclose(found[:, 0], (t - t[0]) / 1e3)
    assert np.array_equal(found[:, 1], (p * 20 + y) * 40 + x)
    assert np.array_equal(read_dvs(file, 64, 32)[:, 1], (p * 32 + y) * 64 + x)
    with pytest.raises(ValueError, match=r"within width=40, height=8"):
        read_dvs(file, height=8)
    file.write_bytes(b"no")
    if suffix == "raw":  # which has no mark at its beginning
        assert read_dvs(file).shape == (0, 2)
    else:
        with pytest.raises(ValueError, match=rf"no \.{suffix} recording"):
            read_dvs(file)
    with pytest.raises(FileNotFoundError):
        read_dvs(tmp_path / f"other.{suffix}")


def test_without_the_reader_the_extra_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faery", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'spikertrl\[faery\]'"):
        read_dvs(tmp_path / "some.aedat4")


def test_data_sets_of_tonic(tmp_path) -> None:
    """The same recordings through tonic's own reader of SHD and through ours; transforms that keep events, or do not."""
    tonic = pytest.importorskip("tonic")
    folder, rng = tmp_path / "SHD", np.random.default_rng(0)
    folder.mkdir()
    (folder / "shd_train.h5.zip").touch()  # what tonic takes for downloaded
    with h5py.File(folder / "shd_train.h5", "w") as file:
        for name, kind in (("times", np.float16), ("units", np.uint16)):
            stored = file.create_dataset(f"spikes/{name}", (3,), h5py.vlen_dtype(kind))
            for k, size in enumerate((40, 25, 60)):
                stored[k] = np.sort(rng.uniform(0, 1, size)) if name == "times" else rng.integers(0, 700, size)
        file["labels"], file["extra/speaker"], file["extra/keys"] = np.array([7, 0, 19]), np.zeros(3), np.array([b"zero"])
    samples, labels = read_tonic(tonic.datasets.SHD(save_to=str(tmp_path)))
    expected, expected_labels = read_shd(folder / "shd_train.h5")
    assert np.array_equal(labels, expected_labels) and len(samples) == 3
    for sample, other in zip(samples, expected, strict=True):
        assert np.array_equal(sample[:, 1], other[:, 1]) and np.abs(sample[:, 0] - other[:, 0]).max() < 1e-3, "a microsecond"
    task = arrays(samples, labels, channels=700, step=10.0)
    assert task.x.sum() == 125 and task.n_out == 20
    late = tonic.datasets.SHD(save_to=str(tmp_path), transform=tonic.transforms.TimeSkew(1, 5e5))
    np.testing.assert_allclose(read_tonic(late)[0][0][:, 0], samples[0][:, 0] + 500, atol=2e-3)
    frames = tonic.datasets.SHD(save_to=str(tmp_path), transform=tonic.transforms.ToFrame((700, 1, 1), time_window=1e4))
    with pytest.raises(ValueError, match="sample 0 has a ndarray; legal: events"):
        read_tonic(frames)


def test_what_is_no_data_set_of_events() -> None:
    events = np.array([(5, 0)], [("x", int), ("t", int)])
    for data, size, why in (
        ([(events, 1)], None, "sensor_size is None"),
        ([(events, 1)], (4, 1, 1), r"sample 0 has events on \(6, 1, 1\)"),
        ([(events, "five")], (6, 1, 1), r"labels are <U4 \(1,\); legal: whole numbers"),
    ):
        with pytest.raises(ValueError, match=why):
            read_tonic(data, size)


def test_a_camera_file_holds_what_the_collected_recordings_hold(tmp_path) -> None:
    raw, collected = data("nmnist_small", "nmnist_raw_sample_bs2.zip"), np.load(data("nmnist_small", "nmnist_small_1ms.npz"))
    with zipfile.ZipFile(raw) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".bs2"))
        archive.extract(name, tmp_path)
    label, number = (int(part) for part in Path(name).stem.split("_"))
    part = "train" if number <= 60000 else "test"
    k = collected[f"{part}_id"].tolist().index(number)
    a, z = collected[f"{part}_offsets"][k : k + 2]
    unit = collected[f"{part}_addr_lo"][a:z].astype(int) + 256 * collected[f"{part}_addr_hi"][a:z].astype(int)
    found = read_dvs(tmp_path / name)
    theirs = set(zip(np.cumsum(collected[f"{part}_dt_ms"][a:z].astype(int)).tolist(), unit.tolist(), strict=True))
    mine = set(zip(np.floor(found[:, 0]).astype(int).tolist(), found[:, 1].astype(int).tolist(), strict=True))
    assert collected[f"{part}_y"][k] == label and len(theirs) > 100
    assert mine == theirs, "events of one pixel in one millisecond are one there"


def test_event_streams_runs_small(tmp_path, capsys) -> None:
    folder = data("braille", "braille_taxels.npz").parents[1]
    given = ["--quick", "--data", str(folder), "--out", str(tmp_path), "--sets", "braille", "--methods", "rtrl", "bptt"]
    assert _experiment.load("event_streams")(given) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("braille ")]
    assert rows[-2][3] == rows[-1][2], "exact RTRL has the gradient of BPTT"
    assert (tmp_path / "braille_confusion.png").exists()


def test_event_streams_without_data(tmp_path, capsys) -> None:
    given = ["--quick", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--sets", "braille"]
    assert _experiment.load("event_streams")(given) == 2
    assert "braille skipped" in capsys.readouterr().err


def test_words_in_morse_code_need_no_data(tmp_path) -> None:
    module = _experiment.load("event_streams").__globals__
    the = module["morse"]("the")
    assert "".join(".-"[int(dash)] for _, dash in np.argwhere(the)) == "-....."
    assert np.argwhere(the)[:, 0].tolist() == [0, 10, 15, 20, 25, 35]
    words = module["neuromorse"](tmp_path, 0)
    clean = words.x[:, words.part == 0]
    assert words.x.shape[1] == 3000 and len(set(words.classes)) == 50 and "the" in words.classes
    assert np.array_equal(clean[:, 0], clean[:, 50]) and not np.array_equal(words.x[:, 2000], words.x[:, 2050])
    assert not clean[-15:].any() and (clean[-16].sum(1) == 1).all(), "all words end together"
