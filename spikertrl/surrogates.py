"""Pseudo-derivatives of the event function ``event(v) = 1 if v > 0 else 0``.

The event function has no useful derivative, so learning replaces it by ``psi(v)``, a bump around ``v = 0``. Where psi is
exactly zero a unit sends no sensitivity, so the **width of the support is the speed knob** of exact sparse RTRL: a compact,
narrow psi leaves most units gradient-silent, a psi with infinite support leaves none.

Each function returns a frozen ``Surrogate`` that knows its support:

>>> triangle(gamma=0.7, width=0.5)
Surrogate(name='triangle', derivative='gamma * max(0, 1 - abs(v) / width)',
          parameters={'gamma': 0.7, 'width': 0.5}, support=0.5)
>>> round(triangle(0.7, 0.5)(0.25), 3)
0.35
>>> gaussian().support
inf
"""

from __future__ import annotations

import keyword
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .arguments import refuse
from .language import ANY, TextError, evaluate, name_fault, names_in, parse

_FUNCTIONS = {"abs": abs, "max": max, "min": min, "exp": math.exp, "sqrt": math.sqrt, "cos": math.cos, "tanh": math.tanh}
_ARGUMENTS = {name: ANY if name in ("max", "min") else 1 for name in _FUNCTIONS}


@dataclass(frozen=True)
class Surrogate:
    """A pseudo-derivative psi(v), written as text.

    Parameters
    ----------
    name : str
        How figures and messages call it.
    derivative : str
        Python expression in ``v`` and the parameters. Functions: abs, max, min, exp, sqrt, cos, tanh; comparisons count as 0
        or 1.
    parameters : mapping of str to float
        Values used by the expression; changing them recompiles nothing.
    support : float
        psi(v) is exactly 0 for ``abs(v) >= support``; ``inf`` when it never is.

    Raises
    ------
    ValueError
        If the expression does not parse or uses an unknown name, or a parameter is no finite number.
    """

    name: str
    derivative: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    support: float = math.inf

    def __post_init__(self) -> None:
        for name, value in self.parameters.items():
            self._check_parameter(name, value)
        try:
            names, _ = names_in(parse(self.derivative, _ARGUMENTS, loose=True))
        except TextError as error:
            raise ValueError(f"surrogate {self.name!r}: derivative {error}") from None
        legal = {"v", "pi", *_FUNCTIONS, *self.parameters}
        if unknown := sorted(names - (legal - set(_FUNCTIONS))):
            raise ValueError(
                f"surrogate {self.name!r}: unknown name(s) {unknown} in {self.derivative!r}; legal names: {sorted(legal)}"
            )
        if not self.support > 0:
            raise ValueError(f"surrogate {self.name!r}: support must be positive, got {self.support}")

    def _check_parameter(self, name: str, value: float) -> None:
        taken = name in {"v", "pi", *_FUNCTIONS} or keyword.iskeyword(str(name)) or str(name).startswith("_")
        if taken or (fault := name_fault(str(name))):
            why = "it is a name of the language" if taken else fault
            raise ValueError(f"surrogate {self.name!r}: the parameter {name!r} needs another name; {why}")
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise ValueError(f"surrogate {self.name!r}: parameter {name} must be a finite number, got {value!r}")

    def __call__(self, v: float) -> float:
        """Value of psi at ``v`` (a float), for plots and checks."""
        tree = parse(self.derivative, _ARGUMENTS, loose=True)
        return float(evaluate(tree, {"pi": math.pi, **self.parameters, "v": v}, _FUNCTIONS))


def _positive(kind: str, **values: float) -> None:
    for name, value in values.items():
        if not (isinstance(value, numbers.Real) and 0 < value < math.inf):
            raise ValueError(f"surrogates.{kind}: {name} must be positive and finite, got {value!r}")


def triangle(gamma: float = 0.7, width: float = 1.0) -> Surrogate:
    """``gamma * max(0, 1 - |v| / width)``: compact, the choice of EGRU and e-prop (Bellec 2020; Subramoney 2023)."""
    _positive("triangle", gamma=gamma, width=width)
    return Surrogate("triangle", "gamma * max(0, 1 - abs(v) / width)", {"gamma": gamma, "width": width}, width)


def boxcar(gamma: float = 0.5, width: float = 0.5) -> Surrogate:
    """``gamma`` for ``|v| < width``, else 0: compact, the cheapest (the straight-through estimator with a window)."""
    _positive("boxcar", gamma=gamma, width=width)
    return Surrogate("boxcar", "gamma * (abs(v) < width)", {"gamma": gamma, "width": width}, width)


def fast_sigmoid(gamma: float = 1.0, beta: float = 10.0) -> Surrogate:
    """``gamma / (1 + beta |v|)^2`` (SuperSpike, Zenke and Ganguli 2018): infinite support, no row ever skipped."""
    _positive("fast_sigmoid", gamma=gamma, beta=beta)
    return Surrogate("fast_sigmoid", "gamma / ((1 + beta * abs(v)) * (1 + beta * abs(v)))", {"gamma": gamma, "beta": beta})


def arctan(gamma: float = 1.0, alpha: float = 2.0) -> Surrogate:
    """``gamma * (alpha/2) / (1 + (pi/2 alpha v)^2)`` (Fang 2021): infinite support."""
    _positive("arctan", gamma=gamma, alpha=alpha)
    return Surrogate(
        "arctan", "gamma * alpha / 2 / (1 + (pi / 2 * alpha * v) * (pi / 2 * alpha * v))", {"gamma": gamma, "alpha": alpha}
    )


def gaussian(gamma: float = 0.5, sigma: float = 0.5) -> Surrogate:
    """``gamma * exp(-v^2 / (2 sigma^2))`` (Yin 2021 without side lobes): infinite support."""
    _positive("gaussian", gamma=gamma, sigma=sigma)
    return Surrogate("gaussian", "gamma * exp(-v * v / (2 * sigma * sigma))", {"gamma": gamma, "sigma": sigma})


_WORDS: dict[str, Callable[[], Surrogate]] = {
    "triangle": triangle, "triangular": triangle, "boxcar": boxcar, "rectangle": boxcar, "rectangular": boxcar,
    "fast_sigmoid": fast_sigmoid, "superspike": fast_sigmoid, "arctan": arctan, "atan": arctan, "gaussian": gaussian,
}  # fmt: skip


def surrogate_of(where: str, value: Any) -> Surrogate:
    """A surrogate as it may be given: the record, its name, or the function that makes it; the latter two with its defaults.

    >>> surrogate_of("model", "atan") == surrogate_of("model", arctan) == arctan()
    True

    Raises
    ------
    ValueError
        For anything else, with the names.
    """
    if isinstance(value, str):
        value = _WORDS.get(value.lower().replace("-", "_"), value)
    if callable(value) and value in _WORDS.values():
        value = value()
    if not isinstance(value, Surrogate):
        names = ", ".join(dict.fromkeys(make.__name__ for make in _WORDS.values()))
        raise refuse(where, "surrogate", value, f"one of srl.surrogates ({names}), or a Surrogate of your own")
    return value
