"""Brian2 under every test here: numpy as the target, its usual clock, and random numbers that do not depend on the order."""

from __future__ import annotations

from collections.abc import Iterator

import brian2 as b2
import pytest


@pytest.fixture(autouse=True)
def fresh_brian() -> Iterator[None]:
    """Set for a test, put back after it."""
    target, dt = b2.prefs.codegen.target, float(b2.defaultclock.dt)
    b2.prefs.codegen.target = "numpy"
    b2.seed(1)
    yield
    b2.prefs.codegen.target, b2.defaultclock.dt = target, dt * b2.second
