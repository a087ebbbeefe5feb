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
from ..wiring import Wiring

if TYPE_CHECKING:
    from ..network import Network


@dataclass
class Signal:
    """What the loss says about a piece: its ``value``, dL/dz (tau, B, O) and dL/dy (tau, B, N) or None when zero."""

    value: float
    dz: np.ndarray
    dy: np.ndarray | None = None


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


@dataclass(frozen=True)
class Sampled:
    """Settings of an unbiased random estimate: ``samples`` independent ones are averaged, ``seed`` fixes all signs.

    Raises
    ------
    ValueError
        If samples < 1.
    """

    samples: int = 1
    seed: int = 0
    claim = "unbiased"

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"{type(self).__name__}: samples must be at least 1, got {self.samples}")


def signs(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Independent -1 or +1."""
    return (2 * rng.integers(0, 2, shape, dtype=np.int8) - 1).astype(dtype)


def readout_weights(wiring: Wiring, theta: np.ndarray) -> np.ndarray:
    """All readout weights as one matrix (O, N), zero where a readout does not read a unit."""
    return np.where(wiring.out_theta >= 0, theta[wiring.out_theta], theta.dtype.type(0))


def learning_signal(wiring: Wiring, signal: Signal, weights: np.ndarray) -> np.ndarray:
    """dL(t)/dy(t) (tau, B, N): direct terms, and ``weights.T`` dz of the readouts without decay (leaky ones keep rows)."""
    plain = wiring.decay == 0
    found = signal.dz[:, :, plain] @ weights[plain]
    return found if signal.dy is None else found + signal.dy


def through_decay(wiring: Wiring, dz: np.ndarray) -> np.ndarray:
    """Adjoint of the readouts' leak inside a piece: zbar(t) = dz(t) + decay * zbar(t+1), (tau, B, O)."""
    leaky = wiring.decay > 0
    if not leaky.any():
        return dz
    found = dz.copy()
    decay = wiring.decay[leaky].astype(dz.dtype)
    for t in range(len(dz) - 2, -1, -1):
        found[t, :, leaky] += decay[:, None] * found[t + 1, :, leaky]
    return found


def add_readout_gradient(wiring: Wiring, tape: Tape, signal: Signal, gradient: np.ndarray) -> None:
    """The readouts' own gradient, exact for every learner: dL/dz times the decayed trace of the messages."""
    if not len(wiring.decay):
        return
    zbar = through_decay(wiring, signal.dz)
    y = tape.units(wiring)
    weight = np.tensordot(zbar, y, ((0, 1), (0, 1)))  # (O, N)
    bias = zbar.sum((0, 1))
    for decay, trace in tape.traces.items():
        rows = np.flatnonzero(wiring.decay == decay)
        past = zbar[0][:, rows] * zbar.dtype.type(decay)  # (B, rows): what the piece owes to the traces before it
        weight[rows] += past.T @ trace
        bias[rows] += past.T @ tape.trace_one[decay]
    known = (wiring.out_theta >= 0) & wiring.out_trained[:, None]
    gradient[wiring.out_theta[known]] += weight[known]
    gradient[wiring.out_bias[wiring.out_trained]] += bias[wiring.out_trained]
