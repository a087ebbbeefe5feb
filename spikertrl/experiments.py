"""Finds and loads experiments: scripts with ``main(argv) -> int``, shipped beside the package or inside it."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

STARTED = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # what launchers tell the processes that they start
_HERE = Path(__file__).resolve().parent
FOLDER = next((f for f in (_HERE / "_experiments", _HERE.parent / "experiments") if f.is_dir()), _HERE / "_experiments")


def names() -> tuple[str, ...]:
    """Names of the experiments, in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")))


def summaries() -> dict[str, str]:
    """Name -> first line of the docstring; nothing is imported."""
    texts = {name: ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or "" for name in names()}
    return {name: text.partition("\n")[0] for name, text in texts.items()}


def load(name: str) -> Callable[[Sequence[str]], int | None]:
    """The ``main`` of an experiment.

    Raises
    ------
    ValueError
        If there is no experiment of that name, or it has no ``main``.
    """
    stem = str(name).removesuffix(".py")
    if stem not in names():
        close = difflib.get_close_matches(stem, names(), 1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ValueError(f"no experiment {name!r}{hint} Experiments: {', '.join(names()) or f'none in {FOLDER}'}")
    spec = importlib.util.spec_from_file_location(f"{__package__}._experiments.{stem}", FOLDER / f"{stem}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))  # as when the script is run by itself
    spec.loader.exec_module(module)
    if not callable(found := getattr(module, "main", None)):
        raise ValueError(f"experiment {stem!r} has no main(argv); add one to {FOLDER / f'{stem}.py'}")
    return found  # type: ignore[return-value]


def ranks_started() -> int:
    """Ranks of which this process is one, as ``mpiexec`` says; 1 without it.

    >>> ranks_started()
    1
    """
    return max([1, *(int(os.environ[name]) for name in STARTED if os.environ.get(name, "").isdigit())])
