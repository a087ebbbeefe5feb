"""From the text of a model to compiled code: parse, discretise, differentiate, print, compile."""

from . import cache as _cache  # noqa: F401 - first, because it decides where compiled code is kept

# isort: split
from .cell import Cell, cache_folder, compile_model

__all__ = [
    "Cell",
    "cache_folder",
    "compile_model",
]
