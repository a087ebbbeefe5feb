"""Gradients of one sequence: ``gradient`` (one learner) and ``compare`` (several, passively, on one trajectory)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments
from ..cost import Cost, cost_of
from ..html import table
from ..learners.base import Learner, Signal, learner_of, routes_of
from ..learners.certified import RISK, Certificate, certificate
from ..learners.engines.tangents import init_tangents
from ..losses.base import Loss
from ..simulation.divergence import not_finite
from ..simulation.run import as_input, borrowed, pieces
from ..tape import Tape
from ..threads import one_pool

if TYPE_CHECKING:
    from ..constraints import Constraints
    from ..network.network import Network
    from ..optimizers import Optimizer


def signal_of(net: Network, loss: Loss, tape: Tape, start: int, total: int, *, ends: bool = False) -> Signal:
    """A loss's opinion on a tape (steps start.. of ``total``), as flat arrays; with ``ends`` nothing comes after ``total``."""
    y = tape.units(net.wiring)
    messages = {p.name: y[:, :, p.start : p.start + p.size] for p in net.populations.values()}
    return signal_on(net, loss, tape.z, messages, start, total, ends=ends)


def signal_on(
    net: Network, loss: Loss, z: np.ndarray, messages: Mapping[str, np.ndarray], start: int, total: int, *, ends: bool,
    lanes: slice = slice(None),
) -> Signal:  # fmt: skip
    """A loss's opinion on readouts z (tau, B, O) and messages by population, as far as it concerns some of the lanes."""
    found = loss.signal({r.name: z[:, :, r.start : r.start + r.size] for r in net.readouts}, messages, start, total)
    dz = np.zeros(z.shape, z.dtype)  # of its own: a loss may fill one array again and again
    for readout in net.readouts:
        if readout.name in found.dz:
            dz[:, :, readout.start : readout.start + readout.size] = found.dz[readout.name]
    dy = np.zeros((*z.shape[:2], net.wiring.n_units), z.dtype) if found.dy else None
    for name, part in found.dy.items():
        population = net.populations[name]
        dy[:, :, population.start : population.start + population.size] = part  # type: ignore[index]
    here = [None if part is None else np.ascontiguousarray(part[:, lanes]) for part in (dz, dy)]
    return Signal(float(found.value), *here, last=ends and start + len(z) == total)  # type: ignore[arg-type]


def descend(
    net: Network, optimizer: Optimizer, state: dict[str, Any], gradient: np.ndarray, constraints: Constraints | None = None
) -> None:
    """One step of the optimizer on ``net.theta``, in place; what is not trainable stays (weight decay would move it)."""
    frozen = net.wiring.fixed
    theta, kept = net.theta, net.theta[frozen] if len(frozen) else None
    optimizer.update(state, theta, gradient)
    if kept is not None:
        theta[frozen] = kept
    if constraints is not None:
        constraints(theta)


def gradient(net: Network, learner: Learner, x: Any, loss: Loss, *, tau: int | None = None) -> tuple[float, np.ndarray]:
    """Loss and gradient of one batch of sequences, from the start state.

    Parameters
    ----------
    net : Network
    learner : Learner
    x : array (T, B, channels)
    loss : Loss
    tau : int, optional
        Length of the tape pieces; default the whole sequence. Exact learners give the same gradient for any tau.

    Returns
    -------
    value : float
    grad : ndarray
        Flat, like ``net.theta``; ``net.view(grad)`` names its parts.

    Raises
    ------
    SimulationDiverged
        If a state, message or readout stops being finite, naming population, unit, lane and step.
    FloatingPointError
        If the loss or the gradient is not finite, naming the parameter.
    """
    _check("gradient", net, loss, tau)
    x, learner = as_input(net, x), learner_of("gradient", learner)
    value, grad = 0.0, np.zeros_like(net.theta)
    quiet = np.errstate(over="ignore", invalid="ignore")  # looked for and said by name
    with one_pool(), borrowed(net) as machine, quiet:
        memory = learner.init(net, x.shape[1])
        state = machine.start(x.shape[1])
        for part in pieces(len(x), tau):
            tape = machine.run(state, x[part])
            signal = signal_of(net, loss, tape, part.start, len(x), ends=True)
            value += signal.value
            grad += net.wiring.gradient(tape.theta, learner.update(memory, tape, signal))
    if fault := fault_of(net, value, grad):
        raise FloatingPointError(f"gradient: {fault}; scale the loss, its targets or the weights")
    return value, grad


def fault_of(net: Network, value: float, gradient: np.ndarray) -> str | None:
    """What is not finite: a block of the gradient, or else the loss."""
    if block := not_finite(net.wiring, gradient):
        return f"gradient of {block} is not finite (loss {value:g})"
    return None if math.isfinite(value) else f"the loss is {value}"


def _check(where: str, net: Any, loss: Any, tau: int | None) -> None:
    """Raise ValueError for what is of another kind, or out of range."""
    arguments.network(where, net)
    arguments.loss(where, loss)
    if tau is not None:
        arguments.whole(where, "tau", tau)


