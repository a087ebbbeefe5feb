"""What every loss is made of: the base class and its algebra, error signals, and the rules for counted entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .labels import At, align, counted_steps

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Signal:
    """A stretch's share of a loss: ``value``, dL/dz per readout (tau, B, n_out), dL/dy per population (tau, B, n)."""

    value: float
    dz: dict[str, np.ndarray] = field(default_factory=dict)
    dy: dict[str, np.ndarray] = field(default_factory=dict)


class Loss(ABC):
    """Base of all losses: `signal`, `at_steps`, and the algebra ``a + b``, ``2 * a``."""

    @abstractmethod
    def signal(self, readouts: Arrays, messages: Arrays, start: int, total: int) -> Signal:
        """Share of steps ``start .. start + tau - 1`` out of ``total``; arrays hold these tau steps, (tau, B, n)."""

    @abstractmethod
    def at_steps(self, total: int) -> np.ndarray:
        """Boolean (total,): the steps at which this loss has a signal in any lane."""

    def __add__(self, other: Loss) -> Loss:
        if not isinstance(other, Loss):
            return NotImplemented
        return _Sum((self, other))

    def __mul__(self, factor: float) -> Loss:
        if isinstance(factor, Loss):
            return NotImplemented
        return _Scaled(self, float(factor))

    __rmul__ = __mul__


@dataclass(frozen=True, eq=False)
class _Sum(Loss):
    terms: tuple[Loss, ...]

    def signal(self, readouts: Arrays, messages: Arrays, start: int, total: int) -> Signal:
        signals = [term.signal(readouts, messages, start, total) for term in self.terms]
        dz: dict[str, np.ndarray] = {}
        dy: dict[str, np.ndarray] = {}
        for one in signals:
            for into, parts in ((dz, one.dz), (dy, one.dy)):
                for name, part in parts.items():
                    into[name] = into[name] + part if name in into else part
        return Signal(sum(one.value for one in signals), dz, dy)

    def at_steps(self, total: int) -> np.ndarray:
        return np.logical_or.reduce([term.at_steps(total) for term in self.terms])


@dataclass(frozen=True, eq=False)
class _Scaled(Loss):
    loss: Loss
    factor: float

    def signal(self, readouts: Arrays, messages: Arrays, start: int, total: int) -> Signal:
        one, k = self.loss.signal(readouts, messages, start, total), self.factor
        return Signal(k * one.value, {n: k * d for n, d in one.dz.items()}, {n: k * d for n, d in one.dy.items()})

    def at_steps(self, total: int) -> np.ndarray:
        return self.loss.at_steps(total)


@dataclass(frozen=True, eq=False)
class ReadoutLoss(Loss):
    """A loss that compares one readout with labels at the counted steps."""

    labels: np.ndarray
    at: At = "each"
    readout: str | None = None
    kind: str = "cross_entropy"

    def at_steps(self, total: int) -> np.ndarray:
        mask = counted_steps(self.at, total, 1) if isinstance(self.at, str) or self.at.ndim == 1 else self.at
        return np.logical_or.reduce(mask, axis=1)

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
            _check_values(self.kind, labels[those], n_out)
        dz = np.zeros_like(z)
        if empty:
            return Signal(0.0, {name: dz})
        said = z[counted]
        values, slope = rule(said.reshape(-1, n_out), labels[start : start + tau][counted].reshape(-1, *item))
        dz[counted] = (slope / count).reshape(said.shape)
        return Signal(float(values.sum(dtype=np.float64)) / count, {name: dz})


@dataclass(frozen=True, eq=False)
class ActivityLoss(Loss):
    population: str
    target: float
    weight: float

    def signal(self, readouts: Arrays, messages: Arrays, start: int, total: int) -> Signal:
        if self.population not in messages:
            raise ValueError(f"activity loss: no population {self.population!r}; populations here: {sorted(messages)}")
        y = messages[self.population]
        gap = (y != 0).mean(axis=(1, 2)) - self.target
        value = self.weight * float((gap**2).sum()) / total
        slope = (2 * self.weight / (total * y[0].size) * gap).astype(y.dtype)
        return Signal(value, {}, {self.population: np.where(y < 0, -slope[:, None, None], slope[:, None, None])})

    def at_steps(self, total: int) -> np.ndarray:
        return np.ones(total, bool)


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
    return 0.5 * (gap**2).sum(axis=1), gap


def _check_values(kind: str, labels: np.ndarray, n_out: int) -> None:
    if kind == "squared_error":
        if not np.isfinite(labels).all():
            raise ValueError("squared_error: a target at a counted step is NaN or infinite; leave that step out with at=mask")
        return
    low, high, n = labels.min(), labels.max(), max(n_out, 2)
    if low < 0 or high >= n:
        wrong = low if low < 0 else high
        raise ValueError(
            f"cross_entropy: label {wrong} at a counted step; legal for {n_out} outputs: 0 .. {n - 1}; "
            "leave steps out with at=mask"
        )


def _pick(readouts: Arrays, name: str | None) -> str:
    if name is None and len(readouts) == 1:
        return next(iter(readouts))
    if name is None:
        raise ValueError(f"loss: the network has {len(readouts)} readouts, {sorted(readouts)}; choose one with readout=name")
    if name not in readouts:
        raise ValueError(f"loss: no readout {name!r}; readouts here: {sorted(readouts)}")
    return name
