"""Constraints: what weights have to keep to, made true again after every update.

Name them by connection, population or readout, as in ``net.view``; for some ports or parameters only, by a mapping:

>>> import numpy as np, spikertrl as srl
>>> net = srl.Network().add_input("x", 1).add_population("h", srl.models.rnn, 4).connect("x", "h").connect("h", "h")
>>> net = net.add_readout("z", "h", 1).initialize(0)
>>> signs = [1, 1, 1, -1]                                   # unit 3 inhibits
>>> rules = {"h<-h": srl.constraints.dale(signs), "h<-x": srl.constraints.non_negative, "z": {"bias": between(-1, 1)}}
>>> online = srl.Online(net, srl.RTRL(), srl.optimizers.sgd(0.1), srl.losses.squared_error, constraints=rules)
>>> weights = net.view(net.theta)["h<-h"]["h"]
>>> bool((weights[:, :3] >= 0).all() and (weights[:, 3] <= 0).all())
True

They hold from the moment they are given: ``fit`` and ``Online`` begin with the nearest weights that keep to them, so initialize
with such (``connect(weight=lambda rng, shape: abs(rng.normal(size=shape)) * signs)``) where many would be 0 otherwise.

A constraint of your own is any callable ``(values, post, pre)`` that changes ``values``, a flat piece of theta, in place;
``post`` and ``pre`` are the units on both sides of each weight, ``pre`` None where there is none (biases, parameters of units).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arguments import number, numbers, refuse
from .network.elements import DELAY
from .network.network import Network

__all__ = ["Between", "Constraint", "Constraints", "Dale", "between", "dale", "non_negative"]

Constraint = Callable[[np.ndarray, np.ndarray, Any], Any]
"""``(values, post, pre)``: changes ``values`` in place."""
Given = Mapping[str, Constraint | Mapping[str, Constraint]]


@dataclass(frozen=True, eq=False)
class Dale:
    """See `constraints.dale`."""

    signs: np.ndarray

    def __repr__(self) -> str:
        return f"dale({self.signs.tolist()})"

    def check(self, what: str, post: np.ndarray, pre: np.ndarray | None, shape: tuple[int, ...]) -> None:
        """Raise ValueError where it does not fit."""
        if pre is None or shape[1] != len(self.signs):
            wanted = "none: it has no presynaptic units" if pre is None else f"{shape[1]}, one a presynaptic unit"
            raise ValueError(f"constraints: dale for {what} has {len(self.signs)} signs; legal: {wanted}")

    def __call__(self, values: np.ndarray, post: np.ndarray, pre: np.ndarray | None) -> None:
        values[self.signs[pre] * values < 0] = 0.0


@dataclass(frozen=True)
class Between:
    """See `constraints.between`."""

    low: float
    high: float

    def __repr__(self) -> str:
        return "non_negative" if (self.low, self.high) == (0, math.inf) else f"between({self.low:g}, {self.high:g})"

    def __call__(self, values: np.ndarray, post: np.ndarray, pre: np.ndarray | None) -> None:
        values.clip(self.low, self.high, out=values)


def dale(signs: Any) -> Dale:
    """Dale's law: all weights out of a unit have its sign, (pre,) of 1, -1, or 0 for a unit that is free; others become 0.

    Raises
    ------
    ValueError
        If a sign is another number.

    Examples
    --------
    >>> weights = np.array([[0.5, -0.5], [-0.1, 0.1]])
    >>> dale([1, -1])(weights.reshape(-1), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    >>> weights.tolist()
    [[0.5, -0.5], [0.0, 0.0]]
    """
    found = numbers("dale", "signs", signs, "1, -1 or 0 for each presynaptic unit")
    if found.ndim != 1 or not np.isin(found, (-1, 0, 1)).all():
        raise refuse("dale", "signs", signs, "1, -1 or 0 for each presynaptic unit")
    return Dale(found.astype(np.int8))


def between(low: float, high: float) -> Between:
    """Every value in low .. high, either end possibly infinite.

    >>> between(-1, float("inf"))
    between(-1, inf)
    """
    ends = [float(v) if isinstance(v, int | float) and math.isinf(v) else number("between", n, v)
            for n, v in (("low", low), ("high", high))]  # fmt: skip
    if ends[0] > ends[1]:
        raise refuse("between", "low", low, f"at most high, {high}")
    return Between(*ends)


non_negative = Between(0.0, math.inf)
"""No value below 0; those that are become 0."""


class Constraints:
    """Constraints made ready for a network; call with a vector like theta.

    Raises
    ------
    ValueError
        For a name that the network does not have, or signs that do not fit.
    """

    def __init__(self, net: Network, given: Given | None) -> None:
        if not isinstance(given, Mapping) and given is not None:
            raise refuse("constraints", "the whole", given, "a mapping, for example {'h<-h': srl.constraints.non_negative}")
        self.parts = [part for name, rule in (given or {}).items() for part in _parts(net, name, rule)]
        learned = {p.name: {DELAY: Between(*p.bounds)} for p in net.projections if p.bounds}  # delays stay in their range
        self.parts += [part for name, rule in learned.items() for part in _parts(net, name, rule)]
        self.frozen = net.wiring.fixed

    def __call__(self, theta: np.ndarray) -> None:
        kept = theta[self.frozen]  # what is not trainable stays
        for part, rule, post, pre in self.parts:
            rule(theta[part], post, pre)
        theta[self.frozen] = kept


def _parts(net: Network, name: str, rule: Any) -> Iterator[tuple[slice, Constraint, np.ndarray, np.ndarray | None]]:
    blocks = {inner: block for (group, inner), block in net.wiring.layout.items() if group == name}
    if not blocks:
        legal = list(dict.fromkeys(group for group, _ in net.wiring.layout))
        raise refuse("constraints", "a name", name, f"{', '.join(map(repr, legal))}")
    if not isinstance(rule, Mapping) and len(blocks) > 1 and (several := [n for n in blocks if _is_of_units(net, name, n)]):
        raise ValueError(f"constraints: {name!r} holds {sorted(blocks)}; say which: {{{name!r}: {{{several[0]!r}: ...}}}}")
    weights = [inner for inner in blocks if inner != DELAY or name in net.populations]
    for inner, one in (rule if isinstance(rule, Mapping) else dict.fromkeys(weights, rule)).items():
        if inner not in blocks:
            raise refuse("constraints", f"a name in {name!r}", inner, f"{', '.join(map(repr, blocks))}")
        if not callable(one):
            raise refuse("constraints", f"{name}, {inner}", one, "one of srl.constraints, or a callable (values, post, pre)")
        part, shape = blocks[inner]
        post, pre, shape = _ends(net, name, shape)
        if isinstance(one, Dale):
            one.check(f"{name!r}", post, pre, shape)
        yield part, one, post, pre


def _is_of_units(net: Network, name: str, inner: str) -> bool:
    """A bias or parameter beside others: a constraint of all of them at once is not what anyone means."""
    return name in net.populations or inner == "bias"


def _ends(net: Network, name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray | None, tuple[int, ...]]:
    """Units on both sides of each value of a block, and the shape (post, pre), or (size,)."""
    projection = next((p for p in net.projections if p.name == name), None)
    if projection is not None and projection.indptr is not None and projection.indices is not None:
        post = np.repeat(np.arange(projection.shape[0]), np.diff(projection.indptr))
        return post, projection.indices.astype(np.int64), projection.shape
    if len(shape) == 2:
        post, pre = np.indices(shape).reshape(2, -1)
        return post, pre, shape
    return np.arange(shape[0]), None, shape
