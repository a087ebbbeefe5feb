"""The columns of the influence in parts, one a rank, each computed in the groups and by the route that all would take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...derived import derived
from ...network.wiring import Wiring
from ...resources import shared_out
from . import choose
from .blocks.layout import layout, row_costs
from .local.layout import is_local

if TYPE_CHECKING:
    from ...network.network import Network


class Columns:
    """A learner that keeps the influence in columns: ``srl.parallel.over_columns`` shares them out over ranks.

    ``order``: rows are kept of units at most so many connections away, less one; None: of all that can be reached.
    """

    order: int | None = None

    def bytes_per_rank(self, net: Network, batch: int, ranks: int) -> list[int]:
        """Bytes of the influence that each of so many ranks will hold."""
        told, owner = getattr(self, "nbytes"), self.share_out(net.wiring, ranks)  # noqa: B009 (of the learner)
        return [told(Part(net, part_of(net.wiring, owner == rank, rank == 0)), batch) for rank in range(ranks)]

    def share_out(self, w: Wiring, ranks: int) -> np.ndarray:
        """The rank of every unit, (N): those of a group together, by their predicted cost."""
        hops = None if self.order is None else self.order - 1
        if hops == 0 and is_local(w):
            return shared_out(np.diff(w.col_ptr) * (w.S + 1), ranks)
        blocks = layout(w, hops, choose.limits())
        return np.repeat(shared_out(row_costs(blocks), ranks), np.diff(blocks.group))


class Part:
    """A network of which a learner sees a part of the columns; everything else is the network's own."""

    def __init__(self, net: Network, wiring: Wiring) -> None:
        self._net, self.wiring = net, wiring

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)


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
