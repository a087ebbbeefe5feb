"""Online: one sample, one step, learn at every step; memory does not grow."""

from __future__ import annotations

import copy
import functools
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments, storage
from ..arguments import other_words, refuse, whole
from ..constraints import Constraints, Given
from ..learners.base import Learner, Signal, learner_of
from ..learners.carry import carry, hand_over
from ..losses.base import Loss
from ..optimizers import RATE, Optimizer, optimizer_of
from ..simulation.divergence import finite
from ..simulation.run import simulator
from ..threads import one_pool
from . import rewiring, saved
from .gradients import descend, fault_of, signal_of
from .history import History

if TYPE_CHECKING:
    from ..network.network import Network
    from ..tape import Tape


LossRule = Callable[..., Loss]
KEPT = 1_000  # rows of ``Online.history`` at least
VERSION = 1  # of the trees that ``Online.save`` writes


class Online:
    """A network that learns from a stream, sample by sample.

    Parameters
    ----------
    net : Network
        Its parameters are updated in place.
    learner, optimizer
        Any learner and optimizer.
    loss : callable(label) -> Loss, or mapping readout -> callable(label, readout=name) -> Loss
        For example ``losses.squared_error`` or ``losses.cross_entropy``; called with the label of one step. With several
        readouts a mapping such as ``{"a": losses.squared_error, "b": losses.cross_entropy}``: labels are then mappings, too,
        and a readout without a label at a step is left out.
    constraints : mapping, optional
        Connection, population or readout -> what its weights keep to after every update, see ``spikertrl.constraints``.
    batch : int
        Parallel lanes; with more than one, x_t is (batch, channels), z_t (batch, outputs) and labels are (batch,) or
        (batch, outputs).
    horizon : int
        Labels may come up to so many steps late, see ``learn_one``. The sensitivities wait as long: so many steps are kept as
        they were, with the parameters that they were made with.
    rewire : rule of spikertrl.rewire, or several, optional
        Connections whose weak synapses die while others grow, between one step and the next. ``net.theta`` is another array
        then.
    metrics : mapping, optional
        Name -> callable (z_t, y_t) -> number, asked after every update; ``online.history`` holds the newest rows.
    callbacks : callables (net, history)
        Called after every update, as those of ``fit``; see ``spikertrl.callbacks``.

    A label is that of the step last predicted, or of one ``ago`` steps before it, within the horizon. Without a horizon a late
    label cannot be learned any more, since the sensitivities have moved on.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network().add_input("x", 1).add_population("h", srl.models.egru, 8).connect("x", "h").connect("h", "h")
    >>> net = net.add_readout("z", "h", 1).initialize(0)
    >>> online = srl.Online(net, srl.SnAp(order=1), srl.optimizers.adam(1e-2), loss=srl.losses.squared_error)
    >>> errors = []
    >>> for t in range(300):
    ...     z = online.predict_one([np.sin(t / 5)])
    ...     errors.append(online.learn_one([np.sin(t / 5 + 1)]))
    >>> bool(np.mean(errors[-50:]) < np.mean(errors[:50]))
    True
    """

    @other_words("Online", {"batch_size": "batch", "lanes": "batch"}, RATE | {"tau": "Online updates at every step"})
    def __init__(
        self, net: Network, learner: Learner, optimizer: Optimizer, loss: LossRule | Mapping[str, LossRule], *, batch: int = 1,
        constraints: Given | None = None, horizon: int = 0, rewire: rewiring.Given | None = None,
        metrics: Mapping[str, Callable[[Any, Any], float]] | None = None,
        callbacks: Iterable[Callable[[Network, History], None]] = (),
    ) -> None:  # fmt: skip
        self.net = arguments.network("Online", net)
        self.learner, self.optimizer = learner_of("Online", learner), optimizer_of("Online", optimizer)
        self.loss, self.batch = _checked_loss(net, loss), whole("Online", "batch", batch)
        self.constraints, self._keep = constraints, Constraints(net, constraints)
        self.horizon = whole("Online", "horizon", horizon, 0)
        if rewire is not None and self.horizon:
            raise refuse("Online", "horizon", horizon, "0 where connections are rewired: a step that waits needs its synapses")
        self.rewire = rewire
        self._rules = None if rewire is None else rewiring.Rewiring("Online", net, rewire)
        self._machine = simulator(net)
        self.state = self._machine.start(batch)
        with one_pool():
            self.memory = self.learner.init(net, batch)
        self._keep(net.theta)
        self._opt = self.optimizer.init(net.theta)
        self.metrics, self.callbacks = _functions("metrics", dict(metrics or {})), _functions("callbacks", list(callbacks))
        self.history = History()  # of what metrics and callbacks asked for
        self._due = False  # connections are to be rewired before the next step
        self._newest: Tape | None = None  # its arrays are the machine's, until the next step
        self._waiting: list[Tape] = []  # steps whose labels may still come, oldest first; the influence stands before them

    def __getstate__(self) -> dict[str, Any]:
        """Of a copy (``copy.deepcopy``, pickle), which goes on bit by bit as this one would, with a network of its own."""
        return self.__dict__ | {"_machine": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._machine = simulator(self.net)

    @property
    def steps(self) -> int:
        """Steps simulated so far."""
        return self.state.time

    def predict_one(self, x_t: Any) -> np.ndarray:
        """Advance one step with input x_t (channels,) or (batch, channels); returns z_t, (outputs,) or (batch, outputs).

        Raises
        ------
        ValueError
            If x_t has the wrong shape or is not finite.
        SimulationDiverged
            If a state, message or readout stops being finite; ``reset()`` begins anew.
        """
        x = self._input(x_t)
        with one_pool():
            self._pass_over(len(self._waiting) - self.horizon)
            if self._due and self._rules is not None:
                self._act(self._rules)
            self._waiting = [tape if tape is not self._newest else tape.copy() for tape in self._waiting]
            self._newest = self._machine.run(self.state, x)
        self._waiting.append(self._newest)
        z = self._newest.z[0]
        return z[0].copy() if self.batch == 1 else z.copy()

    def peek(self, x_t: Any) -> np.ndarray:
        """What ``predict_one`` would return, without taking the step."""
        x = self._input(x_t)
        with one_pool():
            z = self._machine.run(self.state.copy(), x, linearise=False).z[0]
        return z[0].copy() if self.batch == 1 else z.copy()

    def learn_one(self, y_t: Any, *, ago: int = 0) -> float:
        """Learn from the label of the step last predicted (a mapping if ``loss`` is one); returns its loss.

        Parameters
        ----------
        y_t : array_like
            (batch,) or (batch, outputs).
        ago : int
            The label is of the step so many steps before the last one, at most ``horizon``. Its gradient is that of then: of
            what was said then, with the parameters of then; it moves the parameters of now. Steps before it are passed over:
            labels come in the order of their steps.

        Raises
        ------
        RuntimeError
            If that step does not wait for its label: it was learned from or passed over, or nothing was predicted yet.
        ValueError
            If y_t is not (batch,) or (batch, outputs), names a readout that ``loss`` does not, or ago is beyond the horizon.
        FloatingPointError
            If the loss or the gradient is not finite, naming the parameter; the parameters stay as they were.
        """
        before = self._place("learn_one", ago)
        loss = self._loss(y_t)
        with one_pool(), np.errstate(over="ignore", invalid="ignore"):  # looked for and said
            tape = self._take(before)
            signal = signal_of(self.net, loss, tape, 0, 1)
            gradient = self._gradient(self.memory, tape, signal)
            self._check(tape.start, signal.value, gradient)
            self._descend(gradient)
        if self.metrics or self.callbacks:
            self._tell(tape, y_t, signal.value)
        return signal.value

    def gradient_one(self, dz: Any, *, ago: int = 0) -> np.ndarray:
        """The gradient of a direction of the outputs of the step last predicted, d(sum of dz * z_t)/dtheta; nothing is learned.

        For rules that need a gradient before they know what it is worth, as temporal differences do: keep it, or a trace of
        it, and give ``apply`` what is to be descended. As ``learn_one`` it can be asked once for a step.

        Parameters
        ----------
        dz : array_like
            (outputs,), or (batch, outputs) with several lanes, whose gradients are added up; or several directions at once,
            one more axis in front. Every direction beyond the first costs a copy of the learner's memory and an update of it.
        ago : int
            As in ``learn_one``.

        Returns
        -------
        ndarray
            Flat, like ``net.theta``; of several directions (directions, parameters).

        Raises
        ------
        RuntimeError, FloatingPointError
            As in ``learn_one``.
        ValueError
            If dz has another shape, or ago is beyond the horizon.

        Examples
        --------
        >>> import numpy as np, spikertrl as srl
        >>> net = srl.Network().add_input("x", 1).add_population("h", srl.models.egru, 8).connect("x", "h")
        >>> net = net.connect("h", "h").add_readout("z", "h", 2).initialize(0)
        >>> online = srl.Online(net, srl.SnAp(1), srl.optimizers.sgd(0.1), loss=srl.losses.squared_error)
        >>> z = online.predict_one([1.0])
        >>> value, policy = online.gradient_one([[1, 0], [0, 1]])       # dz_0/dtheta and dz_1/dtheta
        >>> online.apply(-value)                                        # descends -value: z_0 grows
        >>> online.reset()
        >>> bool(online.predict_one([1.0])[0] > z[0])
        True
        """
        before = self._place("gradient_one", ago)
        given = arguments.numbers("Online", "dz", dz)
        full = (self.batch, self.net.wiring.n_outputs)
        one = full[1:] if self.batch == 1 else full
        if given.shape not in (one, full) and (given.shape[1:] not in (one, full) or not len(given)):
            raise ValueError(f"Online: dz has shape {given.shape}; legal: {one}, or several of them along a first axis")
        directions = given.astype(self.net.dtype).reshape(-1, 1, *full)
        several = given.shape not in (one, full)
        with one_pool(), np.errstate(over="ignore", invalid="ignore"):
            tape = self._take(before)
            memories = [copy.deepcopy(self.memory) for _ in directions[1:]] + [self.memory]
            found = [
                self._gradient(memory, tape, Signal(0.0, direction))
                for memory, direction in zip(memories, directions, strict=True)
            ]
            for gradient in found:
                self._check(tape.start, 0.0, gradient)
        return np.stack(found) if several else found[0]

    def apply(self, gradient: Any) -> None:
        """One step of the optimizer down a flat gradient, which may be of any step, or a sum of several; then the constraints.

        Raises
        ------
        ValueError
            If it is not of the length of ``net.theta``.
        FloatingPointError
            If it is not finite, naming the parameter; the parameters stay as they were.
        """
        given = arguments.numbers("Online", "gradient", gradient)
        if given.shape != self.net.theta.shape:
            raise ValueError(f"Online: gradient has shape {given.shape}; legal: {self.net.theta.shape}, flat like net.theta")
        with np.errstate(over="ignore", invalid="ignore"):
            given = given.astype(self.net.dtype, copy=False)
            self._check(self.steps, 0.0, given)
            self._descend(given)

    def change_learner(self, learner: Learner) -> None:
        """Go on with a learner that keeps more than the present one; what both keep is carried over, the rest begins at zero.

        Parameters
        ----------
        learner : SnAp of a higher order, or RTRL, after SnAp; RandomPaths with more paths after RandomPaths
            Or both in ``Certified`` with the same directions and seed, so that the certificate goes on, too: what is missing of
            the past counts as lost, until the network has forgotten it.

        Raises
        ------
        ValueError
            For any other learner; the present one stays.

        Examples
        --------
        An order that rises when the certificate says that too much may be lost:

        >>> import numpy as np, spikertrl as srl
        >>> net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 16, theta=0.1)
        >>> net = net.connect("x", "h").connect("h", "h", density=0.25, seed=2).add_readout("z", "h", 1).initialize(0)
        >>> rng, order, raised = np.random.default_rng(0), 1, 0
        >>> online = srl.Online(net, srl.Certified(srl.SnAp(order)), srl.optimizers.sgd(1e-3), loss=srl.losses.squared_error)
        >>> for t, x in enumerate(rng.normal(size=(100, 2))):
        ...     z, error = online.predict_one(x), online.learn_one([x.sum()])
        ...     if online.memory.certificate.relative > 0.5 and order < 3 and t - raised > 20:  # give it time to forget
        ...         order, raised = order + 1, t
        ...         online.change_learner(srl.Certified(srl.SnAp(order)))
        >>> order > 1, online.memory.certificate.relative < 0.5
        (True, True)
        """
        learner = learner_of("Online", learner)
        with one_pool():
            self.memory = hand_over(learner, self.memory, self.net)
        self.learner = learner

    def reset(self, lanes: np.ndarray | None = None) -> None:
        """Start new sequences in some lanes (bool (batch,)), default all: states, events in flight and influence.

        Labels of steps before it cannot be learned any more.
        """
        with one_pool():
            self._pass_over(len(self._waiting))
        self.state.reset_lanes(lanes)

    def save(self, path: str | os.PathLike[str], *, functions: str = "refuse") -> Path:
        """Write everything to one file: network, learner and its state, optimizer, where the stream is. ``srl.load`` reads it.

        What is read goes on bit by bit as this one would. A learner, an optimizer or a loss of your own is code and is not in
        the file: give it to ``load``.

        Parameters
        ----------
        path : path
            Written whole or not at all.
        functions : {"refuse", "values"}
            As in ``Network.save``.

        Raises
        ------
        NetworkError, OSError
            As in ``Network.save``.
        TypeError
            If the state of a learner of your own holds something that cannot be stored.

        Examples
        --------
        >>> import os, tempfile, spikertrl as srl
        >>> net = srl.Network().add_input("x", 1).add_population("h", srl.models.egru, 4).connect("x", "h")
        >>> net = net.add_readout("z", "h", 1).initialize(0)
        >>> online = srl.Online(net, srl.SnAp(1), srl.optimizers.sgd(0.1), loss=srl.losses.squared_error)
        >>> for x in (0.1, 0.2, 0.3):
        ...     z, error = online.predict_one([x]), online.learn_one([1.0])
        >>> again = srl.load(online.save(os.path.join(tempfile.mkdtemp(), "online.npz")))
        >>> again.steps, bool((again.predict_one([0.4]) == online.predict_one([0.4])).all())
        (3, True)
        """
        tree = {"saved": "online", "version": VERSION, "network": self.net.tree(functions), "batch": self.batch}
        tree["horizon"] = self.horizon
        return storage.save(path, tree | saved.settings(self) | self._carried() | {"waiting": self._waiting}, saved.SAVED)

    def _carried(self) -> dict[str, Any]:
        """What goes on from step to step."""
        found = {"simulation": self.state.snapshot(), "memory": self.memory, "moments": self._opt}
        return found if self._rules is None else found | {"rewiring": self._rules.snapshot(self.net) | {"due": self._due}}

    def _go_on(self, file: storage.Stored) -> Online:
        """Take everything that goes on from a file."""
        found = {name: saved.part_like(file, name, like, self.net.wiring) for name, like in self._carried().items()}
        if set(found["moments"]) != set(self._opt):
            text = f"its optimizer keeps {sorted(found['moments'])}, this one {sorted(self._opt)}"
            raise storage.CheckpointError(f"{file.kind.what} {file.path}: {text}; give the one that it was saved with")
        with storage.refusal(file.path, file.kind):
            self.state.restore(found["simulation"])
        self.memory, self._opt = found["memory"], found["moments"]
        if self._rules is not None:
            self._rules.go_on(found["rewiring"])
            self._due = bool(found["rewiring"]["due"])
        if "waiting" in file.names:
            self._waiting = saved.part_like(file, "waiting", None, self.net.wiring)
        else:  # a file from before labels could be late
            tape = saved.part_like(file, "tape", None, self.net.wiring)
            self._waiting = [] if tape is None else [tape]
        return self

    def _tell(self, tape: Tape, y_t: Any, value: float) -> None:
        """One more row of the history, to all who asked."""
        z, rows = tape.z[0] if self.batch > 1 else tape.z[0, 0], self.history.rows
        scores = {name: float(metric(z.copy(), y_t)) for name, metric in self.metrics.items()}
        rows.append({"step": tape.start + 1, "loss": value} | scores)
        if len(rows) > 2 * KEPT:
            del rows[:-KEPT]
        for callback in self.callbacks:
            callback(self.net, self.history)

    def _place(self, where: str, ago: Any) -> int:
        """How many waiting steps lie before the one ``ago`` steps before the last."""
        ago = whole("Online", "ago", ago, 0, self.horizon)
        for place, tape in enumerate(self._waiting):
            if tape.start == self.steps - 1 - ago:
                return place
        raise RuntimeError(f"{where} needs a predict_one before it; each prediction can be learned from once, in their order")

    def _gradient(self, memory: Any, tape: Tape, signal: Signal) -> np.ndarray:
        """What the learner finds, like ``net.theta``."""
        return self.net.wiring.gradient(tape.theta, self.learner.update(memory, tape, signal))

    def _take(self, before: int) -> Tape:
        """Pass over so many waiting steps; the next one."""
        self._pass_over(before)
        return self._waiting.pop(0)

    def _pass_over(self, count: int) -> None:
        """Steps that got no label still move the influence."""
        for _ in range(count):
            tape = self._waiting.pop(0)
            self.learner.update(self.memory, tape, Signal(0.0, np.zeros_like(tape.z)))

    def _descend(self, gradient: np.ndarray) -> None:
        """Move the parameters; a step that still waits keeps those that it was made with."""
        if self._waiting:
            newest = self._waiting[-1]
            newest.theta = newest.theta.copy()
        descend(self.net, self.optimizer, self._opt, gradient, self._keep)
        if self._rules is not None:
            self._rules.drift(self.net)
            self._keep(self.net.theta)
            self._due = self._rules.due

    def _act(self, rules: rewiring.Rewiring) -> None:
        """Rewire; everything that lies along theta follows."""
        origin, self._due = rules.act(self.net), False
        if origin is not None:
            self.memory = carry(self.learner, self.memory, self.net, origin)
            self._opt = rewiring.moved(self._opt, origin)
            self._machine, self._keep = simulator(self.net), Constraints(self.net, self.constraints)
            self._keep(self.net.theta)

    def _check(self, step: int, value: float, gradient: np.ndarray) -> None:
        if fault := fault_of(self.net, value, gradient):
            raise FloatingPointError(f"Online, step {step}: {fault}; nothing was changed; lower the learning rate")

    def _input(self, x_t: Any) -> np.ndarray:
        """x_t as (1, batch, channels)."""
        channels = self.net.wiring.n_channels
        given = arguments.numbers("Online", "x_t", x_t)
        full = (self.batch, channels)
        if given.shape != full and not (1 in full and given.ndim < 2 and given.size == self.batch * channels):
            raise ValueError(
                f"x_t must have {channels} values for each of {self.batch} lane(s), got shape {given.shape}; legal: {full}"
            )
        with np.errstate(over="ignore"):
            x = given.astype(self.net.dtype).reshape(1, self.batch, channels)
        if not finite(x):
            raise ValueError(f"x_t is not finite at step {self.steps}")
        return x

    def _loss(self, y_t: Any) -> Loss:
        """The loss of one step, of all readouts that have a label."""
        if not isinstance(self.loss, Mapping):
            return arguments.loss("Online", self.loss(self._label(y_t, self.net.wiring.n_outputs)))
        if not isinstance(y_t, Mapping) or not y_t or set(y_t) - set(self.loss):
            raise refuse("Online", "the label", y_t, f"a mapping with some of the readouts {sorted(self.loss)}")
        sizes = {readout.name: readout.size for readout in self.net.readouts}
        parts = [rule(self._label(y_t[name], sizes[name]), readout=name) for name, rule in self.loss.items() if name in y_t]
        return functools.reduce(operator.add, [arguments.loss("Online", part) for part in parts])

    def _label(self, y_t: Any, outputs: int) -> np.ndarray:
        """y_t as (1, batch), or (1, batch, outputs)."""
        y, lanes = arguments.array(y_t), self.batch
        if not y.size or y.ndim > 2 or (len(np.atleast_1d(y)) != lanes and not (lanes == 1 and y.ndim == 1)):
            raise ValueError(f"Online: y_t has shape {y.shape}; legal: ({lanes},) or ({lanes}, outputs)")
        each = y.reshape(1, lanes, -1)
        vectors = each.shape[2] > 1 or (y.ndim and y.dtype.kind == "f" and outputs == 1)
        return each if vectors else each[:, :, 0]


def _functions(what: str, given: Any) -> Any:
    """``given``, a list or dict, if all in it can be called."""
    for one in given.values() if isinstance(given, dict) else given:
        if not callable(one):
            raise refuse(
                "Online", what, one, "a function (z_t, y_t) -> number" if what == "metrics" else "a function (net, history)"
            )
    return given


def _checked_loss(net: Network, loss: Any) -> Any:
    """``loss`` of ``Online``, or a ValueError."""
    names = [readout.name for readout in net.readouts]
    if isinstance(loss, Mapping):
        if not loss or set(loss) - set(names) or not all(callable(rule) for rule in loss.values()):
            raise refuse("Online", "loss", loss, f"functions (label, readout=name) -> Loss for some of the readouts {names}")
        return dict(loss)
    if not callable(loss):
        raise refuse("Online", "loss", loss, "a function label -> Loss, such as srl.losses.squared_error, or one each readout")
    return loss
