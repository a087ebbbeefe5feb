"""Online: one sample, one step, learn at every step; memory does not grow."""

from __future__ import annotations

import functools
import operator
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments, storage
from ..arguments import other_words, refuse, whole
from ..constraints import Constraints, Given
from ..learners.base import Learner, Signal, learner_of
from ..losses.base import Loss
from ..optimizers import RATE, Optimizer, optimizer_of
from ..simulation.divergence import finite
from ..simulation.run import simulator
from ..threads import one_pool
from . import saved
from .gradients import descend, fault_of, signal_of

if TYPE_CHECKING:
    from ..network.network import Network
    from ..tape import Tape


LossRule = Callable[..., Loss]
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

    A label is that of the step last predicted: one that comes later cannot be learned any more, since the sensitivities have
    moved on. Hold the input back until its label is known, or let the network answer late: give the label of step t - d as
    the target of step t.

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
        constraints: Given | None = None,
    ) -> None:  # fmt: skip
        self.net = arguments.network("Online", net)
        self.learner, self.optimizer = learner_of("Online", learner), optimizer_of("Online", optimizer)
        self.loss, self.batch = _checked_loss(net, loss), whole("Online", "batch", batch)
        self.constraints, self._keep = constraints, Constraints(net, constraints)
        self._machine = simulator(net)
        self.state = self._machine.start(batch)
        with one_pool():
            self.memory = self.learner.init(net, batch)
        self._keep(net.theta)
        self._opt = self.optimizer.init(net.theta)
        self._tape: Tape | None = None

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
            self._learn_nothing()
            self._tape = self._machine.run(self.state, x)
        z = self._tape.z[0]
        return z[0].copy() if self.batch == 1 else z.copy()

    def learn_one(self, y_t: Any) -> float:
        """Learn from the label of the step last predicted (a mapping if ``loss`` is one); returns its loss.

        Raises
        ------
        RuntimeError
            If no step is waiting for its label.
        ValueError
            If y_t is not (batch,) or (batch, outputs), or names a readout that ``loss`` does not.
        FloatingPointError
            If the loss or the gradient is not finite, naming the parameter; the parameters stay as they were.
        """
        if self._tape is None:
            raise RuntimeError("learn_one needs a predict_one before it; each prediction can be learned from once")
        loss = self._loss(y_t)
        tape, self._tape = self._tape, None
        with one_pool(), np.errstate(over="ignore", invalid="ignore"):  # looked for and said
            signal = signal_of(self.net, loss, tape, 0, 1)
            gradient = self.learner.update(self.memory, tape, signal)
            if fault := fault_of(self.net, signal.value, gradient):
                raise FloatingPointError(f"Online, step {tape.start}: {fault}; nothing was changed; lower the learning rate")
            descend(self.net, self.optimizer, self._opt, gradient, self._keep)
        return signal.value

    def reset(self, lanes: np.ndarray | None = None) -> None:
        """Start new sequences in some lanes (bool (batch,)), default all: states, events in flight and influence."""
        with one_pool():
            self._learn_nothing()
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
        return storage.save(path, tree | saved.settings(self) | self._carried() | {"tape": self._tape}, saved.SAVED)

    def _carried(self) -> dict[str, Any]:
        """What goes on from step to step."""
        return {"simulation": self.state.snapshot(), "memory": self.memory, "moments": self._opt}

    def _go_on(self, file: storage.Stored) -> Online:
        """Take everything that goes on from a file."""
        found = {name: saved.part_like(file, name, like, self.net.wiring) for name, like in self._carried().items()}
        if set(found["moments"]) != set(self._opt):
            text = f"its optimizer keeps {sorted(found['moments'])}, this one {sorted(self._opt)}"
            raise storage.CheckpointError(f"{file.kind.what} {file.path}: {text}; give the one that it was saved with")
        with storage.refusal(file.path, file.kind):
            self.state.restore(found["simulation"])
        self.memory, self._opt = found["memory"], found["moments"]
        self._tape = saved.part_like(file, "tape", None, self.net.wiring)
        return self

    def _learn_nothing(self) -> None:
        """A step that got no label still moves the influence."""
        if self._tape is not None:
            tape, self._tape = self._tape, None
            self.learner.update(self.memory, tape, Signal(0.0, np.zeros_like(tape.z)))

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
        y, lanes = np.asarray(y_t), self.batch
        if not y.size or y.ndim > 2 or (len(np.atleast_1d(y)) != lanes and not (lanes == 1 and y.ndim == 1)):
            raise ValueError(f"Online: y_t has shape {y.shape}; legal: ({lanes},) or ({lanes}, outputs)")
        each = y.reshape(1, lanes, -1)
        vectors = each.shape[2] > 1 or (y.ndim and y.dtype.kind == "f" and outputs == 1)
        return each if vectors else each[:, :, 0]


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
