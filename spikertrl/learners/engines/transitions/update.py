"""Exact RTRL over a sequence that is one tape, by its state transitions: what the influence is made of, carried in its place.

With J(t) = ds(t)/ds(t-1) and the immediate terms I(s), the influence of a sequence that began at step 0 is

    M(t) = sum over s <= t of Phi(t, s) I(s),      Phi(t, s) = J(t) .. J(s+1),      Phi(s, s) = 1,

and every Phi(t, s) obeys the recurrence of the influence itself: Phi(t, s) = J(t) Phi(t-1, s). Carried forward in place of M
they have n columns a step of the sequence so far where M has all P parameters. Fewer still are enough: the sequence is cut into
sections, and once a section is over, at its last step e, what its steps s have to say passes through e,

    Phi(t, s) = Phi(t, e) Phi(e, s),

so that Phi(e, s) is set aside as it is and Phi(t, e) alone is carried on. With sections of about sqrt(T) steps some sqrt(T)
transitions are carried at a time instead of T. Nothing is approximated, and no step is gone through a second time: a loss at
step t meets at step t what is carried; what the sections' last steps have gathered meets what was set aside once; and I(s), the
messages at s, turns the part of every step into gradient. A dense network of n units takes about n^3 T^1.5 operations where the
influence takes n^2 P T: ``is_cheaper`` counts columns. Sun, Chen and Lee (1991, NIPS 4:333) carry the transition matrix of the
linearised network, its Green's function, together with its inverse: n^3 a step, but a unit that resets, or forgets, has a
Jacobian that cannot be inverted.

Units that are out of reach, or without memory, are no hindrance: rows of units without memory that send nothing are left out.
Where something follows, M is needed and ``product`` or the loops over blocks make it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

from ....network.wiring import Wiring
from ....tape import Tape
from ....threads import share
from ..adjoint.adjoint import Adjoint, into_parameters
from ..blocks import step_jacobian as couplings
from ..blocks.layout import LANES_AT_A_TIME, Layout
from ..blocks.step_jacobian import Couplings
from ..simd.rows import lanes, padded
from ..weights import full_weights
from .kernel import carry, last_told, through_sections

if TYPE_CHECKING:
    from ..blocks.state import BlockState

RATE = 0.8  # columns of transitions in the time of one of the influence (measured: benchmarks/README)
TILE_BYTES = 1 << 20  # of the columns that are carried together: narrow rows cost calls, what exceeds the cache costs time
ASIDE_BYTES = 64 << 20  # of transitions within sections, of the lanes that are carried together
SMALL_WORK = 2e7  # multiply-adds below which a second thread costs more than it gives
PAD = 2  # registers between rows: rows that are a power of two apart would share few places of the cache


def is_cheaper(state: BlockState, tape: Tape) -> bool:
    """Whether transitions are fewer elements than M, and can stand in for it.

    That is: M would be exact, units have one state, rows arrive after one step; couplings, and what a lane sets aside, fit.
    """
    w, blocks, steps = state.wiring.undivided, state.layout.undivided, tape.tau
    if not _is_plain(w, blocks, state.hops is None):
        return False
    sections = _sections(w.n_units, w.dtype, steps)
    lists = 0 if couplings.all_to_all(w, blocks) else couplings.nbytes(w, blocks, steps * tape.batch)
    if lists + sections.aside_bytes > _room(state):
        return False
    columns = sections.carried * sections.wide
    reached = RATE * blocks.first_M[-1] / (w.n_units * blocks.first_Z[-1])  # share of units that a column of M reaches
    if columns >= reached * steps * len(w.col_theta):
        return False
    always = steps * (len(w.col_theta) - int(_columns_of_source(w).sum()))  # columns of biases and of units' own parameters
    return columns < reached * always or columns < reached * (always + _columns_alive(w, tape))


def _room(state: BlockState) -> int:
    """Bytes for couplings and for what is set aside: as many as M's, which is not touched, if that is more."""
    return max(couplings.ROOM_BYTES, state.undivided_bytes)


@functools.lru_cache(maxsize=8)
def _is_plain(w: Wiring, blocks: Layout, exact: bool) -> bool:
    return w.row_history == 1 and bool((w.S == 1).all()) and len(w.col_theta) > 0 and (exact or bool(blocks.whole.all()))


@functools.lru_cache(maxsize=8)
def _columns_of_source(w: Wiring) -> np.ndarray:
    """Columns of the influence that each channel and unit is the source of."""
    return np.bincount(w.col_source[w.col_source >= 0], minlength=w.n_channels + w.n_units)


def _columns_alive(w: Wiring, tape: Tape) -> float:
    """Columns of synapses that are alive, summed over the steps: those whose source has been heard, by the first lanes."""
    heard = tape.messages[tape.history :, :LANES_AT_A_TIME] != 0
    steps = np.logical_or.accumulate(heard).sum((0, 1)) / heard.shape[1]
    return float(steps @ _columns_of_source(w))


def carry_transitions(state: BlockState, tape: Tape, direct: np.ndarray, lists: Couplings | None) -> np.ndarray:
    """Gradient of ``direct`` = dL/dy (tau, B, N) over a tape in which every lane begins anew and ends.

    ``lists``: the couplings of the tape, unless every unit hears every other (see ``couplings.all_to_all``).
    """
    w = state.wiring
    adjoint, gradient = Adjoint(w, tape.batch), np.zeros(w.n_parameters, w.dtype)
    gamma = adjoint.immediate(tape, _lambda(state, tape, direct, lists))
    adjoint.messages(tape, gamma, direct, lists is not None)
    into_parameters(w, tape, gamma, 0, gradient)
    adjoint.own_parameters(gradient)
    state.counts[1] += tape.tau * tape.batch * len(w.col_theta)
    return gradient


