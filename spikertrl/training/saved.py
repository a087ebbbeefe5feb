"""What files of networks and of ``Online`` may name; optimizers, schedules, learners and losses of this package among it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from .. import constraints, learners, losses, optimizers, rewire, schedules
from ..network import record
from ..network.wiring import Wiring
from ..storage import CheckpointError, Stored, can_store, fitted, refusal
from .checkpoint import CHECKS, STATES

LEARNERS: dict[str, type] = {name: getattr(learners, name) for name in learners.__all__ if name not in ("Learner", "Signal")}
OPTIMIZERS: dict[str, type] = {
    cls.__name__: cls
    for cls in (optimizers.Adam, optimizers.Clip, optimizers.Momentum, optimizers.RmsProp, optimizers.ScaleGroups)
}
RULES = (schedules._constant, schedules._warmup_cosine, schedules._exponential, schedules._step)
FUNCTIONS: dict[str, Callable] = {f"schedules.{rule.__name__.strip('_')}": rule for rule in RULES} | {
    f"losses.{loss.__name__}": loss for loss in (losses.cross_entropy, losses.squared_error)
}
OTHERS: dict[str, type] = {
    "Between": constraints.Between,
    "Dale": constraints.Dale,
    "DeepR": rewire.DeepR,
    "SparseEvolution": rewire.SparseEvolution,
    "Schedule": schedules.Schedule,
}
SAVED = dataclasses.replace(
    record.SAVED,
    records=record.RECORDS | STATES | LEARNERS | OPTIMIZERS | OTHERS,
    functions=FUNCTIONS,
    left_out=Wiring,
    checks=CHECKS,
)

SETTINGS = ("learner", "optimizer", "loss", "constraints", "rewire")


def settings(online: Any) -> dict[str, Any]:
    """The settings of an ``Online`` that a file can hold; of the others it says what they are called."""
    found = {name: getattr(online, name) for name in SETTINGS}
    known = {name: value for name, value in found.items() if can_store(value, SAVED)}
    return {"settings": known, "own": {name: repr(value) for name, value in found.items() if name not in known}}


def chosen(file: Stored, given: dict[str, Any]) -> dict[str, Any]:
    """The settings for an ``Online``: what was given, else what the file holds.

    Raises
    ------
    CheckpointError
        If the file has none and none is given.
    """
    with refusal(file.path, file.kind):
        known, own = file.decode(part="settings"), file.decode(part="own")
        found = {"rewire": None} | known | {name: value for name, value in given.items() if value is not None}
        missing = [name for name in SETTINGS if name not in found]
    if missing:
        text = "; ".join(f"its {name} is one of your own, {own.get(name, 'unknown')}" for name in missing)
        ways = ", ".join(f"{name}=..." for name in missing)
        raise CheckpointError(f"{file.kind.what} {file.path}: {text}; give it: srl.load(path, {ways})")
    return found


def part_like(file: Stored, name: str, like: Any, wiring: Wiring) -> Any:
    """A part of the file, which must fit what the reader has made itself."""
    with refusal(file.path, file.kind):
        return fitted(file.decode(wiring, like, part=name), like, name, Wiring)
