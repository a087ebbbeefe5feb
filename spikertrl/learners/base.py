"""The contract of a learner, and what every learner shares: the signal, and the readout's own gradient.

A learner is a frozen dataclass of settings with two methods:

* ``init(net, batch) -> state``: allocate everything; the state holds arrays and numbers only (plus references to the wiring);
* ``update(state, tape, signal) -> gradient``: advance the state **in place** over the tape's steps and return the gradient
  of the signal's loss share with respect to theta, flat and summed over lanes.

A learner sees the tape and the wiring, never a cell. Every other function is pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

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
