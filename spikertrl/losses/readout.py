"""Losses of a readout: cross-entropy with class labels, squared error to targets."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from .. import arguments
from .base import Arrays, Loss, Signal
from .labels import At, align, check_at, counted_steps


def cross_entropy(labels: np.ndarray | int, at: At = "each", readout: str | None = None) -> Loss:
    """Cross-entropy in nats between a readout and class labels.

    With ``n_out >= 2`` the readout goes through a softmax and labels are 0 .. n_out - 1; with ``n_out == 1`` through a sigmoid
    and labels are 0 or 1.

    Parameters
    ----------
    labels : int ndarray (T, B)
        Class of every step and lane. (B,), one class a lane, is enough for ``at="last"``, for a mask, and when T = 1; with one
        lane (T,) is enough, and with T = B = 1 a single number.
    at : "each", "last" or bool ndarray (T,) or (T, B)
        Steps that count.
    readout : str, optional
        Name of the readout; may be left out when there is only one.

    Raises
    ------
    ValueError
        If labels are not integers or out of range at a counted step, if shapes disagree, or if no step counts.

    Examples
    --------
    >>> loss = cross_entropy(np.array([1, 0]), at="last")
    >>> one = loss.signal({"z": np.zeros((3, 2, 2))}, {}, start=0, total=3)
    >>> round(one.value, 4), one.dz["z"][2].tolist()
    (0.6931, [[0.25, -0.25], [-0.25, 0.25]])
    >>> cross_entropy(np.array([0.5]))
    Traceback (most recent call last):
        ...
    ValueError: cross_entropy: labels have dtype float64; legal: integers 0 .. n_out - 1; convert with labels.astype(int)
    """
    labels, readout = arguments.numbers("cross_entropy", "labels", labels), _name("cross_entropy", readout)
    if labels.dtype.kind not in "iub":
        raise ValueError(
            f"cross_entropy: labels have dtype {labels.dtype}; legal: integers 0 .. n_out - 1; convert with labels.astype(int)"
        )
    if labels.ndim > 2:
        raise ValueError(f"cross_entropy: labels have shape {labels.shape}; legal: (T, B), or (B,) with at='last'")
    return ReadoutLoss(labels.astype(np.int64, copy=False), check_at(at), readout, "cross_entropy")


def squared_error(targets: np.ndarray | float, at: At = "each", readout: str | None = None) -> Loss:
    """Half the squared distance, 0.5 * sum over outputs of (z - target)^2, mean over counted steps and lanes.

    Parameters
    ----------
    targets : float ndarray (T, B, n_out)
        As in `cross_entropy`: (B, n_out) is enough for ``at="last"``, for a mask, and when T = 1; with one lane the lane
        axis may be left out, with one output the output axis.
    at, readout
        As in `cross_entropy`.

    Raises
    ------
    ValueError
        If targets are not real numbers or not finite at a counted step, if shapes disagree, or if no step counts.

    Examples
    --------
    >>> one = squared_error([1.0, 3.0]).signal({"z": np.array([[[0.0, 1.0]]])}, {}, start=0, total=1)
    >>> one.value, one.dz["z"].tolist()
    (2.5, [[[-1.0, -2.0]]])
    >>> both = 0.5 * squared_error(1.0, readout="a") + squared_error(2.0, readout="b")
    >>> both.signal({"a": np.zeros((1, 1, 1)), "b": np.zeros((1, 1, 1))}, {}, start=0, total=1).value
    2.25
    """
    targets, readout = arguments.numbers("squared_error", "targets", targets), _name("squared_error", readout)
    if targets.ndim > 3:
        raise ValueError(f"squared_error: targets have shape {targets.shape}; legal: (T, B, n_out)")
    return ReadoutLoss(targets, check_at(at), readout, "squared_error")


@dataclass(frozen=True, eq=False)
class ReadoutLoss(Loss):
    """A loss that compares one readout with labels at the counted steps."""

    labels: np.ndarray
    at: At = "each"
    readout: str | None = None
    kind: str = "cross_entropy"

    def signal(self, readouts: Arrays, messages: Arrays, start: int, total: int) -> Signal:
        name = _pick(readouts, self.readout)
        z = readouts[name]
        tau, batch, n_out = z.shape
        item = () if self.kind == "cross_entropy" else (n_out,)
        labels = align(self.labels, self.at, total, batch, item, self.kind)
        rule = _squared_error if self.kind == "squared_error" else _binary if n_out == 1 else _softmax_cross_entropy
        counted: slice | np.ndarray
        if isinstance(self.at, str):  # whole steps: from ``first`` on
            first = 0 if self.at == "each" else total - 1
            counted, those, count = slice(max(first - start, 0), tau), slice(first, total), (total - first) * batch
            empty = start + tau <= first
        else:
            those = counted_steps(self.at, total, batch)
            counted, count = those[start : start + tau], int(those.sum())
            empty = not counted.any()
        if start == 0:  # at the door: all labels, once a sequence, also those of later stretches
            _check_values(self.kind, labels[those], n_out, z.dtype)
        if empty:
            return Signal(0.0, {name: np.zeros(z.shape, z.dtype)})
        said = z[counted]
        values, slope = rule(said.reshape(-1, n_out), labels[start : start + tau][counted].reshape(-1, *item))
        slope /= count
        if said.shape == z.shape:
            dz = slope.reshape(z.shape)
        else:
            dz = np.zeros(z.shape, z.dtype)
            dz[counted] = slope.reshape(said.shape)
        return Signal(float(np.add.reduce(values, dtype=np.float64)) / count, {name: dz})


# -- rules: readout (N, n_out) and labels of N counted entries -> values (N,), slopes (N, n_out) -----------------------------
def _softmax_cross_entropy(z: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shifted = z - z.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    sums = powers.sum(axis=1, keepdims=True)
    rows = np.arange(len(z))
    slope = powers / sums
    slope[rows, labels] -= 1
    return np.log(sums[:, 0]) - shifted[rows, labels], slope


def _binary(z: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y = labels[:, None].astype(z.dtype)
    return (np.logaddexp(0, z) - y * z)[:, 0], 0.5 * (1 + np.tanh(0.5 * z)) - y


def _squared_error(z: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    gap = z - targets.astype(z.dtype)
    return 0.5 * np.add.reduce(gap * gap, 1), gap


@functools.cache
def _largest_target(dtype: np.dtype) -> float:
    """Whose square is finite."""
    return math.sqrt(float(np.finfo(dtype).max))


def _check_values(kind: str, labels: np.ndarray, n_out: int, dtype: np.dtype) -> None:
    if kind == "squared_error":
        largest = float(np.maximum.reduce(np.abs(labels), None, initial=0.0))
        if largest <= _largest_target(dtype):
            return
        if not np.isfinite(largest):
            raise ValueError("squared_error: a target at a counted step is NaN or infinite; leave that step out with at=mask")
        raise ValueError(f"squared_error: a target is as large as {largest:g}, too large for {dtype}; scale it")
    low, high, n = np.minimum.reduce(labels, None), np.maximum.reduce(labels, None), max(n_out, 2)
    if low < 0 or high >= n:
        wrong = low if low < 0 else high
        raise ValueError(
            f"cross_entropy: label {wrong} at a counted step; legal for {n_out} outputs: 0 .. {n - 1}; "
            "leave steps out with at=mask"
        )


def _name(where: str, readout: str | None) -> str | None:
    return None if readout is None else arguments.text(where, "readout", readout, "the name of a readout, or None")


def _pick(readouts: Arrays, name: str | None) -> str:
    if name is None and len(readouts) == 1:
        return next(iter(readouts))
    if name is None:
        raise ValueError(f"loss: the network has {len(readouts)} readouts, {sorted(readouts)}; choose one with readout=name")
    if name not in readouts:
        raise ValueError(f"loss: no readout {name!r}; readouts here: {sorted(readouts)}")
    return name
