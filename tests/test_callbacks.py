"""Trackers, callbacks and metrics of an Online, and the logger."""

from __future__ import annotations

import ast
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikertrl as srl
from networks import single
from spikertrl.training import online as training_online
from spikertrl.training.history import History

PACKAGE = Path(srl.__file__).parent
NET = {"dtype": "float32", "units": 8, "theta": 0.1}


def stream(online: srl.Online, steps: int) -> None:
    for t in range(steps):
        online.predict_one([np.sin(t), 0.0, 1.0])
        online.learn_one(t % 2)


def test_an_online_tells_metrics_and_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_online, "KEPT", 5)
    seen: list[tuple[int, float]] = []
    given = {
        "metrics": {"hit": lambda z, y: float(z.argmax() == y)},
        "callbacks": [lambda net, history: seen.append((history.rows[-1]["step"], history.last("hit")))],
    }
    online = srl.Online(single("egru", **NET), srl.SnAp(1), srl.optimizers.adam(1e-2), loss=srl.losses.cross_entropy, **given)
    stream(online, 23)
    assert [step for step, _ in seen] == list(range(1, 24)) and {hit for _, hit in seen} <= {0.0, 1.0}
    assert 5 <= len(online.history) <= 10 and online.history["step"][-1] == 23 and online.history["loss"][-1] > 0
    with pytest.raises(ValueError, match="metrics"):
        srl.Online(online.net, srl.SnAp(1), srl.optimizers.adam(1e-2), loss=srl.losses.cross_entropy, metrics={"hit": 1})


def test_peeking_changes_nothing() -> None:
    ways = []
    for peeks in (0, 3):
        online = srl.Online(single("egru", **NET), srl.SnAp(1), srl.optimizers.adam(1e-2), loss=srl.losses.cross_entropy)
        for t in range(10):
            ahead = [online.peek([np.sin(t + k), 0.0, 1.0]) for k in range(peeks)]
            z = online.predict_one([np.sin(t), 0.0, 1.0])
            assert [np.array_equal(z, other) for other in ahead] == [True, False, False][:peeks]
            for k in range(peeks):
                online.peek([np.sin(t + k), 0.0, 1.0])
            online.learn_one(t % 2)
        ways.append(online.net.theta)
    np.testing.assert_array_equal(*ways)


class Run:
    """What ``wandb.init`` returns, as far as it is used."""

    def __init__(self) -> None:
        self.logged: list[tuple[dict, int]] = []

    def log(self, row: dict, step: int) -> None:
        self.logged.append((row, step))


def rows(tracker: Any, steps: int = 4) -> None:
    net, history = single("egru", **NET), History()
    for step in range(1, steps + 1):
        history.rows.append({"step": step, "loss": 1 / step, **({"valid_accuracy": 0.5} if step == 2 else {})})
        tracker(net, history)


def test_weights_and_biases_gets_the_rows() -> None:
    run = Run()
    rows(srl.callbacks.WandB(run, every=2))
    assert run.logged == [({"loss": 0.5, "valid_accuracy": 0.5}, 2), ({"loss": 0.25}, 4)]
    with pytest.raises(ValueError, match="run is 3"):
        srl.callbacks.WandB(3)


def test_without_its_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("tensorboardX", "wandb"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=r"callbacks.TensorBoard needs .* 'spikertrl\[tensorboard\]'"):
        srl.callbacks.TensorBoard(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=r"callbacks.WandB needs .* 'spikertrl\[wandb\]'"):
        srl.callbacks.WandB()


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tracker = srl.callbacks.TensorBoard(tmp_path, histograms=4)
    rows(tracker)
    tracker.close()
    found = reader.EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [(k, pytest.approx(1 / k)) for k in range(1, 5)]
    assert [e.step for e in found.Scalars("valid_accuracy")] == [2]
    assert {"h_-x/u", "h/theta", "z/weight"} < set(found.Tags()["histograms"])


def test_weights_and_biases_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    tracker = srl.callbacks.WandB(mode="disabled", dir=str(tmp_path), histograms=2)
    rows(tracker)
    tracker.close()


def test_nothing_prints_and_all_log_to_one_logger() -> None:
    """But for the command line, its form over ranks and the demo, and for examples."""
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        if path.name in ("cli.py", "demo.py", "world.py") or "_experiments" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            first = node.args[0] if node.args else None
            ours = isinstance(first, ast.Constant) and str(first.value).split(".")[0] in ("spikertrl", "py")
            if name == "print" or (name.endswith("getLogger") and not ours):
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {ast.unparse(node)}")
    assert wrong == []


def test_routes_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Which way a learner goes, once, and again where it changes; nothing is shown unless somebody asks."""
    net, x = single("egru", **NET), np.ones((6, 2, 3), "float32")
    loss = srl.losses.cross_entropy(np.zeros(2, int), at="last")
    with caplog.at_level(logging.INFO, "spikertrl"):
        srl.gradient(net, srl.RTRL(), x, loss, tau=2)
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO and "step" in r.getMessage()]
    assert len(told) == len(set(told)) >= 1 and "RTRL" in told[0], told
