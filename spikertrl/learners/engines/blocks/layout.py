"""Where the influence lies: which columns form a block, which rows it has, and in which order its columns come alive."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ....derived import derived
from ....network.wiring import PHI, Wiring, reachable
from ..choose import Limits
from ..simd.rows import padded


@dataclass(frozen=True, eq=False)
class Layout:
    """Blocks of groups of units. ``first_M``, ``first_E``, ``first_Z`` (groups + 1): elements per lane before each block.

    A block has **full reach** if it holds all units, of one state that is carried, without delays. Rows then arrive by their
    place among those sent in the step before, and can be made again from M: ``first_E`` leaves no room for them.

    Columns are sorted by group, then source: a **run** has one source and delay, and comes alive, or is skipped, together.
    ``order[x]`` is the column at sorted place x, ``placed`` its inverse, ``run_of`` the run of each column; group g has
    the runs ``run_ptr[g] .. run_ptr[g+1]-1``, run r the sorted places ``runs[r] .. runs[r+1]-1``.
    """

    group: np.ndarray  # (groups + 1) first unit of each group
    reach_ptr: np.ndarray  # (groups + 1)
    reach: np.ndarray  # units reached by each group
    row_of: np.ndarray  # first row of each reached unit inside its block
    stride: np.ndarray  # (groups) padded length of a row
    first_M: np.ndarray
    first_E: np.ndarray
    first_Z: np.ndarray
    order: np.ndarray
    placed: np.ndarray
    run_of: np.ndarray
    run_ptr: np.ndarray
    runs: np.ndarray
    run_source: np.ndarray
    run_delay: np.ndarray
    own_row: np.ndarray  # (C), sorted: where the column lies in the row of its own unit, if its run begins the row
    term: np.ndarray  # (C, 4), sorted: where the column's derivative lies in B (or P): first, offset, per lane, per state
    theta: np.ndarray  # (C), sorted: the column's place in theta
    full_reach: np.ndarray  # (groups) bool
    of: Layout | None = None  # the layout of the undivided wiring, where this one has a part of its columns

    def __deepcopy__(self, memo: dict) -> Layout:
        """It never changes: copies of what refers to it refer to it, too."""
        return self

    @property
    def undivided(self) -> Layout:
        """The layout of all columns, which decides how these are computed."""
        return self if self.of is None else self.of

    def elements(self, w: Wiring) -> dict[str, int]:
        """Numbers in the influence M, the rows in flight E and the readouts' rows Z, per lane."""
        D, leaky = max(w.row_history, 1), int((w.decay > 0).sum())
        return {"M": int(self.first_M[-1]), "E": D * int(self.first_E[-1]), "Z": leaky * int(self.first_Z[-1])}


@derived
def layout(w: Wiring, hops: int | None, limits: Limits) -> Layout:
    """Blocks whose rows are the units within ``hops`` connections (None: all reachable ones).

    A part of the columns lies in the groups of all of them: those of other parts are empty.
    """
    group, reach_ptr, reach = _groups(w.undivided, hops, limits)
    states = w.S[reach]
    ends = np.cumsum(states)
    before = np.concatenate(([0], ends))[reach_ptr]  # states before each block
    stride = np.asarray(padded(np.diff(w.col_ptr[group]), w.dtype))
    order, placed, run_of, run_ptr, runs = _runs(w, group)
    inside = np.arange(len(order)) - np.repeat(runs[:-1], np.diff(runs))  # place of a sorted column in its run
    plain = max(w.row_history, 1) == 1 and w.max_states == 1 and not w.memoryless.any() and not limits.general
    full_reach = plain & (np.diff(reach_ptr) == w.n_units)
    return Layout(
        group, reach_ptr, reach, ends - states - np.repeat(before[:-1], np.diff(reach_ptr)), stride,
        first_M=np.append(0, np.cumsum(np.diff(before) * stride)),
        first_E=np.append(0, np.cumsum(np.diff(reach_ptr) * stride * ~full_reach)),
        first_Z=np.append(0, np.cumsum(stride)), order=order, placed=placed, run_of=run_of, run_ptr=run_ptr, runs=runs,
        run_source=w.col_source[order[runs[:-1]]], run_delay=w.col_delay[order[runs[:-1]]],
        own_row=_own_rows(w, group, reach_ptr, reach, states, stride)[order] + inside, term=_terms(w)[order],
        theta=w.col_theta[order], full_reach=full_reach, of=None if w.of is None else layout(w.of, hops, limits),
    )  # fmt: skip


