"""A Brian2 network (or a list of its objects) sorted into what is simulated, with everything unsupported refused by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import brian2 as b2
from brian2.core.base import BrianObject
from brian2.core.network import Network as BrianNet
from brian2.devices.device import RuntimeDevice, get_device
from brian2.groups.group import CodeRunner
from brian2.groups.neurongroup import NeuronGroup, Resetter, StateUpdater, SubexpressionUpdater, Thresholder
from brian2.groups.subgroup import Subgroup
from brian2.input.poissongroup import PoissonGroup
from brian2.input.poissoninput import PoissonInput
from brian2.input.spikegeneratorgroup import SpikeGeneratorGroup
from brian2.spatialneuron.spatialneuron import SpatialNeuron
from brian2.synapses.synapses import Synapses

from .errors import BrianImportError, refuse

WATCHERS = (b2.SpikeMonitor, b2.StateMonitor, b2.EventMonitor, b2.PopulationRateMonitor, Subgroup)
PARTS = (Thresholder, Resetter, StateUpdater, SubexpressionUpdater)
SLOTS = ["start", "groups", "thresholds", "synapses", "resets", "end"]


@dataclass
class Collected:
    """Objects by kind, each list in the order of their names."""

    dt: float
    groups: list[Any] = field(default_factory=list)
    sources: list[Any] = field(default_factory=list)  # PoissonGroup, SpikeGeneratorGroup
    poisson_inputs: list[Any] = field(default_factory=list)
    synapses: list[Any] = field(default_factory=list)


def collect(network: Any) -> Collected:
    """Sort the objects of a network; monitors are left aside.

    Raises
    ------
    BrianImportError
        For an object of a kind that cannot be imported, for clocks that differ, and for a network that has run already.
    """
    if not isinstance(get_device(), RuntimeDevice):
        raise BrianImportError("the active Brian2 device is not 'runtime': values are not known before it runs; "
                               "call set_device('runtime') for the import")  # fmt: skip
    top = list(network.objects) if isinstance(network, BrianNet) else _as_list(network)
    if isinstance(network, BrianNet):
        _check_network(network)
    else:
        _check_fresh(top)
    found = Collected(0.0)
    for thing in sorted((t for t in top if t.active and not isinstance(t, (*WATCHERS, *PARTS))), key=lambda t: t.name):
        _sort(thing, found)
    if not found.groups:
        raise BrianImportError(
            f"nothing to import: no NeuronGroup among {[t.name for t in top]}; give the Network or its objects"
        )
    found.dt = float(found.groups[0].clock.dt_)
    for thing in (*found.groups, *found.sources, *found.poisson_inputs, *found.synapses):
        if abs(float(thing.clock.dt_) - found.dt) > 1e-9 * found.dt:
            first = found.groups[0].name
            refuse(thing, "", f"its dt is {float(thing.clock.dt_):g} s, that of {first!r} {found.dt:g} s",
                   "give all groups and synapses one dt")  # fmt: skip
    return found


def _as_list(network: Any) -> list[Any]:
    things = [network] if isinstance(network, BrianObject) else network
    if not isinstance(things, Iterable):
        raise BrianImportError(f"expected a Brian2 Network or a list of its objects, got {type(network).__name__}")
    things = [inner for t in things for inner in (t if isinstance(t, (list, tuple)) else (t,))]
    for thing in things:
        if not isinstance(thing, BrianObject) and type(thing).__name__ not in ("CallableProxyType", "ProxyType"):
            raise BrianImportError(f"expected Brian2 objects, got {type(thing).__name__}; give a Network or collect()")
    return things


def _check_network(network: BrianNet) -> None:
    if float(network.t_) > 0:
        _has_run(network, float(network.t_))
    if [slot for slot in network.schedule if not slot.startswith(("before_", "after_"))] != SLOTS:
        refuse(network, str(network.schedule), "the order of a step was changed", f"leave the schedule at {SLOTS}")


def _check_fresh(things: list[Any]) -> None:
    for thing in things:
        clock = getattr(thing, "clock", None)
        now = float(clock.variables["t"].get_value().item()) if clock is not None else 0.0
        if getattr(thing, "_network", None) is not None and now > 0:
            _has_run(thing, now)


def _has_run(thing: Any, now: float) -> None:
    refuse(thing, "", f"it has run already, to t = {now:g} s, and may hold spikes in flight",
           "import it before run(), or restore() what store() kept at t = 0")  # fmt: skip


def _sort(thing: Any, found: Collected) -> None:
    if isinstance(thing, SpatialNeuron):
        refuse(
            thing,
            "",
            "a neuron with many compartments has no step of one unit",
            "use a point neuron, or one group per compartment",
        )
    if isinstance(thing, NeuronGroup):
        found.groups.append(thing)
    elif isinstance(thing, (PoissonGroup, SpikeGeneratorGroup)):
        found.sources.append(thing)
    elif isinstance(thing, PoissonInput):
        found.poisson_inputs.append(thing)
    elif isinstance(thing, Synapses):
        found.synapses.append(thing)
    elif isinstance(thing, b2.NetworkOperation):
        refuse(
            thing, "", "a network operation is Python code, which has no derivative", "write it as equations or run_regularly"
        )
    elif isinstance(thing, CodeRunner) and getattr(thing, "group", None) is not None and thing.template is not None:
        pass  # a part of a group; the group is asked for its parts
    else:
        refuse(thing, "", f"objects of the kind {type(thing).__name__} cannot be imported", "leave it out of the list")
