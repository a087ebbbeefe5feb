"""What the machine has: cores, and memory for learning, asked for before it is taken; clearly refused where it is not there."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import psutil


class NotEnoughMemory(MemoryError):
    """What a learner asks for is more than the machine has free."""




def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
            return f"{size:.0f} {unit}" if size >= 999.5 else f"{size:.3g} {unit}"
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


def shared_out(cost: np.ndarray, ranks: int) -> np.ndarray:
    """The rank of every piece of work: heavy ones first, each to the rank with the least so far.

    >>> shared_out(np.array([5, 1, 3, 2]), 2).tolist()
    [0, 0, 1, 1]
    """
    load, owner = np.zeros(ranks), np.empty(len(cost), np.int64)
    for piece in np.argsort(-cost, kind="stable"):
        owner[piece] = load.argmin()
        load[owner[piece]] += cost[piece]
    return owner


def enough_ranks(each: np.ndarray, cost: np.ndarray, room: int) -> int:
    """The least number of ranks on each of which its pieces, of ``each`` bytes, fit into ``room`` bytes; 0: no number would do.

    >>> enough_ranks(np.array([6, 6, 6]), np.array([1, 1, 1]), 12)
    2
    """
    if not len(each) or room < each.max():
        return 0
    ranks = range(max(1, -(-int(each.sum()) // room)), len(each) + 1)
    return next(n for n in ranks if np.bincount(shared_out(cost, n), each).max() <= room)
