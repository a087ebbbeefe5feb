"""Learning rate schedules: what the learning rate is at a step, counted from 0 at the first update.

Each function returns a frozen `Schedule`, callable as ``schedule(step) -> float``; any other callable of the step does as well.

>>> lr = warmup_cosine(1e-2, warmup=10, total=100)
>>> lr
warmup_cosine(peak=0.01, warmup=10, total=100, floor=0.0)
>>> [round(lr(step), 6) for step in (0, 9, 10, 55, 100, 1000)]
[0.001, 0.01, 0.01, 0.005, 0.0, 0.0]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .arguments import number, refuse, whole


@dataclass(frozen=True, repr=False)
class Schedule:
    """A named rule with its settings; call it with the step.

    >>> halving = step(0.8, factor=0.5, every=10)
    >>> halving(0), halving(9), halving(10), halving.settings["every"]
    (0.8, 0.8, 0.4, 10)
    """

    name: str
    rule: Callable[..., float]
    settings: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, step: int) -> float:
        return self.rule(step, **self.settings)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.settings.items())})"


def constant(lr: float) -> Schedule:
    """Always ``lr`` (> 0).

    >>> constant(0.1)(12345)
    0.1
    """
    _positive("constant", lr=lr)
    return Schedule("constant", _constant, {"lr": lr})


def warmup_cosine(peak: float, warmup: int, total: int, floor: float = 0.0) -> Schedule:
    """Straight line up to ``peak`` over ``warmup`` steps, half a cosine down to ``floor`` at step ``total``, then ``floor``.

    The first update uses ``peak / warmup``, not 0. Source: Loshchilov and Hutter 2017, eq. 5, without restarts.

    Raises
    ------
    ValueError
        Unless ``peak > 0``, ``0 <= warmup < total`` and ``0 <= floor <= peak``.

    Examples
    --------
    >>> round(warmup_cosine(1.0, 0, 4)(1), 4)
    0.8536
    """
    _positive("warmup_cosine", peak=peak)
    total = whole("warmup_cosine", "total", total)
    warmup, floor = whole("warmup_cosine", "warmup", warmup, 0, total - 1), number("warmup_cosine", "floor", floor, 0, peak)
    return Schedule("warmup_cosine", _warmup_cosine, {"peak": peak, "warmup": warmup, "total": total, "floor": floor})


def exponential(lr: float, rate: float, every: int = 1) -> Schedule:
    """``lr * rate ** (step / every)``: smooth decay by ``rate`` (0 .. 1] every ``every`` steps.

    >>> exponential(0.4, rate=0.25, every=10)(5)
    0.2
    """
    _positive("exponential", lr=lr, every=every)
    _share("exponential", rate=rate)
    return Schedule("exponential", _exponential, {"lr": lr, "rate": rate, "every": every})


def step(lr: float, factor: float, every: int) -> Schedule:
    """``lr * factor ** floor(step / every)``: multiplied by ``factor`` (0 .. 1] every ``every`` steps.

    >>> step(0.4, factor=0.5, every=10)(25)
    0.1
    """
    _positive("step", lr=lr, every=every)
    _share("step", factor=factor)
    return Schedule("step", _step, {"lr": lr, "factor": factor, "every": every})


def _constant(step: int, lr: float) -> float:
    return lr


def _warmup_cosine(step: int, peak: float, warmup: int, total: int, floor: float) -> float:
    if step < warmup:
        return peak * (step + 1) / warmup
    share = min((step - warmup) / (total - warmup), 1.0)
    return floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * share))


def _exponential(step: int, lr: float, rate: float, every: int) -> float:
    return lr * rate ** (step / every)


def _step(step: int, lr: float, factor: float, every: int) -> float:
    return lr * factor ** (step // every)


def _positive(name: str, **values: float) -> None:
    for what, value in values.items():
        number(name, what, value, 0, above=True)


def _share(name: str, **values: float) -> None:
    for what, value in values.items():
        if number(name, what, value, 0, 1) == 0:
            raise refuse(name, what, value, f"0 < {what} <= 1")
