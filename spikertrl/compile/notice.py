"""A word while something is compiled that takes a while: one line a model and one for the loops of learners.

It goes to the logger "spikertrl.compile" as a warning, which Python shows on stderr unless told otherwise:
``logging.getLogger("spikertrl").setLevel(logging.ERROR)`` keeps it quiet. Level INFO names all
that is compiled, as it begins.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

from numba.core import event

from .cache import PACKAGE, _is_ours

PATIENCE = 2.0  # seconds of compiling one thing, in one piece or several, before it is said
LOOPS = "the loops of the learners"
logger = logging.getLogger("spikertrl.compile")
_spent: dict[str, float] = {}  # thing -> seconds so far
_told: set[str] = set()
_named: set[str] = set()  # at level INFO
_inside = threading.local()  # depth: what is compiled meanwhile belongs to what began


@contextmanager
def compiling(thing: str) -> Iterator[None]:
    """Say, once, that this thing is being compiled, if that takes longer than ``PATIENCE`` in all."""
    timer = _begin(thing)
    try:
        yield
    finally:
        _end(timer)


def _begin(thing: str) -> tuple[Any, str, float] | None:
    _inside.depth = getattr(_inside, "depth", 0) + 1
    if _inside.depth > 1:
        return None
    if thing not in _named:
        _named.add(thing)
        logger.info("compiling %s", thing)
    timer = None
    if thing not in _told:
        timer = Timer(max(PATIENCE - _spent.get(thing, 0.0), 0.0), _tell, (thing,))
        timer.daemon = True
        timer.start()
    return timer, thing, time.monotonic()


def _end(begun: tuple[Any, str, float] | None) -> None:
    _inside.depth -= 1
    if begun is not None:
        timer, thing, start = begun
        _spent[thing] = _spent.get(thing, 0.0) + time.monotonic() - start
        if timer is not None:
            timer.cancel()


def _tell(thing: str) -> None:
    if thing not in _told:
        _told.add(thing)
        logger.warning("compiling %s (once; later starts take it from the cache)", thing)


def _thing(file: str) -> str:
    """What a file's functions belong to: a model, by the name of its generated file, or the package."""
    model = re.fullmatch(r"(\w+)_float(?:32|64)_[0-9a-f]+_[0-9a-f]+", Path(file).stem)
    return model[1] if model and PACKAGE not in Path(file).parents else LOOPS


class _Listener(event.Listener):
    """Hears numba begin and end; what was read from the cache makes no event."""

    def __init__(self) -> None:
        self.begun: dict[int, list[Any]] = {}  # thread -> what it began

    def on_start(self, event: Any) -> None:
        file = event.data["dispatcher"].py_func.__code__.co_filename
        ours = _is_ours(file)
        self.begun.setdefault(threading.get_ident(), []).append((_begin(_thing(file)),) if ours else None)

    def on_end(self, event: Any) -> None:
        begun = self.begun[threading.get_ident()].pop()
        if begun is not None:
            _end(begun[0])


event.register("numba:compile", _Listener())
