"""Masks and initial values of a network's parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy import sparse

from ..compile.cell import SURROGATE, Cell
from ..language import TextError, evaluate, parse
from ..units import PLAIN, base_values, in_base_units, steps
from .elements import NetworkError, Population


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
        if not isinstance(density, int | float | np.number) or isinstance(density, bool) or not 0.0 < density <= 1.0:
            raise NetworkError(f"connect {name!r}: density must be in (0, 1], got {density!r}")
        total = shape[0] * shape[1]
        chosen = np.random.default_rng(seed).choice(total, size=round(density * total), replace=False)
        rows, columns = np.divmod(np.sort(chosen), shape[1])
    elif given is not None:
        matrix: Any = sparse.csr_matrix(given, copy=True) if sparse.issparse(given) else np.asarray(given)
        if matrix.shape != shape:
            raise NetworkError(f"connect {name!r}: mask must have shape (post, pre) = {shape}, got {matrix.shape}")
        values = matrix.data if sparse.issparse(matrix) else matrix
        if values.dtype.kind not in "buif" or not np.isfinite(values).all():
            raise NetworkError(f"connect {name!r}: mask must hold finite numbers or truth values")
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


def given_values(value: Any, dims: tuple[float, ...], what: str, shape: tuple[int, ...]) -> Any:
    """Weights or biases as they may be given, in SI base units: a plain number is in them already, a quantity is converted.

    A callable comes back as it is (what it returns is checked when it is called), a scipy sparse matrix too; anything else as
    an array that fits ``shape``.

    Raises
    ------
    NetworkError
        If the dimensions are others, a value is not finite, or the shape does not fit.
    """
    if value is None or callable(value):
        return value
    if sparse.issparse(value):
        if value.shape != shape:
            raise NetworkError(f"{what} has shape {value.shape}; legal: {shape}")
        base_values(value.data, PLAIN, what)
        return value
    is_plain = not isinstance(value, str) and not hasattr(value, "dim")
    try:
        array = base_values(value, PLAIN if is_plain else dims, what)
        np.broadcast_to(array, shape)
    except ValueError as error:
        wrong = f"{what} has shape {np.shape(value)}; legal: a number, or {shape}"
        raise NetworkError(wrong if "broadcast" in str(error) else str(error)) from None
    return array


def check_bias(bias: Any, cell: Cell, name: str, size: int) -> None:
    """Check the ``bias`` of ``add_population``, one for all ports or one each, by ``given_values``."""
    ports = [port for port, record in cell.model.ports.items() if record.bias]
    if isinstance(bias, Mapping) and set(bias) != set(ports):
        raise NetworkError(f"population {name!r}: bias is given for the ports {sorted(bias)}; it is needed for {sorted(ports)}")
    for port in ports:
        given = bias[port] if isinstance(bias, Mapping) else bias
        given_values(given, cell.dims[f"I_{port}"], f"{name}.bias_{port}", (size,))


def weights_given(name: str, weight: Any, ports: tuple[str, ...], cell: Cell, shape: tuple[int, int]) -> Any:
    """The ``weight`` of ``connect``, one for all ports or one each, checked by ``given_values``."""
    what = f"connect {name!r}: weight"
    if not isinstance(weight, Mapping):
        for port in ports if weight is not None and not callable(weight) else ():
            given_values(weight, cell.dims[f"I_{port}"], f"{what} of port {port!r}", shape)
        return given_values(weight, cell.dims[f"I_{ports[0]}"], what, shape)
    if set(weight) != set(ports):
        raise NetworkError(f"{what} is given for the ports {sorted(weight)}; it is needed for {sorted(ports)}")
    return {p: given_values(w, cell.dims[f"I_{p}"], f"{what} of port {p!r}", shape) for p, w in weight.items()}


def draw(view: Any, weight: Any, scale: float, rng: np.random.Generator, dims: tuple[float, ...], what: str) -> None:
    """Fill one weight view: Glorot normal, or what the user gave."""
    shape = view.shape
    data = view.data if sparse.issparse(view) else view
    if weight is None:
        fan = data.size / max(shape[0], 1) + data.size / max(shape[1], 1)
        data[...] = scale * np.sqrt(2.0 / max(fan, 1e-12)) * rng.standard_normal(data.shape)
        return
    chosen: Any = given_values(weight(rng, shape), dims, what, shape) if callable(weight) else weight
    if sparse.issparse(chosen):
        data[...] = per_synapse(chosen, *((view.indptr, view.indices) if sparse.issparse(view) else (None, None))).reshape(
            data.shape
        )
        return
    given = np.broadcast_to(np.asarray(chosen, float), shape)
    data[...] = per_synapse(given, view.indptr, view.indices) if sparse.issparse(view) else given


def fill(populations: Iterable[Population], view: dict[str, dict[str, Any]], rng: np.random.Generator, biases: bool) -> None:
    """Write biases and unit parameters into their views; with ``biases``, evaluate callables of constant parameters too."""
    for population in populations:
        for name, values in view.get(population.name, {}).items():
            if name.startswith("bias_"):
                values[...] = _bias(population, name.removeprefix("bias_"), rng) if biases else -0.0
            else:
                values[...] = _parameter(population, name, rng)
        for name, given in population.parameters.items():
            if callable(given) and not population.model.parameters[name].trainable and biases:
                population.parameters[name] = np.asarray(_parameter(population, name, rng), float)


def _bias(population: Population, port: str, rng: np.random.Generator) -> Any:
    given = population.bias[port] if isinstance(population.bias, Mapping) else population.bias
    given = given(rng, population.size) if callable(given) else given
    return given_values(given, population.cell.dims[f"I_{port}"], f"{population.name}.bias_{port}", (population.size,))


def _parameter(population: Population, name: str, rng: np.random.Generator) -> Any:
    """The value of a parameter. What a callable returns is in base units, or a quantity."""
    given = population.parameters[name]
    if not callable(given):
        return given
    found, what = given(rng, population.size), f"{population.name}.{name}"
    return given_values(found, population.cell.dims[name], what, (population.size,))


def check_constants(cell: Cell, name: str, size: int, values: Mapping[str, Any], dt: float) -> None:
    """Refuse parameters with which the step divides by zero, or of which a constant of it is not finite.

    Raises
    ------
    NetworkError
        With the part of the step and the values. Parameters that are drawn at random are not looked at.
    """
    if any(callable(value) for value in values.values()):
        return
    known = {n: np.broadcast_to(np.asarray(v, float), (size,)) for n, v in {**values, "dt": dt}.items()}
    for text in cell.denominators:
        zero = np.flatnonzero(_value_of(text, known, size) == 0)
        if len(zero):
            used = _used(text, known, int(zero[0]))
            raise NetworkError(f"population {name!r}: {cell.model.name} divides by {text}, which is 0 for {used}")
    surrogate = {f"{SURROGATE}{n}": np.full(size, v) for n, v in cell.model.surrogate.parameters.items()}
    with np.errstate(over="ignore"):  # found and said below
        phi = np.array([(known | surrogate)[n] for n in cell.phi], cell.dtype).reshape(-1, size)
    found = np.zeros((cell.n_constants, size), cell.dtype)
    cell.constants(phi, phi.dtype.type(dt), found)
    for which, unit in np.argwhere(~np.isfinite(found)):
        text, value = cell.constant_texts[which], found[which, unit]
        raise NetworkError(f"population {name!r}: {text} of {cell.model.name} is {value} for {_used(text, known, unit)}")


def _value_of(text: str, known: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """A denominator; 1 where it is made of more than arithmetic."""
    try:
        return np.asarray(evaluate(parse(text, {}), known, {}))
    except TextError:
        return np.ones(size)


def _used(text: str, known: Mapping[str, np.ndarray], unit: int) -> str:
    return ", ".join(f"{n} = {known[n][unit]:g}" for n in known if n in re.findall(r"\w+", text))
