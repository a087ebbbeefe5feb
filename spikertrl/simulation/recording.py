"""What a run keeps, and how it is collected: ``Record``, ``Events``, ``Run`` and the recorder behind ``simulate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments
from ..html import table
from ..tape import Tape
from . import exports as _exports
from .events import list_units

if TYPE_CHECKING:
    from ..network.network import Network
    from .simulator import Simulator
    from .state import SimState

LIMIT_BYTES = 1 << 30  # largest recording made without being asked for in particular


@dataclass(frozen=True)
class Record:
    """What a run keeps, so that recording is bounded.

    Parameters
    ----------
    states : bool or sequence of population names
        Keep state variables.
    messages : bool
        Keep dense messages (events are kept in any case unless ``events=False``).
    events : bool
        Keep the list of events.
    every : int
        Keep states and messages of every ``every``-th step only (steps 0, every, 2*every, ...).
    last : int, optional
        Keep only the last ``last`` steps of everything but z.
    units : mapping, optional
        Population -> indices of the units whose states and messages are kept.
    """

    states: bool | Sequence[str] = True
    messages: bool = True
    events: bool = True
    every: int = 1
    last: int | None = None
    units: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arguments.whole("Record", "every", self.every)
        if self.last is not None:
            arguments.whole("Record", "last", self.last)
        for what in ("messages", "events"):
            arguments.flag("Record", what, getattr(self, what))
        if isinstance(self.states, str) or not isinstance(self.states, bool | Sequence):
            raise arguments.refuse("Record", "states", self.states, "True, False, or a list of populations")
        if not isinstance(self.units, Mapping):
            raise arguments.refuse("Record", "units", self.units, "a mapping, population -> indices of units")

    def chosen(self, net: Network) -> tuple[list[str], dict[str, np.ndarray]]:
        """Populations whose states are kept, and the units kept of each one.

        Raises
        ------
        ValueError
            If the network has no such population or unit.
        """
        known = list(net.populations)
        named = arguments.names("Record", "states", self.states, known) if not isinstance(self.states, bool) else known
        arguments.names("Record", "units", list(self.units), known)
        units = {name: np.arange(population.size) for name, population in net.populations.items()}
        for name, wanted in self.units.items():
            what, size = f"units[{name!r}]", len(units[name])
            found = arguments.numbers("Record", what, wanted, legal := f"indices of units, 0 .. {size - 1}")
            if found.ndim != 1 or (found.size and found.dtype.kind not in "iu") or ((found < 0) | (found >= size)).any():
                raise arguments.refuse("Record", what, wanted, legal)
            units[name] = found.astype(np.int64)
        return named if self.states is not False else [], units

    def kept(self, start: int, tau: int, total: int) -> np.ndarray:
        """Which of the steps start..start+tau-1 of ``total`` are kept (relative indices)."""
        steps = np.arange(start, start + tau)
        keep = steps % self.every == 0
        if self.last is not None:
            keep &= steps >= total - self.last
        return np.flatnonzero(keep)


@dataclass(frozen=True)
class Events:
    """Events sorted by time, lane, unit: arrays ``time`` (step), ``batch``, ``unit`` (global), ``value`` of equal length."""

    time: np.ndarray
    batch: np.ndarray
    unit: np.ndarray
    value: np.ndarray

    def __len__(self) -> int:
        return len(self.time)

    def of(self, lane: int = 0, first: int = 0, last: int | None = None) -> Events:
        """The events of one lane, of units first..last-1."""
        keep = (self.batch == lane) & (self.unit >= first) & (self.unit < (np.inf if last is None else last))
        return Events(self.time[keep], self.batch[keep], self.unit[keep], self.value[keep])


@dataclass
class Run:
    """What a simulation recorded. Arrays are (T, B, n).

    ``steps`` are the recorded steps of states and messages, ``units`` the recorded units of each population. Step t is at time
    t dt.
    """

    net: Network
    dt: float
    n_steps: int
    batch: int
    readouts: dict[str, np.ndarray]
    events: Events
    states: dict[str, dict[str, np.ndarray]]
    messages: dict[str, np.ndarray]
    steps: np.ndarray
    state: SimState
    units: dict[str, np.ndarray] = field(default_factory=dict)
    start: int = 0  # steps that its state had behind it

    @property
    def z(self) -> np.ndarray:
        """Output of the only readout, (T, B, n_out).

        Raises
        ------
        ValueError
            If the network has no readout or several (then use ``run.readouts[name]``).
        """
        if len(self.readouts) != 1:
            found = sorted(self.readouts)
            raise ValueError(f"run.z needs exactly one readout, the network has {found}; use run.readouts[name]")
        return next(iter(self.readouts.values()))

    @property
    def activity(self) -> float:
        """Share of units that send an event, mean over steps and lanes."""
        units = sum(p.size for p in self.net.populations.values())
        return len(self.events) / max(1, self.n_steps * self.batch * units)

    def _repr_html_(self) -> str:
        rows = [("steps", self.n_steps), ("lanes", self.batch), ("events", len(self.events)), ("activity", self.activity)]
        rows += [(f"readout {name}", z.shape) for name, z in self.readouts.items()]
        rows += [(f"states of {name}", ", ".join(found)) for name, found in self.states.items()]
        return table("Run", rows)

    def to_neo(self, states: bool = True) -> Any:
        """Events as neo SpikeTrains, one a unit, in a ``neo.Block`` with one segment a lane.

        Parameters
        ----------
        states : bool
            Put recorded states (SI units), messages and readouts in as AnalogSignals.

        Returns
        -------
        neo.Block
            Trains are annotated with ``population``, ``unit``, ``lane`` and ``model``; their array annotations are ``value``,
            which a message had, and ``step``.

        Raises
        ------
        ModuleNotFoundError
            Without the extra ``neo``.
        """
        return _exports.to_neo(self, states)

    def to_pandas(self, what: str = "events") -> Any:
        """A tidy data frame, one event or one number a row.

        Parameters
        ----------
        what : {"events", "states", "messages", "readouts"}

        Returns
        -------
        pandas.DataFrame
            Columns step, time (s), lane, population (or readout), unit, value, and variable unless ``what`` is "events".

        Raises
        ------
        ModuleNotFoundError
            Without the extra ``pandas``.
        ValueError
            If ``what`` is unknown.
        """
        return _exports.to_pandas(self, what)

    def to_xarray(self, name: str | None = None) -> Any:
        """Recorded states, messages (``y``) and readouts (``z``) with labelled dimensions time (s), batch, unit.

        Parameters
        ----------
        name : str, optional
            A population or readout; default all of them.

        Returns
        -------
        xarray.Dataset
            One variable a state, its SI unit in ``attrs["units"]``; without a name a DataTree with one Dataset for each.

        Raises
        ------
        ModuleNotFoundError
            Without the extra ``xarray``.
        ValueError
            If the name is neither a population nor a readout.
        """
        return _exports.to_xarray(self, name)


class Recorder:
    """Collects pieces into arrays of known size."""

    def __init__(self, net: Network, record: Record, total: int, batch: int, start: int = 0) -> None:
        self.net, self.record, self.total, self.batch, self.start = net, record, total, batch, start
        steps = record.kept(0, total, total)
        self.steps, self.filled = steps, 0
        named, chosen = record.chosen(net)
        self.units = chosen
        self._refuse_unbounded(named, len(steps))
        shape = {n: (len(steps), batch, len(u)) for n, u in chosen.items()}
        self.z = np.zeros((total, batch, net.wiring.n_outputs), net.dtype)
        self.states = {n: {s: np.zeros(shape[n], net.dtype) for s in net.populations[n].cell.states} for n in named}
        self.messages = {n: np.zeros(shape[n], net.dtype) for n in chosen} if record.messages else {}
        self.events: list[tuple[np.ndarray, ...]] = []

    def _refuse_unbounded(self, named: Sequence[str], steps: int) -> None:
        counts = {n: len(self.net.populations[n].cell.states) * (n in named) + self.record.messages for n in self.units}
        size = steps * self.batch * sum(c * len(self.units[n]) for n, c in counts.items()) * self.net.wiring.dtype.itemsize
        if size > LIMIT_BYTES:
            raise ValueError(
                f"recording {steps} steps of {self.batch} lanes would take {size / 2**30:.1f} GiB; "
                "bound it with record=Record(states=..., messages=False, every=k, last=m, units={population: indices})"
            )

    def keep(self, machine: Simulator, tape: Tape, part: slice) -> None:
        """Copy what is wanted out of a piece."""
        net, rec = self.net, self.record
        self.z[part] = tape.z
        y = tape.units(machine.wiring)
        kept = rec.kept(part.start, tape.tau, self.total)
        rows = slice(self.filled, self.filled + len(kept))
        self.filled = rows.stop
        buffers = machine.buffers(tape.tau, tape.batch, False)
        for name, population in net.populations.items():
            units = self.units[name]
            if name in self.messages:
                self.messages[name][rows] = y[kept][:, :, population.start + units]
            for j, state in enumerate(population.cell.states if name in self.states else ()):
                self.states[name][state][rows] = buffers.states[name][1:][kept][:, :, j][:, :, units]
        if rec.events:
            first = 0 if rec.last is None else max(0, self.total - rec.last - part.start)
            queue = buffers.queue
            step, *found = list_units(queue.values, queue.fired, queue.n_fired, queue.history, first, machine.wiring.n_channels)
            self.events.append((part.start + step, *found))

    def finish(self, state: SimState) -> Run:
        """The Run."""
        empty = [np.zeros(0, np.int64)] * 3 + [np.zeros(0, self.net.dtype)]
        columns = [np.concatenate(c) for c in zip(*self.events, strict=True)] if self.events else empty
        readouts = {r.name: self.z[:, :, r.start : r.start + r.size] for r in self.net.readouts}
        net, events = self.net, Events(*columns)
        return Run(net, net.dt, self.total, self.batch, readouts, events, self.states, self.messages, self.steps, state,
                   self.units, self.start)  # fmt: skip
