"""Scores: accuracy, bits per symbol."""

from __future__ import annotations

import math

import numpy as np

from .. import arguments
from .labels import At, align, check_at, counted_steps
from .readout import cross_entropy


def softmax(z: np.ndarray) -> np.ndarray:
    """Softmax over the last axis.

    >>> softmax(np.array([0.0, np.log(3.0)])).round(6).tolist()
    [0.25, 0.75]
    """
    z = arguments.numbers("softmax", "z", z)
    if not z.ndim or not z.shape[-1]:
        raise ValueError(f"softmax: z has shape {z.shape}; legal: (..., n) with n >= 1")
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def accuracy(z: np.ndarray, labels: np.ndarray | int, at: At = "each") -> float:
    """Share of counted (step, lane) entries whose largest output is the label (with one output: whose sign is).

    z is (T, B, n_out); ``labels`` and ``at`` are as in `cross_entropy`.

    >>> accuracy(np.array([[[2.0, 1.0], [0.0, 1.0]]]), np.array([0, 0]), at="last")
    0.5
    """
    chosen, labels = _counted(z, labels, at)
    guess = chosen[:, 0] > 0 if chosen.shape[1] == 1 else chosen.argmax(axis=1)
    return float((guess == labels).mean())


def bits_per_symbol(z: np.ndarray, labels: np.ndarray | int, at: At = "each") -> float:
    """Cross-entropy in bits, mean over counted entries; z is (T, B, n_out), the rest as in `cross_entropy`.

    >>> bits_per_symbol(np.zeros((5, 1, 4)), np.zeros((5, 1), int))
    2.0
    """
    return cross_entropy(labels, at).signal({"z": _outputs("bits_per_symbol", z)}, {}, 0, len(z)).value / math.log(2.0)


def _counted(z: np.ndarray, labels: np.ndarray | int, at: At) -> tuple[np.ndarray, np.ndarray]:
    z, labels, at = _outputs("accuracy", z), arguments.numbers("accuracy", "labels", labels), check_at(at)
    if labels.dtype.kind not in "iub":
        raise ValueError(f"accuracy: labels have dtype {labels.dtype}; legal: integers; convert with labels.astype(int)")
    total, batch, _ = z.shape
    mask = counted_steps(at, total, batch)
    return z[mask], align(labels, at, total, batch, (), "accuracy")[mask]


def _outputs(where: str, z: np.ndarray) -> np.ndarray:
    """z as an array of three axes, none of them empty."""
    z = arguments.numbers(where, "z", z)
    if z.ndim != 3 or not z.size:
        raise ValueError(f"{where}: z has shape {z.shape}; legal: (T, B, n_out), none of them 0")
    return z
