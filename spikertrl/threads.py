"""One pool of threads at a time: numba's parallel loops and BLAS never compete for the same cores."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numba
import scipy.linalg.cython_blas  # noqa: F401  (the BLAS of compiled loops: loaded now, so that its threads are limited too)
from threadpoolctl import ThreadpoolController

SMALL_WORK = 2e6  # multiply-adds below which starting a second thread costs more than it gives
os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # threads that wait do not hold a core that others could use


@contextmanager
def threads_for(work: float, small: float = SMALL_WORK):
    """Inside, compiled parallel loops use one thread if ``work`` (multiply-adds) is less than ``small``."""
    before = numba.get_num_threads()
    if work >= small or before == 1:
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


class _Limit:
    """The limit on BLAS, which is the process's: the first to come sets it, the last to leave takes it away."""

    def __init__(self) -> None:
        self.lock, self.users, self.active = threading.RLock(), 0, None

    def enter(self, threads: int) -> None:
        with self.lock:
            if not self.users:
                self.active = _controller().limit(limits=threads, user_api="blas")
                self.active.__enter__()
            self.users += 1

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            if not self.users and self.active is not None:
                self.active.__exit__(None, None, None)
                self.active = None


_limit = _Limit()
_loops = threading.RLock()  # of a threading layer that must not be entered twice at a time
_forked_layer = ""


@contextmanager
def one_pool(blas_threads: int = 1):
    """Limit BLAS while compiled parallel loops run in between; nested uses, and those of other threads, change nothing.

    Raises
    ------
    RuntimeError
        In a process that was forked from one whose parallel loops run on OpenMP, which cannot go on there.
    """
    _refuse_fork()
    alone = _needs_lock()
    if alone:
        _loops.acquire()
    _limit.enter(blas_threads)
    try:
        yield
    finally:
        _limit.leave()
        if alone:
            _loops.release()


def _layer() -> str:
    """Numba's threading layer, or "" while no parallel loop has run."""
    try:
        return numba.threading_layer()  # type: ignore[attr-defined]
    except ValueError:
        return ""


def _needs_lock() -> bool:
    """Whether two threads must not run parallel loops at the same time: OpenMP and TBB allow it, numba's own layer aborts."""
    return _layer() not in ("omp", "tbb")


def _refuse_fork() -> None:
    if _forked_layer == "omp":
        raise RuntimeError(
            "this process was forked from one that had computed on OpenMP threads, which do not survive a fork; start it with "
            'multiprocessing.get_context("spawn"), or fork before the first computation'
        )


def _after_fork() -> None:
    """In a new child: threads are gone, locks may be held by no one."""
    global _forked_layer, _limit, _loops
    _forked_layer = _layer()
    _limit, _loops = _Limit(), threading.RLock()
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def describe() -> str:
    """Threads that numba and BLAS would use, one line."""
    pools = [f"{p['internal_api']} {p['num_threads']}" for p in _controller().info() if p["user_api"] == "blas"]
    blas = ", ".join(pools) or "unknown"
    return f"numba {numba.get_num_threads()} (parallel loops); BLAS {blas} outside, 1 inside spikertrl's loops"
