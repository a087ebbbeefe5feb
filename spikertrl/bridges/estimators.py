"""SequenceClassifier and SequenceRegressor: a network as an estimator of scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments, losses
from ..learners.base import Learner
from ..learners.bptt import BPTT
from ..optimizers import Optimizer, adam
from ..optional import needed
from ..simulation.recording import Record
from ..simulation.run import simulate
from ..tasks.given import arrays
from ..training.fit import LANES, fit
from .building import Build, recurrent

if TYPE_CHECKING:
    from ..network.network import Network

base: Any = needed("sklearn.base", "srl.sklearn")
targets: Any = needed("sklearn.utils.multiclass", "srl.sklearn")
validation: Any = needed("sklearn.utils.validation", "srl.sklearn")


class _SequenceEstimator(base.BaseEstimator):
    """Settings, input and training, the same for both."""

    def __init__(self, *, model: Any = "egru", units: int = 32, network: Build | None = None, learner: Learner | None = None,
                 optimizer: Optimizer | None = None, learning_rate: float = 1e-2, steps: int = 600, batch: int = 32,
                 tau: int | None = None, dtype: str = "float64", random_state: Any = 0) -> None:  # fmt: skip
        self.model = model
        self.units = units
        self.network = network
        self.learner = learner
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.steps = steps
        self.batch = batch
        self.tau = tau
        self.dtype = dtype
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _sequences(self, X: Any, y: Any = None, *, first: bool = False) -> tuple[np.ndarray, np.ndarray, Any]:
        """X as (T, samples, channels), the steps of each sample, and y as it was or checked."""
        what = type(self).__name__
        if isinstance(X, (list, tuple)) and len(X) and all(np.ndim(x) == 2 for x in X):
            parts = [np.asarray(x, np.float64) for x in X]
            steps = np.array([len(x) for x in parts])
            if len({x.shape[1] for x in parts}) > 1 or not steps.all():
                raise ValueError(f"{what}: every sample of a list is (T, channels), T >= 1, with the same channels")
            found = np.zeros((steps.max(), len(parts), parts[0].shape[1]))
            for lane, x in enumerate(parts):
                validation.assert_all_finite(x)
                found[: len(x), lane] = x
        elif _dimensions(X) == 3:
            X = validation.check_array(X, dtype=np.float64, allow_nd=True)
            found, steps = X.transpose(1, 0, 2), np.full(len(X), X.shape[1])
        else:  # scikit-learn's own check names and counts the columns, each one a step of one channel
            given = {} if y is None else {"y": y, "multi_output": True, "y_numeric": base.is_regressor(self)}
            checked = validation.validate_data(self, X, reset=first, dtype=np.float64, **given)
            X, y = checked if given else (checked, None)
            found, steps = X.T[:, :, None], np.full(len(X), X.shape[1])
            if first:
                self.channels_ = 1
            self._same_channels(found)
            return found, steps, y
        if first:
            self.channels_ = self.n_features_in_ = found.shape[2]
            validation.check_consistent_length(steps, y)
        self._same_channels(found)
        return found, steps, y

    def _same_channels(self, x: np.ndarray) -> None:
        if x.shape[2] != self.channels_:
            raise ValueError(f"X has {x.shape[2]} channels, but {type(self).__name__} was fitted with {self.channels_}")

    def _train(self, x: np.ndarray, steps: np.ndarray, labels: np.ndarray, outputs: int) -> Any:
        """Build a network and train it."""
        rng = validation.check_random_state(self.random_state)
        seeds = [int(s) for s in rng.randint(np.iinfo(np.int32).max, size=2)]
        make = self.network or recurrent(self.model, self.units, self.dtype)
        self.network_ = make(x.shape[2], outputs)
        self.network_.initialize(seeds[0])
        self._check_network(self.network_, x.shape[2], outputs)
        task = arrays(x, labels, seed=seeds[1], lengths=steps)
        optimizer = adam(self.learning_rate) if self.optimizer is None else self.optimizer
        learner = BPTT() if self.learner is None else self.learner
        self.history_ = fit(self.network_, task, learner, optimizer, steps=self.steps, batch=min(self.batch, x.shape[1]),
                            tau=self.tau, progress=False)  # fmt: skip
        return self

    def _check_network(self, net: Network, channels: int, outputs: int) -> None:
        has = sum(i.size for i in net.inputs.values()), [r.size for r in net.readouts]
        if has != (channels, [outputs]):
            legal = f"a function (channels, outputs) -> Network with {channels} input channels and one readout of {outputs}"
            raise arguments.refuse(type(self).__name__, "network", net, legal)

    def _read(self, X: Any) -> np.ndarray:
        """The readout at the last step of every sample, (samples, outputs)."""
        validation.check_is_fitted(self, "network_")
        x, steps, _ = self._sequences(X)
        quiet = Record(states=False, messages=False, events=False)
        found = []
        for lanes in (slice(i, i + LANES) for i in range(0, x.shape[1], LANES)):
            z = simulate(self.network_, x[: steps[lanes].max(), lanes], record=quiet).z
            found.append(z[steps[lanes] - 1, np.arange(z.shape[1])])
        return np.concatenate(found)


class SequenceClassifier(base.ClassifierMixin, _SequenceEstimator):
    """Name the class of a sequence: the readout at its last step, through a softmax.

    Parameters
    ----------
    model : Model or str
        Of the units, see ``add_population``.
    units : int
        How many, all connected to all.
    network : callable (channels, outputs) -> Network, optional
        A network of your own, in place of ``model``, ``units`` and ``dtype``: one input, one readout.
    learner, optimizer : optional
        Default ``BPTT()``, the cheapest exact learner of whole sequences, and ``adam(learning_rate)``.
    learning_rate : float
    steps, batch, tau
        As in ``fit``.
    dtype : {"float64", "float32"}
    random_state : int, RandomState instance or None
        Of the weights and the batches.

    Notes
    -----
    ``X`` is (samples, T): series of one channel; or (samples, T, channels); or a list of arrays (T, channels) of any lengths.
    In a ``Pipeline``, scikit-learn's own transformers take the first of these.

    Attributes
    ----------
    network_ : Network
    history_ : History
    classes_ : ndarray
    channels_, n_features_in_ : int
        Of (samples, T), the steps are the features.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 8, 2)) + np.repeat([-0.5, 0.5], 30)[:, None, None]
    >>> y = np.repeat(["down", "up"], 30)
    >>> classifier = srl.sklearn.SequenceClassifier(units=8, steps=60).fit(X, y)
    >>> bool(classifier.score(X, y) > 0.9), classifier.predict_proba(X[:3]).shape
    (True, (3, 2))
    """

    def fit(self, X: Any, y: Any) -> SequenceClassifier:
        """Train a network.

        Parameters
        ----------
        X : array (samples, T) or (samples, T, channels), or list of arrays (T, channels)
        y : array (samples,)

        Raises
        ------
        ValueError
            For values, shapes or labels that do not fit, or one class only.
        TrainingDiverged
            As in ``srl.fit``.
        """
        x, steps, y = self._sequences(X, _given(self, y), first=True)
        y = validation.column_or_1d(y, warn=True)
        targets.check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("SequenceClassifier needs samples of at least two classes; y holds one class")
        return self._train(x, steps, labels, len(self.classes_))

    def decision_function(self, X: Any) -> np.ndarray:
        """The readout (samples, classes); of two classes, the difference (samples,)."""
        z = self._read(X)
        return z[:, 1] - z[:, 0] if len(self.classes_) == 2 else z

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (samples, classes)."""
        return losses.softmax(self._read(X))

    def predict(self, X: Any) -> np.ndarray:
        """Classes (samples,)."""
        chosen = self._read(X).argmax(axis=1)
        return self.classes_[chosen]


