"""The law of the reset: after an event a unit is below its threshold, or gets there when it is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..compile.cell import compile_model
from ..language import evaluate, parse, statements
from ..learners import BPTT, RTRL
from ..model import Model
from ..simulation.run import simulate
from . import jacobian_laws as local
from .networks import EXACT, LivingNetwork, gradient_by, living_network, relative, state_bytes
from .report import Skip, Warn

WIDE = 0.8  # of the peak, at the largest distance that units reach
_FUNCTIONS: dict[str, Callable] = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "abs": abs,
    "sign": np.sign,
    "int": int,
    "clip": lambda x, low, high: min(max(x, low), high),
    "where": lambda c, a, b: a if c else b,
    "event": lambda v: float(v > 0),
    "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
}
_CONSTANTS = {"pi": np.pi, "e": np.e, "not_refractory": True}


def reset(model: Model, b: LivingNetwork) -> str | tuple[float, float, str] | None:
    """After the reset the threshold condition no longer holds, at most events of a run."""
    if not b.net.populations["h"].cell.spiking:
        raise Skip("a graded unit: no event, no reset")
    if not model.is_ode:
        return _falls_silent(model, b)
    if not model.threshold:
        raise Skip("no threshold=: the unit never resets")
    if not model.reset:
        return "no reset=: after an event the unit stays above its threshold"
    run = simulate(b.net, b.x)
    cell = b.net.populations["h"].cell
    events = np.argwhere(run.messages["h"] != 0)
    from ..compile.quantities import UNITS

    known = _CONSTANTS | {name: float(unit) for name, unit in UNITS.items()} | cell.defaults | {"dt": b.net.dt}
    try:
        stays = [_still_above(model, known | {n: v[tuple(at)] for n, v in run.states["h"].items()}) for at in events[:500]]
    except NameError as error:
        raise Skip(f"the text of threshold or reset needs more than states and parameters: {error}") from None
    return float(np.mean(stays)), 0.5, "share of events after which the threshold condition still holds"


def _still_above(model: Model, values: dict[str, Any]) -> bool:
    for name, _, right, _ in statements(model.reset, lambda why: None):
        values[name] = evaluate(parse(right), values, _FUNCTIONS)
    return bool(evaluate(parse(model.threshold, condition=True), values, _FUNCTIONS))


def _falls_silent(model: Model, b: LivingNetwork) -> str | None:
    """An update model states its reset in its equations: left alone after an event, it must not send at every step for ever."""
    run = simulate(b.net, b.x)
    theta = b.net.theta.copy()
    for weights in b.net.view(b.net.theta)["h<-h"].values():
        weights.data[...] = 0.0
    alone = simulate(b.net, np.zeros((200, *b.x.shape[1:])), state=run.state)
    b.net.theta[...] = theta
    always = (alone.messages["h"][-50:] != 0).all(0).any()
    return (
        "left without input, a unit goes on sending at every step for ever: nothing takes it below threshold"
        if always
        else None
    )


def width(model: Model, b: LivingNetwork) -> tuple[float, float]:
    """Warn where the pseudo-derivative hardly falls over all the distances to the threshold that units reach.

    Then it tells near from far nowhere, and gradients are too large: as of a threshold in volts with a width of one volt.
    """
    distances = local.distances(model, b)
    if distances is None:
        raise Skip("no event whose distance to the threshold can be read")
    farthest = float(np.abs(distances).max())
    share = min(model.surrogate(farthest), model.surrogate(-farthest)) / model.surrogate(0.0)
    if share > WIDE:
        what = f"at {farthest:.3g}, the largest distance to the threshold that a unit reached, it is {share:.0%} of its peak"
        way = "give threshold_scale= (the distance that it sees as 1) or a narrower surrogate"
        raise Warn(f"wider than the range that units visit: {what}; {way}", share, WIDE)
    return share, WIDE


# -- laws of a model -----------------------------------------------------------------------------------------------------
def _units(model: Model) -> None:
    from ..compile import discretise

    discretise.step(model)


def _compiles(model: Model, dtype: str) -> None:
    compile_model(model, dtype)


def _alive(model: Model, seed: int, made: list[LivingNetwork]) -> str | None:
    """Events now and then, and a gradient that reaches every parameter."""
    b = living_network(model, seed=seed)
    grad = gradient_by(BPTT(), b)
    made.append(b)
    layout = b.net.wiring.layout
    dead = [f"{group}.{name}" for (group, name), (part, _) in layout.items() if not grad[part].any()]
    return f"the gradient of {', '.join(dead)} is zero everywhere" if dead else None


def _against_bptt(b: LivingNetwork, tau: int | None = None) -> float:
    expected = gradient_by(BPTT(), b)
    found = [gradient_by(learner, b, tau) for learner in (BPTT(), RTRL(), RTRL(dense=True))]
    return max(relative(b.net, grad, expected) for grad in found)


def _sparse_is_dense(model: Model, b: LivingNetwork) -> tuple[float, float]:
    return _against_bptt(b), EXACT["float64"]


def _single_precision(model: Model, b: LivingNetwork) -> tuple[float, float]:
    return _against_bptt(b.in_float32()), EXACT["float32"]


def _pieces(model: Model, b: LivingNetwork) -> tuple[float, float]:
    """Gradients in pieces of 1 and 5 steps, and a run continued from its own state."""
    gap = max(_against_bptt(b, tau) for tau in (1, 5))
    whole, first = simulate(b.net, b.x), simulate(b.net, b.x[:7])
    rest = simulate(b.net, b.x[7:], state=first.state)
    for name, z in whole.readouts.items():
        parts = np.concatenate((first.readouts[name], rest.readouts[name]))
        gap = max(gap, float(np.abs(parts - z).max() / np.abs(z).max()))
    return gap, EXACT["float64"]


def _unmutated(model: Model, b: LivingNetwork) -> str | None:
    x, theta = b.x.copy(), b.net.theta.copy()
    simulate(b.net, b.x)
    gradient_by(RTRL(), b)
    changed = [n for n, old, new in (("x", x, b.x), ("theta", theta, b.net.theta)) if not np.array_equal(old, new)]
    return f"{', '.join(changed)} changed while only looked at" if changed else None


def _seeds(model: Model, b: LivingNetwork) -> str | None:
    """The same seed gives the same parameters and, bit by bit, the same gradient."""
    one, two = (living_network(model, gain=1.0, seed=4).net for _ in range(2))
    if not np.array_equal(one.theta, two.theta) or not np.array_equal(one.initialize(3).theta.copy(), one.initialize(3).theta):
        return "the same seed gave different parameters"
    return (
        None if np.array_equal(gradient_by(RTRL(), b), gradient_by(RTRL(), b)) else "the same gradient computed twice differs"
    )


def _memory(model: Model, b: LivingNetwork) -> tuple[float, float, str]:
    short, long = (state_bytes(RTRL(), b, steps, 4) for steps in (8, 96))
    return float(abs(long - short)), 0.0, f"{long} bytes of exact RTRL and the simulation"


def _lanes(model: Model, b: LivingNetwork) -> tuple[float, float]:
    """Every lane alone does what it does in the batch."""
    gap, batch = 0.0, simulate(b.net, b.x)
    for lane in range(b.x.shape[1]):
        alone = simulate(b.net, b.x[:, lane : lane + 1])
        pairs = [(alone.readouts[n], z) for n, z in batch.readouts.items()]
        pairs += [(alone.states["h"][n], s) for n, s in batch.states["h"].items()]
        gap = max(gap, *(float(np.abs(a[:, 0] - z[:, lane]).max() / (np.abs(z).max() or 1.0)) for a, z in pairs))
    return gap, EXACT["float64"]


_MODEL_LAWS: dict[str, Callable[[Model, LivingNetwork], Any]] = {
    "jacobian equals differences": local.jacobian,
    "pseudo-derivative equals differences": local.pseudo_derivative,
    "pseudo-derivative fits the unit": width,
    "reset leaves the threshold": reset,
    "sparse RTRL = dense RTRL = BPTT, float64": _sparse_is_dense,
    "sparse RTRL = dense RTRL = BPTT, float32": _single_precision,
    "pieces equal the whole": _pieces,
    "inputs are not mutated": _unmutated,
    "seeding is idempotent": _seeds,
    "memory is flat": _memory,
    "one lane at a time equals the batch": _lanes,
}