def _own_rows(w: Wiring, group: np.ndarray, reach_ptr: np.ndarray, reach: np.ndarray, states: np.ndarray, stride: np.ndarray):
    rows = np.zeros(w.n_units, np.int64)
    for g, (k0, k1) in enumerate(itertools.pairwise(group)):
        part = slice(reach_ptr[g], reach_ptr[g + 1])
        own = np.searchsorted(reach[part], np.arange(k0, k1))
        rows[k0:k1] = (np.cumsum(states[part]) - states[part])[own] * stride[g]
    return rows[w.col_unit]


def _terms(w: Wiring) -> np.ndarray:
    k, explicit = w.col_unit, w.col_source == PHI
    apart = np.where(explicit, w.Q[k], w.G[k]) * w.size[k]
    first = np.where(explicit, w.start_P[k], w.start_B[k])
    return np.stack((first, w.col_port * w.size[k] + w.local[k], w.S[k] * apart, apart), 1).astype(np.int64)


def _runs(w: Wiring, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    group = np.searchsorted(groups, w.col_unit, side="right") - 1
    order = np.lexsort((w.col_unit, w.col_delay, w.col_source, group))
    keys = np.stack((group[order], w.col_source[order], w.col_delay[order]))
    new = np.append(True, (np.diff(keys) != 0).any(0))[: len(order)]
    first, placed = np.flatnonzero(new), np.argsort(order)
    run_ptr = np.searchsorted(group[order][first], np.arange(len(groups)))
    return order, placed, (np.cumsum(new) - 1)[placed], run_ptr, np.append(first, len(order))


def _groups(w: Wiring, hops: int | None, limits: Limits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join consecutive units into blocks: with equal rows always, with different rows where the zeros so stored cost less than
    the overhead of another block. SnAp keeps to equal rows: there a row outside the reach is left out, not zero.
    """
    ptr, reach = reachable(w, hops)
    columns = np.diff(w.col_ptr)
    starts, lists = [0], [reach[: ptr[1]]]
    for k in range(1, w.n_units):
        mine, before = reach[ptr[k] : ptr[k + 1]], int(columns[starts[-1] : k].sum())
        same = np.array_equal(mine, lists[-1])
        union = lists[-1] if same else np.union1d(mine, lists[-1])
        wide, (old, new, both) = before + columns[k], (int(w.S[x].sum()) for x in (lists[-1], mine, union))
        small = wide <= limits.columns and wide * both * w.dtype.itemsize <= limits.nbytes
        row = limits.row_overhead
        apart = old * (before + row) + new * (columns[k] + row)
        if small and (same or (hops is None and both * (wide + row) <= apart + limits.block_overhead)):
            lists[-1] = union
        else:
            starts.append(k)
            lists.append(mine)
    pointer = np.concatenate(([0], np.cumsum([len(x) for x in lists])))
    return np.array([*starts, w.n_units], np.int64), pointer.astype(np.int64), np.concatenate(lists)


@derived
@derived
def tasks(blocks: Layout, batch: int, threads: int, lanes_at_a_time: int) -> tuple[np.ndarray, np.ndarray, int]:
    """(group, lane chunk, first lane, last lane) of every parallel task, of blocks of full reach, and of others; lane chunks.

    All groups take a few lanes, then the next ones: what a tape holds of these lanes is read from the cache.
    """
    groups = len(blocks.stride)
    chunks = min(batch, max(-(-batch // lanes_at_a_time), -(-4 * threads // groups)))
    edges = np.linspace(0, batch, chunks + 1).astype(np.int64)
    mine = np.flatnonzero(blocks.stride) if blocks.of else range(groups)
    every = np.array([(g, c, edges[c], edges[c + 1]) for c in range(chunks) for g in mine], np.int64).reshape(-1, 4)
    full = blocks.full_reach[every[:, 0]]
    return every[full], every[~full], chunks


ROW_OVERHEAD = 256  # elements whose update costs as much as handling a row of a block


def row_costs(blocks: Layout) -> np.ndarray:
    """What an update of each block costs, in elements, (groups)."""
    rows = np.diff(blocks.first_M) // np.maximum(blocks.stride, 1)
    return rows * (blocks.stride + ROW_OVERHEAD) * (blocks.stride > 0)
