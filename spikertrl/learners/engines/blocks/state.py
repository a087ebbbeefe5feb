"""The influence in blocks (see ``layout``): what is kept, and how much memory that takes (see ``engines/influence``)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from ....derived import derived
from ....fitted import out_of_range
from ....network.wiring import Wiring
from ....resources import enough_ranks, readable, require, smaller
from ...base import Length, Plan
from .. import choose
from ..local.layout import is_local
from ..local.update import local_bytes
from ..records import Blocks, Influence
from ..simd.rows import aligned, zeros_on_demand
from ..transitions.sources import columns_of_source
from . import kept_steps, step_jacobian
from .kept_steps import DeferredSteps
from .layout import Layout, layout, row_costs


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
    kept: DeferredSteps | None = None  # steps that M does not know yet
    transition_bytes: int = 0  # touched in place of M (see ``transitions``)
    limits: tuple | None = None  # how units were joined into blocks, if not as ``choose`` says
    scratch: step_jacobian.StepJacobian | None = field(default=None, init=False, repr=False)  # for tapes of the same length
    repeated: Any = field(default=None, init=False, repr=False)  # arrays of the last short tape, and, if they come again,
    one_step: Any = field(default=None, init=False, repr=False)  # what takes such tapes, see ``engines.one_step``
    choice: choose.Choice | None = field(default=None, init=False, repr=False)  # the route that ran last, and why
    routes: dict[str, int] = field(default_factory=dict, init=False, repr=False)  # how often each one ran

    def __getstate__(self) -> dict[str, Any]:
        """Of a copy: without what belongs to these very arrays."""
        return self.__dict__ | {"repeated": None, "one_step": None}

    @property
    def layout(self) -> Layout:
        """Where everything lies."""
        return self._laid_out()[1]

    @property
    def facts(self) -> choose.Facts:
        """What decides how this influence is advanced."""
        return self._laid_out()[2]

    def _laid_out(self) -> tuple[Wiring, Layout, choose.Facts]:
        """Made once for a wiring: it is asked for many times in an update."""
        found = self.__dict__.get("_found")
        if found is None or found[0] is not self.wiring:
            blocks = layout(
                self.wiring, self.hops, choose.Limits._make(self.limits or _DEFAULT)
            )  # a checkpoint gives a tuple back
            found = self.__dict__["_found"] = self.wiring, blocks, facts(self.wiring, blocks, self.batch, self.hops)
        return found

    @property
    def route(self) -> str | None:
        """The route of the last update (see ``choose``)."""
        return self.choice.route if self.choice else None

    def bytes_held(self) -> int:
        """Bytes of the influence that were really touched."""
        rows = np.diff(self.layout.first_M) // np.maximum(self.layout.stride, 1)
        return int((self.width.astype(np.int64) * rows).sum()) * self.wiring.dtype.itemsize + self.transition_bytes

    def misfit(self, other: BlockState) -> str:
        """Indices of another state that do not fit this one, see ``fitted``."""
        if other.limits != self.limits:
            return f"its units were joined into blocks by {other.limits}, here by {self.limits}"
        blocks, units = self.layout, self.wiring.n_units
        runs, groups, reached = np.diff(blocks.runs), len(blocks.stride), np.diff(blocks.reach_ptr)
        of = np.repeat(np.arange(groups), np.diff(blocks.run_ptr))
        room, asleep = blocks.stride[of], other.position < 0
        most = blocks.stride - np.stack([np.bincount(of, runs * lane, groups) for lane in asleep])  # columns that still come
        if other.kept is not None and other.kept.batch != self.batch:
            return f"it kept steps of {other.kept.batch} lanes"
        ranges = {
            "clock": (other.clock, 0, len(self.sent) - 1), "sent": (other.sent, 0, units),
            "senders": (other.senders, 0, units - 1), "width": (other.width, 0, most),
            "position": (other.position, -1, np.where(asleep, 0, room - runs)),
            "slot": (other.slot, -1, np.repeat(reached, self.batch * len(self.sent) * reached) - 1),
        }  # fmt: skip
        return out_of_range(ranges)

    def ran(self, choice: choose.Choice, step: int) -> None:
        """Note which route an update takes."""
        if self.choice is None or self.choice.route != choice.route:
            choose.log.info("%s, step %d: %s", self.facts.who, step, choice)
        elif choose.log.isEnabledFor(logging.DEBUG):
            choose.log.debug("%s, step %d: %s", self.facts.who, step, choice)
        self.choice = choice
        self.routes[choice.route] = self.routes.get(choice.route, 0) + 1

    @property
    def columns(self) -> Blocks:
        """Columns and blocks as compiled loops take them."""
        return _columns(self.wiring, self.layout)

    @property
    def arrays(self) -> Influence:
        """The influence as compiled loops take it."""
        return Influence(self.M, self.E, self.slot, self.row_live, self.position, self.width, self.Z)

    @property
    def forgotten(self) -> tuple[str, ...]:
        """Arrays that a checkpoint need not hold."""
        return ("M", "E", "Z") if self.over else ()


_DEFAULT = choose.limits()


@derived
def _columns(w: Wiring, found: Layout) -> Blocks:
    return Blocks(*(getattr(w if name.startswith("col_") else found, name) for name in Blocks._fields))


@derived
def facts(w: Wiring, blocks: Layout, batch: int, hops: int | None) -> choose.Facts:
    """What decides how an influence is advanced: the undivided one, where these columns are a part."""
    w, blocks = w.undivided, blocks.undivided
    full = blocks.full_reach
    sources = int(columns_of_source(w).sum())
    return choose.Facts(
        who="RTRL" if hops is None else f"SnAp(order={hops + 1})", dtype=w.dtype, units=w.n_units, pairs=len(w.pair_pre),
        columns=len(w.col_theta), source_columns=sources, stored_columns=int(blocks.first_Z[-1]),
        elements=int(blocks.first_M[-1]), batch=batch, leaky=int((w.decay > 0).sum()),
        states=w.n_states, arrival_bytes=20 + w.max_states * w.dtype.itemsize,
        visit_bytes=8 + w.max_states * w.heard_ports.shape[1] * w.dtype.itemsize, heard=_heard(w) / w.n_units,
        one_step=w.row_history == 1 and bool((w.S == 1).all()), exact=hops is None, full_reach=bool(full.all()),
        some_full_reach=bool(full.any()), widest_row=int(blocks.stride.max(initial=1)),
        list_bytes=step_jacobian.nbytes(w, blocks, 1, False),
    )  # fmt: skip


@derived
def _heard(w: Wiring) -> int:
    """States at which the messages of all units together arrive."""
    return int(np.diff(w.pair_ptr) @ w.hears.sum(1))


def plan(w: Wiring, hops: int | None, length: Length, route: str | None = None) -> Plan:
    """What would be chosen for such tapes."""
    route = choose.forced() or route
    return choose.plan(facts(w, layout(w, hops, choose.limits(route)), length.batch, hops), length, route)


def block_bytes(w: Wiring, batch: int, hops: int | None, route: str | None = None) -> int:
    """What ``init_blocks`` will allocate."""
    route = choose.forced() or route
    blocks = layout(w, hops, choose.limits(route))
    kept = kept_steps.nbytes(w, batch, choose.deferred_steps(facts(w, blocks, batch, hops), route))
    return batch * w.dtype.itemsize * sum(blocks.elements(w).values()) + kept


def kept_bytes(w: Wiring, batch: int, hops: int | None, route: str | None = None) -> int:
    """What RTRL or SnAp will allocate: blocks, or for SnAp-1 the local rows."""
    return local_bytes(w, batch) if hops == 0 and route is None and is_local(w) else block_bytes(w, batch, hops, route)


State = TypeVar("State", bound=BlockState)


def init_blocks(w: Wiring, batch: int, hops: int | None, route: str | None = None, kind: type[State] = BlockState) -> State:
    """Blocks whose rows are the units within ``hops`` connections (None: all reachable ones).

    Raises
    ------
    NotEnoughMemory
        If they do not fit; the message says what would.
    """
    name = "exact RTRL" if hops is None else f"SnAp(order={hops + 1})"
    what = f"the influence of {name} ({w.n_states} states, {w.n_recurrent} parameters, batch {batch})"
    require(block_bytes(w, batch, hops, route), what, lambda free: _advice(w, batch, hops, free))
    limits = choose.limits(route)
    blocks, D = layout(w, hops, limits), max(w.row_history, 1)
    room = blocks.elements(w)
    return kind(
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
        limits=None if limits == _DEFAULT else tuple(limits),
    )  # fmt: skip


def _advice(w: Wiring, batch: int, hops: int | None, free: int) -> str:
    """What would fit into ``free`` bytes."""
    ways = smaller(block_bytes(w, batch, hops), free, batch)
    orders = [n for n in range(1, 4 if hops is None else hops + 1) if kept_bytes(w, batch, n - 1) <= free]
    if orders:
        ways.append(f"SnAp(order={orders[-1]}), an approximation, with {readable(kept_bytes(w, batch, orders[-1] - 1))}")
    if ranks := _enough_ranks(w.undivided, batch, hops, free):
        ways.append(f"{ranks} ranks, each with {readable(free)} of its own (srl.parallel.over_columns)")
    ways += ["KFRTRL or UORO (noisy estimates)"]
    return "what would fit: " + "; ".join(ways)


def _enough_ranks(w: Wiring, batch: int, hops: int | None, free: int) -> int:
    """The least number of ranks on each of which a share of the blocks fits; 0: no number would do."""
    blocks = layout(w, hops, choose.limits())
    leaky, D = int((w.decay > 0).sum()), max(w.row_history, 1)
    each = np.diff(blocks.first_M) + D * np.diff(blocks.first_E) + leaky * np.diff(blocks.first_Z)
    each = batch * w.dtype.itemsize * each
    room = free - (block_bytes(w, batch, hops) - int(each.sum()))  # deferred steps are on every rank
    return enough_ranks(each, row_costs(blocks), room)
