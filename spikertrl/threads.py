"""One pool of threads at a time: numba's parallel loops and BLAS never compete for the same cores."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numba
import scipy.linalg.cython_blas  # noqa: F401  (the BLAS of compiled loops: loaded now, so that its threads are limited too)
from threadpoolctl import ThreadpoolController

SMALL_WORK = 2e6  # multiply-adds below which starting a second thread costs more than it gives
os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # threads that wait do not hold a core that others could use


@contextmanager
def threads_for(work: float):
    """Inside, compiled parallel loops use one thread if ``work`` (multiply-adds) is too small to share."""
    before = numba.get_num_threads()
    if work >= SMALL_WORK or before == 1:
        yield
        return
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def share(part: Callable[[int], object], workers: int) -> None:
    """Call ``part(0)`` .. ``part(workers - 1)``, compiled loops without the interpreter's lock, each in its own thread."""
    if workers == 1:
        part(0)
        return
    others = [_pool(workers).submit(part, k) for k in range(1, workers)]
    part(0)
    for other in others:
        other.result()


@functools.cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers - 1, "spikertrl")


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


_inside = False


@contextmanager
def one_pool(blas_threads: int = 1):
    """Limit BLAS to ``blas_threads`` while compiled parallel loops run in between; nested uses change nothing."""
    global _inside
    if _inside:
        yield
        return
    _inside = True
    try:
        with _controller().limit(limits=blas_threads, user_api="blas"):
            yield
    finally:
        _inside = False


def describe() -> str:
    """Threads that numba and BLAS would use, one line."""
    pools = [f"{p['internal_api']} {p['num_threads']}" for p in _controller().info() if p["user_api"] == "blas"]
    blas = ", ".join(pools) or "unknown"
    return f"numba {numba.get_num_threads()} (parallel loops); BLAS {blas} outside, 1 inside spikertrl's loops"
