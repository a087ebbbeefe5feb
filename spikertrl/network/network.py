"""Network: inputs, populations, projections and readouts, and one flat parameter vector with named views.

>>> from spikertrl.models import egru
>>> net = Network()
>>> net.add_input("x", 2).add_population("h", egru, 16).connect("x", "h").connect("h", "h", density=0.5, seed=1)
Network(float32, dt=0.001 s): input x (2); population h (16 egru); h<-x 3 ports dense; h<-h 3 ports 128/256, delay 1
>>> net.add_readout("z", "h", 2).initialize(seed=0).theta.shape
(594,)
>>> net.view(net.theta)["h<-x"]["u"].shape
(16, 2)
>>> net.view(net.theta)["h<-h"]["u"].nnz
128
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .. import arguments, storage
from .. import models as _models
from ..compile.cell import DTYPES, compile_model
from ..html import table
from ..model import Model
from ..surrogates import Surrogate, surrogate_of
from ..units import PLAIN, seconds
from . import learned_delays as _delays
from . import record as _record
from . import weights as _weights
from .budget import Learns, Memory, predict
from .elements import Elements, Input, NetworkError, Population, Projection, Readout, whole_size
from .summary import summary as _summary
from .views import views
from .wiring import Wiring, build_wiring

Made = TypeVar("Made")
LONG_STEP = 0.1  # seconds; a plain number from here on was probably meant in milliseconds

__all__ = ["Input", "Network", "NetworkError", "Population", "Projection", "Readout"]


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
        self.dtype = _float_type(dtype)
        self._dt = _step_length(dt)
        self._dt_is_used = False
        self.inputs: dict[str, Input] = {}
        self.populations: dict[str, Population] = {}
        self.projections: list[Projection] = []
        self.readouts: list[Readout] = []
        self._theta: np.ndarray | None = None
        self._theta_view: dict[str, dict[str, Any]] | None = None
        self._wiring: Wiring | None = None
        self._kept: dict[tuple[str, str], np.ndarray] = {}  # blocks that were chosen before the network changed
        self._is_ready = False  # what nobody chose has been drawn
        self._made: dict[str, Any] = {}  # what others made of this version and may use again: tables, idle simulators
        self._lock = threading.RLock()  # around everything that is made on first use

    # -- building ------------------------------------------------------------------------------------------------------
    def add_input(self, name: str, size: int, kind: str = "analog") -> Network:
        """Add external channels: ``kind`` "analog" (dense, multiplied by BLAS) or "event" (mostly zero, skipped when zero)."""
        self._new_name(name)
        if kind not in ("analog", "event"):
            raise NetworkError(f"input {name!r}: kind must be 'analog' or 'event', got {kind!r}")
        self.inputs[name] = Input(name, whole_size(name, size), kind, sum(i.size for i in self.inputs.values()))
        return self._changed()

    def add_population(self, name: str, model: Model | str, size: int, *, surrogate: Surrogate | str | None = None,
                       trainable: Sequence[str] | None = None, reset_gradient: bool | None = None, bias: Any = 0.0,
                       initial: Mapping[str, Any] | None = None, **parameters: Any) -> Network:  # fmt: skip
        """Add units of one model.

        Parameters
        ----------
        name : str
        model : Model or str
            A record, or what ``models.load`` takes: the name of a shipped model, such as "egru", or the path of a file.
        size : int
        surrogate : Surrogate or str, optional
            Replaces the model's pseudo-derivative; a name, such as "arctan", takes the one with its defaults.
        trainable : sequence of str, optional
            Exactly these parameters are trained; default: those the model declares.
        reset_gradient : bool, optional
            False leaves the pseudo-derivative out of the unit's own reset path (the convention of some e-prop papers).
        bias : float, array (size,), callable (rng, size), or mapping port -> one of them
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
        model = _models.load(model) if isinstance(model, str) else model
        if not isinstance(model, Model):
            kind = type(model).__name__
            raise NetworkError(f"population {name!r}: model must be a Model, got {kind}; see spikertrl.models.names()")
        if surrogate is not None:
            model = model.replace(surrogate=surrogate_of(f"population {name!r}", surrogate))
        if not isinstance(initial, Mapping | None):
            raise NetworkError(f"population {name!r}: initial must be a mapping, state -> value, got {initial!r}")
        if reset_gradient is not None:
            arguments.flag(f"population {name!r}", "reset_gradient", reset_gradient)
        model = model if reset_gradient is None else model.replace(reset_gradient=reset_gradient)
        if trainable is not None:
            model = model.with_trainable(_names_of(f"population {name!r}", "trainable", trainable))
        cell, size = compile_model(model, self.dtype), whole_size(name, size)
        values, start = _weights.unit_values(cell, name, size, parameters, initial or {})
        _weights.check_bias(bias, cell, name, size)
        _weights.check_constants(cell, name, size, values, self.dt)
        first = sum(p.size for p in self.populations.values())
        self.populations[name] = Population(name, cell, size, first, values, bias, start)
        return self._changed()

    def connect(self, source: str, target: str, *, ports: Sequence[str] | str | None = None, density: float | None = None,
                seed: int = 0, mask: Any = None, delay: Any = None, weight: Any = None,
                trainable: bool | Sequence[str] = True, trainable_delay: bool = False, max_delay: Any = None,
                name: str | None = None) -> Network:  # fmt: skip
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
        delay : int, time, (post, pre) array of them, or scipy sparse (post, pre) of steps, optional
            Steps (default 1 between units, 0 from inputs) or a time that is a multiple of dt. With ``trainable_delay`` any
            real number of them, with which learning begins, or a callable (rng, shape) -> array of steps.
        weight : float, array or scipy sparse (post, pre), callable (rng, shape) -> array, or mapping port -> one, optional
            Initial weights of every port; default Glorot normal over actual fan-in and fan-out, times the port's scale.
        trainable : bool or sequence of ports
            False, or the ports whose weights are learned: the others stay as they are, cost no sensitivity, and their
            entries of every gradient are zero.
        trainable_delay : bool
            Learn one delay a synapse, common to its ports: real numbers of steps, ``net.view(net.theta)[name]["delay"]``. The
            message is interpolated linearly between the two neighbouring steps. Every synapse costs what one synapse for each
            whole delay up to ``max_delay`` would. ``round_delays`` makes them whole and fixed.
        max_delay : int or time, optional
            The longest delay that may be learned; default twice the longest that is given.
        name : str, optional
            Default "target<-source".

        Raises
        ------
        NetworkError
            For unknown names, ports or shapes, a delay below 1 between units, or density and mask given together.
        """
        name = name or f"{target}<-{source}"
        arguments.seed(f"connect {name!r}", seed)
        self._check_ends(name, source, target)
        post, pre = self.populations[target], self.populations.get(source) or self.inputs[source]
        chosen = () if ports is None else _names_of(f"connect {name!r}", "ports", ports)
        chosen = tuple(chosen or post.model.ports_for("recurrent" if source == target else "input"))
        if not chosen or set(chosen) - set(post.model.ports):
            raise NetworkError(f"connect {name!r}: ports {chosen} not all in {tuple(post.model.ports)} of {post.model.name}")
        shape = (post.size, pre.size)
        indptr, indices = _weights.mask(name, shape, density, seed, mask)
        lowest = 1 if source in self.populations else 0
        self._dt_is_used |= any(isinstance(x, str) or hasattr(x, "dim") for x in (delay, max_delay))
        learned = arguments.flag(f"connect {name!r}", "trainable_delay", trainable_delay)
        if max_delay is not None and not learned:
            raise NetworkError(f"connect {name!r}: max_delay is of delays that learn; say trainable_delay=True too")
        found = None if learned else _weights.delays(name, delay, lowest, self.dt, shape, indptr, indices)
        weight = _weights.weights_given(name, weight, chosen, post.cell, shape)
        several = not isinstance(trainable, bool | np.bool_)
        trained = _names_of(f"connect {name!r}", "trainable", trainable) if several else None if trainable else ()
        if set(trained or ()) - set(chosen):
            raise NetworkError(f"connect {name!r}: trainable {trained} not all among its ports {chosen}")
        made = Projection(name, source, target, chosen, shape, indptr, indices, found, weight, trained)
        self.projections.append(_delays.given(made, delay, max_delay, lowest, self.dt) if learned else made)
        return self._changed()

    def add_readout(self, name: str, source: str, size: int, *, decay: float = 0.0, weight: Any = None,
                    trainable: bool = True) -> Network:  # fmt: skip
        """Add z(t) = decay z(t-1) + W y(t) + b, reading the messages of one population; ``decay`` in [0, 1).

        ``weight`` as in ``connect``; with ``trainable=False`` W and b stay as ``initialize`` draws them (b = 0).
        """
        self._new_name(name)
        if source not in self.populations:
            raise NetworkError(f"readout {name!r}: {source!r} is not a population; populations: {sorted(self.populations)}")
        if not isinstance(decay, int | float | np.number) or isinstance(decay, bool) or not 0.0 <= decay < 1.0:
            raise NetworkError(f"readout {name!r}: decay must be in [0, 1), got {decay!r}")
        arguments.flag(f"readout {name!r}", "trainable", trainable)
        first, shape = sum(r.size for r in self.readouts), (whole_size(name, size), self.populations[source].size)
        weight = _weights.given_values(weight, PLAIN, f"readout {name!r}: weight", shape)
        self.readouts.append(Readout(name, source, whole_size(name, size), float(decay), weight, first, trainable))
        return self._changed()

    @property
    def dt(self) -> float:
        """Length of a step in seconds; fixed once a delay was given as a time, which became steps of this length."""
        return self._dt

    @dt.setter
    def dt(self, value: Any) -> None:
        if self._dt_is_used and seconds(value) != self._dt:
            raise NetworkError(
                f"dt = {self._dt:g} s is fixed, since a delay given as a time was turned into steps of it; "
                "give Network(dt=...) before connecting"
            )
        self._dt = _step_length(value)

    # -- parameters ----------------------------------------------------------------------------------------------------
    @property
    def wiring(self) -> Wiring:
        """Index arrays for the simulator and the learners; built on first use, fixed until the network changes."""
        found = self._wiring
        if found is None:
            with self._lock:
                found = self._wiring = self._wiring or build_wiring(self.elements)
        return found

    @property
    def elements(self) -> Elements:
        """The network as records."""
        return Elements(self.dtype, dict(self.inputs), dict(self.populations), list(self.projections), list(self.readouts))

    def made(self, name: str, make: Callable[[], Made]) -> Made:
        """What ``make`` returns, made once for this version of the network and forgotten with it, by one thread at a time."""
        if name not in self._made:
            with self._lock:
                if name not in self._made:
                    self._made[name] = make()
        return self._made[name]

    @property
    def theta(self) -> np.ndarray:
        """All trainable parameters, flat; the same array until the network changes. What nobody chose: see ``ready``."""
        if self._theta is None:
            with self._lock:
                found = self._blank()
                for key, values in self._kept.items():
                    part, _ = self.wiring.layout.get(key, (slice(0, 0), ()))
                    if part.stop - part.start == len(values):
                        found[part] = values
                self._theta = found
        return self._theta

    def _blank(self) -> np.ndarray:
        """Parameters that nobody chose: model defaults, and weights and biases of -0.0, by which they are known."""
        found = np.full(self.wiring.n_theta, -0.0, self.dtype)
        named = views(self.wiring, self.projections, found)
        _weights.fill(self.populations.values(), named, np.random.default_rng(0), biases=False)
        _delays.fill(self.projections, named, None)
        return found

    def _chosen(self) -> set[tuple[str, str]]:
        """Blocks of theta that were drawn or written."""
        if self._theta is None:
            return set(self._kept)
        bits, blank = (x.view(np.uint8).reshape(len(x), x.itemsize) for x in (self._theta, self._blank()))
        return {key for key, (part, _) in self.wiring.layout.items() if not np.array_equal(bits[part], blank[part])}

    def ready(self) -> Network:
        """Draw with seed 0 what nobody has chosen; called by all that runs or trains a network.

        A network that was neither initialized nor written to is initialized; one that was, and has got new parts since, has
        these drawn. A network of which some parameters were written stays as it is.
        """
        if not self._is_ready:
            with self._lock:
                weights = {(g, n) for g, n in self.wiring.layout if g not in self.populations}
                if self._kept or not weights & self._chosen():
                    self.initialize(0, only_new=True)
                self._is_ready = True
        return self

    @theta.setter
    def theta(self, values: np.ndarray) -> None:
        values = np.asarray(values)
        if values.shape != self.theta.shape:
            raise NetworkError(f"theta has shape {self.theta.shape}, got {values.shape}")
        if values.dtype.kind not in "iubf" or not np.isfinite(values).all():
            raise NetworkError("theta holds values that are no finite real numbers; nothing was changed")
        self.theta[...] = values

    def view(self, vector: np.ndarray) -> dict[str, dict[str, Any]]:
        """Named views into any vector shaped like ``theta``; writing into a view writes the vector.

        Returns
        -------
        dict
            ``["h<-x"]["u"]``: (post, pre) ndarray, or scipy CSR for sparse projections; ``["h"]["bias_u"]``,
            ``["h"]["theta"]``: (size,); ``["z"]["weight"]``: (outputs, size), ``["z"]["bias"]``: (outputs,).
        """
        if vector.shape != (self.wiring.n_theta,):
            raise NetworkError(f"a vector like theta has shape ({self.wiring.n_theta},), got {vector.shape}")
        if vector is self._theta and self._theta_view is not None:
            return self._theta_view
        found = views(self.wiring, self.projections, vector)
        if vector is self._theta:
            self._theta_view = found
        return found

    def initialize(self, seed: int = 0, *, only_new: bool = False) -> Network:
        """Draw all parameters: weights, biases and callables given as parameters. The same seed gives the same network.

        ``only_new`` keeps what was drawn or written before: after ``add_readout`` or ``connect`` on a network that has learned.
        Without this call, the first use draws what nobody has chosen with seed 0.
        """
        arguments.seed("initialize", seed)
        chosen, before = (self._chosen() if only_new else set()), self.theta.copy()
        rng = np.random.default_rng(seed)
        view = self.view(self.theta)
        for projection in self.projections:
            for port in projection.ports:
                scale = self.populations[projection.target].cell.scale[port]
                weight = projection.weight[port] if isinstance(projection.weight, Mapping) else projection.weight
                dims, what = self.populations[projection.target].cell.dims[f"I_{port}"], f"weight of {projection.name!r}"
                _weights.draw(view[projection.name][port], weight, scale, rng, dims, what)
        _weights.fill(self.populations.values(), view, rng, biases=True)
        _delays.fill(self.projections, view, rng)
        for readout in self.readouts:
            _weights.draw(view[readout.name]["weight"], readout.weight, 1.0, rng, PLAIN, f"weight of readout {readout.name!r}")
            view[readout.name]["bias"][...] = 0.0
        for key in chosen:
            part = self.wiring.layout[key][0]
            self.theta[part] = before[part]
        return self

    def round_delays(self) -> Network:
        """End the learning of delays: each becomes the nearest whole number of steps, and is fixed; returns the network.

        Weights stay. It is then the network that ``connect`` makes with these delays: each synapse costs what one synapse
        costs, and it goes to Brian2 and NIR. ``copy.deepcopy`` keeps the one that learns.

        Examples
        --------
        >>> import spikertrl as srl
        >>> net = srl.Network().add_input("x", 2, kind="event").add_population("h", "cuba_lif", 3)
        >>> net = net.connect("x", "h", delay=2.6, trainable_delay=True, max_delay=8).initialize(0)
        >>> net
        Network(float32, dt=0.001 s): input x (2); population h (3 cuba_lif); h<-x 1 ports dense, delay 0-8 learned
        >>> net.round_delays()
        Network(float32, dt=0.001 s): input x (2); population h (3 cuba_lif); h<-x 1 ports dense, delay 3
        """
        kept = {key: self.ready().theta[part].copy() for key, (part, _) in self.wiring.layout.items()}
        self.projections = _delays.rounded(self.projections, self.view(self.theta))
        self._changed()
        for key, (part, _) in self.wiring.layout.items():
            self.theta[part] = kept[key]
        self._is_ready = True
        return self

    def memory(self, learner: Learns, batch: int = 1, tau: int = 1, ranks: int | None = None) -> Memory:
        """Bytes that this learner will need for ``batch`` lanes and pieces of ``tau`` steps, before any is taken.

        BPTT is not bounded: it keeps one tape per piece of the sequence.

        With ``ranks``: what the rank with most of it will need, if so many share the influence (``srl.parallel.over_columns``;
        ``per_rank`` has them all), or, of learners that keep no columns, the lanes (``over_lanes``).

        Raises
        ------
        ValueError
            For more ranks than lanes, of a learner that keeps no columns.

        Examples
        --------
        >>> import spikertrl as srl
        >>> net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 64)
        >>> net = net.connect("x", "h").connect("h", "h", density=0.1)
        >>> net.memory(srl.SnAp(1)).influence < net.memory(srl.RTRL()).influence
        True
        >>> round(net.memory(srl.RTRL(), ranks=2).influence / net.memory(srl.RTRL()).influence, 1)
        0.5
        """
        if not isinstance(learner, type):
            arguments.having("memory", "learner", learner, ("init",), "srl.RTRL(), or another of srl.learners")
        arguments.whole("memory", "batch", batch)
        arguments.whole("memory", "tau", tau)
        return predict(self, learner, batch, tau, None if ranks is None else arguments.whole("memory", "ranks", ranks))

    def save(self, path: str | os.PathLike[str], *, functions: str = "refuse") -> Path:
        """Write the network to one file: structure, models with their text, parameters, dtype, dt. ``srl.load`` reads it.

        A model of your own travels in it. Nothing of a file is run when it is read. Of an imported Brian2 network the file
        holds what every network has, not the way back to Brian2.

        Parameters
        ----------
        path : path
            Written whole or not at all.
        functions : {"refuse", "values"}
            Initial weights, biases and parameters may be functions, which a file cannot hold: "values" writes their present
            values, with which ``initialize`` of the network that is read begins.

        Raises
        ------
        NetworkError
            For functions, unless their values are asked for.
        OSError
            If the file cannot be written; an older file of that name is still there.

        Examples
        --------
        >>> import os, tempfile, spikertrl as srl
        >>> net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 4).connect("x", "h").initialize(3)
        >>> again = srl.load(net.save(os.path.join(tempfile.mkdtemp(), "net.npz")))
        >>> repr(again) == repr(net), bool((again.theta == net.theta).all())
        (True, True)
        """
        return storage.save(path, self.tree(functions), _record.SAVED)

    def tree(self, functions: str = "refuse") -> dict[str, Any]:
        """What ``save`` writes, as containers, numbers, arrays and records."""
        self.ready()
        found = _record.tree(self.elements, self.dt, self.theta, self.view(self.theta), functions)
        return found | {"dt is fixed": self._dt_is_used}

    def summary(self) -> str:
        """The network as a text table: parts, synapses, delays, parameters, dt, dtype; for ``print``.

        >>> import spikertrl as srl
        >>> net = srl.Network().add_input("x", 2).add_population("h", "egru", 16).connect("x", "h")
        >>> net = net.connect("h", "h", density=0.5, delay="3*ms", trainable=False).add_readout("z", "h", 2, decay=0.9)
        >>> print(net.summary())
        Network, float32, dt 0.001 s
        inputs
          name  size  kind
          x     2     analog
        populations
          name  model  units  states  parameters
          h     egru   16     1       80
        connections
          name  synapses  ports  delay  parameters  learned
          h<-x  32        3             96          all
          h<-h  128       3      3      384         none
        readouts
          name  of  outputs  decay  parameters  learned
          z     h   2        0.9    34          all
        594 parameters, 210 of them learned
        """
        return _summary(self.elements, self.dt, self.wiring)

    def __repr__(self) -> str:
        parts = [f"input {i.name} ({i.size})" for i in self.inputs.values()]
        parts += [f"population {p.name} ({p.size} {p.model.name})" for p in self.populations.values()]
        parts += [str(p) for p in self.projections]
        parts += [f"readout {r.name} ({r.size} of {r.source}, decay {r.decay:g})" for r in self.readouts]
        return f"Network({self.dtype}, dt={self.dt:g} s): " + "; ".join(parts)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: what was built and theta; views, index arrays and simulators are made anew."""
        made_anew = {"_theta_view": None, "_wiring": None, "_made": {}, "_lock": None}
        return {**self.__dict__, **made_anew}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())

    def _repr_html_(self) -> str:
        rows = [("input", i.name, i.size, i.kind) for i in self.inputs.values()]
        rows += [("population", p.name, p.size, p.model.name) for p in self.populations.values()]
        rows += [("connection", p.name, p.n_synapses, str(p).removeprefix(f"{p.name} ")) for p in self.projections]
        rows += [("readout", r.name, r.size, f"of {r.source}, decay {r.decay:g}") for r in self.readouts]
        return table(f"Network, {self.dtype}, dt {self.dt:g} s", rows, ("", "name", "size", ""))

    # -- inside --------------------------------------------------------------------------------------------------------
    def _check_ends(self, name: str, source: str, target: str) -> None:
        if not isinstance(name, str):
            raise NetworkError(f"connect: name must be text, got {name!r}")
        if any(p.name == name for p in self.projections):
            raise NetworkError(f"connection {name!r} exists already; give the second one a name=")
        if name in self.populations or any(r.name == name for r in self.readouts):
            raise NetworkError(f"connect: the name {name!r} is in use already; give the connection another name=")
        if target not in self.populations:
            raise NetworkError(f"connect: target {target!r} is not a population; populations: {sorted(self.populations)}")
        if source not in self.populations and source not in self.inputs:
            raise NetworkError(f"connect: unknown source {source!r}; sources: {sorted(self.inputs) + sorted(self.populations)}")

    def _changed(self) -> Network:
        if self._theta is not None and self._wiring is not None:
            self._kept = {key: self._theta[self._wiring.layout[key][0]].copy() for key in self._chosen()}
        self._is_ready = False
        self._theta = self._theta_view = self._wiring = None
        self._made = {}
        return self

    def _new_name(self, name: str) -> None:
        if not isinstance(name, str) or not name or "<-" in name:
            raise NetworkError(f"name must be text without '<-', got {name!r}")
        if name in self._names() or any(p.name == name for p in self.projections):
            raise NetworkError(f"the name {name!r} is in use already")

    def _names(self) -> set[str]:
        return {*self.inputs, *self.populations, *(r.name for r in self.readouts)}


def _float_type(dtype: Any) -> str:
    """A float type that networks know, as text."""
    try:
        found = None if dtype is None else str(np.dtype(dtype))
    except TypeError:
        found = None
    if found not in DTYPES:
        raise NetworkError(f"Network: dtype is {dtype if found is None else found!r}; legal: {', '.join(map(repr, DTYPES))}")
    return found


def _names_of(where: str, what: str, given: Any) -> tuple[str, ...]:
    """One name, or several."""
    found: tuple[Any, ...] = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (None,)
    if not all(isinstance(name, str) for name in found):
        raise NetworkError(f"{where}: {what} must be names, got {given!r}")
    return found


def _step_length(dt: Any) -> float:
    """``dt`` in seconds; a plain number that was probably meant in milliseconds is told."""
    found = seconds(dt)
    if found >= LONG_STEP and not isinstance(dt, str) and not hasattr(dt, "dim"):
        told = f"dt = {dt} is {found:g} s, since plain numbers are in seconds; for milliseconds write dt='{dt}*ms'"
        warnings.warn(f"{told}, for seconds dt='{dt}*second'", UserWarning, stacklevel=3)
    return found
