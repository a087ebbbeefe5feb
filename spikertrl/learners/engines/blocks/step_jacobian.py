"""The step Jacobian of a tape: for every unit, lane and step, which rows arrive and with which weight."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....derived import derived
from ....network.wiring import Wiring
from ....tape import Tape
from ....threads import in_parts
from ..simd.gemm import PANEL
from ..weights import full_weights, outgoing
from .layout import Layout
from .step_jacobian_kernel import couple, couple_all


class StepJacobian(NamedTuple):
    """Entries of every unit in every lane and step: where they start, source units, slots, delays, values (states, entries).

    ``pre`` and ``lag`` are empty where rows arrive by their slot alone.
    """

    starts: np.ndarray  # (steps * lanes, N + 1)
    pre: np.ndarray
    slot: np.ndarray
    lag: np.ndarray
    coef: np.ndarray
    all_to_all: bool  # values alone, as a full matrix (see combine_panel) in every lane and step


def none_arrive(w: Wiring, rows: int) -> StepJacobian:
    """There is no synapse between units."""
    starts, none = np.zeros((rows, w.n_units + 1), np.int64), np.zeros(0, np.int32)
    return StepJacobian(starts, none, none, none, np.zeros((w.max_states, 0), w.dtype), False)


def nbytes(w: Wiring, blocks: Layout, rows: int, dense: bool) -> int:
    """What ``allocate`` will take."""
    return rows * _row_bytes(w, blocks, dense)


@derived
def _row_bytes(w: Wiring, blocks: Layout, dense: bool) -> int:
    named = not blocks.full_reach.all()
    numbers = 4 * ((not dense) + 2 * named) + w.max_states * w.dtype.itemsize
    return 8 * (w.n_units + 1) + _entries(w, dense) * numbers


def allocate(w: Wiring, blocks: Layout, rows: int, dense: bool) -> StepJacobian:
    """Room for the step Jacobian of ``rows`` lanes and steps, as full matrices (``dense``) or as lists."""
    entries = rows * _entries(w, dense)
    names = 0 if blocks.full_reach.all() else entries
    pre, slot, lag = (np.empty(n, np.int32) for n in (names, 0 if dense else entries, names))
    return StepJacobian(
        np.empty((rows, w.n_units + 1), np.int64), pre, slot, lag, np.empty((w.max_states, entries), w.dtype), dense
    )


def one_row(w: Wiring, listed: bool) -> StepJacobian:
    """Room for one lane and step as lists without sources and delays, for those who take slots; nothing if not ``listed``."""
    entries, none = len(w.pair_pre) if listed else 0, np.zeros(0, np.int32)
    starts, coef = np.zeros((1, w.n_units + 1), np.int64), np.empty((w.max_states, entries), w.dtype)
    return StepJacobian(starts, none, np.empty(entries, np.int32), none, coef, False)


def _entries(w: Wiring, dense: bool) -> int:
    """Entries that one lane may have in a step."""
    return w.n_units * -(-w.n_units // PANEL) * PANEL if dense else len(w.pair_pre)


def fill(
    into: StepJacobian, w: Wiring, tape: Tape, theta: np.ndarray, sent: np.ndarray, senders: np.ndarray, t0: int, t1: int
) -> StepJacobian:
    """What arrives in steps t0..t1-1 with the parameters theta; ``sent`` and ``senders`` as in ``couple``."""
    past, rows = len(sent) - tape.tau, (t1 - t0) * tape.batch
    if into.all_to_all:
        weight = full_weights(w, theta)
        coef = into.coef.reshape(rows, -1)
        full = (tape.B, weight, w.heard_ports, past, sent, senders, w.tables, t0, tape.batch, coef)
        in_parts(lambda part: couple_all(*full, part.start, part.stop), rows)
    else:
        listed = (tape.B, outgoing(w, theta), past, sent, senders, w.tables, t0, tape.batch, into)
        in_parts(lambda part: couple(*listed, part.start, part.stop), rows)
    return into


def fill_steps(
    into: StepJacobian, w: Wiring, tape: Tape, thetas: np.ndarray, sent: np.ndarray, senders: np.ndarray
) -> StepJacobian:
    """``fill`` for all steps of a tape, each with its own parameters (steps, parameters)."""
    rows, room = tape.batch, into.coef.shape[1] // len(thetas)
    for t, theta in enumerate(thetas):
        own = slice(t * room, (t + 1) * room)
        starts = into.starts[t * rows : (t + 1) * rows]
        part = StepJacobian(starts, into.pre[own], into.slot[own], into.lag[own], into.coef[:, own], into.all_to_all)
        fill(part, w, tape, theta, sent, senders, t, t + 1)
        part.starts[...] += t * room
    return into
