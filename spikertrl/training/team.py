"""What ``fit`` asks of those who train one network together; here, of one process that is alone. See ``parallel.team``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cost import Cost, cost_of
from ..learners.base import Learner, Signal
from ..losses.base import Loss
from . import checkpoint, shares
from .gradients import signal_of

if TYPE_CHECKING:
    from ..network.network import Network
    from ..network.wiring import Wiring
    from ..tape import Tape


class Team:
    """One process; a learner over ranks brings a team of its own (``learner.team()``), which does the same things together."""

    first = True  # the one that writes, prints and draws

    def learner(self, learner: Learner) -> Learner:
        """The learner that a checkpoint is of, however many share it."""
        return learner

    def lanes(self, batch: int) -> slice:
        """The lanes that are simulated here."""
        return slice(0, batch)

    def check_alike(self, what: dict[str, Any]) -> None:
        """Raise ValueError where others were given something else."""
        del what

    def together(self, action: Callable[[], Any]) -> Any:
        """Do something that may fail here and not with others; then all fail."""
        return action()

    def of_lanes(self, action: Callable[[], Any]) -> Any:
        """Do something with the lanes that are here, which may fail for some of them alone."""
        return action()

    def by_first(self, action: Callable[[], Any]) -> Any:
        """Let the first do something and tell the others what came of it."""
        return action()

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """Each flag: has anybody raised it?"""
        return flags

    def totals(self, *counts: int) -> tuple[int, ...]:
        """Sums of what was counted in the lanes of all."""
        return counts

    def signal(self, net: Network, loss: Loss, tape: Tape, start: int, total: int, *, ends: bool) -> Signal:
        """The loss's opinion on the lanes of all, as far as it concerns those here."""
        return signal_of(net, loss, tape, start, total, ends=ends)

    def gradient(self, learner: Learner, memory: Any, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance the learner's state; the gradient of the whole loss."""
        return learner.update(memory, tape, signal)

    def cost(self, memory: Any) -> Cost | None:
        """What the learner has cost so far, everywhere."""
        return cost_of(memory)

    def write(self, path: Path, content: dict[str, Any]) -> None:
        """One checkpoint of all that are here."""
        checkpoint.save(path, content)

    def read(self, path: Path, net: Network, like: dict[str, Any], check: Callable[[Any], None]) -> dict[str, Any]:
        """A checkpoint, whoever wrote it: what is of the kind of ``like`` for the lanes and columns that are here."""
        with checkpoint.opened(path, net.wiring, like, check) as found:
            w = {name: shares.wiring_seen(like[name], net.wiring) for name in SHARED}
            whole = {name: joined(found, name, w[name]) for name in SHARED} if "lanes" in found else {}
            return checkpoint.fits(found | whole, like)


def joined(found: dict[str, Any], name: str, w: Wiring) -> Any:
    """A state of all lanes, of a checkpoint that has them in shares."""
    counts = [int(n) for n in found["lanes"]]
    return shares.lanes(found[name], counts, slice(0, sum(counts)), w)


SHARED = ("sim", "memory")  # kept by lanes: a list, share by share, where ranks have lanes of their own
