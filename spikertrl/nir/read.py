"""NIR graph -> Network."""

from __future__ import annotations

from pathlib import Path as File
from typing import TYPE_CHECKING, Any

import numpy as np

from ..network.network import Network
from ..optional import needed
from ..surrogates import Surrogate
from .paths import Arriving, NIRError, Path, Paths, flat, kind
from .units import METHODS, PRIMITIVES, nir_model

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        Naming the node: for other primitives, delays that are no whole steps, loops without a unit, an Output that does not
        read exactly one unit node.
    ModuleNotFoundError
        Without the extra ``nir``, when a file is given.

    Notes
    -----
    NIR's edges take no time. Here a message between units takes one step, so a ``Delay`` of k steps between units is a delay
    of k + 1; from inputs, and into readouts, an edge takes none. All voltages start at 0.
    """
    graph = needed("nir", "from_nir()").read(str(graph)) if isinstance(graph, (str, File)) else graph
    dt = _remembered(graph, "dt", dt)
    if dt is None:
        raise NIRError("from_nir: the graph does not say how long a step is; give dt= in seconds, for example dt=1e-3")
    method = str(_remembered(graph, "method", method) or METHODS[0])
    if method not in METHODS:
        raise NIRError(f"from_nir: method must be one of {METHODS}, got {method!r}")
    nodes, edges = flat(graph)
    sizes = {n: _size(node) for n, node in nodes.items() if kind(node) in PRIMITIVES or _is_door(n, node, "Input")}
    paths = Paths(nodes, edges, sizes)
    leaks = {n for n in sizes if kind(nodes[n]) == "LI" and _is_leak(n, nodes, edges, paths)}
    net = Network(dtype, float(dt))
    for name in sizes:
        if kind(nodes[name]) == "Input":
            net.add_input(name, sizes[name], kind_of_input or str(_remembered(nodes[name], "kind", None) or "analog"))
        elif name not in leaks:
            parameters = _parameters(nodes[name])
            net.add_population(name, nir_model(kind(nodes[name]), method), sizes[name], surrogate=surrogate, **parameters)
    arriving = {name: paths.arriving(name) for name in net.populations}
    for name, found in arriving.items():
        _connect(net, name, found)
    outputs = [n for n in nodes if _is_door(n, nodes[n], "Output")]
    readouts = {n: _add_readout(net, n, nodes, paths, leaks, method) for n in outputs}
    _fill(net, arriving, readouts)
    return net


def _is_door(name: str, node: Any, which: str) -> bool:
    """Is it an Input or Output of the whole graph, not of a nested one?"""
    return kind(node) == which and "." not in name


def _remembered(node: Any, name: str, given: Any) -> Any:
    """What is given, else what the node's metadata say, else None."""
    if given is not None:
        return given
    found = (getattr(node, "metadata", None) or {}).get(name)
    return found.decode() if isinstance(found, bytes) else found


def _size(node: Any) -> int:
    shape = node.input_type["input"]
    return int(np.prod(np.asarray(shape, int)))


def _parameters(node: Any) -> dict[str, Any]:
    """NIR's parameters (n,), with units where the model has them."""
    from brian2 import hertz, second

    found = {}
    for name, record in nir_model(kind(node)).parameters.items():
        values = np.asarray(getattr(node, "r" if name == "rate" else name), float).reshape(-1)
        values = values * np.ones(_size(node))
        found[name] = values * {"second": second, "hertz": hertz}.get(record.unit, 1.0)
    return found


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
def _is_leak(name: str, nodes: dict[str, Any], edges: list[tuple[str, str]], paths: Paths) -> bool:
    """Can an LI be the leak of a readout: heard by one Output alone, one time constant, reading one unit node?"""
    heard = [post for pre, post in edges if pre == name]
    tau = np.asarray(nodes[name].tau, float).reshape(-1)
    if len(heard) != 1 or not _is_door(heard[0], nodes[heard[0]], "Output") or len(paths.into[heard[0]]) != 1 or np.ptp(tau):
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
        ratio = net.dt / float(np.asarray(leak.tau).reshape(-1)[0])
        decay = float(np.exp(-ratio)) if method == "exponential" else 1 - ratio
        kept = _remembered(leak, "decay", decay)
        decay = float(kept) if abs(float(kept) - decay) < CLOSE else decay
        gain = (1 - decay) * np.asarray(leak.r, float).reshape(-1)
        gain = np.where(np.abs(gain - 1) < CLOSE, 1.0, gain)
        rest = (1 - decay) * np.asarray(leak.v_leak, float).reshape(-1)
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
