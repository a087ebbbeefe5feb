"""e-prop: eligibility traces of each unit's own path, with a learning signal broadcast from the readouts.

Source: Bellec et al. 2020, Nature Communications 11:3625 (equations 3, 4 and the three kinds of feedback).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..tape import Tape
from .base import Signal, readout_weights
from .blocks import BlockState, init_blocks, update_blocks

if TYPE_CHECKING:
    from ..network import Network

FEEDBACK = ("symmetric", "random", "adaptive")


@dataclass
class EPropState:
    """One row block per unit (``traces``), the broadcast weights and the readouts' last ones.

    ``feedback`` (O, N): None when symmetric.
    """

    traces: BlockState
    feedback: np.ndarray | None
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class EProp:
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
    claim = "approximate"

    def __post_init__(self) -> None:
        if self.feedback not in FEEDBACK:
            raise ValueError(f"EProp: feedback must be one of {FEEDBACK}, got {self.feedback!r}")

    def init(self, net: Network, batch: int) -> EPropState:
        """Traces, all zero, and the feedback weights."""
        w = net.wiring
        if self.feedback == "symmetric":
            return EPropState(init_blocks(w, batch, 0), None)
        drawn = np.random.default_rng(self.seed).standard_normal(w.out_theta.shape)
        return EPropState(init_blocks(w, batch, 0), np.where(w.out_theta >= 0, drawn, 0.0).astype(w.dtype))

    def update(self, state: EPropState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance the traces over the tape; return the gradient, flat like theta."""
        if self.feedback == "adaptive" and state.feedback is not None:
            now = readout_weights(state.traces.wiring, tape.theta)
            if state.weights is not None:
                state.feedback += now - state.weights
            state.weights = now
        return update_blocks(state.traces, tape, signal, synaptic=False, feedback=state.feedback)
