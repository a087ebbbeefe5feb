"""fit: train a network on a task with any learner; progress bar, validation, early stop, checkpoints and exact resume."""

from __future__ import annotations

import logging
import os
import signal as signals
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from .. import arguments
from ..arguments import having, other_words, refuse
from ..constraints import Given
from ..cost import zeros
from ..learners.base import Learner, learner_of, routes_of
from ..losses.base import Loss
from ..optimizers import RATE, Optimizer, optimizer_of
from ..simulation.recording import Record
from ..simulation.run import as_input, simulate
from ..tasks.base import Task
from ..threads import one_pool
from .checkpoint import CheckpointError
from .history import History
from .rewiring import Given as Rewire
from .session import Session, TrainingDiverged

if TYPE_CHECKING:
    from ..network.network import Network

__all__ = ["CheckpointError", "Interrupted", "TrainingDiverged", "evaluate", "fit"]

LANES = 256  # lanes evaluated at a time
logger = logging.getLogger("spikertrl")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during ``fit``: the step was finished and the checkpoint written first. ``history`` holds what was done."""

    def __init__(self, history: History, path: Path | None) -> None:
        where = f"; the run continues from {path} when started again" if path else "; no checkpoint= was given"
        super().__init__(f"stopped after step {len(history)}{where}")
        self.history = history


_SAME = {"batch_size": "batch", "n_steps": "steps", "iterations": "steps", "num_steps": "steps", "verbose": "progress"}
_INSTEAD = RATE | {
    "epochs": "give steps=, the number of batches to train on (epochs times samples over batch)",
    "n_epochs": "give steps=, the number of batches to train on (epochs times samples over batch)",
    "validation_data": "the task holds data out, srl.tasks.arrays(x, labels, valid=...); score them with validate_every=",
    "validation_split": "the task holds data out, srl.tasks.arrays(x, labels, valid=0.2); score them with validate_every=",
    "loss": "the loss belongs to the task, task.loss(labels); add another one with regularizer=",
    "seed": "the seed belongs to the task and to net.initialize",
    "metrics": "the task's score is reported, see validate_every=; add more with callbacks=",
}


@other_words("fit", _SAME, _INSTEAD)
def fit(net: Network, task: Task, learner: Learner, optimizer: Optimizer, *, steps: int, batch: int = 32,
        tau: int | None = None, regularizer: Loss | None = None, constraints: Given | None = None,
        rewire: Rewire | None = None, validate_every: int | None = None, zeros_every: int | None = None,
        stop: Callable[[History], bool] | None = None, callbacks: Iterable[Callable[[Network, History], None]] = (),
        checkpoint: str | Path | None = None, checkpoint_every: int = 100, resume: bool | str = True,
        progress: bool = True) -> History:  # fmt: skip
    """Train ``net`` in place.

    Parameters
    ----------
    net : Network
        Its parameters (``net.theta``) are updated.
    task : Task
        Sequence tasks start every batch from the initial state; stream tasks go on where they were.
    learner, optimizer
        Any learner of ``spikertrl.learners`` (or your own), any optimizer.
    steps : int
        Batches to train on, in all (a resumed run does the rest).
    batch : int
        Lanes.
    tau : int, optional
        Update every ``tau`` steps; default once per batch.
    regularizer : Loss, optional
        Added to the task's loss, for example ``losses.activity("h", 0.05, 0.01)``.
    constraints : mapping, optional
        Connection, population or readout -> what its weights keep to after every update, see ``spikertrl.constraints``.
    rewire : rule of spikertrl.rewire, or several, optional
        Connections whose weak synapses die while others grow; see ``spikertrl.rewire``.
    validate_every, zeros_every : int, optional
        Every so many steps, score ``task.valid`` (columns ``valid_...``) or look at the zeros of the influence at the end
        of the batch (columns ``zeros...``); training goes on as if nobody had looked. Needs a learner that holds an influence,
        RTRL or SnAp for example.
    stop : callable(history) -> bool, optional
        Asked after every step; see ``history.early_stop``.
    callbacks : callables (net, history)
        Called after every step.
    checkpoint : path, optional
        File written every ``checkpoint_every`` steps, at the end and at Ctrl-C; if it exists and ``resume``, training goes on
        from it and ends bit by bit where the uninterrupted run would have. A state that is not finite is never written.
    resume : bool or "anyway"
        True: go on from the checkpoint if it is of this very run. "anyway": also with another optimizer rate, regularizer, tau,
        pseudo-derivative or fixed parameter. False: start anew and write over it.
    progress : bool
        Show a bar with loss, validation and activity.

    Returns
    -------
    History
        One row per step: step, loss, seconds, activity, gradient_activity, macs, macs_dense, and what was asked for.

    Raises
    ------
    TrainingDiverged
        At the first state, loss, gradient or parameter that is not finite; names the step and the place. The
        parameters are those before it.
    Interrupted
        A KeyboardInterrupt, after the step was finished and the checkpoint written.
    CheckpointError
        If the checkpoint is damaged or belongs to another run; every difference is named.
    ValueError
        If an argument is out of range, or sizes do not fit.

    Whatever ends the run early (a callback that raises, a full disk) carries the training done so far in ``error.history``.

    Examples
    --------
    >>> import spikertrl as srl
    >>> net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 16, theta=0.05)
    >>> net = net.connect("x", "h").connect("h", "h").add_readout("z", "h", 2).initialize(0)
    >>> history = fit(net, srl.tasks.spiral(0), srl.RTRL(), srl.optimizers.adam(1e-2), steps=120, progress=False)
    >>> bool(history["loss"][-10:].mean() < 0.5 * history["loss"][:10].mean())
    True
    """
    _check_arguments(steps, batch, tau, resume, validate_every=validate_every, zeros_every=zeros_every,
                     checkpoint_every=checkpoint_every)  # fmt: skip
    _check_kinds(net, task, regularizer, stop)
    learner, optimizer = learner_of("fit" if rewire is None else "fit(rewire=)", learner, batch), optimizer_of("fit", optimizer)
    session = Session(net, task, learner, optimizer, batch, tau, regularizer, constraints, rewire)
    if not isinstance(checkpoint, str | os.PathLike | None):
        raise refuse("fit", "checkpoint", checkpoint, "the path of a file, or None")
    path = Path(checkpoint) if checkpoint else None
    callbacks = [_callable("callbacks", one) for one in callbacks]  # an iterator would be used up after one step
    session.begin()
    team = session.team
    if validate_every:
        _ = task.valid  # refused now, and not after many steps, if the task holds nothing out
    if zeros_every and not hasattr(session.memory, "influence"):
        raise refuse("fit", "zeros_every", zeros_every, f"None for {learner!r}, which holds no influence matrix")
    if path and team.by_first(lambda: _prepared(path)) and resume:
        session.load(path, anyway=resume == "anyway")
        if len(session.history) >= steps:
            logger.warning("%s holds %d steps already, of steps=%d nothing is left to do", path, len(session.history), steps)
    history = session.history
    bar, resumed_at = _bar(steps, len(history), progress and team.first), len(history)
    with bar, one_pool(), _finish_step_first() as interrupted, _keep_history(session):
        while len(history) < steps:
            watch = bool(zeros_every) and (len(history) + 1) % zeros_every == 0
            history.rows.append(session.step(watch))
            done = len(history)
            history.routes = routes_of(session.memory)
            finished, error = False, None
            try:
                if validate_every and (done % validate_every == 0 or done == steps):
                    history.rows[-1] |= {f"valid_{k}": v for k, v in evaluate(net, task, *task.valid).items()}
                if watch:
                    history.rows[-1] |= _zeros_row(net, session.watched)
                    session.watched = None
                for callback in callbacks:
                    callback(net, history)
                finished = team.first and stop is not None and stop(history)
            except BaseException as raised:
                error = raised
            else:
                _count(bar, history, first=done == resumed_at + 1)
            # asked once: what comes later waits for the end of the next step
            halt, finished, failed = team.agree(interrupted(), finished, error is not None)
            if failed:
                _save_all_the_same(session, path, error)
            if path and (done % checkpoint_every == 0 or done == steps or finished or halt):
                session.save(path)
            if halt:
                raise Interrupted(history, path)
            if finished:
                break
        if team.agree(interrupted())[0]:  # while the last checkpoint was written
            raise Interrupted(history, path)
    return history


def _prepared(path: Path) -> bool:
    """Make the folder of a checkpoint; is there one already?"""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise CheckpointError(f"checkpoint {path}: it is a folder; give the path of a file")
    return path.exists()


def _check_arguments(steps: int, batch: int, tau: int | None, resume: bool | str, **every: int | None) -> None:
    """Raise ValueError for what is out of range."""
    rows = [("steps", steps, 0), ("batch", batch, 1), ("tau", tau, 1), *((n, v, 1) for n, v in every.items())]
    for name, value, least in rows:
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        optional = name not in ("steps", "batch", "checkpoint_every")
        if not (value is None and optional) and (not whole or value < least):  # type: ignore[operator]
            raise ValueError(f"fit: {name} is {value!r}; legal: a whole number >= {least}" + ", or None" * optional)
    if resume not in (True, False, "anyway"):
        raise ValueError(f'fit: resume is {resume!r}; legal: True, False, or "anyway" (go on although settings differ)')


def _check_kinds(net: Any, task: Any, regularizer: Any, stop: Any) -> None:
    """Raise ValueError for what is of another kind."""
    arguments.network("fit", net)
    arguments.task("fit", task)
    if regularizer is not None:
        having("fit", "regularizer", regularizer, ("signal",), "a loss, such as losses.activity('h', 0.05, 0.01), or None")
    if stop is not None:
        _callable("stop", stop)


def _callable(what: str, value: Any) -> Any:
    if not callable(value):
        raise refuse("fit", what, value, "callables")
    return value


def _save_all_the_same(session: Session, path: Path | None, error: BaseException | None) -> None:
    """A finished step is saved, whatever validation, callbacks or the stop rule raise after it, here or on another rank."""
    error = error or RuntimeError("fit: another rank failed after this step; its own message says why")
    try:
        if path:
            session.save(path)
    except Exception as second:
        error.add_note(f"the checkpoint could not be written either: {second}")
    raise error


@contextmanager
def _keep_history(session: Session):
    """Whatever ends training carries the history of what was done."""
    try:
        yield
    except BaseException as error:
        error.history = session.history  # type: ignore[attr-defined]
        if not isinstance(error, Interrupted):
            error.add_note(f"{len(session.history)} steps were done: see error.history; the network holds what they learned")
        raise


def evaluate(net: Network, task: Task, x: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The task's metrics on given data, without learning; from the start state."""
    arguments.network("evaluate", net)
    arguments.task("evaluate", task)
    task.check_outputs({readout.name: readout.size for readout in net.readouts})
    x = as_input(net, x)
    quiet = Record(states=False, messages=False, events=False)
    lanes = [slice(i, i + LANES) for i in range(0, x.shape[1], LANES)]
    z = np.concatenate([simulate(net, x[:, part], record=quiet).z for part in lanes], axis=1)
    return {name: float(value) for name, value in task.score(z, labels).items()}


