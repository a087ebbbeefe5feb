"""RTRL: exact real-time recurrent learning, sparse (``engines/choose`` says how) or as the textbook matrix.

Where no unit reaches another one the influence is the units' own rows, and costs as much as there are parameters.

Sources: Williams and Zipser 1989 (RTRL); Subramoney 2023, arXiv 2303.05641 (activity and parameter sparsity); Schmidhuber 1992,
Neural Computation 4:243 (several steps together, the route "products"); Sun, Chen and Lee 1991, NIPS 4:333 (whole sequences,
the route "transitions").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import arguments
from ..tape import Tape
from . import textbook
from .base import Length, Plan, Signal
from .engines.blocks.state import kept_bytes, plan
from .engines.choose import checked, forced
from .engines.divide import Columns
from .engines.influence import Influence, init_influence, update_blocks
from .engines.local.layout import alone
from .engines.local.update import LocalState, init_local, local_bytes, local_plan, update_local

if TYPE_CHECKING:
    from ..network.network import Network


@dataclass(frozen=True)
class RTRL(Columns):
    """Exact RTRL, by the fastest of several routes, or by one that is asked for.

    Parameters
    ----------
    dense : bool
        The textbook matrix without any skip, for reference and small networks.
    route : str, optional
        "transitions", "deferred", "products", "events", "dense rows", "rows" or "general rows" (see ``engines/choose``), for
        tests and measurements. The default lets the library choose for every tape; ``srl.explain`` tells what it would choose.

    Raises
    ------
    ValueError
        If there is no such route, or, when learning, if it cannot serve the network or the tape.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 6)
    >>> net = net.connect("x", "h").connect("h", "h").add_readout("z", "h", 1).initialize(3)
    >>> x = np.random.default_rng(0).normal(size=(12, 4, 2))
    >>> loss = srl.losses.squared_error(np.ones((12, 4, 1)))
    >>> _, sparse = srl.gradient(net, srl.RTRL(), x, loss)
    >>> _, textbook = srl.gradient(net, srl.RTRL(dense=True), x, loss)
    >>> bool(np.abs(sparse).max() > 0.01), bool(np.allclose(sparse, textbook, rtol=1e-10, atol=1e-14))
    (True, True)
    """

    dense: bool = False
    route: str | None = None
    claim = "exact"

    def __post_init__(self) -> None:
        arguments.flag("RTRL", "dense", self.dense)
        checked(self.route, "RTRL")
        if self.dense and self.route:
            raise ValueError(
                f"RTRL: dense=True is the textbook matrix, it has no route; got route={self.route!r}; give one of them"
            )

    def __repr__(self) -> str:
        route = f", route={self.route!r}" if self.route else ""
        return f"RTRL(dense={self.dense}{route})"

    def _own_rows(self, net: Network) -> bool:
        """Units that reach themselves alone: the influence is their own rows, which cost as much as there are parameters."""
        return not self.dense and self.route is None and forced() is None and alone(net.wiring)

    def init(self, net: Network, batch: int) -> Influence | LocalState | textbook.DenseState:
        """Allocate the influence for ``batch`` lanes, all zero."""
        if self._own_rows(net):
            return init_local(net.wiring, batch, "exact RTRL")
        return textbook.init(net.wiring, batch) if self.dense else init_influence(net.wiring, batch, None, self.route)

    def nbytes(self, net: Network, batch: int) -> int:
        """Bytes of the influence."""
        if self._own_rows(net):
            return local_bytes(net.wiring, batch)
        return textbook.nbytes(net.wiring, batch) if self.dense else kept_bytes(net.wiring, batch, None, self.route)

    def plan(self, net: Network, length: Length) -> Plan:
        """How it would be computed, see ``explain``."""
        w = net.wiring
        if self.dense:
            return Plan("textbook matrix", "asked for: n^2 P", float((w.n_states + 1) * w.n_states * w.n_recurrent))
        return local_plan(w) if self._own_rows(net) else plan(w, None, length, self.route)

    def update(self, state: Influence | LocalState | textbook.DenseState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance the influence over the tape; return the gradient, flat like theta."""
        if isinstance(state, textbook.DenseState):
            return textbook.update(state, tape, signal)
        if isinstance(state, LocalState):
            return update_local(state, tape, signal)
        return update_blocks(state, tape, signal, route=self.route)
