"""One network over ranks: each keeps some columns of the influence and computes their part of the gradient, exactly.

Columns of the influence never exchange anything: given the forward pass, which every rank computes, the columns of one unit are
as independent of the others' as those of another network. So each rank has the influence of some units' parameters, and an
update ends with one exchange: every rank tells its part of the gradient, and theta's size travels. Nothing is summed across
ranks, and columns are computed in the groups and by the route that all of them together would take: the gradient has the same
bits on any number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..learners.base import Learner, Signal
from ..learners.engines.divide import Columns, Part, part_of
from ..learners.rtrl import RTRL
from ..network.wiring import Wiring
from ..tape import Tape
from .ranks import OverRanks, check_alike, together
from .team import ColumnsTeam

if TYPE_CHECKING:
    from ..network.network import Network


def over_columns(learner: Learner, comm: Any = None) -> Learner:
    """The same learner with its influence shared out over the ranks of a communicator, by columns.

    Parameters
    ----------
    learner : RTRL, SnAp, EProp or RFLO
        What keeps rows of the influence for each parameter.
    comm : mpi4py communicator, optional
        For example ``mpi4py.MPI.COMM_WORLD``. Without one the learner itself comes back.

    Returns
    -------
    Learner
        With the same contract: `gradient`, `compare`, `fit` and `Online` take it as they take any other. Every rank makes the
        same calls with the same network and data, and gets the whole gradient, with the bits that one rank alone would get if
        all have the same number of threads.

    Raises
    ------
    TypeError
        For a learner that keeps no columns: what it keeps does not split by parameters.

    Examples
    --------
    >>> import spikertrl as srl
    >>> srl.parallel.over_columns(srl.RTRL(), None)
    RTRL(dense=False)
    >>> srl.parallel.over_columns(srl.UORO(), None)
    Traceback (most recent call last):
        ...
    TypeError: over_columns: UORO keeps no columns of the influence that could be shared out; ...
    """
    if not isinstance(learner, Columns) or getattr(learner, "dense", False):
        name = "RTRL(dense=True)" if isinstance(learner, RTRL) else type(learner).__name__
        raise TypeError(
            f"over_columns: {name} keeps no columns of the influence that could be shared out; legal: RTRL, SnAp, EProp, RFLO. "
            "over_lanes shares out the lanes of any learner"
        )
    return learner if comm is None else OverColumns(learner, comm)


class ColumnsState:
    """This rank's part of the influence, which rank has the columns of each unit, and where all parts lie in theta."""

    def __init__(self, inner: Any, wiring: Wiring, comm: Any, owner: np.ndarray) -> None:
        self.inner, self.wiring, self.comm, self.owner = inner, wiring, comm, owner
        found = places(wiring, owner, comm.Get_size())
        self.own, self.order, self.counts = found[comm.Get_rank()], np.concatenate(found), [len(p) for p in found]

    @property
    def batch(self) -> int:
        """Lanes."""
        return self.inner.batch

    @property
    def routes(self) -> dict[str, int]:
        """How often each route ran."""
        return getattr(self.inner, "routes", {})

    def influence(self, lane: int = 0, of: str = "state") -> np.ndarray:
        """One lane's influence as a dense matrix, see ``cost.influence``; all ranks together."""
        parts = self.comm.allgather(self.inner.influence(lane, of))
        rank = self.owner[self.wiring.col_unit]
        found = np.zeros((len(parts[0]), len(rank)), parts[0].dtype)
        for r, part in enumerate(parts):
            found[:, rank == r] = part
        return found


@dataclass(frozen=True, repr=False, eq=False)
class OverColumns(OverRanks):
    """A learner over ranks; see ``over_columns``."""

    way = "over_columns"

    def init(self, net: Network, batch: int) -> ColumnsState:
        """Allocate this rank's part for ``batch`` lanes; all ranks together.

        Raises
        ------
        ValueError
            If the ranks do not have the same network and learner.
        NotEnoughMemory
            On all ranks, if some part does not fit; says how many ranks would do.
        """
        comm, w = self.comm, net.wiring
        check_alike(comm, {"the network": repr(net), "theta": net.theta, "the learner": self.learner, "batch": batch})
        owner = self.learner.share_out(w, comm.Get_size())  # type: ignore[attr-defined]
        part: Any = Part(net, part_of(w, owner == comm.Get_rank(), comm.Get_rank() == 0))
        inner = together(comm, lambda: self.learner.init(part, batch))
        return ColumnsState(inner, w, comm, owner)

    def team(self) -> ColumnsTeam:
        """How ``fit`` puts together what the ranks have."""
        return ColumnsTeam(self.comm)

    def nbytes(self, net: Network, batch: int) -> int:
        """Bytes of this rank's part."""
        every = self.learner.bytes_per_rank(net, batch, self.comm.Get_size())  # type: ignore[attr-defined]
        return every[self.comm.Get_rank()]

    def update(self, state: ColumnsState, tape: Tape, signal: Signal) -> np.ndarray:
        """Advance this rank's part over the tape; return the whole gradient, flat like theta, on every rank."""
        return self.exchange(state, self.learner.update(state.inner, tape, signal))

    def exchange(self, state: ColumnsState, mine: np.ndarray) -> np.ndarray:
        """The whole gradient, from each rank's part."""
        told = np.empty(len(state.order), mine.dtype)
        self.comm.Allgatherv(mine[state.own], [told, state.counts])
        gradient = np.zeros_like(mine)
        gradient[state.order] = told
        return gradient


def places(w: Wiring, owner: np.ndarray, ranks: int) -> list[np.ndarray]:
    """Where the part of each rank lies in theta; what is learned and is no column belongs to the first."""
    rest = np.setdiff1d(np.arange(w.n_parameters), np.concatenate((w.frozen, w.col_theta)))
    parts = [w.col_theta[owner[w.col_unit] == rank] for rank in range(ranks)]
    return [np.concatenate((parts[0], rest)), *parts[1:]]
