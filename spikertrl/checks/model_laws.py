"""The law of the reset: after an event a unit is below its threshold, or gets there when it is left alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._language import statements
from ..model import Model
from ..simulation.run import simulate
from .networks import Bench
from .report import Skip

_TEXT = {
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
    "pi": np.pi,
    "e": np.e,
    "__builtins__": {},
    "not_refractory": True,
}


def reset(model: Model, b: Bench) -> str | tuple[float, float, str] | None:
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

    known = _TEXT | {name: float(unit) for name, unit in UNITS.items()} | cell.defaults | {"dt": b.net.dt}
    try:
        stays = [_still_above(model, known | {n: v[tuple(at)] for n, v in run.states["h"].items()}) for at in events[:500]]
    except NameError as error:
        raise Skip(f"the text of threshold or reset needs more than states and parameters: {error}") from None
    return float(np.mean(stays)), 0.5, "share of events after which the threshold condition still holds"


def _still_above(model: Model, values: dict[str, Any]) -> bool:
    for name, _, right, _ in statements(model.reset, lambda why: None):
        values[name] = eval(right.strip(), values)
    return bool(eval(model.threshold.strip(), values))


def _falls_silent(model: Model, b: Bench) -> str | None:
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
