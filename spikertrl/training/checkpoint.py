"""Checkpoints: any tree of dataclasses, containers, arrays and numbers as one .npz file without pickle, written atomically.

Index arrays of the network (its ``Wiring``) are not stored: the network is code, and a checkpoint is read into the same
network. A dataclass may name arrays in ``forgotten`` whose values have no meaning at present: they are read back as zeros.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..network.wiring import Wiring

VERSION = 3


def save(path: str | Path, tree: Any) -> Path:
    """Write a tree; the file appears whole or not at all.

    Raises
    ------
    TypeError
        If the tree holds something that cannot be stored, naming its place.
    """
    path = Path(path)
    arrays: list[np.ndarray] = []
    text = json.dumps({"version": VERSION, "tree": _encode(tree, arrays, "checkpoint")})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    named: dict[str, Any] = {f"a{i}": a for i, a in enumerate(arrays)}
    with partial.open("wb") as file:
        np.savez(file, tree=np.array(text), **named)
    os.replace(partial, path)
    return path


def load(path: str | Path, wiring: Wiring | None = None) -> Any:
    """Read a tree; ``wiring`` takes the place of the wirings that were left out.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is not a checkpoint of this version.
    """
    with np.load(Path(path), allow_pickle=False) as file:
        if "tree" not in file:
            raise ValueError(f"{path} is not a spikertrl checkpoint")
        content = json.loads(str(file["tree"]))
        if content.get("version") != VERSION:
            raise ValueError(f"{path}: checkpoint version {content.get('version')}, this program reads {VERSION}")
        return _decode(content["tree"], file, wiring)


def _encode(value: Any, arrays: list[np.ndarray], where: str) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"@": "array", "i": len(arrays) - 1}
    if isinstance(value, Wiring):
        return {"@": "wiring"}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {"@": kind, "v": [_encode(v, arrays, f"{where}[{i}]") for i, v in enumerate(value)]}
    if isinstance(value, dict):
        pairs = [[_encode(k, arrays, where), _encode(v, arrays, f"{where}[{k!r}]")] for k, v in value.items()]
        return {"@": "dict", "v": pairs}
    if isinstance(value, np.random.Generator):
        return {"@": "rng", "v": _encode(value.bit_generator.state, arrays, where)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names, blank = [f.name for f in dataclasses.fields(value) if f.init], getattr(value, "forgotten", ())
        fields = {n: _encode(getattr(value, n), arrays, f"{where}.{n}") for n in names if n not in blank}
        fields |= {n: _blank(getattr(value, n)) for n in blank}
        return {"@": "data", "c": f"{type(value).__module__}:{type(value).__qualname__}", "v": fields}
    allowed = "arrays, numbers, containers and dataclasses"
    raise TypeError(f"cannot store {where}: a {type(value).__name__}; a learner's state may hold {allowed}")


def _blank(array: np.ndarray) -> dict[str, Any]:
    return {"@": "zeros", "shape": list(array.shape), "dtype": array.dtype.str}


def _decode(value: Any, file: Any, wiring: Wiring | None) -> Any:
    if not isinstance(value, dict):
        return value
    kind = value["@"]
    if kind == "array":
        return file[f"a{value['i']}"]
    if kind == "zeros":
        return np.zeros(value["shape"], value["dtype"])
    if kind == "wiring":
        return wiring
    if kind in ("list", "tuple"):
        items = [_decode(v, file, wiring) for v in value["v"]]
        return items if kind == "list" else tuple(items)
    if kind == "dict":
        return {_decode(k, file, wiring): _decode(v, file, wiring) for k, v in value["v"]}
    if kind == "rng":
        state = _decode(value["v"], file, wiring)
        generator = np.random.Generator(getattr(np.random, state["bit_generator"])())
        generator.bit_generator.state = state
        return generator
    module, _, name = value["c"].partition(":")
    cls = getattr(importlib.import_module(module), name)
    return cls(**{n: _decode(v, file, wiring) for n, v in value["v"].items()})
