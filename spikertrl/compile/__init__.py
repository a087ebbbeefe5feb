"""From the text of a model to compiled code: parse, discretise, differentiate, print, compile."""

from .cell import Cell, cache_folder, compile_model

__all__ = [
    "Cell",
    "cache_folder",
    "compile_model",
]
