"""Losses: what a readout (or a population) is asked to do, as error signals for any stretch of a sequence.

A loss is a frozen object that knows the labels of a whole sequence. ``loss.signal(readouts, messages, start, total)`` looks at
steps ``start .. start + tau - 1`` of ``total`` and returns this stretch's share of the value, dL/dz for every readout it uses
and dL/dy for every population it penalizes. The shares of the stretches add up to the whole, so a learner may cut time as it
likes. Losses add with ``+`` and scale with ``*``. Arrays are (T, B, n): step, batch lane, unit.

``at`` says which steps count: "each", "last", or a boolean mask (T,) or (T, B). The value is the mean over all counted
(step, lane) entries, each with the same weight; labels at steps that do not count are never looked at.
"""

from __future__ import annotations

import math

import numpy as np

from .base import ActivityLoss, Loss, ReadoutLoss, Signal
from .labels import At, align, check_at, counted_steps

__all__ = ["Loss", "Signal", "accuracy", "activity", "bits_per_symbol", "cross_entropy", "softmax", "squared_error"]


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
    labels = np.asarray(labels)
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
    targets = np.asarray(targets)
    if targets.dtype.kind not in "iubf" or targets.ndim > 3:
        raise ValueError(
            f"squared_error: targets have dtype {targets.dtype} and shape {targets.shape}; legal: real numbers (T, B, n_out)"
        )
    return ReadoutLoss(targets, check_at(at), readout, "squared_error")


def activity(population: str, target: float, weight: float = 1.0) -> Loss:
    """Penalty on how many units send an event: weight * mean over steps of (share of events at the step - target)^2.

    The share is taken over lanes and units, and an event is a message that is not zero. The square is taken step by step and
    not of the mean over all time: only then do stretches add up to the whole and is the penalty known while the network runs.
    Counting events has no derivative; the slope used is that of ``abs(y)``, taken as 1 where a unit is silent. For messages
    that are 0 or 1 the count is ``abs(y)`` itself, so together with the pseudo-derivative of the event this is the usual rate
    regularizer.

    Parameters
    ----------
    population : str
        Whose messages.
    target : float
        Wanted share of units that send an event at a step, 0 .. 1.
    weight : float
        Strength, >= 0.

    Raises
    ------
    ValueError
        If ``target`` or ``weight`` is out of range; in ``signal`` if there is no such population.

    Examples
    --------
    >>> one = activity("h", 0.25, 2.0).signal({}, {"h": np.array([[[1.0, 0.0]]])}, start=0, total=1)
    >>> one.value, one.dy["h"].tolist()
    (0.125, [[[0.5, 0.5]]])
    """
    if not 0.0 <= target <= 1.0:
        raise ValueError(f"activity: target is {target}; legal: a share of units, 0 .. 1")
    if not (weight >= 0.0 and math.isfinite(weight)):
        raise ValueError(f"activity: weight is {weight}; legal: a finite number >= 0")
    return ActivityLoss(population, float(target), float(weight))


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
