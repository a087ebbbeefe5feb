"""The wheel, not the checkout: build it, install it into an empty environment, leave the checkout, use it."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "spikertrl", "models", "experiments")
JUNK = shutil.ignore_patterns("__pycache__", "*.pyc", "*.nbi", "*.nbc", "results")


def mapped() -> dict[str, str]:
    """Package name -> folder, as setup.cfg tells setuptools."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    folders = dict(line.split(" = ") for line in config["options"]["package_dir"].split("\n") if line)
    return {name: folders.get(name, name.replace(".", "/")) for name in config["options"]["packages"].split()}


def test_packages_are_the_folders_on_disk():
    on_disk = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "spikertrl").rglob("*.py")}
    on_disk |= {"models", "experiments"}
    assert set(mapped().values()) == on_disk, "list the folders with code under packages in setup.cfg"


def test_the_version_is_one_and_the_recipe_asks_for_what_setup_asks_for():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    version, recipe = config["metadata"]["version"], (ROOT / "recipe" / "meta.yaml").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f'version = "{version}"' in recipe and f"\nversion: {version}\n" in citation
    lines = [line.split(";")[0] for line in config["options"]["install_requires"].split("\n") if ">=" in line]
    least = {}
    for name, number in (line.replace(" ", "").split(">=") for line in lines):
        least[name] = min(least.get(name, number), number, key=lambda n: tuple(map(int, n.split("."))))
    run_lines = recipe.partition("  run:")[2].partition("test:")[0].split("\n")
    asked = dict(line.strip(" -").split(" >=") for line in run_lines if ">=" in line)
    asked["matplotlib"] = asked.pop("matplotlib-base")
    assert asked.pop("python") == config["options"]["python_requires"].strip(">= ") and asked == least


def run(*command: object, cwd: Path, **environment: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_"))} | environment
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A clean copy of what the wheel is built from: a stale build folder could resurrect deleted files."""
    folder = tmp_path_factory.mktemp("source")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=JUNK)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    """Built offline, with the setuptools of the running environment."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of an empty environment that holds the wheel and borrows only its dependencies."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    options = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=folder)
    own = Path(run(python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    # Plain paths: the .pth files inside them, and with them an editable install of the checkout, are not followed.
    (own / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n", encoding="utf-8")
    return python


def test_wheel_holds_every_file(source, wheel):
    kept = zipfile.ZipFile(wheel).namelist()
    inside = {name for name in kept if not name.split("/")[0].endswith(".dist-info")}
    expected = {
        f"{package.replace('.', '/')}/{path.name}"
        for package, folder in mapped().items()
        for path in (source / folder).iterdir()
        if path.suffix == ".py"
    }
    expected |= {path.relative_to(source).as_posix() for path in (source / "spikertrl").rglob("*") if path.is_file()}
    assert inside == expected
    assert any(name.endswith("/LICENSE") for name in kept)


USE = """
import json, sys
import spikertrl
from spikertrl import models
from spikertrl.models import egru, load, names

found = {name: load(name).name for name in names()}
files = [sys.modules[f"spikertrl._models.{name}"].__file__ for name in names()]
files += [str(models.FOLDER), spikertrl.__file__]
missing = [name for name in getattr(spikertrl, "__all__", []) if not hasattr(spikertrl, name)]
print(json.dumps({"found": found, "files": files, "missing": missing}))
"""


def test_installed_wheel_works_away_from_the_checkout(python, tmp_path):
    told = json.loads(run(python, "-I", "-c", USE, cwd=tmp_path).splitlines()[-1])
    names = sorted(path.stem for path in (ROOT / "models").glob("[!_]*.py"))
    assert sorted(told["found"]) == sorted(told["found"].values()) == names
    assert told["missing"] == []
    home = python.parent.parent
    for file in told["files"]:
        assert Path(file).is_relative_to(home), f"{file} does not come from the wheel"


def test_installed_command_starts(python, tmp_path):
    command = python.parent / ("spikertrl.exe" if os.name == "nt" else "spikertrl")
    assert "egru" in run(command, "models", cwd=tmp_path)
