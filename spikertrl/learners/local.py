"""Local influence: of each unit's own rows over its own parameters. All that SnAp-1, e-prop and RFLO keep.

What a message was worth to a leaky readout before the tape is kept per column, as a decayed sum, and weighted with the
readout's present weights.

Columns have an order of their own here: by unit, synapses before biases before trainable parameters, synapses by port and
place in theta. So the synapses of a unit form **runs** (one port of one projection): a run has one gain, its gradient is
written side by side, and from a dense projection with one delay its messages are read side by side too.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, field

import numba
import numpy as np

from ..memory import require
from ..tape import Tape
from ..threads import threads_for
from ..wiring import PHI, Wiring
from . import lane_vectors
from . import local_kernel as kernel
from . import local_lanes_kernel as lanes_kernel
from .base import Signal, add_readout_gradient, readout_weights, through_decay
from .vector import aligned


@dataclass
class LocalState:
    """Rows of each unit's own columns; all arrays are advanced in place.

    Lanes lie side by side in groups of ``lane_vectors.width``. ``M``: per group, unit, state, the unit's columns (``Table``),
    their lanes; ``F`` (decays, groups, columns, lanes): dy/dtheta summed over the past with each decay that a readout has.
    ``o``, ``q``: the last step's dO/ds and dO/dphi. ``counts``: multiply-adds by coefficients that are not zero, done since
    ``init`` (propagation, immediate terms, messages, readout).
    """

    wiring: Wiring
    batch: int
    M: np.ndarray
    F: np.ndarray
    o: np.ndarray
    q: np.ndarray
    counts: np.ndarray = field(default_factory=lambda: np.zeros(4, np.int64))
    lane_steps: int = 0


@dataclass(frozen=True, eq=False)
class Table:
    """Where everything lies. ``order[x]`` is the column of the wiring at place x; (C) arrays follow the places.

    ``first_C``, ``first_M`` (N + 1): places, and elements of M in a lane, before each unit; ``synapses`` (N): how many of its
    places; ``runs`` (R, 5): first place in the unit, length, port, place in theta, messages side by side or not.
    ``loop_*``: synapses of units onto themselves. ``decays`` of the leaky readouts, ``heard`` (decays, N): units they read.
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
    theta: np.ndarray
    port: np.ndarray
    explicit: np.ndarray
    loop_ptr: np.ndarray
    loop_theta: np.ndarray
    loop_port: np.ndarray
    decays: np.ndarray
    heard: np.ndarray
    behind: int
    most: int
    widest: int
    drives: int
    coefficients: int


def is_local(w: Wiring) -> bool:
    """Whether what SnAp-1 keeps needs no rows in flight: units hear themselves after one step, or not at all."""
    return bool((w.pair_delay[_onto_themselves(w)] == 1).all())


def _onto_themselves(w: Wiring) -> np.ndarray:
    return np.flatnonzero(w.pair_pre == np.repeat(np.arange(w.n_units), np.diff(w.pair_ptr)))


def local_bytes(w: Wiring, batch: int) -> int:
    """What ``init_local`` will allocate for the influence."""
    decays = len(np.unique(w.decay[w.decay > 0]))
    return math.prod(_lanes(w, batch)) * w.dtype.itemsize * int((np.diff(w.col_ptr) * (w.S + decays)).sum())


