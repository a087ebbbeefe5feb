"""What a simulation carries from one piece to the next, and how it is put back to the start, saved and restored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .events import EventQueue

if TYPE_CHECKING:
    from .simulator import Simulator


@dataclass
class SimState:
    """Everything that a simulation carries from one piece to the next."""

    batch: int
    time: int
    states: dict[str, np.ndarray]  # population -> (B, states, n)
    past: EventQueue  # messages of the last steps, as long as the longest delay
    z: np.ndarray  # (B, O)
    traces: dict[float, np.ndarray]  # decay -> (B, N) decayed sums of messages
    trace_one: dict[float, np.ndarray]  # decay -> (B,) decayed sums of 1
    reset: np.ndarray  # (B,) bool: lanes reset since the last piece
    simulator: Simulator = field(repr=False, compare=False)

    def reset_lanes(self, lanes: np.ndarray | None = None) -> None:
        """Put lanes (bool (B,), default all) back to the start: states, messages in flight, readouts, traces."""
        which = slice(None) if lanes is None else np.asarray(lanes, bool)
        for name, start in self.simulator.initial(self.batch).items():
            self.states[name][which] = start[which]
        self.past.forget(which)
        self.z[which] = 0.0
        for traces in (*self.traces.values(), *self.trace_one.values()):
            traces[which] = 0.0
        self.reset[which] = True

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
        """Take back what ``snapshot`` gave."""
        self.time, self.z, self.reset = int(saved["time"]), saved["z"].copy(), saved["reset"].copy()
        self.states = {k: v.copy() for k, v in saved["states"].items()}
        self.traces = {k: saved["traces"][repr(k)].copy() for k in self.traces}
        self.trace_one = {k: saved["trace_one"][repr(k)].copy() for k in self.trace_one}
        for name, values in saved["past"].items():
            getattr(self.past, name)[...] = values