def _zeros_row(net: Network, memory: Any) -> dict[str, float]:
    found = zeros(net, memory)
    return {"zeros": found.all, "zeros_mask": found.mask, "zeros_columns": found.columns, "zeros_rows": found.rows}


def _bar(steps: int, done: int, progress: bool) -> Any:
    return tqdm(total=steps, initial=done, disable=not progress, unit="step", dynamic_ncols=True)


def _count(bar: Any, history: History, first: bool) -> None:
    """Count a step; the first one, in which much is compiled, without its time: it says nothing about those to come."""
    if bar.disable:
        return
    if first or bar.n + 1 == bar.total or time.time() - bar.last_print_t >= bar.mininterval:  # it will be drawn
        bar.set_postfix(_postfix(history), refresh=False)
    if not first:
        bar.update()
        return
    bar.n += 1
    bar.initial = bar.last_print_n = bar.n
    bar.refresh()
    bar.unpause()


def _postfix(history: History) -> dict[str, str]:
    row = history.rows[-1]
    shown = {"loss": f"{np.mean([r['loss'] for r in history.rows[-20:]]):.4g}", "active": f"{row['activity']:.0%}"}
    for back in reversed(history.rows[-1000:]):
        if metrics := {k: f"{v:.4g}" for k, v in back.items() if k.startswith("valid_")}:
            return shown | metrics
    return shown


@contextmanager
def _finish_step_first():
    """Let a first Ctrl-C wait for the end of the step; a second one acts at once. Yields a function: was there one?"""
    seen: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signals.getsignal(signals.SIGINT)

    def handler(number, frame) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(True)

    signals.signal(signals.SIGINT, handler)
    try:
        yield lambda: bool(seen)
    finally:
        signals.signal(signals.SIGINT, before)
