"""What a run is called: equal for what is the same, and another text for every difference that changes what is computed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from brian2 import ms
from scipy import sparse

import spikertrl as srl
from spikertrl.training import fingerprint
from spikertrl.training.fingerprint import describe, of_network

SCALE = 2.0


@dataclasses.dataclass
class Record:
    size: int
    values: np.ndarray
    _hidden: int = 0


class Plain:
    def __init__(self, size: int) -> None:
        self.size, self.name, self._hidden = size, "x", object()


def scaled(value: float, by: float = 3.0) -> float:
    """A sentence that says nothing about what is computed."""
    return value * by * SCALE + 0.5


def told(value: float, by: float = 3.0) -> float:
    """Another sentence."""
    return value * by * SCALE + 0.5


def closed(rate: float) -> Callable[[int], float]:
    return lambda step: rate * step


def test_plain_settings_are_themselves() -> None:
    for value in (None, True, 3, 2.5, "text"):
        assert describe(value) is value
    assert describe(np.float32(2.5)) == 2.5 and type(describe(np.int64(3))) is int
    assert describe((1, [2, (3,)])) == [1, [2, [3]]]
    assert list(describe({"b": 1, 2: {"d": 3, "c": 4}})) == ["2", "b"] and list(describe({"d": 3, "c": 4})) == ["c", "d"]


def test_records_and_objects_are_their_class_and_open_fields() -> None:
    assert describe(Record(3, np.zeros(2), 7)) == {"class": "Record", "size": 3, "values": describe(np.zeros(2))}
    assert describe(Plain(3)) == {"class": "Plain", "name": "x", "size": 3}


def test_arrays_are_told_apart_by_kind_shape_and_values() -> None:
    base = np.arange(6.0)
    others = [base.astype(np.float32), base.reshape(2, 3), base[::-1], base + 1e-12, sparse.csr_matrix(base)]
    texts = [describe(one) for one in (base, *others)]
    assert len(set(texts)) == len(texts) and texts[0] == describe(base.copy()) and texts[0].startswith("float64 (6,) #")
    assert describe(base[::2]) == describe(base[::2].copy()), "views are what they show"
    dense = ([[1.0, 0], [0, 2]], [[1.0, 0], [0, 3]], [[1.0, 0], [2, 0]], [[1.0, 2], [0, 0]])
    assert len({describe(sparse.csr_matrix(one)) for one in dense}) == 4


def test_of_large_arrays_places_all_over_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "MOST_HASHED", 10)
    base = np.zeros(30)
    seen = [k for k in range(30) if describe(base + (np.arange(30) == k)) != describe(base)]
    assert seen == list(range(0, 30, 3))
    assert all(describe(np.arange(10) == k) != describe(np.zeros(10, bool)) for k in range(10)), "all, where there are few"


def test_functions_are_their_name_and_the_numbers_that_they_read(monkeypatch: pytest.MonkeyPatch) -> None:
    first = describe(scaled)
    assert first == {"callable": "scaled", "with": [*first["with"]]} and {0.5, 3.0, 2.0} <= set(first["with"])
    assert describe(told)["with"] == first["with"], "a docstring is no setting"
    monkeypatch.setitem(globals(), "SCALE", 4.0)
    assert describe(scaled) != first
    assert describe(closed(0.1)) != describe(closed(0.2)) and describe(closed(0.1)) == describe(closed(0.1))
    partials = [functools.partial(scaled, by=1.0), functools.partial(scaled, by=2.0), functools.partial(scaled, 1.0)]
    assert len({str(describe(one)) for one in partials}) == 3
    assert describe(partials[0]) == {"callable": describe(scaled), "with": [{"by": 1.0}]}
    assert describe(len) == {"callable": "len", "with": []}


def network(**changes: Any) -> srl.Network:
    """Of the sizes and models of other tests; ``changes``: of one setting."""
    given = {"dt": "1*ms", "model": srl.models.egru, "theta": 0.05, "initial": {}, "seed": 1, "delay": 1, "trainable": True}
    given |= {"weights": True, "density": 0.5} | changes
    net = srl.Network("float64", given["dt"]).add_input("x", 2)
    extra = {"surrogate": given["surrogate"]} if "surrogate" in given else {}
    net.add_population("h", given["model"], 6, initial=given["initial"], **{"theta": given["theta"]} | extra)
    net.connect("x", "h", delay=given["delay"]).connect("h", "h", density=given["density"], seed=given["seed"])
    net.connect("h", "h", name="again", trainable=given["trainable"])
    return net.add_readout("z", "h", 1, trainable=given["weights"]).initialize(0)


CHANGED = {
    "network": {"dt": "0.5*ms"}, "surrogates": {"surrogate": srl.surrogates.triangle(0.5, 0.5)},
    "initial values": {"initial": {"c": 0.5}}, "masks": {"seed": 2}, "delays": {"delay": np.array([[1, 2]] * 6)},
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGED)
def test_a_network_is_called_otherwise_for_what_is_otherwise(what: str) -> None:
    same, other = of_network(network()), of_network(network(**CHANGED[what]))
    assert same == of_network(network())
    assert [key for key in same if same[key] != other[key] and key != "network"] == [what] * (what != "network")
    assert (same["network"] != other["network"]) is (what in ("network", "delays")), "and in words"


def test_what_a_network_is_called() -> None:
    found = of_network(network(trainable=("u",), weights=False, delay=3))
    assert found["trained"] == {"h<-x": ["u", "r", "x"], "h<-h": ["u", "r", "h"], "again": ["u"], "z": False}
    assert found["parameters"] == len(network().theta) and list(found["models"]) == ["h"]
    assert found["delays"] == {"h<-x": 3, "h<-h": 1, "again": 1} and found["masks"]["h<-x"] is None is found["masks"]["again"]
    assert of_network(network(initial={"c": 0.25}))["initial values"] == {"h.c": 0.25}
    alif = srl.Network("float64").add_input("x", 1).add_population("h", srl.models.lif, 3, tau="15*ms").connect("x", "h")
    fixed = of_network(alif)["fixed parameters"]
    assert fixed["h.tau"] == pytest.approx(0.015) and all(isinstance(value, float) for value in fixed.values())
    slow = srl.Network("float64").add_input("x", 1).add_population("h", srl.models.lif, 3, tau=np.array([1, 2, 3]) * ms)
    assert of_network(slow)["fixed parameters"]["h.tau"].startswith("float64 (3,) #")
    drawn = srl.Network("float64").add_input("x", 1).add_population("h", srl.models.alif, 3, beta=closed(0.5))
    assert of_network(drawn)["fixed parameters"]["h.beta"] == describe(closed(0.5)) != describe(closed(0.6))
