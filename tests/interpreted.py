"""Generated cells as plain Python: tests of what their text says need no compiler, which would take most of their time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import numpy as np
import pytest

import spikertrl.simulation.events  # noqa: F401 - what cells import is compiled as ever, whichever test comes first
from spikertrl.compile import cell


@contextmanager
def plain_cells() -> Iterator[None]:
    """Models that are compiled inside become modules of plain Python functions."""
    execute = cell._execute

    def plain(path):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(numba.config, "DISABLE_JIT", 1)
            module = execute(path)
        module._apart = lambda: None
        return module

    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):  # as in compiled code
        patch.setattr(cell, "_execute", plain)
        patch.setattr(cell, "_cells", {})
        yield


@pytest.fixture
def interpreted() -> Iterator[None]:
    with plain_cells():
        yield
