"""A learner's state carried to a network whose masks have changed: columns are dropped, moved, or born empty.

The influence of a parameter that stays is what it was, whatever became of the other synapses. A new synapse has had no
influence yet: its column is zero. So the gradient stays exact for the parameters that there are, each counted from the step
of its birth.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...network.wiring import Wiring
from ..readout import leaks
from .as_matrix import column_positions
from .blocks.state import BlockState
from .local.layout import Table, lane_groups, table
from .local.update import LocalState


def origins(old: Wiring, new: Wiring, origin: np.ndarray) -> np.ndarray:
    """For every column of the new wiring its column in the old one, or -1; ``origin`` says so of the places in theta."""
    column = np.full(old.n_parameters, -1)
    column[old.col_theta] = np.arange(len(old.col_theta))
    before = origin[new.col_theta]
    return np.where(before >= 0, column[before], -1)


def carry_columns(old: np.ndarray, new: np.ndarray, column: np.ndarray) -> None:
    """new[..., c] <- old[..., column[c]], where the last axis is all columns; zero where there is none."""
    new[...] = np.where(column >= 0, old[..., column], 0)


# -- rows of units on themselves -----------------------------------------------------------------------------------------
def carry_local(old: LocalState, new: LocalState, column: np.ndarray) -> None:
    """Own rows, and what leaky readouts remember of them."""
    w, batch = new.wiring, new.batch
    before, now = table(old.wiring), table(w)
    groups, width = lane_groups(w, batch)
    place = np.empty(len(before.order), np.int64)
    place[before.order] = np.arange(len(place))
    source = column[now.order]
    source = np.where(source >= 0, place[source], -1)  # the place before of every place now
    M, mine = old.M.reshape(groups, -1, width), new.M.reshape(groups, -1, width)
    for k in range(w.n_units):
        rows = _own(M, before, k, int(w.S[k]))
        here = source[now.first_C[k] : now.first_C[k + 1]]
        moved = np.where((here >= 0)[:, None], rows[:, :, here - before.first_C[k] * (here >= 0)], 0)
        _own(mine, now, k, int(w.S[k]))[...] = moved
    new.F[...] = np.where((source >= 0)[:, None], old.F[:, :, source], 0)
    _carry_rest(old, new)


def _own(M: np.ndarray, at: Table, k: int, states: int) -> np.ndarray:
    """A unit's rows: (groups of lanes, states, columns, lanes)."""
    part = M[:, at.first_M[k] : at.first_M[k + 1]]
    return part.reshape(len(M), states, -1, M.shape[2])


