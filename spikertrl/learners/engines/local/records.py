"""Arrays that the loops of the local learners read together, as records. C columns, N units; places: see ``layout.Table``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Places(NamedTuple):
    """Where columns and rows lie; see ``layout.Table``. int64 unless said otherwise."""

    first_M: np.ndarray  # (N + 1) elements of M in a lane before each unit
    first_C: np.ndarray  # (N + 1) places before each unit
    synapses: np.ndarray  # (N) how many of a unit's places are synapses
    run_ptr: np.ndarray  # (N + 1) runs of each unit
    runs: np.ndarray  # (R, 5) first place in the unit, length, port, place in theta, messages side by side or not
    source: np.ndarray  # (C) source, or negative
    delay: np.ndarray  # (C)
    offset: np.ndarray  # (C) how far behind the start of a step the message lies in the record of a single lane
    theta: np.ndarray  # (C) place in theta
    port: np.ndarray  # (C) port, or trainable parameter
    explicit: np.ndarray  # (C) bool: a trainable parameter of the unit
    most: int  # states of a unit
    widest: int  # columns of a unit
    drives: int  # ports and trainable parameters of a unit
    coefficients: int  # of a unit in a step


class Loops(NamedTuple):
    """Synapses of units onto themselves, with a delay of one step."""

    ptr: np.ndarray  # (N + 1)
    theta: np.ndarray  # place of the weight
    port: np.ndarray
    weight: np.ndarray  # theta, all of it


class Signals(NamedTuple):
    """What the losses of a tape say to the rows; a decay is one of those that leaky readouts have."""

    direct: np.ndarray  # (tau, B, N) dL/dy, the leak of the readouts included
    past: np.ndarray  # (decays, B, N) dL/dF: what the tape's losses say to the rows before it
    powers: np.ndarray  # (decays, tau) decay to the number of steps that follow
    kept: np.ndarray  # (decays) decay over the whole tape
    leaky: np.ndarray  # (decays, N) bool: a readout with this decay reads the unit
