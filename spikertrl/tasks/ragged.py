"""Samples of unequal length, and lists of events, as arrays (T, lanes, ...) that are padded at their ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import arguments

NOT_COUNTED = -1  # a class label of a step that does not count; a target of such a step is NaN


def pad(parts: Sequence[np.ndarray], fill: float) -> np.ndarray:
    """Arrays (T_i, ...) side by side, (T, lanes, ...), filled up after their ends.

    >>> pad([np.array([1, 2]), np.array([3])], -1).tolist()
    [[1, 3], [2, -1]]
    """
    longest = max(len(part) for part in parts)
    found = np.full((longest, len(parts), *parts[0].shape[1:]), fill, np.result_type(*parts))
    for lane, part in enumerate(parts):
        found[: len(part), lane] = part
    return found


def is_list_of_samples(value: Any) -> bool:
    """A list of arrays (T_i, ...), one a sample, and not an array as nested lists."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(part, np.ndarray) and part.ndim for part in value)


def inputs(x: Any, lengths: Any, channels: int | None, step: float) -> tuple[np.ndarray, np.ndarray]:
    """x as (T, lanes, channels), and how many steps of each lane are its own; see `arrays`."""
    where = "task arrays"
    if channels is not None:
        parts = [binned(sample, channels, step, lane) for lane, sample in enumerate(x)]
        return _side_by_side(parts, lengths)
    if is_list_of_samples(x):
        wide = x[0].shape[-1]
        if wrong := [p for p in x if p.ndim != 2 or not p.size or p.shape[1] != wide or p.dtype.kind not in "iubf"]:
            raise ValueError(
                f"{where}: a sample of x has shape {wrong[0].shape} and type {wrong[0].dtype}; legal: numbers (T, channels), "
                "not empty, all with the same channels"
            )
        return _side_by_side(list(x), lengths)
    x = arguments.numbers(where, "x", x, "an array (T, lanes, channels), or a list of arrays (T, channels)")
    if x.ndim != 3 or not x.size:
        raise ValueError(f"{where}: x has shape {x.shape}; legal: (T, lanes, channels), none of them 0")
    if lengths is None:
        return x, np.full(x.shape[1], len(x))
    steps = arguments.numbers(where, "lengths", lengths)
    if steps.shape != x.shape[1:2] or steps.dtype.kind not in "iu" or steps.min() < 1 or steps.max() > len(x):
        raise arguments.refuse(where, "lengths", lengths, f"{x.shape[1]} whole numbers 1 .. {len(x)}, one a lane")
    return x, steps


def _side_by_side(parts: list[np.ndarray], lengths: Any) -> tuple[np.ndarray, np.ndarray]:
    if lengths is not None:
        raise ValueError("task arrays: a list of samples has its own lengths; leave lengths out")
    if not parts:
        raise ValueError("task arrays: x is an empty list; give at least one sample")
    return pad(parts, 0), np.array([len(part) for part in parts])


def binned(events: Any, channels: int, step: float, lane: int = 0) -> np.ndarray:
    """One sample's events (time, unit[, value]) as sums of values per step and channel, (T, channels) float32.

    >>> binned([(0.2, 1), (0.7, 1), (2.1, 0, 5.0)], channels=2, step=1.0).tolist()
    [[0.0, 2.0], [0.0, 0.0], [5.0, 0.0]]
    """
    where, rows = f"task arrays: sample {lane}", [tuple(event) for event in events]
    if any(len(row) not in (2, 3) for row in rows):
        raise ValueError(f"{where}: an event has {len(next(r for r in rows if len(r) not in (2, 3)))} entries; legal: 2 or 3")
    found = np.array([(*row, 1.0)[:3] for row in rows], float).reshape(-1, 3)
    time, unit, value = found.T
    if not np.isfinite(found).all() or (time < 0).any():
        raise ValueError(f"{where}: a time is negative, or a number is not finite; legal: times from 0 on")
    if ((unit < 0) | (unit >= channels) | (unit != np.floor(unit))).any():
        wrong = unit[(unit < 0) | (unit >= channels) | (unit != np.floor(unit))][0]
        raise ValueError(f"{where}: an event of unit {wrong:g}; legal: 0 .. {channels - 1}, as channels={channels}")
    at = np.floor(time / step).astype(np.int64)
    x = np.zeros((int(at.max(initial=0)) + 1, channels), np.float32)
    np.add.at(x, (at, unit.astype(np.int64)), value)
    return x


def targets(labels: Any, steps: np.ndarray, total: int) -> tuple[np.ndarray, bool]:
    """Labels as (T, lanes, ...) or (lanes, ...), and whether they are given step by step.

    Where samples end early or some do not count, they are given step by step: -1 (classes) or NaN (targets) does not count.
    """
    where, lanes = "task arrays", len(steps)
    if is_list_of_samples(labels) and [len(p) for p in labels] == steps.tolist() and len({p.shape[1:] for p in labels}) == 1:
        labels = pad([p if p.dtype.kind in "iub" else p.astype(float) for p in labels], _fill(labels[0]))
    labels = arguments.numbers(where, "labels", labels, "whole numbers (classes) or real ones (targets)")
    timed = labels.shape[:2] == (total, lanes)
    if labels.dtype.kind == "f" and labels.shape in ((lanes,), (total, lanes)):
        raise ValueError(f"{where}: targets have shape {labels.shape}; their last axis is the outputs: use labels[..., None]")
    if not timed and labels.shape[:1] != (lanes,):
        legal = f"({total}, {lanes}, ...) or ({lanes}, ...)"
        raise ValueError(f"{where}: labels have shape {labels.shape}; legal: {legal}, or a list of one array for each sample")
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    early = bool((steps < total).any())
    if not timed and (early or not counts(labels).all()):
        labels, timed = at_the_end(labels, steps, total), True
    elif timed and early:
        labels = labels.copy()
        labels[np.arange(total)[:, None] >= steps] = _fill(labels)
    if not counts(labels).any():
        raise ValueError(f"{where}: no label counts; -1 (classes) and NaN (targets) mark what does not count")
    return labels, timed


def at_the_end(labels: np.ndarray, steps: np.ndarray, total: int) -> np.ndarray:
    """Labels by lane as labels by step, which count at each lane's last step alone."""
    found = np.full((total, *labels.shape), _fill(labels), labels.dtype)
    found[steps - 1, np.arange(len(steps))] = labels
    return found


def _fill(labels: np.ndarray) -> float:
    return NOT_COUNTED if labels.dtype.kind in "iub" else np.nan


def counts(labels: np.ndarray) -> np.ndarray:
    """Which entries count: no class below 0, no target with a NaN."""
    return np.asarray(labels >= 0 if labels.dtype.kind in "iu" else ~np.isnan(labels).any(axis=-1))
