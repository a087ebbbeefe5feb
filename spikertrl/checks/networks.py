"""What the laws of ``checks`` run on, networks that live, and how differences are measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compile.cell import compile_model
from ..learners import BPTT
from ..learners.base import Learner
from ..losses.activity import activity
from ..losses.base import Loss
from ..losses.readout import cross_entropy, squared_error
from ..model import Model
from ..network.network import Network
from ..network.wiring import Wiring
from ..simulation.recording import Record
from ..simulation.run import simulate, simulator
from ..training.gradients import gradient, signal_of

EXACT = {"float64": 1e-10, "float32": 1e-4}  # relative difference allowed between two exact learners
UNITS, CHANNELS, LANES = 6, 3, 2
STEPS, LONG = 24, 120  # a usual run, and one for units that are slow, or hard to catch near their threshold
WANTED, LOWEST, HIGHEST = 0.15, 0.02, 0.8  # share of units that send an event: best, and the limits of a living network


# -- networks ----------------------------------------------------------------------------------------------------------
@dataclass
class LivingNetwork:
    """A network with masks, delays and two readouts, an input (T, B, channels) that makes it speak, and labels for a loss."""

    net: Network
    x: np.ndarray
    targets: np.ndarray  # (T, B, 2) for readout "a", at every step
    labels: np.ndarray  # (T, B) for readout "b", in the second half
    seed: int = 0
    coupled: bool = True  # the loss has a penalty on the activity of all lanes together

    @property
    def loss(self) -> Loss:
        """A loss at every step, at a mask of steps, and on the activity of all lanes together."""
        late = np.arange(len(self.x)) >= len(self.x) // 2
        loss = squared_error(self.targets, readout="a") + cross_entropy(self.labels, at=late, readout="b")
        return loss + 0.3 * activity("h", 0.3) if self.coupled else loss

    @property
    def share(self) -> float:
        """Share of units that send an event, mean over steps and lanes."""
        return simulate(self.net, self.x, record=Record(states=False)).activity

    def cut(self, steps: int | None = None, lanes: slice = slice(None)) -> LivingNetwork:
        """The first steps of some lanes; lanes alone have no penalty together."""
        part = slice(steps), lanes
        return LivingNetwork(self.net, self.x[part], self.targets[part], self.labels[part], self.seed, lanes == slice(None))

    def in_float32(self) -> LivingNetwork:
        """The same network and parameters in float32."""
        net = _network(self.net.populations["h"].model, "float32", self.seed)
        net.theta[...] = self.net.theta
        return LivingNetwork(net, self.x, self.targets, self.labels, self.seed)


def living_network(model: Model, dtype: str = "float64", *, seed: int = 0, gain: float | None = None) -> LivingNetwork:
    """A living network of one model: all weights are scaled by ``gain``, searched for when not given.

    The search wants events now and then, and a pseudo-derivative that is not zero everywhere; it looks at short runs first.

    Raises
    ------
    ValueError
        If no scale of the weights makes the units send events now and then.
    """
    if gain is not None or not compile_model(model, dtype).spiking:
        return _prepared(model, dtype, seed, STEPS, True, 1.0 if gain is None else gain)
    key = (model.fingerprint, repr(model.surrogate), dtype, seed)
    if key not in _found:
        _found[key] = _search(model, dtype, seed)
    return _prepared(model, dtype, seed, *_found[key])


_found: dict[tuple, tuple[int, bool, float]] = {}  # (steps, excited, gain): a search takes hundreds of short runs


def _search(model: Model, dtype: str, seed: int) -> tuple[int, bool, float]:
    """Steps, whether input weights are all positive, and the gain."""
    speaking: list[tuple[int, bool, float]] = []
    for steps in (STEPS, LONG):
        for excited in (True, False):
            for gain in _speaking(_prepared(model, dtype, seed, steps, excited, 1.0)):
                speaking.append((steps, excited, gain))
                if _reached(_prepared(model, dtype, seed, *speaking[-1])):
                    return speaking[-1]
    if speaking:
        return speaking[0]
    raise ValueError("no scale of the weights from 1e-14 to 1e8 makes units speak now and then: check threshold and units")


def _prepared(model: Model, dtype: str, seed: int, steps: int, excited: bool, gain: float) -> LivingNetwork:
    """Network, input and labels; input weights are positive if ``excited``."""
    rng = np.random.default_rng(seed)
    net = _network(model, dtype, seed)
    x = np.abs(rng.normal(size=(steps, LANES, CHANNELS))) * (rng.random((steps, LANES, CHANNELS)) < 0.7)
    for values in net.view(net.theta)["h<-x"].values():
        values[...] = np.abs(values) if excited else values
    _scale(net, gain)
    return LivingNetwork(net, x, rng.normal(size=(steps, LANES, 2)), rng.integers(0, 2, (steps, LANES)), seed)


def _scale(net: Network, gain: float) -> None:
    """Multiply the weights of all connections."""
    for projection in net.projections:
        for port in projection.ports:
            net.theta[net.wiring.layout[projection.name, port][0]] *= gain


def _speaking(b: LivingNetwork) -> list[float]:
    """Up to eight gains at which events happen now and then, best first."""
    start, found = b.net.theta.copy(), []
    for exponent in np.arange(-14, 8, 0.25):
        b.net.theta[...] = start
        _scale(b.net, float(10.0**exponent))
        try:
            run = simulate(b.net, b.x)
        except FloatingPointError:
            continue
        if LOWEST <= run.activity <= HIGHEST:
            found.append((abs(np.log(run.activity / WANTED)) + 0.1 * abs(exponent), exponent))
    return [float(10.0**exponent) for _, exponent in sorted(found)[:8]]


def _reached(b: LivingNetwork) -> bool:
    """The gradient is finite and reaches every block of parameters."""
    try:
        grad = gradient_by(BPTT(), b)
    except FloatingPointError:
        return False
    return all(grad[part].any() for part, _ in b.net.wiring.layout.values())


def _network(model: Model, dtype: str, seed: int) -> Network:
    rng = np.random.default_rng([seed, 1])
    mask = rng.random((UNITS, UNITS)) < 0.5
    delays = rng.integers(1, 4, (UNITS, UNITS))
    net = Network(dtype).add_input("x", CHANNELS).add_population("h", model, UNITS)
    net.connect("x", "h", ports=model.ports_for("input") or tuple(model.ports))
    net.connect("h", "h", ports=model.ports_for("recurrent") or tuple(model.ports), mask=mask, delay=delays)
    return net.add_readout("a", "h", 2, decay=0.6).add_readout("b", "h", 2).initialize(seed)


# -- differences ---------------------------------------------------------------------------------------------------------
def gradient_by(learner: Learner, b: LivingNetwork, tau: int | None = None) -> np.ndarray:
    """The gradient alone."""
    return gradient(b.net, learner, b.x, b.loss, tau=tau)[1]


def relative(net: Network, found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over largest expected value, in the worst parameter block."""
    worst = 0.0
    for part, _ in net.wiring.layout.values():
        if part.stop > part.start:
            gap, size = np.abs(found[part] - expected[part]).max(), np.abs(expected[part]).max()
            worst = max(worst, float(gap / size) if size else float(np.inf if gap else 0.0))
            if not np.isfinite(found[part]).all():
                return float("inf")
    return worst


