"""One network over ranks: each keeps some columns of the influence and computes their part of the gradient, exactly.

Columns of the influence never exchange anything: given the forward pass, which every rank computes, the columns of one unit are
as independent of the others' as those of another network. So each rank has the influence of some units' parameters, and an
update ends with one exchange: every rank tells its part of the gradient, and theta's size travels. Nothing is summed across
ranks, and columns are computed in the groups and by the route that all of them together would take: the gradient has the same
bits on any number of ranks.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..derived import derived
from ..learners.base import Learner, Signal
from ..learners.engines import choose
from ..learners.engines.blocks.layout import layout
from ..learners.engines.local.layout import is_local
from ..learners.eprop import EProp
from ..learners.rflo import RFLO
from ..learners.rtrl import RTRL
from ..learners.snap import SnAp
from ..network.wiring import Wiring
from ..resources import NotEnoughMemory
from ..tape import Tape
from .ranks import OverRanks, check_alike, together

if TYPE_CHECKING:
    from ..network.network import Network

ROW_OVERHEAD = 256  # elements whose update costs as much as handling a row of a block


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
    if not isinstance(learner, (RTRL, SnAp, EProp, RFLO)) or getattr(learner, "dense", False):
        name = "RTRL(dense=True)" if isinstance(learner, RTRL) else type(learner).__name__
        raise TypeError(
            f"over_columns: {name} keeps no columns of the influence that could be shared out; legal: RTRL, SnAp, EProp, RFLO. "
            "over_lanes shares out the lanes of any learner"
        )
    return learner if comm is None else OverColumns(learner, comm)


class ColumnsState:
    """This rank's part of the influence, and where the parts of all ranks lie in theta."""

    def __init__(self, inner: Any, places: list[np.ndarray], rank: int) -> None:
        self.inner, self.own = inner, places[rank]
        self.order, self.counts = np.concatenate(places), [len(p) for p in places]


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
        owner = share_out(self.learner, w, comm.Get_size())
        part = Part(net, part_of(w, owner == comm.Get_rank(), comm.Get_rank() == 0))
        inner = together(comm, functools.partial(self._allocate, part, net, batch))
        return ColumnsState(inner, places(w, owner, comm.Get_size()), comm.Get_rank())

    def nbytes(self, net: Network, batch: int) -> int:
        """Bytes of this rank's part."""
        return bytes_per_rank(net, self.learner, self.comm.Get_size(), batch)[self.comm.Get_rank()]

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

    def _allocate(self, part: Any, net: Network, batch: int) -> Any:
        try:
            return self.learner.init(part, batch)
        except NotEnoughMemory as error:
            raise NotEnoughMemory(f"{error}; {_enough(self, net, batch)}") from None


class Part:
    """A network of which a learner sees a part of the columns; everything else is the network's own."""

    def __init__(self, net: Network, wiring: Wiring) -> None:
        self._net, self.wiring = net, wiring

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)


def bytes_per_rank(net: Network, learner: Learner, ranks: int, batch: int = 1) -> list[int]:
    """Bytes of the influence that each of so many ranks will hold.

    Examples
    --------
    >>> import spikertrl as srl
    >>> net = srl.Network().add_input("x", 8).add_population("h", srl.models.egru, 96).connect("x", "h").connect("h", "h")
    >>> one, two = (srl.parallel.bytes_per_rank(net, srl.RTRL(), ranks) for ranks in (1, 2))
    >>> one == [net.memory(srl.RTRL()).influence], round(max(two) / one[0], 1)
    (True, 0.5)
    """
    owner, told = share_out(learner, net.wiring, ranks), getattr(learner, "nbytes")  # noqa: B009 (not part of the contract)
    return [told(Part(net, part_of(net.wiring, owner == rank, rank == 0)), batch) for rank in range(ranks)]


def _enough(learner: OverColumns, net: Network, batch: int) -> str:
    """How many ranks, each with as much memory as was free here, would hold the influence."""
    from ..resources import available, readable

    free, ranks = available(), learner.comm.Get_size()
    while ranks < net.wiring.n_units:
        ranks *= 2
        if max(bytes_per_rank(net, learner.learner, ranks, batch)) <= free:
            return f"{ranks} ranks would do, each with {readable(free)} of its own"
    return "no number of ranks would do"


def share_out(learner: Learner, w: Wiring, ranks: int) -> np.ndarray:
    """The rank of every unit, (N): units of a group together, heavy groups first, each to the rank with the least so far."""
    hops = None if isinstance(learner, RTRL) else getattr(learner, "order", 1) - 1
    if hops == 0 and is_local(w):
        group, cost = np.arange(w.n_units + 1), np.diff(w.col_ptr) * (w.S + 1)
    else:
        blocks = layout(w, hops, choose.limits())
        rows = np.diff(blocks.first_M) // np.maximum(blocks.stride, 1)
        group, cost = blocks.group, rows * (blocks.stride + ROW_OVERHEAD) * (blocks.stride > 0)
    load, owner = np.zeros(ranks), np.empty(len(cost), np.int64)
    for g in np.argsort(-cost, kind="stable"):
        owner[g] = load.argmin()
        load[owner[g]] += cost[g]
    return np.repeat(owner, np.diff(group))


@derived
def _parts(w: Wiring, units: bytes, first: bool) -> Wiring:
    mine = np.frombuffer(units, bool)
    kept = mine[w.col_unit]
    columns = {name: getattr(w, name)[kept] for name in ("col_unit", "col_theta", "col_source", "col_delay", "col_port")}
    return replace(
        w, of=w, n_recurrent=int(kept.sum()), frozen=np.concatenate((w.frozen, w.col_theta[~kept])),
        col_ptr=np.searchsorted(columns["col_unit"], np.arange(w.n_units + 1)), out_trained=w.out_trained & first, **columns,
    )  # fmt: skip


def part_of(w: Wiring, units: np.ndarray, first: bool) -> Wiring:
    """The wiring with the columns of some ``units`` (N, bool); the ``first`` rank has the readouts' own parameters, too."""
    return _parts(w, units.tobytes(), first)


def places(w: Wiring, owner: np.ndarray, ranks: int) -> list[np.ndarray]:
    """Where the part of each rank lies in theta; what is learned and is no column belongs to the first."""
    rest = np.setdiff1d(np.arange(w.n_parameters), np.concatenate((w.frozen, w.col_theta)))
    parts = [w.col_theta[owner[w.col_unit] == rank] for rank in range(ranks)]
    return [np.concatenate((parts[0], rest)), *parts[1:]]
