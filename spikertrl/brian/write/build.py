"""Put the parts of a Brian2 network together, with monitors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import brian2 as b2
import numpy as np

from ...network.elements import NetworkError
from ...network.network import Network
from . import groups as parts
from .network import SCHEDULE, BrianNetwork


def build(net: Network, x: np.ndarray | None, record: bool | Mapping[str, Any]) -> BrianNetwork:
    """See ``to_brian``; x (T, channels) or None."""
    wanted = _wanted(net, record)
    taken: set[str] = set()
    clock = b2.Clock(net.dt * b2.second, name=parts.safe_name("step", taken))
    groups, senders, texts, links, states = {}, {}, {}, {}, {}
    for name, channels in net.inputs.items():
        groups[name], senders[name] = parts.input_group(net, channels, x, clock, parts.safe_name(name, taken))
    for name, population in net.populations.items():
        groups[name], texts[name] = parts.population_group(net, population, clock, parts.safe_name(name, taken))
        senders[name] = parts.Sender(groups[name], texts[name].graded, texts[name].event, 1)
    for p in net.projections:
        label = parts.safe_name(p.name, taken)
        links[p.name] = parts.projection_synapses(net, p, senders[p.source], groups[p.target], texts[p.target], clock, label)
    for r in net.readouts:
        labels = parts.safe_name(r.name, taken), parts.safe_name(f"{r.name}<-{r.source}", taken)
        groups[r.name], links[r.name] = parts.readout_group(net, r, senders[r.source], clock, *labels)
    spikes = {n: _events(groups[n], text, parts.safe_name(f"{n}_events", taken)) for n, text in texts.items()}
    for name, listed in wanted.items():
        variables = [texts[name].names.get(v, v) for v in listed] if name in texts else listed
        label = parts.safe_name(f"{name}_states", taken)
        states[name] = b2.StateMonitor(groups[name], variables, record=True, when="end", order=1, clock=clock, name=label)
    network = b2.Network(*groups.values(), *links.values(), *spikes.values(), *states.values())
    network.schedule = SCHEDULE
    renamed = {n: dict(text.names) for n, text in texts.items()}
    starts = {n: p.start for n, p in net.populations.items()}
    return BrianNetwork(network, groups, links, spikes, states, renamed, net.dt, 0 if x is None else len(x), starts)


def _events(group: Any, text: parts.GroupText, name: str) -> Any:
    variables = ["y"] if text.graded else None
    if text.event == "spike":
        return b2.SpikeMonitor(group, variables, name=name)
    return b2.EventMonitor(group, text.event, variables, name=name)


def _wanted(net: Network, record: bool | Mapping[str, Any]) -> dict[str, list[str]]:
    """Population or readout -> variables to record, in the model's names."""
    if not isinstance(record, Mapping):
        names = {n: list(p.model.states) for n, p in net.populations.items()} | {r.name: ["z"] for r in net.readouts}
        return names if record else {}
    known = {n: {*p.model.states, "y"} for n, p in net.populations.items()} | {r.name: {"z"} for r in net.readouts}
    listed = {n: [v] if isinstance(v, str) else list(v) for n, v in record.items()}
    for name, variables in listed.items():
        if name not in known:
            raise NetworkError(f"to_brian: cannot record {name!r}; populations and readouts: {sorted(known)}")
        if unknown := sorted(set(variables) - known[name]):
            raise NetworkError(f"to_brian: {name!r} has no variables {unknown} to record; it has {sorted(known[name])}")
    return listed
