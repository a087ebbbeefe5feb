"""Files: any tree of containers, arrays, numbers and known records as one .npz file without pickle, written atomically.

Nothing in a file is imported or run. A file names a record or a function by a stable name out of a fixed table (``Kind``), or a
record by the name of a dataclass that the reader has just made itself. Every member's checksum and size are verified before
an array is made of it, and the description holds checksums of itself and of every array: one that was changed, or put in
another's place, is seen. A dataclass may name arrays in ``forgotten`` whose values have no meaning at present: they are read
back as zeros.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from .fitted import Damage, Zeros, fitted, is_record
from .resources import available, readable

__all__ = [
    "CheckpointError", "Damage", "Kind", "Stored", "can_store", "fitted", "packed", "read", "refusal", "save", "sealed",
    "unpacked",
]  # fmt: skip

VERSION = 4  # of the way in which a tree is written
READABLE = (3, 4)  # versions that this program reads
MAPPED = 1 << 20  # bytes of an array from which on it may stay in the file
GENERATORS = {name: getattr(np.random, name) for name in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")}


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, or belongs to another run; says which file and what is wrong with it."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file: what messages call it, what it may name, and what is left out of it.

    ``records`` and ``functions``: name in files -> class or function; a class may move, its name in files stays. ``older``: how
    older files name records. ``left_out``: a class that is not stored, the reader puts its own in the place. ``checks``:
    functions (fields of a record, what the reader put in the place) that raise Damage. ``advice``: what to do with a file that
    cannot be read.
    """

    what: str
    records: Mapping[str, type]
    functions: Mapping[str, Callable] = dataclasses.field(default_factory=dict)
    older: Mapping[str, str] = dataclasses.field(default_factory=dict)
    left_out: type | None = None
    checks: Mapping[type, Callable[[dict[str, Any], Any], None]] = dataclasses.field(default_factory=dict)
    advice: str = "write it anew"

    def name_of(self, cls: type) -> str:
        """What a file calls a dataclass: its name in the table, or module and name of one that is not ours."""
        return next((name for name, known in self.records.items() if known is cls), f"{cls.__module__}:{cls.__qualname__}")

    def function_name(self, value: Any) -> str | None:
        """What a file calls a function of the table."""
        return next((name for name, known in self.functions.items() if known is value), None)


# -- writing -----------------------------------------------------------------------------------------------------------
def save(path: str | os.PathLike[str], tree: Any, kind: Kind) -> Path:
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
    content = {"version": VERSION, "tree": _Writer(kind, arrays).encode(tree, kind.what)}
    text = json.dumps(sealed(content | {"sums": [_sum(a) for a in arrays]}))
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


def can_store(value: Any, kind: Kind) -> bool:
    """Whether a file of this kind can hold the value, and any program read it: all its records are in the table."""
    try:
        _Writer(kind, [], only_known=True).encode(value, "")
    except TypeError:
        return False
    return True


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """A description with the checksum of everything else that it says."""
    rest = {k: v for k, v in content.items() if k != "seal"}
    return rest | {"seal": zlib.crc32(json.dumps(rest, sort_keys=True).encode())}


def _sum(array: np.ndarray) -> int:
    """Checksum of an array: type, shape, order in memory and values."""
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    kind = f"{array.dtype.str} {array.shape} {'F' if fortran else 'C'}"
    values = np.ascontiguousarray(array.T if fortran else array)
    return zlib.crc32(memoryview(values.reshape(-1).view(np.uint8)), zlib.crc32(kind.encode()))  # type: ignore[arg-type]


def _remove_stale(path: Path) -> None:
    """Remove partial files of this name whose process is gone."""
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


