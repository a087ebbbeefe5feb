"""How loops are compiled: ``loop`` for those that Python calls, ``inner`` for those that only loops call.

By default numba makes two more entrances into every function, one for Python and one for C. To compile them takes as long as to
compile many a function, and nobody uses those into functions that are called by other compiled functions alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.registry import CPUDispatcher


def loop(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit``, cached, without an entrance for C."""
    return njit(cache=True, no_cfunc_wrapper=True, **options)  # pyright: ignore[reportCallIssue]


def inner(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``loop`` without an entrance for Python, either; a call from there works all the same, see ``Inner``."""

    def decorate(function: Callable[..., Any]) -> Any:
        found = loop(no_cpython_wrapper=True, **options)(function)
        if isinstance(found, CPUDispatcher):  # not where numba is told to leave functions as they are
            found.__class__ = Inner
        return found

    return decorate


class Prepared:
    """A compiled loop with its arguments, whose types are looked at once: numba takes longer for that than a short loop runs.

    The arrays stay the same objects; what they hold may change from call to call.

    >>> import numpy as np
    >>> @njit  # as ``loop`` does
    ... def double(values):
    ...     for k in range(len(values)):
    ...         values[k] *= 2
    >>> values = np.ones(3)
    >>> twice = Prepared(double, values)
    >>> twice(), twice(), values.tolist()
    (None, None, [4.0, 4.0, 4.0])
    """

    def __init__(self, compiled: Any, *arguments: Any) -> None:
        self.entry, self.arguments = compiled, arguments
        if isinstance(compiled, CPUDispatcher):
            types = tuple(compiled.typeof_pyval(argument) for argument in arguments)
            compiled.compile(types)
            self.entry = compiled.get_overload(types)

    def __call__(self) -> Any:
        return self.entry(*self.arguments)


class Inner(CPUDispatcher):
    """A compiled function without an entrance; one is made if Python asks, in every process anew, as tests do."""

    def __call__(self, *arguments: Any) -> Any:
        if "entrance" not in self.__dict__:
            self.entrance = njit(lambda *given: self(*given))
        return self.entrance(*arguments)
