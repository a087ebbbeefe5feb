"""Estimators for scikit-learn; needs the extra ``sklearn``.

>>> import spikertrl as srl
>>> classifier = srl.sklearn.SequenceClassifier(units=16)      # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .optional import member

if TYPE_CHECKING:
    from .bridges.estimators import SequenceClassifier, SequenceRegressor

__all__ = ["SequenceClassifier", "SequenceRegressor"]


def __getattr__(name: str) -> Any:
    return member(__name__, __all__, "sklearn", "spikertrl.bridges.estimators", name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
