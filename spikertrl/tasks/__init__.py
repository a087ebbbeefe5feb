"""Tasks: where x and labels come from. Every task obeys the contract in `base`.

=================  ========  ==================================================================
task               kind      what
=================  ========  ==================================================================
``spiral``         sequence  which way a spiral turns (Subramoney 2023)
``copy``           sequence  repeat a string, at a growing length (Mujika et al. 2018)
``copy_stream``    stream    the same, string after string, as in the paper
``delayed_xor``    sequence  exclusive or of two pulses, asked for later
``binary_adding``  sequence  count the ones at marked steps (Ma et al. 2025)
``spoken_digits``  sequence  name the digit, from spikes of a model cochlea (needs a data file)
``add``            stream    add two bits of the past (Marschall et al. 2020)
``text``           stream    next character
``sunspots``       stream    next year's sunspot number
``mackey_glass``   stream    go on with a chaotic series alone (NeuroBench)
``arrays``         sequence  whatever the arrays given say
=================  ========  ==================================================================
"""

from __future__ import annotations

from typing import Any

from .. import plugins
from .add import add
from .base import Sequence, Stream, Task
from .binary_adding import binary_adding
from .copy import copy, copy_stream
from .delayed_xor import delayed_xor
from .digits import Vary, spoken_digits
from .given import arrays
from .mackey_glass import mackey_glass
from .ngram import ngram_bits
from .readers import read_dvs, read_shd, read_tonic
from .series import Series, sunspots
from .spiral import spiral
from .text import text

__all__ = [
    "Sequence",
    "Series",
    "Stream",
    "Task",
    "Vary",
    "add",
    "arrays",
    "binary_adding",
    "copy",
    "copy_stream",
    "delayed_xor",
    "mackey_glass",
    "ngram_bits",
    "read_dvs",
    "read_shd",
    "read_tonic",
    "spiral",
    "spoken_digits",
    "sunspots",
    "text",
]


def __getattr__(name: str) -> Any:
    return plugins.attribute('spikertrl.tasks', __name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *plugins.names('spikertrl.tasks')})
