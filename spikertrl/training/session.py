"""One training run: a batch at a time, and what a checkpoint of it holds."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..constraints import Constraints, Given
from ..learners.base import Learner, Signal
from ..learners.carry import carry
from ..learners.certified import certificate_of
from ..losses.base import Loss
from ..optimizers import Optimizer
from ..simulation.divergence import SimulationDiverged, not_finite
from ..simulation.run import as_input, pieces, simulator
from ..storage import read, refusal
from ..tasks.base import Task
from . import checkpoint as storage
from . import rewiring
from .fingerprint import describe, of_network
from .gradients import descend, fault_of
from .history import History, wrong_with
from .team import Team

if TYPE_CHECKING:
    from ..network.network import Network
    from ..tape import Tape


CHANGEABLE = frozenset(
    {"optimizer", "task settings", "regularizer", "constraints", "surrogates", "fixed parameters", "initial values", "tau"}
)
"""Differences that a checkpoint can go on with, if it is said that they are meant."""


ADVICE = "lower the learning rate or clip the gradient"


class TrainingDiverged(FloatingPointError):
    """A state, loss, gradient or parameter is no longer finite; says when and where. ``history``: what was done before."""

    history: History


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
    constraints: Given | None = None
    rewire: rewiring.Given | None = None
    rewiring: rewiring.Rewiring | None = None  # the rules, ready for the network
    team: Team = field(default_factory=Team)  # who trains together
    machine: Any = None  # simulator of its own
    keep: Any = None  # the constraints, ready for the network
    lanes: slice = field(init=False)  # those that are simulated here
    sim: Any = None
    memory: Any = None
    watched: Any = None  # a state whose influence is brought up to date, see ``step``
    opt: Any = None
    history: History = field(default_factory=History)
    seconds: float = 0.0
    signature: dict[str, Any] = field(default_factory=dict)

    def begin(self) -> None:
        """Allocate the states, all at their start."""
        self.task.check_outputs({readout.name: readout.size for readout in self.net.readouts})
        self.team = self.learner.team() if hasattr(self.learner, "team") else self.team  # type: ignore[attr-defined]
        if self.rewire is not None:
            if hasattr(self.learner, "team"):
                raise ValueError(f"fit: rewire with {self.learner!r}; legal: a learner that is not over ranks")
            self.rewiring = rewiring.Rewiring("fit", self.net, self.rewire)
        self._get_ready()
        self.lanes = self.team.lanes(self.batch)
        mine = self.lanes.stop - self.lanes.start
        self.sim = self.machine.start(mine)
        self.memory = self.learner.init(self.net, mine)
        self.keep(self.net.theta)
        self.opt = self.optimizer.init(self.net.theta)
        self.signature = self._signature()
        self.team.check_alike(self.signature)

    def _get_ready(self) -> None:
        """Make what depends on where the parameters lie."""
        self.keep = Constraints(self.net, self.constraints)
        self.machine = simulator(self.net)

    def step(self, watch: bool = False) -> dict[str, float]:
        """One batch of the task: its row of the history.

        ``watch``: afterwards ``watched`` holds the influence at the end of the batch. Where a sequence ends, learners need not
        bring their own up to date, so a second state is advanced beside it, and training goes on as if nobody had looked.
        """
        began = time.perf_counter()
        sequence = self.task.kind == "sequence"
        beside = watch and sequence
        self.watched = self._watcher.init(self.net, self.sim.batch) if beside else self.memory if watch else None
        x, labels = self.task.batch(self.batch)
        x = as_input(self.net, x)
        if x.shape[1] != self.batch:
            raise ValueError(f"task {self.task.name} gave {x.shape[1]} lanes, fit asked for {self.batch}")
        self._check_labels(labels)
        loss = self.task.loss(labels)
        loss = loss if self.regularizer is None else loss + self.regularizer
        if sequence:
            self.sim.reset_lanes()
        value, fired, active = 0.0, 0, 0
        for part in pieces(len(x), self.tau):
            self._begin_lanes(part)
            with np.errstate(over="ignore", invalid="ignore"):  # looked for and said by name
                share, n_fired, n_active = self._piece(np.ascontiguousarray(x[part, self.lanes]), loss, part.start, len(x))
            value, fired, active = value + share, fired + n_fired, active + n_active
        self.task.observe(value)
        self.seconds += time.perf_counter() - began
        fired, active = self.team.totals(fired, active)
        unit_steps = x.shape[0] * x.shape[1] * self.net.wiring.n_units
        row = {
            "step": len(self.history) + 1,
            "loss": value,
            "seconds": self.seconds,
            "activity": fired / unit_steps,
            "gradient_activity": active / unit_steps,
        }
        if cost := self.team.cost(self.memory):
            row |= {"macs": cost.macs, "macs_dense": cost.macs_dense}
        if found := certificate_of(self.memory):
            row["certificate"] = found.relative
        return row

    def _check_labels(self, labels: Any) -> None:
        """Targets are numbers that the network's floats can hold."""
        labels = np.asarray(labels)
        if labels.dtype.kind != "f" or not labels.size:
            return
        largest, limit = float(np.nanmax(np.abs(labels), initial=0.0)), float(np.finfo(self.net.dtype).max)
        if largest > limit:
            found = f"a target of step {len(self.history) + 1} is {largest:g} in size"
            raise ValueError(f"task {self.task.name}: {found}; a {self.net.dtype} network holds numbers up to {limit:.3g}")

    def _begin_lanes(self, part: slice) -> None:
        """Put the lanes of a stream that begin anew back to the start; they may do so at the first step of a piece only."""
        fresh = getattr(self.task, "fresh", None)
        if fresh is None or not fresh[part].any():
            return
        if fresh[part][1:].any():
            raise ValueError(
                f"task {self.task.name}: a lane begins anew inside a piece of {part.stop - part.start} steps; use fit(tau=1)"
            )
        self.sim.reset_lanes(fresh[part.start, self.lanes])

    @property
    def _watcher(self) -> Learner:
        """The learner, without a route that was asked for: not every route brings the influence up to date."""
        inner = self.team.learner(self.learner)
        if not getattr(inner, "route", None):
            return self.learner
        free = replace(inner, route=None)  # type: ignore[type-var]
        return free if inner is self.learner else replace(self.learner, learner=free)  # type: ignore[type-var]

    def _piece(self, x: np.ndarray, loss: Loss, start: int, total: int) -> tuple[float, int, int]:
        """Simulate, learn and update on some steps; returns the loss share, events and gradient-active units."""
        tape = self.team.of_lanes(lambda: self._simulate(x, start))
        signal = self.team.signal(self.net, loss, tape, start, total, ends=self.task.kind == "sequence")
        found = self.team.gradient(self.learner, self.memory, tape, signal)
        gradient = self.net.wiring.gradient(tape.theta, found)
        if self.watched is not None and self.watched is not self.memory:
            self._watcher.update(self.watched, tape, Signal(0.0, np.zeros_like(tape.z)))
        self._check(signal.value, gradient)
        fired = int(np.count_nonzero(tape.units(self.net.wiring)))
        active = int(tape.active(self.net.wiring)[0].sum())
        before = self.net.theta.copy()
        descend(self.net, self.optimizer, self.opt, gradient, self.keep)
        if not np.isfinite(self.net.theta).all():
            try:
                self._check(signal.value, self.net.theta)
            finally:
                self.net.theta[...] = before
        if self.rewiring is not None:
            self._rewire(self.rewiring)
        return signal.value, fired, active

    def _rewire(self, rules: rewiring.Rewiring) -> None:
        rules.drift(self.net)
        if rules.due and (origin := rules.act(self.net)) is not None:
            same = self.watched is self.memory
            self.memory = carry(self.learner, self.memory, self.net, origin)
            if self.watched is not None:
                self.watched = self.memory if same else carry(self._watcher, self.watched, self.net, origin)
            self.opt = rewiring.moved(self.opt, origin)
            self._get_ready()
        self.keep(self.net.theta)

    def _simulate(self, x: np.ndarray, start: int) -> Tape:
        """A piece that begins at step ``start`` of the batch."""
        try:
            return self.machine.run(self.sim, x)
        except SimulationDiverged as error:
            when = "" if error.step is None else f" at step {start + error.step - self.sim.time} of the batch"
            raise TrainingDiverged(f"step {len(self.history) + 1}: {error.what}{when}; {ADVICE}") from error

    def _check(self, value: float, vector: np.ndarray) -> None:
        """Raise TrainingDiverged if a loss, gradient or parameter is not finite."""
        fault = fault_of(self.net, value, vector)
        if fault and (parameter := not_finite(self.net.wiring, self.net.theta)):
            fault = f"parameter {parameter} is not finite (loss {value:g})"
        if fault:
            raise TrainingDiverged(f"step {len(self.history) + 1}: {fault}; {ADVICE}")

    # -- checkpoints ---------------------------------------------------------------------------------------------------
    def _signature(self) -> dict[str, Any]:
        """What must agree for a checkpoint to fit, as texts and numbers; made before the first step."""
        return of_network(self.net) | {
            "learner": _named(self.team.learner(self.learner)),
            "optimizer": describe(self.optimizer),
            "task": self.task.name,
            "task settings": _settings(self.task),
            "regularizer": describe(self.regularizer),
            "constraints": describe(self.constraints),
            "rewire": describe(self.rewire),
            "batch": self.batch,
            "tau": self.tau,
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint; one that holds NaN or infinity is not written, and the old file stays.

        Raises
        ------
        TrainingDiverged
            Naming what is not finite.
        """
        self.team.together(self._check_states)
        now = _settings(self.task)
        settings = {k: v for k, v in self.signature["task settings"].items() if now.get(k) == v}  # what moves is no setting
        self.team.write(path, {"signature": self.signature | {"task settings": settings}} | self._content())

    def _check_states(self) -> None:
        kept = {f"state of the learner, {n}": v for n, v in _arrays_of(getattr(self.memory, "inner", self.memory)).items()}
        if fault := _not_finite({"sim": self.sim.states, "readouts": self.sim.z, "optimizer": self.opt} | kept):
            raise TrainingDiverged(f"after step {len(self.history)}: {fault} is not finite; {ADVICE}; this was not saved")

    def _content(self) -> dict[str, Any]:
        return {
            "theta": self.net.theta,
            "sim": self.sim.snapshot(),
            "memory": self.memory,
            "optimizer": self.opt,
            "task": self.task.state(),
            "rows": self.history.to_columns(),
            "seconds": self.seconds,
        } | ({} if self.rewiring is None else {"rewiring": self.rewiring.snapshot(self.net)})

    def load(self, path: Path, anyway: bool = False) -> None:
        """Go on from a checkpoint; ``anyway``: also where settings differ that it can go on with (``CHANGEABLE``).

        Raises
        ------
        CheckpointError
            If it belongs to another run, naming every difference with both values, or is damaged.
        """
        if self.rewiring is not None:
            self._take_masks(path, self.rewiring)
        like = {name: value for name, value in self._content().items() if name not in ("task", "rows", "seconds")}
        saved = self.team.read(path, self.net, like, lambda tree: self._compare(path, tree, anyway))
        if fault := _not_finite({name: saved[name] for name in ("theta", "optimizer")}):
            raise storage.CheckpointError(f"checkpoint {path}: its {fault} is not finite; remove it or use resume=False")
        if fault := _wrong_seconds(saved["seconds"]) or wrong_with(saved["rows"]):
            raise storage.CheckpointError(f"checkpoint {path}: {fault}; remove it or use resume=False")
        try:
            self.task.restore(saved["task"])
        except Exception as error:
            raise storage.CheckpointError(f"checkpoint {path}: task {self.task.name} cannot go on from it: {error}") from error
        if (lanes := getattr(self.task, "lanes", None)) not in (None, self.batch):
            raise storage.CheckpointError(f"checkpoint {path}: its task has {lanes!r} lanes, this run {self.batch}")
        with storage.storage.refusal(path, storage.CHECKPOINT):
            self.sim.restore(saved["sim"])
        self.net.theta = saved["theta"]
        self.memory, self.opt, self.seconds = saved["memory"], saved["optimizer"], saved["seconds"]
        self.history = History(saved["rows"]) if isinstance(saved["rows"], list) else History.from_columns(saved["rows"])

    def _take_masks(self, path: Path, rules: rewiring.Rewiring) -> None:
        """Give the network the masks of a checkpoint of this run; of another one it is refused later."""
        file = read(path, storage.CHECKPOINT)
        with refusal(path, storage.CHECKPOINT):
            theirs = file.decode(part="signature") if "rewiring" in file.names else {}
            same = all(theirs.get(name) == self.signature[name] for name in ("network", "parameters", "masks", "rewire"))
            saved = file.decode(part="rewiring") if same else None
        if saved is not None:
            rules.restore(self.net, saved)
            self._get_ready()
            self.memory = self.learner.init(self.net, self.batch)

    def _compare(self, path: Path, saved: dict[str, Any], anyway: bool) -> None:
        """Raise CheckpointError where the signatures differ; older files say less."""
        theirs, mine = saved["signature"], self.signature
        settings = theirs.get("task settings", {})
        mine = mine | {"task settings": {k: v for k, v in mine["task settings"].items() if k in settings}}
        different = [k for k in mine if k in theirs and theirs[k] != mine[k] and not (anyway and k in CHANGEABLE)]
        if different:
            found = "; ".join(_difference(k, theirs[k], mine[k]) for k in different)
            ways = "remove it or use resume=False"
            if set(different) <= CHANGEABLE:
                ways += ', or resume="anyway" to go on with the new settings'
            raise storage.CheckpointError(f"the checkpoint {path} belongs to another run ({found}); {ways}")
        if missing := sorted({"theta", "sim", "memory", "optimizer", "task", "rows", "seconds"} - set(saved)):
            raise storage.CheckpointError(f"checkpoint {path}: it lacks {', '.join(missing)}; remove it or use resume=False")
        there, here = set(saved["optimizer"]), set(self.opt)
        if there != here:
            text = f"its optimizer keeps {sorted(there)}, this one {sorted(here)}"
            found = f"the checkpoint {path} belongs to another run ({text})"
            raise storage.CheckpointError(f"{found}; remove it or use resume=False")


def _difference(name: str, there: Any, here: Any) -> str:
    """Both values, of a record only what differs."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = [k for k in dict.fromkeys((*there, *here)) if there.get(k) != here.get(k)]
        return "; ".join(f"{name}, {k}: {there.get(k)!r} there, {here.get(k)!r} here" for k in keys)
    return f"{name}: {there!r} there, {here!r} here"


def _named(learner: Learner) -> str:
    """What a learner calls itself; one that has only its address to say is called by its class and its plain settings."""
    if type(learner).__repr__ is not object.__repr__:
        return repr(learner)
    settings = {k: v for k, v in getattr(learner, "__dict__", {}).items() if isinstance(v, (bool, int, float, str))}
    return f"{type(learner).__qualname__}({', '.join(f'{k}={v!r}' for k, v in settings.items())})"


def _settings(task: Task) -> dict[str, Any]:
    """A task's own numbers, texts and data, without what its ``state`` holds."""
    changing = {"fresh", "lanes", *task.state()}
    kinds = (bool, int, float, str, np.generic, np.ndarray)
    given = {k: v for k, v in vars(task).items() if isinstance(v, kinds) and k not in changing}
    return {"n_in": task.n_in, "n_out": task.n_out} | {k: describe(v) for k, v in given.items()}


def _arrays_of(memory: Any) -> dict[str, Any]:
    """The arrays of a learner's state that have a meaning."""
    fields = vars(memory) if hasattr(memory, "__dict__") else {}
    return {k: v for k, v in fields.items() if k not in getattr(memory, "forgotten", ())}


def _wrong_seconds(seconds: Any) -> str:
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    return "" if number else f"its seconds are {seconds!r}, no number"


def _not_finite(parts: dict[str, Any]) -> str:
    """The name of the first array of floats that holds NaN or infinity; no memory is taken."""
    for name, part in parts.items():
        if isinstance(part, dict) and (fault := _not_finite({f"{name}[{k!r}]": v for k, v in part.items()})):
            return fault
        if isinstance(part, np.ndarray) and part.dtype.kind == "f" and part.size:
            if not (np.isfinite(part.min()) and np.isfinite(part.max())):
                return name
    return ""
