"""BPTT: backpropagation through time over the tapes (see ``adjoint``), full or truncated, and its one-step limit, Immediate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .. import arguments
from ..network.wiring import Wiring
from ..tape import LINEAR, Tape
from .base import Length, Plan, Signal
from .engines.adjoint.adjoint import Adjoint, into_inputs, into_parameters
from .readout import add_readout_gradient, readout_weights, signal_through_decay

if TYPE_CHECKING:
    from ..network.network import Network


TOGETHER = 4096  # steps and lanes of short tapes whose weights' gradients are one product of matrices


@dataclass
class TapeState:
    """Copies of the tapes that a later loss may still reach, oldest first."""

    wiring: Wiring
    batch: int
    tapes: list[Tape] = field(default_factory=list)
    counts = None  # not counted
    lane_steps = None

    def bytes_held(self) -> int:
        """Bytes of the tapes that are kept."""
        return sum(getattr(tape, name).nbytes for tape in self.tapes for name in ("messages", *LINEAR))


@dataclass(frozen=True)
class BPTT:
    """Backpropagation through time.

    Parameters
    ----------
    truncate : int, optional
        None (full): exact, memory grows with the sequence. k: a loss reaches back k steps, its own included.
    stride : int
        With ``truncate``: the losses of ``stride`` consecutive steps share one backward pass that reaches k steps back from the
        last of them (BPTT(h; h') of Williams and Peng 1990). 1: every loss reaches exactly k steps; k: the usual chunks.

    Raises
    ------
    ValueError
        If truncate < 1 or stride is not in 1..truncate.
    """

    truncate: int | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        most = None if self.truncate is None else arguments.whole("BPTT", "truncate", self.truncate)
        arguments.whole("BPTT", "stride", self.stride, 1, most)

    @property
    def claim(self) -> str:
        return "exact" if self.truncate is None else "truncated"

    def init(self, net: Network, batch: int) -> TapeState:
        """No tape yet."""
        return TapeState(net.wiring, batch)

    def plan(self, net: Network, length: Length) -> Plan:
        """How it would be computed, see ``explain``."""
        w = net.wiring
        macs = float(len(w.syn_theta) + w.n_recurrent) * (1 if self.truncate is None else self.truncate / self.stride)
        why = "back through the tapes: synapses between units + P, times truncate / stride"
        return Plan("adjoint", why, macs, by_density=True)

    def update(self, state: TapeState, tape: Tape, signal: Signal) -> np.ndarray:
        """Send the signal back through this tape and the kept ones; return the gradient, flat like theta."""
        w = state.wiring
        if tape.reset.all():
            state.tapes.clear()
        gradient = np.zeros(w.n_parameters, w.dtype)
        for steps, reach in self._groups(tape):
            _backward(w, [*state.tapes, tape], _masked(tape, signal, steps), reach, gradient)
        add_readout_gradient(w, tape, signal, gradient)
        if signal.last:
            state.tapes.clear()
        else:
            self._keep(state, tape)
        return gradient

    def _groups(self, tape: Tape) -> list[tuple[slice, int | None]]:
        """Steps of the tape whose losses go back together, and the first step (absolute) that they reach."""
        if self.truncate is None:
            return [(slice(0, tape.tau), None)]
        edges = range(tape.start - tape.start % self.stride, tape.start + tape.tau, self.stride)
        return [
            (slice(max(edge - tape.start, 0), edge + self.stride - tape.start), edge + self.stride - self.truncate)
            for edge in edges
        ]

    def _keep(self, state: TapeState, tape: Tape) -> None:
        if self.truncate == 1:
            return
        state.tapes.append(tape.copy())
        if self.truncate is not None:
            while state.tapes and state.tapes[0].start + state.tapes[0].tau <= tape.start + tape.tau - self.truncate:
                state.tapes.pop(0)


@dataclass(frozen=True)
class Immediate:
    """Only the gradient of the present step, through nothing recurrent: the baseline that every figure must show."""

    claim = "approximate"

    def init(self, net: Network, batch: int) -> TapeState:
        """Nothing to keep."""
        return TapeState(net.wiring, batch)

    def plan(self, net: Network, length: Length) -> Plan:
        """How it would be computed, see ``explain``."""
        return Plan("one step", "immediate terms alone: P multiply-adds", float(net.wiring.n_recurrent))

    def update(self, state: TapeState, tape: Tape, signal: Signal) -> np.ndarray:
        """Gradient of every step's loss with respect to this step's parameters alone."""
        return BPTT(truncate=1).update(state, tape, signal)


def with_inputs(w: Wiring, tape: Tape, signal: Signal) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of a signal with respect to the parameters, flat like theta, and to the input, (tau, B, channels).

    It goes back through this tape alone: what was said before it, or arrives after it, has no part.
    """
    gradient, adjoint = np.zeros(w.n_parameters, w.dtype), Adjoint(w, tape.batch)
    _, direct = signal_through_decay(w, signal, readout_weights(w, tape.theta))
    gamma = adjoint.back(tape, direct, 0)
    into_parameters(w, [(tape, gamma, 0)], gradient)
    adjoint.own_parameters(gradient)
    add_readout_gradient(w, tape, signal, gradient)
    return gradient, into_inputs(w, tape, gamma)


def _masked(tape: Tape, signal: Signal, steps: slice) -> Signal:
    """The signal of some steps only, up to the last of them."""
    if steps.start == 0 and steps.stop >= tape.tau:
        return signal
    end = min(steps.stop, tape.tau)

    def cut(array: np.ndarray | None) -> np.ndarray | None:
        if array is None:
            return None
        kept = array[:end].copy()
        kept[: steps.start] = 0
        return kept

    return Signal(signal.value, cut(signal.dz), cut(signal.dy))  # type: ignore[arg-type]


def _backward(w: Wiring, tapes: list[Tape], signal: Signal, reach: int | None, gradient: np.ndarray) -> None:
    """One backward pass of ``signal`` (of the last tape's first len(dz) steps) down to absolute step ``reach``."""
    batch = tapes[-1].batch
    adjoint, zbar = Adjoint(w, batch), np.zeros((batch, w.n_outputs), w.dtype)
    decay, end = w.decay.astype(w.dtype), len(signal.dz)
    parts, rows = [], 0
    for index in range(len(tapes) - 1, -1, -1):
        tape = tapes[index]
        first = 0 if reach is None else max(reach - tape.start, 0)
        if first >= end:
            break
        told = np.zeros((end, batch, w.n_outputs), w.dtype)
        if index == len(tapes) - 1:
            told[:] = signal.dz
        for t in range(end - 1, -1, -1) if decay.any() else ():
            zbar = told[t] = decay * zbar + told[t]
        direct = told @ readout_weights(w, tape.theta)
        if index == len(tapes) - 1 and signal.dy is not None:
            direct += signal.dy
        parts.append((tape, adjoint.back(tape, direct, first), first))
        rows += (end - first) * batch
        if rows > TOGETHER:
            into_parameters(w, parts, gradient)
            parts, rows = [], 0
        adjoint.forget(tape.reset)
        zbar[tape.reset] = 0
        if tape.reset.all():
            break
        end = tapes[index - 1].tau if index else 0
    if parts:
        into_parameters(w, parts, gradient)
    adjoint.own_parameters(gradient)
