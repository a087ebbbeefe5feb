"""The contract of a learner, and what every learner shares: the signal, and the readout's own gradient.

A learner is a frozen dataclass of settings with two methods:

* ``init(net, batch) -> state``: allocate everything; the state holds arrays and numbers only (plus references to the wiring);
* ``update(state, tape, signal) -> gradient``: advance the state **in place** over the tape's steps and return the gradient
  of the signal's loss share with respect to theta, flat and summed over lanes.

A learner sees the tape and the wiring, never a cell. Every other function is pure.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from ..arguments import refuse
from ..tape import Tape

if TYPE_CHECKING:
    from ..network.network import Network


@dataclass
class Signal:
    """What the loss says about a piece: its ``value``, dL/dz (tau, B, O) and dL/dy (tau, B, N) or None when zero.

    ``last``: nothing follows, every lane begins anew after this piece; a learner need not bring its state up to date.
    """

    value: float
    dz: np.ndarray
    dy: np.ndarray | None = None
    last: bool = False


@runtime_checkable
class Learner(Protocol):
    """Anything with ``init`` and ``update``; ``claim`` is "exact", "truncated", "unbiased" or "approximate"."""

    @property
    def claim(self) -> str:
        """How the gradient relates to the true one."""
        ...

    def init(self, net: Network, batch: int) -> Any:
        """Allocate the state for ``batch`` lanes."""
        ...

    def update(self, state: Any, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance ``state`` in place; return the gradient, flat like theta."""
        ...


spread: ContextVar[Callable[[Learner, int | None], Learner] | None] = ContextVar("spikertrl_spread", default=None)
"""What becomes of learners (and the lanes that ``fit`` has to share out) where several ranks run one program."""
LEARN = ("fit", "gradient", "compare", "Online")  # what shares them out


def learner_of(where: str, value: Any, lanes: int | None = None) -> Learner:
    """A learner as it may be given: one, or a class that can do without settings, such as ``srl.RTRL``.

    Raises
    ------
    ValueError
        For anything else.
    """
    if isinstance(value, type):
        try:
            value = value()
        except TypeError as error:
            raise ValueError(f"{where}: learner is the class {value.__name__}; call it with its settings ({error})") from None
    if not (callable(getattr(value, "init", None)) and callable(getattr(value, "update", None))):
        raise refuse(where, "learner", value, "srl.RTRL(), srl.SnAp(1), another of srl.learners, or one of your own")
    over = spread.get() if where in LEARN else None
    return value if over is None else over(value, lanes)


class Length(NamedTuple):
    """The tapes that a learner is asked about, see ``explain``."""

    batch: int
    tau: int | None  # steps of a tape; None: a whole sequence of ``steps``
    steps: int
    active: float  # share of gradient-active units

    def __str__(self) -> str:
        tapes = f"whole sequences of {self.steps} steps" if self.tau is None else f"tapes of {self.tau} steps"
        return f"{tapes}, batch {self.batch}, {self.active:.0%} of the units gradient-active"


class Plan(NamedTuple):
    """How a learner would be computed: what its optional method ``plan(net, length)`` returns."""

    route: str
    reason: str
    macs: float  # multiply-adds of a step and lane
    by_density: bool = False  # fewer synapses make it cheaper


@runtime_checkable
class State(Protocol):
    """What the shipped learners' states tell of themselves. One of your own may leave it out: it is then not counted.

    Two things only some have: ``influence(lane, of)``, the influence as a dense matrix (see ``cost.influence``); and, where a
    learner knows several ways, ``routes``, how often each one ran, ``route``, the last one, and ``choice``, why it was taken.
    """

    wiring: Any  # of the network
    lane_steps: Any  # steps learned from, times lanes

    @property
    def batch(self) -> int:
        """Lanes."""
        ...

    @property
    def counts(self) -> np.ndarray | None:
        """Multiply-adds done since ``init`` (propagation, immediate terms, messages, readout), None if they are not counted."""
        ...

    def bytes_held(self) -> int:
        """Bytes of what is carried forward, as far as it was touched."""
        ...


TOLD = ("wiring", "lane_steps", "batch", "counts", "bytes_held")  # what a state that is counted has: ``State``


def routes_of(state: Any) -> dict[str, int]:
    """How often each route ran in the updates of a learner's state; empty for learners that know one way only."""
    return dict(getattr(state, "routes", {}))
