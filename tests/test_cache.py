"""The cache of compiled models and code: damaged files are made anew, places that cannot be written are done without."""

from __future__ import annotations

import collections
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from numba import typeof
from numba.core.dispatcher import Dispatcher

import spikertrl as srl
from spikertrl.compile import cache, cache_folder, cell, compile_model
from spikertrl.learners.engines.local import kernel_one
from spikertrl.learners.engines.rows import by_step_kernel
from spikertrl.learners.engines.transitions import kernel as transitions
from spikertrl.model import Model, Port, State
from spikertrl.simulation.events import deliver_step

LEAKY = Model("kept", update="v = 0.5*v + I_x", message="v", states={"v": State()}, ports={"x": Port()})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPIKERTRL_CACHE", str(tmp_path))
    monkeypatch.setattr(cell, "_cells", {})
    monkeypatch.setattr(cache, "_told", set())
    return tmp_path


def step(model: Model = LEAKY) -> float:
    """The new state of one unit with v = 2 and an input of 1, from a cell that a new process would load."""
    cell._cells.clear()
    found = compile_model(model, "float64")
    sys.modules.pop(f"spikertrl_cell_{found.path.stem}", None)
    after, y = np.zeros((1, 1, 1)), np.zeros((1, 1))
    found.advance(np.full((1, 1, 1), 2.0), np.ones((1, 1, 1)), np.ones((len(found.phi), 1)),
                  np.ones((found.n_constants, 1)), after, y)  # fmt: skip
    return float(after[0, 0, 0])


