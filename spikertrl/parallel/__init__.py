"""Beyond one process: one network shared out over MPI ranks by columns (exact) or by lanes."""

from __future__ import annotations

from typing import Any

from ..lazy import module
from .columns import over_columns
from .lanes import over_lanes
from .ranks import my_lanes

__all__ = ["my_lanes", "over_columns", "over_lanes"]


def __getattr__(name: str) -> Any:
    """A file of this folder, imported when it is first asked for."""
    return module(__name__, name)
