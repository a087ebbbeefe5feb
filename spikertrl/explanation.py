"""What a learner would do for a network, and what it did: the way it is computed, why, bytes and multiply-adds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import arguments
from .arguments import number, whole
from .cost import Cost, cost_of
from .learners.base import Learner, Length, Plan, learner_of, routes_of
from .resources import readable

if TYPE_CHECKING:
    from .network.network import Network


@dataclass(frozen=True)
class Explanation:
    """What ``explain`` found; printed, a few lines."""

    learner: str
    claim: str
    length: Length
    plan: Plan | None  # None: a learner that does not say
    nbytes: int
    macs_dense: float  # of dense RTRL, a step and lane
    advice: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows = [f"{self.learner} ({self.claim}), {self.length}"]
        if self.plan is None:
            rows.append("  the learner does not say how it computes")
        else:
            rows += [f"  route: {self.plan.route}", f"  because: {self.plan.reason}"]
            times = self.macs_dense / self.plan.macs if self.plan.macs else float("inf")
            what = f"{self.plan.macs:.3g} expected; dense RTRL: {self.macs_dense:.3g}, {times:.3g} times as many"
            rows.append(f"  multiply-adds a step and lane: {what}")
        rows.append(f"  memory: {readable(self.nbytes)}")
        return "\n".join([*rows, *(f"  cheaper: {line}" for line in self.advice)])


@dataclass(frozen=True)
class Report:
    """What a state did; printed, a few lines."""

    state: str
    routes: dict[str, int]
    last: str
    cost: Cost | None
    nbytes: int

    def __str__(self) -> str:
        ran = ", ".join(f"{name} {count} times" for name, count in self.routes.items()) or "the one way this learner knows"
        rows = [f"{self.state}: {ran}", *([f"  last: {self.last}"] if self.last else [])]
        if self.cost:
            cost = self.cost
            rows.append(f"  multiply-adds: {cost.macs:.3g}; dense RTRL: {cost.macs_dense:.3g}, {cost.saving:.3g} times as many")
        return "\n".join([*rows, f"  memory: {readable(self.nbytes)}"])


def explain(
    net: Network | None = None, learner: Learner | None = None, batch: int = 1, tau: int | None = None, *, steps: int = 100,
    active: float = 1.0, state: Any = None,
) -> Explanation | Report:  # fmt: skip
    """How a learner would be computed on a network, or how a ``state`` of one has been.

    Parameters
    ----------
    net, learner, batch
    tau : int, optional
        Steps of a tape; default a whole sequence of ``steps`` steps at once.
    steps : int
        Length of the sequence where ``tau`` is None.
    active : float
        Share of gradient-active units, those inside the width of their pseudo-derivative; ``history["gradient_activity"]`` of a
        run tells. The default 1.0 gives an upper bound.
    state : state of a learner, optional
        Given alone: what ran in its updates, for example ``explain(state=online.memory)``.

    Returns
    -------
    Explanation or Report
        Print it.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 16).connect("x", "h").connect("h", "h")
    >>> net = net.add_readout("z", "h", 1).initialize(0)
    >>> print(srl.explain(net, srl.RTRL(), tau=16, active=0.2))  # doctest: +ELLIPSIS
    RTRL(dense=False) (exact), tapes of 16 steps, batch 1, 20% of the units gradient-active
      route: dense rows
      because: 100% of the pairs are connected: rows are a product of matrices
      multiply-adds a step and lane: 6.65e+04 expected; dense RTRL: 2.57e+05, 3.86 times as many
      memory: 59 KiB
      cheaper: whole sequences of 100 steps (route transitions): 1.14e+04 multiply-adds
      cheaper: a narrower pseudo-derivative, 10% of the units active: 4.08e+04 multiply-adds
      cheaper: fewer synapses (density= of connect): ...
    >>> srl.explain(net, srl.RTRL(), tau=16).plan.route
    'products'
    """
    if state is not None:
        return _report(state)
    if net is None or learner is None:
        raise ValueError("explain: give a network and a learner, or state= alone; got neither")
    arguments.network("explain", net)
    learner = learner_of("explain", learner)
    whole("explain", "batch", batch)
    whole("explain", "steps", steps)
    if tau is not None:
        whole("explain", "tau", tau)
    number("explain", "active", active, 0.0, 1.0)
    w, length = net.wiring, Length(batch, tau, steps, active)
    dense = (w.n_states + 1) * w.n_states * w.n_filled
    plan = _plan(net, learner, length)
    advice = _advice(net, learner, length, plan) if plan else []
    return Explanation(repr(learner), learner.claim, length, plan, net.memory(learner, batch).influence, float(dense), advice)


def _plan(net: Network, learner: Learner, length: Length) -> Plan | None:
    ask = getattr(learner, "plan", None)
    return None if ask is None else ask(net, length)


def _advice(net: Network, learner: Learner, length: Length, plan: Plan) -> list[str]:
    """What would take fewer multiply-adds: other tapes, a narrower pseudo-derivative, fewer synapses."""
    found = []
    for tau in (None, 1, 16):
        other = length._replace(tau=tau)
        cheaper = None if tau == length.tau else _plan(net, learner, other)
        if cheaper and cheaper.macs < 0.9 * plan.macs:
            what = f"whole sequences of {length.steps} steps" if tau is None else f"tapes of {tau} steps"
            found.append(f"{what} (route {cheaper.route}): {cheaper.macs:.3g} multiply-adds")
    if length.active > 0.1:
        quiet = _plan(net, learner, length._replace(active=0.1))
        if quiet and quiet.macs < 0.9 * plan.macs:
            found.append(f"a narrower pseudo-derivative, 10% of the units active: {quiet.macs:.3g} multiply-adds")
    w = net.wiring
    if plan.by_density and len(w.pair_pre) > 0.2 * w.n_units**2:
        found.append("fewer synapses (density= of connect): both the parameters and what arrives at a unit go down with them")
    return found


def _report(state: Any) -> Report:
    choice, held = getattr(state, "choice", None), getattr(state, "bytes_held", None)
    return Report(type(state).__name__, routes_of(state), str(choice or ""), cost_of(state), held() if held else 0)
