"""One pool of threads at a time: numba's parallel loops and BLAS never compete for the same cores.

Everything here is safe to use from several Python threads at once. What is process-wide (the limit on BLAS) is
set by the first thread that enters, under a lock, and put back by that thread when it leaves. The number of threads of
numba's loops belongs to the calling thread. numba's layer "workqueue" dies when two threads call it at a time, so
``parallel_loops`` lets one in at a time there; "omp" and "tbb" take any number. GNU's OpenMP dies in a forked process, so
``parallel_loops`` says so there, before anything hangs.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

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


# -- compiled parallel loops -------------------------------------------------------------------------------------------
class _Loops:
    """What this process knows of numba's threading layer."""

    def __init__(self) -> None:
        self.one_at_a_time = threading.RLock()
        self.layer = ""  # not yet asked
        self.dead = False  # a fork of a process in which GNU's OpenMP ran

    def ask(self) -> str:
        if not self.layer:
            numba.get_num_threads()  # starts the layer
            self.layer = _started()
        return self.layer

    def forked(self) -> None:
        self.one_at_a_time = threading.RLock()
        self.dead = _started() == "omp"


def _started() -> str:
    """The layer that runs in this process, or nothing."""
    try:
        return numba.threading_layer()  # type: ignore[attr-defined]
    except ValueError:
        return ""


_loops = _Loops()


@contextmanager
def parallel_loops() -> Iterator[None]:
    """Around every call that may run compiled parallel loops (a learner's ``init`` and ``update``).

    Raises
    ------
    RuntimeError
        In a process that was forked from one whose loops ran on OpenMP.
    """
    if _loops.dead:
        raise RuntimeError(
            "this process was forked from one that had started OpenMP, which cannot go on in a fork; start workers with "
            "multiprocessing.get_context('spawn') or 'forkserver', or set NUMBA_THREADING_LAYER=workqueue before Python starts"
        )
    if (_loops.layer or _loops.ask()) != "workqueue":
        yield
        return
    with _loops.one_at_a_time:
        yield


# -- loops without the interpreter's lock, each in a thread of its own ---------------------------------------------------
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


# -- BLAS ----------------------------------------------------------------------------------------------------------------
@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


class _Limit:
    """The limit on BLAS: set by the first thread that enters, put back by that thread (OpenBLAS may not obey another)."""

    def __init__(self) -> None:
        self.lock, self.limiter, self.owner = threading.Lock(), None, 0

    def enter(self, blas_threads: int) -> None:
        with self.lock:
            if self.limiter is None:
                self.limiter: Any = _controller().limit(limits=blas_threads, user_api="blas")
                self.owner = threading.get_ident()

    def leave(self) -> None:
        with self.lock:
            if self.limiter is not None and self.owner == threading.get_ident():
                self.limiter.restore_original_limits()
                self.limiter = None

    def forked(self, inside: bool) -> None:
        """In a fork only the thread that forked lives on: what another had set is put back."""
        self.lock = threading.Lock()
        if self.limiter is not None and not (inside and self.owner == threading.get_ident()):
            self.owner = threading.get_ident()
            self.leave()


_limit = _Limit()
_here = threading.local()  # how deep this thread is inside ``one_pool``


@contextmanager
def one_pool(blas_threads: int = 1):
    """Limit BLAS to ``blas_threads`` while compiled parallel loops run in between; nested uses change nothing.

    The limit is one for the process: while a thread is inside, others find BLAS limited too.
    """
    depth = getattr(_here, "depth", 0)
    if depth == 0:
        _limit.enter(blas_threads)
    _here.depth = depth + 1
    try:
        yield
    finally:
        _here.depth = depth
        if depth == 0:
            _limit.leave()


def _forked() -> None:
    _pool.cache_clear()  # its threads stayed behind
    _limit.forked(getattr(_here, "depth", 0) > 0)
    _loops.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def describe() -> str:
    """Threads that numba and BLAS would use, one line."""
    pools = [f"{p['internal_api']} {p['num_threads']}" for p in _controller().info() if p["user_api"] == "blas"]
    blas = ", ".join(pools) or "unknown"
    return f"numba {numba.get_num_threads()} (parallel loops); BLAS {blas} outside, 1 inside spikertrl's loops"
