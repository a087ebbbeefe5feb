"""Classifier and Regressor: a network that learns online, in river's protocol.

The stream is one sequence, and a sample one step of it. ``predict_one(x)`` looks one step ahead and leaves the network where it
is; ``learn_one(x, y)`` takes the step and learns from it. So a prediction may be asked for as often as one likes, and where
labels are late the network knows no more than what it has learned from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import losses
from ..learners.base import Learner
from ..learners.snap import SnAp
from ..optimizers import Optimizer, adam
from ..optional import needed
from ..training.load import load
from ..training.online import Online
from .building import Build, recurrent

base: Any = needed("river.base", "srl.river")


class _Stream(base.Estimator):
    """Settings, features and the network, the same for both."""

    def __init__(self, model: Any = "egru", units: int = 32, network: Build | None = None, learner: Learner | None = None,
                 optimizer: Optimizer | None = None, learning_rate: float = 1e-2, channels: int | None = None,
                 seed: int = 0) -> None:  # fmt: skip
        self.model = model
        self.units = units
        self.network = network
        self.learner = learner
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.channels = channels
        self.seed = seed
        self.online: Online | None = None
        self.features: list[Any] = []

    def _begin(self, x: Mapping, outputs: int, loss: Any) -> Online:
        """The network, made when the first sample tells how many features there are."""
        if self.online is None:
            channels = max(len(x), 1) if self.channels is None else self.channels
            net = (self.network or recurrent(self.model, self.units))(channels, outputs).initialize(self.seed)
            learner = SnAp(1) if self.learner is None else self.learner
            optimizer = adam(self.learning_rate) if self.optimizer is None else self.optimizer
            self.online = Online(net, learner, optimizer, loss=loss)
        return self.online

    def _vector(self, x: Mapping) -> np.ndarray:
        """Features in the order in which they were met, then of their names, as many as there are channels; missing: 0."""
        assert self.online is not None
        channels = self.online.net.wiring.n_channels
        self.features += sorted(set(x).difference(self.features), key=str)[: channels - len(self.features)]
        found = np.zeros(channels)
        found[: len(self.features)] = [float(x.get(name, 0.0)) for name in self.features]
        return found

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: the network goes as what ``Online.save`` writes."""
        return {**self.__dict__, "online": None if self.online is None else _packed(self.online)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.online is not None:
            self.online = _unpacked(*state["online"])

    def reset(self) -> None:
        """A new sequence begins; what was learned stays."""
        if self.online is not None:
            self.online.reset()


def _packed(online: Online) -> tuple[bytes, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        found = online.save(Path(folder) / "online.npz", functions="values").read_bytes()
    return found, {name: getattr(online, name) for name in ("learner", "optimizer", "loss")}


def _unpacked(content: bytes, given: dict[str, Any]) -> Online:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "online.npz"
        path.write_bytes(content)
        return load(path, **given)


class Regressor(base.Regressor, _Stream):
    """Predict a number at every step of a stream.

    Parameters
    ----------
    model, units
        Of the units, see ``add_population``; all connected to all.
    network : callable (channels, outputs) -> Network, optional
        A network of your own, in place of ``model`` and ``units``.
    learner, optimizer : optional
        Default ``SnAp(1)`` and ``adam(learning_rate)``.
    learning_rate : float
    channels : int, optional
        Room for so many features; default: as many as the first sample has. Later ones are left out.
    seed : int

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> from river import metrics
    >>> model, late = srl.river.Regressor("gru", units=8), metrics.MAE()
    >>> for t in range(600):
    ...     x, y = {"x": np.sin(t / 5)}, np.sin(t / 5 + 1)
    ...     if t >= 500:
    ...         late.update(y, model.predict_one(x))
    ...     model.learn_one(x, y)
    >>> bool(late.get() < 0.3)                                 # 0.64 without an idea
    True
    """

    def learn_one(self, x: dict, y: float) -> None:
        """Take a step with features x, and learn that it was y."""
        online = self._begin(x, 1, losses.squared_error)
        online.predict_one(self._vector(x))
        online.learn_one([float(y)])

    def predict_one(self, x: dict) -> float:
        """What comes of a step with features x; the network stays where it is. 0 before anything was learned."""
        return 0.0 if self.online is None else float(self.online.peek(self._vector(x))[0])


class Classifier(base.Classifier, _Stream):
    """Predict a class at every step of a stream.

    Parameters
    ----------
    classes : int
        Room for so many classes; they are met as the stream goes on.
    others
        As of ``Regressor``.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> model, rng = srl.river.Classifier(units=8, classes=2), np.random.default_rng(0)
    >>> late = []
    >>> for t in range(400):
    ...     x = {"x": rng.normal()}
    ...     late.append(model.predict_one(x) == ("up" if x["x"] > 0 else "down"))
    ...     model.learn_one(x, "up" if x["x"] > 0 else "down")
    >>> bool(np.mean(late[200:]) > 0.8)
    True
    """

    def __init__(self, classes: int = 10, model: Any = "egru", units: int = 32, network: Build | None = None,
                 learner: Learner | None = None, optimizer: Optimizer | None = None, learning_rate: float = 1e-2,
                 channels: int | None = None, seed: int = 0) -> None:  # fmt: skip
        super().__init__(model, units, network, learner, optimizer, learning_rate, channels, seed)
        self.classes = classes
        self.labels: list[Any] = []

    @property
    def _multiclass(self) -> bool:
        return True

    def learn_one(self, x: dict, y: Any) -> None:
        """Take a step with features x, and learn that it was y.

        Raises
        ------
        ValueError
            If y is one class more than there is room for.
        """
        if y not in self.labels:
            if len(self.labels) >= self.classes:
                raise ValueError(f"Classifier: {y!r} is class {len(self.labels) + 1}, there is no room: classes={self.classes}")
            self.labels.append(y)
        online = self._begin(x, self.classes, losses.cross_entropy)
        online.predict_one(self._vector(x))
        online.learn_one(self.labels.index(y))

    def predict_proba_one(self, x: dict) -> dict[Any, float]:
        """Class -> probability, of the classes met so far; the network stays where it is."""
        if self.online is None:
            return {}
        shares = losses.softmax(self.online.peek(self._vector(x))[: len(self.labels)].astype(float))
        return dict(zip(self.labels, map(float, shares), strict=True))
