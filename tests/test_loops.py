"""What is compiled without an entrance answers Python all the same."""

from __future__ import annotations

import numpy as np
from numba.core.registry import CPUDispatcher

from spikertrl.learners.engines.simd.rows import sum_rows
from spikertrl.loops import Inner, inner, loop


@inner()
def scaled(row, factor):
    return factor * row[0]


@loop()
def sum_of_scaled(row, factors):
    total = 0.0
    for factor in factors:
        total += scaled(row, factor)
    return total


def test_a_loop_may_be_called_by_loops_and_by_python() -> None:
    row, factors = np.array([3.0, 4.0]), np.array([2.0, 5.0])
    assert sum_of_scaled(row, factors) == 21.0
    assert scaled(row, 2.0) == 6.0 and scaled(row.astype(np.float32), np.float32(0.5)) == 1.5
    assert type(scaled) is Inner and type(sum_of_scaled) is CPUDispatcher


def test_those_of_the_engines_too() -> None:
    target, source = np.zeros(16), np.arange(32.0)
    sum_rows(target, 0, 0.0, source, np.array([0, 16]), np.array([1.0, 2.0]), 2, 16)
    np.testing.assert_array_equal(target, source[:16] + 2 * source[16:])
