"""Files of a folder that are imported when they are first asked for."""

from __future__ import annotations

import importlib
from typing import Any


def module(package: str, name: str) -> Any:
    """What ``package.__getattr__(name)`` returns for a file of its folder.

    >>> module("spikertrl", "units").__name__
    'spikertrl.units'

    Raises
    ------
    AttributeError
        If there is no such file.
    """
    try:
        return importlib.import_module(f".{name}", package)
    except ModuleNotFoundError as error:
        if error.name != f"{package}.{name}":
            raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
