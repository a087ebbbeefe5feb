"""Masks, initial values and named views of a network's parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy import sparse

from ..compile.cell import Cell
from ..units import in_base_units, steps
from .elements import NetworkError, Population, Projection
from .wiring import Wiring


def unit_values(
    cell: Cell, name: str, size: int, parameters: Mapping[str, Any], initial: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Parameters and initial states of a population in SI base units: what was given, else the model's defaults."""
    for given in (*parameters, *initial):
        kind, legal = ("parameter", cell.model.parameters) if given in parameters else ("state", cell.model.states)
        if given not in legal:
            raise NetworkError(f"population {name!r}: {cell.model.name} has no {kind} {given!r}; it has {sorted(legal)}")
    values = {n: in_base_units(v, cell.dims[n], f"{name}.{n}", size) for n, v in parameters.items()}
    values = {n: values.get(n, cell.defaults[n]) for n in cell.model.parameters}
    start = {n: in_base_units(v, cell.dims[n], f"{name}.{n}", size) for n, v in initial.items()}
    return values, {n: np.broadcast_to(start.get(n, cell.initial[n]), (size,)) for n in cell.model.states}


def mask(
    name: str, shape: tuple[int, int], density: float | None, seed: int, given: Any
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The mask of a connection as CSR index arrays, or (None, None) for all-to-all."""
    if density is not None and given is not None:
        raise NetworkError(f"connect {name!r}: give density or mask, not both")
    if density is not None:
        if not 0.0 < density <= 1.0:
            raise NetworkError(f"connect {name!r}: density must be in (0, 1], got {density}")
        total = shape[0] * shape[1]
        chosen = np.random.default_rng(seed).choice(total, size=round(density * total), replace=False)
        rows, columns = np.divmod(np.sort(chosen), shape[1])
    elif given is not None:
        matrix: Any = sparse.csr_matrix(given, copy=True) if sparse.issparse(given) else np.asarray(given)
        if matrix.shape != shape:
            raise NetworkError(f"connect {name!r}: mask must have shape (post, pre) = {shape}, got {matrix.shape}")
        if sparse.issparse(matrix):
            matrix.sum_duplicates()
            matrix.eliminate_zeros()
            return matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
        rows, columns = np.nonzero(matrix)
    else:
        return None, None
    indptr = np.searchsorted(rows, np.arange(shape[0] + 1)).astype(np.int32)
    return indptr, columns.astype(np.int32)


def delays(name: str, given: Any, lowest: int, dt: float, shape: tuple[int, int], indptr: np.ndarray | None,
           indices: np.ndarray | None) -> int | np.ndarray:  # fmt: skip
    """Delays in steps: one number, or one per synapse in CSR order; at least ``lowest``."""
    what = f"connect {name!r}: delay"
    if sparse.issparse(given):
        found = steps(per_synapse(given, indptr, indices), dt, what)
    else:
        found = steps(lowest if given is None else given, dt, what)
        if np.ndim(found) and np.shape(found) != shape:
            raise NetworkError(f"{what} has shape {np.shape(found)}; legal: a number, or one per pair, (post, pre) = {shape}")
        found = per_synapse(np.broadcast_to(found, shape), indptr, indices) if np.ndim(found) else found
    if np.size(found) and np.min(found) < lowest:
        raise NetworkError(f"{what} must be at least {lowest} step(s), got {np.min(found)}")
    return found.astype(np.int32) if isinstance(found, np.ndarray) and found.ndim else int(found)


def per_synapse(matrix: Any, indptr: np.ndarray | None, indices: np.ndarray | None) -> np.ndarray:
    """Entries of a (post, pre) matrix, dense or scipy sparse, at the synapses, in CSR order."""
    if indptr is None or indices is None:
        return (matrix.toarray() if sparse.issparse(matrix) else matrix).reshape(-1)
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    if not sparse.issparse(matrix):
        return matrix[rows, indices]
    return np.asarray(sparse.csr_matrix(matrix)[rows, indices]).reshape(-1)


def views(wiring: Wiring, projections: Iterable[Projection], vector: np.ndarray) -> dict[str, dict[str, Any]]:
    """Named views into a vector shaped like theta; see ``Network.view``."""
    found: dict[str, dict[str, Any]] = {}
    masks = {p.name: p for p in projections if not p.is_dense}
    for (group, name), (part, shape) in wiring.layout.items():
        piece = vector[part]
        if projection := masks.get(group):
            view = sparse.csr_matrix((piece, projection.indices, projection.indptr), shape=projection.shape, copy=False)
            view.data = piece  # scipy copies the data when they are a small part of a larger array
        else:
            view = piece.reshape(shape)
        found.setdefault(group, {})[name] = view
    return found


def draw(view: Any, weight: Any, scale: float, rng: np.random.Generator) -> None:
    """Fill one weight view: Glorot normal, or what the user gave."""
    shape = view.shape
    data = view.data if sparse.issparse(view) else view
    if weight is None:
        fan = data.size / max(shape[0], 1) + data.size / max(shape[1], 1)
        data[...] = scale * np.sqrt(2.0 / max(fan, 1e-12)) * rng.standard_normal(data.shape)
        return
    chosen: Any = weight(rng, shape) if callable(weight) else weight
    if sparse.issparse(chosen):
        data[...] = per_synapse(chosen, *((view.indptr, view.indices) if sparse.issparse(view) else (None, None))).reshape(
            data.shape
        )
        return
    chosen = np.asarray(chosen, float)
    given = np.broadcast_to(chosen, shape)
    data[...] = per_synapse(given, view.indptr, view.indices) if sparse.issparse(view) else given


def fill(populations: Iterable[Population], view: dict[str, dict[str, Any]], rng: np.random.Generator, biases: bool) -> None:
    """Write biases and unit parameters into their views; with ``biases``, evaluate callables of constant parameters too."""
    for population in populations:
        for name, values in view.get(population.name, {}).items():
            if name.startswith("bias_"):
                values[...] = _value(population.bias, rng, population.size) if biases else 0.0
            else:
                values[...] = _value(population.parameters[name], rng, population.size)
        for name, given in population.parameters.items():
            if callable(given) and not population.model.parameters[name].trainable and biases:
                population.parameters[name] = np.asarray(_value(given, rng, population.size), float)


def _value(given: Any, rng: np.random.Generator, size: int) -> Any:
    return given(rng, size) if callable(given) else given
