"""RFLO: random-feedback local online learning, traces that only leak.

Source: Murray 2019, eLife 8:e43299. There a rate unit's trace of a synapse leaks with the unit and nothing passes between
units: e' = (1 - 1/tau) e + (1/tau) phi'(u) y. In general: each state remembers itself alone, the diagonal of the unit's own
Jacobian A. `EProp` differs where units have several states that act on each other (adaptation, synaptic currents).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..tape import Tape
from ..wiring import Wiring
from .base import Signal
from .eprop import EProp, EPropState

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True)
class RFLO:
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
    claim = "approximate"

    def __post_init__(self) -> None:
        self._inner()

    def _inner(self) -> EProp:
        return EProp(self.feedback, self.seed)

    def init(self, net: Network, batch: int) -> EPropState:
        """Traces, all zero, and the feedback weights."""
        return self._inner().init(net, batch)

    def update(self, state: EPropState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance the traces over the tape; return the gradient, flat like theta."""
        w = state.traces.wiring
        if w.max_states > 1:
            tape = replace(tape, A=tape.A * _diagonal(w, tape.batch))
        return self._inner().update(state, tape, signal)


@functools.lru_cache(maxsize=16)
def _diagonal(w: Wiring, batch: int) -> np.ndarray:
    """1 where the flat A of a tape holds d(state)/d(same state), else 0."""
    found = np.zeros(int((w.S**2).sum()) * batch, w.dtype)
    for s in range(w.max_states):
        k = np.flatnonzero(w.S > s)
        offset = np.arange(batch)[:, None] * w.S[k] ** 2 + s * (w.S[k] + 1)
        found[w.start_A[k] * batch + offset * w.size[k] + w.local[k]] = 1
    return found
