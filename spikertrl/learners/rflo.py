"""RFLO: random-feedback local online learning, traces that only leak.

Source: Murray 2019, eLife 8:e43299. There a rate unit's trace of a synapse leaks with the unit and nothing passes between
units: e' = (1 - 1/tau) e + (1/tau) phi'(u) y. In general: each state remembers itself alone, the diagonal of the unit's own
Jacobian A. `EProp` differs where units have several states that act on each other (adaptation, synaptic currents).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import arguments
from ..tape import Tape
from .base import Length, Plan, Signal
from .engines.divide import Columns
from .engines.local.update import local_plan
from .eprop import FEEDBACK, EPropState, advance, held, start

if TYPE_CHECKING:
    from ..network.network import Network


@dataclass(frozen=True)
class RFLO(Columns):
    """Leak-only eligibility traces; ``feedback`` as in `EProp`, random weights as in the paper, or "symmetric", "adaptive".

    A reset that depends on the state itself is part of its leak; the population option ``reset_gradient=False`` takes it out.

    Raises
    ------
    ValueError
        For an unknown kind of feedback.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network().add_input("x", 2).add_population("h", srl.models.rnn, 8).connect("x", "h").connect("h", "h")
    >>> net = net.add_readout("z", "h", 1).initialize(0)
    >>> x, loss = np.ones((5, 1, 2)), srl.losses.squared_error(np.ones((5, 1, 1)))
    >>> grads = [srl.gradient(net, learner, x, loss)[1] for learner in (RFLO("symmetric"), srl.Immediate())]
    >>> bool(np.allclose(*grads))  # a unit without a leak remembers nothing
    True
    """

    feedback: str = "random"
    seed: int = 0
    order = 1  # a unit keeps its own rows
    claim = "approximate"

    def __post_init__(self) -> None:
        arguments.choice("RFLO", "feedback", self.feedback, FEEDBACK)
        arguments.seed("RFLO", self.seed)

    def init(self, net: Network, batch: int) -> EPropState:
        """Traces, all zero, and the feedback weights."""
        return start(net, batch, self.feedback, self.seed, str(self))

    def nbytes(self, net: Network, batch: int) -> int:
        """Bytes of the traces and of the feedback weights."""
        return held(net, batch, self.feedback)

    def plan(self, net: Network, length: Length) -> Plan:
        """How it would be computed, see ``explain``."""
        return local_plan(net.wiring)

    def update(self, state: EPropState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance the traces over the tape; return the gradient, flat like theta."""
        return advance(state, tape, signal, adaptive=self.feedback == "adaptive", alone=True)
