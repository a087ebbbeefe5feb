"""Run a network and keep what was asked for: ``simulate``, ``Record`` and the ``Run`` it returns."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .simulate import SimState, Simulator
from .threads import one_pool

if TYPE_CHECKING:
    from .network import Network

PIECE = 256  # steps simulated at a time

_simulators: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def simulator(net: Network) -> Simulator:
    """The network's simulator, made once per version of the network."""
    found = _simulators.get(net)
    if found is None or found.wiring is not net.wiring:
        found = _simulators[net] = Simulator(net)
        found.net = weakref.proxy(net)
    return found


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
        if self.every < 1 or (self.last is not None and self.last < 1):
            raise ValueError(f"Record: every and last must be at least 1, got every={self.every}, last={self.last}")

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
    """What a simulation recorded. Arrays are (T, B, n); ``steps`` are the recorded steps of states and messages."""

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


def as_input(net: Network, x: Any) -> np.ndarray:
    """External input as (T, B, channels) in the network's type.

    Raises
    ------
    ValueError
        If the shape or the names do not fit the network's inputs, or a value is not finite.
    """
    sizes = {name: i.size for name, i in net.inputs.items()}
    if isinstance(x, Mapping):
        if set(x) != set(sizes):
            raise ValueError(f"x names the inputs {sorted(x)}, the network has {sorted(sizes)}")
        parts = [np.asarray(x[name]) for name in sizes]
        for name, part in zip(sizes, parts, strict=True):
            if part.ndim != 3 or part.shape[2] != sizes[name] or part.shape[:2] != parts[0].shape[:2]:
                raise ValueError(f"x[{name!r}] must have shape (T, B, {sizes[name]}) with equal T and B, got {part.shape}")
        x = np.concatenate(parts, axis=2)
    x = np.asarray(x)
    total = sum(sizes.values())
    if x.ndim == 2 and x.shape[1] == total:
        x = x[:, None]
    if x.ndim != 3 or x.shape[2] != total or not x.shape[0] or not x.shape[1]:
        raise ValueError(f"x must have shape (T, B, {total}) or (T, {total}) for inputs {sizes}, got {x.shape}")
    x = np.ascontiguousarray(x, dtype=net.dtype)
    if not np.isfinite(x).all():
        where = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(f"x is not finite at step {where[0]}, lane {where[1]}, channel {where[2]}")
    return x


def pieces(total: int, tau: int | None) -> Iterator[slice]:
    """Slices of at most ``tau`` steps that cover ``total`` steps."""
    size = tau or total
    return (slice(t, min(t + size, total)) for t in range(0, total, size))


def simulate(net: Network, x: Any = None, *, steps: int | None = None, batch: int = 1, record: Record | None = None,
             state: SimState | None = None) -> Run:  # fmt: skip
    """Simulate a network without learning.

    Parameters
    ----------
    net : Network
    x : array (T, B, channels) or (T, channels), or mapping input name -> (T, B, size)
        External input; a network without inputs takes ``steps`` and ``batch`` instead.
    record : Record, optional
        What to keep; default everything.
    state : SimState, optional
        Continue from ``run.state`` of an earlier run (which is advanced further).

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If the input does not fit, or recording everything would take more than 1 GiB.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 8).connect("x", "h").connect("h", "h")
    >>> run = srl.simulate(net.add_readout("z", "h", 2).initialize(0), np.ones((20, 3, 2)))
    >>> run.z.shape, run.states["h"]["c"].shape, 0 < run.activity < 1
    ((20, 3, 2), (20, 3, 8), True)
    """
    x = np.zeros((steps or 0, batch, 0), net.dtype) if x is None and not net.inputs else as_input(net, x)
    if not len(x):
        raise ValueError("nothing to simulate: give x, or steps= for a network without inputs")
    record = record or Record()
    machine = simulator(net)
    state = state or machine.start(x.shape[1])
    if state.batch != x.shape[1]:
        raise ValueError(f"x has {x.shape[1]} lanes, the state that it continues has {state.batch}")
    recorder = _Recorder(net, record, len(x), x.shape[1])
    with one_pool():
        for part in pieces(len(x), PIECE):
            tape = machine.run(state, x[part], linearise=False)
            recorder.keep(machine, tape, part)
    return recorder.finish(state)
