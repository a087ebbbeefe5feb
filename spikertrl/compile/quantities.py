"""Numbers with units, read through Brian2."""

from __future__ import annotations

from typing import Any

from brian2.units import allunits, stdunits
from brian2.units.fundamentalunits import Dimension, Unit, get_dimensions

from ..model import Model, ModelError

UNITS = {name: unit for module in (allunits, stdunits) for name, unit in vars(module).items() if isinstance(unit, Unit)}


def quantity(value: Any) -> Any:
    """A number, a Brian2 quantity, or text with units ("20*ms") as a quantity."""
    if isinstance(value, str):
        return eval(value, {"__builtins__": {}}, dict(UNITS))  # model files are code already
    return value


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
    return float(found)
