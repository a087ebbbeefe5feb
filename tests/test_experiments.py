"""The small form of every comparison of learners runs, and says what it found; lanes begin anew where the task says so."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest

import spikertrl as srl
from spikertrl import experiments as _experiment
from spikertrl.models import load


def quick(name: str, out: Path, capsys, *more: str) -> str:
    """Output of an experiment's small form."""
    assert _experiment.load(name)(["--quick", "--out", str(out), *more]) == 0
    return capsys.readouterr().out


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_noise(tmp_path, capsys) -> None:
    printed = quick("mujika_2018_noise", tmp_path, capsys)
    rows = table(tmp_path / "quick_size.csv")
    cosine = {row["learner"]: float(row["mean"]) for row in rows if row["n"] == "16"}
    assert cosine["8-OK"] > cosine["8-KF-RTRL-AVG"] > cosine["KF-RTRL"] > cosine["UORO"] and "gradient_activity" in printed
    assert len(list(tmp_path.glob("*.png"))) == 4


@pytest.mark.parametrize("name", ["mujika_2018_copy", "mujika_2018_ptb"])
def test_long_comparisons_log_and_resume(name, tmp_path, capsys) -> None:
    methods = ("--methods", "kf", "tbptt5")
    quick(name, tmp_path / "pieces", capsys, *methods, "--steps", "20")
    pieces = quick(name, tmp_path / "pieces", capsys, *methods, "--steps", "40")
    whole = quick(name, tmp_path / "whole", capsys, *methods, "--steps", "40")
    assert "KF-RTRL" in pieces and "TBPTT-5" in whole
    logs = [table(tmp_path / kind / "kf_8x4_seed0.csv") for kind in ("pieces", "whole")]
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]] and len(logs[0]) == 2


