"""The laws, public: what every model and every learner must obey, for yours as for ours.

>>> from spikertrl.models import rnn
>>> report = check_model(rnn)
>>> report.passed, report["jacobian equals differences"].status
(True, 'passed')

A law is passed, failed or skipped, with the figure that was measured, the tolerance and, where needed, a reason. Nothing is
raised: what breaks while a law is tried makes it fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..compile.cell import compile_model
from ..learners import BPTT, RTRL
from ..learners.base import Learner
from ..model import Model
from ..models import load
from ..simulation.run import simulate
from . import jacobian_laws as local
from .learner_laws import learner_laws
from .model_laws import reset
from .networks import EXACT, Bench, bench, gradient_by, held, relative
from .report import Law, Report, judge

__all__ = ["Law", "Report", "check_learner", "check_model"]


def check_model(model: Model | str | os.PathLike[str], *, seed: int = 0) -> Report:
    """Run every law of a model.

    The unit is put into a small network with masks, delays and two readouts; the scale of all weights is searched for until
    events appear now and then, so that a model with its own units and time scale needs no settings.

    Parameters
    ----------
    model : Model, or name of a shipped model, or path of a file that assigns MODEL
    seed : int
        Of the network and its input.

    Returns
    -------
    Report
        ``report.passed``, ``report.laws``, ``report["alive"]``; as text one line a law.

    Examples
    --------
    >>> from spikertrl import Model, Port, State
    >>> mute = Model("mute", update="v = I_v", message="0*event(v)", states={"v": State()}, ports={"v": Port()})
    >>> check_model(mute)["alive"].status
    'failed'
    """
    if isinstance(model, Model):
        return Report(f"model {model.name}", tuple(_model_laws(model, seed)))
    found: list[Model] = []
    reading = judge("the file holds a model", lambda: found.append(load(model)))
    return check_model(found[0], seed=seed) if found else Report(str(model), (reading,))


def _model_laws(model: Model, seed: int) -> Iterator[Law]:
    yield judge("units agree", lambda: _units(model))
    for dtype in ("float64", "float32"):
        yield judge(f"compiles in {dtype}", lambda dtype=dtype: _compiles(model, dtype))
    made: list[Bench] = []
    yield judge("alive", lambda: _alive(model, seed, made))
    for name, law in _MODEL_LAWS.items():
        yield (
            judge(name, lambda law=law: law(model, made[0]))
            if made
            else Law(name, "skipped", reason="no living network to try it on")
        )


def check_learner(learner: Learner, *, models: tuple[str, ...] = ("egru", "cuba_lif"), seed: int = 0) -> Report:
    """Run every law of a learner, among them the one that its ``claim`` names.

    Parameters
    ----------
    learner : Learner
    models : tuple of str
        Models of the networks that it is tried on: names or paths.
    seed : int
        Of the networks and their inputs.

    Examples
    --------
    >>> from spikertrl import BPTT
    >>> check_learner(BPTT(truncate=8)).passed
    True
    """
    return Report(f"learner {learner!r}", tuple(learner_laws(learner, models, seed)))


# -- laws of a model -----------------------------------------------------------------------------------------------------
def _units(model: Model) -> None:
    from ..compile import discretise

    discretise.step(model)


def _compiles(model: Model, dtype: str) -> None:
    compile_model(model, dtype)


def _alive(model: Model, seed: int, made: list[Bench]) -> str | None:
    """Events now and then, and a gradient that reaches every parameter."""
    b = bench(model, seed=seed)
    grad = gradient_by(BPTT(), b)
    if not np.isfinite(grad).all():
        return "the gradient is not finite"
    made.append(b)
    layout = b.net.wiring.layout
    dead = [f"{group}.{name}" for (group, name), (part, _) in layout.items() if not grad[part].any()]
    return f"the gradient of {', '.join(dead)} is zero everywhere" if dead else None


def _against_bptt(b: Bench, tau: int | None = None) -> float:
    expected = gradient_by(BPTT(), b)
    found = [gradient_by(learner, b, tau) for learner in (BPTT(), RTRL(), RTRL(dense=True))]
    return max(relative(b.net, grad, expected) for grad in found)


def _sparse_is_dense(model: Model, b: Bench) -> tuple[float, float]:
    return _against_bptt(b), EXACT["float64"]


def _single_precision(model: Model, b: Bench) -> tuple[float, float]:
    return _against_bptt(b.in_float32()), EXACT["float32"]


def _pieces(model: Model, b: Bench) -> tuple[float, float]:
    """Gradients in pieces of 1 and 5 steps, and a run continued from its own state."""
    gap = max(_against_bptt(b, tau) for tau in (1, 5))
    whole, first = simulate(b.net, b.x), simulate(b.net, b.x[:7])
    rest = simulate(b.net, b.x[7:], state=first.state)
    for name, z in whole.readouts.items():
        parts = np.concatenate((first.readouts[name], rest.readouts[name]))
        gap = max(gap, float(np.abs(parts - z).max() / np.abs(z).max()))
    return gap, EXACT["float64"]


def _unmutated(model: Model, b: Bench) -> str | None:
    x, theta = b.x.copy(), b.net.theta.copy()
    simulate(b.net, b.x)
    gradient_by(RTRL(), b)
    changed = [n for n, old, new in (("x", x, b.x), ("theta", theta, b.net.theta)) if not np.array_equal(old, new)]
    return f"{', '.join(changed)} changed while only looked at" if changed else None


def _seeds(model: Model, b: Bench) -> str | None:
    """The same seed gives the same parameters and, bit by bit, the same gradient."""
    one, two = (bench(model, gain=1.0, seed=4).net for _ in range(2))
    if not np.array_equal(one.theta, two.theta) or not np.array_equal(one.initialize(3).theta.copy(), one.initialize(3).theta):
        return "the same seed gave different parameters"
    return (
        None if np.array_equal(gradient_by(RTRL(), b), gradient_by(RTRL(), b)) else "the same gradient computed twice differs"
    )


def _memory(model: Model, b: Bench) -> tuple[float, float, str]:
    short, long = (held(RTRL(), b, steps, 4) for steps in (8, 96))
    return float(abs(long - short)), 0.0, f"{long} bytes held by exact RTRL and the simulation"


def _lanes(model: Model, b: Bench) -> tuple[float, float]:
    """Every lane alone does what it does in the batch."""
    gap, batch = 0.0, simulate(b.net, b.x)
    for lane in range(b.x.shape[1]):
        alone = simulate(b.net, b.x[:, lane : lane + 1])
        pairs = [(alone.readouts[n], z) for n, z in batch.readouts.items()]
        pairs += [(alone.states["h"][n], s) for n, s in batch.states["h"].items()]
        gap = max(gap, *(float(np.abs(a[:, 0] - z[:, lane]).max() / (np.abs(z).max() or 1.0)) for a, z in pairs))
    return gap, EXACT["float64"]


_MODEL_LAWS: dict[str, Callable[[Model, Bench], Any]] = {
    "jacobian equals differences": local.jacobian,
    "pseudo-derivative equals differences": local.pseudo_derivative,
    "reset leaves the threshold": reset,
    "sparse RTRL = dense RTRL = BPTT, float64": _sparse_is_dense,
    "sparse RTRL = dense RTRL = BPTT, float32": _single_precision,
    "pieces equal the whole": _pieces,
    "inputs are not mutated": _unmutated,
    "seeding is idempotent": _seeds,
    "memory is flat": _memory,
    "one lane at a time equals the batch": _lanes,
}