@dataclasses.dataclass
class _Writer:
    """Turns a tree into JSON; arrays are put aside."""

    kind: Kind
    arrays: list[np.ndarray]
    only_known: bool = False  # records of the table only

    def encode(self, value: Any, where: str) -> Any:
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, Zeros):
            return _blank(value)
        if self.kind.left_out and isinstance(value, self.kind.left_out):
            return {"@": "wiring"}
        if isinstance(value, (list, tuple)):
            kind = "list" if isinstance(value, list) else "tuple"
            return {"@": kind, "v": [self.encode(v, f"{where}[{i}]") for i, v in enumerate(value)]}
        if isinstance(value, Mapping):
            pairs = [[self.encode(k, where), self.encode(v, f"{where}[{k!r}]")] for k, v in value.items()]
            return {"@": "dict", "v": pairs}
        if isinstance(value, np.random.Generator):
            return {"@": "rng", "v": self.encode(value.bit_generator.state, where)}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value, where)
        if name := self.kind.function_name(value):
            return {"@": "function", "n": name}
        allowed = "arrays, numbers, containers and dataclasses"
        raise TypeError(f"cannot store {where}: a {type(value).__name__}; a file may hold {allowed}")

    def _array(self, value: np.ndarray, where: str) -> dict[str, Any]:
        if value.dtype.hasobject:
            raise TypeError(f"cannot store {where}: an array of dtype {value.dtype}; legal: numbers, truth values, text")
        self.arrays.append(value)
        return {"@": "array", "i": len(self.arrays) - 1}

    def _dataclass(self, value: Any, where: str) -> dict[str, Any]:
        if self.only_known and type(value) not in self.kind.records.values():
            raise TypeError(f"cannot store {where}: a {type(value).__name__}, which is not of this package")
        names, blank = [f.name for f in dataclasses.fields(value) if f.init], getattr(value, "forgotten", ())
        fields = {n: self.encode(getattr(value, n), f"{where}.{n}") for n in names if n not in blank}
        fields |= {n: _blank(getattr(value, n)) for n in blank}
        return {"@": "data", "c": self.kind.name_of(type(value)), "v": fields}


def _blank(array: np.ndarray | Zeros) -> dict[str, Any]:
    return {"@": "zeros", "shape": list(array.shape), "dtype": array.dtype.str}


# -- reading -----------------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def refusal(path: Path, kind: Kind) -> Iterator[None]:
    """Whatever goes wrong while a file is read is said in one way."""
    try:
        yield
    except CheckpointError:
        raise
    except Damage as damage:
        text = str(damage)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        text = f"it is damaged or no {kind.what} ({error})"
    except OSError as error:
        text = f"it cannot be read ({error.strerror or error})"
    except Exception as error:  # numpy's headers alone raise ten kinds
        text = f"it is damaged ({type(error).__name__}: {error})"
    else:
        return
    raise CheckpointError(f"{kind.what} {path}: {text}; {kind.advice}") from None


@dataclasses.dataclass
class Stored:
    """A file in memory, every checksum verified and nothing decoded yet."""

    path: Path
    kind: Kind
    tree: Any
    members: dict[str, np.ndarray]

    @property
    def names(self) -> list[Any]:
        """Keys of the tree, if it is a dict."""
        tree = self.tree if isinstance(self.tree, dict) else {}
        return [pair[0] for pair in tree["v"]] if tree.get("@") == "dict" else []

    def decode(self, left_out: Any = None, like: Any = None, part: str | None = None) -> Any:
        """The tree, or its entry ``part``, to be called inside ``refusal``.

        ``left_out`` takes the place of what was left out; dataclasses in ``like`` may be named by the file, too.
        """
        reader = _Reader(self.kind, self.members, left_out, _classes_in(like, self.kind))
        raw = self.tree if part is None else {reader.decode(k): v for k, v in self.tree["v"]}.get(part)
        return reader.decode(raw)


def packed(tree: Any, kind: Kind) -> tuple[Any, list[np.ndarray]]:
    """A tree as ``save`` would write it, to be told to another process: a description, and arrays."""
    arrays: list[np.ndarray] = []
    return _Writer(kind, arrays).encode(tree, kind.what), arrays


def unpacked(told: tuple[Any, list[np.ndarray]], kind: Kind, left_out: Any = None, like: Any = None) -> Any:
    """What ``packed`` made, as ``Stored.decode`` gives it."""
    return Stored(Path(), kind, told[0], {f"a{i}": a for i, a in enumerate(told[1])}).decode(left_out, like)


