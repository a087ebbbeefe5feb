"""Numbers with units at the door: Brian2 quantities, text such as "20*ms", or plain numbers, as SI base values.

Brian2 itself is imported only when text with units must be read; quantities are recognised by their ``dim`` attribute.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .language import TextError

_TIMES = {"s": 1.0, "second": 1.0, "ms": 1e-3, "msecond": 1e-3, "us": 1e-6, "usecond": 1e-6}
_SECOND = (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)
PLAIN = (0.0,) * 7
_BASE_UNITS = ("metre", "kilogram", "second", "amp", "kelvin", "mole", "candle")
MOST_STEPS = 1_000_000  # of a delay


def seconds(value: Any, *, zero: bool = False) -> float:
    """A time in seconds from a number (seconds), a Brian2 time, or text.

    >>> seconds("0.5*ms"), seconds(0.001), seconds("0*ms", zero=True)
    (0.0005, 0.001, 0.0)

    Raises
    ------
    ValueError
        If it is not a positive, finite time; with ``zero``, 0 is one too.
    """
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([-+.\deE]+)\s*\*\s*(\w+)\s*", value)
        if not match or match[2] not in _TIMES:
            raise ValueError(f"cannot read the time {value!r}; write for example '1*ms' (units: {', '.join(_TIMES)})")
        found = _number(match[1], value) * _TIMES[match[2]]
    else:
        if hasattr(value, "dim") and tuple(value.dim._dims) != _SECOND:
            raise ValueError(f"expected a time, got {value!r}")
        found = _number(value, value)
    if not (0 <= found < np.inf if zero else 0 < found < np.inf):
        raise ValueError(f"a time must be {'at least 0' if zero else 'positive'} and finite, got {value!r}")
    return found


def _number(text: Any, value: Any) -> float:
    try:
        if isinstance(text, bool | np.bool_):
            raise TypeError
        return float(text)
    except (TypeError, ValueError):
        raise ValueError(f"cannot read the time {value!r}; give seconds, a Brian2 time or text such as '1*ms'") from None


def steps(value: Any, dt: float, what: str, whole: bool = True) -> Any:
    """Whole steps from an int (or array of ints) or a time (or array of times); with ``whole=False`` real ones.

    >>> steps(3, 1e-3, "delay"), steps("2*ms", 1e-3, "delay"), steps("2.5*ms", 1e-3, "delay", whole=False)
    (3, 2, 2.5)

    Raises
    ------
    ValueError
        If a plain number is not whole, a time is not a multiple of dt (to 1e-6 of a step), a quantity is no time, or there
        are more than a million of them.
    """
    if isinstance(value, str):
        exact = np.asarray(seconds(value, zero=True) / dt)
    else:
        if hasattr(value, "dim") and tuple(float(x) for x in value.dim._dims) != _SECOND:
            raise ValueError(f"{what} must be a time or {'whole ' * whole}steps, got {value!r}")
        exact = np.asarray(value, float) / (dt if hasattr(value, "dim") else 1)
    near = np.rint(exact)
    if whole and not np.all(np.abs(exact - near) <= 1e-6):
        raise ValueError(f"{what} must be whole steps of dt = {dt:g} s, got {value!r}")
    if np.any(np.abs(near) > MOST_STEPS):
        longest = np.max(np.abs(near))
        raise ValueError(f"{what} is {longest:g} steps of dt = {dt:g} s; at most {MOST_STEPS} messages of a unit are kept")
    if not whole:
        return float(exact) if exact.ndim == 0 else exact
    return int(near) if near.ndim == 0 else near.astype(np.int64)


def in_base_units(value: Any, dims: tuple[float, ...], what: str, size: int) -> Any:
    """A scalar or (size,) array in SI base units; callables pass through.

    Raises
    ------
    ValueError
        If the dimensions differ from ``dims``, a plain number is given where a unit is needed, the shape is wrong, or a value
        is not finite.
    """
    if callable(value):
        return value
    array = base_values(value, dims, what)
    if array.shape not in ((), (size,)):
        raise ValueError(f"{what} must be a number or have shape ({size},), got shape {array.shape}")
    return float(array) if array.ndim == 0 else array


def base_values(value: Any, dims: tuple[float, ...], what: str) -> np.ndarray:
    """Finite values of any shape in SI base units; the dimensions are checked as in ``in_base_units``."""
    value = _read(value, what) if isinstance(value, str) else value
    found = tuple(float(x) for x in value.dim._dims) if hasattr(value, "dim") else PLAIN
    if found != tuple(dims):
        hint = "give a Brian2 quantity or text such as '20*ms'" if any(dims) else "it has no unit"
        raise ValueError(f"{what} = {value!r} has the wrong unit; {hint}")
    try:
        if np.iscomplexobj(value):
            raise TypeError
        array = np.asarray(value, float)
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be a number, an array of numbers or text with a unit, got {value!r}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite, got {_first(array)}")
    return array


def base_text(value: Any) -> float | str:
    """A plain number as a float, text as it is, a quantity as text in base units that reads back to the same double.

    >>> base_text(3), base_text("20*ms")
    (3.0, '20*ms')
    """
    if isinstance(value, str):
        return value
    powers = zip(_BASE_UNITS, value.dim._dims if hasattr(value, "dim") else PLAIN, strict=True)
    units = [f"{name}**({float(power):g})" for name, power in powers if power]
    return "*".join([repr(float(value)), *units]) if units else float(value)


def _first(array: np.ndarray) -> str:
    """The first value of an array that is not finite, and where it stands."""
    if not array.ndim:
        return f"{float(array)}"
    place = np.argwhere(~np.isfinite(array))[0].tolist()
    return f"{array[tuple(place)]} at {tuple(place) if len(place) > 1 else place[0]}"


def _read(text: str, what: str) -> Any:
    """A quantity from text, through Brian2's units."""
    from .compile.brian_device import import_brian2

    import_brian2()
    from .compile.quantities import quantity

    try:
        return quantity(text)
    except TextError as error:
        raise ValueError(f"{what}: {error}; write a number with a unit, such as '20*ms'") from None
