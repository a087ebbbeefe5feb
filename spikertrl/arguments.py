"""Values at the door: what, where, the value found, and what is legal, in one kind of sentence.

Each function returns the value in its plain Python type, or raises ValueError. True and False are no numbers here, nor is a
text that looks like one.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])


def other_words(where: str, same: Mapping[str, str], instead: Mapping[str, str]) -> Callable[[Function], Function]:
    """Let a function be called in the words of other packages.

    ``same``: their keyword -> ours, where both mean the same; ``instead``: their keyword -> what to write here.

    >>> @other_words("area", {"width": "a"}, {"radius": "give a= and b="})
    ... def area(a, b):
    ...     return a * b
    >>> area(width=2, b=3)
    6
    >>> area(radius=2)
    Traceback (most recent call last):
        ...
    ValueError: area: there is no radius=; give a= and b=
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            for word in keywords.keys() & instead.keys():
                raise ValueError(f"{where}: there is no {word}=; {instead[word]}")
            for word in keywords.keys() & same.keys():
                if same[word] in keywords:
                    raise ValueError(f"{where}: {word}= and {same[word]}= mean the same; give one of them")
                keywords[same[word]] = keywords.pop(word)
            return function(*arguments, **keywords)

        return call  # type: ignore[return-value]

    return decorate


def refuse(where: str, what: str, value: object, legal: str) -> ValueError:
    """The error, to be raised.

    >>> str(refuse("OK", "rank", 0, "a whole number >= 1"))
    'OK: rank is 0; legal: a whole number >= 1'
    """
    text = repr(value)
    return ValueError(f"{where}: {what} is {text if len(text) < 80 else f'a {type(value).__name__}'}; legal: {legal}")


def whole(where: str, what: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """A whole number from ``least`` to ``most``.

    >>> whole("OK", "rank", np.int64(3))
    3
    >>> whole("OK", "rank", True)
    Traceback (most recent call last):
        ...
    ValueError: OK: rank is True; legal: a whole number >= 1
    """
    try:
        found = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        found = None
    if found is None or found < least or (most is not None and found > most):
        raise refuse(where, what, value, f"a whole number >= {least}" if most is None else f"a whole number {least} .. {most}")
    return found


def number(where: str, what: str, value: Any, low: float = -math.inf, high: float = math.inf, *, above: bool = False) -> float:
    """A finite real number from ``low`` to ``high``; ``above``: larger than ``low``.

    >>> number("activity", "target", 1, 0, 1), number("ngram_bits", "alpha", 0.5, 0, above=True)
    (1.0, 0.5)
    """
    sort = np.asarray(value).dtype.kind if np.ndim(value) == 0 else ""
    found = float(value) if sort in tuple("iuf") else math.nan
    if not (math.isfinite(found) and low <= found <= high) or (above and found == low):
        limits = f"{low:g} .. {high:g}" if math.isfinite(high) else f"a finite number{_bound(low, above)}"
        raise refuse(where, what, value, limits)
    return found


def _bound(low: float, above: bool) -> str:
    return f" {'>' if above else '>='} {low:g}" if math.isfinite(low) else ""


def flag(where: str, what: str, value: Any) -> bool:
    """True or False.

    >>> flag("task copy", "curriculum", np.True_)
    True
    """
    if not isinstance(value, bool | np.bool_):
        raise refuse(where, what, value, "True or False")
    return bool(value)


def seed(where: str, value: Any) -> int:
    """A seed, which is a whole number: results that nobody can repeat are not made here.

    >>> seed("UORO", None)
    Traceback (most recent call last):
        ...
    ValueError: UORO: seed is None; legal: a whole number >= 0
    """
    return whole(where, "seed", value, 0)


def choice(where: str, what: str, value: Any, legal: Sequence[Any]) -> Any:
    """One of a few texts.

    >>> choice("ngram_bits", "method", "plain", ("adaptive", "plain"))
    'plain'
    """
    if not isinstance(value, str) or value not in legal:
        raise refuse(where, what, value, ", ".join(map(repr, legal)))
    return value


def text(where: str, what: str, value: Any, legal: str = "a text") -> str:
    """A text that is not empty.

    >>> text("activity", "population", "h")
    'h'
    """
    if not isinstance(value, str) or not value:
        raise refuse(where, what, value, legal)
    return value


def names(where: str, what: str, value: Any, legal: Sequence[str]) -> list[str]:
    """Several texts, each one of ``legal`` and none twice.

    >>> names("raster", "populations", "h", ["h", "g"])
    Traceback (most recent call last):
        ...
    ValueError: raster: populations is 'h'; legal: a list of names out of ['h', 'g']
    """
    try:
        found = None if isinstance(value, str | bytes) else list(value)
    except TypeError:
        found = None
    if found is None or any(not isinstance(n, str) or n not in legal for n in found) or len(set(found)) < len(found):
        raise refuse(where, what, value, f"a list of names out of {list(legal)}")
    return found


def array(value: Any) -> np.ndarray:
    """An array of NumPy, JAX, PyTorch or any that speaks DLPack as NumPy's, without a copy where it is in main memory.

    >>> array([1, 2]).tolist()
    [1, 2]
    """
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack__"):
        return np.asarray(value)
    try:
        return np.from_dlpack(value)
    except (BufferError, TypeError, ValueError, RuntimeError):  # numpy.asarray says why, or copies
        return np.asarray(value)


def numbers(where: str, what: str, value: Any, legal: str = "an array of real numbers") -> np.ndarray:
    """An array; lists of unequal length and texts are refused.

    >>> numbers("accuracy", "z", [[1, 2], [3]])
    Traceback (most recent call last):
        ...
    ValueError: accuracy: z is [[1, 2], [3]]; legal: an array of real numbers
    """
    try:
        found = array(value)
    except ValueError:
        raise refuse(where, what, value, legal) from None
    except (TypeError, RuntimeError, BufferError) as error:  # on another device, or part of somebody's graph
        why = str(error).splitlines()[0]
        raise ValueError(f"{where}: {what} is a {type(value).__name__} that cannot be read ({why})") from None
    if found.dtype.kind not in "iubf":
        raise refuse(where, what, value, legal)
    return found


def having(where: str, what: str, value: Any, methods: Sequence[str], legal: str) -> Any:
    """A value with these methods; its class, or the function that makes one, is none yet.

    >>> having("fit", "optimizer", int, ("update",), "an optimizer, such as adam(1e-3)")
    Traceback (most recent call last):
        ...
    ValueError: fit: optimizer is <class 'int'>; legal: an optimizer, such as adam(1e-3)
    """
    if isinstance(value, type) or not all(callable(getattr(value, name, None)) for name in methods):
        raise refuse(where, what, value, legal)
    return value


def network(where: str, value: Any) -> Any:
    """A Network."""
    return having(where, "net", value, ("view", "initialize"), "a Network")


def loss(where: str, value: Any) -> Any:
    """Anything with ``signal``."""
    return having(where, "loss", value, ("signal",), "a loss, such as losses.squared_error(targets)")


def task(where: str, value: Any) -> Any:
    """Anything with ``batch`` and ``loss``."""
    return having(where, "task", value, ("batch", "loss"), "srl.tasks.arrays(x, labels) for data of your own, or another task")
