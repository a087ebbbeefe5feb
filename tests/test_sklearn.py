"""srl.sklearn: scikit-learn's own checks, pipelines, searches, clones, files; and srl.river: river's checks and evaluation."""

from __future__ import annotations

import functools
import pickle
import sys
from typing import Any

import numpy as np
import pytest

import spikertrl as srl


@pytest.mark.parametrize(
    ("package", "names"), [("sklearn", ("SequenceClassifier", "SequenceRegressor")), ("river", ("Classifier", "Regressor"))]
)
def test_without_its_package_the_extra_is_named(package: str, names: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for name in names:
        with pytest.raises(ModuleNotFoundError, match=rf"srl.{package}.{name} needs .* 'spikertrl\[{package}\]'"):
            getattr(getattr(srl, package), name)


def estimators() -> list[Any]:
    pytest.importorskip("sklearn", minversion="1.6")
    return [srl.sklearn.SequenceClassifier(units=16), srl.sklearn.SequenceRegressor(units=16)]


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1], ids=["classifier", "regressor"])
def test_scikit_learns_own_checks(which: int) -> None:
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    results = checks.check_estimator(estimators()[which], on_fail=None, on_skip=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert failed == {} and sum(r["status"] == "passed" for r in results) > 40


@functools.cache
def sequences() -> tuple[np.ndarray, np.ndarray]:
    """(60, 6, 2): the sign of the mean of the first channel, by name."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6, 2))
    X[:, :, 0] += np.repeat([-0.7, 0.7], 30)[:, None]
    return X, np.repeat(["down", "up"], 30)


def test_arrays_lists_and_copies() -> None:
    classifier = estimators()[0].set_params(units=8, steps=80)
    X, y = sequences()
    classifier.fit(X, y)
    assert classifier.score(X, y) > 0.9 and classifier.channels_ == classifier.n_features_in_ == 2
    np.testing.assert_allclose(classifier.predict_proba(X).sum(1), 1)
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.decision_function(X), classifier.decision_function(X))
    ragged = [x[: 3 + k % 4] for k, x in enumerate(X)]
    np.testing.assert_allclose(classifier.decision_function(ragged)[3::4], classifier.decision_function(X)[3::4])
    alone = np.concatenate([classifier.decision_function([x]) for x in ragged[:5]])
    np.testing.assert_allclose(alone, classifier.decision_function(ragged)[:5], rtol=1e-10)
    assert classifier.fit(ragged, y).score(ragged, y) > 0.8
    with pytest.raises(ValueError, match="3 channels, but SequenceClassifier was fitted with 2"):
        classifier.predict(np.zeros((4, 5, 3)))
    with pytest.raises(ValueError, match="same channels"):
        classifier.fit([np.zeros((3, 2)), np.zeros((3, 1))], ["a", "b"])
    with pytest.raises(ValueError, match="NaN"):
        classifier.fit([np.zeros((3, 2)), np.full((4, 2), np.nan)], ["a", "b"])


def test_pipeline_and_search() -> None:
    classifier = estimators()[0].set_params(units=8, steps=40, dtype="float64")
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = sequences()
    pipeline = make_pipeline(StandardScaler(), classifier)
    search = GridSearchCV(pipeline, {"sequenceclassifier__learning_rate": [1e-6, 3e-2]}, cv=2).fit(X[:, :, 0], y)
    assert search.best_params_ == {"sequenceclassifier__learning_rate": 3e-2} and search.best_score_ > 0.8


def test_a_network_and_learner_of_ones_own() -> None:
    regressor = estimators()[1]
    X, _ = sequences()
    made = []

    def make(channels: int, outputs: int) -> srl.Network:
        net = srl.Network("float64").add_input("x", channels).add_population("h", srl.models.egru, 8)
        made.append(net.connect("x", "h").add_readout("z", "h", outputs, decay=0.5))
        return net

    y = X[:, -1] @ [[1.0, 0.5], [0.0, -1.0]]
    regressor.set_params(network=make, learner=srl.RTRL(), optimizer=srl.optimizers.adam(2e-2), steps=150).fit(X, y)
    assert regressor.network_ is made[0] and regressor.predict(X).shape == (60, 2) and regressor.score(X, y) > 0.5
    with pytest.raises(ValueError, match="one readout of 2"):
        regressor.set_params(network=lambda channels, outputs: make(channels, 3)).fit(X, y)


def of_river(name: str, **given: Any) -> Any:
    pytest.importorskip("river")
    return getattr(srl.river, name)(units=8, **given)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Classifier", "Regressor"])
def test_rivers_own_checks(name: str) -> None:
    checks = pytest.importorskip("river.checks")
    model = of_river(name)
    assert len([check(model.clone()) for check in checks.yield_checks(model)]) > 10


def test_progressive_validation_with_and_without_delay() -> None:
    model = of_river("Classifier", classes=2)
    from river import compose, evaluate, metrics, preprocessing

    rng = np.random.default_rng(0)
    values = rng.normal(size=401)
    stream = [({"a": values[t], "b": rng.normal()}, bool(values[t] > 0)) for t in range(400)]
    pipeline = compose.Pipeline(preprocessing.StandardScaler(), model)
    assert evaluate.progressive_val_score(stream, pipeline, metrics.Accuracy()).get() > 0.75
    late = of_river("Classifier", classes=2)
    timed = [({**x, "t": t}, y) for t, (x, y) in enumerate(stream)]
    pipeline = compose.Pipeline(compose.Select("a", "b", "t") | compose.Discard("t"), late)
    found = evaluate.progressive_val_score(timed, pipeline, metrics.Accuracy(), moment="t", delay=3)
    assert found.get() > 0.7 and late.online.steps >= 390


def test_a_prediction_leaves_the_stream_where_it_is() -> None:
    pytest.importorskip("river")
    one, other = (of_river("Regressor", seed=3) for _ in range(2))
    for t, x in enumerate({"u": v, "w": -v} for v in np.sin(np.arange(30))):
        for k in range(t % 3):
            one.predict_one({"w": 0.3 * k, "u": 0.5})
        one.learn_one(x, t % 2)
        other.learn_one(dict(reversed(x.items())) if t else x, t % 2)
    again = pickle.loads(pickle.dumps(one))
    for model in (one, again):
        model.learn_one({"u": 1.0, "w": 0.0}, 1.0)
    other.learn_one({"u": 1.0}, 1.0)
    assert one.predict_one({"u": 0.1}) == again.predict_one({"u": 0.1}) == other.predict_one({"u": 0.1, "new": 7.0}) != 0
    more = of_river("Classifier", classes=2)
    for label in "ab":
        more.learn_one({"u": 1.0}, label)
    with pytest.raises(ValueError, match="no room"):
        more.learn_one({"u": 1.0}, "c")
