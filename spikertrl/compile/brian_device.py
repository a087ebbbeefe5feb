"""Ask Brian2 something from any thread, without leaving a trace on the device that the user has chosen."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_importing = threading.Lock()


def import_brian2() -> None:
    """Import Brian2, in a worker thread too.

    Brian2 sets a handler for Ctrl-C as it is imported, which Python allows only in the main thread: elsewhere the handler
    stays as it is.
    """
    if "brian2" in sys.modules or threading.current_thread() is threading.main_thread():
        import brian2

        return
    with _importing:
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
