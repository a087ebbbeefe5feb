"""Online: one sample, one step, learn at every step; memory does not grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..learners.base import Learner, Signal
from ..losses.base import Loss
from ..optimizers import Optimizer
from ..simulation.run import simulator
from ..threads import one_pool, parallel_loops
from .gradients import descend, signal_of

if TYPE_CHECKING:
    from ..network.network import Network
    from ..tape import Tape


class Online:
    """A network that learns from a stream, sample by sample.

    Parameters
    ----------
    net : Network
        Its parameters are updated in place.
    learner, optimizer
        Any learner and optimizer.
    loss : callable(label) -> Loss
        For example ``losses.squared_error`` or ``losses.cross_entropy``; called with the label of one step.
    batch : int
        Parallel lanes; with more than one, x_t is (batch, channels), z_t (batch, outputs) and labels are (batch,) or
        (batch, outputs).

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

    def __init__(
        self, net: Network, learner: Learner, optimizer: Optimizer, loss: Callable[[Any], Loss], *, batch: int = 1
    ) -> None:
        self.net, self.learner, self.optimizer, self.loss, self.batch = net, learner, optimizer, loss, batch
        self._machine = simulator(net)
        self.state = self._machine.start(batch)
        with one_pool(), parallel_loops():
            self.memory = learner.init(net, batch)
        self._opt = optimizer.init(net.theta)
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
            If x_t has the wrong size or is not finite.
        """
        channels = self.net.wiring.n_channels
        x = np.asarray(x_t, self.net.dtype)
        if x.size != self.batch * channels:
            raise ValueError(f"x_t must have {channels} values for each of {self.batch} lane(s), got shape {x.shape}")
        if not np.isfinite(x).all():
            raise ValueError(f"x_t is not finite at step {self.steps}")
        with one_pool(), parallel_loops():
            self._learn_nothing()
            self._tape = self._machine.run(self.state, x.reshape(1, self.batch, channels))
        z = self._tape.z[0]
        return z[0].copy() if self.batch == 1 else z.copy()

    def learn_one(self, y_t: Any) -> float:
        """Learn from the label of the step last predicted; returns its loss.

        Raises
        ------
        RuntimeError
            If no step is waiting for its label.
        FloatingPointError
            If the gradient is not finite; the parameters stay as they were.
        """
        if self._tape is None:
            raise RuntimeError("learn_one needs a predict_one before it; each prediction can be learned from once")
        tape, self._tape = self._tape, None
        with one_pool(), parallel_loops():
            signal = signal_of(self.net, self.loss(self._label(y_t)), tape, 0, 1)
            gradient = self.learner.update(self.memory, tape, signal)
            descend(self.net, self.optimizer, self._opt, gradient)
        return signal.value

    def reset(self, lanes: np.ndarray | None = None) -> None:
        """Start new sequences in some lanes (bool (batch,)), default all: states, events in flight and influence."""
        with one_pool(), parallel_loops():
            self._learn_nothing()
        self.state.reset_lanes(lanes)

    def _learn_nothing(self) -> None:
        """A step that got no label still moves the influence."""
        if self._tape is not None:
            tape, self._tape = self._tape, None
            self.learner.update(self.memory, tape, Signal(0.0, np.zeros_like(tape.z)))

    def _label(self, y_t: Any) -> np.ndarray:
        y = np.asarray(y_t)
        if y.ndim and y.size == self.batch * self.net.wiring.n_outputs and y.dtype.kind == "f":
            return y.reshape(1, self.batch, -1)
        return y.reshape(1, self.batch)
