"""One pool of threads at a time: compiled loops and BLAS never compete for the same cores.

Compiled loops that hold no lock of the interpreter are shared out over threads of one pool, each a part of its own; numba's
parallel loops are not used, so that there is no layer of theirs to die in a fork or under two callers.
Everything here is safe to use from several Python threads at once. What is process-wide (the limit on BLAS) is
set by the first thread that enters, under a lock, and put back by that thread when it leaves. The number of threads that loops
may take belongs to the calling thread.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import scipy.linalg.cython_blas  # noqa: F401  (the BLAS of compiled loops: loaded now, so that its threads are limited too)
from numba import config
from threadpoolctl import ThreadpoolController

SMALL_WORK = 2e6  # multiply-adds below which starting a second thread costs more than it gives
_here = threading.local()  # of this thread: how deep inside ``one_pool``; how many threads its loops may take


# -- how many ----------------------------------------------------------------------------------------------------------
def threads() -> int:
    """Threads that a compiled loop may take here: ``NUMBA_NUM_THREADS`` (by default one a core), or ``at_most`` so many."""
    return getattr(_here, "most", 0) or config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]


@contextmanager
def at_most(most: int) -> Iterator[None]:
    """Inside, loops that this thread starts take ``most`` threads or fewer."""
    before = getattr(_here, "most", 0)
    _here.most = max(1, min(most, threads()))
    try:
        yield
    finally:
        _here.most = before


@contextmanager
def threads_for(work: float, small: float = SMALL_WORK) -> Iterator[None]:
    """Inside, loops take one thread if ``work`` (multiply-adds) is less than ``small``."""
    if work >= small or threads() == 1:
        yield
        return
    with at_most(1):
        yield


# -- loops without the interpreter's lock, each part in a thread of its own ----------------------------------------------
def share(part: Callable[[int], object], workers: int) -> None:
    """Call ``part(0)`` .. ``part(workers - 1)``, compiled loops without the interpreter's lock, each in its own thread."""
    if workers == 1:
        part(0)
        return
    others = [_pool(workers).submit(part, k) for k in range(1, workers)]
    try:
        part(0)
    finally:  # they write into arrays of the caller's
        wait(others)
    for other in others:
        other.result()


def in_parts(loop: Callable[[slice], object], length: int) -> None:
    """Call ``loop(part)`` for slices that make up ``range(length)``, as many as there are threads, each in its own thread."""
    workers = max(1, min(threads(), length))
    share(lambda k: loop(slice(length * k // workers, length * (k + 1) // workers)), workers)


@functools.cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers - 1, "spikertrl")


# -- BLAS ----------------------------------------------------------------------------------------------------------------
@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@functools.cache
def _blas() -> list[Any]:
    return [library for library in _controller().lib_controllers if library.user_api == "blas"]


class _Limit:
    """The limit on BLAS: set by the first thread that enters, put back by that thread (OpenBLAS may not obey another)."""

    def __init__(self) -> None:
        self.lock, self.before, self.owner = threading.Lock(), [], 0

    def enter(self, blas_threads: int) -> None:
        with self.lock:
            if not self.owner:
                self.owner = threading.get_ident()
                found = [(library, library.get_num_threads()) for library in _blas()]
                self.before: list[tuple[Any, int]] = [pair for pair in found if pair[1] not in (None, blas_threads)]
                for library, _ in self.before:
                    library.set_num_threads(blas_threads)

    def leave(self) -> None:
        with self.lock:
            if self.owner == threading.get_ident():
                for library, most in self.before:
                    library.set_num_threads(most)
                    getattr(library, "clear_controlling_thread", bool)()  # of OpenBLAS: another thread may set it next
                self.before, self.owner = [], 0

    def forked(self, inside: bool) -> None:
        """In a fork only the thread that forked lives on: what another had set is put back."""
        self.lock = threading.Lock()
        if self.owner and not (inside and self.owner == threading.get_ident()):
            self.owner = threading.get_ident()
            self.leave()


_limit = _Limit()


@contextmanager
def one_pool(blas_threads: int = 1):
    """Limit BLAS to ``blas_threads`` while compiled loops run in between; nested uses change nothing.

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


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def describe() -> str:
    """Threads that compiled loops and BLAS would use, one line."""
    pools = [f"{p['internal_api']} {p['num_threads']}" for p in _controller().info() if p["user_api"] == "blas"]
    return f"compiled loops {threads()}; BLAS {', '.join(pools) or 'unknown'} outside, 1 inside spikertrl's loops"