def _lanes(w: Wiring, batch: int) -> tuple[int, int]:
    """Groups of lanes, and lanes in each; the last may have empty places."""
    width = lane_vectors.width(batch, w.dtype)
    return -(-batch // width), width


def init_local(w: Wiring, batch: int, name: str) -> LocalState:
    """Nothing remembered yet; ``name`` of the learner, for the message.

    Raises
    ------
    NotEnoughMemory
        If it does not fit; the message says what would.
    """
    needed = local_bytes(w, batch)

    def advice(free: int) -> str:
        ways = [f"keep at most {free / needed:.1%} of the connections (density=)"]
        if batch > 1 and needed // batch <= free:
            ways.append(f"batch {free * batch // needed}")
        return "what would fit: " + "; ".join([*ways, "Immediate (no memory)"])

    require(needed, f"the influence of {name} ({w.n_states} states, {w.n_recurrent} parameters, batch {batch})", advice)
    found, (groups, width) = table(w), _lanes(w, batch)
    return LocalState(
        w, batch,
        M=aligned(groups * int(found.first_M[-1]) * width, w.dtype),
        F=np.zeros((len(found.decays), groups, w.n_recurrent, width), w.dtype),
        o=np.zeros(int(w.S.sum()) * batch, w.dtype),
        q=np.zeros(int(w.Q.sum()) * batch, w.dtype),
    )  # fmt: skip


def update_local(
    state: LocalState,
    tape: Tape,
    signal: Signal,
    *,
    synaptic: bool = True,
    feedback: np.ndarray | None = None,
    alone: bool = False,
) -> np.ndarray:
    """Advance the rows over a tape and return the gradient.

    ``synaptic=False`` leaves out what a unit sends to itself through a synapse; ``feedback`` (O, N) takes the place of the
    readout weights in the learning signal; ``alone``: a state passes nothing to the other states of its unit.
    """
    w, batch = state.wiring, tape.batch
    if tape.reset.any():
        _reset(state, tape.reset)
    at, decays = table(w), table(w).decays
    weights = readout_weights(w, tape.theta) if feedback is None else feedback
    zbar = through_decay(w, signal.dz)
    direct = zbar @ weights if signal.dy is None else zbar @ weights + signal.dy
    # what the tape's losses owe to the rows before it, per decay
    past = [(zbar[0][:, w.decay == d] * w.dtype.type(d)) @ weights[w.decay == d] for d in decays]
    powers = (decays[:, None] ** np.arange(tape.tau - 1, -1, -1)).astype(w.dtype)
    with threads_for(float(len(state.M)) * tape.tau):
        tasks, chunks = _tasks(w, _lanes(w, batch)[0], numba.get_num_threads())
        gradient, counts = np.empty((chunks, w.n_parameters), w.dtype), np.zeros((len(tasks), 4), np.int64)
        gradient[:, at.behind :] = gradient[:, w.frozen] = 0  # the rest are columns
        model = (
            w.S, w.G, w.Q, w.size, w.local, w.start_A, w.start_B, w.start_P, w.start_o, w.start_q, tape.A, tape.B, tape.P,
            tape.o, tape.q, state.o, state.q, alone, at.loop_ptr if synaptic else np.zeros_like(at.loop_ptr), at.loop_theta,
            at.loop_port, tape.theta,
        )  # fmt: skip
        signals = (
            direct, np.array(past, w.dtype).reshape(len(decays), batch, w.n_units), powers, (decays**tape.tau).astype(w.dtype),
            at.heard,
        )  # fmt: skip
        rows = state.M, state.F.reshape(-1), *signals, gradient.reshape(-1), counts
        (_sweep_lane if batch == 1 else _sweep_lanes)(at, tape, tasks, model, rows)
    gradient = gradient[0] if chunks == 1 else gradient.sum(0)
    state.o[...], state.q[...] = tape.o[-1], tape.q[-1]
    state.counts += counts.sum(0)
    state.lane_steps += batch * tape.tau
    add_readout_gradient(w, tape, signal, gradient)
    return gradient


def _sweep_lane(at: Table, tape: Tape, tasks: np.ndarray, model: tuple, rows: tuple) -> None:
    """Advance ``rows`` of a single lane."""
    room = tape.messages.shape[2]
    kernel.sweep(
        tasks, at.most, at.widest, *model, tape.messages.reshape(-1), tape.history * room, room, at.first_M, at.first_C,
        at.synapses, at.run_ptr, at.runs, at.source - at.delay * room, at.theta, at.port, at.explicit, *rows,
    )  # fmt: skip


def _sweep_lanes(at: Table, tape: Tape, tasks: np.ndarray, model: tuple, rows: tuple) -> None:
    """Advance ``rows`` of several lanes."""
    steps, batch, room = tape.messages.shape
    width = lane_vectors.width(batch, tape.messages.dtype)
    messages = np.empty((-(-batch // width), steps, room + 1, width), tape.messages.dtype)
    lanes_kernel.side_by_side(tape.messages, batch, messages)
    lanes_kernel.sweep(
        tasks, batch, width, at.most, at.widest, at.drives, at.coefficients, *model, messages.reshape(-1), tape.history,
        room + 1, at.first_M, at.first_C, at.source, at.delay, at.theta, at.port, at.explicit, *rows,
    )  # fmt: skip


def local_rows(state: LocalState, lane: int) -> np.ndarray:
    """The influence of one lane as a dense matrix (states, columns of the wiring)."""
    w, at = state.wiring, table(state.wiring)
    groups, width = _lanes(w, state.batch)
    found, own = (
        np.zeros((w.n_states, w.n_recurrent), w.dtype),
        state.M.reshape(groups, -1, width)[lane // width, :, lane % width],
    )
    for k in range(w.n_units):
        rows = slice(w.first_state[k], w.first_state[k] + w.S[k])
        columns = at.order[at.first_C[k] : at.first_C[k + 1]]
        found[rows, columns] = own[at.first_M[k] : at.first_M[k + 1]].reshape(w.S[k], -1)
    return found


@functools.lru_cache(maxsize=8)
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
    decays = np.unique(w.decay[w.decay > 0])
    return Table(
        order, w.col_ptr.astype(np.int64), np.append(0, np.cumsum(w.S * np.diff(w.col_ptr))).astype(np.int64),
        np.bincount(unit[learned], minlength=w.n_units).astype(np.int64),
        np.searchsorted(unit[begin], np.arange(w.n_units + 1)), np.stack(runs, 1).astype(np.int64), source, delay,
        theta, port, kind == -PHI, np.searchsorted(owner, np.arange(w.n_units + 1)), w.syn_theta[loop], w.syn_port[loop],
        decays,
        np.array([(w.out_theta[w.decay == d] >= 0).any(0) for d in decays], bool).reshape(len(decays), w.n_units),
        int(w.out_theta.min(initial=w.n_parameters, where=w.out_theta >= 0)),
        most=int(w.S.max()), widest=int(np.diff(w.col_ptr).max()), drives=int((w.G + w.Q).max()),
        coefficients=int((w.S**2 + (w.G + w.Q) * w.S + (1 + len(decays)) * (w.S + w.Q)).max()),
    )  # fmt: skip


@functools.lru_cache(maxsize=32)
def _tasks(w: Wiring, groups: int, threads: int) -> tuple[np.ndarray, int]:
    """(first unit, last unit, chunk, first group of lanes, last group) of every task, and the number of chunks."""
    parts = min(w.n_units, 4 * threads)
    chunks = min(groups, max(1, -(-4 * threads // parts)))
    work = table(w).first_M
    cuts = np.unique(np.searchsorted(work, np.linspace(0, work[-1], parts + 1)[1:-1]))
    cuts = [0, *(int(k) for k in cuts if 0 < k < w.n_units), w.n_units]
    cut = np.linspace(0, groups, chunks + 1).astype(np.int64)
    spans = itertools.pairwise(cuts)
    return np.array([(a, z, c, cut[c], cut[c + 1]) for a, z in spans for c in range(chunks)], np.int64), chunks


def _reset(state: LocalState, which: np.ndarray) -> None:
    """Forget the given lanes."""
    w = state.wiring
    groups, width = _lanes(w, state.batch)
    for lane in np.flatnonzero(which):
        state.M.reshape(groups, -1, width)[lane // width, :, lane % width] = 0
        state.F[:, lane // width, :, lane % width] = 0
    for k in np.flatnonzero(w.local == 0):  # the first unit of every population
        first, n = w.start_q[k] * state.batch, w.Q[k] * w.size[k]
        state.q[first : first + state.batch * n].reshape(state.batch, n)[which] = 0
