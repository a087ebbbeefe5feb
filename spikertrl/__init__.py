"""spikertrl: event-driven recurrent networks that learn while they run."""

from typing import TYPE_CHECKING, Any

from . import checks, cost, learners, losses, models, nir_models, optimizers, plot, schedules, surrogates, tasks
from ._from_nir import from_nir
from ._nir_paths import NIRError
from ._to_nir import to_nir
from .brian.exporting import BrianNetwork, to_brian
from .gradients import compare, gradient
from .learners import BPTT, KFRTRL, OK, RFLO, RTRL, UORO, EProp, Immediate, RandomPaths, SnAp
from .model import Model, Parameter, Port, State
from .network import Network
from .online import Online
from .run import Record, Run, simulate
from .train import evaluate, fit

if TYPE_CHECKING:
    from .brian.importing import BrianImportError, ImportedNetwork, from_brian

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
    "checks",
    "compare",
    "cost",
    "evaluate",
    "fit",
    "from_brian",
    "from_nir",
    "gradient",
    "learners",
    "losses",
    "models",
    "nir_models",
    "optimizers",
    "plot",
    "schedules",
    "simulate",
    "surrogates",
    "tasks",
    "to_brian",
    "to_nir",
]


def __getattr__(name: str) -> Any:
    if name in ("BrianImportError", "ImportedNetwork", "from_brian"):  # only then is Brian2 imported, which takes a while
        from .brian import importing

        return getattr(importing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
