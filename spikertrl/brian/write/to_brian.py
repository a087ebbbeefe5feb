"""Network -> Brian2: the same network as NeuronGroups, Synapses and monitors, spike for spike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...simulation.recording import Events
from ...simulation.run import as_input

if TYPE_CHECKING:
    from ...network.network import Network

SCHEDULE = ["start", "synapses", "resets", "groups", "thresholds", "end"]  # one step of spikertrl, uncut


@dataclass(frozen=True)
class BrianNetwork:
    """A network in Brian2. Everything in it is a plain Brian2 object, to be changed, recorded and run as any other.

    Attributes
    ----------
    network : brian2.Network
        All objects below; its schedule is start, synapses, resets, groups, thresholds, end.
    groups : dict
        Input, population or readout name -> group.
    synapses : dict
        Projection name, or readout name -> Synapses; weights ``w_<port>`` (readouts: ``weight``).
    spikes : dict
        Population -> monitor of its events, with the variable ``y`` where messages have values.
    states : dict
        Recorded population or readout -> StateMonitor, at the end of a step.
    names : dict
        Population -> {name in the model: name in Brian2} where they differ, because Brian2 reserves the model's.
    n_steps : int
        Steps of the input that was given.
    """

    network: Any
    groups: dict[str, Any]
    synapses: dict[str, Any]
    spikes: dict[str, Any]
    states: dict[str, Any]
    names: dict[str, dict[str, str]]
    dt: float
    n_steps: int
    starts: dict[str, int]

    def run(self, steps: int | None = None) -> BrianNetwork:
        """Run ``steps`` steps, by default those of the input, and return this object.

        Raises
        ------
        ValueError
            Without input and without ``steps``.
        """
        from brian2 import second

        steps = self.n_steps if steps is None else steps
        if not steps:
            raise ValueError("no input was given to to_brian, so say how long: run(steps)")
        self.network.run(steps * self.dt * second, namespace={})
        return self

    @property
    def events(self) -> Events:
        """What the monitors recorded, as ``simulate`` gives it: arrays sorted by step and unit, in lane 0."""
        rows = []
        for name, monitor in self.spikes.items():
            steps = np.rint(np.asarray(monitor.t) / self.dt).astype(np.int64)
            values = np.asarray(monitor.y) if "y" in monitor.record_variables else np.ones(len(steps))
            rows.append((steps, np.asarray(monitor.i) + self.starts[name], values))
        time, unit, value = (np.concatenate(column) for column in zip(*rows, strict=True))
        order = np.lexsort((unit, time))
        return Events(time[order], np.zeros(len(time), np.int64), unit[order].astype(np.int64), value[order])


def to_brian(net: Network, inputs: Any = None, *, record: bool | Mapping[str, Any] = True) -> BrianNetwork:
    """Build the network in Brian2: weights, delays, parameters, biases, initial values, input and monitors.

    Parameters
    ----------
    net : Network
    inputs : array (T, channels) or (T, 1, channels), or mapping input name -> (T, 1, size), optional
        External input of one lane. Events of value 1 become a SpikeGeneratorGroup, other values a TimedArray. Without it all
        inputs are silent.
    record : bool or mapping
        Which states to record, besides events, which always are: all, none, or population or readout -> names of variables.

    Returns
    -------
    BrianNetwork

    Raises
    ------
    ValueError
        If the input does not fit, or has several lanes.
    NetworkError
        If a parameter is random and not yet drawn, or an ODE unit starts above its threshold.

    Notes
    -----
    A step has Brian2's slots in the order start, synapses, resets, groups, thresholds, end, so an input x(t) arrives in step t
    and a delay of d steps between units is a Brian2 delay of d - 1 steps. Sums over synapses and the terms of an update may be
    rounded in another order: states agree to the last bits, and events are the same.

    Examples
    --------
    >>> import brian2, numpy as np, spikertrl as srl
    >>> brian2.prefs.codegen.target = "numpy"
    >>> net = srl.Network("float64").add_input("x", 3, kind="event").add_population("h", srl.models.lif, 10)
    >>> net = net.connect("x", "h").connect("h", "h", density=0.3, delay="2*ms").initialize(0)
    >>> x = (np.random.default_rng(0).random((200, 3)) < 0.2) * 1.0
    >>> brian = srl.to_brian(net, x)
    >>> len(brian.synapses["h<-h"])
    30
    >>> ours, theirs = srl.simulate(net, x).events, brian.run().events
    >>> len(ours) > 20, np.array_equal(ours.time, theirs.time), np.array_equal(ours.unit, theirs.unit)
    (True, True, True)
    """
    from . import build as export_build

    x = None
    if inputs is not None:
        x = as_input(net, inputs) if net.inputs else np.zeros((len(inputs), 1, 0))
        if x.shape[1] != 1:
            raise ValueError(f"Brian2 runs one lane at a time, x has {x.shape[1]}; give x[:, lane]")
        x = x[:, 0].astype(float)
    return export_build.build(net, x, record)
