"""Sweeps: every run once, the same on every executor, failures told, the rest done when started again."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

import spikertrl as srl
from spikertrl import cli
from spikertrl import experiments as _experiment
from spikertrl.parallel import runs

GRID = {"omega": [0.0, 0.5], "seed": [0, 1, 2]}


def trained(omega: float, seed: int) -> dict[str, float]:
    """Loss of a small network after some steps."""
    task = srl.tasks.spiral(seed)
    net = srl.Network().add_input("x", task.n_in).add_population("h", srl.models.egru, 8, theta=0.05)
    net.connect("x", "h").connect("h", "h", density=1 - omega, seed=seed).add_readout("z", "h", task.n_out).initialize(seed)
    history = srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(1e-2), steps=3, batch=4, progress=False)
    return {"loss": float(history["loss"][-1]), "norm": float((net.theta**2).sum())}


def noted(folder: str, a: int) -> dict[str, int]:
    """Leaves a mark for each call; fails for a = 2 until a file is there."""
    marks = Path(folder)
    (marks / f"{a}.{len(list(marks.glob(f'{a}.*')))}").touch()
    if a == 2 and not (marks / "mended").exists():
        raise ArithmeticError(f"no {a}")
    return {"square": a * a}


def dies(a: int) -> int:
    """Takes its process with it for a = 1."""
    if a == 1:
        os._exit(3)
    return a


@pytest.fixture(scope="module")
def serial() -> list[dict]:
    return srl.sweep(trained, GRID, "serial", progress=False).rows


def test_rows_are_the_grid_in_order_with_the_values_of_plain_calls(serial):
    assert [(r["omega"], r["seed"]) for r in serial] == [(o, s) for o in GRID["omega"] for s in GRID["seed"]]
    assert serial[4] == {"omega": 0.5, "seed": 1} | trained(0.5, 1)
    assert len({r["loss"] for r in serial}) == 6


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 3])
def test_jobs_of_submitit_take_their_turn_and_end_alike(jobs, tmp_path):
    pytest.importorskip("submitit")
    found = srl.sweep(dict, {"a": [1, 2, 3]}, "submitit", workers=jobs, out=tmp_path, progress=False)
    assert found.rows == [{"a": a} for a in (1, 2, 3)]


@pytest.mark.parametrize("executor", ["joblib", pytest.param("dask", marks=pytest.mark.slow)])
def test_other_processes_give_the_results_of_this_one_to_the_last_digit(serial, executor):
    pytest.importorskip({"joblib": "joblib", "dask": "distributed"}[executor])
    assert srl.sweep(trained, GRID, executor, workers=2, progress=False).rows == serial


def test_an_executor_of_ones_own_is_used_and_left_running():
    with ThreadPoolExecutor(2) as pool:
        found = srl.sweep(lambda a: a + 0.5, {"a": [1, 2, 3]}, pool, progress=False)
        assert pool.submit(int, "4").result() == 4
    assert found.rows == [{"a": a, "value": a + 0.5} for a in (1, 2, 3)]


def test_a_failed_run_is_told_and_started_again_and_only_that(tmp_path):
    marks, out = tmp_path / "marks", tmp_path / "out"
    marks.mkdir()
    grid = {"folder": [str(marks)], "a": [1, 2, 3]}
    first = srl.sweep(noted, grid, "serial", out=out, progress=False)
    assert [r["a"] for r in first.rows] == [1, 3]
    (failed,) = first.failed
    assert (failed["a"], failed["error"]) == (2, "ArithmeticError: no 2")
    assert "in noted" in failed["traceback"]
    (marks / "mended").touch()
    second = srl.sweep(noted, grid, "serial", out=out, progress=False)
    assert second.skipped == 2
    assert not second.failed
    assert sorted(p.name for p in marks.glob("?.*")) == ["1.0", "2.0", "2.1", "3.0"]
    with (out / "table.csv").open(newline="") as file:
        assert [(r["a"], r["square"]) for r in csv.DictReader(file)] == [("1", "1"), ("2", "4"), ("3", "9")]
    assert list(second.to_pandas()["square"]) == [1, 4, 9]


@pytest.mark.filterwarnings("ignore:A worker stopped")
def test_a_process_that_dies_is_told_with_its_arguments(tmp_path):
    pytest.importorskip("joblib")
    found = srl.sweep(dies, {"a": [1]}, "joblib", out=tmp_path, workers=1, progress=False)
    assert [r["a"] for r in found.failed] == [1]
    assert not found.rows
    assert srl.sweep(dies, {"a": [2]}, "joblib", out=tmp_path, workers=1, progress=False).rows == [{"a": 2, "value": 2}]


def test_a_file_of_other_arguments_is_not_taken_for_a_run(tmp_path):
    srl.sweep(abs, {}, "serial", progress=False)
    srl.sweep(dies, {"a": [5]}, "serial", out=tmp_path, progress=False)
    (path,) = tmp_path.glob("*.json")
    path.rename(tmp_path / f"{runs.key({'a': 6})}.json")
    with pytest.raises(ValueError, match="is the file of a=5, not of a=6"):
        srl.sweep(dies, {"a": [6]}, "serial", out=tmp_path, progress=False)


def test_values_that_only_look_alike_in_a_file_name_have_files_of_their_own():
    assert len({runs.key({"a": value}) for value in ("x y", "x_y", "x/y", 1, 1.0, "1", True, None)}) == 8


@pytest.mark.parametrize(
    ("grid", "executor", "words"),
    [({"a": []}, "serial", "at least one value"), ({"a": "xy"}, "serial", "a list"), ({"a": [[1]]}, "serial", "numbers, texts"),
     ({"a": [1]}, "cloud", 'legal: None, "joblib", "dask", "submitit", "serial"')],
)  # fmt: skip
def test_what_cannot_be_swept_is_refused(grid, executor, words):
    with pytest.raises(ValueError, match=words):
        srl.sweep(dies, grid, executor, progress=False)


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a b=1"])
def test_a_grid_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match=r"legal: name=a,b,c or name=first:end"):
        runs.parse_grid([text])


def test_the_command_runs_an_experiment_once_for_every_combination(tmp_path, monkeypatch):
    (tmp_path / "one.py").write_text(
        "import argparse, pathlib\n"
        "def main(argv=None):\n"
        "    p = argparse.ArgumentParser(); p.add_argument('--out', type=pathlib.Path)\n"
        "    p.add_argument('--rate', type=float); p.add_argument('--seed', type=int)\n"
        "    chosen = p.parse_args(argv); chosen.out.mkdir(parents=True)\n"
        "    (chosen.out / 'table.csv').write_text(f'learner,loss,of\\nOK(8),{chosen.rate + chosen.seed},x\\n')\n"
        "    (chosen.out / 'said').write_text(f'{chosen.rate} {chosen.seed}')\n"
        "    return chosen.seed == 2\n"
    )
    monkeypatch.setattr(_experiment, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    out = tmp_path / "out"
    words = ["sweep", "one", "--grid", "rate=0.1,1", "seed=0:3", "--on", "serial", "--out", str(out)]
    found = CliRunner().invoke(cli.app, words)
    assert found.exit_code == 1, found.output
    assert f"4 runs, 0 of them from before, 2 failed; {out / 'table.csv'}, sweep.png" in found.output
    assert "failed: rate=0.1 seed=2: RuntimeError: one --rate 0.1 --seed 2 left with True" in found.output
    assert sorted(p.read_text() for p in out.glob("rate=1_*/said")) == ["1.0 0", "1.0 1", "1.0 2"]
    assert (out / "sweep.png").stat().st_size > 1000
    with (out / "table.csv").open(newline="") as file:
        assert [float(row["OK(8), loss"]) for row in csv.DictReader(file)] == [0.1, 1.1, 1.0, 2.0]
    wrong = CliRunner().invoke(cli.app, ["sweep", "one", "--grid", "seed", "--out", str(out)])
    assert (wrong.exit_code, "name=first:end" in wrong.output) == (2, True)


def test_a_sweep_is_drawn_with_the_mean_over_seeds_and_their_range():
    rows = [{"rate": r, "units": n, "seed": s, "loss": r * n + s, "note": "x"} for r in (1, 2) for n in (3, 4) for s in (0, 1)]
    found = runs.Sweep(rows, arguments=("rate", "units", "seed"))
    (ax,) = srl.plot.sweep(found).axes
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3.5, 6.5], [4.5, 8.5]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["units 3", "units 4"]
    assert ax.collections[0].get_datalim(ax.transData).intervaly.tolist() == [3, 7]
    assert srl.plot.sweep(found, "loss", x="units").axes[0].get_xlabel() == "units"
    for wrong, words in (({"values": "note"}, "results that are numbers: loss"), ({"x": "loss"}, "rate, units, seed")):
        with pytest.raises(ValueError, match=words):
            srl.plot.sweep(found, **wrong)


@pytest.mark.slow
def test_the_search_of_the_documentation_goes_on_from_its_journal(tmp_path):
    pytest.importorskip("optuna")
    text = (Path(__file__).resolve().parent.parent / "docs" / "scale.md").read_text(encoding="utf-8")
    section = text.partition("### A search with Optuna")[2]
    code = textwrap.dedent("    import optuna" + section.partition("    import optuna")[2].split("\n## ")[0].split("\n### ")[0])
    (tmp_path / "search.py").write_text(code.replace("n_trials=10", "n_trials=2").replace("steps=50", "steps=8"))
    for _ in range(2):
        command = [sys.executable, "search.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stderr
    assert "Trial 3 finished" in done.stderr or "Trial 3 pruned" in done.stderr
    assert "'rate'" in done.stdout
