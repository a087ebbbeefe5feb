"""Where the rows that local learners keep lie: columns by unit, rows by unit and state, lanes side by side.

Columns have an order of their own here: by unit, synapses before biases before trainable parameters, synapses by port and
place in theta. So the synapses of a unit form **runs** (one port of one projection): a run has one gain, its gradient is
written side by side, and from a dense projection with one delay its messages are read side by side too.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np

from ....derived import derived
from ....network.wiring import PHI, Wiring
from ...readout import leaks
from ..simd import columns as lane_vectors
from .records import Places


@dataclass(frozen=True, eq=False)
class Table:
    """Where everything lies. ``order[x]`` is the column of the wiring at place x; (C) arrays follow the places.

    ``first_C``, ``first_M`` (N + 1): places, and elements of M in a lane, before each unit; ``synapses`` (N): how many of its
    places; ``runs`` (R, 5): first place in the unit, length, port, place in theta, messages side by side or not.
    ``offset``: how far behind the start of a step the message of a place lies in the record of a single lane. ``loop_*``:
    synapses of units onto themselves. ``leaky`` (decays, N): units that readouts with each decay read.
    ``behind``: in theta, where readouts begin. Largest numbers of a unit: ``most`` states, ``widest`` in columns, ``drives``
    (ports and trainable parameters), ``coefficients`` of a step.
    """

    order: np.ndarray
    first_C: np.ndarray
    first_M: np.ndarray
    synapses: np.ndarray
    run_ptr: np.ndarray
    runs: np.ndarray
    source: np.ndarray
    delay: np.ndarray
    offset: np.ndarray
    theta: np.ndarray
    port: np.ndarray
    explicit: np.ndarray
    loop_ptr: np.ndarray
    loop_theta: np.ndarray
    loop_port: np.ndarray
    leaky: np.ndarray
    behind: int
    most: int
    widest: int
    drives: int
    coefficients: int

    @functools.cached_property
    def no_loop(self) -> np.ndarray:
        """``loop_ptr`` where no unit hears itself."""
        return np.zeros_like(self.loop_ptr)

    @functools.cached_property
    def places(self) -> Places:
        """The same as compiled loops take it."""
        return Places(*(getattr(self, name) for name in Places._fields))


def is_local(w: Wiring) -> bool:
    """Whether what SnAp-1 keeps needs no rows in flight: units hear themselves after one step, or not at all."""
    may_come = all(delay == 1 or to != start for to, start, delay in w.changing)
    return may_come and bool((w.pair_delay[_onto_themselves(w)] == 1).all())


@derived
def alone(w: Wiring) -> bool:
    """Whether units reach themselves at most: own rows are then the whole influence, and the exact gradient is linear.

    Leaky readouts are left out: what a message was worth to them is weighted with their present weights here.
    """
    apart = len(_onto_themselves(w)) == len(w.pair_pre) and not w.changing and w.of is None
    return apart and is_local(w) and not (w.decay > 0).any()


def _onto_themselves(w: Wiring) -> np.ndarray:
    return np.flatnonzero(w.pair_pre == np.repeat(np.arange(w.n_units), np.diff(w.pair_ptr)))


def lane_groups(w: Wiring, batch: int) -> tuple[int, int]:
    """Groups of lanes, and lanes in each; the last may have empty places."""
    width = lane_vectors.width(batch, w.dtype)
    return -(-batch // width), width


@derived
def heard(w: Wiring) -> np.ndarray:
    """(sources) how many columns each source's message goes into."""
    return np.bincount(w.col_source[w.col_source >= 0], minlength=w.n_channels + w.n_units)


@derived
def table(w: Wiring) -> Table:
    """See ``Table``; a wiring never changes."""
    kind = np.where(w.col_source >= 0, 0, -w.col_source)
    order = np.lexsort((w.col_theta, w.col_port, kind, w.col_unit))
    unit, theta, port, source, delay, kind = (
        x[order] for x in (w.col_unit, w.col_theta, w.col_port, w.col_source, w.col_delay, kind)
    )
    learned = np.flatnonzero(kind == 0)
    steps = np.stack([np.diff(x[learned], prepend=-9) for x in (unit, port, theta, source, delay)])
    new = (steps[0] != 0) | (steps[1] != 0) | (steps[2] != 1)
    first = np.flatnonzero(new)
    bent = ((steps[3] != 1) | (steps[4] != 0)) & ~new
    straight = np.add.reduceat(bent, first) == 0 if len(first) else np.zeros(0, bool)
    begin = learned[first]
    runs = (begin - w.col_ptr[unit[begin]], np.diff(np.append(first, len(learned))), port[begin], theta[begin], straight)
    mine = _onto_themselves(w)
    loop = np.concatenate([np.zeros(0, np.int64), *(np.arange(w.pair_syn[p], w.pair_syn[p + 1]) for p in mine)])
    owner = np.repeat(w.pair_pre[mine], np.diff(w.pair_syn)[mine])
    decays = leaks(w).decays
    return Table(
        order, w.col_ptr.astype(np.int64), np.append(0, np.cumsum(w.S * np.diff(w.col_ptr))).astype(np.int64),
        np.bincount(unit[learned], minlength=w.n_units).astype(np.int64),
        np.searchsorted(unit[begin], np.arange(w.n_units + 1)), np.stack(runs, 1).astype(np.int64), source, delay,
        source - delay * (w.n_channels + w.n_units), theta, port, kind == -PHI,
        np.searchsorted(owner, np.arange(w.n_units + 1)), w.syn_theta[loop], w.syn_port[loop],
        np.array([(w.out_theta[w.decay == d] >= 0).any(0) for d in decays], bool).reshape(len(decays), w.n_units),
        int(w.out_theta.min(initial=w.n_parameters, where=w.out_theta >= 0)),
        most=int(w.S.max()), widest=int(np.diff(w.col_ptr).max()), drives=int((w.G + w.Q).max()),
        coefficients=int((w.S**2 + (w.G + w.Q) * w.S + (1 + len(decays)) * (w.S + w.Q)).max()),
    )  # fmt: skip


@derived
def shared_out(w: Wiring, groups: int, threads: int) -> tuple[np.ndarray, int]:
    """(first unit, last unit, chunk, first group of lanes, last group) of every task, and the number of chunks."""
    parts = min(w.n_units, 4 * threads)
    chunks = min(groups, max(1, -(-4 * threads // parts)))
    work = table(w).first_M
    cuts = np.unique(np.searchsorted(work, np.linspace(0, work[-1], parts + 1)[1:-1]))
    cuts = [0, *(int(k) for k in cuts if 0 < k < w.n_units), w.n_units]
    cut = np.linspace(0, groups, chunks + 1).astype(np.int64)
    spans = itertools.pairwise(cuts)
    return np.array([(a, z, c, cut[c], cut[c + 1]) for a, z in spans for c in range(chunks)], np.int64), chunks
