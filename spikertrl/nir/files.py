"""A NIR graph from whatever was given: the graph itself, or a file, which may be damaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..optional import needed
from .nodes import NIRError, kind

LEGAL = "a nir.NIRGraph, or the path of a file that nir.write has written"


def opened(given: Any) -> Any:
    """The graph that was given, or that stands in a file.

    Raises
    ------
    NIRError
        If it is neither, or the file holds no graph that can be read.
    FileNotFoundError
        If there is no such file.
    """
    if isinstance(given, str | os.PathLike):
        graph = _read(Path(given))
        if kind(graph) != "NIRGraph":
            raise NIRError(f"from_nir: the file {given} holds a {kind(graph)}; legal: {LEGAL}")
        return graph
    if kind(given) != "NIRGraph":
        text = repr(given)
        shown = text if len(text) < 80 and type(given).__module__ == "builtins" else f"a {kind(given)}"
        raise NIRError(f"from_nir: graph is {shown}; legal: {LEGAL}")
    return given


def _read(path: Path) -> Any:
    nir = needed("nir", "from_nir()")
    if not path.exists():
        raise FileNotFoundError(f"from_nir: there is no file {path}")
    if path.is_dir():
        raise NIRError(f"from_nir: {path} is a folder; give the path of a file")
    try:
        try:
            return nir.read(str(path))
        except ValueError:  # sizes that do not fit; those of scalars, which are spread, do
            return nir.read(str(path), type_check=False)
    except Exception as error:  # a damaged file makes HDF5 and the nodes' constructors raise whatever comes
        why = str(error) or type(error).__name__
        raise NIRError(f"from_nir: the file {path} holds no NIR graph that can be read: {why}; legal: {LEGAL}") from error
