"""spikertrl: event-driven recurrent networks that learn while they run."""

from . import losses, models, optimizers, schedules, surrogates, tasks
from .gradients import compare, gradient
from .learners import BPTT, KFRTRL, RTRL, UORO, EProp, Immediate, SnAp
from .model import Model, Parameter, Port, State
from .network import Network
from .online import Online
from .run import Record, Run, simulate
from .train import evaluate, fit

__all__ = ["BPTT", "KFRTRL", "RTRL", "UORO", "EProp", "Immediate", "Model", "Network", "Online", "Parameter", "Port", "Record", "Run", "SnAp", "State", "compare", "evaluate", "fit", "gradient",
           "losses", "models", "optimizers", "schedules", "simulate", "surrogates", "tasks"]  # fmt: skip