def widen(old: LocalState, new: BlockState, weights: np.ndarray) -> None:
    """Own rows become rows of blocks that will have more of them.

    What messages were worth to leaky readouts is weighted with the present ``weights`` (O, N), as own rows do themselves. Own
    rows in flight to other units are those of the last step alone.
    """
    _carry_rest(old, new)
    w, at, leaky = new.wiring, table(new.wiring), leaks(new.wiring)
    groups, width = lane_groups(w, new.batch)
    M = old.M.reshape(groups, -1, width)
    for lane in range(new.batch):
        active = _gradient_active(new, lane)
        new.sent[-1, lane], new.senders[-1, lane, : len(active)] = len(active), active
        _wake(new, lane, np.ones(len(w.col_theta), bool))
        place = column_positions(new, lane)
        for g in range(len(new.layout.stride)):
            found = _block(new, g, lane)
            for array in (found.M, found.E, found.Z):
                array[...] = 0
            for u, k in enumerate(found.units.tolist()):
                if found.owned[0] <= k < found.owned[1]:
                    here = slice(at.first_C[k], at.first_C[k + 1])
                    columns, rows = place[at.order[here]], slice(found.first_row[u], found.first_row[u] + w.S[k])
                    found.M[rows, columns] = _own(M, at, k, int(w.S[k]))[lane // width, :, :, lane % width]
                    past = old.F[leaky.kind, lane // width, here, lane % width]
                    found.Z[:, columns] = weights[leaky.outputs, k][:, None] * past
                    found.live[u] = True
            if len(found.E):
                _send_again(new, lane, found, place)


def _gradient_active(state: BlockState, lane: int) -> np.ndarray:
    """Units that sent a row in the last step."""
    w, found = state.wiring, np.zeros(state.wiring.n_units, bool)
    for flat, start, count in ((state.o, w.start_o, w.S), (state.q, w.start_q, w.Q)):
        for x in range(int(count.max(initial=0))):
            some = np.flatnonzero(count > x)
            place = start[some] * state.batch + (lane * count[some] + x) * w.size[some] + w.local[some]
            found[some] |= flat[place] != 0
    return np.flatnonzero(found)


# -- blocks --------------------------------------------------------------------------------------------------------------
@dataclass
class _Block:
    """One group's block of one lane: what it holds, and where."""

    M: np.ndarray  # (rows, stride)
    E: np.ndarray  # (steps, units, stride); no steps where blocks have full reach
    Z: np.ndarray  # (leaky, stride)
    slot: np.ndarray  # (steps, units)
    live: np.ndarray  # (units)
    units: np.ndarray
    first_row: np.ndarray  # of every unit
    owned: tuple[int, int]  # units whose columns these are


def _block(state: BlockState, g: int, lane: int) -> _Block:
    laid, B, w = state.layout, state.batch, state.wiring
    D, leaky = len(state.sent), int((w.decay > 0).sum())
    stride, first, last = int(laid.stride[g]), int(laid.reach_ptr[g]), int(laid.reach_ptr[g + 1])
    units = last - first

    def lane_of(array: np.ndarray, begin: int, end: int, *shape: int) -> np.ndarray:
        return array[B * begin : B * end].reshape(B, *shape)[lane]

    E = state.E[B * laid.first_E[g] * D : B * laid.first_E[g + 1] * D]
    return _Block(
        lane_of(state.M, int(laid.first_M[g]), int(laid.first_M[g + 1]), -1, max(stride, 1)),
        E.reshape(B, D, units, stride)[lane] if len(E) else np.zeros((0, units, stride), w.dtype),
        state.Z[B * laid.first_Z[g] * leaky : B * laid.first_Z[g + 1] * leaky].reshape(B, leaky, stride)[lane],
        state.slot[B * D * first : B * D * last].reshape(B, D, units)[lane],
        lane_of(state.row_live, first, last, units),
        laid.reach[first:last],
        laid.row_of[first:last],
        (int(laid.group[g]), int(laid.group[g + 1])),
    )


def carry_blocks(old: BlockState, new: BlockState, column: np.ndarray) -> None:
    """All blocks of all lanes; rows beyond the reach of the new wiring are dropped (of SnAp alone: exact ones have all).

    ``old`` has no deferred steps.
    """
    _carry_rest(old, new)
    new.sent[...], new.senders[...], new.clock, new.over = old.sent, old.senders, old.clock, old.over
    if old.over:
        return
    w, laid, before = new.wiring, new.layout, old.layout
    unit_group = np.searchsorted(before.group, np.arange(w.n_units), side="right") - 1
    for lane in range(new.batch):
        blocks = [_block(old, g, lane) for g in range(len(before.stride))]
        place_old = column_positions(old, lane)
        source = np.where(column >= 0, place_old[column], -1)  # place in the old block's rows, -1 where there is nothing
        _wake(new, lane, source >= 0)
        place = column_positions(new, lane)
        for g in range(len(laid.stride)):
            found, columns = _block(new, g, lane), np.arange(w.col_ptr[laid.group[g]], w.col_ptr[laid.group[g + 1]])
            for array in (found.M, found.E, found.Z):
                array[...] = 0
            columns = columns[source[columns] >= 0]
            for one in np.unique(unit_group[w.col_unit[columns]]):
                mine = columns[unit_group[w.col_unit[columns]] == one]
                _carry_block(new, found, blocks[one], place[mine], source[mine])
            if len(found.E) and len(new.sent) == 1:
                _send_again(new, lane, found, place)


def _wake(new: BlockState, lane: int, alive: np.ndarray) -> None:
    """Give every run with a column that is alive its place."""
    laid = new.layout
    runs = np.zeros(len(laid.runs) - 1, bool)
    runs[laid.run_of[alive]] = True
    for g, (r0, r1) in enumerate(itertools.pairwise(laid.run_ptr)):
        mine = np.flatnonzero(runs[r0:r1]) + r0
        lengths = laid.runs[mine + 1] - laid.runs[mine]
        new.position[lane, mine] = np.cumsum(lengths) - lengths
        new.width[lane, g] = lengths.sum()


def _carry_block(new: BlockState, to: _Block, of: _Block, place: np.ndarray, source: np.ndarray) -> None:
    """Columns that lay at ``source`` of the old block's rows come to ``place`` of the new one's."""
    w, common = new.wiring, np.intersect1d(to.units, of.units, return_indices=True)
    to.Z[:, place] = of.Z[:, source]
    for i, u, v in zip(*common, strict=True):
        if of.live[v]:
            to.live[u] = True
            for s in range(w.S[i]):
                to.M[to.first_row[u] + s, place] = of.M[of.first_row[v] + s, source]
        for r in np.flatnonzero(of.slot[:, v] >= 0) if len(new.sent) > 1 else ():
            to.slot[r, u] = u
            to.E[r, u, place] = of.E[r, of.slot[r, v], source]


def _send_again(new: BlockState, lane: int, block: _Block, places: np.ndarray) -> None:
    """Rows sent in the last step, made from the states' rows once more: where all arrive after one step nothing else flies.

    The clock stands at 0, so that the last step is the last place of the ring.
    """
    w, B = new.wiring, new.batch
    where = {int(i): u for u, i in enumerate(block.units)}
    for a, i in enumerate(new.senders[-1, lane, : new.sent[-1, lane]].tolist()):
        u = where.get(i)
        if u is None or not block.live[u]:
            continue
        slot = a if len(block.units) == w.n_units and len(new.sent) == 1 else u
        at = w.start_o[i] * B + lane * w.S[i] * w.size[i] + w.local[i]
        block.slot[-1, u] = slot
        block.E[-1, slot] = sum(new.o[at + s * w.size[i]] * block.M[block.first_row[u] + s] for s in range(w.S[i]))
        for c in range(w.col_ptr[i + 1] - w.Q[i], w.col_ptr[i + 1]):
            if places[c] >= 0 and block.owned[0] <= i < block.owned[1]:
                at = w.start_q[i] * B + (lane * w.Q[i] + w.col_port[c]) * w.size[i] + w.local[i]
                block.E[-1, slot, places[c]] += new.q[at]


def _carry_rest(old: Any, new: Any) -> None:
    """What belongs to units and to the run."""
    new.o[...], new.q[...] = old.o, old.q
    new.counts[...] = old.counts
    new.lane_steps = old.lane_steps
