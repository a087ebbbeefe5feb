"""spikertrl: event-driven recurrent networks that learn while they run."""

from typing import TYPE_CHECKING, Any

from .compile import cache as _cache  # noqa: F401 - first, because it decides where compiled code is kept

# isort: split
from . import checks, constraints, cost, learners, losses, models, optimizers, parallel, plot, schedules, surrogates, tasks
from .brian.write.network import BrianNetwork
from .brian.write.to_brian import to_brian
from .explanation import explain
from .learners import BPTT, KFRTRL, OK, RFLO, RTRL, UORO, EProp, Immediate, RandomPaths, SnAp
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

if TYPE_CHECKING:
    from .brian.read.errors import BrianImportError
    from .brian.read.from_brian import from_brian
    from .brian.read.imported import ImportedNetwork

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
    "schedules",
    "simulate",
    "surrogates",
    "sweep",
    "tasks",
    "to_brian",
    "to_nir",
]


def __getattr__(name: str) -> Any:
    if name in ("BrianImportError", "ImportedNetwork", "from_brian"):  # only then is Brian2 imported, which takes a while
        from .brian.read import from_brian as importing

        return getattr(importing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__", "__doc__", "__all__"})
