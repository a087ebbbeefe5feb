"""What a file holds, held against what the reader has made itself: kinds, shapes, lanes, indices.

A record whose compiled loops take indices out of its arrays has a method ``misfit(other)``: what is out of range in another one
with arrays of the same shapes, or nothing. Loops look at no bounds, and a file may hold any number.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from .resources import available, readable


class Damage(Exception):
    """What is wrong with a file; who reads it adds which."""


@dataclasses.dataclass
class Zeros:
    """An array of zeros that was left out, until its shape has been compared."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def made(self) -> np.ndarray:
        needed, free = math.prod(self.shape) * self.dtype.itemsize, available()
        if min(self.shape, default=0) < 0 or needed > free:
            raise Damage(f"it asks for an array of shape {self.shape}, {readable(needed)}; {readable(free)} are available")
        return np.zeros(self.shape, self.dtype)


def is_record(value: Any, left_out: type | None) -> bool:
    """Is it a dataclass whose fields are stored?"""
    return dataclasses.is_dataclass(value) and not isinstance(value, (type, *([left_out] if left_out else [])))


def fitted(found: Any, like: Any, where: str, left_out: type | None = None) -> Any:
    """``found`` with its zeros made; where ``like`` holds something, it must be of that kind, an array of that shape."""
    _same_kind(found, like, where, left_out)
    if isinstance(found, (np.ndarray, Zeros)):
        if isinstance(like, np.ndarray) and (found.shape != like.shape or found.dtype != like.dtype):
            raise Damage(f"{where} has shape {found.shape} of {found.dtype}, this run needs {like.shape} of {like.dtype}")
        return found.made() if isinstance(found, Zeros) else found
    if isinstance(found, dict):
        known = like if isinstance(like, dict) else {}
        if missing := [k for k in known if k not in found]:
            raise Damage(f"{where} lacks {', '.join(map(repr, missing))}")
        return {k: fitted(v, known.get(k), f"{where}[{k!r}]", left_out) for k, v in found.items()}
    if isinstance(found, (list, tuple)):
        known = like if isinstance(like, (list, tuple)) and len(like) == len(found) else [None] * len(found)
        parts = zip(found, known, strict=True)
        return type(found)(fitted(v, k, f"{where}[{i}]", left_out) for i, (v, k) in enumerate(parts))
    if is_record(found, left_out):
        return _fitted_dataclass(found, like, where, left_out)
    return found


def out_of_range(ranges: dict[str, tuple[Any, Any, Any]]) -> str:
    """Which of name -> (indices, least, largest) is out of range, or nothing."""
    for name, (found, least, largest) in ranges.items():
        if not np.all((least <= np.asarray(found)) & (np.asarray(found) <= largest)):
            return f"{name} holds indices that do not exist here"
    return ""


GIVEN = ("batch", "hops")  # fields of a state that do not change while it lives
KINDS: tuple[tuple[Any, Any], ...] = (
    (np.ndarray, (np.ndarray, Zeros)), (bool, bool), (int, int), (float, (int, float)), (str, str), (dict, dict),
    ((list, tuple), (list, tuple)), (np.random.Generator, np.random.Generator),
)  # fmt: skip


def _same_kind(found: Any, like: Any, where: str, left_out: type | None) -> None:
    """Raise where something of another kind is found than ``like``, a count below zero, or a list of another length."""
    if is_record(like, left_out) and type(like) is not type(found):
        why = "it was computed in another way, or by another version"
        raise Damage(f"{where} is of kind {type(found).__name__}, this run needs {type(like).__name__}: {why}")
    if isinstance(like, (bool, int, float)) and isinstance(found, np.ndarray) and not found.shape:
        found = found.item()  # a number of numpy's
    for kind, legal in KINDS:
        if isinstance(like, kind):
            if not isinstance(found, legal) or isinstance(found, bool) is not isinstance(like, bool):
                shape = f" of shape {like.shape}" if isinstance(like, np.ndarray) else ""
                raise Damage(f"{where} is a {type(found).__name__}, this run needs a {type(like).__name__}{shape}")
            if isinstance(like, int) and found < 0:
                raise Damage(f"{where} is {found}, a count")
            if isinstance(like, (list, tuple)) and like and len(found) != len(like):
                raise Damage(f"{where} has {len(found)} parts, this run needs {len(like)}")
            return


def _fitted_dataclass(found: Any, like: Any, where: str, left_out: type | None) -> Any:
    for f in dataclasses.fields(found):
        if f.init:
            value, known = getattr(found, f.name), getattr(like, f.name, None)
            if f.name in GIVEN and like is not None and value != known:
                raise Damage(f"{where}.{f.name} is {value}, of this run {known}")
            object.__setattr__(found, f.name, fitted(value, known, f"{where}.{f.name}", left_out))
    misfit = getattr(like, "misfit", None)
    if misfit is not None and (text := misfit(found)):
        raise Damage(f"{where}: {text}")
    return found