class SequenceRegressor(base.RegressorMixin, _SequenceEstimator):
    """Read numbers off a sequence: the readout at its last step, by squared error.

    Parameters, ``X`` and attributes are those of ``SequenceClassifier``. Targets are taken as they are: scale them, with
    scikit-learn's ``TransformedTargetRegressor`` for one, where they are far from 1.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> X = np.random.default_rng(0).normal(size=(80, 6))
    >>> regressor = srl.sklearn.SequenceRegressor(units=8, steps=200).fit(X, X[:, -1] - X[:, -2])
    >>> bool(regressor.score(X, X[:, -1] - X[:, -2]) > 0.8)
    True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> SequenceRegressor:
        """Train a network; y is (samples,) or (samples, outputs). See ``SequenceClassifier.fit``."""
        x, steps, y = self._sequences(X, _given(self, y), first=True)
        y = validation.check_array(np.asarray(y), dtype=np.float64, ensure_2d=False)
        self._flat = y.ndim == 1
        return self._train(x, steps, y.reshape(len(y), -1), int(y.reshape(len(y), -1).shape[1]))

    def predict(self, X: Any) -> np.ndarray:
        """Numbers, of the shape of y in ``fit``."""
        z = self._read(X)
        return z[:, 0] if self._flat else z


def _dimensions(X: Any) -> int:
    return X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim


def _given(estimator: Any, y: Any) -> Any:
    if y is None:
        raise ValueError(f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None.")
    return y
