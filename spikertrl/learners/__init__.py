"""Learners: one algorithm per file, all under the contract of ``base``."""

from ..compile import cache as _cache  # noqa: F401 - first, because it decides where compiled code is kept

# isort: split
from typing import Any

from .. import plugins
from .base import Learner, Signal
from .bptt import BPTT, Immediate
from .certified import Certified
from .eprop import EProp
from .kf_rtrl import KFRTRL
from .ok import OK
from .random_paths import RandomPaths
from .rflo import RFLO
from .rtrl import RTRL
from .snap import SnAp
from .uoro import UORO

__all__ = [
    "BPTT",
    "KFRTRL",
    "OK",
    "RFLO",
    "RTRL",
    "UORO",
    "Certified",
    "EProp",
    "Immediate",
    "Learner",
    "RandomPaths",
    "Signal",
    "SnAp",
]


def __getattr__(name: str) -> Any:
    return plugins.attribute('spikertrl.learners', __name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *plugins.names('spikertrl.learners')})
