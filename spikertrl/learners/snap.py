"""SnAp-n: the influence of exact RTRL with fewer rows. Source: Menick et al. 2021, arXiv 2006.07232."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import arguments
from ..tape import Tape
from .base import Length, Plan, Signal
from .engines.blocks.state import kept_bytes, plan
from .engines.choose import checked
from .engines.divide import Columns
from .engines.influence import Influence, init_influence, update_blocks
from .engines.local.layout import is_local
from .engines.local.update import LocalState, init_local, local_plan, update_local

if TYPE_CHECKING:
    from ..network.network import Network


@dataclass(frozen=True)
class SnAp(Columns):
    """SnAp-n (Menick et al. 2021): keep the rows of units at most n-1 connections away. Exact once n covers the graph.

    ``route``: as of ``RTRL``. Most routes need the full reach, and refuse to serve where rows are left out.
    """

    order: int = 1
    route: str | None = None
    claim = "approximate"

    def __post_init__(self) -> None:
        checked(self.route, "SnAp")
        arguments.whole("SnAp", "order", self.order)

    def __repr__(self) -> str:
        return f"SnAp(order={self.order}{f', route={self.route!r}' if self.route else ''})"

    def init(self, net: Network, batch: int) -> Influence | LocalState:
        """Allocate the kept part of the influence, all zero."""
        if self.order == 1 and self.route is None and is_local(net.wiring):
            return init_local(net.wiring, batch, str(self))
        return init_influence(net.wiring, batch, self.order - 1, self.route)

    def nbytes(self, net: Network, batch: int) -> int:
        """Bytes of the part that is kept."""
        return kept_bytes(net.wiring, batch, self.order - 1, self.route)

    def plan(self, net: Network, length: Length) -> Plan:
        """How it would be computed, see ``explain``."""
        local = self.order == 1 and self.route is None and is_local(net.wiring)
        return local_plan(net.wiring) if local else plan(net.wiring, self.order - 1, length, self.route)

    def update(self, state: Influence | LocalState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance over the tape; return the gradient, flat like theta."""
        if isinstance(state, LocalState):
            return update_local(state, tape, signal)
        return update_blocks(state, tape, signal, route=self.route)
