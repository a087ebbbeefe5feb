"""The readouts' own gradient, exact for every learner, and what a loss says to the units through the readouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..derived import derived
from ..network.wiring import Wiring
from ..tape import Tape
from .base import Signal
from .engines.simd.scalar import add_outer


class Leaks(NamedTuple):
    """Outputs that leak (decay > 0)."""

    outputs: np.ndarray  # (L) int64
    kind: np.ndarray  # (L) int64: which of the different decays is theirs
    decay: np.ndarray  # (L) in the network's type
    decays: np.ndarray  # (D) the different ones, ascending, float64

    def past(self, errors: np.ndarray) -> np.ndarray:
        """(B, L) what errors (B, O) of the step after say to outputs that leak; of one memory layout, for compiled loops."""
        if not len(self.outputs):
            return np.empty((len(errors), 0), errors.dtype)
        return np.ascontiguousarray(errors[:, self.outputs] * self.decay)

    def powers(self, steps: int) -> np.ndarray:
        """(D, steps) each decay to the number of steps that follow."""
        if not len(self.decays):
            return np.empty((0, steps), self.decay.dtype)
        return (self.decays[:, None] ** np.arange(steps - 1, -1, -1)).astype(self.decay.dtype)

    def over(self, steps: int) -> np.ndarray:
        """(D) each decay over so many steps."""
        return (self.decays**steps).astype(self.decay.dtype)


@derived
def leaks(w: Wiring) -> Leaks:
    """Of a network's readouts."""
    outputs = np.flatnonzero(w.decay > 0)
    decays, kind = np.unique(w.decay[outputs], return_inverse=True)
    return Leaks(outputs, kind.astype(np.int64), w.decay[outputs].astype(w.dtype), decays)


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


@derived
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


def signal_through_decay(wiring: Wiring, signal: Signal, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """zbar (see ``through_decay``), and with it dL/dy(t) (tau, B, N) of a piece: through all readouts, and directly."""
    zbar = through_decay(wiring, signal.dz)
    direct = zbar @ weights
    return zbar, direct if signal.dy is None else direct + signal.dy


def through_decay(wiring: Wiring, dz: np.ndarray) -> np.ndarray:
    """Adjoint of the readouts' leak inside a piece: zbar(t) = dz(t) + decay * zbar(t+1), (tau, B, O)."""
    leaky = leaks(wiring).outputs
    if not len(leaky):
        return dz
    found, decay = dz.copy(), wiring.decay[leaky].astype(dz.dtype)
    for t in range(len(dz) - 2, -1, -1):
        found[t, :, leaky] += decay[:, None] * found[t + 1, :, leaky]
    return found


def add_readout_gradient(wiring: Wiring, tape: Tape, signal: Signal, gradient: np.ndarray) -> None:
    """The readouts' own gradient, exact for every learner: dL/dz times the decayed trace of the messages."""
    if not len(wiring.decay):
        return
    zbar = through_decay(wiring, signal.dz)
    errors, y = zbar.reshape(-1, zbar.shape[2]), tape.units(wiring)
    single = len(errors) == 1
    y = y.reshape(len(errors), -1)
    for block in readout_blocks(wiring):
        if not block.trained:
            continue
        mine, read = errors[:, block.rows], y[:, block.units]
        if single:
            add_outer(gradient[block.weight], mine[0], read[0])
        else:
            gradient[block.weight] += (mine.T @ read).reshape(-1)
        gradient[block.bias] += mine[0] if single else mine.sum(0)
        if block.decay in tape.traces:
            past = zbar[0][:, block.rows] * zbar.dtype.type(block.decay)  # (B, O): dL/dtrace before the piece
            gradient[block.weight] += (past.T @ tape.traces[block.decay][:, block.units]).reshape(-1)
            gradient[block.bias] += past.T @ tape.trace_one[block.decay]
