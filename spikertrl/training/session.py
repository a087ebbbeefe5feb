"""One training run: a batch at a time, and what a checkpoint of it holds."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cost import cost_of
from ..learners.base import Learner
from ..losses.base import Loss
from ..optimizers import Optimizer
from ..simulation.run import as_input, pieces, simulator
from ..tasks.base import Task
from . import checkpoint as storage
from .gradients import descend, signal_of
from .history import History

if TYPE_CHECKING:
    from ..network.network import Network


class TrainingDiverged(FloatingPointError):
    """A loss, gradient or parameter is no longer finite; says at which step and where."""


@dataclass
class Session:
    """Everything that changes while training; what a checkpoint holds."""

    net: Network
    task: Task
    learner: Learner
    optimizer: Optimizer
    batch: int
    tau: int | None
    regularizer: Loss | None
    sim: Any = None
    memory: Any = None
    opt: Any = None
    history: History = field(default_factory=History)
    seconds: float = 0.0

    def begin(self) -> None:
        """Allocate the states, all at their start."""
        self.sim = simulator(self.net).start(self.batch)
        self.memory = self.learner.init(self.net, self.batch)
        self.opt = self.optimizer.init(self.net.theta)

    def step(self) -> dict[str, float]:
        """One batch of the task: its row of the history."""
        began = time.perf_counter()
        x, labels = self.task.batch(self.batch)
        x = as_input(self.net, x)
        if x.shape[1] != self.batch:
            raise ValueError(f"task {self.task.name} gave {x.shape[1]} lanes, fit asked for {self.batch}")
        loss = self.task.loss(labels)
        loss = loss if self.regularizer is None else loss + self.regularizer
        if self.task.kind == "sequence":
            self.sim.reset_lanes()
        value, fired, active = 0.0, 0, 0
        for part in pieces(len(x), self.tau):
            self._begin_lanes(part)
            share, n_fired, n_active = self._piece(x[part], loss, part.start, len(x))
            value, fired, active = value + share, fired + n_fired, active + n_active
        self.task.observe(value)
        self.seconds += time.perf_counter() - began
        unit_steps = x.shape[0] * x.shape[1] * self.net.wiring.n_units
        row = {
            "step": len(self.history) + 1,
            "loss": value,
            "seconds": self.seconds,
            "activity": fired / unit_steps,
            "gradient_activity": active / unit_steps,
        }
        if cost := cost_of(self.memory):
            row |= {"macs": cost.macs, "macs_dense": cost.macs_dense}
        return row

    def _begin_lanes(self, part: slice) -> None:
        """Put the lanes of a stream that begin anew back to the start; they may do so at the first step of a piece only."""
        fresh = getattr(self.task, "fresh", None)
        if fresh is None or not fresh[part].any():
            return
        if fresh[part][1:].any():
            raise ValueError(
                f"task {self.task.name}: a lane begins anew inside a piece of {part.stop - part.start} steps; use fit(tau=1)"
            )
        self.sim.reset_lanes(fresh[part.start])

    def _piece(self, x: np.ndarray, loss: Loss, start: int, total: int) -> tuple[float, int, int]:
        """Simulate, learn and update on some steps; returns the loss share, events and gradient-active units."""
        tape = simulator(self.net).run(self.sim, x)
        told = signal_of(self.net, loss, tape, start, total, ends=self.task.kind == "sequence")
        gradient = self.learner.update(self.memory, tape, told)
        self._check(told.value, gradient)
        fired = int(np.count_nonzero(tape.units(self.net.wiring)))
        active = int(tape.active(self.net.wiring)[0].sum())
        descend(self.net, self.optimizer, self.opt, gradient)
        return told.value, fired, active

    def _check(self, value: float, gradient: np.ndarray) -> None:
        if np.isfinite(value) and np.isfinite(gradient).all():
            return
        step, advice = len(self.history) + 1, "lower the learning rate or clip the gradient"
        for what, vector in (("parameter", self.net.theta), ("gradient of", gradient)):
            for (group, name), (part, _) in self.net.wiring.layout.items():
                if not np.isfinite(vector[part]).all():
                    place = f"{what} {group}[{name!r}]"
                    raise TrainingDiverged(f"step {step}: {place} is not finite (loss {value:g}); {advice}")
        raise TrainingDiverged(f"step {step}: the loss is {value}; {advice}")

    # -- checkpoints ---------------------------------------------------------------------------------------------------
    def signature(self) -> dict[str, Any]:
        """What must agree for a checkpoint to fit."""
        models = {p.name: p.model.fingerprint for p in self.net.populations.values()}
        return {
            "network": repr(self.net),
            "models": models,
            "parameters": len(self.net.theta),
            "learner": repr(self.learner),
            "task": self.task.name,
            "batch": self.batch,
            "tau": self.tau,
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        content = {
            "signature": self.signature(),
            "theta": self.net.theta,
            "sim": self.sim.snapshot(),
            "memory": self.memory,
            "optimizer": self.opt,
            "task": self.task.state(),
            "rows": self.history.rows,
            "seconds": self.seconds,
        }
        storage.save(path, content)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint, or raise ValueError if it belongs to another run."""
        saved = storage.load(path, self.net.wiring)
        mine, theirs = self.signature(), saved["signature"]
        if different := [f"{k}: {theirs.get(k)!r} there, {mine[k]!r} here" for k in mine if theirs.get(k) != mine[k]]:
            found = "; ".join(different)
            raise ValueError(f"the checkpoint {path} belongs to another run ({found}); remove it or use resume=False")
        self.net.theta = saved["theta"]
        self.sim.restore(saved["sim"])
        self.memory, self.opt, self.seconds = saved["memory"], saved["optimizer"], saved["seconds"]
        self.task.restore(saved["task"])
        self.history = History(saved["rows"])
