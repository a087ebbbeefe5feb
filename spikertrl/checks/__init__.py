"""The laws, public: what every model and every learner must obey, for yours as for ours."""

from .check import check_learner, check_model
from .report import Law, Report

__all__ = [
    "Law",
    "Report",
    "check_learner",
    "check_model",
]
