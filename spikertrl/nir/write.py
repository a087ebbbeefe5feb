"""Network -> NIR graph."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from scipy import sparse

from ..model import Model
from ..network.elements import Population, Projection, Readout
from ..network.learned_delays import none_learned
from ..network.network import Network
from ..network.projections import synapses
from ..optional import needed
from .nodes import NIRError
from .units import primitive_of

WHY_NOT = {
    "lif": "it loses the input of the step after a spike and may be refractory, NIR's LIF does neither",
    "cuba_lif": "it resets by subtraction, NIR's CubaLIF to v_reset",
    "alif": "it adapts and resets by subtraction",
    "adex": "NIR has no adaptation and no exponential",
}


def to_nir(net: Network) -> Any:
    """Write a network as a NIR graph, exactly or not at all.

    Parameters
    ----------
    net : Network
        Populations of ``spikertrl.nir.units.nir_model`` or of ``threshold_rnn``, all with one method.

    Returns
    -------
    nir.NIRGraph
        Nodes: inputs and populations under their names; each connection a Linear (the first with biases an Affine), with a
        Delay where a message between units takes more than one step, or one from an input any; a readout an Affine, an LI if
        it leaks, and an Output. ``nir.write(path, graph)`` stores it; metadata keep dt and the method for ``from_nir``.

    Raises
    ------
    NIRError
        Naming the population and what NIR cannot say.
    ModuleNotFoundError
        Without the extra ``nir``.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network("float64").add_input("x", 3).add_population("h", srl.nir_models.nir_model("LIF"), 5, r=30.0)
    >>> net = net.connect("x", "h").connect("h", "h", delay=3).add_readout("z", "h", 2, decay=0.9).initialize(0)
    >>> graph = srl.to_nir(net)
    >>> {name: type(node).__name__ for name, node in graph.nodes.items()}
    {'x': 'Input', 'h': 'LIF', 'h<-x': 'Linear', 'h<-h': 'Linear', 'h<-h delay 2': 'Delay', 'z<-h': 'Affine', 'z leak': 'LI',
     'z': 'Output'}
    >>> back = srl.from_nir(graph, dtype="float64")
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> ours, again = srl.simulate(net, x), srl.simulate(back, x)
    >>> len(ours.events) > 50, np.array_equal(ours.events.time, again.events.time), np.array_equal(ours.z, again.z)
    (True, True, True)
    """
    nir = needed("nir", "to_nir()")
    if not isinstance(net, Network):
        raise NIRError(f"to_nir: net is a {type(net).__name__}; legal: a Network")
    none_learned("to_nir", net.projections, NIRError)
    net.ready()
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    found = {name: _primitive(p) for name, p in net.populations.items()}
    methods = {method for _, method in found.values() if method}
    if len(methods) > 1:
        raise NIRError(f"to_nir: populations use the methods {sorted(methods)}; a graph has one")
    for name, i in net.inputs.items():
        nodes[name] = nir.Input({"input": np.array([i.size])}, metadata={"kind": i.kind})
    for name, population in net.populations.items():
        nodes[name] = _unit_node(nir, net, population, found[name][0])
    waiting = {n: _bias(net, p) for n, p in net.populations.items()}
    for projection in net.projections:
        _add_projection(nir, net, projection, waiting, nodes, edges)
    for name, bias in waiting.items():
        if bias is not None and bias.any():
            raise NIRError(f"to_nir: population {name!r} has a bias but no connection that could carry it; connect something")
    method = next(iter(methods), "exponential")
    for readout in net.readouts:
        _add_readout(nir, net, readout, method, nodes, edges)
    return nir.NIRGraph(nodes, edges, metadata={"dt": net.dt, "method": method})


def _primitive(population: Population) -> tuple[str, str | None]:
    """(NIR's primitive, method) of a population."""
    model: Model = population.model
    if model.name == "threshold_rnn":
        return "Threshold", None
    found = primitive_of(model)
    if found is None:
        why = WHY_NOT.get(model.name, "it has other equations than any of NIR's")
        raise NIRError(
            f"to_nir: population {population.name!r}: NIR cannot say the model {model.name!r}: {why}; "
            "use one of spikertrl.nir.units.nir_model(primitive)"
        )
    if any(np.any(x) for x in population.initial.values()):
        raise NIRError(f"to_nir: population {population.name!r}: NIR cannot say initial values; start at 0")
    return found


def _unit_node(nir: Any, net: Network, population: Population, primitive: str) -> Any:
    view, model, n = net.view(net.theta), population.model, population.size
    values = {}
    for name in model.parameters:
        given = view[population.name][name] if name in model.trainable else population.parameters[name]
        if callable(given):
            raise NIRError(f"to_nir: {population.name}.{name} is drawn at random; call net.initialize(seed) first")
        values["r" if name == "rate" else name] = np.array(np.broadcast_to(given, (n,)), float)
    return getattr(nir, primitive)(**values or {"threshold": np.zeros(n)})


def _bias(net: Network, population: Population) -> np.ndarray | None:
    """Bias (n,) of a population that has one."""
    return net.view(net.theta).get(population.name, {}).get("bias_v")


def _add_projection(nir: Any, net: Network, p: Projection, waiting: dict, nodes: dict[str, Any], edges: list) -> None:
    """A matrix for each delay that occurs, and the Delay behind it."""
    post, pre, delay = synapses(p)
    weight = net.view(net.theta)[p.name][p.ports[0]]
    values = np.asarray(weight.data if sparse.issparse(weight) else weight).reshape(-1)
    free = 1 if p.source in net.populations else 0
    for d in np.unique(delay):
        here = delay == d
        matrix = np.zeros(p.shape, values.dtype)
        matrix[post[here], pre[here]] = values[here]
        name = _free(p.name if len(np.unique(delay)) == 1 else f"{p.name} at {d}", nodes)
        bias = waiting[p.target]
        waiting[p.target] = None
        nodes[name] = nir.Affine(matrix, np.array(bias)) if bias is not None and bias.any() else nir.Linear(matrix)
        edges.append((p.source, name))
        if d > free:
            late = _free(f"{name} delay {d - free}", nodes)
            nodes[late] = nir.Delay(np.full(p.shape[0], (d - free) * net.dt))
            edges.append((name, late))
            name = late
        edges.append((name, p.target))


def _add_readout(nir: Any, net: Network, readout: Readout, method: str, nodes: dict[str, Any], edges: list) -> None:
    view = net.view(net.theta)[readout.name]
    chain = [_free(f"{readout.name}<-{readout.source}", nodes)]
    nodes[chain[0]] = nir.Affine(np.array(view["weight"]), np.array(view["bias"]))
    if readout.decay:
        tau = -net.dt / np.log(readout.decay) if method == "exponential" else net.dt / (1 - readout.decay)
        ones = np.ones(readout.size)
        chain.append(_free(f"{readout.name} leak", nodes))
        nodes[chain[1]] = nir.LI(tau * ones, ones / (1 - readout.decay), 0 * ones, metadata={"decay": readout.decay})
    nodes[readout.name] = nir.Output({"output": np.array([readout.size])})
    chain = [readout.source, *chain, readout.name]
    edges += list(itertools.pairwise(chain))


def _free(name: str, nodes: dict[str, Any]) -> str:
    """A name of a node that HDF5 accepts and that is not taken."""
    name = name.replace("/", "_")
    while name in nodes:
        name += "'"
    return name