def read(path: str | os.PathLike[str], kind: Kind, mapped: bool = False) -> Stored:
    """Read a file into memory; or, ``mapped``, its large arrays as views of the file, which take none.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is damaged, no file of this kind, or of another version.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no {kind.what} at {path}")
    with refusal(path, kind):
        content, members = _content(path, kind, mapped)
        if content.get("version") not in READABLE:
            known = ", ".join(map(str, READABLE))
            raise Damage(f"it is of version {content.get('version')!r}, this program reads {known}")
        _verify(content, members)
        return Stored(path, kind, content["tree"], members)


def _content(path: Path, kind: Kind, mapped: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The description and the arrays of a file, every checksum verified."""
    if path.is_dir():
        raise Damage("it is a folder, not a file")
    with zipfile.ZipFile(path) as file:
        names = [info.filename for info in file.infolist()]
        if "tree.npy" not in names or len(set(names)) != len(names):
            raise Damage(f"it is not a spikertrl {kind.what} (no description inside)")
        apart = {i.filename for i in file.infolist() if mapped and i.file_size > MAPPED and not i.compress_type}
        needed, free = sum(info.file_size for info in file.infolist() if info.filename not in apart), available()
        if needed > free:
            raise Damage(f"it says that it holds {readable(needed)}, {readable(free)} are available")
        members = {
            info.filename.removesuffix(".npy"): _view(path, file, info) if info.filename in apart
            else _array(info.filename, file.read(info)) for info in file.infolist()
        }  # fmt: skip
    content = json.loads(str(members.pop("tree")))
    if not isinstance(content, dict):
        raise Damage(f"it is not a spikertrl {kind.what} (its description is no record)")
    return content, members


def _verify(content: dict[str, Any], members: dict[str, np.ndarray]) -> None:
    """Raise where checksums disagree; older files have none."""
    if content != (sealed(content) if "seal" in content else content):
        raise Damage("its description was changed after it was written")
    for i, expected in enumerate(content.get("sums", ())):
        if _sum(members[f"a{i}"]) != expected:
            raise Damage(f"its array a{i} is not the one that was written")


def _array(name: str, data: bytes) -> np.ndarray:
    """An array from the bytes of an .npy file; its header must agree with their number."""
    stream = io.BytesIO(data)
    shape, order, dtype = _header(name, stream, len(data))
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape, order=order).copy(order="K")


