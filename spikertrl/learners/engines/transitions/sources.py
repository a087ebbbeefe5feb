"""Columns of the influence by what drives them."""

from __future__ import annotations

import numpy as np

from ....derived import derived
from ....network.wiring import Wiring
from ....tape import Tape


@derived
def columns_of_source(w: Wiring) -> np.ndarray:
    """Columns of the influence that each channel and unit is the source of."""
    return np.bincount(w.col_source[w.col_source >= 0], minlength=w.n_channels + w.n_units)


def columns_alive(w: Wiring, tape: Tape, lanes: int) -> float:
    """Columns of synapses that are alive, summed over the steps: those whose source has been heard, by the first lanes."""
    nonzero = tape.messages[tape.history :, :lanes] != 0
    steps = np.logical_or.accumulate(nonzero).sum((0, 1)) / nonzero.shape[1]
    return float(steps @ columns_of_source(w))
