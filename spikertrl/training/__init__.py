"""Training: gradients of sequences, runs over a task, and learning from a stream."""

from .fit import Interrupted, evaluate, fit
from .gradients import Comparison, compare, gradient
from .history import History
from .online import Online
from .session import TrainingDiverged

__all__ = [
    "Comparison",
    "History",
    "Interrupted",
    "Online",
    "TrainingDiverged",
    "compare",
    "evaluate",
    "fit",
    "gradient",
]
