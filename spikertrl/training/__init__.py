"""Training: gradients of sequences, runs over a task, and learning from a stream."""

from __future__ import annotations

from typing import Any

from ..lazy import module


def __getattr__(name: str) -> Any:
    """A file of this folder, imported when it is first asked for."""
    return module(__name__, name)
