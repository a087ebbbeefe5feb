"""Network: inputs, populations, projections and readouts, and one flat parameter vector with named views.

>>> from spikertrl.models import egru
>>> net = Network()
>>> net.add_input("x", 2).add_population("h", egru, 16).connect("x", "h").connect("h", "h", density=0.5, seed=1)
Network(float32, dt=0.001 s): input x (2); population h (16 egru); h<-x 3 ports dense; h<-h 3 ports 128/256, delay 1
>>> net.add_readout("z", "h", 2).initialize(seed=0).theta.shape
(578,)
>>> net.view(net.theta)["h<-x"]["u"].shape
(16, 2)
>>> net.view(net.theta)["h<-h"]["u"].nnz
128
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

from .compile import Cell, compile_model
from .model import Model
from .surrogates import Surrogate
from .units import in_base_units, seconds, steps
from .wiring import Wiring, build_wiring


class NetworkError(ValueError):
    """A network that cannot be built as asked."""


@dataclass
class Input:
    """A group of external channels; ``kind`` "event" (mostly silent) or "analog" (dense)."""

    name: str
    size: int
    kind: str
    start: int


@dataclass
class Population:
    """Units of one model. ``parameters``: name -> (size,) values in SI base units, or a callable ``(rng, size) -> values``."""

    name: str
    cell: Cell
    size: int
    start: int
    parameters: dict[str, Any]
    bias: Any = 0.0
    initial: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        return self.cell.model


@dataclass
class Projection:
    """Synapses from one source to one population, the same mask on every port.

    ``indptr``, ``indices``: the mask in CSR form (post, pre), sorted, or None when all-to-all. ``delay``: steps, an int or one per
    synapse in CSR order.
    """

    name: str
    source: str
    target: str
    ports: tuple[str, ...]
    shape: tuple[int, int]
    indptr: np.ndarray | None
    indices: np.ndarray | None
    delay: int | np.ndarray
    weight: Any

    @property
    def is_dense(self) -> bool:
        return self.indptr is None

    @property
    def n_synapses(self) -> int:
        """Synapses per port."""
        return self.shape[0] * self.shape[1] if self.indices is None else len(self.indices)


@dataclass
class Readout:
    """Leaky linear readout z(t) = decay z(t-1) + W y(t) + b of one population."""

    name: str
    source: str
    size: int
    decay: float
    weight: Any
    start: int


class Network:
    """Builder and container of a network; all ``add_*`` and ``connect`` calls return the network.

    Parameters
    ----------
    dtype : {"float32", "float64"}
        Type of every array.
    dt : float or quantity or str
        Length of a step (seconds, a Brian2 time, or text such as "1*ms"); only models with differential equations use it.
    """

    def __init__(self, dtype: str = "float32", dt: Any = 1e-3) -> None:
        self.dtype = str(np.dtype(dtype))
        self.dt = seconds(dt)
        self.inputs: dict[str, Input] = {}
        self.populations: dict[str, Population] = {}
        self.projections: list[Projection] = []
        self.readouts: list[Readout] = []
        self._theta: np.ndarray | None = None
        self._theta_view: dict[str, dict[str, Any]] | None = None
        self._wiring: Wiring | None = None

    # -- building ------------------------------------------------------------------------------------------------------
    def add_input(self, name: str, size: int, kind: str = "analog") -> Network:
        """Add external channels: ``kind="analog"`` (dense values, multiplied by BLAS) or "event" (mostly zero, skipped when zero)."""
        self._new_name(name)
        if kind not in ("analog", "event"):
            raise NetworkError(f"input {name!r}: kind must be 'analog' or 'event', got {kind!r}")
        self.inputs[name] = Input(name, _size(name, size), kind, sum(i.size for i in self.inputs.values()))
        return self._changed()

    def add_population(self, name: str, model: Model, size: int, *, surrogate: Surrogate | None = None, trainable: Sequence[str] | None = None,
                       reset_gradient: bool | None = None, bias: Any = 0.0, initial: Mapping[str, Any] | None = None, **parameters: Any) -> Network:  # fmt: skip
        """Add units of one model.

        Parameters
        ----------
        name : str
        model : Model
        size : int
        surrogate : Surrogate, optional
            Replaces the model's pseudo-derivative.
        trainable : sequence of str, optional
            Exactly these parameters are trained; default: those the model declares.
        reset_gradient : bool, optional
            False leaves the pseudo-derivative out of the unit's own reset path (the convention of some e-prop papers).
        bias : float or array (size,) or callable (rng, size)
            Initial value of every bias.
        initial : mapping, optional
            State name -> initial value (number, quantity or (size,) array).
        **parameters
            Overrides: a number, quantity, text with units, (size,) array, or callable (rng, size) evaluated by ``initialize``.

        Raises
        ------
        NetworkError
            For a name in use, an unknown parameter (the legal ones are listed) or a wrong unit or shape.
        """
        self._new_name(name)
        if not isinstance(model, Model):
            raise NetworkError(
                f"population {name!r}: model must be a Model, got {type(model).__name__}; see spikertrl.models.names()"
            )
        model = model if surrogate is None else model.replace(surrogate=surrogate)
        model = model if reset_gradient is None else model.replace(reset_gradient=reset_gradient)
        model = model if trainable is None else model.with_trainable(tuple(trainable))
        cell, size = compile_model(model, self.dtype), _size(name, size)
        for given in (*parameters, *(initial or {})):
            legal = cell.model.parameters if given in parameters else cell.model.states
            if given not in legal:
                kind = "parameter" if given in parameters else "state"
                raise NetworkError(f"population {name!r}: {model.name} has no {kind} {given!r}; it has {sorted(legal)}")
        values = {n: in_base_units(v, cell.dims[n], f"{name}.{n}", size) for n, v in parameters.items()}
        values = {n: values.get(n, cell.defaults[n]) for n in cell.model.parameters}
        start = {n: in_base_units(v, cell.dims[n], f"{name}.{n}", size) for n, v in (initial or {}).items()}
        start = {n: np.broadcast_to(start.get(n, cell.initial[n]), (size,)) for n in cell.model.states}
        self.populations[name] = Population(
            name, cell, size, sum(p.size for p in self.populations.values()), values, bias, start
        )
        return self._changed()

    def connect(self, source: str, target: str, *, ports: Sequence[str] | str | None = None, density: float | None = None, seed: int = 0,
                mask: Any = None, delay: Any = None, weight: Any = None, name: str | None = None) -> Network:  # fmt: skip
        """Connect an input or population to a population, with one weight per synapse and port.

        Parameters
        ----------
        source, target : str
        ports : str or sequence of str, optional
            Ports of the target; default: its recurrent ports when source is target, else its input ports.
        density : float in (0, 1], optional
            Fixed random mask with exactly ``round(density * post * pre)`` synapses, drawn with ``seed``.
        mask : array or scipy sparse (post, pre), optional
            Explicit mask: nonzero entries are synapses.
        delay : int, time, or (post, pre) array of them, optional
            Steps (default 1 between units, 0 from inputs) or a time that is a multiple of dt.
        weight : float, array (post, pre), or callable (rng, shape) -> array, optional
            Initial weights of every port; default Glorot normal over actual fan-in and fan-out, times the port's scale.
        name : str, optional
            Default "target<-source".

        Raises
        ------
        NetworkError
            For unknown names, ports or shapes, a delay below 1 between units, or density and mask given together.
        """
        name = name or f"{target}<-{source}"
        if any(p.name == name for p in self.projections):
            raise NetworkError(f"connection {name!r} exists already; give the second one a name=")
        if target not in self.populations:
            raise NetworkError(f"connect: target {target!r} is not a population; populations: {sorted(self.populations)}")
        if source not in self.populations and source not in self.inputs:
            raise NetworkError(f"connect: unknown source {source!r}; sources: {sorted(self.inputs) + sorted(self.populations)}")
        post = self.populations[target]
        pre = self.populations.get(source) or self.inputs[source]
        legal = tuple(post.model.ports)
        chosen = (ports,) if isinstance(ports, str) else ports
        chosen = tuple(chosen or post.model.ports_for("recurrent" if source == target else "input"))
        if not chosen or set(chosen) - set(legal):
            raise NetworkError(f"connect {name!r}: ports {chosen} not all in {legal} of {post.model.name}")
        shape = (post.size, pre.size)
        indptr, indices = _mask(name, shape, density, seed, mask)
        lowest = 1 if source in self.populations else 0
        found = steps(lowest if delay is None else delay, self.dt, f"connect {name!r}: delay")
        if np.ndim(found):
            found = _per_synapse(np.broadcast_to(found, shape), indptr, indices)
        if np.size(found) and np.min(found) < lowest:
            raise NetworkError(f"connect {name!r}: delay must be at least {lowest} step(s), got {np.min(found)}")
        found = int(found) if np.ndim(found) == 0 else found.astype(np.int32)
        self.projections.append(Projection(name, source, target, chosen, shape, indptr, indices, found, weight))
        return self._changed()

    def add_readout(self, name: str, source: str, size: int, *, decay: float = 0.0, weight: Any = None) -> Network:
        """Add z(t) = decay z(t-1) + W y(t) + b, reading the messages of one population; ``decay`` in [0, 1)."""
        self._new_name(name)
        if source not in self.populations:
            raise NetworkError(f"readout {name!r}: {source!r} is not a population; populations: {sorted(self.populations)}")
        if not 0.0 <= decay < 1.0:
            raise NetworkError(f"readout {name!r}: decay must be in [0, 1), got {decay}")
        self.readouts.append(Readout(name, source, _size(name, size), float(decay), weight, sum(r.size for r in self.readouts)))
        return self._changed()

    # -- parameters ----------------------------------------------------------------------------------------------------
    @property
    def wiring(self) -> Wiring:
        """Index arrays of the network, for the simulator and the learners; built on first use, fixed until the network changes."""
        if self._wiring is None:
            self._wiring = build_wiring(self)
        return self._wiring

    @property
    def theta(self) -> np.ndarray:
        """All trainable parameters, flat; the same array until the network changes. Untouched parameters hold model defaults."""
        if self._theta is None:
            self._theta = np.zeros(self.wiring.n_parameters, self.dtype)
            self._fill_parameters(np.random.default_rng(0), biases=False)
        return self._theta

    @theta.setter
    def theta(self, values: np.ndarray) -> None:
        values = np.asarray(values)
        if values.shape != self.theta.shape:
            raise NetworkError(f"theta has shape {self.theta.shape}, got {values.shape}")
        self.theta[...] = values

    def view(self, vector: np.ndarray) -> dict[str, dict[str, Any]]:
        """Named views into any vector shaped like ``theta``; writing into a view writes the vector.

        Returns
        -------
        dict
            ``["h<-x"]["u"]``: (post, pre) ndarray, or scipy CSR for sparse projections; ``["h"]["bias_u"]``, ``["h"]["theta"]``: (size,);
            ``["z"]["weight"]``: (outputs, size), ``["z"]["bias"]``: (outputs,).
        """
        if vector.shape != (self.wiring.n_parameters,):
            raise NetworkError(f"a vector like theta has shape ({self.wiring.n_parameters},), got {vector.shape}")
        if vector is self._theta and self._theta_view is not None:
            return self._theta_view
        found: dict[str, dict[str, Any]] = {}
        masks = {p.name: p for p in self.projections}
        for (group, name), (part, shape) in self.wiring.layout.items():
            piece = vector[part]
            if group in masks and not masks[group].is_dense:
                projection = masks[group]
                view = sparse.csr_matrix((piece, projection.indices, projection.indptr), shape=projection.shape, copy=False)
                view.data = piece  # scipy copies the data when they are a small part of a larger array
            else:
                view = piece.reshape(shape)
            found.setdefault(group, {})[name] = view
        if vector is self._theta:
            self._theta_view = found
        return found

    def initialize(self, seed: int = 0) -> Network:
        """Draw all parameters: weights, biases and callables given as parameters. The same seed gives the same network."""
        rng = np.random.default_rng(seed)
        view = self.view(self.theta)
        for projection in self.projections:
            for port in projection.ports:
                _draw(view[projection.name][port], projection.weight, self.populations[projection.target].cell.scale[port], rng)
        self._fill_parameters(rng, biases=True)
        for readout in self.readouts:
            _draw(view[readout.name]["weight"], readout.weight, 1.0, rng)
            view[readout.name]["bias"][...] = 0.0
        return self

    def _fill_parameters(self, rng: np.random.Generator, biases: bool) -> None:
        assert self._theta is not None
        view = self.view(self._theta)
        for population in self.populations.values():
            for name, values in view.get(population.name, {}).items():
                if name.startswith("bias_"):
                    values[...] = _value(population.bias, rng, population.size) if biases else 0.0
                else:
                    values[...] = _value(population.parameters[name], rng, population.size)
            for name, given in population.parameters.items():
                if callable(given) and not population.model.parameters[name].trainable and biases:
                    population.parameters[name] = np.asarray(_value(given, rng, population.size), float)

    def __repr__(self) -> str:
        parts = [f"input {i.name} ({i.size})" for i in self.inputs.values()]
        parts += [f"population {p.name} ({p.size} {p.model.name})" for p in self.populations.values()]
        for p in self.projections:
            delay = p.delay if np.ndim(p.delay) == 0 else f"{np.min(p.delay)}-{np.max(p.delay)}"
            size = "dense" if p.is_dense else f"{p.n_synapses}/{p.shape[0] * p.shape[1]}"
            parts.append(f"{p.name} {len(p.ports)} ports {size}" + (f", delay {delay}" if delay != 0 else ""))
        parts += [f"readout {r.name} ({r.size} of {r.source}, decay {r.decay:g})" for r in self.readouts]
        return f"Network({self.dtype}, dt={self.dt:g} s): " + "; ".join(parts)

    # -- inside --------------------------------------------------------------------------------------------------------
    def _changed(self) -> Network:
        self._theta = self._theta_view = self._wiring = None
        return self

    def _new_name(self, name: str) -> None:
        if not isinstance(name, str) or not name or "<-" in name:
            raise NetworkError(f"name must be text without '<-', got {name!r}")
        if name in self.inputs or name in self.populations or any(r.name == name for r in self.readouts):
            raise NetworkError(f"the name {name!r} is in use already")


def _size(name: str, size: int) -> int:
    if int(size) != size or size < 1:
        raise NetworkError(f"{name!r}: size must be a positive integer, got {size!r}")
    return int(size)


def _mask(
    name: str, shape: tuple[int, int], density: float | None, seed: int, mask: Any
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The mask as CSR index arrays, or (None, None) for all-to-all."""
    if density is not None and mask is not None:
        raise NetworkError(f"connect {name!r}: give density or mask, not both")
    if density is None and mask is None:
        return None, None
    if mask is None:
        if not 0.0 < density <= 1.0:  # type: ignore[operator]
            raise NetworkError(f"connect {name!r}: density must be in (0, 1], got {density}")
        total = shape[0] * shape[1]
        chosen = np.random.default_rng(seed).choice(total, size=round(density * total), replace=False)  # type: ignore[operator]
        rows, columns = np.divmod(np.sort(chosen), shape[1])
    else:
        matrix = mask.toarray() if sparse.issparse(mask) else np.asarray(mask)
        if matrix.shape != shape:
            raise NetworkError(f"connect {name!r}: mask must have shape (post, pre) = {shape}, got {matrix.shape}")
        rows, columns = np.nonzero(matrix)
    indptr = np.searchsorted(rows, np.arange(shape[0] + 1)).astype(np.int32)
    return indptr, columns.astype(np.int32)


def _per_synapse(matrix: np.ndarray, indptr: np.ndarray | None, indices: np.ndarray | None) -> np.ndarray:
    """Entries of a (post, pre) matrix at the synapses, in CSR order."""
    if indptr is None or indices is None:
        return matrix.reshape(-1)
    return matrix[np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), indices]


def _value(given: Any, rng: np.random.Generator, size: int) -> Any:
    return given(rng, size) if callable(given) else given


def _draw(view: Any, weight: Any, scale: float, rng: np.random.Generator) -> None:
    """Fill one weight view: Glorot normal, or what the user gave."""
    shape = view.shape
    data = view.data if sparse.issparse(view) else view
    count = data.size
    if weight is None:
        fan = count / max(shape[0], 1) + count / max(shape[1], 1)
        data[...] = scale * np.sqrt(2.0 / max(fan, 1e-12)) * rng.standard_normal(data.shape)
        return
    given: Callable | np.ndarray = weight(rng, shape) if callable(weight) else np.asarray(weight, float)
    given = np.broadcast_to(given, shape)
    data[...] = _per_synapse(given, view.indptr, view.indices) if sparse.issparse(view) else given
