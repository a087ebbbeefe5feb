"""KF-RTRL: an unbiased Kronecker-factored estimate of the influence.

For every group of ports that hear the same sources, G(t) ~ u(t) (x) A(t) with u over the sources and A (states x columns), a
column being one (unit, port) of the group::

    u' = c1 p1 u + c2 p2 x,     A' = (c1 / p1) (own A + sum_d J_d E_d) + (c2 / p2) D,     c1, c2 random signs,
    p1 = sqrt(|own A + ...| / |u|),  p2 = sqrt(|D| / |x|)

where x are the sources' messages and D = dF/dI. Source: Mujika, Meier and Steger 2018, arXiv 1805.10842 (equations 5 to 8). A
plain RNN or an RHN is one group, as in the paper; a reset-after GRU is three. Beyond the paper: rows in flight (delays) and
rows of leaky readouts are rescaled by the same signs and norms at every step; masks keep the entries that exist; trainable
unit parameters, whose source is the constant 1, need no estimate and are carried exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..tape import Tape
from .base import Length, Plan, Signal
from .engines.kronecker import update as kronecker
from .engines.kronecker.kernel import SIGNED
from .signs import Sampled

if TYPE_CHECKING:
    from ..network.network import Network


@dataclass(frozen=True)
class KFRTRL(Sampled):
    """Unbiased Kronecker-factored RTRL; ``samples`` independent estimates are averaged. ``seed`` fixes all signs.

    Raises
    ------
    ValueError
        If samples < 1.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.rhn, 6)
    >>> net = net.connect("x", "h").connect("h", "h").add_readout("z", "h", 1).initialize(0)
    >>> x, loss = np.random.default_rng(0).normal(size=(12, 1, 2)), srl.losses.squared_error(np.ones((12, 1, 1)))
    >>> table = srl.compare(net, [srl.RTRL(), KFRTRL(samples=400)], x, loss)
    >>> table.cosine["KFRTRL(samples=400, seed=0)"]["h<-h"] > 0.95
    True
    """

    def init(self, net: Network, batch: int) -> kronecker.KroneckerState:
        """All zero."""
        return kronecker.init(net.wiring, batch, self.samples, self.seed)

    def plan(self, net: Network, length: Length) -> Plan:
        """How it would be computed, see ``explain``."""
        w = net.wiring
        macs = self.samples * (len(w.pair_pre) + w.n_states) * int(w.G.sum())
        return Plan("Kronecker factors", "samples times synapses times ports of all units", float(macs), by_density=True)

    def update(self, state: kronecker.KroneckerState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance the factors over the tape; return the gradient, flat like theta."""
        return kronecker.update(state, tape, signal, SIGNED)