def damages(path: Path, other: Path) -> dict[str, bytes]:
    whole = path.read_bytes()
    return {"empty": b"", "cut": whole[: len(whole) // 2], "zeros": bytes(len(whole)), "another's": other.read_bytes(),
            "changed": whole.replace(b"0.5", b"0.7"), "junk": b"\x80\x04junk"}  # fmt: skip


def test_damaged_source_is_made_anew_once(folder: Path) -> None:
    assert step() == 2.0
    path = compile_model(LEAKY, "float64").path
    other = compile_model(LEAKY.replace(update="v = 0.9*v + I_x"), "float64").path
    for damage in damages(path, other).values():
        path.write_bytes(damage)
        cache._told.clear()
        with pytest.warns(RuntimeWarning, match="generated file .*kept_float64.* is damaged and is made anew"):
            assert step() == 2.0
        assert step() == 2.0, "and no warning"
    assert not list(folder.glob("*.tmp"))


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_damaged_code_is_compiled_anew_once(kind: str, folder: Path) -> None:
    step()
    (path,) = folder.glob(f"**/*kept_float64*.advance-*.{kind}")
    whole = path.read_bytes()
    flips = [whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1 :] for k in (200, len(whole) // 2, len(whole) - 1)]
    for damage in (b"", whole[:100], bytes(500), b"junk", *flips):
        path.write_bytes(damage)
        cache._told.clear()
        with pytest.warns(RuntimeWarning, match="a file of compiled code in .* is damaged and is made anew"):
            assert step() == 2.0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert step() == 2.0
        (path,) = folder.glob(f"**/*kept_float64*.advance-*.{kind}")


def test_code_from_before_there_were_checksums_is_read(folder: Path) -> None:
    step()
    for path in folder.glob("**/*kept_float64*"):
        if path.suffix in (".nbi", ".nbc"):
            data, mark, _ = path.read_bytes().rpartition(cache.SealedFiles.MARK)
            assert mark
            path.write_bytes(data)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("**/*.nbc")}
    assert step() == 2.0 and {path: path.stat().st_mtime_ns for path in before} == before


def test_a_place_that_is_a_file_is_done_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_text("mine")
    monkeypatch.setenv("SPIKERTRL_CACHE", str(folder / "file"))
    with pytest.warns(RuntimeWarning, match="models cannot be kept in .*file .*Set SPIKERTRL_CACHE to a folder") as told:
        assert step() == 2.0
    assert len(told) == 1 and step() == 2.0 and (folder / "file").read_text() == "mine"


def test_a_full_place_is_done_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_text

    def full(path: Path, text: str, *more: object) -> int:
        if folder in path.parents:
            raise OSError(28, "No space left on device")
        return real(path, text)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.warns(RuntimeWarning, match=r"\(No space left on device\)"):
        assert step() == 2.0
    assert not list(folder.iterdir())


def test_a_home_is_expanded_and_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKERTRL_CACHE", "~/models")
    assert cache_folder() == Path.home() / "models"

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SPIKERTRL_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder().is_dir()


def test_a_package_that_cannot_be_written_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """No locator of numba finds a folder: a temporary one is taken, and the variable to set is named."""
    monkeypatch.setattr(cache.caching.CacheImpl, "_locator_classes", [cache.Locator])
    monkeypatch.setattr(cache, "_told", set())
    with pytest.warns(RuntimeWarning, match="compiled code cannot be kept in .*Set SPIKERTRL_CACHE"):
        locator = cache.Locator.from_function(deliver_step.py_func, deliver_step.py_func.__code__.co_filename)
    assert locator is not None and Path(locator.get_cache_path()).is_dir()


def test_the_stamp_of_a_function_covers_what_it_calls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advance = compile_model(LEAKY, "float64").advance.py_func
    files = cache.called_files(advance)
    assert {Path(file).name for file in files} >= {"cell_math.py", "events.py"}
    locator = cache.Locator.from_function(advance, advance.__code__.co_filename)
    assert locator is not None
    before = locator.get_source_stamp()
    monkeypatch.setattr(cache, "_content", lambda file: b"edited" if file.endswith("cell_math.py") else b"")
    assert locator.get_source_stamp() != before


@pytest.mark.parametrize(
    ("function", "files"),
    [
        # a register's width is written by plain Python
        (by_step_kernel.sweep, {"columns.py", "rows.py", "scalar.py", "views.py", "writer.py"}),
        (kernel_one.sweep, {"rows.py", "views.py", "writer.py"}),
        (transitions.carry, {"step_jacobian_kernel.py", "gemm.py", "rows.py", "scalar.py", "views.py", "writer.py"}),
    ],
)
def test_the_stamp_covers_what_is_written_into_a_function(function, files: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Constants, flags and the Python that emits registers, also where no compiled function of the file is called."""
    function = function.py_func
    locator = cache.Locator.from_function(function, function.__code__.co_filename)
    assert locator is not None and {Path(file).name for file in cache.called_files(function)} == files | {"loops.py"}
    real, before = cache._content, locator.get_source_stamp()
    for name in files:
        monkeypatch.setattr(cache, "_content", lambda file, name=name: b"edited" if Path(file).name == name else real(file))
        assert locator.get_source_stamp() != before, name


def test_every_file_that_compiles_is_covered_with_all_it_imports() -> None:
    """Held against what Python itself imports: the modules that a file's globals come from."""
    for name, module in list(sys.modules.items()):
        compiled = [v for v in vars(module).values() if isinstance(v, Dispatcher)] if name.startswith("spikertrl.") else []
        own = [v.py_func for v in compiled if v.py_func.__module__ == name]
        for value in vars(module).values() if own else ():
            home = sys.modules.get(getattr(getattr(value, "py_func", getattr(value, "_defn", value)), "__module__", None) or "")
            if home is not None and home.__name__.startswith("spikertrl.") and home is not module:
                assert str(Path(home.__file__ or "").resolve()) in cache.called_files(own[0]), (name, home.__name__)


def test_a_record_whose_fields_were_exchanged_is_other_code(folder: Path) -> None:
    """Numba's own key holds the name and the types of a record, and a loop reads its fields by their place."""

    def signature(names: str) -> tuple[object, ...]:
        record = collections.namedtuple("Record", names)
        return (typeof(record(np.zeros(1), np.zeros(1))),)

    step()
    found = compile_model(LEAKY, "float64").advance
    keys = [found._cache._index_key(signature(names), found.targetctx.codegen()) for names in ("a b", "b a", "a b")]
    assert keys[0][1:] == keys[2][1:] != keys[1][1:]


def test_functions_of_others_are_left_alone(tmp_path: Path) -> None:
    def mine(v):
        return v

    assert cache.Locator.from_function(mine, str(tmp_path / "mine.py")) is None
    assert isinstance(srl.simulation.events.push._cache._impl.locator, cache.Locator)
