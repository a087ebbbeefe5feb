"""spikertrl: event-driven recurrent networks that learn while they run."""

from . import checks, cost, learners, losses, models, optimizers, plot, schedules, surrogates, tasks
from ._to_brian import BrianNetwork, to_brian
from .gradients import compare, gradient
from .learners import BPTT, KFRTRL, RTRL, UORO, EProp, Immediate, SnAp
from .model import Model, Parameter, Port, State
from .network import Network
from .online import Online
from .run import Record, Run, simulate
from .train import evaluate, fit

__version__ = "0.1.0"

__all__ = [
    "BPTT",
    "KFRTRL",
    "RTRL",
    "UORO",
    "BrianNetwork",
    "EProp",
    "Immediate",
    "Model",
    "Network",
    "Online",
    "Parameter",
    "Port",
    "Record",
    "Run",
    "SnAp",
    "State",
    "checks",
    "compare",
    "cost",
    "evaluate",
    "fit",
    "gradient",
    "learners",
    "losses",
    "models",
    "optimizers",
    "plot",
    "schedules",
    "simulate",
    "surrogates",
    "tasks",
    "to_brian",
]
