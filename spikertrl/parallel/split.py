"""The influence of all columns, from the parts that ranks have, and the parts out of it: for checkpoints.

A part lies in the same blocks (or unit after unit) as the whole, those of other ranks empty. So what a rank has is some
**cells** of every array, in order, and travels cell by cell: nobody needs room for the whole but the file.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..fitted import Damage, Zeros
from ..learners.engines.local.layout import lane_groups, table
from ..learners.engines.local.update import LocalState
from ..learners.eprop import EPropState
from ..network.wiring import Wiring
from ..storage import packed, unpacked
from ..training.checkpoint import CHECKPOINT

IN_MEMORY = 64 << 20  # bytes of a whole array from which on it lies in a file until the checkpoint is written


@dataclass(frozen=True, eq=False)
class Cells:
    """An array (``lead``, cells one after the other) by what it is in the whole and in a part."""

    whole: np.ndarray  # (cells + 1) where they begin in the whole
    part: np.ndarray  # and in this rank's part
    owner: np.ndarray  # (cells) the rank of each
    lead: int
    shape: tuple[int, ...]  # of the whole array

    def runs(self, rank: int) -> Iterator[tuple[int, int]]:
        """First and last cell of stretches that a rank has."""
        edges = np.flatnonzero(np.diff(self.owner, prepend=-1, append=-1))
        for a, z in itertools.pairwise(edges):
            if self.owner[a] == rank and self.whole[a] < self.whole[z]:
                yield int(a), int(z)


def rows_of(state: Any) -> Any:
    """The part of a learner's state that is shared out."""
    return state.traces if isinstance(state, EPropState) else state


def cells_of(state: Any, w: Wiring, owner: np.ndarray) -> dict[str, Cells]:
    """Arrays of a part's state that have columns, ``owner`` (N) being the rank of every unit; ``w``: the undivided wiring."""
    batch = state.batch
    if isinstance(state, LocalState):
        groups, wide = lane_groups(w, batch)
        whole, part, decays = table(w), table(state.wiring), len(state.F)
        rows = Cells(wide * whole.first_M, wide * part.first_M, owner, groups, (groups * wide * int(whole.first_M[-1]),))
        heard = Cells(wide * whole.first_C, wide * part.first_C, owner, decays * groups, (decays, groups, w.n_recurrent, wide))
        return {"M": rows, "F": heard}
    whole, part = state.layout.undivided, state.layout
    of, D, leaky = owner[whole.group[:-1]], max(w.row_history, 1), int((w.decay > 0).sum())
    flat = {"M": ("first_M", batch), "E": ("first_E", batch * D), "Z": ("first_Z", batch * leaky),
            "slot": ("reach_ptr", batch * D), "row_live": ("reach_ptr", batch)}  # fmt: skip
    pointers = {name: (n * getattr(whole, ptr), n * getattr(part, ptr)) for name, (ptr, n) in flat.items()}
    found = {name: Cells(a, b, of, 1, (int(a[-1]),)) for name, (a, b) in pointers.items()}
    each = np.arange(len(of) + 1)
    found["position"] = Cells(whole.run_ptr, part.run_ptr, of, batch, (batch, len(whole.runs) - 1))
    return found | {"width": Cells(each, each, of, batch, (batch, len(of)))}


