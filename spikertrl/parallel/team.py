"""How ranks train together in ``fit``: what is told, summed and agreed on, and one checkpoint of them all.

A checkpoint is that of the plain learner: the first rank writes and reads it, and it does not say how many there were. What was
written on two ranks goes on on three, or in one process without a communicator.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import storage
from ..cost import Cost, cost_of
from ..learners.base import Learner, Signal
from ..network.wiring import Wiring
from ..training import checkpoint, shares
from ..training.gradients import signal_on
from ..training.team import SHARED, Team, joined
from .ranks import check_alike, my_lanes, sum_in_order, together
from .split import Split

if TYPE_CHECKING:
    from ..losses.base import Loss
    from ..network.network import Network
    from ..tape import Tape

WORK = ("propagation", "immediate", "messages", "readout", "bytes_held")


class RankTeam(Team):
    """The ranks of a communicator; a subclass says what each has of its own."""

    apart: tuple[str, ...]  # parts of a checkpoint that are not the same on all ranks
    summed: tuple[str, ...]  # of ``Cost``

    def __init__(self, comm: Any) -> None:
        self.comm, self.rank, self.first = comm, comm.Get_rank(), comm.Get_rank() == 0

    def learner(self, learner: Any) -> Learner:
        return learner.learner

    def check_alike(self, what: dict[str, Any]) -> None:
        check_alike(self.comm, what)

    def together(self, action: Callable[[], Any]) -> Any:
        return together(self.comm, action)

    def by_first(self, action: Callable[[], Any]) -> Any:
        return self.comm.bcast(together(self.comm, lambda: action() if self.first else None))

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        return tuple(n > 0 for n in self.sums(*flags))

    def cost(self, memory: Any) -> Cost | None:
        found = cost_of(memory.inner)
        if found is None:
            return None
        sums = self.sums(*(getattr(found, name) for name in self.summed))
        return replace(found, **dict(zip(self.summed, sums, strict=True)))

    def sums(self, *counts: int) -> tuple[int, ...]:
        """Of all ranks."""
        every = np.empty((self.comm.Get_size(), len(counts)), np.int64)
        self.comm.Allgather(np.array(counts, np.int64), every)
        return tuple(int(n) for n in every.sum(0))

    def read(self, path: Path, net: Network, like: dict[str, Any], check: Callable[[Any], None]) -> dict[str, Any]:
        """The first reads; it tells all what they have in common, and each what is its own."""
        w, state = net.wiring, like["memory"]
        like = like | {"memory": state.inner}
        found = self.together(lambda: self.opened(path, w, like, check) if self.first else {})
        common = {name: part for name, part in found.items() if name not in self.apart}
        mine = self._tell(common, w, like) | self.taken(path, found, like, state)
        fitting = self.together(lambda: _said_of(path, lambda: checkpoint.fits(mine, like)))
        state.inner = fitting["memory"]
        return fitting | {"memory": state}

    def opened(self, path: Path, w: Wiring, like: dict[str, Any], check: Callable[[Any], None]) -> dict[str, Any]:
        """What lies in the file; large arrays stay there."""
        with checkpoint.opened(path, w, like, check, mapped=True) as found:
            return found

    def _tell(self, tree: Any, w: Wiring, like: Any) -> Any:
        """What the first has, on all; index arrays are each rank's own."""
        told = self.comm.bcast(storage.packed(tree, checkpoint.CHECKPOINT) if self.first else None)
        return storage.unpacked(told, checkpoint.CHECKPOINT, w, like)

    def taken(self, path: Path, found: dict[str, Any], like: dict[str, Any], state: Any) -> dict[str, Any]:
        """What is not the same on all ranks, for this one; ``state``: the learner's, over ranks."""
        raise NotImplementedError


def _said_of(path: Path, action: Callable[[], Any]) -> Any:
    """What is found wrong with a checkpoint is said as everywhere."""
    with storage.refusal(path, checkpoint.CHECKPOINT):
        return action()


class ColumnsTeam(RankTeam):
    """Every rank simulates all lanes and keeps the influence of some units' parameters."""

    apart, summed = ("memory",), WORK

    def write(self, path: Path, content: dict[str, Any]) -> None:
        state = content["memory"]
        whole = Split(self.comm, state.wiring, state.owner).gathered(state.inner, path.parent)
        self.together(lambda: checkpoint.save(path, content | {"memory": whole}) if self.first else None)

    def opened(self, path: Path, w: Wiring, like: dict[str, Any], check: Callable[[Any], None]) -> dict[str, Any]:
        with checkpoint.opened(path, w, like, check, mapped=True) as found:
            return found | ({name: joined(found, name, w) for name in SHARED} if "lanes" in found else {})

    def taken(self, path: Path, found: dict[str, Any], like: dict[str, Any], state: Any) -> dict[str, Any]:
        split = Split(self.comm, state.wiring, state.owner)
        self.together(lambda: _said_of(path, lambda: split.check(found["memory"], state.inner)) if self.first else None)
        return {"memory": split.taken(found.get("memory"), state.inner)}


