"""Model -> Cell: the compiled step of one unit type and its derivatives, cached on disk as readable source.

The first compilation asks Brian2 and sympy; the generated file and numba's machine code are then kept in the cache folder
(``SPIKERTRL_CACHE``, else the user's cache folder), so that the second start of a program compiles nothing and does not even
import Brian2.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from ..model import Model, ModelError
from .cache import cache_folder, stored
from .notice import compiling

DTYPES = ("float32", "float64")
SURROGATE = "surrogate."  # before the name of a surrogate's parameter in ``Cell.phi``; no name of a model has a dot
_PACKAGE = Path(__file__).parent.parent
_GENERATOR = tuple(
    "compile/cache compile/cell compile/cell_math compile/discretise compile/emit compile/quantities compile/sharing "
    "compile/symbols model language surrogates simulation/events".split()
)


@dataclass(frozen=True)
class Cell:
    """A compiled model.

    ``advance(s, I, phi, k, s_new, y)`` computes values only; ``linearise(..., A, B, P, o, q)`` the derivatives too;
    ``constants(phi, dt, k)`` what depends on parameters alone. ``advance_steps`` and ``linearise_steps`` run a network that has
    only these units, which hear each other by events, from delivery to events (arguments of ``events.deliver`` and ``push``
    first). Arrays must not overlap.

    Shapes for B lanes and n units: s (B, states, n), I (B, ports, n), phi (parameters, n), k (constants, n), y (B, n),
    A (B, S*S, n), B (B, S*G, n), P (B, S*Q, n), o (B, S, n), q (B, Q, n);
    S states with sensitivity, G ports, Q trainable parameters. Entries that are zero for every input are never written.
    """

    model: Model
    dtype: str
    path: Path
    states: tuple[str, ...]
    memory: tuple[str, ...]
    ports: tuple[str, ...]
    trainable: tuple[str, ...]
    phi: tuple[str, ...]
    defaults: dict[str, float]
    initial: dict[str, float]
    scale: dict[str, float]
    dims: dict[str, tuple[float, ...]]
    n_constants: int
    constant_texts: tuple[str, ...]
    denominators: tuple[str, ...]
    memoryless: bool
    spiking: bool
    hears: tuple[bool, ...]
    advance: Callable
    linearise: Callable
    advance_steps: Callable
    linearise_steps: Callable
    constants: Callable

    @property
    def source(self) -> str:
        """The generated code."""
        return self.path.read_text()

    @property
    def jacobian(self) -> str:
        """The derived step and its partial derivatives as text."""
        return self.source.split('"""')[1].split("\n\n", 1)[1].strip()


@functools.cache
def _version() -> str:
    """Hash of the generator itself, so that a new version never reads an old file."""
    return hashlib.sha256(b"".join((_PACKAGE / f"{name}.py").read_bytes() for name in _GENERATOR)).hexdigest()[:8]


_cells: dict[tuple[str, str], Cell] = {}
_one_at_a_time = threading.RLock()


def compile_model(model: Model, dtype: str = "float32") -> Cell:
    """Compile a model for a float type, or take it from the cache.

    Parameters
    ----------
    model : Model
        The record; its units are checked on the first compilation.
    dtype : {"float32", "float64"}
        Type of every array.

    Raises
    ------
    ModelError
        If units disagree, or an equation cannot be discretised or differentiated.

    Examples
    --------
    >>> from spikertrl.models import egru
    >>> cell = compile_model(egru, "float64")
    >>> cell.memory, cell.ports, cell.trainable
    (('c',), ('u', 'r', 'x', 'h'), ('theta',))
    >>> "dc/dI_r" in cell.jacobian
    True
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}")
    key = (model.fingerprint, dtype)
    with _one_at_a_time:  # Brian2 and the cache know no threads
        if key not in _cells:
            path = cache_folder() / f"{model.name}_{dtype}_{model.fingerprint}_{_version()}.py"
            path = stored(path, lambda: _told_source(model, dtype))
            _cells[key] = _load(path, model, dtype)
    return replace(_cells[key], model=model)  # parameter values of the surrogate are not part of the code


def _told_source(model: Model, dtype: str) -> str:
    with compiling(model.name):
        return _source(model, dtype)


def _source(model: Model, dtype: str) -> str:
    """The generated module of a model."""
    from .brian_device import at_runtime, import_brian2

    import_brian2()
    from . import discretise, emit  # Brian2 and sympy: only when there is something to compile

    with at_runtime():
        step = discretise.step(model)
    defaults = {n: discretise.base_value(model, n, p.default, p.unit) for n, p in model.parameters.items()}
    initial = {
        n: discretise.base_value(model, n, s.initial, s.unit) if s.initial != 0 else 0.0 for n, s in model.states.items()
    }
    meta = {
        "states": step.states,
        "memory": step.memory,
        "phi": [*model.parameters, *(f"{SURROGATE}{n}" for n in model.surrogate.parameters)],
        "defaults": defaults,
        "initial": initial,
        "scale": {
            n: discretise.base_value(model, n, p.scale, p.unit) if isinstance(p.scale, str) else p.scale
            for n, p in model.ports.items()
        },
        "dims": {n: discretise.dimensions(p.unit) for n, p in {**model.parameters, **model.states}.items()}
        | {f"I_{n}": discretise.dimensions(p.unit) for n, p in model.ports.items()},
    }
    try:
        return emit.source(model, step, meta, dtype)
    except (NotImplementedError, ModelError, RecursionError) as error:
        raise ModelError(f"model {model.name!r}: {error}") from None


def _load(path: Path, model: Model, dtype: str) -> Cell:
    module = _execute(path)
    meta = module.META
    memory = meta["states"][: meta["memory"]]
    return Cell(
        model, dtype, path, tuple(meta["states"]), tuple(memory), tuple(model.ports), model.trainable, tuple(meta["phi"]),
        meta["defaults"], meta["initial"], meta["scale"], meta["dims"], len(meta["constants"]), tuple(meta["constants"]),
        tuple(meta["denominators"]),
        memoryless=not any(any(row) for row in meta["A"]),
        spiking=meta["spiking"], hears=tuple(meta["hears"]), advance=module.advance, linearise=module.linearise,
        advance_steps=module.advance_steps, linearise_steps=module.linearise_steps, constants=module.constants,
    )  # fmt: skip


def _execute(path: Path) -> ModuleType:
    name = f"spikertrl_cell_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
