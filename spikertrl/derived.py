"""What is made once of something that never changes (a wiring, a layout) and dies with it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def derived(function: Function) -> Function:
    """Remember what a function makes of its first argument, an object that never changes; other arguments must be hashable.

    What is found lies in that object itself: no cache outlives a network, as ``functools.lru_cache`` would.

    Examples
    --------
    >>> class Thing: calls = 0
    >>> @derived
    ... def double(thing, number):
    ...     thing.calls += 1
    ...     return 2 * number
    >>> thing = Thing()
    >>> double(thing, 4), double(thing, 4), thing.calls
    (8, 8, 1)
    """
    name = f"{function.__module__}.{function.__qualname__}"

    @functools.wraps(function)
    def remembered(of: Any, *arguments: Any) -> Any:
        store = of.__dict__.setdefault("_derived", {})
        key = (name, *arguments)
        if key not in store:
            store[key] = function(of, *arguments)
        return store[key]

    return remembered  # type: ignore[return-value]
