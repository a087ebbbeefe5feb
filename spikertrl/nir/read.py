"""NIR graph -> Network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..network.network import Network
from ..surrogates import Surrogate
from ..units import seconds
from .files import opened
from .nodes import NIRError, kind, numbers, parameters
from .paths import Arriving, Path, Paths, flat
from .units import METHODS, nir_model

CLOSE = 1e-9  # of a step: a delay is a whole number of steps, and two decays are one, to this


def from_nir(graph: Any, dt: float | None = None, *, method: str | None = None, dtype: str = "float32",
             surrogate: Surrogate | None = None, kind_of_input: str | None = None) -> Network:  # fmt: skip
    """Build a network from a NIR graph or file.

    Parameters
    ----------
    graph : nir.NIRGraph, str or Path
    dt : float, optional
        Length of a step in seconds. NIR does not say; a file of ``to_nir`` remembers it.
    method : {"exponential", "euler"}, optional
        How NIR's equations move on in a step; default as the file remembers, else "exponential". See
        ``spikertrl.nir.units``.
    dtype : {"float32", "float64"}
    surrogate : Surrogate, optional
        Pseudo-derivative of all units; default that of the models.
    kind_of_input : {"analog", "event"}, optional
        Default as the file remembers, else "analog".

    Returns
    -------
    Network
        LIF, CubaLIF, LI, CubaLI, IF, I, Threshold are populations under the node's name; Linear, Affine, Scale, Delay, Flatten
        become connections and biases, zeros of a matrix being no synapses; an Output is a readout, an LI just before it the
        readout's leak. Nested graphs are opened.

    Raises
    ------
    NIRError
        Naming the node and what is legal: for other primitives, parameters that are not finite or out of range, sizes that do
        not fit, delays that are no whole steps or more than a million, loops without a unit, an Output that does not read
        exactly one unit node; and for a file that holds no graph or is damaged.
    FileNotFoundError
        If there is no such file.
    ModuleNotFoundError
        Without the extra ``nir``, when a file is given.

    Notes
    -----
    NIR's edges take no time. Here a message between units takes one step, so a ``Delay`` of k steps between units is a delay
    of k + 1; from inputs, and into readouts, an edge takes none. All voltages start at 0. A parameter of shape () or (1,), as
    some exporters write them, holds for every unit of its layer, which is as wide as what arrives at it.
    """
    graph = opened(graph)
    method = str(_remembered(graph, "method", method) or METHODS[0])
    if method not in METHODS:
        raise NIRError(f"from_nir: method must be one of {METHODS}, got {method!r}")
    with _refusals():
        net = Network(dtype, _step(graph, dt))
    nodes, edges = flat(graph)
    inputs, outputs = ([n for n, node in graph.nodes.items() if kind(node) == which] for which in ("Input", "Output"))
    paths = Paths(nodes, edges, inputs, net.dt)
    leaks = {n for n in paths.sizes if kind(nodes[n]) == "LI" and _is_leak(n, nodes, edges, paths, outputs)}
    for name, size in paths.sizes.items():
        with _refusals(name):
            if name in inputs:
                net.add_input(name, size, kind_of_input or str(_remembered(nodes[name], "kind", None) or "analog"))
            elif name not in leaks:
                _add_population(net, name, nodes[name], size, method, surrogate)
    arriving = {name: paths.arriving(name) for name in net.populations}
    for name, found in arriving.items():
        with _refusals(name):
            _connect(net, name, found)
    biases = {}
    for name in outputs:
        with _refusals(name):
            biases[name] = _add_readout(net, name, nodes, paths, leaks, method)
    _fill(net, arriving, biases)
    return net


@contextmanager
def _refusals(name: str | None = None) -> Iterator[None]:
    """What a network refuses is a NIRError that names the node."""
    try:
        yield
    except NIRError:
        raise
    except ValueError as error:
        raise NIRError(f"NIR node {name!r}: {error}" if name else f"from_nir: {error}") from error


def _step(graph: Any, dt: Any) -> float:
    """The step in seconds, given or remembered."""
    dt = _remembered(graph, "dt", dt)
    if dt is None:
        raise NIRError("from_nir: the graph does not say how long a step is; give dt= in seconds, for example dt=1e-3")
    return seconds(dt.item() if isinstance(dt, np.ndarray | np.generic) and dt.size == 1 and not hasattr(dt, "dim") else dt)


def _remembered(node: Any, name: str, given: Any) -> Any:
    """What is given, else what the node's metadata say, else None."""
    if given is not None:
        return given
    metadata = getattr(node, "metadata", None)
    found = metadata.get(name) if isinstance(metadata, dict) else None
    return found.decode(errors="replace") if isinstance(found, bytes) else found


def _add_population(net: Network, name: str, node: Any, size: int, method: str, surrogate: Surrogate | None) -> None:
    """A unit node, its parameters with units where the model has them."""
    from ..compile import quiet_brian  # noqa: F401

    # isort: split
    from brian2 import hertz, second

    model, values = nir_model(kind(node), method), parameters(name, node, size)
    if method == "euler":
        _stable(name, node, values, net.dt)
    units = {"second": second, "hertz": hertz}
    given = {n: v * units.get(model.parameters[n].unit, 1.0) for n, v in values.items()}
    net.add_population(name, model, size, surrogate=surrogate, **given)


