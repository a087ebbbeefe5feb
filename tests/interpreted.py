"""Generated cells as plain Python: tests of what their text says need no compiler, which would take most of their time."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from spikertrl.compile import cell


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch):
    """Models that are compiled in this test become modules of plain Python functions."""
    execute = cell._execute

    def plain(path):
        with monkeypatch.context() as patch:
            patch.setattr(numba.config, "DISABLE_JIT", 1)
            module = execute(path)
        module._apart = lambda: None
        return module

    monkeypatch.setattr(cell, "_execute", plain)
    monkeypatch.setattr(cell, "_cells", {})
    with np.errstate(all="ignore"):  # as in compiled code
        yield
