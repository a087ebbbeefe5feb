"""The door to the models: names, attribute access, files of one's own, and what a shipped file may hold."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spikertrl import models
from spikertrl.model import Model, ModelError

OWN = """
from dataclasses import dataclass
from spikertrl.model import Model, Port, State

@dataclass
class Note:
    text: str = ""

SUMMARY = Note("SUMMARY").text
MODEL = Model("own", SUMMARY, update="h = tanh(I_h)", message="h", states={"h": State()}, ports={"h": Port()})
"""


def write(path: Path, text: str = OWN) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_every_file_of_the_folder_is_a_model():
    assert models.names() == tuple(sorted(path.stem for path in models.FOLDER.glob("[!_]*.py")))
    assert len(models.names()) >= 10
    for name in models.names():
        assert models.load(name).name == name
        assert getattr(models, name) is models.load(name)
        assert name in dir(models)


def test_no_model_hides_behind_a_name_of_the_loader():
    assert not set(models.names()) & set(vars(models))


def test_from_import():
    from spikertrl.models import egru

    assert isinstance(egru, Model)
    with pytest.raises(ImportError, match="no_such_model"):
        from spikertrl.models import no_such_model  # noqa: F401


@pytest.mark.parametrize("name", ["__path__", "__wrapped__", "_egru", "_models"])
def test_underscored_names_are_no_models(name):
    assert not hasattr(models, name)


def test_unknown_name_lists_the_names():
    for ask in (models.load, lambda name: getattr(models, name)):
        with pytest.raises((ModelError, AttributeError), match=r"no model 'egur'; did you mean 'egru'\? Shipped models: .*rnn"):
            ask("egur")


@pytest.mark.parametrize("place", ["plain/own.py", "with space/näme-1.2.py", "json.py"])
@pytest.mark.parametrize("as_text", [True, False])
def test_own_file_anywhere(tmp_path, place, as_text):
    path = write(tmp_path / place)
    model = models.load(str(path) if as_text else path)
    assert model.name == "own" and model.summary == "SUMMARY"
    assert models.load(path) is model, "a file that did not change is executed once"
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name], "nothing is left beside the user's file"


def test_own_file_by_relative_path_and_home(tmp_path, monkeypatch):
    write(tmp_path / "egru.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for path in ("egru.py", os.path.join(".", "egru.py"), "~/egru.py"):
        assert models.load(path).name == "own"
    assert models.load("egru").name == "egru", "a bare name is a shipped model"


def test_a_changed_file_is_read_again(tmp_path):
    path = write(tmp_path / "own.py")
    first = models.load(path)
    os.utime(write(path, OWN.replace('"SUMMARY"', '"ANOTHER"')), ns=(1, 1))
    assert (first.summary, models.load(path).summary) == ("SUMMARY", "ANOTHER")


def test_equal_file_names_do_not_collide(tmp_path):
    first, second = write(tmp_path / "a" / "own.py"), write(tmp_path / "b" / "own.py", OWN.replace('"SUMMARY"', '"ANOTHER"'))
    assert (models.load(first).summary, models.load(second).summary) == ("SUMMARY", "ANOTHER")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", r"own\.py assigns no MODEL; end it with MODEL = "),
        (OWN.replace("MODEL =", "model ="), r"own\.py assigns no MODEL; it assigns model; rename one to MODEL"),
        ("MODEL = {'name': 'own'}\n", r"own\.py: MODEL is a dict, not a Model"),
        ("x = 1\ny = = 2\n", r"own\.py, line 2: SyntaxError"),
        ("import math\n\nMODEL = Modell()\n", r"own\.py, line 3: NameError: name 'Modell' is not defined"),
        (OWN.replace("tanh(I_h)", "tanh(I_x)"), r"own\.py, line 10: model 'own': undefined name 'I_x'"),
    ],
)
def test_bad_file_says_where(tmp_path, text, message):
    path = write(tmp_path / "own.py", text)
    before = set(sys.modules)
    with pytest.raises(ModelError, match=message):
        models.load(path)
    write(path)
    assert models.load(path).name == "own", "the corrected file loads"
    assert len(set(sys.modules) - before) == 1


@pytest.mark.parametrize("name", ["missing.py", "folder.py", "text.txt"])
def test_not_a_python_file(tmp_path, name):
    (tmp_path / "folder.py").mkdir()
    write(tmp_path / "text.txt")
    with pytest.raises(FileNotFoundError, match="no Python file at"):
        models.load(tmp_path / name)


def test_works_without_installation(tmp_path):
    """A checkout on the path is enough: the models are found beside the package."""
    root = models.FOLDER.parent
    if models.FOLDER.name == "_models":
        pytest.skip("running from an installed package")
    code = f"import sys; sys.path.insert(0, {str(root)!r}); from spikertrl.models import FOLDER, egru; print(FOLDER, egru.name)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(root / "models"), "egru"]


# -- what a shipped file holds ---------------------------------------------------------------------------------------------
ALLOWED = {"spikertrl", "spikertrl.model", "spikertrl.models", "spikertrl.surrogates", "__future__"}


@pytest.mark.parametrize("path", sorted(models.FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_shipped_file_is_a_record_and_nothing_else(path):
    docstring, *imports, last = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant)
    for part in imports:
        assert isinstance(part, ast.ImportFrom) and part.module in ALLOWED, f"line {part.lineno}: only imports of records"
    assert isinstance(last, ast.Assign) and [ast.unparse(target) for target in last.targets] == ["MODEL"]
    assert isinstance(last.value, ast.Call) and ast.unparse(last.value.func).split(".")[-1] in {"Model", "replace"}


@pytest.mark.parametrize("name", models.names())
def test_shipped_file_explains_itself(name):
    text = ast.get_docstring(ast.parse((models.FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or ""
    model = models.load(name)
    assert model.summary and model.reference
    assert text.splitlines()[0].endswith(".")
    for part in ("Equations", "Reference", ">>>"):
        assert part in text, f"the docstring has no {part!r}"
    for parameter in model.parameters:
        assert f"\n| {parameter} |" in text, f"parameter {parameter!r} is not in the table"
