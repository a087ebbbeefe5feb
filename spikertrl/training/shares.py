"""States of some lanes out of the states of others: what was trained in two shares of a batch goes on in three, or in one.

Lanes never exchange anything, so that every array has them along an axis, or side by side in cells (a block of the influence, a
population), all lanes of a cell before the next one. ``AXES`` and ``CELLS`` say which array of which state has them where.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..fitted import Damage, Zeros
from ..learners.bptt import TapeState
from ..learners.engines.influence import Influence, catch_up
from ..learners.engines.kronecker.update import Factors, KroneckerState
from ..learners.engines.local.layout import lane_groups
from ..learners.engines.local.update import LocalState
from ..learners.eprop import EPropState
from ..learners.random_paths import PathsState
from ..learners.textbook import DenseState
from ..learners.uoro import RankOneState
from ..network.wiring import Wiring
from ..tape import LINEAR, Tape

AXES: dict[type | str, dict[str, int]] = {
    "simulation": {"states": 0, "past": 1, "z": 0, "traces": 0, "trace_one": 0, "reset": 0},
    Influence: {"position": 0, "width": 0, "sent": 1, "senders": 1},
    Factors: {"u": 0, "A": 0, "E": 0, "Z": 0},
    KroneckerState: {"sent": 1},
    RankOneState: {"s": 0, "z": 0, "side": 0, "norm": 0, "e": 2},
    DenseState: {"G": 0, "E": 1, "Z": 0},
    Tape: {"messages": 1, "z": 1, "reset": 0, "traces": 0, "trace_one": 0},
}
OUTPUTS = ("o", "q")
INSIDE = {"traces": LocalState, "blocks": Influence, "factors": Factors, "tapes": Tape}  # states within states


def cells(state: Any, w: Wiring) -> dict[str, np.ndarray]:
    """Of arrays whose lanes lie side by side in cells: where each cell begins, in elements of one lane, (cells + 1)."""
    if isinstance(state, Influence):
        found, D = state.layout, max(w.row_history, 1)
        leaky = int((w.decay > 0).sum())
        parts = {"M": found.first_M, "E": D * found.first_E, "Z": leaky * found.first_Z, "slot": D * found.reach_ptr}
        return parts | {"row_live": found.reach_ptr} | {name: _populations(w, name) for name in OUTPUTS}
    if isinstance(state, LocalState | KroneckerState):
        return {name: _populations(w, name) for name in OUTPUTS}
    return {name: _populations(w, name) for name in LINEAR} if isinstance(state, Tape) else {}


def _populations(w: Wiring, name: str) -> np.ndarray:
    count = {"A": w.S * w.S, "B": w.S * w.G, "P": w.S * w.Q, "o": w.S, "q": w.Q}[name]
    return np.append(getattr(w, f"start_{name}")[w.firsts], count.sum())


def lanes(parts: Sequence[Any], counts: Sequence[int], wanted: slice, w: Wiring) -> Any:
    """The state of the ``wanted`` lanes, out of the states of ``counts`` lanes one after the other.

    ``w``: the wiring that the learner sees. One part of exactly these lanes is handed back as it is; else steps that a part has
    deferred are taken first, so that what follows differs by rounding.

    Raises
    ------
    Damage
        If this kind of state does not say where its lanes are.
    """
    edges = np.cumsum([0, *counts])
    if len(parts) != len(counts):
        raise Damage(f"it has {len(parts)} parts for {len(counts)} shares of the lanes")
    spans = list(zip(parts, counts, edges, edges[1:], strict=False))
    for part, _, begin, end in spans:
        if (begin, end) == (wanted.start, wanted.stop):
            return part
    cut = [
        (part, int(n), slice(max(wanted.start - int(begin), 0), min(wanted.stop, int(end)) - int(begin)))
        for part, n, begin, end in spans
        if begin < wanted.stop and end > wanted.start
    ]
    return _join([part for part, _, _ in cut], [n for _, n, _ in cut], [which for _, _, which in cut], w)


def _join(parts: list[Any], counts: list[int], which: list[slice], w: Wiring) -> Any:
    """One state of the lanes ``which`` of each part."""
    one = parts[0]
    if isinstance(one, dict):
        return one | _along("simulation", parts, which)
    if type(one) not in (*AXES, LocalState, EPropState, PathsState, TapeState):
        raise Damage(f"its {type(one).__name__} cannot be shared out anew; go on with lanes as they were: {counts}")
    if isinstance(one, Influence):
        for part in parts:
            part.wiring = w  # a checkpoint brings back the whole one, RandomPaths sees a part
            catch_up(part)
            part.kept = None
    total, found = sum(s.stop - s.start for s in which), _along(type(one), parts, which)
    found |= {name: _in_cells([getattr(p, name) for p in parts], counts, which, ptr) for name, ptr in cells(one, w).items()}
    if isinstance(one, LocalState):
        found |= {name: _in_registers([getattr(p, name) for p in parts], counts, which, w, total) for name in ("M", "F")}
    for name, kind in INSIDE.items():
        if hasattr(one, name) and not isinstance(one, Tape):
            found[name] = _inside([getattr(p, name) for p in parts], counts, which, kind, w)
    return dataclasses.replace(one, **found | _counts(parts, counts, which, total))


def _inside(parts: list[Any], counts: list[int], which: list[slice], kind: type, w: Wiring) -> Any:
    if not isinstance(parts[0], list):
        return _join(parts, counts, which, w)
    if len({len(part) for part in parts}) > 1:
        raise Damage(f"its shares have {[len(part) for part in parts]} of {kind.__name__}")
    return [_join([p[k] for p in parts], counts, which, w) for k in range(len(parts[0]))]


def _counts(parts: list[Any], counts: list[int], which: list[slice], total: int) -> dict[str, Any]:
    """Lanes, and what has been counted: the steps of these lanes; the work of all parts that begin here."""
    one, found = parts[0], {}
    names = {f.name for f in dataclasses.fields(one) if f.init}
    if "batch" in names:
        found["batch"] = total
    if "lane_steps" in names:
        taken = zip(parts, counts, which, strict=True)
        found["lane_steps"] = sum(int(p.lane_steps) * (s.stop - s.start) // n for p, n, s in taken)
    if "counts" in names:
        found["counts"] = sum((p.counts for p, s in zip(parts, which, strict=True) if not s.start), np.zeros(4, np.int64))
    return found


def _along(kind: type | str, parts: list[Any], which: list[slice]) -> dict[str, Any]:
    """Arrays with lanes along an axis, or dicts of such."""

    def together(values: list[Any], axis: int) -> Any:
        if isinstance(values[0], dict):
            return {k: together([v[k] for v in values], axis) for k in values[0]}
        return np.concatenate([v[(slice(None),) * axis + (s,)] for v, s in zip(values, which, strict=True)], axis)

    of: Callable[[Any, str], Any] = (lambda p, n: p[n]) if isinstance(kind, str) else getattr
    return {name: together([of(p, name) for p in parts], axis) for name, axis in AXES.get(kind, {}).items()}


def _in_cells(arrays: list[Any], counts: list[int], which: list[slice], ptr: np.ndarray) -> Any:
    """Arrays (..., lanes of every cell); ``ptr``: where cells begin, in elements of one lane."""
    total = sum(s.stop - s.start for s in which)
    if isinstance(arrays[0], Zeros):
        return Zeros((*arrays[0].shape[:-1], total * int(ptr[-1])), arrays[0].dtype)
    found = np.empty((*arrays[0].shape[:-1], total * int(ptr[-1])), arrays[0].dtype)
    for a, z in itertools.pairwise(ptr):
        into, done = found[..., total * a : total * z].reshape(*found.shape[:-1], total, z - a), 0
        for array, n, s in zip(arrays, counts, which, strict=True):
            wide = s.stop - s.start
            into[..., done : done + wide, :] = array[..., n * a : n * z].reshape(*found.shape[:-1], n, z - a)[..., s, :]
            done += wide
    return found


def _in_registers(arrays: list[np.ndarray], counts: list[int], which: list[slice], w: Wiring, total: int) -> np.ndarray:
    """Arrays of local rows: flat (M) or (decays, groups, C, lanes) (F), lanes in groups that fill a register."""
    flat, lead = arrays[0].ndim == 1, 1 if arrays[0].ndim == 1 else len(arrays[0])
    columns = arrays[0].size // math.prod(lane_groups(w, counts[0])) if flat else arrays[0].shape[2]
    groups, wide = lane_groups(w, total)
    padded, done = np.zeros((lead, groups * wide, columns), arrays[0].dtype), 0
    for array, n, s in zip(arrays, counts, which, strict=True):
        many, register = lane_groups(w, n)
        grouped = np.moveaxis(array.reshape(lead, many, columns, register), 3, 2).reshape(lead, many * register, columns)
        padded[:, done : done + s.stop - s.start] = grouped[:, s]
        done += s.stop - s.start
    found = np.ascontiguousarray(np.moveaxis(padded.reshape(lead, groups, wide, columns), 2, 3))
    return found.reshape(-1) if flat else found


def wiring_seen(memory: Any, w: Wiring) -> Wiring:
    """The wiring that a learner's state is laid out for; of RandomPaths a part of the network's."""
    return getattr(getattr(memory, "blocks", None), "wiring", w)
