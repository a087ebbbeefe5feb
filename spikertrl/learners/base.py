"""The contract of a learner, and what every learner shares: the signal, and the readout's own gradient.

A learner is a frozen dataclass of settings with two methods:

* ``init(net, batch) -> state``: allocate everything; the state holds arrays and numbers only (plus references to the wiring);
* ``update(state, tape, signal) -> gradient``: advance the state **in place** over the tape's steps and return the gradient
  of the signal's loss share with respect to theta, flat and summed over lanes.

A learner sees the tape and the wiring, never a cell. Every other function is pure.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numba import njit

from ..network.wiring import Wiring
from ..tape import Tape

if TYPE_CHECKING:
    from ..network.network import Network


@dataclass
class Signal:
    """What the loss says about a piece: its ``value``, dL/dz (tau, B, O) and dL/dy (tau, B, N) or None when zero.

    ``last``: nothing follows, every lane begins anew after this piece; a learner need not bring its state up to date.
    """

    value: float
    dz: np.ndarray
    dy: np.ndarray | None = None
    last: bool = False


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
    return as_signs(coins(rng, shape), dtype)


def coins(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Independent 0 or 1, int8."""
    return rng.integers(0, 2, shape, dtype=np.int8)


def as_signs(coins: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """-1 for 0, +1 for 1."""
    found = coins.astype(dtype)
    found *= 2
    found -= 1
    return found


@njit(cache=True)
def add_outer(into: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """into (flat) += left (x) right."""
    m = len(right)
    for c in range(len(left)):
        add(into[c * m : c * m + m], left[c], right)


@njit(cache=True)
def add(into: np.ndarray, factor: float, vector: np.ndarray) -> None:
    """into += factor * vector."""
    for e in range(len(into)):
        into[e] += factor * vector[e]


@dataclass(frozen=True, eq=False)
class ReadoutBlock:
    """Consecutive outputs with one decay whose weights and biases lie in one piece of theta each."""

    rows: slice
    units: slice
    shape: tuple[int, int]
    weight: slice
    bias: slice
    trained: bool
    decay: float


@functools.lru_cache(maxsize=16)
def readout_blocks(w: Wiring) -> tuple[ReadoutBlock, ...]:
    """All readouts; an output reads consecutive units with consecutive weights."""
    found: list[ReadoutBlock] = []
    first, count = (w.out_theta >= 0).argmax(1), (w.out_theta >= 0).sum(1)
    for o, (j, n, decay, trained) in enumerate(zip(first, count, w.decay, w.out_trained, strict=True)):
        start, bias, row, last = int(w.out_theta[o, j]), int(w.out_bias[o]), o, found[-1] if found else None
        if last and (last.units.start, last.shape[1], last.decay, last.trained, last.weight.stop, last.bias.stop) == (
            j, n, decay, trained, start, bias
        ):  # fmt: skip
            row, start, bias = last.rows.start, last.weight.start, last.bias.start
            found.pop()
        shape, units = (o + 1 - row, int(n)), slice(int(j), int(j + n))
        pieces = slice(start, start + shape[0] * shape[1]), slice(bias, bias + shape[0])
        found.append(ReadoutBlock(slice(row, o + 1), units, shape, *pieces, bool(trained), float(decay)))
    return tuple(found)


def readout_weights(wiring: Wiring, theta: np.ndarray) -> np.ndarray:
    """All readout weights as one new matrix (O, N), zero where a readout does not read a unit."""
    found = np.zeros(wiring.out_theta.shape, theta.dtype)
    for block in readout_blocks(wiring):
        found[block.rows, block.units] = theta[block.weight].reshape(block.shape)
    return found


def learning_signal(wiring: Wiring, signal: Signal, weights: np.ndarray) -> np.ndarray:
    """dL(t)/dy(t) (tau, B, N): direct terms, and ``weights.T`` dz of the readouts without decay (leaky ones keep rows)."""
    plain = wiring.decay == 0
    found = signal.dz @ weights if plain.all() else signal.dz[:, :, plain] @ weights[plain]
    return found if signal.dy is None else found + signal.dy


def through_decay(wiring: Wiring, dz: np.ndarray) -> np.ndarray:
    """Adjoint of the readouts' leak inside a piece: zbar(t) = dz(t) + decay * zbar(t+1), (tau, B, O)."""
    if not _leaks(wiring):
        return dz
    leaky, found = wiring.decay > 0, dz.copy()
    decay = wiring.decay[leaky].astype(dz.dtype)
    for t in range(len(dz) - 2, -1, -1):
        found[t, :, leaky] += decay[:, None] * found[t + 1, :, leaky]
    return found


@functools.lru_cache(maxsize=16)
def _leaks(wiring: Wiring) -> bool:
    return bool((wiring.decay > 0).any())


def add_readout_gradient(wiring: Wiring, tape: Tape, signal: Signal, gradient: np.ndarray) -> None:
    """The readouts' own gradient, exact for every learner: dL/dz times the decayed trace of the messages."""
    if not len(wiring.decay):
        return
    zbar = through_decay(wiring, signal.dz)
    told, y = zbar.reshape(-1, zbar.shape[2]), tape.units(wiring)
    single = len(told) == 1
    y = y.reshape(len(told), -1)
    for block in readout_blocks(wiring):
        if not block.trained:
            continue
        mine, heard = told[:, block.rows], y[:, block.units]
        if single:
            add_outer(gradient[block.weight], mine[0], heard[0])
        else:
            gradient[block.weight] += (mine.T @ heard).reshape(-1)
        gradient[block.bias] += mine[0] if single else mine.sum(0)
        if block.decay in tape.traces:
            past = zbar[0][:, block.rows] * zbar.dtype.type(block.decay)  # (B, O): what is owed to the traces before the piece
            gradient[block.weight] += (past.T @ tape.traces[block.decay][:, block.units]).reshape(-1)
            gradient[block.bias] += past.T @ tape.trace_one[block.decay]
