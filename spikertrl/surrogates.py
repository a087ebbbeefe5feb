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

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

_FUNCTIONS = {
    "abs": abs,
    "max": max,
    "min": min,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "cos": math.cos,
    "tanh": math.tanh,
    "pi": math.pi,
}


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
        If the expression does not parse or uses an unknown name.
    """

    name: str
    derivative: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    support: float = math.inf

    def __post_init__(self) -> None:
        try:
            tree = ast.parse(self.derivative, mode="eval")
        except SyntaxError as error:
            raise ValueError(f"surrogate {self.name!r}: cannot parse derivative {self.derivative!r}: {error}") from None
        legal = {"v", *_FUNCTIONS, *self.parameters}
        unknown = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - legal)
        if unknown:
            raise ValueError(
                f"surrogate {self.name!r}: unknown name(s) {unknown} in {self.derivative!r}; legal names: {sorted(legal)}"
            )
        if not self.support > 0:
            raise ValueError(f"surrogate {self.name!r}: support must be positive, got {self.support}")

    def __call__(self, v: float) -> float:
        """Value of psi at ``v`` (a float), for plots and checks."""
        return float(eval(self.derivative, {"__builtins__": {}}, {**_FUNCTIONS, **self.parameters, "v": v}))


def _positive(kind: str, **values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"surrogates.{kind}: {name} must be positive, got {value}")


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
