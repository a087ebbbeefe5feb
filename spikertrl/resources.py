"""How much memory learning will need, before any of it is taken; and a clear refusal where it is not there."""

from __future__ import annotations

from collections.abc import Callable

import psutil


class NotEnoughMemory(MemoryError):
    """What a learner asks for is more than the machine has free."""




def available() -> int:
    """Bytes that can be taken without swapping."""
    return int(psutil.virtual_memory().available)


def readable(size: float) -> str:
    """
    >>> readable(3 * 2**30)
    '3.00 GiB'
    """
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.2f} GiB" if size < 1024 else f"{size / 1024:.2f} TiB"


def require(needed: int, what: str, advice: Callable[[int], str]) -> None:
    """Raise NotEnoughMemory, with ``advice(available)``, if ``needed`` bytes are not free."""
    free = available()
    if needed > free:
        raise NotEnoughMemory(f"{what} needs {readable(needed)}, {readable(free)} are available; {advice(free)}")


def smaller(needed: int, free: int, batch: int) -> list[str]:
    """What every learner with an influence can be advised: fewer connections, fewer lanes."""
    ways = [f"keep at most {free / needed:.1%} of the connections (density=)"]
    if batch > 1 and needed // batch <= free:
        ways.append(f"batch {free * batch // needed}")
    return ways
