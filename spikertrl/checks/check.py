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
from collections.abc import Iterator

from .. import arguments
from ..learners.base import Learner
from ..model import Model
from ..models import load
from .learner_laws import learner_laws
from .model_laws import _MODEL_LAWS, _alive, _compiles, _units
from .networks import LivingNetwork
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
    arguments.seed("check_model", seed)
    if not isinstance(model, Model | str | os.PathLike):
        raise arguments.refuse("check_model", "model", model, "a Model, the name of a shipped one, or the path of a file")
    if isinstance(model, Model):
        return Report(f"model {model.name}", tuple(_model_laws(model, seed)))
    found: list[Model] = []
    reading = judge("the file holds a model", lambda: found.append(load(model)))
    return check_model(found[0], seed=seed) if found else Report(str(model), (reading,))


def _model_laws(model: Model, seed: int) -> Iterator[Law]:
    yield judge("units agree", lambda: _units(model))
    for dtype in ("float64", "float32"):
        yield judge(f"compiles in {dtype}", lambda dtype=dtype: _compiles(model, dtype))
    made: list[LivingNetwork] = []
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
    arguments.seed("check_learner", seed)
    if isinstance(models, str) or not all(isinstance(name, str | os.PathLike) for name in models):
        raise arguments.refuse("check_learner", "models", models, "a tuple of names or paths")
    return Report(f"learner {learner!r}", tuple(learner_laws(learner, models, seed)))
