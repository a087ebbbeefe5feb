"""Estimators for river, one sample at a time; needs the extra ``river``.

>>> import spikertrl as srl
>>> model = srl.river.Classifier(units=16)                     # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .optional import member

if TYPE_CHECKING:
    from .bridges.streams import Classifier, Regressor

__all__ = ["Classifier", "Regressor"]


def __getattr__(name: str) -> Any:
    return member(__name__, __all__, "river", "spikertrl.bridges.streams", name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
