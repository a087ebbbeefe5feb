"""Checkpoints of training: what a file may name, and how it is written and read; see ``storage``.

A file names a state by a stable name out of ``STATES``, or by the name of a dataclass that the run which reads it has just made
itself (the state of a learner of your own). Index arrays of the network (its ``Wiring``) are not stored: a checkpoint is read
into the same network.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .. import storage
from ..learners.bptt import TapeState
from ..learners.certified import CertifiedState
from ..learners.engines.blocks.kept_steps import DeferredSteps
from ..learners.engines.influence import Influence
from ..learners.engines.kronecker.update import Factors, KroneckerState
from ..learners.engines.local.update import LocalState
from ..learners.engines.tangents import Tangents
from ..learners.eprop import EPropState
from ..learners.random_paths import PathsState
from ..learners.textbook import DenseState
from ..learners.uoro import RankOneState
from ..network.wiring import Wiring
from ..storage import CheckpointError, Kind
from ..tape import LINEAR, Tape

__all__ = ["CheckpointError", "fits", "load", "opened", "save"]

STATES: dict[str, type] = {  # a class may move or change its name; its name in files stays
    "BlockState": Influence,
    "CertifiedState": CertifiedState,
    "DeferredSteps": DeferredSteps,
    "DenseState": DenseState,
    "EPropState": EPropState,
    "Factors": Factors,
    "KroneckerState": KroneckerState,
    "LocalState": LocalState,
    "PathsState": PathsState,
    "RankOneState": RankOneState,
    "Tangents": Tangents,
    "Tape": Tape,
    "TapeState": TapeState,
}
VERSION_3 = {  # how files of version 3 name them
    "spikertrl.learners.blocks:BlockState": "BlockState",
    "spikertrl.learners.bptt:TapeState": "TapeState",
    "spikertrl.learners.dense:DenseState": "DenseState",
    "spikertrl.learners.eprop:EPropState": "EPropState",
    "spikertrl.learners.kronecker:Factors": "Factors",
    "spikertrl.learners.kronecker:KroneckerState": "KroneckerState",
    "spikertrl.learners.local:LocalState": "LocalState",
    "spikertrl.learners.postponed:Postponed": "DeferredSteps",
    "spikertrl.learners.random_paths:PathsState": "PathsState",
    "spikertrl.learners.uoro:RankOneState": "RankOneState",
    "spikertrl.tape:Tape": "Tape",
}


def check_tape(found: dict[str, Any], w: Wiring) -> None:
    """Raise where an array of a tape has another shape than its steps and lanes in this network."""
    steps, lanes, dtype = int(found["tau"]), int(found["batch"]), w.dtype
    count = {"A": w.S * w.S, "B": w.S * w.G, "P": w.S * w.Q, "o": w.S, "q": w.Q}
    shapes = {name: (steps, lanes * int(of_units.sum())) for name, of_units in count.items()}
    shapes |= {"theta": (w.n_parameters,), "z": (steps, lanes, w.n_outputs), "reset": (lanes,)}
    shapes["messages"] = (int(found.get("history", 0)) + steps, lanes, w.n_channels + w.n_units)
    for name, shape in shapes.items():
        if found[name].shape != shape or found[name].dtype != (bool if name == "reset" else dtype):
            there = f"{found[name].shape} of {found[name].dtype}"
            raise storage.Damage(f"{name} of a tape has shape {there}; right: {shape} of {dtype}")


def check_kept(found: dict[str, Any], w: Wiring) -> None:
    """Raise where steps that were kept do not fit each other or this network."""
    batch, room, steps = int(found["batch"]), len(found["theta"]), int(found["steps"])
    count = (w.S * w.S, w.S * w.G, w.S * w.Q, w.S, w.Q)
    shapes = {"theta": (room, w.n_parameters), "messages": (w.history + room, batch, w.n_channels + w.n_units)}
    shapes |= {name: (room, batch * int(of_units.sum())) for name, of_units in zip(LINEAR, count, strict=True)}
    arrays = {"theta": found["theta"], "messages": found["messages"]} | dict(zip(LINEAR, found["arrays"], strict=True))
    for name, shape in shapes.items():
        if arrays[name].shape != shape or arrays[name].dtype != w.dtype:
            there = f"{arrays[name].shape} of {arrays[name].dtype}"
            raise storage.Damage(f"{name} of steps that were kept has shape {there}; right: {shape} of {w.dtype}")
    if not 0 <= steps <= room:
        raise storage.Damage(f"{steps} steps were kept where there is room for {room}")


CHECKS = {Tape: check_tape, DeferredSteps: check_kept}
CHECKPOINT = Kind("checkpoint", STATES, older=VERSION_3, left_out=Wiring, checks=CHECKS,
                  advice="remove it, or start anew with resume=False")  # fmt: skip


def save(path: str | os.PathLike[str], tree: Any) -> Path:
    """Write a tree of a run's states; see ``storage.save``.

    Raises
    ------
    TypeError
        If the tree holds something that cannot be stored, naming its place.
    OSError
        If the file cannot be written; an older file of that name is still there.
    """
    return storage.save(path, tree, CHECKPOINT)


def load(
    path: str | os.PathLike[str], wiring: Wiring | None = None, like: Any = None, check: Callable[[Any], None] | None = None
) -> Any:
    """Read a tree.

    Parameters
    ----------
    path : path
    wiring : Wiring, optional
        Takes the place of the wirings that were left out.
    like : tree, optional
        What the reader has made itself: dataclasses in it may be named by the file, too, and where it holds an array the file's
        must have the same shape and type.
    check : callable (tree), optional
        Called with what was read before it is compared with ``like``; raises what it likes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is damaged, no checkpoint, of another version, or does not fit ``like``.
    """
    with opened(path, wiring, like, check) as found:
        return fits(found, like)


@contextlib.contextmanager
def opened(
    path: str | os.PathLike[str], wiring: Wiring | None = None, like: Any = None, check: Callable[[Any], None] | None = None,
    mapped: bool = False,
) -> Iterator[Any]:  # fmt: skip
    """What a checkpoint holds, as it lies there; whatever is found wrong with it inside is said as ``load`` says it.

    ``mapped``: large arrays are views of the file and take no memory.
    """
    file = storage.read(path, CHECKPOINT, mapped)
    with storage.refusal(file.path, CHECKPOINT):
        if "saved" in file.names:
            raise storage.Damage("it is no checkpoint of fit but what save wrote; srl.load reads it")
        found = file.decode(wiring, like)
        if check is not None:
            check(found)
        yield found


def fits(found: Any, like: Any) -> Any:
    """``found``, which must be of the kind of what the reader has made itself; to be called inside ``opened``."""
    return storage.fitted(found, like, CHECKPOINT.what, Wiring)