def arrays_of(thing: Any) -> list[np.ndarray]:
    """Every array inside a record, mapping or list, the wiring left out."""
    if isinstance(thing, np.ndarray):
        return [thing]
    if isinstance(thing, (Wiring, Network)):
        return []
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return [a for f in dataclasses.fields(thing) if f.name != "simulator" for a in arrays_of(getattr(thing, f.name))]
    if isinstance(thing, Mapping):
        return [a for value in thing.values() for a in arrays_of(value)]
    if isinstance(thing, Sequence) and not isinstance(thing, str):
        return [a for value in thing for a in arrays_of(value)]
    return []


def state_bytes(learner: Learner, b: LivingNetwork, steps: int, tau: int) -> int:
    """Bytes that the learner's state and the simulation's state hold after ``steps`` steps in pieces of ``tau``."""
    machine = simulator(b.net)
    state, memory = machine.start(b.x.shape[1]), learner.init(b.net, b.x.shape[1])
    for start in range(0, steps, tau):
        at = start % (len(b.x) - tau + 1)
        tape = machine.run(state, b.x[at : at + tau].astype(b.net.dtype))
        learner.update(memory, tape, signal_of(b.net, b.loss, tape, at, len(b.x)))
    return sum(a.nbytes for a in (*arrays_of(memory), *arrays_of(state)))
