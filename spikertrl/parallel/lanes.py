"""A batch over ranks: each has some lanes; gradients are averaged, in the order of the ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..learners.base import Learner, Signal
from ..tape import Tape
from .ranks import OverRanks, check_alike, together

if TYPE_CHECKING:
    from ..network.network import Network


def my_lanes(comm: Any, batch: int) -> slice:
    """The lanes of this rank, of ``batch`` in all: as many on each, or one more where they do not divide.

    Raises
    ------
    ValueError
        If there are fewer lanes than ranks.

    Examples
    --------
    >>> my_lanes(None, 5)
    slice(0, 5, None)
    """
    rank, ranks = (0, 1) if comm is None else (comm.Get_rank(), comm.Get_size())
    if batch < ranks:
        raise ValueError(f"my_lanes: {batch} lanes for {ranks} ranks; legal: at least one lane for each")
    edges = [batch * r // ranks for r in range(ranks + 1)]
    return slice(edges[rank], edges[rank + 1])


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
        run repeats bit for bit. The value of the loss stays that of the rank's own lanes.

    Examples
    --------
    >>> import spikertrl as srl
    >>> srl.parallel.over_lanes(srl.SnAp(1), None)
    SnAp(order=1)
    """
    return learner if comm is None else OverLanes(learner, comm)


class LanesState:
    """The learner's own state, for this rank's lanes, and their share of all lanes."""

    def __init__(self, inner: Any, share: float) -> None:
        self.inner, self.share = inner, share


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
        return LanesState(inner, batch / sum(self.comm.allgather(batch)))

    def update(self, state: LanesState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance this rank's lanes; return the mean gradient of all, flat like theta, on every rank."""
        mine = self.learner.update(state.inner, tape, signal)
        return mean_in_order(self.comm, mine * mine.dtype.type(state.share))


def mean_in_order(comm: Any, part: np.ndarray) -> np.ndarray:
    """Sum of the ranks' vectors, each weighted already, in the order of the ranks: the same bits on all, and every time.

    Each rank sums one piece of the vector and tells it: twice the vector's size travels, however many ranks there are.
    """
    ranks = comm.Get_size()
    piece = -(-len(part) // ranks)
    padded = np.zeros(piece * ranks, part.dtype)
    padded[: len(part)] = part
    pieces = np.empty((ranks, piece), part.dtype)
    comm.Alltoall(padded, pieces)
    total = pieces[0].copy()
    for other in pieces[1:]:
        total += other
    comm.Allgather(total, padded)
    return padded[: len(part)].copy()
