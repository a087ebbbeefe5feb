"""Sizes of what is carried in place of the influence: of state transitions, segment by segment (see ``update``), and of
transitions between messages, window by window (see ``events``); and which of the two takes less."""  # fmt: skip

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..simd.rows import lanes, padded

ROW_BYTES = 1024  # of what is carried between messages, if a window does not end before
PAD = 2  # registers between rows: rows that are a power of two apart would share few places of the cache


@dataclass(frozen=True)
class Segments:
    """Sizes of what is carried and set aside over so many steps."""

    n: int  # units
    wide: int  # the same in whole registers
    length: int  # steps of a segment
    number: int
    carried: int
    dtype: np.dtype

    @property
    def aside_bytes(self) -> int:
        """What one lane sets aside."""
        return self.number * self.n * (self.length - 1) * self.wide * self.dtype.itemsize

    def lanes_together(self, batch: int, room: int) -> int:
        """Lanes that are carried at a time, so that what they set aside fits into so many bytes."""
        return min(batch, max(1, room // max(1, self.aside_bytes)))

    def room(self, together: int) -> np.ndarray:
        """For what is set aside, see ``through_sections``."""
        return np.empty((together, self.number, self.n, self.length - 1, self.wide), self.dtype)


@functools.lru_cache(maxsize=32)
def segments(n: int, dtype: np.dtype, steps: int, length: int | None = None) -> Segments:
    """Segments of ``length`` steps (default: of the length with which the fewest transitions are carried)."""
    m = segment_length(steps) if length is None else length
    return Segments(n, int(padded(n, dtype)), m, -(-(steps - 1) // m), carried(steps, m), dtype)


@functools.lru_cache(maxsize=256)
def segment_length(steps: int) -> int:
    """Source steps of a segment with which the fewest transitions are carried: close to the root of ``steps``."""
    root = int(steps**0.5)
    return min(range(max(1, root - 2), root + 4), key=lambda m: carried(steps, m))


def carried(steps: int, m: int) -> int:
    """Transitions carried, summed over the steps of a sequence, with segments of m steps; one set aside counts once more."""
    source = np.arange(steps - 1)
    segment, place = source // m, source % m
    over = (place == m - 1) | (source == steps - 2)
    return int((segment + np.where(over, 1, place + 1)).sum() + (~over).sum())


class Transitions(NamedTuple):
    """A way to carry transitions over a sequence of one lane."""

    between: str  # "states" or "messages"
    macs: float  # multiply-adds
    time: float  # that of so many multiply-adds between states
    nbytes: int  # of what is listed and set aside


def transitions_of_states(cut: Segments, arriving: float, list_bytes: int) -> Transitions:
    """Columns of ``cut``, over a step in which ``arriving`` rows arrive."""
    macs = cut.carried * cut.wide * (cut.n + arriving)
    return Transitions("states", macs, macs, list_bytes + cut.aside_bytes)


def transitions_of_messages(sent: float, terms: float, rate: float, nbytes: int) -> Transitions:
    """A column for every message of a gradient-active unit, and a row of so many ``terms`` for all that follow."""
    macs = sent * sent / 2 * terms
    return Transitions("messages", macs, rate * macs, nbytes)


def window(steps: int, states: int, sent: float, delay: int, tile_bytes: int) -> int:
    """Steps after which all units are visited, so that rows of the messages since then, and of the states, stay in the cache.

    ``sent``: messages of a step. Visits of all states, and messages on their way, must stay the smaller part.
    """
    rows = max(tile_bytes // ROW_BYTES - states, states)
    return min(steps, max(int(rows / max(sent, 1.0)) - delay, delay, 1))


@functools.lru_cache(maxsize=32)
def tile(cut: Segments, batch: int, threads: int, tile_bytes: int) -> tuple[int, int]:
    """Columns of one source step that are carried together (whole registers), and the length of a row of all of them."""
    n, item, register = cut.n, cut.dtype.itemsize, lanes(cut.dtype)
    groups = cut.number + cut.length - 1
    K = max(register, tile_bytes // (n * item * max(groups, 1)) // register * register)
    slices = -(-n // K)
    while batch * slices % threads and K > register:  # every thread as many
        slices += 1
        K = int(padded(-(-n // slices), cut.dtype))
    K = min(K, cut.wide)
    return K, K * groups + PAD * register
