"""Where generated cells and compiled code are kept, and what happens when that place is damaged, full or cannot be written.

A file of generated source ends in a checksum of itself, so one that is empty, cut, or of another model is seen before it is
run, and written anew with one warning. It is written beside its place and moved there, so that processes that start at once see
a whole file or none. Numba's files of compiled code are guarded in the same way, for the functions of this package and of its
cells alone: a checksum follows what numba writes, and what disagrees with it or cannot be read is compiled again; and the stamp
by which numba tells an edited file covers the files of the package that the function's own imports, too, because their code is
compiled into it; and records that are handed to it are told apart by the order of their fields, too, by which they are read.
Where nothing can be written, the work is done without a cache.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import re
import sys
import tempfile
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba.core import caching

PACKAGE = Path(__file__).resolve().parent.parent
_MARK = "# sha256 "
_told: set[str] = set()


def cache_folder() -> Path:
    """Where generated cells are kept: ``SPIKERTRL_CACHE`` if set, else a folder of the user's cache."""
    if chosen := os.environ.get("SPIKERTRL_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(base or Path.home() / ".cache") / "spikertrl"
    except RuntimeError:  # a user without a home
        return _temporary()


@functools.cache
def _temporary() -> Path:
    """A folder of this process alone, gone when it ends."""
    holder = tempfile.TemporaryDirectory(prefix="spikertrl_", ignore_cleanup_errors=True)
    _temporary.holder = holder  # type: ignore[attr-defined]
    return Path(holder.name)


def _warn_once(text: str) -> None:
    if text not in _told:
        _told.add(text)
        warnings.warn(text, RuntimeWarning, stacklevel=2)


# -- generated source --------------------------------------------------------------------------------------------------
def stored(path: Path, make: Callable[[], str]) -> Path:
    """The file of that name, made if it does not exist or is damaged; in a folder of this process where it cannot be kept."""
    try:
        if path.exists():
            if is_whole(path):
                return path
            _warn_once(f"the generated file {path} is damaged and is made anew")
        return _write(path, _sealed(path, make()))
    except OSError as error:
        _warn_once(
            f"compiled models cannot be kept in {path.parent} ({error.strerror or error}) and are compiled by every process. "
            "Set SPIKERTRL_CACHE to a folder that can be written"
        )
    path = _temporary() / path.name
    return path if path.exists() else _write(path, _sealed(path, make()))


def is_whole(path: Path) -> bool:
    """Whether a file is what was once written under its name."""
    text = path.read_bytes().decode(errors="replace")
    body = text.rpartition(_MARK)[0]
    return text == _sealed(path, body)


def _sealed(path: Path, text: str) -> str:
    return f"{text}{_MARK}{hashlib.sha256((path.name + text).encode()).hexdigest()}\n"


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        partial.write_text(text)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


# -- compiled code -----------------------------------------------------------------------------------------------------
def _is_ours(file: str) -> bool:
    path = Path(file).resolve()
    return PACKAGE in path.parents or path.parent in (cache_folder().resolve(), _known_temporary())


def _known_temporary() -> Path | None:
    holder = getattr(_temporary, "holder", None)
    return Path(holder.name).resolve() if holder else None


@functools.cache
def _content(file: str) -> bytes:
    return hashlib.sha256(Path(file).read_bytes()).digest()


_IMPORT = re.compile(r"^from (\.*)([\w.]*) import (\([^)]*\)|.*)", re.MULTILINE)


@functools.cache
def _imported(file: str) -> frozenset[str]:
    """Files of the package that a file imports when it is read."""
    found = set()
    for dots, name, what in _IMPORT.findall(Path(file).read_text()):
        parts = name.split(".") if name else []
        if dots:
            base = Path(file).parents[len(dots) - 1].joinpath(*parts)
        elif parts[0] == PACKAGE.name:
            base = PACKAGE.joinpath(*parts[1:])
        else:
            continue
        places = (base, *(base / word for word in re.findall(r"\w+", what)))
        found |= {str(path) for place in places for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()}
    return frozenset(found)


def called_files(function: types.FunctionType) -> set[str]:
    """Files of the package that a function's own file imports, directly or through another.

    Among them are those of the compiled functions that it calls, of the numbers and flags that it takes, and of the plain
    Python that writes code into it.
    """
    own = str(Path(function.__code__.co_filename).resolve())
    found, waiting = {own}, [own]
    while waiting:
        new = _imported(waiting.pop()) - found
        found |= new
        waiting += new
    return found - {own}


class Locator(caching._CacheLocator):
    """Numba's own choice of a folder, else a temporary one; the stamp covers all files that are compiled into the function."""

    def __init__(self, function: types.FunctionType, inner: Any) -> None:
        self.function, self.inner = function, inner

    @classmethod
    def from_function(cls, py_func: types.FunctionType, py_file: str) -> Locator | None:
        if not _is_ours(py_file):
            return None
        for other in caching.CacheImpl._locator_classes:
            if other is not cls and (inner := other.from_function(py_func, py_file)) is not None:
                return cls(py_func, inner)
        _warn_once(
            f"compiled code cannot be kept in {Path(py_file).parent} nor in a home folder and is compiled by every process. "
            "Set SPIKERTRL_CACHE to a folder that can be written"
        )
        return cls(py_func, None)

    def get_cache_path(self) -> str:
        return str(_temporary()) if self.inner is None else self.inner.get_cache_path()

    def get_source_stamp(self) -> Any:
        own = _content(self.function.__code__.co_filename) if self.inner is None else self.inner.get_source_stamp()
        others = sorted(called_files(self.function))
        return (own, *(_content(file) for file in others)) if others else own

    def get_disambiguator(self) -> str:
        return str(self.function.__code__.co_firstlineno)


class SealedFiles(caching.IndexDataCacheFile):
    """Numba's index and its files of code, each with a checksum at its end, which a pickle's reader does not see."""

    MARK = b"spikertrl seal "

    def _dump(self, obj: Any) -> bytes:
        data = super()._dump(obj)
        return data + self.MARK + hashlib.sha256(data).digest()

    def _load_index(self) -> Any:
        try:
            with open(self._index_path, "rb") as file:
                pickle.load(file)  # numba's version
                self._verify(file.read())
        except FileNotFoundError:
            return {}
        return super()._load_index()

    def _load_data(self, name: str) -> Any:
        with open(self._data_path(name), "rb") as file:
            self._verify(file.read())
        return super()._load_data(name)

    def _verify(self, found: bytes) -> None:
        """ValueError where the checksum disagrees; files from before there was one have none."""
        data, mark, digest = found.rpartition(self.MARK)
        if mark and hashlib.sha256(data).digest() != digest:
            raise ValueError("the checksum disagrees")


def guard() -> None:
    """Make numba keep the code of this package and its cells in the way that the module's text says."""
    if Locator in caching.CacheImpl._locator_classes:
        return
    caching.CacheImpl._locator_classes = [Locator, *caching.CacheImpl._locator_classes]
    caching.Cache.load_overload = _guarded(caching.Cache.load_overload, True)
    caching.Cache.save_overload = _guarded(caching.Cache.save_overload, False)
    caching.Cache._index_key = _with_fields(caching.Cache._index_key)


def _guarded(real: Callable, reads: bool) -> Callable:
    """A function of numba's cache that does without a file it cannot read or write, for code of ours."""

    @functools.wraps(real)
    def call(self: Any, *arguments: Any) -> Any:
        if not isinstance(self._impl.locator, Locator):
            return real(self, *arguments)
        self._cache_file.__class__ = SealedFiles
        try:
            return real(self, *arguments)
        except Exception as error:
            _forget(self, error, reads)
            return None

    return call


def _with_fields(real: Callable) -> Callable:
    """The key of compiled code, with the fields of all records among the arguments; numba's has their name and types."""

    @functools.wraps(real)
    def key(self: Any, sig: Any, codegen: Any) -> Any:
        fields = _fields(sig) if isinstance(self._impl.locator, Locator) else ()
        return (*real(self, sig, codegen), fields) if fields else real(self, sig, codegen)

    return key


def _fields(kinds: Any) -> tuple:
    """Names of the fields of all records among some types, at any depth."""
    found = []
    for kind in kinds:
        found += [*getattr(kind, "fields", ()), *_fields(getattr(kind, "types", ()))]
    return tuple(found)


def _forget(cache: Any, error: Exception, reads: bool) -> None:
    folder = cache._cache_path
    if not reads and isinstance(error, OSError):
        _warn_once(f"compiled code cannot be kept in {folder} ({error.strerror or error}); set SPIKERTRL_CACHE to another")
        return
    _warn_once(f"a file of compiled code in {folder} is damaged and is made anew")
    try:
        cache.flush()
    except OSError:
        cache.disable()


guard()
