"""Checkpoints: any tree of dataclasses, containers, arrays and numbers as one .npz file without pickle, written atomically.

Nothing in a file is imported or run. A file names a state by a stable name out of ``STATES``, or by the name of a dataclass
that the run which reads it has just made itself (the state of a learner of your own). Every member's checksum and size are
verified before an array is made of it.

Index arrays of the network (its ``Wiring``) are not stored: the network is code, and a checkpoint is read into the same
network. A dataclass may name arrays in ``forgotten`` whose values have no meaning at present: they are read back as zeros.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ..learners.bptt import TapeState
from ..learners.engines.blocks.kept_steps import DeferredSteps
from ..learners.engines.influence import Influence
from ..learners.engines.kronecker.update import Factors, KroneckerState
from ..learners.engines.local.update import LocalState
from ..learners.eprop import EPropState
from ..learners.random_paths import PathsState
from ..learners.textbook import DenseState
from ..learners.uoro import RankOneState
from ..network.wiring import Wiring
from ..resources import available, readable
from ..tape import Tape

VERSION = 4
READABLE = (3, 4)  # versions that this program reads

STATES: dict[str, type] = {  # a class may move or change its name; its name in files stays
    "BlockState": Influence,
    "DeferredSteps": DeferredSteps,
    "DenseState": DenseState,
    "EPropState": EPropState,
    "Factors": Factors,
    "KroneckerState": KroneckerState,
    "LocalState": LocalState,
    "PathsState": PathsState,
    "RankOneState": RankOneState,
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
GENERATORS = {name: getattr(np.random, name) for name in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")}
_NAMES = {cls: name for name, cls in STATES.items()}


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, or belongs to another run; says which file and what is wrong with it."""


# -- writing -----------------------------------------------------------------------------------------------------------
def save(path: str | Path, tree: Any) -> Path:
    """Write a tree; the file appears whole or not at all, and what dead processes left behind is removed.

    Raises
    ------
    TypeError
        If the tree holds something that cannot be stored, naming its place.
    OSError
        If the file cannot be written; an older file of that name is still there.
    """
    path = Path(path)
    arrays: list[np.ndarray] = []
    text = json.dumps({"version": VERSION, "tree": _encode(tree, arrays, "checkpoint")})
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with partial.open("wb") as file:
            np.savez(file, tree=np.array(text), **{f"a{i}": a for i, a in enumerate(arrays)})  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return path


