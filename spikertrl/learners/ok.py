"""OK: the optimal Kronecker-sum approximation, unbiased, of least variance among sums of r Kronecker products.

The influence of each group (as in ``kf_rtrl``) is kept as G(t) ~ sum_{i <= r} u_i (x) A_i. A step turns it into r + 1 terms,
(u_i, own A_i + sum_d J_d E_d) and (x, D), which are reduced to r again: their sum's large singular values are kept, the small
ones are mixed with random signs (``ok_kernel``). Source: Benzing, Gauy, Mujika, Martinsson and Steger 2019, arXiv 1902.03993.
Rows in flight and rows of leaky readouts take part in every mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import arguments
from ..tape import Tape
from .base import Length, Plan, Signal
from .engines.kronecker import update as kronecker
from .engines.kronecker.kernel import OPTIMAL

if TYPE_CHECKING:
    from ..network.network import Network


@dataclass(frozen=True)
class OK:
    """Unbiased sum of ``rank`` Kronecker products with the least variance; ``seed`` fixes all signs.

    Raises
    ------
    ValueError
        If rank < 1.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.rhn, 6)
    >>> net = net.connect("x", "h").connect("h", "h").add_readout("z", "h", 1).initialize(0)
    >>> x, loss = np.random.default_rng(0).normal(size=(12, 1, 2)), srl.losses.squared_error(np.ones((12, 1, 1)))
    >>> table = srl.compare(net, [srl.RTRL(), OK(1), OK(12)], x, loss)
    >>> cosines = [table.cosine[name]["h<-h"] for name in ("OK(rank=1, seed=0)", "OK(rank=12, seed=0)")]
    >>> cosines[0] < 1 - 1e-3, abs(cosines[1] - 1) < 1e-9  # twelve steps need twelve terms
    (True, True)
    """

    rank: int = 8
    seed: int = 0
    claim = "unbiased"

    def __post_init__(self) -> None:
        arguments.whole("OK", "rank", self.rank)
        arguments.seed("OK", self.seed)

    def init(self, net: Network, batch: int) -> kronecker.KroneckerState:
        """All zero."""
        return kronecker.init(net.wiring, batch, self.rank, self.seed)

    def plan(self, net: Network, length: Length) -> Plan:
        """How it would be computed, see ``explain``."""
        w = net.wiring
        macs = self.rank * (len(w.pair_pre) + w.n_states) * int(w.G.sum())
        return Plan("Kronecker factors", "rank times synapses times ports of all units", float(macs), by_density=True)

    def update(self, state: kronecker.KroneckerState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance the factors over the tape; return the gradient, flat like theta."""
        return kronecker.update(state, tape, signal, OPTIMAL)
