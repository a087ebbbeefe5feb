"""Learners: one algorithm per file, all under the contract of ``base``."""

from .base import Learner, Signal
from .bptt import BPTT, Immediate
from .eprop import EProp
from .kf_rtrl import KFRTRL
from .ok import OK
from .rtrl import RTRL, SnAp
from .uoro import UORO

__all__ = ["BPTT", "KFRTRL", "OK", "RTRL", "UORO", "EProp", "Immediate", "Learner", "Signal", "SnAp"]