def _stable(name: str, node: Any, values: dict[str, np.ndarray], dt: float) -> None:
    """Euler's steps of a leak grow without bound where a time constant is half a step or less."""
    for field, value in values.items():
        if field.startswith("tau") and (value <= dt / 2).any():
            what = f"NIR node {name!r}: {kind(node)}.{field} is {value.min():g} s"
            raise NIRError(f"{what}; legal with the method 'euler' and dt = {dt:g} s: > {dt / 2:g} s; use 'exponential'")


# -- connections -------------------------------------------------------------------------------------------------------
def _connect(net: Network, target: str, found: Arriving) -> None:
    """One connection a source, several where two paths share a synapse."""
    for number, (source, weight, delay) in enumerate(_merged(net, target, found.paths)):
        taken = {p.name for p in net.projections}
        name = f"{target}<-{source}"
        name = name if name not in taken else f"{name}#{number}"
        mask = None if (weight != 0).all() else weight != 0
        net.connect(source, target, mask=mask, delay=delay, weight=weight, name=name)


def _merged(net: Network, target: str, paths: Iterable[Path]) -> list[tuple[str, np.ndarray, Any]]:
    """(source, weight, delay in steps) with paths of one source joined where they have no synapse in common."""
    found: list[list[Any]] = []
    for path in paths:
        weight = path.matrix()
        steps = _steps(net, path, target) + (1 if path.source in net.populations else 0)
        for other in found:
            if other[0] == path.source and not ((other[1] != 0) & (weight != 0)).any():
                other[2] = np.where(weight != 0, steps, other[2])
                other[1] = other[1] + weight
                break
        else:
            found.append([path.source, weight.copy(), steps])
    return [(source, weight, _uniform(delay, weight)) for source, weight, delay in found]


def _steps(net: Network, path: Path, target: str) -> np.ndarray:
    exact = path.delay() / net.dt
    whole = np.rint(exact)
    if not np.all(np.abs(exact - whole) <= np.maximum(CLOSE * whole, 1e-6)) or (whole < 0).any():
        found = float(np.asarray(path.delay()).reshape(-1)[np.argmax(np.abs(exact - whole))])
        raise NIRError(
            f"NIR: the delay of {found:g} s from {path.source!r} to {target!r} is not a multiple of dt = {net.dt:g} s"
        )
    return whole.astype(int)


def _uniform(delay: np.ndarray, weight: np.ndarray) -> Any:
    """One number when all synapses agree."""
    there = delay[weight != 0]
    return int(there[0]) if len(there) and (there == there[0]).all() else delay if len(there) else int(delay.flat[0])


# -- readouts ----------------------------------------------------------------------------------------------------------
def _is_leak(name: str, nodes: dict[str, Any], edges: list[tuple[str, str]], paths: Paths, outputs: list[str]) -> bool:
    """Can an LI be the leak of a readout: heard by one Output alone, one time constant, reading one unit node?"""
    heard = [post for pre, post in edges if pre == name]
    tau = numbers(name, nodes[name], "tau")
    if len(heard) != 1 or heard[0] not in outputs or len(paths.into[heard[0]]) != 1 or np.ptp(tau):
        return False
    sources = paths.arriving(name).paths
    return len(sources) == 1 and kind(nodes[sources[0].source]) != "Input" and sources[0].source != name


def _add_readout(net: Network, name: str, nodes: dict[str, Any], paths: Paths, leaks: set[str], method: str) -> np.ndarray:
    """Add the readout of an Output node; returns its bias."""
    before = paths.into[name]
    leak = nodes[before[0]] if len(before) == 1 and before[0] in leaks else None
    found = paths.arriving(before[0] if leak is not None else name)
    if len(found.paths) != 1 or found.paths[0].source not in net.populations:
        sources = [p.source for p in found.paths]
        raise NIRError(f"NIR node {name!r}: an Output must read exactly one unit node, this one reads {sources}")
    (path,) = found.paths
    if path.delay().any():
        raise NIRError(f"NIR node {name!r}: a Delay before an Output is not supported; leave it out")
    weight, bias, decay = path.matrix(), found.constant, 0.0
    if leak is not None:
        values = parameters(before[0], leak, paths.sizes[before[0]])
        ratio = net.dt / float(values["tau"][0])
        decay = float(np.exp(-ratio)) if method == "exponential" else 1 - ratio
        if decay < 0:
            raise NIRError(f"NIR node {before[0]!r}: LI.tau is {values['tau'][0]:g} s, less than dt = {net.dt:g} s; "
                           "legal for a readout with the method 'euler': >= dt; use 'exponential'")  # fmt: skip
        kept = _remembered(leak, "decay", decay)
        decay = float(kept) if isinstance(kept, float | np.ndarray | np.number) and abs(kept - decay) < CLOSE else decay
        gain = (1 - decay) * values["r"]
        gain = np.where(np.abs(gain - 1) < CLOSE, 1.0, gain)
        rest = (1 - decay) * values["v_leak"]
        weight, bias = weight * gain[:, None], bias * gain + rest
    net.add_readout(name, path.source, len(weight), decay=decay, weight=weight)
    return bias


def _fill(net: Network, arriving: dict[str, Arriving], biases: dict[str, np.ndarray]) -> None:
    """Write weights, biases and parameters into theta."""
    net.initialize(0)
    view = net.view(net.theta)
    for name, found in arriving.items():
        view[name]["bias_v"][...] = found.constant if len(found.constant) else 0.0
    for name, bias in biases.items():
        view[name]["bias"][...] = bias
