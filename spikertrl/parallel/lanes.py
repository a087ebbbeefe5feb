"""A batch over ranks: each has some lanes; gradients are averaged, in the order of the ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..learners.base import Learner, Signal
from ..tape import Tape
from .ranks import OverRanks, check_alike, sum_in_order, together
from .team import LanesTeam

if TYPE_CHECKING:
    from ..network.network import Network
    from ..network.wiring import Wiring


def over_lanes(learner: Learner, comm: Any = None) -> Learner:
    """The same learner with the lanes of a batch shared out over the ranks of a communicator.

    Parameters
    ----------
    learner : Learner
        Any.
    comm : mpi4py communicator, optional
        Without one the learner itself comes back.

    Returns
    -------
    Learner
        Every rank simulates its own lanes (``x[:, my_lanes(comm, batch)]``, and the labels likewise). Losses are means over
        lanes; the gradient on every rank is the mean over the lanes of all ranks, summed in the order of the ranks, so that a
        run repeats bit for bit. The value of the loss stays that of the rank's own lanes. `fit` shares out the batches itself:
        every rank has the same task, and its loss is that of all lanes.

    Examples
    --------
    >>> import spikertrl as srl
    >>> srl.parallel.over_lanes(srl.SnAp(1), None)
    SnAp(order=1)
    """
    return learner if comm is None else OverLanes(learner, comm)


class LanesState:
    """The learner's own state, for this rank's lanes, and how many lanes each rank has."""

    def __init__(self, inner: Any, wiring: Wiring, comm: Any, batch: int) -> None:
        self.inner, self.wiring, self.comm = inner, wiring, comm
        self.counts: list[int] = comm.allgather(batch)
        self.share, self._mine = batch / sum(self.counts), batch
        self.draw_for_all()

    def draw_for_all(self) -> None:
        """Random signs are those of one process with all lanes."""
        if isinstance(rng := getattr(self.inner, "rng", None), np.random.Generator):
            before = sum(self.counts[: self.comm.Get_rank()])
            self.inner.rng = OfAllLanes(rng.bit_generator, before, self._mine, self.batch)

    @property
    def batch(self) -> int:
        """Lanes of all ranks."""
        return sum(self.counts)

    @property
    def routes(self) -> dict[str, int]:
        """How often each route ran here."""
        return getattr(self.inner, "routes", {})

    def influence(self, lane: int = 0, of: str = "state") -> np.ndarray:
        """One lane's influence as a dense matrix, see ``cost.influence``; all ranks together."""
        edges = np.cumsum([0, *self.counts])
        rank = int(np.searchsorted(edges, lane, side="right")) - 1
        mine = self.inner.influence(lane - int(edges[rank]), of) if self.comm.Get_rank() == rank else None
        return self.comm.bcast(mine, root=rank)


@dataclass(frozen=True, repr=False, eq=False)
class OverLanes(OverRanks):
    """A learner over ranks; see ``over_lanes``."""

    way = "over_lanes"

    def init(self, net: Network, batch: int) -> LanesState:
        """Allocate for this rank's ``batch`` lanes; all ranks together.

        Raises
        ------
        ValueError
            If the ranks do not have the same network and learner.
        """
        check_alike(self.comm, {"the network": repr(net), "theta": net.theta, "the learner": self.learner})
        inner = together(self.comm, lambda: self.learner.init(net, batch))
        return LanesState(inner, net.wiring, self.comm, batch)

    def team(self) -> LanesTeam:
        """How ``fit`` hands out the lanes of a batch and puts results together."""
        return LanesTeam(self.comm)

    def update(self, state: LanesState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance this rank's lanes; return the mean gradient of all, flat like theta, on every rank."""
        mine = self.learner.update(state.inner, tape, signal)
        return sum_in_order(self.comm, mine * mine.dtype.type(state.share))


class OfAllLanes(np.random.Generator):
    """Draws for all lanes and hands out those that are here: signs do not depend on how lanes are shared out.

    >>> one, two = (OfAllLanes(np.random.PCG64(0), before, 2, 4).integers(0, 9, (2, 3)) for before in (0, 2))
    >>> bool((np.concatenate((one, two)) == np.random.default_rng(0).integers(0, 9, (4, 3))).all())
    True
    """

    def __init__(self, bits: np.random.BitGenerator, before: int, lanes: int, batch: int) -> None:
        super().__init__(bits)
        self.before, self.lanes, self.batch = before, lanes, batch

    def integers(self, low: int, high: int, size: tuple[int, ...], dtype: Any = np.int64) -> np.ndarray:  # type: ignore[override]
        """``size`` (lanes, ...)."""
        drawn = super().integers(low, high, (self.batch, *size[1:]), dtype=dtype)
        return drawn[self.before : self.before + self.lanes]
