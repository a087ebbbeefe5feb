"""A network as a tree that a file can hold, and back: it is built again by the calls that built it, and checked by them.

Models are stored as their text. Reading one runs no code of the file: ``Model`` reads it by the package's own parser.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from ..arguments import choice
from ..model import Model, Parameter, Port, State
from ..storage import Kind
from ..surrogates import Surrogate
from ..units import base_text
from . import weights as _weights
from .elements import DELAY, Elements, NetworkError, Population, Projection, Readout

RECORDS: dict[str, type] = {"Model": Model, "Parameter": Parameter, "Port": Port, "State": State, "Surrogate": Surrogate}
SAVED = Kind("file", RECORDS, advice="save it anew")
VERSION = 1  # of the trees that ``tree`` makes

Views = Mapping[str, Mapping[str, Any]]


# -- writing -----------------------------------------------------------------------------------------------------------
def tree(parts: Elements, dt: float, theta: np.ndarray, view: Views, functions: str) -> dict[str, Any]:
    """A network as containers, numbers, arrays and records of ``RECORDS``; see ``Network.save``."""
    asked = choice("save", "functions", functions, ("refuse", "values")) == "values"
    if not np.isfinite(theta).all():
        raise NetworkError("save: theta holds NaN or infinity; this was not saved")
    inputs = [{"name": i.name, "size": i.size, "kind": i.kind} for i in parts.inputs.values()]
    return {
        "saved": "network",
        "version": VERSION,
        "dtype": parts.dtype,
        "dt": dt,
        "theta": theta,
        "inputs": inputs,
        "populations": [_population(p, view.get(p.name, {}), asked) for p in parts.populations.values()],
        "connections": [_projection(p, view[p.name], asked) for p in parts.projections],
        "readouts": [_readout(r, view[r.name], asked) for r in parts.readouts],
    }


def _population(p: Population, view: Mapping[str, Any], asked: bool) -> dict[str, Any]:
    parameters = {}
    for name, value in p.parameters.items():
        if callable(value) and name not in view:
            what = f"{p.name}.{name} is a function whose values have not been drawn"
            raise NetworkError(f"save: {what}; call initialize(), or give an array")
        parameters[name] = _values(value, view.get(name), f"{p.name}.{name}", asked)
    record = {"name": p.name, "model": _model(p.model), "size": p.size, "parameters": parameters, "initial": dict(p.initial)}
    return record | {"bias": _bias(p, view, asked)}


def _bias(p: Population, view: Mapping[str, Any], asked: bool) -> Any:
    ports = [port for port, record in p.model.ports.items() if record.bias]
    given = p.bias if isinstance(p.bias, Mapping) else dict.fromkeys(ports, p.bias)
    found = {}
    for port in ports:
        what = f"the bias of {p.name!r} at port {port!r}"
        plain = _weights.given_values(given[port], p.cell.dims[f"I_{port}"], what, (p.size,))
        found[port] = _values(plain, view[f"bias_{port}"], what, asked)
    return found


def _model(model: Model) -> Model:
    """The record with numbers and texts only: quantities as text."""
    parameters = {n: Parameter(base_text(p.default), p.unit, p.trainable, p.meaning) for n, p in model.parameters.items()}
    states = {
        n: State(base_text(s.initial), s.unit, s.discrete, s.meaning, s.unless_refractory) for n, s in model.states.items()
    }
    ports = {n: Port(p.kind, p.bias, p.unit, base_text(p.scale), p.meaning) for n, p in model.ports.items()}
    s = model.surrogate
    surrogate = Surrogate(s.name, s.derivative, {n: float(v) for n, v in s.parameters.items()}, float(s.support))
    return model.replace(parameters=parameters, states=states, ports=ports, surrogate=surrogate)


def _projection(p: Projection, view: Mapping[str, Any], asked: bool) -> dict[str, Any]:
    weight: Any = p.weight
    if callable(weight):
        weight = dict.fromkeys(p.ports, weight)
    if isinstance(weight, Mapping):
        weight = {port: _values(w, view[port], f"the weight of {p.name!r}", asked) for port, w in weight.items()}
    else:
        weight = _values(weight, None, f"the weight of {p.name!r}", asked)
    mask = {"indptr": p.indptr, "indices": p.indices}
    ends = {"name": p.name, "source": p.source, "target": p.target, "ports": p.ports}
    delay = _values(p.delay, view.get(DELAY), f"the delay of {p.name!r}", asked)
    found = ends | mask | {"delay": delay, "weight": weight, "trained": p.trained}
    return found if p.bounds is None else found | {"longest delay": p.bounds[1]}


def _readout(r: Readout, view: Mapping[str, Any], asked: bool) -> dict[str, Any]:
    weight = _values(r.weight, view["weight"], f"the weight of readout {r.name!r}", asked)
    return {"name": r.name, "source": r.source, "size": r.size, "decay": r.decay, "weight": weight, "trained": r.trained}


def _values(given: Any, present: Any, what: str, asked: bool) -> Any:
    """What was given, a sparse matrix as its arrays; of a function its present values, if they are asked for."""
    if callable(given):
        if not asked:
            way = "save(path, functions='values') writes its present values, with which initialize() then begins"
            raise NetworkError(f"save: {what} is given by a function, which a file cannot hold; {way}")
        given = sparse.csr_matrix(present, copy=True) if sparse.issparse(present) else np.array(present)
    if sparse.issparse(given):
        matrix = sparse.csr_matrix(given)
        return {"indptr": matrix.indptr, "indices": matrix.indices, "data": matrix.data, "shape": matrix.shape}
    return given


# -- reading -----------------------------------------------------------------------------------------------------------
def rebuild(net: Any, found: Mapping[str, Any]) -> None:
    """Build into an empty ``Network`` what ``tree`` wrote.

    Raises
    ------
    NetworkError, ModelError
        If a part contradicts itself or another one.
    """
    for entry in found["inputs"]:
        net.add_input(entry["name"], entry["size"], entry["kind"])
    for entry in found["populations"]:
        _add_population(net, entry)
    for entry in found["connections"]:
        _connect(net, entry)
    for entry in found["readouts"]:
        given = {name: entry[name] for name in ("name", "source", "size", "decay")}
        net.add_readout(**given, weight=_matrix(entry["weight"]), trainable=bool(entry["trained"]))
    net.theta = _checked(found["theta"], net.theta.shape, "theta")
    net._dt_is_used = bool(found["dt is fixed"])
    net._is_ready = True  # every value was chosen before it was saved


def _add_population(net: Any, entry: Mapping[str, Any]) -> None:
    name, size, model = entry["name"], entry["size"], entry["model"]
    bias = {port: _checked(v, (size,), f"bias of {name}") for port, v in entry["bias"].items()}
    net.add_population(name, model, size, bias=bias or 0.0)
    added = net.populations[name]
    for what, legal, mine in (("parameters", model.parameters, added.parameters), ("initial", model.states, added.initial)):
        if set(entry[what]) != set(legal):
            raise NetworkError(f"population {name!r}: {what} are {sorted(entry[what])}, {model.name} has {sorted(legal)}")
        mine |= {n: _checked(v, (size,), f"{name}.{n}") for n, v in entry[what].items()}
    _weights.check_constants(added.cell, name, size, added.parameters, net.dt)


def _connect(net: Any, entry: Mapping[str, Any]) -> None:
    target, source = net.populations[entry["target"]], entry["source"]
    shape = (target.size, (net.populations.get(source) or net.inputs[source]).size)
    mask, delay, longest = None, _matrix(entry["delay"]), entry.get("longest delay")
    if entry["indices"] is not None:
        mask = _csr(np.ones(len(entry["indices"])), entry, shape)
        delay = _csr(delay, entry, shape) if np.ndim(delay) == 1 else delay
    elif np.ndim(delay):
        delay = np.asarray(delay).reshape(shape)
    weight = entry["weight"]
    if isinstance(weight, Mapping) and "indptr" not in weight:
        weight = {port: _matrix(w) for port, w in weight.items()}
    trained = True if entry["trained"] is None else tuple(entry["trained"])
    net.connect(source, entry["target"], ports=entry["ports"], mask=mask, delay=delay, weight=_matrix(weight),
                trainable=trained, name=entry["name"], trainable_delay=longest is not None, max_delay=longest)  # fmt: skip


def _csr(data: Any, entry: Mapping[str, Any], shape: tuple[int, int]) -> Any:
    matrix = sparse.csr_matrix((data, entry["indices"], entry["indptr"]), shape=shape)
    matrix.check_format(full_check=True)
    return matrix


def _matrix(value: Any) -> Any:
    """A sparse matrix from its arrays; anything else as it is."""
    if isinstance(value, Mapping) and "indptr" in value:
        return _csr(value["data"], value, tuple(value["shape"]))
    return value


def _checked(value: Any, shape: tuple[int, ...], what: str) -> Any:
    """Finite floats: one number, or an array of this shape."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.shape not in ((), shape) or not np.isfinite(array).all():
        raise NetworkError(f"{what} must be finite numbers of shape {shape}, got {array.dtype} of shape {array.shape}")
    return value
