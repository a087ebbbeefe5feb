"""What cannot be imported, and how it is said: the object, the line, the reason, the way out."""

from __future__ import annotations

from typing import Any, NoReturn

from ...network.elements import NetworkError


class BrianImportError(NetworkError):
    """A Brian2 construct that cannot be imported; the message names the object, the line and what to do."""


def kind(thing: Any) -> str:
    """How messages call a Brian2 object: its class and its name."""
    found = getattr(thing, "__repr__", None)
    inside = getattr(found, "__self__", thing)  # Brian2 hands out weak proxies
    return f"{type(inside).__name__} {getattr(thing, 'name', '?')!r}"


def refuse(thing: Any, line: str, why: str, instead: str) -> NoReturn:
    """Raise a BrianImportError.

    >>> refuse(None, "v += rand()", "it is random", "use a PoissonGroup")
    Traceback (most recent call last):
        ...
    spikertrl.brian.read.errors.BrianImportError: NoneType '?', 'v += rand()': it is random; use a PoissonGroup
    """
    where = f"{kind(thing)}, {' '.join(line.split())!r}" if line else kind(thing)
    raise BrianImportError(f"{where}: {why}; {instead}")