def _lambda(state: BlockState, tape: Tape, direct: np.ndarray, lists: Couplings | None) -> np.ndarray:
    """dL/ds at every step, (tau, B, N), of all losses that follow; lanes one group after another."""
    w, batch = state.wiring, tape.batch
    leak, gain = _by_unit(w, tape, tape.A, w.start_A), _by_unit(w, tape, tape.o, w.start_o)
    told = direct * gain
    lam, end, sections = told.copy(), last_told(told), _sections(w.n_units, w.dtype, tape.tau)
    arriving = float(tape.active(w)[0].mean()) * len(w.pair_pre) / w.n_units
    work = sections.carried * sections.wide * batch * (w.n_units + arriving)
    threads = numba.get_num_threads() if work >= SMALL_WORK else 1
    m, (K, W) = sections.length, _tile(sections, batch, threads, TILE_BYTES)
    taken = sum(part.nbytes for part in lists[:-1]) if lists else 0
    together = sections.lanes_together(batch, _room(state) - taken)
    k0s, inner, counts = np.arange(0, w.n_units, K), sections.room(together), np.zeros((threads, 4), np.int64)
    weight = full_weights(w, tape.theta) if lists is None else np.zeros((0, 0, 0), w.dtype)
    heard = lists or couplings.none_arrive(w, 0)
    common = (
        w.memoryless, leak, gain, *tape.active(w)[:2], heard.starts, heard.slot, heard.coef, weight, tape.B, w.heard_ports, w.G,
        w.size, w.local, w.start_B, told, end, lam, inner, counts,
    )  # fmt: skip
    for b0 in range(0, batch if sections.number else 0, together):
        b1 = min(b0 + together, batch)
        _shared(carry, min(threads, (b1 - b0) * len(k0s)), b0, b1, m, k0s, K, W, *common)
        if m > 1:
            _shared(through_sections, min(threads, (b1 - b0) * sections.number), b0, b1, m, end, lam, inner, counts)
    state.counts += counts.sum(0)
    carried_bytes = min(threads, batch * len(k0s)) * 2 * w.n_units * W * w.dtype.itemsize
    state.transition_bytes = max(state.transition_bytes, carried_bytes + inner.nbytes)
    return lam


def _shared(loop: Callable[..., None], workers: int, *arguments: object) -> None:
    share(lambda k: loop(k, workers, *arguments), workers)


@functools.lru_cache(maxsize=256)
def section_length(steps: int) -> int:
    """Source steps of a section with which the fewest transitions are carried: close to the root of ``steps``."""
    root = int(steps**0.5)
    return min(range(max(1, root - 2), root + 4), key=lambda m: carried(steps, m))


def carried(steps: int, m: int) -> int:
    """Transitions carried, summed over the steps of a sequence, with sections of m steps; one set aside counts once more."""
    source = np.arange(steps - 1)
    section, place = source // m, source % m
    over = (place == m - 1) | (source == steps - 2)
    return int((section + np.where(over, 1, place + 1)).sum() + (~over).sum())


@dataclass(frozen=True)
class _Sections:
    """Sizes of what is carried and set aside over so many steps."""

    n: int  # units
    wide: int  # the same in whole registers
    length: int  # steps of a section
    number: int
    carried: int
    dtype: np.dtype

    @property
    def aside_bytes(self) -> int:
        """What one lane sets aside."""
        return self.number * self.n * (self.length - 1) * self.wide * self.dtype.itemsize

    def lanes_together(self, batch: int, room: int) -> int:
        """Lanes that are carried at a time, so that what they set aside fits into so many bytes."""
        return min(batch, max(1, min(room, ASIDE_BYTES) // max(1, self.aside_bytes)))

    def room(self, together: int) -> np.ndarray:
        """For what is set aside, see ``through_sections``."""
        return np.empty((together, self.number, self.n, self.length - 1, self.wide), self.dtype)


@functools.lru_cache(maxsize=32)
def _tile(sections: _Sections, batch: int, threads: int, tile_bytes: int) -> tuple[int, int]:
    """Columns of one source step that are carried together (whole registers), and the length of a row of all of them."""
    n, item, register = sections.n, sections.dtype.itemsize, lanes(sections.dtype)
    groups = sections.number + sections.length - 1
    K = max(register, tile_bytes // (n * item * max(groups, 1)) // register * register)
    slices = -(-n // K)
    while batch * slices % threads and K > register:  # every thread as many
        slices += 1
        K = int(padded(-(-n // slices), sections.dtype))
    K = min(K, sections.wide)
    return K, K * groups + PAD * register


@functools.lru_cache(maxsize=32)
def _sections(n: int, dtype: np.dtype, steps: int) -> _Sections:
    m = section_length(steps)
    return _Sections(n, int(padded(n, dtype)), m, -(-(steps - 1) // m), carried(steps, m), dtype)


def _by_unit(w: Wiring, tape: Tape, flat: np.ndarray, start: np.ndarray) -> np.ndarray:
    """An array of the tape that has one entry per unit, as (tau, B, N); of a single population as it lies there."""
    if len(w.firsts) == 1:
        return flat.reshape(tape.tau, tape.batch, w.n_units)
    found = [
        flat[:, start[i] * tape.batch : (start[i] + w.size[i]) * tape.batch].reshape(tape.tau, tape.batch, w.size[i])
        for i in w.firsts
    ]
    return np.concatenate(found, axis=2)
