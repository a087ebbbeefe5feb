"""Exact RTRL over a sequence that is one tape, by its state transitions: what the influence is made of, carried in its place.

With J(t) = ds(t)/ds(t-1) and the immediate terms I(s), the influence of a sequence that began at step 0 is

    M(t) = sum over s <= t of Phi(t, s) I(s),      Phi(t, s) = J(t) .. J(s+1),      Phi(s, s) = 1,

and every Phi(t, s) obeys the recurrence of the influence itself: Phi(t, s) = J(t) Phi(t-1, s). Carried forward in place of M
they have n columns a step of the sequence so far where M has all P parameters: fewer, until the sequence is more than one and a
half times as long as a unit has parameters, and nothing is approximated. A loss at step t is met at step t, by all of them:
they give the part of it that each earlier step s has, and I(s), the messages at s, turns that into gradient. Nothing goes back
in time. Of a dense network of n units this takes n^3 T^2 / 2 operations where the influence takes n^2 P T: ``is_cheaper``
counts columns. Sun, Chen and Lee (1991, NIPS 4:333) carry the transition matrix of the linearised network, its Green's
function, together with its inverse: n^3 a step, but a unit that resets, or forgets, has a Jacobian that cannot be inverted.

Units that are out of reach, or without memory, are no hindrance: rows of units without memory that send nothing are left out.
Where something follows, M is needed and ``product`` or the loops over blocks make it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from ..tape import Tape
from ..threads import share
from ..wiring import Wiring
from . import couplings
from .adjoint import Adjoint
from .couplings import Couplings
from .layout import LANES_AT_A_TIME
from .transition_kernel import carry, through_messages
from .vector import lanes, padded

if TYPE_CHECKING:
    from .blocks import BlockState

RATE = 0.8  # columns of transitions in the time of one of the influence (measured: benchmarks/README)
TILE_BYTES = 1 << 20  # of the columns that are carried together: narrow rows cost calls, what exceeds the cache costs time
PAD = 2  # registers between rows: rows that are a power of two apart would share few places of the cache


def is_cheaper(state: BlockState, tape: Tape, coupling_bytes: int) -> bool:
    """Whether transitions are fewer elements than M, and can stand in for it.

    That is: M would be exact, units have one state, rows arrive after one step, couplings fit into so many bytes or M's.
    """
    w, blocks, steps = state.wiring, state.layout, tape.tau
    plain = w.row_history == 1 and bool((w.S == 1).all()) and (state.hops is None or bool(blocks.whole.all()))
    if not plain or not len(w.col_theta) or couplings.nbytes(w, steps * tape.batch) > max(coupling_bytes, state.M.nbytes):
        return False
    columns = steps * (steps - 1) / 2 * int(padded(w.n_units, w.dtype))
    rows = blocks.first_M[-1] / (w.n_units * blocks.first_Z[-1])  # share of units that a column of M reaches
    return columns < RATE * rows * steps * len(w.col_theta) and columns < RATE * rows * _columns_alive(w, tape)


def _columns_alive(w: Wiring, tape: Tape) -> float:
    """Columns of the influence that are alive, summed over the steps: those whose source has been heard, by the first lanes."""
    heard = tape.messages[tape.history :, :LANES_AT_A_TIME] != 0
    steps = np.logical_or.accumulate(heard).sum((0, 1)) / heard.shape[1]
    without = w.col_source < 0  # biases, units' own parameters
    return tape.tau * int(without.sum()) + float(steps[w.col_source[~without]].sum())


def carry_transitions(state: BlockState, tape: Tape, direct: np.ndarray, coupled: Couplings) -> np.ndarray:
    """Gradient of ``direct`` = dL/dy (tau, B, N) over a tape in which every lane begins anew and ends."""
    w, batch = state.wiring, tape.batch
    count, units, _ = tape.active(w)
    arrive = (coupled.starts, coupled.slot, coupled.coef, coupled.all_to_all)
    told = direct * _gains(w, tape)
    end = np.where((told != 0).any(2), np.arange(tape.tau)[:, None], -1).max(0)
    lam, (K, together, W) = told.copy(), _tile(w.n_units, tape.tau, w.dtype)
    t0s = np.append(np.arange(0, tape.tau - 1, together), tape.tau - 1)
    k0s = np.arange(0, w.n_units, K)
    workers = min(numba.get_num_threads(), batch * (len(t0s) - 1) * len(k0s))
    counts = np.zeros((max(workers, 1), 4), np.int64)
    rest = (
        t0s, k0s, K, W, batch, w.size, w.local, w.start_A, w.start_o, w.memoryless, tape.A, tape.o, count, units, *arrive,
        told, end, lam, counts,
    )  # fmt: skip
    if workers:
        share(lambda k: carry(k, workers, *rest), workers)
    state.transition_bytes = max(state.transition_bytes, workers * 2 * w.n_units * W * w.dtype.itemsize)
    state.counts += counts.sum(0)
    state.counts[1] += tape.tau * batch * len(w.col_theta)
    adjoint, gradient = Adjoint(w, batch), np.zeros(w.n_parameters, w.dtype)
    if len(adjoint.phi):
        through_messages(lam, direct, batch, w.Q, w.size, w.local, w.start_q, tape.q, count, units, *arrive, adjoint.phi)
    adjoint.immediate(tape, lam, gradient)
    adjoint.own_parameters(gradient)
    return gradient


def _tile(n: int, steps: int, dtype: np.dtype) -> tuple[int, int, int]:
    """What is carried together: columns of one source step (whole registers), source steps; and the length of a row."""
    register = lanes(dtype)
    room = max(register, TILE_BYTES // (n * dtype.itemsize) // register * register)
    apart = min(int(padded(n, dtype)), max(register, room // min(steps, 16) // register * register))
    together = min(room // apart, max(steps - 1, 1))
    return apart, together, apart * together + PAD * register


def _gains(w: Wiring, tape: Tape) -> np.ndarray:
    """dy/ds of every unit, (tau, B, N)."""
    found = np.empty((tape.tau, tape.batch, w.n_units), w.dtype)
    for first in np.flatnonzero(w.local == 0):
        n, at = w.size[first], w.start_o[first] * tape.batch
        found[:, :, first : first + n] = tape.o[:, at : at + tape.batch * n].reshape(tape.tau, tape.batch, n)
    return found
