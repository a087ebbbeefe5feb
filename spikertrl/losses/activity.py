"""The penalty on how many units send an event."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import arguments
from .base import Arrays, Loss, Signal


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
    arguments.text("activity", "population", population, "the name of a population")
    target, weight = arguments.number("activity", "target", target, 0, 1), arguments.number("activity", "weight", weight, 0)
    return ActivityLoss(population, target, weight)


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
