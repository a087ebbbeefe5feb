"""What the laws of ``checks`` are made of: reports, the networks that they run on, and how differences are measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .compile import compile_model
from .gradients import gradient, signal_of
from .learners import BPTT
from .learners.base import Learner
from .losses import Loss, activity, cross_entropy, squared_error
from .model import Model
from .network import Network
from .run import Record, simulate, simulator
from .wiring import Wiring

EXACT = {"float64": 1e-10, "float32": 1e-4}  # relative difference allowed between two exact learners
UNITS, CHANNELS, LANES = 6, 3, 2
STEPS, LONG = 24, 120  # a usual run, and one for units that are slow or hard to catch near their threshold
WANTED, LOWEST, HIGHEST = 0.15, 0.02, 0.8  # share of units that send an event: best, and the limits of a living network


@dataclass(frozen=True)
class Law:
    """One law: ``status`` "passed", "failed" or "skipped", the ``figure`` measured, the ``tolerance`` it is held against, and why."""

    name: str
    status: str
    figure: float | None = None
    tolerance: float | None = None
    reason: str = ""

    def __str__(self) -> str:
        measured = "" if self.figure is None else f"{self.figure:.3g}"
        measured += "" if self.tolerance is None else f" (tolerance {self.tolerance:.3g})"
        return f"{self.status:<7}  {self.name:<44}  {'; '.join(filter(None, (measured, self.reason)))}".rstrip()


@dataclass(frozen=True)
class Report:
    """What became of every law for one subject.

    Examples
    --------
    >>> report = Report("unit", (Law("memory is flat", "passed", 0.0, 0.0), Law("alive", "skipped", reason="sends always")))
    >>> report.passed, report["alive"].status
    (True, 'skipped')
    >>> print(report)
    unit: 1 passed, 0 failed, 1 skipped
      passed   memory is flat                                0 (tolerance 0)
      skipped  alive                                         sends always
    """

    subject: str
    laws: tuple[Law, ...]

    @property
    def passed(self) -> bool:
        """No law failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Law, ...]:
        """The laws that failed."""
        return tuple(law for law in self.laws if law.status == "failed")

    def __getitem__(self, name: str) -> Law:
        return {law.name: law for law in self.laws}[name]

    def __str__(self) -> str:
        counts = ", ".join(f"{sum(law.status == s for law in self.laws)} {s}" for s in ("passed", "failed", "skipped"))
        return "\n".join((f"{self.subject}: {counts}", *(f"  {law}" for law in self.laws)))


class Skip(Exception):
    """A law does not apply, with the reason."""


def judge(name: str, law: Callable[[], Any]) -> Law:
    """Run a law: it returns (figure, tolerance) with figure <= tolerance wanted, or text of what is wrong, or None; never raises."""
    try:
        found = law()
    except Skip as reason:
        return Law(name, "skipped", reason=str(reason))
    except Exception as error:  # a law that cannot be tried has failed
        return Law(name, "failed", reason=f"{type(error).__name__}: {error}")
    if isinstance(found, tuple):
        figure, tolerance = float(found[0]), float(found[1])
        return Law(name, "passed" if figure <= tolerance else "failed", figure, tolerance, *found[2:])
    return Law(name, "failed" if found else "passed", reason=found or "")


# -- networks ----------------------------------------------------------------------------------------------------------
@dataclass
class Bench:
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

    def cut(self, steps: int | None = None, lanes: slice = slice(None)) -> Bench:
        """The first steps of some lanes; lanes alone have no penalty together."""
        part = slice(steps), lanes
        return Bench(self.net, self.x[part], self.targets[part], self.labels[part], self.seed, lanes == slice(None))

    def in_float32(self) -> Bench:
        """The same network and parameters in float32."""
        net = _network(self.net.populations["h"].model, "float32", self.seed)
        net.theta[...] = self.net.theta
        return Bench(net, self.x, self.targets, self.labels, self.seed)


