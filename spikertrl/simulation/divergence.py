"""Numbers that stop being finite while a network runs: found at the end of a piece, and said with place and step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..loops import loop

if TYPE_CHECKING:
    from ..network.wiring import Wiring


class SimulationDiverged(FloatingPointError):
    """A state, message or readout is no longer finite, or a parameter never was.

    Attributes
    ----------
    what : str
        Which one and its value, for example "state v of population 'h', unit 3, lane 0 is inf".
    step : int or None
        At which step it first was, counted as a state counts them (``run.state.time``); None for a parameter.
    """

    def __init__(self, what: str, step: int | None = None) -> None:
        self.what, self.step = what, step
        advice = "initialize or write it anew"
        if step is not None:
            advice = "take a smaller step dt, weaker weights or input, or look at the steps before it, which are finite"
        super().__init__(f"{what}{'' if step is None else f' at step {step}'}; {advice}")


def finite(values: np.ndarray) -> bool:
    """Are all of them?

    >>> finite(np.ones((2, 3))), finite(np.array([1.0, np.nan]))
    (True, False)
    """
    return _finite(values.reshape(-1)) if values.dtype.char in "fd" else bool(np.isfinite(values).all())


@loop()
def _finite(values):
    wrong = 0
    for i in range(values.size):
        wrong += not (values[i] - values[i] == 0)  # inf - inf and nan - nan are nan
    return wrong == 0


def not_finite(wiring: Wiring, vector: np.ndarray) -> str | None:
    """The first block of a vector shaped like theta that holds NaN or infinity, as "h<-x['u']"."""
    if finite(vector):
        return None
    return next(f"{group}[{name!r}]" for (group, name), (part, _) in wiring.layout.items() if not finite(vector[part]))


def diverged(
    wiring: Wiring, theta: np.ndarray, states: Mapping[str, np.ndarray], messages: Mapping[str, np.ndarray],
    readouts: Mapping[str, np.ndarray], names: Mapping[str, tuple[str, ...]], start: int,
) -> SimulationDiverged:  # fmt: skip
    """The first number of a piece that is not finite.

    ``states``: population -> (tau, B, states, n), ``names`` of these; ``messages`` and ``readouts``: (tau, B, n); ``start``:
    steps before the piece.
    """
    if parameter := not_finite(wiring, theta):
        return SimulationDiverged(f"parameter {parameter} is not finite")
    found: list[tuple[int, int, str, Any]] = []
    for rank, (what, arrays) in enumerate((("state", states), ("message", messages), ("readout", readouts))):
        for name, values in arrays.items():
            bad = ~np.isfinite(values)
            if bad.any():
                first = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
                place = tuple(int(k) for k in np.argwhere(bad[first])[0])
                found.append((first, rank, _said(what, name, place, names.get(name, ())), values[first][place]))
    step, _, text, value = min(found, key=lambda one: one[:2])
    return SimulationDiverged(f"{text} is {value:g}", start + step)


def _said(what: str, name: str, place: tuple[int, ...], states: tuple[str, ...]) -> str:
    if what == "state":
        return f"state {states[place[1]]} of population {name!r}, unit {place[2]}, lane {place[0]}"
    if what == "message":
        return f"the message of population {name!r}, unit {place[1]}, lane {place[0]}"
    return f"readout {name!r}, output {place[1]}, lane {place[0]}"
