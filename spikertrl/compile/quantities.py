"""Numbers with units, read through Brian2."""

from __future__ import annotations

from . import quiet_brian  # noqa: F401 - first, so that importing Brian2 leaves the process as it was

# isort: split
import difflib
from typing import Any

import numpy as np
from brian2.units import allunits, stdunits
from brian2.units.fundamentalunits import Dimension, DimensionMismatchError, Unit, get_dimensions

from ..language import TextError, evaluate, names_in, parse
from ..model import Model, ModelError

UNITS = {name: unit for module in (allunits, stdunits) for name, unit in vars(module).items() if isinstance(unit, Unit)}


def quantity(value: Any) -> Any:
    """A number, a Brian2 quantity, or text with units ("20*ms") as a quantity.

    Raises
    ------
    TextError
        If the text is more than numbers and units joined by ``+ - * / **``.
    """
    if not isinstance(value, str):
        return value
    tree = parse(value, {})
    if unknown := sorted(names_in(tree)[0] - set(UNITS)):
        close = difflib.get_close_matches(unknown[0], sorted(UNITS), 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise TextError(f"{value!r} has {unknown[0]!r}, which is no unit{hint}")
    try:
        return evaluate(tree, UNITS, {})
    except (ArithmeticError, DimensionMismatchError, TypeError, ValueError) as error:
        raise TextError(f"{value!r} has no value: {error}") from None


def dimensions(unit: str) -> tuple[float, ...]:
    """Brian2's seven exponents of a unit such as "mV" or "1"."""
    return tuple(float(x) for x in dimension(unit)._dims)


def dimension(unit: str) -> Dimension:
    """Brian2's dimension of a unit such as "mV" or "1"."""
    return get_dimensions(quantity(unit) if unit != "1" else 1.0)


def base_value(model: Model, name: str, value: Any, unit: str) -> float:
    """``value`` in SI base units, or a ModelError if it does not have the dimensions of ``unit``."""
    try:
        found = quantity(value)
    except Exception as error:
        raise ModelError(f"model {model.name!r}: cannot read {name} = {value!r}: {error}") from None
    if tuple(get_dimensions(found)._dims) != tuple(dimensions(unit)):
        raise ModelError(f"model {model.name!r}: {name} = {value!r} does not have the unit {unit!r}")
    if not np.isfinite(float(found)):
        raise ModelError(f"model {model.name!r}: {name} = {value!r} is not finite")
    return float(found)
