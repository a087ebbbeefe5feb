"""What must agree for a checkpoint to go on: a run described by names and short texts, arrays by a hash of their values."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from ..network.elements import Projection
    from ..network.network import Network


MOST_HASHED = 1 << 20  # entries; of larger arrays only every so-manieth is looked at


def describe(value: Any) -> Any:
    """A setting as JSON: numbers and text as they are, arrays by hash, callables by name and what they close over.

    >>> describe((1, 2.5, None)), describe(np.zeros(3)) == describe(np.zeros(3)), describe(np.zeros(3)) == describe(np.ones(3))
    ([1, 2.5, None], True, False)
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) or sparse.issparse(value):
        return _hash(value)
    if isinstance(value, Mapping):
        return {str(k): describe(v) for k, v in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, (list, tuple)):
        return [describe(v) for v in value]
    if isinstance(value, functools.partial):
        return {"callable": describe(value.func), "with": describe([*value.args, value.keywords])}
    if callable(value) and hasattr(value, "__qualname__"):
        return {"callable": value.__qualname__, "with": [describe(c) for c in _closed_over(value)]}
    record = dataclasses.is_dataclass(value)
    names = [f.name for f in dataclasses.fields(value)] if record else sorted(getattr(value, "__dict__", ()))
    return {"class": type(value).__name__} | {n: describe(getattr(value, n)) for n in names if not n.startswith("_")}


def _closed_over(function: Any) -> list[Any]:
    """Numbers and texts written in a function, and those of its closure, defaults and module that it reads."""
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    code = getattr(function, "__code__", None)
    if code is None:
        return cells
    plain = (bool, int, float, str)
    written = [c for c in code.co_consts if isinstance(c, plain) and c != function.__doc__]
    read = [function.__globals__.get(name) for name in code.co_names]
    return [*cells, *written, *(function.__defaults__ or ()), *(v for v in read if isinstance(v, plain))]


def _hash(array: Any) -> str:
    parts = (array.indptr, array.indices, array.data) if sparse.issparse(array) else (array,)
    parts = [np.ascontiguousarray(p if p.size <= MOST_HASHED else p.flat[:: p.size // MOST_HASHED]) for p in parts]
    digest = hashlib.sha256(b"".join(p.dtype.str.encode() + p.tobytes() for p in parts)).hexdigest()[:12]
    return f"{array.dtype} {array.shape} #{digest}"


def of_network(net: Network) -> dict[str, Any]:
    """Everything that a network is, but for the values of theta."""
    populations = net.populations.values()
    return {
        "network": repr(net),
        "models": {p.name: p.model.fingerprint for p in populations},
        "parameters": len(net.theta),
        "surrogates": {p.name: repr(p.model.surrogate) for p in populations},
        "fixed parameters": {
            f"{p.name}.{name}": _values(value) for p in populations for name, value in p.parameters.items()
            if name not in p.cell.trainable
        },
        "initial values": {f"{p.name}.{name}": _values(value) for p in populations for name, value in p.initial.items()},
        "masks": {p.name: _mask(p) for p in net.projections},
        "delays": {p.name: _values(p.delay) for p in net.projections},
        "trained": {p.name: list(p.trained_ports) for p in net.projections} | {r.name: r.trained for r in net.readouts},
    }  # fmt: skip


def _mask(p: Projection) -> Any:
    """None where all are connected; of a mask that changes, how many synapses it has."""
    return None if p.is_dense else p.n_synapses if p.changing else _hash(p.indptr) + _hash(p.indices)


def _values(value: Any) -> Any:
    """One number where all are equal, else a hash."""
    if callable(value):
        return describe(value)
    array = np.asarray(value)
    return array.flat[0].item() if array.size and (array == array.flat[0]).all() else _hash(array)