def bench(model: Model, dtype: str = "float64", *, seed: int = 0, gain: float | None = None) -> Bench:
    """A living network of one model: all weights are scaled by ``gain``, searched for when not given.

    The search wants events now and then, and a pseudo-derivative that is not zero everywhere; it looks at short runs first.

    Raises
    ------
    ValueError
        If no scale of the weights makes the units send events now and then.
    """
    if gain is not None or not compile_model(model, dtype).spiking:
        return _prepared(model, dtype, seed, STEPS, 1.0 if gain is None else gain)
    speaking: list[Bench] = []
    for steps in (STEPS, LONG):
        for excited in (True, False):
            for one in _speaking(_prepared(model, dtype, seed, steps, 1.0, excited)):
                if _reached(one):
                    return one
                speaking.append(one)
    if speaking:
        return speaking[0]
    raise ValueError(
        "no scale of the weights from 1e-14 to 1e8 makes the units send events now and then: check threshold and units"
    )


def _prepared(model: Model, dtype: str, seed: int, steps: int, gain: float, excited: bool = True) -> Bench:
    """Network, input and labels; input weights are positive if ``excited``."""
    rng = np.random.default_rng(seed)
    net = _network(model, dtype, seed)
    x = np.abs(rng.normal(size=(steps, LANES, CHANNELS))) * (rng.random((steps, LANES, CHANNELS)) < 0.7)
    for values in net.view(net.theta)["h<-x"].values():
        values[...] = np.abs(values) if excited else values
    b = Bench(net, x, rng.normal(size=(steps, LANES, 2)), rng.integers(0, 2, (steps, LANES)), seed)
    return _scaled(b, gain)


def _scaled(b: Bench, gain: float) -> Bench:
    """The same with all weights of connections times ``gain``."""
    net = _network(b.net.populations["h"].model, b.net.dtype, b.seed) if gain != 1.0 else b.net
    net.theta[...] = b.net.theta
    for projection in net.projections:
        for port in projection.ports:
            net.theta[net.wiring.layout[projection.name, port][0]] *= gain
    return Bench(net, b.x, b.targets, b.labels, b.seed)


def _speaking(b: Bench) -> list[Bench]:
    """The same at up to eight gains at which events happen now and then, best first."""
    start, found = b.net.theta.copy(), []
    parts = [b.net.wiring.layout[p.name, port][0] for p in b.net.projections for port in p.ports]
    for exponent in np.arange(-14, 8, 0.25):
        b.net.theta[...] = start
        for part in parts:
            b.net.theta[part] *= 10.0**exponent
        run = simulate(b.net, b.x)
        values = [run.messages["h"], *run.states["h"].values()]
        if all(np.isfinite(v).all() for v in values) and LOWEST <= run.activity <= HIGHEST:
            found.append((abs(np.log(run.activity / WANTED)) + 0.1 * abs(exponent), exponent))
    b.net.theta[...] = start
    return [_scaled(b, 10.0**exponent) for _, exponent in sorted(found)[:8]]


def _reached(b: Bench) -> bool:
    """The gradient is finite and reaches every block of parameters."""
    grad = gradient_by(BPTT(), b)
    return bool(np.isfinite(grad).all()) and all(grad[part].any() for part, _ in b.net.wiring.layout.values())


def _network(model: Model, dtype: str, seed: int) -> Network:
    rng = np.random.default_rng([seed, 1])
    mask = rng.random((UNITS, UNITS)) < 0.5
    delays = rng.integers(1, 4, (UNITS, UNITS))
    net = Network(dtype).add_input("x", CHANNELS).add_population("h", model, UNITS)
    net.connect("x", "h", ports=model.ports_for("input") or tuple(model.ports))
    net.connect("h", "h", ports=model.ports_for("recurrent") or tuple(model.ports), mask=mask, delay=delays)
    return net.add_readout("a", "h", 2, decay=0.6).add_readout("b", "h", 2).initialize(seed)


# -- differences ---------------------------------------------------------------------------------------------------------
def gradient_by(learner: Learner, b: Bench, tau: int | None = None) -> np.ndarray:
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


def held(learner: Learner, b: Bench, steps: int, tau: int) -> int:
    """Bytes that the learner's state and the simulation's state hold after ``steps`` steps in pieces of ``tau``."""
    machine = simulator(b.net)
    state, memory = machine.start(b.x.shape[1]), learner.init(b.net, b.x.shape[1])
    for start in range(0, steps, tau):
        at = start % (len(b.x) - tau + 1)
        tape = machine.run(state, b.x[at : at + tau].astype(b.net.dtype))
        learner.update(memory, tape, signal_of(b.net, b.loss, tape, at, len(b.x)))
    return sum(a.nbytes for a in (*arrays_of(memory), *arrays_of(state)))
