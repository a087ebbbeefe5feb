"""Ask Brian2 something from any thread, without leaving a trace on the device that the user has chosen."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_importing = threading.Lock()


def import_brian2() -> None:
    """Import Brian2 for this package's own use, in a worker thread too, and leave the process as it was.

    As it is imported, Brian2 puts itself in front of uncaught exceptions, warnings and Ctrl-C. A program that has imported it
    wants that; one that has only built a network of this package does not.
    """
    with _importing:
        if "brian2" not in sys.modules:
            with _settings_kept():
                _import()
    import brian2  # noqa: F401 - a thread that comes second waits here


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Put back what belongs to the process, not to a library."""
    is_main = threading.current_thread() is threading.main_thread()
    hook, interrupt, told = sys.excepthook, signal.getsignal(signal.SIGINT), logging.getLogger("py.warnings")
    handlers, shown = list(told.handlers), warnings.showwarning
    try:
        with warnings.catch_warnings():
            yield
            if warnings.showwarning is not shown:
                logging.captureWarnings(False)
    finally:
        sys.excepthook, told.handlers[:] = hook, handlers
        if is_main and interrupt is not None:
            signal.signal(signal.SIGINT, interrupt)


def _import() -> None:
    """Import Brian2. It sets a handler of Ctrl-C, which Python allows in the main thread only: elsewhere that is left out."""
    if threading.current_thread() is threading.main_thread():
        import brian2
    else:
        real = signal.signal

        def only_in_the_main_thread(number: Any, handler: Any) -> Any:
            is_main = threading.current_thread() is threading.main_thread()
            return real(number, handler) if is_main else signal.getsignal(number)

        signal.signal = only_in_the_main_thread
        try:
            import brian2  # noqa: F401
        finally:
            signal.signal = real


@contextmanager
def at_runtime() -> Iterator[None]:
    """Use Brian2's runtime device for a while: a standalone device would keep, and later miss, every group made meanwhile."""
    from brian2.devices.device import RuntimeDevice, get_device, reset_device, set_device

    if isinstance(get_device(), RuntimeDevice):
        yield
        return
    set_device("runtime")
    try:
        yield
    finally:
        reset_device()
