"""Run a network and keep what was asked for: ``simulate``, ``Record`` and the ``Run`` it returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments
from ..threads import one_pool
from .divergence import finite
from .recording import Events, Record, Recorder, Run
from .simulator import Plan, Simulator
from .state import SimState

if TYPE_CHECKING:
    from ..network.network import Network

__all__ = ["Events", "Record", "Run", "as_input", "borrowed", "pieces", "simulate", "simulator"]

PIECE = 256  # steps simulated at a time

IDLE = 4  # simulators that a network keeps between calls


def simulator(net: Network) -> Simulator:
    """A simulator of one's own: two users of one network need two."""
    net.ready()
    return Simulator(net, net.made("plan", lambda: Plan(net)))


@contextmanager
def borrowed(net: Network) -> Iterator[Simulator]:
    """A simulator for the length of a call, kept by the network between calls; nobody else has it meanwhile."""
    net.ready()
    idle: list[Simulator] = net.made("simulators", list)
    try:
        found = idle.pop()
        found.net = net
    except IndexError:
        found = simulator(net)
    try:
        yield found
    finally:
        found.net = None
        if len(idle) < IDLE:
            idle.append(found)


def as_input(net: Network, x: Any) -> np.ndarray:
    """External input as (T, B, channels) in the network's type.

    Raises
    ------
    ValueError
        If the shape or the names do not fit the network's inputs, or a value is not finite.
    """
    arguments.network("input", net)
    sizes = {name: i.size for name, i in net.inputs.items()}
    if isinstance(x, Mapping):
        if set(x) != set(sizes):
            raise ValueError(f"x names the inputs {sorted(x)}, the network has {sorted(sizes)}")
        parts = [arguments.numbers("input", f"x[{name!r}]", x[name]) for name in sizes]
        for name, part in zip(sizes, parts, strict=True):
            if part.ndim != 3 or part.shape[2] != sizes[name] or part.shape[:2] != parts[0].shape[:2]:
                raise ValueError(f"x[{name!r}] must have shape (T, B, {sizes[name]}) with equal T and B, got {part.shape}")
        x = np.concatenate(parts, axis=2)
    x = arguments.numbers("input", "x", x)
    total = sum(sizes.values())
    if x.ndim == 2 and x.shape[1] == total:
        x = x[:, None]
    if x.ndim != 3 or x.shape[2] != total or not x.shape[0] or not x.shape[1]:
        raise ValueError(f"x must have shape (T, B, {total}) or (T, {total}) for inputs {sizes}, got {x.shape}")
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(x, dtype=net.dtype)
    if not finite(found):
        t, lane, channel = np.argwhere(~np.isfinite(found))[0]
        why = f"{x[t, lane, channel]:g} there; numbers of {net.dtype} are meant"
        raise ValueError(f"x is not finite at step {t}, lane {lane}, channel {channel} ({why})")
    return found


def silence(net: Network, steps: int | None, batch: int) -> np.ndarray:
    """Nothing, for so many steps, to a network without inputs."""
    if net.inputs:
        raise ValueError(
            f"simulate: x is None; legal: (T, B, channels) for the inputs {list(net.inputs)} (steps= alone: no input)"
        )
    steps = arguments.whole("simulate", "steps", steps)
    return np.zeros((steps, arguments.whole("simulate", "batch", batch), 0), net.dtype)


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
        Continue from ``run.state`` of an earlier run of this network, which stays as it is; the steps of the new run count on.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If the input does not fit, or recording everything would take more than 1 GiB.
    SimulationDiverged
        If a state, message or readout stops being finite, naming population, unit, lane and step.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 8).connect("x", "h").connect("h", "h")
    >>> run = srl.simulate(net.add_readout("z", "h", 2).initialize(0), np.ones((20, 3, 2)))
    >>> run.z.shape, run.states["h"]["c"].shape, 0 < run.activity < 1
    ((20, 3, 2), (20, 3, 8), True)
    """
    arguments.network("simulate", net)
    x = silence(net, steps, batch) if x is None else as_input(net, x)
    if steps is not None and steps != len(x):
        raise ValueError(f"simulate: steps is {steps}, x has {len(x)}; leave steps out where x is given")
    record = Record() if record is None else record
    if not isinstance(record, Record):
        raise arguments.refuse("simulate", "record", record, "a Record")
    with borrowed(net) as machine, one_pool(), np.errstate(over="ignore", invalid="ignore"):  # looked for and said
        state = machine.start(x.shape[1]) if state is None else continued(state, machine, x.shape[1])
        recorder = Recorder(net, record, len(x), x.shape[1], state.time)
        for part in pieces(len(x), PIECE):
            tape = machine.run(state, x[part], linearise=False)
            recorder.keep(machine, tape, part)
    return recorder.finish(state)


def continued(state: SimState, machine: Simulator, batch: int) -> SimState:
    """A copy of a state that was given to go on from, if it fits."""
    if not isinstance(state, SimState):
        raise ValueError(f"state is a {type(state).__name__}; legal: run.state of an earlier run of this network")
    if state.batch != batch:
        raise ValueError(f"x has {batch} lanes, the state that it continues has {state.batch}")
    names = ("populations (name, states, size)", "channels", "longest delay", "readouts' decays", "dtype")
    for name, theirs, mine in zip(names, state.kind, machine.plan.kind, strict=True):
        if theirs != mine:
            raise ValueError(f"the state belongs to another network: {name} {theirs} there, {mine} here")
    return state.copy()
