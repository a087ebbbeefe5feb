"""Ask Brian2 something without leaving a trace on the device that the user has chosen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


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
