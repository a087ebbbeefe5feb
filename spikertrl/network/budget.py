"""How much memory learning will need, before any of it is taken."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..html import table
from ..resources import available, readable
from .wiring import Wiring


class Wired(Protocol):
    """A network, as far as its size is concerned."""

    @property
    def wiring(self) -> Wiring:
        """Its index arrays."""
        ...


class Learns(Protocol):
    """What is asked of a learner here; ``nbytes(net, batch)`` saves making the state, if it has that too."""

    def init(self, net: Any, batch: int) -> Any:
        """Allocate the state for ``batch`` lanes."""
        ...


@dataclass(frozen=True)
class Memory:
    """Bytes: ``influence`` (all that the learner carries forward), ``tape`` (one piece), ``parameters`` (theta, its gradient
    and two moments of an optimizer). An upper bound: columns of silent sources and rows of silent units are not resident.

    Of one process, or of the rank that needs most; ``per_rank``: the influence of every rank.
    """

    influence: int
    tape: int
    parameters: int
    available: int
    per_rank: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        return self.influence + self.tape + self.parameters

    @property
    def fits(self) -> bool:
        return self.total <= self.available

    def _repr_html_(self) -> str:
        names = ("influence", "tape", "parameters", "total", "available")
        return table("Memory", [(name, readable(getattr(self, name))) for name in names])

    def __str__(self) -> str:
        return (
            f"{readable(self.total)} (influence {readable(self.influence)}, tape {readable(self.tape)}, parameters "
            f"{readable(self.parameters)}); available {readable(self.available)}"
        )


def predict(net: Wired, learner: Learns, batch: int = 1, tau: int = 1, ranks: int | None = None) -> Memory:
    """See ``Network.memory``."""
    learner = learner() if isinstance(learner, type) else learner
    if ranks is not None and not hasattr(learner, "bytes_per_rank"):
        if batch < ranks:
            raise ValueError(f"memory: {learner!r} keeps no columns, and {batch} lanes are too few for {ranks} ranks")
        whole = predict(net, learner, -(-batch // ranks), tau)
        return dataclasses.replace(whole, per_rank=tuple(_of_lanes(net, learner, batch, ranks)))
    w, size = net.wiring, net.wiring.dtype.itemsize
    per_unit = w.S * w.S + w.S * w.G + w.S * w.Q + w.S + w.Q + w.G + 1  # A, B, P, o, q, I, y
    tape = (
        size * batch * (tau * (int(per_unit.sum()) + w.n_channels + 2 * w.n_outputs) + w.history * (w.n_channels + w.n_units))
    )
    each = [_influence(net, learner, batch)] if ranks is None else learner.bytes_per_rank(net, batch, ranks)  # type: ignore[attr-defined]
    return Memory(max(each), int(tape), 4 * size * w.n_parameters, available(), () if ranks is None else tuple(each))


def _influence(net: Wired, learner: Learns, batch: int) -> int:
    told = getattr(learner, "nbytes", None)
    return int(told(net, batch) if told else batch * _held(learner.init(net, 1), {id(net.wiring)}))


def _of_lanes(net: Wired, learner: Learns, batch: int, ranks: int) -> list[int]:
    """Of every rank's lanes."""
    lanes = [batch * (r + 1) // ranks - batch * r // ranks for r in range(ranks)]
    of = {n: _influence(net, learner, n) for n in set(lanes)}
    return [of[n] for n in lanes]


def _held(value: Any, seen: set[int]) -> int:
    """Bytes of all arrays in a state."""
    if id(value) in seen:
        return 0
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, dict):
        return sum(_held(v, seen) for v in value.values())
    if isinstance(value, list | tuple):
        return sum(_held(v, seen) for v in value)
    if dataclasses.is_dataclass(value):
        return sum(_held(getattr(value, f.name), seen) for f in dataclasses.fields(value))
    return 0
