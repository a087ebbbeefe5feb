"""Learners: one algorithm per file, all under the contract of ``base``."""

from .base import Learner, Signal
from .bptt import BPTT, Immediate
from .rtrl import RTRL, SnAp

__all__ = ["BPTT", "RTRL", "Immediate", "Learner", "Signal", "SnAp"]
