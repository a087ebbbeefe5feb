"""What the laws of ``checks`` are made of: reports, the networks that they run on, and how differences are measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from .gradients import gradient, signal_of
from .learners.base import Learner
from .losses import Loss, activity, cross_entropy, squared_error
from .model import Model
from .network import Network
from .run import Record, pieces, simulate, simulator
from .wiring import Wiring

EXACT = {"float64": 1e-10, "float32": 1e-4}  # relative difference allowed between two exact learners
UNITS, CHANNELS, STEPS, LANES = 6, 3, 24, 2
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
    """A network with masks, delays and two readouts, an input (T, B, channels) that makes it speak, and a loss."""

    net: Network
    x: np.ndarray
    loss: Loss
    share: float  # of units that send an event


def bench(model: Model, dtype: str = "float64", *, seed: int = 0, gain: float | None = None, lanes: int = LANES, steps: int = STEPS) -> Bench:
    """A living network of one model: all weights are scaled by ``gain``, searched for when not given.

    Raises
    ------
    ValueError
        If no scale of the weights makes the units send events now and then.
    """
    rng = np.random.default_rng(seed)
    net = _network(model, dtype, rng)
    start = net.theta.copy()
    x = np.abs(rng.normal(size=(steps, lanes, CHANNELS))) * (rng.random((steps, lanes, CHANNELS)) < 0.7)
    if not net.populations["h"].cell.spiking:
        gain = gain or 1.0
    if gain is None:
        gain = _search(net, start, x)
    _scale(net, start, gain)
    labels, targets = rng.integers(0, 2, (steps, lanes)), rng.normal(size=(steps, lanes, 2))
    loss = squared_error(targets, readout="a") + cross_entropy(labels, at="last", readout="b") + 0.3 * activity("h", 0.3)
    return Bench(net, x, loss, simulate(net, x, record=Record(states=False)).activity)


def _network(model: Model, dtype: str, rng: np.random.Generator) -> Network:
    mask = rng.random((UNITS, UNITS)) < 0.5
    delays = rng.integers(1, 4, (UNITS, UNITS))
    net = Network(dtype).add_input("x", CHANNELS).add_population("h", model, UNITS)
    net.connect("x", "h", ports=model.ports_for("input") or tuple(model.ports))
    net.connect("h", "h", ports=model.ports_for("recurrent") or tuple(model.ports), mask=mask, delay=delays)
    net.add_readout("a", "h", 2, decay=0.6).add_readout("b", "h", 2).initialize(int(rng.integers(1 << 30)))
    for values in net.view(net.theta)["h<-x"].values():
        values[...] = np.abs(values)
    return net


def _scale(net: Network, start: np.ndarray, gain: float) -> None:
    net.theta[...] = start
    for projection in net.projections:
        for values in net.view(net.theta)[projection.name].values():
            data = values.data if sparse.issparse(values) else values
            data *= gain


def _search(net: Network, start: np.ndarray, x: np.ndarray) -> float:
    """The gain whose share of events is nearest to the wanted one."""
    found = []
    for exponent in np.arange(-14, 8, 0.25):
        _scale(net, start, 10.0**exponent)
        run = simulate(net, x)
        values = [run.messages["h"], *run.states["h"].values()]
        if all(np.isfinite(v).all() for v in values) and LOWEST <= run.activity <= HIGHEST:
            found.append((abs(np.log(run.activity / WANTED)) + 0.1 * abs(exponent), exponent))
    if not found:
        raise ValueError("no scale of the weights from 1e-14 to 1e8 makes the units send events now and then: check threshold and units")
    return 10.0 ** min(found)[1]


# -- differences ---------------------------------------------------------------------------------------------------------
def gradient_by(net: Network, learner: Learner, x: np.ndarray, loss: Loss, tau: int | None = None) -> np.ndarray:
    """The gradient alone."""
    return gradient(net, learner, x, loss, tau=tau)[1]


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


def held(b: Bench, learner: Learner, steps: int, tau: int) -> int:
    """Bytes that the learner's state and the simulation's state hold after ``steps`` steps in pieces of ``tau``."""
    machine = simulator(b.net)
    state, memory = machine.start(b.x.shape[1]), learner.init(b.net, b.x.shape[1])
    x = np.concatenate([b.x] * (steps // len(b.x) + 1))[:steps].astype(b.net.dtype)
    for part in pieces(steps, tau):
        tape = machine.run(state, x[part])
        first = part.start % len(b.x)
        learner.update(memory, tape, signal_of(b.net, b.loss, tape, min(first, len(b.x) - tape.tau), len(b.x)))
    return sum(a.nbytes for a in (*arrays_of(memory), *arrays_of(state)))