def _view(path: Path, file: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """An array that stays in the file, once its checksum has been looked at; what is written into it goes nowhere."""
    with file.open(info) as member:
        while member.read(MAPPED):
            pass
    with path.open("rb") as whole:
        whole.seek(info.header_offset)
        name, extra = struct.unpack("<26x2H", whole.read(30))
        whole.seek(first := info.header_offset + 30 + name + extra)
        shape, order, dtype = _header(info.filename, whole, first + info.file_size)
        return np.memmap(path, dtype, "c", whole.tell(), shape, order)


def _header(name: str, stream: Any, end: int) -> tuple[tuple[int, ...], Any, np.dtype]:
    """Shape, order and type from the head of an .npy file, which must agree with the bytes that are left to its ``end``."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    rest = end - stream.tell()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != rest:
        raise Damage(f"its array {name} is damaged: {rest} bytes for shape {shape} of {dtype}")
    return shape, "F" if fortran else "C", dtype


def _classes_in(tree: Any, kind: Kind) -> dict[str, type]:
    """Names of the dataclasses that a tree holds."""
    if isinstance(tree, dict):
        return {k: v for part in tree.values() for k, v in _classes_in(part, kind).items()}
    if isinstance(tree, (list, tuple)):
        return {k: v for part in tree for k, v in _classes_in(part, kind).items()}
    if is_record(tree, kind.left_out):
        parts = [getattr(tree, f.name) for f in dataclasses.fields(tree) if f.init]
        inside = {k: v for part in parts for k, v in _classes_in(part, kind).items()}
        return {kind.name_of(type(tree)): type(tree), **inside}
    return {}


TYPES: dict[str, Any] = {
    "np.ndarray": (np.ndarray, Zeros), "np.random.Generator": np.random.Generator, "bool": bool, "int": int,
    "float": (int, float), "dict": dict, "list": list, "tuple": tuple,
}  # fmt: skip


class _Reader:
    """Decodes a tree; ``own``: dataclasses that may be named besides those of the kind."""

    def __init__(self, kind: Kind, members: dict[str, np.ndarray], left_out: Any, own: dict[str, type]) -> None:
        self.kind, self.members, self.left_out = kind, members, left_out
        self.classes = own | {old: kind.records[name] for old, name in kind.older.items()} | dict(kind.records)

    def decode(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kind = value["@"]
        if kind == "array":
            return self.members[f"a{value['i']}"]
        if kind == "zeros":
            return Zeros(tuple(int(n) for n in value["shape"]), np.dtype(value["dtype"]))
        if kind == "wiring":
            return self.left_out
        if kind in ("list", "tuple"):
            items = [self.decode(v) for v in value["v"]]
            return items if kind == "list" else tuple(items)
        if kind == "dict":
            return {self.decode(k): self.decode(v) for k, v in value["v"]}
        if kind == "rng":
            return _generator(self.decode(value["v"]))
        if kind == "function":
            return self._function(value["n"])
        if kind == "data":
            return self._dataclass(value["c"], value["v"])
        raise Damage(f"it holds something of an unknown kind, {kind!r}")

    def _function(self, name: str) -> Callable:
        if name not in self.kind.functions:
            raise Damage(f"it names a function {name!r}; known: {', '.join(sorted(self.kind.functions)) or 'none'}")
        return self.kind.functions[name]

    def _dataclass(self, name: str, values: dict[str, Any]) -> Any:
        cls = self.classes.get(name)
        if cls is None:
            known = ", ".join(sorted(self.kind.records))
            raise Damage(f"it names a state {name!r} that this run does not have; known: {known}")
        fields = {f.name for f in dataclasses.fields(cls) if f.init}
        if unknown := sorted(set(values) - fields):
            raise Damage(f"its {name} has entries that this program does not know: {', '.join(unknown)}")
        found = {n: self.decode(v) for n, v in values.items()}
        if cls in self.kind.records.values():
            self._check(name, cls, found)
        return cls(**found)

    def _check(self, name: str, cls: type, found: dict[str, Any]) -> None:
        """Raise where a field is not of its type, or the record's own check says so."""
        types = TYPES | {known.__name__: known for known in self.kind.records.values()}
        for f in dataclasses.fields(cls):
            if f.name in found and not _fits(found[f.name], str(f.type), types):
                raise Damage(f"{f.name} of its {name} is a {type(found[f.name]).__name__}, not {f.type}")
        if self.left_out is not None and cls in self.kind.checks:
            self.kind.checks[cls](found, self.left_out)


def _fits(value: Any, annotation: str, types: Mapping[str, Any]) -> bool:
    """Is a value of a field's type, as far as ``types`` knows it?"""
    for one in annotation.split("|"):
        name, _, inside = one.strip().partition("[")
        if value is None if name == "None" else name not in types:
            return True
        if name in types and (isinstance(value, types[name]) or _is_number(value, name)):
            parts = value if name == "list" else ()
            if name == "int" and not abs(int(value)) < 1 << 62:
                return False
            return all(_fits(part, inside.removesuffix("]"), types) for part in parts)
    return False


def _is_number(value: Any, name: str) -> bool:
    """Numpy's numbers are read back as arrays without a shape."""
    return name in ("int", "float", "bool") and isinstance(value, np.ndarray) and not value.shape


def _generator(state: dict[str, Any]) -> np.random.Generator:
    kind = GENERATORS.get(state["bit_generator"])
    if kind is None:
        raise Damage(f"it names a random generator {state['bit_generator']!r}; known: {', '.join(GENERATORS)}")
    generator = np.random.Generator(kind())
    generator.bit_generator.state = state
    place, numbers = state.get("buffer_pos", 0), state["state"]  # numpy takes any
    place, most = (place, 4) if isinstance(numbers, dict) and "pos" not in numbers else (numbers["pos"], 624)
    if not 0 <= place <= most:
        raise Damage(f"its random generator is at place {place!r} of its buffer; legal: 0 .. {most}")
    return generator
