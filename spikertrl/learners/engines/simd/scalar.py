"""Vector operations as plain loops, which the compiler turns into vector instructions."""

from __future__ import annotations

import math

import numpy as np

from ....loops import inner, loop


@loop()
def add_outer(into: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """into (flat) += left (x) right."""
    m = len(right)
    for c in range(len(left)):
        add(into[c * m : c * m + m], left[c], right)


@inner()
def add(into: np.ndarray, factor: float, vector: np.ndarray) -> None:
    """into += factor * vector."""
    for e in range(len(into)):
        into[e] += factor * vector[e]


@inner()
def multiply(to, factor, vector):
    """to = factor * vector."""
    for e in range(len(to)):
        to[e] = factor * vector[e]


@inner()
def copy(to, vector):
    """to = vector."""
    for e in range(len(to)):
        to[e] = vector[e]


@inner(forceinline=True)
def clear(array, first, n):
    """n elements of a flat array from ``first`` on = 0."""
    for e in range(n):
        array[np.uint64(first + e)] = 0


@inner()
def add_scaled(to, factor, vector, each):
    """to += factor * vector * each."""
    for e in range(len(to)):
        to[e] += factor * vector[e] * each[e]


@inner()
def largest(values):
    """The largest of whole numbers, or 0: numba takes almost a second to compile their ``max()``."""
    found = 0
    for e in range(len(values)):
        found = max(found, values[e])
    return found


@inner()
def ratio(upper, lower):
    """sqrt(upper / lower), 1 where either is zero."""
    return math.sqrt(upper / lower) if upper > 0 and lower > 0 else 1.0
