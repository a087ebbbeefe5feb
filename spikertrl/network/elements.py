"""The parts of a network as plain records: inputs, populations, projections, readouts."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..compile.cell import Cell, compile_model
from ..model import Model

DELAY = "delay"  # how the delays of a projection are called among its parameters, where they are learned


class NetworkError(ValueError):
    """A network that cannot be built as asked."""


@dataclass
class Input:
    """A group of external channels; ``kind`` "event" (mostly silent) or "analog" (dense)."""

    name: str
    size: int
    kind: str
    start: int


@dataclass
class Population:
    """Units of one model. ``parameters``: name -> (size,) values in SI base units, or a callable ``(rng, size) -> values``."""

    name: str
    cell: Cell
    size: int
    start: int
    parameters: dict[str, Any]
    bias: Any = 0.0
    initial: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        return self.cell.model

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: compiled code is not copied, but taken from the cache again."""
        return {**self.__dict__, "cell": (self.cell.model, self.cell.dtype)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, cell=compile_model(*state["cell"]))


@dataclass
class Projection:
    """Synapses from one source to one population, the same mask on every port.

    ``indptr``, ``indices``: the mask in CSR form (post, pre), sorted, or None when all-to-all. ``delay``: steps, an int or one
    per synapse in CSR order. ``weight``: what ``connect`` was given. ``trained``: ports whose weights are learned (None: all).
    ``bounds``: the least and the longest delay where delays are learned; ``delay`` is then what they begin with, real numbers
    or a callable ``(rng, shape) -> values``.
    """

    name: str
    source: str
    target: str
    ports: tuple[str, ...]
    shape: tuple[int, int]
    indptr: np.ndarray | None
    indices: np.ndarray | None
    delay: Any
    weight: Any
    trained: tuple[str, ...] | None = None
    changing: bool = False  # the mask changes while the network learns, see ``remask``
    bounds: tuple[int, int] | None = None

    @property
    def trained_ports(self) -> tuple[str, ...]:
        """Ports whose weights are learned: ``trained``, or all of them when it is None."""
        return self.ports if self.trained is None else self.trained

    @property
    def is_dense(self) -> bool:
        return self.indptr is None

    @property
    def n_synapses(self) -> int:
        """Synapses per port."""
        return self.shape[0] * self.shape[1] if self.indices is None else len(self.indices)

    @property
    def span(self) -> tuple[int, int]:
        """The least and the longest delay, in steps; where delays are learned, those that they may become."""
        return self.bounds or ((int(np.min(self.delay)), int(np.max(self.delay))) if np.size(self.delay) else (0, 0))

    @property
    def reads(self) -> int:
        """How many delays a synapse has columns for: one, or each that it may learn."""
        return 1 if self.bounds is None else self.bounds[1] - self.bounds[0] + 1

    @property
    def waits(self) -> str:
        """The delay as text, one number or the range; nothing where there is none."""
        low, high = self.span
        return ("" if high == 0 else str(low) if low == high else f"{low}-{high}") + " learned" * (self.bounds is not None)

    def __str__(self) -> str:
        size = "dense" if self.is_dense else f"{self.n_synapses}/{self.shape[0] * self.shape[1]}"
        frozen = "" if self.trained is None else ", fixed" if not self.trained else f", trained {'+'.join(self.trained)}"
        return f"{self.name} {len(self.ports)} ports {size}" + (f", delay {self.waits}" if self.waits else "") + frozen


@dataclass
class Readout:
    """Leaky linear readout z(t) = decay z(t-1) + W y(t) + b of one population."""

    name: str
    source: str
    size: int
    decay: float
    weight: Any
    start: int
    trained: bool = True


class Elements(NamedTuple):
    """A network as records: all that its wiring is made from."""

    dtype: str
    inputs: dict[str, Input]
    populations: dict[str, Population]
    projections: list[Projection]
    readouts: list[Readout]


def whole_size(name: str, size: int) -> int:
    """``size`` as an int, or a NetworkError."""
    if isinstance(size, bool) or not isinstance(size, numbers.Integral) or size < 1:
        raise NetworkError(f"{name!r}: size must be a positive integer, got {size!r}")
    return int(size)
