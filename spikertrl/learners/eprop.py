"""e-prop: eligibility traces of each unit's own path, with a learning signal broadcast from the readouts.

Source: Bellec et al. 2020, Nature Communications 11:3625 (equations 3, 4 and the three kinds of feedback).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import arguments
from ..network.wiring import Wiring
from ..tape import Tape
from .base import Length, Plan, Signal
from .engines.divide import Columns
from .engines.local.update import LocalState, init_local, local_bytes, local_plan, update_local
from .readout import readout_weights

if TYPE_CHECKING:
    from ..network.network import Network

FEEDBACK = ("symmetric", "random", "adaptive")


@dataclass
class EPropState:
    """Rows of each unit (``traces``), the broadcast weights and the readouts' last ones.

    ``feedback`` (O, N): None when symmetric.
    """

    traces: LocalState
    feedback: np.ndarray | None
    weights: np.ndarray | None = None

    @property
    def wiring(self) -> Wiring:
        """Of the network."""
        return self.traces.wiring

    @property
    def batch(self) -> int:
        """Lanes."""
        return self.traces.batch

    @property
    def counts(self) -> np.ndarray:
        """Multiply-adds done: propagation, immediate terms, messages, readout."""
        return self.traces.counts

    @property
    def lane_steps(self) -> int:
        """Steps learned from, times lanes."""
        return self.traces.lane_steps

    def bytes_held(self) -> int:
        """Bytes of the traces."""
        return self.traces.bytes_held()

    def influence(self, lane: int = 0, of: str = "state") -> np.ndarray:
        """One lane's traces as a dense matrix, see ``cost.influence``."""
        return self.traces.influence(lane, of)


@dataclass(frozen=True)
class EProp(Columns):
    """e-prop: the gradient with everything that crosses between units through synapses left out.

    Parameters
    ----------
    feedback : {"symmetric", "random", "adaptive"}
        The learning signal reaches units through the readout weights, through fixed random weights ~ N(0, 1), or through
        random ones that follow every change of the readout weights.
    seed : int
        Of the random weights.

    With symmetric feedback the result equals autodiff with the gradient stopped on messages between units (own reset kept; use
    the population option ``reset_gradient=False`` for the other convention).

    Raises
    ------
    ValueError
        For an unknown kind of feedback.
    """

    feedback: str = "symmetric"
    seed: int = 0
    order = 1  # a unit keeps its own rows
    claim = "approximate"

    def __post_init__(self) -> None:
        arguments.choice("EProp", "feedback", self.feedback, FEEDBACK)
        arguments.seed("EProp", self.seed)

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
        return advance(state, tape, signal, adaptive=self.feedback == "adaptive")


def start(net: Network, batch: int, feedback: str, seed: int, name: str) -> EPropState:
    """Traces, all zero, and the feedback weights; ``name`` of the learner, for what is said where memory is short."""
    w = net.wiring
    traces = init_local(w, batch, name)
    if feedback == "symmetric":
        return EPropState(traces, None)
    drawn = np.random.default_rng(seed).standard_normal(w.out_theta.shape)
    return EPropState(traces, np.where(w.out_theta >= 0, drawn, 0.0).astype(w.dtype))


def held(net: Network, batch: int, feedback: str) -> int:
    """Bytes that ``start`` takes for traces and feedback weights."""
    w = net.wiring
    return local_bytes(w, batch) + (feedback != "symmetric") * w.out_theta.size * w.dtype.itemsize


def advance(state: EPropState, tape: Tape, signal: Signal, *, adaptive: bool, alone: bool = False) -> np.ndarray:
    """Advance the traces over the tape; return the gradient. ``alone``: each state remembers itself only (RFLO)."""
    if adaptive and state.feedback is not None:
        now = readout_weights(state.traces.wiring, tape.theta)
        if state.weights is not None:
            state.feedback += now - state.weights
        state.weights = now
    return update_local(state.traces, tape, signal, synaptic=False, feedback=state.feedback, alone=alone)