def _remove_stale(path: Path) -> None:
    """Remove partial files of this checkpoint whose process is gone."""
    for partial in path.parent.glob(f"{path.name}.*.tmp"):
        pid = partial.name.removeprefix(f"{path.name}.").removesuffix(".tmp")
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            with contextlib.suppress(OSError):
                partial.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the new name durable; some systems cannot open a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _encode(value: Any, arrays: list[np.ndarray], where: str) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        return _encode_array(value, arrays, where)
    if isinstance(value, Wiring):
        return {"@": "wiring"}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {"@": kind, "v": [_encode(v, arrays, f"{where}[{i}]") for i, v in enumerate(value)]}
    if isinstance(value, dict):
        pairs = [[_encode(k, arrays, where), _encode(v, arrays, f"{where}[{k!r}]")] for k, v in value.items()]
        return {"@": "dict", "v": pairs}
    if isinstance(value, np.random.Generator):
        return {"@": "rng", "v": _encode(value.bit_generator.state, arrays, where)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _encode_dataclass(value, arrays, where)
    allowed = "arrays, numbers, containers and dataclasses"
    raise TypeError(f"cannot store {where}: a {type(value).__name__}; a learner's state may hold {allowed}")


def _encode_array(value: np.ndarray, arrays: list[np.ndarray], where: str) -> dict[str, Any]:
    if value.dtype.hasobject:
        raise TypeError(f"cannot store {where}: an array of dtype {value.dtype}; legal: numbers, truth values, text")
    arrays.append(value)
    return {"@": "array", "i": len(arrays) - 1}


def _encode_dataclass(value: Any, arrays: list[np.ndarray], where: str) -> dict[str, Any]:
    names, blank = [f.name for f in dataclasses.fields(value) if f.init], getattr(value, "forgotten", ())
    fields = {n: _encode(getattr(value, n), arrays, f"{where}.{n}") for n in names if n not in blank}
    fields |= {n: _blank(getattr(value, n)) for n in blank}
    return {"@": "data", "c": name_of(type(value)), "v": fields}


def _blank(array: np.ndarray) -> dict[str, Any]:
    return {"@": "zeros", "shape": list(array.shape), "dtype": array.dtype.str}


def name_of(cls: type) -> str:
    """What a file calls a dataclass: its name in ``STATES``, or module and name of one that is not ours."""
    return _NAMES.get(cls) or f"{cls.__module__}:{cls.__qualname__}"


# -- reading -----------------------------------------------------------------------------------------------------------
def load(path: str | Path, wiring: Wiring | None = None, like: Any = None, check: Callable[[Any], None] | None = None) -> Any:
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
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint at {path}")
    with _refusal(path):
        content, members = _read(path)
        if content.get("version") not in READABLE:
            known = ", ".join(map(str, READABLE))
            raise _Damage(f"it is of version {content.get('version')!r}, this program reads {known}")
        found = _Reader(members, wiring, _classes_in(like)).decode(content["tree"])
        if check is not None:
            check(found)
        return fitted(found, like, "checkpoint")


class _Damage(Exception):
    """What is wrong with a file; ``_refusal`` adds which."""


@contextlib.contextmanager
def _refusal(path: Path) -> Iterator[None]:
    """Whatever goes wrong while a file is read is said in one way."""
    try:
        yield
    except CheckpointError:
        raise
    except _Damage as damage:
        text = str(damage)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        text = f"it is damaged or no checkpoint ({error})"
    except OSError as error:
        text = f"it cannot be read ({error.strerror or error})"
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError, SyntaxError) as error:
        text = f"it is damaged ({type(error).__name__}: {error})"
    else:
        return
    raise CheckpointError(f"checkpoint {path}: {text}; remove it, or start anew with resume=False") from None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The description and the arrays of a file, every checksum verified."""
    if path.is_dir():
        raise _Damage("it is a folder, not a file")
    with zipfile.ZipFile(path) as file:
        names = [info.filename for info in file.infolist()]
        if "tree.npy" not in names or len(set(names)) != len(names):
            raise _Damage("it is not a spikertrl checkpoint (no description inside)")
        needed, free = sum(info.file_size for info in file.infolist()), available()
        if needed > free:
            raise _Damage(f"it says that it holds {readable(needed)}, {readable(free)} are available")
        members = {info.filename.removesuffix(".npy"): _array(info.filename, file.read(info)) for info in file.infolist()}
    content = json.loads(str(members.pop("tree")))
    if not isinstance(content, dict):
        raise _Damage("it is not a spikertrl checkpoint (its description is no record)")
    return content, members


def _array(name: str, data: bytes) -> np.ndarray:
    """An array from the bytes of an .npy file; its header must agree with their number."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    rest = len(data) - stream.tell()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != rest:
        raise _Damage(f"its array {name} is damaged: {rest} bytes for shape {shape} of {dtype}")
    found = np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")
    return found.copy(order="K")


def _classes_in(tree: Any) -> dict[str, type]:
    """Names of the dataclasses that a tree holds."""
    if isinstance(tree, dict):
        return {k: v for part in tree.values() for k, v in _classes_in(part).items()}
    if isinstance(tree, (list, tuple)):
        return {k: v for part in tree for k, v in _classes_in(part).items()}
    if dataclasses.is_dataclass(tree) and not isinstance(tree, (type, Wiring)):
        inside = {k: v for f in dataclasses.fields(tree) if f.init for k, v in _classes_in(getattr(tree, f.name)).items()}
        return {name_of(type(tree)): type(tree), **inside}
    return {}