@dataclass
class Comparison:
    """Gradients of several learners on one trajectory. The first learner is the reference of all cosines.

    ``gradients``: name -> flat gradient; ``cosine``: name -> {"all" or parameter group: cosine}; ``norm``; ``cost``: name ->
    Cost or None; ``routes``: name -> {route: how often it ran}, empty for learners that know one way only; ``certificate``:
    name -> ``learners.certified.Certificate``, if asked for: how far each gradient may be from the exact one.
    """

    net: Network
    value: float
    gradients: dict[str, np.ndarray]
    cosine: dict[str, dict[str, float]]
    norm: dict[str, float]
    cost: dict[str, Cost | None]
    routes: dict[str, dict[str, int]] = field(default_factory=dict)
    certificate: dict[str, Certificate] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        told = {name: (found.relative,) for name, found in self.certificate.items()}
        rows = [(n, self.norm[n], *told.get(n, ()), *map(float, cosines.values())) for n, cosines in self.cosine.items()]
        head = ("learner", "norm", *(["certificate"] if told else []), *(f"cos {g}" for g in next(iter(self.cosine.values()))))
        return table(f"Comparison, loss {self.value:.4g}", rows, head)

    def __str__(self) -> str:
        groups = list(next(iter(self.cosine.values())))
        told = {name: [f"{found.relative:.3g}"] for name, found in self.certificate.items()}
        head = ["learner", "norm", "multiply-adds", *(["certificate"] if told else []), *(f"cos {g}" for g in groups)]
        rows = [head]
        for name, cosines in self.cosine.items():
            cost = self.cost[name]
            first = [name, f"{self.norm[name]:.4g}", f"{cost.macs:.3g}" if cost else "-", *told.get(name, [])]
            rows.append([*first, *(f"{cosines[g]:.3f}" for g in groups)])
        widths = [max(len(row[c]) for row in rows) for c in range(len(head))]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def compare(
    net: Network, learners: Sequence[Learner], x: Any, loss: Loss, *, tau: int | None = None, certify: int = 0
) -> Comparison:
    """Several learners, passively, on one trajectory: cosines to the first one per parameter group, norms, cost.

    Parameters
    ----------
    net, learners, x, loss, tau
        As in ``gradient``; the first learner is the reference.
    certify : int
        Random directions along which the exact gradient is computed, for a certificate of every learner: a bound on its
        distance to the exact gradient, printed over its norm, see ``learners.Certified``. So networks for which no exact
        learner is affordable can be asked how much an approximation loses. 16 is a good number; 0: none.

    Raises
    ------
    ValueError
        If no learner is given.
    SimulationDiverged
        As in ``gradient``; a learner's gradient that is not finite shows in its norm.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 16, theta=0.1).connect("x", "h")
    >>> net = net.connect("h", "h", density=0.25, seed=2).add_readout("z", "h", 1).initialize(0)
    >>> x = np.random.default_rng(0).normal(size=(30, 1, 2))
    >>> found = srl.compare(net, [srl.SnAp(2), srl.SnAp(1)], x, srl.losses.squared_error(x.sum(2, keepdims=True)), certify=16)
    >>> two, one = found.certificate.values()
    >>> two.bound < one.bound < one.norm, one.cosine > 0.8
    (True, True)
    """
    learners = list(learners) if isinstance(learners, Iterable) else [learners]
    _check("compare", net, loss, tau)
    arguments.whole("compare", "certify", certify, 0)
    if not learners:
        raise ValueError("compare: give at least one learner; the first is the reference")
    x, learners = as_input(net, x), [learner_of("compare", learner) for learner in learners]
    names = _names(learners)
    gradients = {name: np.zeros_like(net.theta) for name in names}
    value, exact = 0.0, np.zeros(certify)
    with one_pool(), borrowed(net) as machine:
        tangents = init_tangents(net.wiring, x.shape[1], certify, 0) if certify else None
        memories = [learner.init(net, x.shape[1]) for learner in learners]
        state = machine.start(x.shape[1])
        for part in pieces(len(x), tau):
            tape = machine.run(state, x[part])
            signal = signal_of(net, loss, tape, part.start, len(x), ends=True)
            value += signal.value
            if tangents:
                exact += tangents.update(tape, signal)
            for name, learner, memory in zip(names, learners, memories, strict=True):
                gradients[name] += net.wiring.gradient(tape.theta, learner.update(memory, tape, signal))
    reference = gradients[names[0]]
    cosines = {name: cosine_by_group(net, g, reference) for name, g in gradients.items()}
    norms = {name: float(np.linalg.norm(g)) for name, g in gradients.items()}
    costs = {name: cost_of(memory) for name, memory in zip(names, memories, strict=True)}
    routes = {name: routes_of(memory) for name, memory in zip(names, memories, strict=True)}
    certificates = {n: certificate(exact, tangents.along(g), g, RISK) for n, g in gradients.items()} if tangents else {}
    return Comparison(net, value, gradients, cosines, norms, costs, routes, certificates)


def cosine_by_group(net: Network, a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Cosine of two flat gradients, over all parameters and per named group (nan where one is zero)."""
    groups: dict[str, list[slice]] = {"all": [slice(None)]}
    for (group, _), (part, _) in net.wiring.layout.items():
        groups.setdefault(group, []).append(part)
    return {name: _cosine(*(np.concatenate([v[p] for p in parts]) for v in (a, b))) for name, parts in groups.items()}


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    scale = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(np.dot(a.astype(float), b.astype(float)) / scale) if scale else float("nan")


def _names(learners: Sequence[Learner]) -> list[str]:
    """Their reprs, made unique."""
    names: list[str] = []
    for learner in learners:
        name = repr(learner)
        names.append(name if name not in names else f"{name} #{names.count(name) + 1}")
    return names
