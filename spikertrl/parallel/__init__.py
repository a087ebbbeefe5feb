"""Beyond one process: one network shared out over MPI ranks by columns (exact) or by lanes."""

from __future__ import annotations

import importlib
from typing import Any

from .columns import bytes_per_rank, over_columns
from .lanes import my_lanes, over_lanes

__all__ = ["bytes_per_rank", "my_lanes", "over_columns", "over_lanes"]


def __getattr__(name: str) -> Any:
    """A file of this folder, imported when it is first asked for."""
    try:
        return importlib.import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
