"""What ``to_brian`` returns: the network as plain Brian2 objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...simulation.recording import Events

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
