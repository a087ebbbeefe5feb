"""What a simulation carries from one piece to the next, and how it is put back to the start, saved and restored."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..fitted import Damage, out_of_range
from .events import EventQueue


@dataclass
class SimState:
    """Everything that a simulation carries from one piece to the next; it belongs to the run that advances it."""

    batch: int
    time: int
    states: dict[str, np.ndarray]  # population -> (B, states, n)
    past: EventQueue  # messages of the last steps, as long as the longest delay
    z: np.ndarray  # (B, O)
    traces: dict[float, np.ndarray]  # decay -> (B, N) decayed sums of messages
    trace_one: dict[float, np.ndarray]  # decay -> (B,) decayed sums of 1
    reset: np.ndarray  # (B,) bool: lanes reset since the last piece
    start: dict[str, np.ndarray] = field(repr=False, compare=False)  # population -> (states, n) values before the first step
    kind: tuple = field(repr=False, compare=False, default=())  # populations, channels, readouts, delays and type it fits

    def reset_lanes(self, lanes: np.ndarray | None = None) -> None:
        """Put lanes (bool (B,), default all) back to the start: states, messages in flight, readouts, traces."""
        which = slice(None) if lanes is None else np.asarray(lanes)
        if not isinstance(which, slice) and (which.shape != (self.batch,) or which.dtype != bool):
            found = f"{which.dtype} of shape {which.shape}"
            raise ValueError(f"lanes must be bool of shape ({self.batch},), one a lane, got {found}")
        for name, start in self.start.items():
            self.states[name][which] = start
        self.past.forget(which)
        self.z[which] = 0.0
        for traces in (*self.traces.values(), *self.trace_one.values()):
            traces[which] = 0.0
        self.reset[which] = True

    def copy(self) -> SimState:
        """The same state in arrays of its own."""
        own = {n: {k: v.copy() for k, v in getattr(self, n).items()} for n in ("states", "traces", "trace_one")}
        return replace(self, past=copy.deepcopy(self.past), z=self.z.copy(), reset=self.reset.copy(), **own)

    def snapshot(self) -> dict[str, Any]:
        """All numbers of the state as plain arrays, for checkpoints; see ``restore``."""
        past = {name: getattr(self.past, name).copy() for name in ("values", "fired", "n_fired")}
        return {
            "time": self.time,
            "states": {k: v.copy() for k, v in self.states.items()},
            "past": past,
            "z": self.z.copy(),
            "traces": {repr(k): v.copy() for k, v in self.traces.items()},
            "trace_one": {repr(k): v.copy() for k, v in self.trace_one.items()},
            "reset": self.reset.copy(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take back what ``snapshot`` gave.

        Raises
        ------
        Damage
            If it names sources that do not exist: delivery looks at no bounds.
        """
        sources, past = self.past.values.shape[2], saved["past"]
        ranges = {"fired": (past["fired"], 0, sources - 1), "n_fired": (past["n_fired"], 0, sources)}
        if text := out_of_range(ranges):
            raise Damage(f"its messages in flight: {text}")
        self.time, self.z, self.reset = int(saved["time"]), saved["z"].copy(), saved["reset"].copy()
        self.states = {k: v.copy() for k, v in saved["states"].items()}
        self.traces = {k: saved["traces"][repr(k)].copy() for k in self.traces}
        self.trace_one = {k: saved["trace_one"][repr(k)].copy() for k in self.trace_one}
        for name, values in saved["past"].items():
            getattr(self.past, name)[...] = values