@dataclasses.dataclass
class _Zeros:
    """An array of zeros that was left out, until its shape has been compared."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def made(self) -> np.ndarray:
        needed, free = math.prod(self.shape) * self.dtype.itemsize, available()
        if min(self.shape, default=0) < 0 or needed > free:
            raise _Damage(f"it asks for an array of shape {self.shape}, {readable(needed)}; {readable(free)} are available")
        return np.zeros(self.shape, self.dtype)


class _Reader:
    """Decodes a tree; ``own``: dataclasses that may be named besides ``STATES``."""

    def __init__(self, members: dict[str, np.ndarray], wiring: Wiring | None, own: dict[str, type]) -> None:
        self.members, self.wiring = members, wiring
        self.classes = own | {old: STATES[name] for old, name in VERSION_3.items()} | STATES

    def decode(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kind = value["@"]
        if kind == "array":
            return self.members[f"a{value['i']}"]
        if kind == "zeros":
            return _Zeros(tuple(int(n) for n in value["shape"]), np.dtype(value["dtype"]))
        if kind == "wiring":
            return self.wiring
        if kind in ("list", "tuple"):
            items = [self.decode(v) for v in value["v"]]
            return items if kind == "list" else tuple(items)
        if kind == "dict":
            return {self.decode(k): self.decode(v) for k, v in value["v"]}
        if kind == "rng":
            return _generator(self.decode(value["v"]))
        if kind == "data":
            return self._dataclass(value["c"], value["v"])
        raise _Damage(f"it holds something of an unknown kind, {kind!r}")

    def _dataclass(self, name: str, values: dict[str, Any]) -> Any:
        cls = self.classes.get(name)
        if cls is None:
            known = ", ".join(sorted(STATES))
            raise _Damage(f"it names a state {name!r} that this run does not have; known: {known}")
        fields = {f.name for f in dataclasses.fields(cls) if f.init}
        if unknown := sorted(set(values) - fields):
            raise _Damage(f"its {name} has entries that this program does not know: {', '.join(unknown)}")
        return cls(**{n: self.decode(v) for n, v in values.items()})


def _generator(state: dict[str, Any]) -> np.random.Generator:
    kind = GENERATORS.get(state["bit_generator"])
    if kind is None:
        raise _Damage(f"it names a random generator {state['bit_generator']!r}; known: {', '.join(GENERATORS)}")
    generator = np.random.Generator(kind())
    generator.bit_generator.state = state
    return generator


# -- comparing with what the reader has made itself ----------------------------------------------------------------------
def fitted(found: Any, like: Any, where: str) -> Any:
    """``found`` with its zeros made; where ``like`` holds an array, or a dataclass, it must be one of that kind."""
    if isinstance(like, np.ndarray) and not isinstance(found, (np.ndarray, _Zeros)):
        raise _Damage(f"{where} is {type(found).__name__}, not an array of shape {like.shape}")
    if isinstance(found, (np.ndarray, _Zeros)):
        if isinstance(like, np.ndarray) and (found.shape != like.shape or found.dtype != like.dtype):
            raise _Damage(f"{where} has shape {found.shape} of {found.dtype}, this run needs {like.shape} of {like.dtype}")
        return found.made() if isinstance(found, _Zeros) else found
    if isinstance(found, dict):
        known = like if isinstance(like, dict) else {}
        return {k: fitted(v, known.get(k), f"{where}[{k!r}]") for k, v in found.items()}
    if isinstance(found, (list, tuple)):
        known = like if isinstance(like, (list, tuple)) and len(like) == len(found) else [None] * len(found)
        return type(found)(fitted(v, k, f"{where}[{i}]") for i, (v, k) in enumerate(zip(found, known, strict=True)))
    if dataclasses.is_dataclass(found) and not isinstance(found, (type, Wiring)):
        return _fitted_dataclass(found, like, where)
    return found


def _fitted_dataclass(found: Any, like: Any, where: str) -> Any:
    if like is not None and type(like) is not type(found):
        raise _Damage(f"{where} is a {type(found).__name__}, this run needs a {type(like).__name__}")
    for f in dataclasses.fields(found):
        if f.init:
            value = fitted(getattr(found, f.name), getattr(like, f.name, None), f"{where}.{f.name}")
            object.__setattr__(found, f.name, value)
    return found