class LanesTeam(RankTeam):
    """Every rank simulates some lanes of each batch; all see the whole loss."""

    apart, summed = SHARED, (*WORK, "macs_dense", "bytes_dense", "lane_steps")

    def lanes(self, batch: int) -> slice:
        self.batch = batch
        return my_lanes(self.comm, batch)

    def of_lanes(self, action: Callable[[], Any]) -> Any:
        return self.together(action)

    def totals(self, *counts: int) -> tuple[int, ...]:
        return self.sums(*counts)

    def signal(self, net: Network, loss: Loss, tape: Tape, start: int, total: int, *, ends: bool) -> Signal:
        places = {p.name: slice(p.start, p.start + p.size) for p in net.populations.values()}
        messages = Told(places, self, tape.units(net.wiring))
        mine = my_lanes(self.comm, self.batch)
        return signal_on(net, loss, self.all_lanes(tape.z), messages, start, total, ends=ends, lanes=mine)

    def all_lanes(self, here: np.ndarray) -> np.ndarray:
        """(steps, lanes, n) of all ranks, from those of each."""
        ranks, (steps, _, n) = self.comm.Get_size(), here.shape
        counts = [steps * n * (self.batch * (r + 1) // ranks - self.batch * r // ranks) for r in range(ranks)]
        found = np.empty((self.batch, steps, n), here.dtype)
        self.comm.Allgatherv(np.ascontiguousarray(here.swapaxes(0, 1)), [found, counts])
        return np.ascontiguousarray(found.swapaxes(0, 1))

    def gradient(self, learner: Any, memory: Any, tape: Tape, signal: Signal) -> np.ndarray:
        return sum_in_order(self.comm, learner.learner.update(memory.inner, tape, signal))

    def write(self, path: Path, content: dict[str, Any]) -> None:
        mine = {"sim": content["sim"], "memory": content["memory"].inner}
        told = self.comm.gather(storage.packed(mine, checkpoint.CHECKPOINT))

        def save() -> None:
            w, own = content["memory"].wiring, mine["memory"]
            parts = [storage.unpacked(one, checkpoint.CHECKPOINT, w, own) for one in told]
            listed = {name: [part[name] for part in parts] for name in SHARED}
            checkpoint.save(path, content | listed | {"lanes": content["memory"].counts})

        self.together(lambda: save() if self.first else None)

    def taken(self, path: Path, found: dict[str, Any], like: dict[str, Any], state: Any) -> dict[str, Any]:
        every = self.together(lambda: _said_of(path, lambda: self._cut(found, state.wiring, like)) if self.first else None)
        return storage.unpacked(self.comm.scatter(every), checkpoint.CHECKPOINT, state.wiring, like)

    def read(self, path: Path, net: Network, like: dict[str, Any], check: Callable[[Any], None]) -> dict[str, Any]:
        found = super().read(path, net, like, check)
        found["memory"].draw_for_all()
        return found

    def _cut(self, found: dict[str, Any], w: Wiring, like: dict[str, Any]) -> list[Any]:
        """The lanes of each rank, to be told to it."""
        ranks, counts = self.comm.Get_size(), found.get("lanes", [self.batch])
        parts = {name: found[name] if "lanes" in found else [found[name]] for name in SHARED}
        edges = [self.batch * r // ranks for r in range(ranks + 1)]
        seen = {name: shares.wiring_seen(like[name], w) for name in SHARED}
        return [
            storage.packed({n: shares.lanes(parts[n], counts, slice(a, z), seen[n]) for n in SHARED}, checkpoint.CHECKPOINT)
            for a, z in itertools.pairwise(edges)
        ]


class Told(Mapping):
    """Messages of all lanes by population, told when they are asked for: most losses do not ask."""

    def __init__(self, places: dict[str, slice], team: LanesTeam, here: np.ndarray) -> None:
        self.places, self.team, self.here = places, team, here

    def __getitem__(self, name: str) -> np.ndarray:
        return self.team.all_lanes(self.here[:, :, self.places[name]])

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)
