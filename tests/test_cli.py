"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from networks import marked
from spikertrl import cli, models
from spikertrl import experiments as _experiment
from spikertrl.compile import compile_model
from spikertrl.compile import describe as _describe
from spikertrl.model import ModelError

OWN = """
from spikertrl.model import Model, Port, State
MODEL = Model("own", "a unit", update="h = tanh(I_h)", message="h", states={"h": State()}, ports={"h": Port(bias=True)})
"""

EXPERIMENT = '''"""Measures {name}, as in a paper.

Details.
"""
import argparse
{extra}

def main(argv=None):
    parser = argparse.ArgumentParser(prog="{name}")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("words", nargs="*")
    chosen = parser.parse_args(argv)
    print("steps", chosen.steps, chosen.words)
    {body}
'''


def call(*arguments: str):
    return CliRunner().invoke(cli.app, list(arguments), prog_name="spikertrl")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of three experiments."""
    bodies = {"one": "return 0", "two": "return 3", "three": "raise ValueError('the data are\\n not there')", "_helper": ""}
    for name, body in bodies.items():
        extra = "from _helper import main as other" if name == "two" else ""
        (tmp_path / f"{name}.py").write_text(EXPERIMENT.format(name=name, body=body or "pass", extra=extra))
    (tmp_path / "none.py").write_text('"""No main."""\n')
    monkeypatch.setattr(_experiment, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


# -- help and errors ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", [[], ["demo"], ["run"], ["sweep"], ["models"], ["check"], ["warm"], ["info"]])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_everywhere(command, flag):
    found = call(*command, flag)
    assert found.exit_code == 0 and "Usage: spikertrl" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models", "egur"], "did you mean 'egru'?"),
        (["models", "--source"], "--source needs the name of a model"),
        (["models", "egru", "--dtype", "int"], "dtype must be one of"),
        (["check", "nowhere.py"], "no Python file at"),
        (["run", "nothing"], "no experiment 'nothing'"),
    ],
)
def test_errors_are_one_line_on_stderr(arguments, message):
    found = call(*arguments)
    assert found.exit_code == 2 and message in found.stderr
    assert found.stderr.startswith("error: ") and found.stderr.count("\n") == 1
    assert not found.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["check"], ["models", "--nonsense"]])
def test_bad_usage(arguments):
    assert call(*arguments).exit_code == 2


def test_debug_lets_the_error_pass():
    assert isinstance(call("--debug", "models", "egur").exception, ModelError)
    assert call("models", "egur").exit_code == 2, "and only when asked"


def test_the_installed_command_shows_no_traceback():
    code = "from spikertrl.cli import main; main()"
    found = subprocess.run([sys.executable, "-c", code, "models", "egur"], capture_output=True, text=True)
    assert found.returncode == 2 and "Traceback" not in found.stderr and "egru" in found.stderr


def test_help_imports_none_of_the_large_libraries():
    """Processor time of --help is that of what it imports: 0.2 s without them, 2.5 s with them."""
    code = (
        "import sys\nfrom spikertrl.cli import app\n"
        "try:\n    app(['--help'], prog_name='spikertrl')\nexcept SystemExit:\n    pass\n"
        "print({'numpy', 'numba', 'scipy', 'matplotlib', 'sympy', 'brian2'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: spikertrl" in found.stdout and found.stdout.endswith("set()\n")


def test_completion_is_offered(monkeypatch):
    assert "--install-completion" in call("--help").stdout
    monkeypatch.setenv("_SPIKERTRL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "spikertrl s")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert call().stdout.split() == ["sweep"]


def test_version():
    from importlib.metadata import version

    assert call("--version").stdout.strip() == version("spikertrl")


# -- models ------------------------------------------------------------------------------------------------------------------
def test_models_lists_every_model_with_its_summary():
    lines = call("models").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(models.names())
    assert all(models.load(line.split()[0]).summary in line for line in lines)


@pytest.mark.parametrize("name", marked(models.names()))
def test_model_is_shown_whole(name):
    model, text = models.load(name), call("models", name).stdout
    for known in (*model.states, *model.parameters, *(f"I_{port}" for port in model.ports), model.reference, model.message):
        assert known in text
    for state in model.memory:
        assert f"\n  {state}(t) = " in text
    for line in compile_model(model).jacobian.splitlines():
        assert f"\n  {line.partition(' = ')[0]} = " in text


@pytest.mark.parametrize("name", marked(models.names()))
def test_shortened_formulas_say_the_same(name):
    import sympy

    def read(text: str) -> sympy.Expr:
        names = set(_describe.re.findall(r"[A-Za-z_]\w*", text))
        called = set(_describe.re.findall(r"([A-Za-z_]\w*)\(", text))
        known = {n: sympy.Symbol(n, real=True) for n in names - called}
        known |= {n: sympy.Function(n) for n in called - {"exp", "tanh", "floor", "log", "sqrt", "sin", "cos"}}
        return sympy.sympify(text, locals=known)

    long = compile_model(models.load(name)).jacobian
    short = [line.partition(" = ")[::2] for line in _describe.shorten(long).splitlines()]
    helpers = [(sympy.Symbol(left, real=True), read(right)) for left, right in short if "(" not in left and "/" not in left]
    finished = {left: read(right) for left, right in short}
    for left, _, right in (line.partition(" = ") for line in long.splitlines()):
        value = finished[left]
        for symbol, expression in reversed(helpers):
            value = value.subs(symbol, expression)
        assert sympy.expand(value - read(right)) == 0, left


def test_model_of_ones_own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    assert "dh/dI_h = " in call("models", str(path)).stdout


def test_generated_source():
    text = call("models", "rnn", "--source", "--dtype", "float64").stdout
    compile(text, "cell", "exec")
    assert "def linearise" in text and "float64" in text


# -- check -------------------------------------------------------------------------------------------------------------------
def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "own.py"
    path.write_text(text)
    return str(path)


def test_check_of_a_good_model(tmp_path):
    found = call("check", write(tmp_path, OWN))
    assert found.exit_code == 0, found.output
    assert "own" in found.stdout and "passed" in found.stdout


def test_check_of_a_model_that_breaks_a_law(tmp_path):
    mute = OWN.replace('message="h"', 'message="0*event(h)"')
    found = call("check", write(tmp_path, mute))
    assert found.exit_code == 1 and "failed" in found.stdout


@pytest.mark.parametrize(("old", "new"), [("tanh(I_h)", "tanh(I_x)"), ("MODEL =", "OTHER ="), ("tanh(I_h)", "tanh(")])
def test_check_of_a_file_that_is_no_model(tmp_path, old, new):
    found = call("check", write(tmp_path, OWN.replace(old, new)))
    assert found.exit_code == 2 and found.stderr.startswith("error: model file ")


# -- run, demo, info ---------------------------------------------------------------------------------------------------------
def test_run_lists_without_importing(folder):
    (folder / "broken.py").write_text('"""Cannot be imported."""\nraise RuntimeError\n')
    found = call("run", "--list")
    assert found.exit_code == 0
    assert [line.split()[0] for line in found.stdout.splitlines()] == ["broken", "none", "one", "three", "two"]
    assert "Measures one, as in a paper." in found.stdout
    assert call("run").exit_code == 2, "no experiment was named"


def test_run_hands_on_options(folder):
    found = call("run", "one", "--steps", "7", "a", "--", "-b")
    assert found.exit_code == 0 and "steps 7 ['a', '-b']" in found.stdout
    assert "usage: one" in call("run", "one", "--help").stdout


@pytest.mark.parametrize(("name", "code"), [("one", 0), ("one.py", 0), ("two", 3), ("three", 2), ("none", 2), ("_helper", 2)])
def test_run_exit_codes(folder, name, code):
    assert call("run", name).exit_code == code


def test_run_errors(folder):
    assert call("run", "three").stderr == "error: the data are not there\n"
    assert "has no main(argv)" in call("run", "none").stderr
    assert "did you mean 'three'" in call("run", "thre").stderr
    assert call("run", "one", "--steps", "many").exit_code == 2, "the experiment's own parser refuses"


def test_run_without_experiments(tmp_path, monkeypatch):
    monkeypatch.setattr(_experiment, "FOLDER", tmp_path)
    found = call("run", "--list")
    assert (found.exit_code, found.stdout) == (0, "") and "no experiments in" in found.stderr


@pytest.mark.parametrize(
    "error, code", [(KeyboardInterrupt("stopped after step 3"), 130), (FloatingPointError("loss is nan"), 1)]
)
def test_demo_hands_on_options_and_says_why_it_stopped(monkeypatch, tmp_path, error, code):
    seen = []

    def main(out, quick):
        seen.append((out, quick))
        raise error

    monkeypatch.setitem(sys.modules, "spikertrl.demo", types.SimpleNamespace(main=main))
    found = call("demo", "--out", str(tmp_path), "--quick")
    assert seen == [(tmp_path, True)]
    assert found.exit_code == code and str(error) in found.stderr


def test_shipped_experiments_have_a_summary():
    for name, summary in _experiment.summaries().items():
        assert summary, f"experiment {name} has no docstring"


def test_info(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKERTRL_CACHE", str(tmp_path))
    (tmp_path / "cell.py").write_bytes(b"x" * 2_000_000)
    lines = dict(line.split(maxsplit=1) for line in call("info").stdout.splitlines())
    assert lines["cache"] == f"{tmp_path} (1 files, 2.0 MB)"
    assert int(lines["cores"]) >= 1 and "compiled loops" in lines["threads"]
    assert {"spikertrl", "python", "numpy", "numba", "brian2"} <= lines.keys()


def test_warm_compiles_and_refuses_what_it_does_not_know() -> None:
    done = call("warm", "egru", "--learners", "BPTT", "--workers", "1")
    assert done.exit_code == 0 and done.stdout.split()[:2] == ["egru", "BPTT"]
    for wrong in (("warm", "egru", "--learners", "BPPT"), ("warm", "no_such_model"), ("warm", "egru", "--workers", "0")):
        refused = call(*wrong)
        assert refused.exit_code == 2 and "error: " in refused.stderr, refused.stdout


@pytest.mark.slow
def test_after_warm_a_first_gradient_compiles_nothing(tmp_path) -> None:
    """In processes of their own, with an empty cache."""
    kept = os.environ | {"SPIKERTRL_CACHE": str(tmp_path / "cells"), "NUMBA_CACHE_DIR": str(tmp_path / "loops")}
    kept["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    run = functools.partial(subprocess.run, env=kept, capture_output=True, text=True, check=True)
    command = [sys.executable, "-c", "from spikertrl.cli import main; main()", "warm"]
    done = run([*command, "egru", "lif", "--learners", "RTRL,EProp"])
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == ["egru", "egru", "lif"]
    program = (
        "from spikertrl.warm import use\nfrom numba.core import event\n"
        "class Seen(event.Listener):\n    def on_start(self, e): print(e.data['dispatcher'].py_func.__qualname__)\n"
        "    def on_end(self, e): pass\nevent.register('numba:compile', Seen())\nuse('egru', 'RTRL', 'float32')"
    )
    assert run([sys.executable, "-c", program]).stdout == ""
