"""Brian2 networks made trainable: ``from_brian`` reads a user's NeuronGroups and Synapses and returns a Network.

Brian2's step (state update, threshold, synapses, reset) is ours cut at another place: states are taken right after the state
update, and one step of ours is synapses, reset, state update; then the threshold sends. A Brian2 delay of k steps is k + 1
here, from inputs too: what a source sends in Brian2's step t is x[t].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from brian2.core.namespace import get_local_namespace
from scipy import sparse

from ...surrogates import Surrogate, triangle
from ...units import in_base_units
from .collect import Collected, collect
from .connections import links_of, poisson_link
from .errors import BrianImportError, refuse
from .imported import ImportedNetwork, Origin
from .inputs import drive, poisson_input, spike_source
from .pathways import Link, base, written_by
from .plan import Plan, Value
from .population import read_group, scale_dim, start_plan, threshold_scale
from .trainable import Trained, find_trained

__all__ = ["BrianImportError", "ImportedNetwork", "from_brian"]


def from_brian(network: Any, trainable: Iterable[Any] = (), *, surrogate: Surrogate | Mapping[Any, Surrogate] | None = None,
               threshold_scale: Any = None, reset_gradient: bool = True, dtype: str = "float64",
               namespace: Mapping[str, Any] | None = None, level: int = 0) -> ImportedNetwork:  # fmt: skip
    """Import a Brian2 network: an ordinary Network with its equations, synapses, delays, weights and initial values.

    Nothing is simulated and the Brian2 objects stay as they are, runnable as before.

    Parameters
    ----------
    network : brian2.Network, or objects
        A Network that has not run yet, or a list of its objects (``collect()`` in a script without one). Monitors are left
        aside.
    trainable : iterable
        What is trained: variables of Synapses (``S.w``) and per-neuron parameters of NeuronGroups (``G.tau``). Everything else
        keeps its value and costs no sensitivity.
    surrogate : Surrogate, or mapping from group (or its name) to one, optional
        The pseudo-derivative of the threshold; default ``triangle(0.3, 1.0)``.
    threshold_scale : number or quantity, or mapping from group (or its name) to one, optional
        The distance to the threshold that the surrogate sees as 1. Default: the median distance right after a reset.
    reset_gradient : bool
        False leaves the pseudo-derivative out of the reset path.
    dtype : {"float64", "float32"}
        Brian2 computes in float64.
    namespace : mapping, optional
        External constants, in addition to those of the groups; default the caller's local and global variables, as in Brian2.
    level : int
        How many calls further up the caller's variables are looked up.

    Returns
    -------
    ImportedNetwork
        One population per NeuronGroup and one connection per Synapses, under their names; ``net.brian_inputs(duration)`` draws
        the input, ``net.to_brian_weights()`` writes trained values back.

    Raises
    ------
    BrianImportError
        For anything that cannot be imported exactly; the message names the object, the line and what to do.

    Examples
    --------
    >>> import brian2 as b2, spikertrl as srl
    >>> b2.prefs.codegen.target = "numpy"
    >>> feed = b2.PoissonGroup(20, 50 * b2.Hz, name="feed")
    >>> cells = b2.NeuronGroup(5, "dv/dt = -v/(10*ms) : 1", threshold="v > 1", reset="v = 0", method="exact", name="cells")
    >>> S = b2.Synapses(feed, cells, "w : 1", on_pre="v_post += w", delay=1 * b2.ms, name="S")
    >>> S.connect()
    >>> S.w = "0.1 + 0.02*j"
    >>> net = srl.from_brian(b2.Network(feed, cells, S), trainable=[S.w])
    >>> run = srl.simulate(net, net.brian_inputs("200*ms", seed=1))
    >>> len(run.events.unit) > 10, net.view(net.theta)["S"]["v"].shape
    (True, (5, 20))
    """
    space = dict(get_local_namespace(level + 1) if namespace is None else namespace)
    found = collect(network)
    chosen = find_trained(trainable, found)
    plans = _plans(found, space, chosen)
    links = [link for syn in found.synapses for link in links_of(syn, plans, space, chosen.synaptic.get(syn.name, set()))]
    links += [poisson_link(thing, plans, space) for thing in found.poisson_inputs]
    for plan in plans.values():
        if unused := sorted(n for n in plan.trained if plan.word(n) not in plan.parameters):
            refuse(plan.group, f"trainable: {unused[0]}", f"{unused[0]!r} stands in no equation", "train a parameter that does")
    net = ImportedNetwork(dtype, found.dt)
    _add_inputs(net, found, plans, links, space)
    for plan in plans.values():
        _add_population(net, plan, _pick(surrogate, plan), _pick(threshold_scale, plan), reset_gradient)
    for plan in plans.values():
        _connect_drives(net, plan)
    for link in links:
        _connect(net, link)
    _remember_parameters(net, plans, chosen)
    return net


def _plans(found: Collected, space: Mapping[str, Any], chosen: Trained) -> dict[str, Plan]:
    """A plan for every group; first what changes, then the texts."""
    plans = {g.name: start_plan(g, space, chosen.neuronal.get(g.name, set())) for g in found.groups}
    for syn in found.synapses:
        written = written_by(syn)
        target = base(syn.target).name
        if target not in plans or base(syn.source).name not in {*plans, *(s.name for s in found.sources)}:
            missing = base(syn.target if target not in plans else syn.source).name
            raise BrianImportError(f"Synapses {syn.name!r}: {missing!r} is not among the imported objects; add it")
        plans[target].written |= written
        plans[target].receiving |= written
    for thing in found.poisson_inputs:
        plans[base(thing.group).name].written.add(thing.target_var)
        plans[base(thing.group).name].receiving.add(thing.target_var)
    for plan in plans.values():
        read_group(plan)
    return plans


def _pick(given: Any, plan: Plan) -> Any:
    """The entry of a mapping for a group, or what was given for all."""
    if not isinstance(given, Mapping):
        return given
    return next((value for key, value in given.items() if getattr(key, "name", key) == plan.name), None)


def _add_inputs(
    net: ImportedNetwork, found: Collected, plans: Mapping[str, Plan], links: list[Link], space: Mapping[str, Any]
) -> None:
    all_channels = [spike_source(group, space, found.dt) for group in found.sources]
    sizes = {link.source: len(link.pre) for link in links}
    all_channels += [poisson_input(thing, sizes[thing.name], found.dt) for thing in found.poisson_inputs]
    all_channels += [drive(part, found.dt) for plan in plans.values() for part in plan.drives]
    for channels in all_channels:
        net.add_input(channels.name, channels.size, channels.kind)
        net.channels[channels.name] = channels


def _add_population(net: ImportedNetwork, plan: Plan, surrogate: Surrogate | None, scale: Any, reset_gradient: bool) -> None:
    if plan.threshold:
        dim = scale_dim(plan)
        number = threshold_scale(plan)
        if scale is not None:
            number = in_base_units(scale, tuple(float(x) for x in dim._dims), f"threshold_scale of {plan.name}", 1)
        plan.parameters["threshold_scale"] = Value(np.asarray(number, float), dim)
    values = {name: value.quantity() for name, value in plan.parameters.items()}
    start = {name: value.quantity() for name, value in plan.initial.items()}
    net.add_population(plan.name, plan.model(), plan.size, surrogate=surrogate or triangle(0.3, 1.0), initial=start,
                       reset_gradient=reset_gradient, **values)  # fmt: skip


def _connect_drives(net: ImportedNetwork, plan: Plan) -> None:
    for part in plan.drives:
        one = part.channels == plan.size and plan.size > 1
        mask = sparse.identity(plan.size, format="csr") if one else None
        net.connect(part.name, plan.name, ports=part.port, mask=mask, delay=0, weight=1.0, trainable=False)


def _connect(net: ImportedNetwork, link: Link) -> None:
    """One projection per synapse that two neurons have in common: several, only where Brian2 has parallel synapses."""
    shape = (net.populations[link.target].size, (net.populations.get(link.source) or net.inputs[link.source]).size)
    order = np.lexsort((link.pre, link.post))
    post, pre = link.post[order], link.pre[order]
    again = np.concatenate(([False], (np.diff(post) == 0) & (np.diff(pre) == 0))) if len(order) else np.zeros(0, bool)
    place = np.arange(len(order))
    rank = place - np.maximum.accumulate(np.where(again, 0, place)) if len(order) else place
    for k in range(int(rank.max(initial=-1)) + 1):
        _project(net, link, f"{link.name}#{k + 1}" if k else link.name, order[rank == k], shape)


def _project(net: ImportedNetwork, link: Link, name: str, order: np.ndarray, shape: tuple[int, int]) -> None:
    post, pre, delay = link.post[order], link.pre[order], link.delay[order] + 1
    indptr = np.searchsorted(post, np.arange(shape[0] + 1))

    def matrix(values: np.ndarray) -> sparse.csr_matrix:
        return sparse.csr_matrix((values, pre, indptr), shape=shape)

    full = len(order) == shape[0] * shape[1]
    trained = [term.port for term in link.terms if term.variable]
    same = np.ptp(delay) == 0
    net.connect(
        link.source, link.target, ports=[term.port for term in link.terms], name=name,
        mask=None if full else matrix(np.ones(len(order))),
        delay=int(delay[0]) if same else delay.reshape(shape) if full else matrix(delay),
        weight={term.port: term.values[order].reshape(shape) if full else matrix(term.values[order]) for term in link.terms},
        trainable=trained,
    )  # fmt: skip
    for term in link.terms:
        if term.variable and term.factor is not None:
            imported = np.array(link.synapses.variables[term.variable].get_value())
            net.origins.append(Origin(link.synapses, term.variable, (name, term.port), order, term.factor[order], imported))


def _remember_parameters(net: ImportedNetwork, plans: Mapping[str, Plan], chosen: Trained) -> None:
    for plan in plans.values():
        for name in sorted(chosen.neuronal.get(plan.name, set())):
            imported = np.array(plan.group.variables[name].get_value())
            every = np.arange(plan.size)
            net.origins.append(Origin(plan.group, name, (plan.name, plan.word(name)), every, np.ones(plan.size), imported))
