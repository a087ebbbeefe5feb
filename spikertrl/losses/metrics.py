"""Scores: accuracy, bits per symbol."""

from __future__ import annotations

import math

import numpy as np

from .labels import At, align, check_at, counted_steps
from .readout import cross_entropy


def softmax(z: np.ndarray) -> np.ndarray:
    """Softmax over the last axis.

    >>> softmax(np.array([0.0, np.log(3.0)])).round(6).tolist()
    [0.25, 0.75]
    """
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def accuracy(z: np.ndarray, labels: np.ndarray | int, at: At = "each") -> float:
    """Share of counted (step, lane) entries whose largest output is the label (with one output: whose sign is).

    z is (T, B, n_out); ``labels`` and ``at`` are as in `cross_entropy`.

    >>> accuracy(np.array([[[2.0, 1.0], [0.0, 1.0]]]), np.array([0, 0]), at="last")
    0.5
    """
    chosen, labels = _counted(z, labels, at)
    guess = chosen[:, 0] > 0 if z.shape[2] == 1 else chosen.argmax(axis=1)
    return float((guess == labels).mean())


def bits_per_symbol(z: np.ndarray, labels: np.ndarray | int, at: At = "each") -> float:
    """Cross-entropy in bits, mean over counted entries; z is (T, B, n_out), the rest as in `cross_entropy`.

    >>> bits_per_symbol(np.zeros((5, 1, 4)), np.zeros((5, 1), int))
    2.0
    """
    return cross_entropy(labels, at).signal({"z": z}, {}, 0, len(z)).value / math.log(2.0)


def _counted(z: np.ndarray, labels: np.ndarray | int, at: At) -> tuple[np.ndarray, np.ndarray]:
    total, batch, _ = z.shape
    mask = counted_steps(check_at(at), total, batch)
    return z[mask], align(np.asarray(labels), at, total, batch, (), "accuracy")[mask]