def test_treebank_files_are_checked(tmp_path, capsys, monkeypatch) -> None:
    main = _experiment.load("mujika_2018_ptb")
    assert main(["--quick", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2 and "is missing" in capsys.readouterr().err
    texts = {f"ptb.{part}.txt": part.encode() * 400 for part in ("train", "valid", "test")}
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    assert main(["--quick", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2 and "MD5 sum" in capsys.readouterr().err
    sums = {name: hashlib.md5(text).hexdigest() for name, text in texts.items()}
    monkeypatch.setitem(main.__globals__, "SUMS", sums)
    text, split = main.__globals__["treebank"](tmp_path)
    task = srl.tasks.text(text, split=split)
    assert [len(part) for part in (task.train_part, task.valid_part, task.test_part)] == [2000, 2000, 1600]


def test_influence_balancing_and_add(tmp_path, capsys) -> None:
    assert "towards" in quick("tallec_2017_influence_balancing", tmp_path, capsys)
    assert "floors" in quick("marschall_2020_add", tmp_path, capsys, "--methods", "OK(8)", "RFLO")


def test_evidence(tmp_path, capsys) -> None:
    assert "random feedback" in quick("bellec_2020_evidence", tmp_path, capsys, "--methods", "eprop_random")
    task = _experiment.load("bellec_2020_evidence").__globals__["Evidence"](0, 7, 100, 150, 2250)
    x, labels = task.batch(32)
    left, right = x[:1050, :, :10].sum((0, 2)), x[:1050, :, 10:20].sum((0, 2))
    assert x.shape == (2250, 32, 40) and (labels[:-150] == -1).all() and 0 < labels[-1].mean() < 1
    assert ((right > left) == labels[-1]).mean() > 0.9, "the side with more cues is the side with more spikes"
    assert not x[:-150, :, 20:30].any() and x[-150:, :, 20:30].mean() == pytest.approx(0.04, abs=0.01)


def test_sparsity_at_size(tmp_path, capsys) -> None:
    printed = quick("sparsity_at_size", tmp_path, capsys)
    whole, sparse = table(tmp_path / "table.csv")
    assert float(sparse["multiply-adds"]) < float(whole["multiply-adds"]) < float(whole["dense multiply-adds"])
    assert whole["dense RTRL ms"] == sparse["dense RTRL ms"] and "gradient active" in printed
    assert (tmp_path / "sparsity_at_size.png").stat().st_size > 10_000
    x, labels = _experiment.load("sparsity_at_size").__globals__["NoisySpiral"](0).batch(200)
    turn = np.unwrap(np.arctan2(x[:, :, 0], x[:, :, 1]), axis=0)
    turns = (turn[-1] - turn[0]) / (2 * np.pi)
    assert np.array_equal(turns > 0, labels % 2 == 1)
    assert np.array_equal(np.abs(turns) > 1.25, labels >= 2)


def test_adding_sweeps_and_compares(tmp_path, capsys) -> None:
    printed = quick("ma_2025_adding", tmp_path, capsys, "--methods", "rtrl", "bptt", "--neurons", "lif")
    rows = {row["learner"]: row for row in table(tmp_path / "table.csv")}
    assert rows["exact RTRL"]["test %"] == rows["BPTT"]["test %"] and float(rows["exact RTRL"]["multiply-adds"]) > 0
    assert rows["exact RTRL"]["rate"] == rows["BPTT"]["rate"] and "best possible with the last 25" in printed
    assert len(table(tmp_path / "curves.csv")) == (4 * 2 + 2 * 6)
    assert quick("ma_2025_adding", tmp_path, capsys, "--methods", "rtrl", "bptt", "--neurons", "lif") == printed


def test_mackey_glass_in_the_words_of_neurobench(tmp_path, capsys) -> None:
    """The words against counting by hand: 8 units, 3 ports, half of the recurrent weights, a readout."""
    printed = quick("neurobench_mackey_glass", tmp_path, capsys, "--methods", "rtrl")
    row = table(tmp_path / "table.csv")[0]
    silent, weights = float(row["activation sparsity"]), {"input": 8 * 3, "recurrent": 8 * 8 * 3 // 2, "readout": 8}
    assert (
        float(row["effective MACs"]) == pytest.approx(24 + (1 - silent) * (96 + 8), abs=0.01)
        and float(row["effective ACs"]) == 0
    )
    assert float(row["connection sparsity"]) == pytest.approx(96 / (24 + 192 + 8), abs=1e-4)
    parameters = sum(weights.values()) + 8 * 5 + 1  # four biases and a threshold a unit, the readout's bias
    assert float(row["footprint bytes"]) == 4 * (parameters + 8) and "LSTM" in printed


def test_lanes_begin_anew_where_the_task_says_so() -> None:
    """A stream of strings, learned with and without resets, and one lane that must equal strings on their own."""
    net = srl.Network("float64").add_input("x", 4).add_population("h", load("rhn"), 5).connect("x", "h").connect("h", "h")
    net.add_readout("z", "h", 4).initialize(0)
    task, apart, theta = srl.tasks.copy_stream(length=2, curriculum=False), [], net.theta.copy()
    seen: list[np.ndarray] = []
    draw = task.draw
    task.draw = lambda steps: seen.append(draw(steps)) or seen[-1]  # type: ignore[method-assign]
    srl.fit(net, task, srl.RTRL(), srl.optimizers.sgd(1e-30), steps=12, batch=2, progress=False)
    history = srl.fit(
        net, srl.tasks.copy_stream(2, False), srl.RTRL(), srl.optimizers.sgd(1e-30), steps=12, batch=2, progress=False
    )
    x, labels = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    for string in (slice(0, 6), slice(6, 12)):
        apart.append(srl.gradient(net, srl.RTRL(), x[string], srl.losses.cross_entropy(labels[string]))[0])
    assert np.allclose(net.theta, theta, rtol=0, atol=1e-20) and x[0].argmax(1).tolist() == x[6].argmax(1).tolist() == [2, 2]
    assert history["loss"].reshape(2, 6).mean(1) == pytest.approx(apart, rel=1e-12)


def test_a_lane_cannot_begin_inside_a_piece() -> None:
    net = srl.Network().add_input("x", 60).add_population("h", load("rnn"), 4).connect("x", "h").add_readout("z", "h", 60)
    task = srl.tasks.text(tau=4, reset=0.9)
    with pytest.raises(ValueError, match=r"begins anew inside a piece of 4 steps; use fit\(tau=1\)"):
        srl.fit(net.initialize(0), task, srl.Immediate(), srl.optimizers.sgd(0.1), steps=3, batch=2, progress=False)
    srl.fit(net, task, srl.Immediate(), srl.optimizers.sgd(0.1), steps=3, batch=2, tau=1, progress=False)
    assert task.fresh is not None and 0.5 < task.fresh.mean() <= 1
    with pytest.raises(ValueError, match="reset is 2"):
        srl.tasks.text(reset=2.0)