class Split:
    """Which rank has the columns of which unit, ``owner`` (N)."""

    def __init__(self, comm: Any, w: Wiring, owner: np.ndarray) -> None:
        self.comm, self.wiring, self.owner, self.rank = comm, w, owner, comm.Get_rank()

    def gathered(self, state: Any, folder: Path) -> Any:
        """All ranks together: the state of the whole on the first, None on the others."""
        part, w = rows_of(state), self.wiring
        arrays = {}
        for name, cells in cells_of(part, w, self.owner).items():
            forgotten = name in getattr(part, "forgotten", ())
            arrays[name] = Zeros(cells.shape, w.dtype) if forgotten else self._gather(getattr(part, name), cells, folder)
        counts = self.comm.reduce(part.counts)
        if self.rank:
            return None
        whole = replace(part, wiring=w, counts=counts, **arrays)
        return replace(state, traces=whole) if isinstance(state, EPropState) else whole

    def _gather(self, array: np.ndarray, cells: Cells, folder: Path) -> Any:
        if not np.prod(cells.shape):
            return np.zeros(cells.shape, array.dtype)
        mine = array.reshape(cells.lead, -1)
        if self.rank:
            for a, z in cells.runs(self.rank):
                self.comm.Send(_bytes(mine[:, cells.part[a] : cells.part[z]]), 0)
            return None
        found = room(cells.shape, array.dtype, folder)
        into = found.reshape(cells.lead, -1)
        for rank in range(self.comm.Get_size()):
            for a, z in cells.runs(rank):
                there = into[:, cells.whole[a] : cells.whole[z]]
                there[...] = self._received(there, rank) if rank else mine[:, cells.part[a] : cells.part[z]]
        return found

    def _received(self, like: np.ndarray, rank: int) -> np.ndarray:
        found = np.empty(like.shape, like.dtype)
        self.comm.Recv(_bytes(found), rank)
        return found

    def check(self, whole: Any, like: Any) -> None:
        """Raise Damage where the state of a checkpoint is not one that could be shared out like this rank's."""
        if type(whole) is not type(like):
            raise Damage(f"its memory is a {type(whole).__name__}, this run needs a {type(like).__name__}")
        for name, cells in cells_of(rows_of(like), self.wiring, self.owner).items():
            array, dtype = getattr(rows_of(whole), name), getattr(rows_of(like), name).dtype
            if array.shape != cells.shape or array.dtype != dtype:
                there = f"{array.shape} of {array.dtype}"
                raise Damage(f"{name} of its memory has shape {there}, this run needs {cells.shape} of {dtype}")

    def taken(self, whole: Any, like: Any) -> Any:
        """All ranks together: this rank's part of the state that the first has; arrays are those of ``like``, filled."""
        part = rows_of(like)
        cells, given = cells_of(part, self.wiring, self.owner), rows_of(whole)
        blank = self.comm.bcast(None if self.rank else [n for n in cells if isinstance(getattr(given, n), Zeros)])
        for name in (name for name in cells if name not in blank):
            self._scatter(None if self.rank else getattr(given, name), getattr(part, name), cells[name])
        nothing = {name: np.zeros(0, self.wiring.dtype) for name in cells}
        small = None
        if not self.rank:
            less = replace(given, **nothing)
            small = packed(replace(whole, traces=less) if isinstance(whole, EPropState) else less, CHECKPOINT)
        found = unpacked(self.comm.bcast(small), CHECKPOINT, part.wiring)
        counts = rows_of(found).counts * (self.rank == 0)
        own = {name: getattr(part, name) for name in cells}
        mine = replace(rows_of(found), wiring=part.wiring, counts=counts, **own)
        return replace(found, traces=mine) if isinstance(found, EPropState) else mine

    def _scatter(self, whole: np.ndarray | None, into: np.ndarray, cells: Cells) -> None:
        if not np.prod(cells.shape):
            return
        mine = into.reshape(cells.lead, -1)
        if whole is None:
            for a, z in cells.runs(self.rank):
                there = mine[:, cells.part[a] : cells.part[z]]
                there[...] = self._received(there, 0)
            return
        every = whole.reshape(cells.lead, -1)
        for rank in range(self.comm.Get_size()):
            for a, z in cells.runs(rank):
                told = every[:, cells.whole[a] : cells.whole[z]]
                if rank:
                    self.comm.Send(_bytes(told), rank)
                else:
                    mine[:, cells.part[a] : cells.part[z]] = told


def _bytes(array: np.ndarray) -> np.ndarray:
    """Of any type, also one that was read from a file."""
    return np.ascontiguousarray(array).view(np.uint8)


def room(shape: tuple[int, ...], dtype: np.dtype, folder: Path) -> np.ndarray:
    """Zeros; large ones in a file without a name, so that the first rank needs no memory for what all have."""
    if int(np.prod(shape)) * dtype.itemsize <= IN_MEMORY:
        return np.zeros(shape, dtype)
    return np.memmap(tempfile.TemporaryFile(dir=folder), dtype, "w+", shape=shape)
