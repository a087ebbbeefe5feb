"""What every loss is made of: the base class and its algebra, error signals, and the rules for counted entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .. import arguments

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Signal:
    """A stretch's share of a loss: ``value``, dL/dz per readout (tau, B, n_out), dL/dy per population (tau, B, n)."""

    value: float
    dz: dict[str, np.ndarray] = field(default_factory=dict)
    dy: dict[str, np.ndarray] = field(default_factory=dict)


class Loss(ABC):
    """Base of all losses: `signal`, and the algebra ``a + b``, ``2 * a``."""

    @abstractmethod
    def signal(self, readouts: Arrays, messages: Arrays, start: int, total: int) -> Signal:
        """Share of steps ``start .. start + tau - 1`` out of ``total``; arrays hold these tau steps, (tau, B, n)."""

    def __add__(self, other: Loss) -> Loss:
        if not isinstance(other, Loss):
            return NotImplemented
        return _Sum((self, other))

    def __mul__(self, factor: float) -> Loss:
        if isinstance(factor, Loss):
            return NotImplemented
        return _Scaled(self, arguments.number("loss", "the factor", factor))

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


@dataclass(frozen=True, eq=False)
class _Scaled(Loss):
    loss: Loss
    factor: float

    def signal(self, readouts: Arrays, messages: Arrays, start: int, total: int) -> Signal:
        one, k = self.loss.signal(readouts, messages, start, total), self.factor
        return Signal(k * one.value, {n: k * d for n, d in one.dz.items()}, {n: k * d for n, d in one.dy.items()})
