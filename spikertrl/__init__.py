"""spikertrl: event-driven recurrent networks that learn while they run."""

import importlib
from typing import TYPE_CHECKING, Any

from .lazy import module as _module

if TYPE_CHECKING:
    from . import (
        callbacks,
        checks,
        constraints,
        cost,
        learners,
        losses,
        models,
        optimizers,
        parallel,
        plot,
        rewire,
        river,
        rl,
        schedules,
        sklearn,
        surrogates,
        tasks,
        torch,
    )
    from .brian.read.errors import BrianImportError
    from .brian.read.from_brian import from_brian
    from .brian.read.imported import ImportedNetwork
    from .brian.write.network import BrianNetwork
    from .brian.write.to_brian import to_brian
    from .bridges.to_jax import to_jax
    from .bridges.to_neurobench import to_neurobench
    from .explanation import explain
    from .learners import BPTT, KFRTRL, OK, RFLO, RTRL, UORO, Certified, EProp, Immediate, RandomPaths, SnAp
    from .model import Model, Parameter, Port, State
    from .network import Network
    from .nir import NIRError, from_nir, to_nir
    from .nir import units as nir_models
    from .parallel.runs import Sweep, sweep
    from .simulation import Record, Run, simulate
    from .training.fit import evaluate, fit
    from .training.gradients import compare, gradient
    from .training.load import load
    from .training.online import Online

__version__ = "0.1.0"

__all__ = [
    "BPTT",
    "KFRTRL",
    "OK",
    "RFLO",
    "RTRL",
    "UORO",
    "BrianImportError",
    "BrianNetwork",
    "Certified",
    "EProp",
    "Immediate",
    "ImportedNetwork",
    "Model",
    "NIRError",
    "Network",
    "Online",
    "Parameter",
    "Port",
    "RandomPaths",
    "Record",
    "Run",
    "SnAp",
    "State",
    "Sweep",
    "callbacks",
    "checks",
    "compare",
    "constraints",
    "cost",
    "evaluate",
    "explain",
    "fit",
    "from_brian",
    "from_nir",
    "gradient",
    "learners",
    "load",
    "losses",
    "models",
    "nir_models",
    "optimizers",
    "parallel",
    "plot",
    "rewire",
    "river",
    "rl",
    "schedules",
    "simulate",
    "sklearn",
    "surrogates",
    "sweep",
    "tasks",
    "to_brian",
    "to_jax",
    "to_neurobench",
    "to_nir",
    "torch",
]


# Where each name is, imported when it is first asked for: the command line and a script that needs little start fast.
_HOME = {
    "bridges.to_jax": ("to_jax",),
    "bridges.to_neurobench": ("to_neurobench",),
    "brian.read.errors": ("BrianImportError",),
    "brian.read.from_brian": ("from_brian",),
    "brian.read.imported": ("ImportedNetwork",),
    "brian.write.network": ("BrianNetwork",),
    "brian.write.to_brian": ("to_brian",),
    "explanation": ("explain",),
    "learners": ("BPTT", "KFRTRL", "OK", "RFLO", "RTRL", "UORO", "Certified", "EProp", "Immediate", "RandomPaths", "SnAp"),
    "model": ("Model", "Parameter", "Port", "State"),
    "network": ("Network",),
    "nir": ("NIRError", "from_nir", "to_nir"),
    "parallel.runs": ("Sweep", "sweep"),
    "simulation": ("Record", "Run", "simulate"),
    "training.fit": ("evaluate", "fit"),
    "training.gradients": ("compare", "gradient"),
    "training.load": ("load",),
    "training.online": ("Online",),
}


def __getattr__(name: str) -> Any:
    home = next((module for module, names in _HOME.items() if name in names), None)
    if home is not None:
        found = getattr(importlib.import_module(f".{home}", __name__), name)
    elif name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    else:
        found = _module(__name__, "nir.units" if name == "nir_models" else name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__", "__doc__", "__all__"})
