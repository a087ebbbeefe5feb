"""The models that come with the package, and the door for your own.

A model is one Python file that assigns ``MODEL = Model(...)``. The shipped files are found by scanning a folder, so a new file
there is a new model, with nothing to register; a file anywhere else on disk works the same. Installed packages add theirs by
entry points of the group "spikertrl.models", see ``plugins``.

>>> from spikertrl.models import egru, load
>>> load("egru") is egru
True
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.util
import os
import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path

from . import plugins
from .arguments import refuse
from .model import Model, ModelError

_HERE = Path(__file__).resolve().parent
FOLDER = next((folder for folder in (_HERE / "_models", _HERE.parent / "models") if folder.is_dir()), _HERE / "_models")
"""Where the shipped models lie: inside an installed package, or beside the package in a checkout."""
GROUP = "spikertrl.models"


def names() -> tuple[str, ...]:
    """Names of the shipped models and of those that installed packages add, in alphabetical order.

    Examples
    --------
    >>> "egru" in names() and "lif" in names()
    True
    """
    return tuple(sorted({*_shipped(), *plugins.names(GROUP)}))


def _shipped() -> set[str]:
    return {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")}


def load(name_or_path: str | os.PathLike[str]) -> Model:
    """The model of that name, or the ``MODEL`` of the Python file at that path.

    A text that ends in ``.py`` or holds a path separator is a path; any other text is the name of a shipped model, or of one
    that an installed package adds.
    A file is executed once; asking again returns the same record until the file changes.

    Raises
    ------
    ModelError
        If there is no model of that name, or the file cannot be executed or assigns no ``MODEL``.
    PluginError
        If an installed package says it has the model, and fails.
    FileNotFoundError
        If there is no file at that path.

    Examples
    --------
    >>> load("gru").states.keys() == load(FOLDER / "gru.py").states.keys()
    True
    >>> load("grru")
    Traceback (most recent call last):
        ...
    spikertrl.model.ModelError: no model 'grru'; did you mean 'gru'? Shipped models: ...
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise refuse("models.load", "the model", name_or_path, "the name of a shipped model, or the path of a Python file")
    text = os.fspath(name_or_path)
    if isinstance(name_or_path, str) and not _looks_like_path(text):
        if text not in _shipped():
            return _added(text)
        path = FOLDER / f"{text}.py"
    else:
        path = Path(text).expanduser().resolve()
        if path.suffix != ".py" or not path.is_file():
            raise FileNotFoundError(f"no Python file at {path}; give the path of a .py file that assigns MODEL = Model(...)")
    stamp = path.stat()
    return _execute(path, (stamp.st_mtime_ns, stamp.st_size))


def _added(name: str) -> Model:
    """A model of an installed package."""
    try:
        model = plugins.load(GROUP, name)
    except KeyError:
        raise ModelError(_no_model(name)) from None
    if not isinstance(model, Model):
        raise ModelError(f"{GROUP}: {name!r} of an installed package is a {type(model).__name__}, not a Model")
    return model


def _looks_like_path(text: str) -> bool:
    return text.endswith(".py") or any(separator in text for separator in (os.sep, os.altsep) if separator)


def _no_model(name: str) -> str:
    close = difflib.get_close_matches(name, names(), 1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    shipped = ", ".join(names()) or f"none in {FOLDER}"
    return f"no model {name!r}{hint} Shipped models: {shipped}. For a file of your own, load its path: load('./{name}.py')"


@functools.lru_cache(maxsize=256)
def _execute(path: Path, stamp: tuple[int, int]) -> Model:
    """Run a model file and return its MODEL; ``stamp`` makes a changed file a new question."""
    loader = SourceFileLoader(_module_name(path), str(path))
    spec = importlib.util.spec_from_file_location(loader.name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # before it runs: dataclasses in the file look their module up
    try:
        # Straight from the source: a byte-code cache would miss an edit within the same second, and litter the user's folder.
        exec(loader.source_to_code(path.read_bytes(), str(path)), module.__dict__)
    except Exception as error:
        del sys.modules[loader.name]
        raise ModelError(f"model file {path}{_line(error, path)}: {_what(error)}") from error
    return _model_of(module.__dict__, path)


def _module_name(path: Path) -> str:
    if path.parent == FOLDER:
        return f"{__package__}._models.{path.stem}"
    return f"{__package__}._user_model_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"


def _model_of(namespace: dict[str, object], path: Path) -> Model:
    if "MODEL" not in namespace:
        near = [name for name, value in namespace.items() if isinstance(value, Model)]
        hint = f"it assigns {', '.join(near)}; rename one to MODEL" if near else "end it with MODEL = Model(...)"
        raise ModelError(f"model file {path} assigns no MODEL; {hint}")
    model = namespace["MODEL"]
    if not isinstance(model, Model):
        raise ModelError(f"model file {path}: MODEL is a {type(model).__name__}, not a Model; write MODEL = Model(...)")
    return model


def _line(error: Exception, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def _what(error: Exception) -> str:
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return message if isinstance(error, ModelError) else f"{type(error).__name__}: {message}"


def __getattr__(name: str) -> Model:
    # The import system and tools ask for __path__, __wrapped__ and the like: no model has such a name.
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _shipped() and name not in plugins.names(GROUP):
        raise AttributeError(_no_model(name))
    return load(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *names()})
