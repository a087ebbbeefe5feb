"""The influence in blocks (see ``layout``): what is kept, and how much memory that takes (see ``block_update``)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ....network.wiring import Wiring
from ....resources import readable, require, smaller
from ..local.layout import is_local
from ..local.update import local_bytes
from ..simd.rows import aligned, zeros_on_demand
from . import kept_steps
from . import step_jacobian as couplings
from .kept_steps import Postponed
from .layout import Layout, layout


@dataclass
class BlockState:
    """Influence in blocks; all arrays are advanced in place.

    ``counts``: multiply-adds done since ``init`` (propagation, immediate terms, messages, readout).
    """

    wiring: Wiring
    batch: int
    hops: int | None
    M: np.ndarray
    E: np.ndarray
    slot: np.ndarray
    row_live: np.ndarray
    position: np.ndarray  # (B, runs) packed place of the first column of each run, -1 while not alive
    width: np.ndarray  # (B, groups) columns alive
    Z: np.ndarray
    sent: np.ndarray  # (D, B) int32: how many units were gradient-active in the last steps
    senders: np.ndarray  # (D, B, N) int32: which
    o: np.ndarray  # last step's dO/ds and dO/dphi: what the rows sent were made of
    q: np.ndarray
    clock: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(4, np.int64))
    lane_steps: int = 0
    over: bool = False  # all lanes begin anew: what the arrays hold has no meaning
    kept: Postponed | None = None  # steps that M does not know yet
    transition_bytes: int = 0  # touched in place of M (see ``transition``)
    scratch: couplings.Couplings | None = field(default=None, init=False, repr=False)  # reused for tapes of the same length

    @property
    def layout(self) -> Layout:
        """Where everything lies."""
        return layout(self.wiring, self.hops)

    @property
    def undivided_bytes(self) -> int:
        """Bytes of M; of all columns, where these are a part."""
        return self.batch * int(self.layout.undivided.first_M[-1]) * self.wiring.dtype.itemsize

    @property
    def forgotten(self) -> tuple[str, ...]:
        """Arrays that a checkpoint need not hold."""
        return ("M", "E", "Z") if self.over else ()


def block_bytes(w: Wiring, batch: int, hops: int | None) -> int:
    """What ``init_blocks`` will allocate."""
    blocks = layout(w, hops)
    kept = kept_steps.nbytes(w, batch, kept_steps.room(w, batch, blocks))
    return batch * w.dtype.itemsize * sum(blocks.elements(w).values()) + kept


def kept_bytes(w: Wiring, batch: int, hops: int | None) -> int:
    """What RTRL or SnAp will allocate: blocks, or for SnAp-1 the local rows."""
    return local_bytes(w, batch) if hops == 0 and is_local(w) else block_bytes(w, batch, hops)


def init_blocks(w: Wiring, batch: int, hops: int | None) -> BlockState:
    """Blocks whose rows are the units within ``hops`` connections (None: all reachable ones).

    Raises
    ------
    NotEnoughMemory
        If they do not fit; the message says what would.
    """
    name = "exact RTRL" if hops is None else f"SnAp(order={hops + 1})"
    what = f"the influence of {name} ({w.n_states} states, {w.n_recurrent} parameters, batch {batch})"
    require(block_bytes(w, batch, hops), what, lambda free: _advice(w, batch, hops, free))
    blocks, D = layout(w, hops), max(w.row_history, 1)
    room = blocks.elements(w)
    return BlockState(
        w, batch, hops,
        M=aligned(batch * room["M"], w.dtype),
        E=zeros_on_demand(batch * room["E"], w.dtype),
        Z=aligned(batch * room["Z"], w.dtype),
        slot=np.full(batch * D * len(blocks.reach), -1, np.int32),
        row_live=np.zeros(batch * len(blocks.reach), bool),
        position=np.full((batch, len(blocks.runs) - 1), -1, np.int32),
        width=np.zeros((batch, len(blocks.stride)), np.int32),
        sent=np.zeros((D, batch), np.int32),
        senders=np.zeros((D, batch, w.n_units), np.int32),
        o=np.zeros(int(w.S.sum()) * batch, w.dtype),
        q=np.zeros(int(w.Q.sum()) * batch, w.dtype),
    )  # fmt: skip




def _advice(w: Wiring, batch: int, hops: int | None, free: int) -> str:
    """What would fit into ``free`` bytes."""
    ways = smaller(block_bytes(w, batch, hops), free, batch)
    orders = [n for n in range(1, 4 if hops is None else hops + 1) if kept_bytes(w, batch, n - 1) <= free]
    if orders:
        ways.append(f"SnAp(order={orders[-1]}), an approximation, with {readable(kept_bytes(w, batch, orders[-1] - 1))}")
    ways += ["KFRTRL or UORO (noisy estimates)"]
    return "what would fit: " + "; ".join(ways)
