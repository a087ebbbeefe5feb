"""Recordings in neo, pandas and xarray hold what the run holds, with units, times and labels."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import spikertrl as srl
from networks import drive, stacked
from spikertrl.training.history import History

LANES, STEPS = 2, 60


@pytest.fixture(scope="module")
def run() -> srl.Run:
    """Spikes with delays, and graded events; every third step of some units' states."""
    net = stacked("lif", "egru")
    record = srl.Record(every=3, units={"a": [4, 1]})
    return srl.simulate(net, drive(STEPS, LANES), record=record)


def expected(run: srl.Run, population: str, lane: int, unit: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the events of a unit, from the flat list."""
    e, number = run.events, run.net.populations[population].start + unit
    keep = (e.batch == lane) & (e.unit == number)
    return e.time[keep], e.value[keep]


def test_neo(run: srl.Run) -> None:
    block = run.to_neo()
    assert len(block.segments) == LANES
    total = 0
    for lane, segment in enumerate(block.segments):
        assert len(segment.spiketrains) == sum(p.size for p in run.net.populations.values())
        for train in segment.spiketrains:
            note = train.annotations
            steps, values = expected(run, note["population"], lane, note["unit"])
            assert note["lane"] == lane and note["model"] == run.net.populations[note["population"]].model.name
            np.testing.assert_allclose(train.rescale("ms").magnitude, steps * 1.0, rtol=1e-12)
            np.testing.assert_array_equal(train.array_annotations["value"], values)
            assert float(train.t_stop.rescale("s")) == pytest.approx(STEPS * 1e-3)
            total += len(train)
    assert total == len(run.events) > 100
    signals = {s.name: s for s in block.segments[1].analogsignals}
    assert set(signals) == {"a.v", "a.refractory_steps", "a.y", "b.c", "b.y", "slow", "fast"}
    assert signals["a.v"].dimensionality.string == "V" and signals["a.v"].annotations["units_recorded"] == [4, 1]
    np.testing.assert_array_equal(signals["a.v"].magnitude, run.states["a"]["v"][:, 1])
    np.testing.assert_allclose(signals["b.c"].times.rescale("ms").magnitude, run.steps)
    np.testing.assert_array_equal(signals["slow"].magnitude, run.readouts["slow"][:, 1])
    assert not run.to_neo(states=False).segments[0].analogsignals


def test_pandas_events(run: srl.Run) -> None:
    frame = run.to_pandas()
    assert list(frame.columns) == ["step", "time", "lane", "population", "unit", "value"]
    assert len(frame) == len(run.events) > 100
    counts = frame.groupby(["lane", "population", "unit"], observed=True).size()
    for (lane, population, unit), count in counts.items():
        steps, values = expected(run, population, lane, unit)
        rows = frame[(frame.lane == lane) & (frame.population == population) & (frame.unit == unit)]
        assert count == len(steps)
        np.testing.assert_array_equal(rows.step, steps)
        np.testing.assert_array_equal(rows.value, values)
        np.testing.assert_allclose(rows.time, steps * 1e-3)


def test_pandas_states(run: srl.Run) -> None:
    states, readouts = run.to_pandas("states"), run.to_pandas("readouts")
    assert set(states.variable) == {"v", "refractory_steps", "c"} and set(run.to_pandas("messages").variable) == {"y"}
    for row in states.sample(20, random_state=0).itertuples():
        place = list(run.units[row.population]).index(row.unit)
        values = run.states[row.population][row.variable]
        assert row.value == values[list(run.steps).index(row.step), row.lane, place] and row.time == row.step * run.dt
    assert set(states[states.population == "a"].unit) == {1, 4}
    wide = readouts[readouts.readout == "slow"].pivot_table(index="step", columns=["lane", "unit"], values="value")
    np.testing.assert_array_equal(wide.to_numpy(), run.readouts["slow"].reshape(STEPS, -1))
    with pytest.raises(ValueError, match="what is 'spikes'; legal: 'events', 'states', 'messages', 'readouts'"):
        run.to_pandas("spikes")


def test_xarray(run: srl.Run) -> None:
    tree = run.to_xarray()
    assert set(tree.children) == {"a", "b", "slow", "fast"}
    v = tree["a"]["v"]
    assert v.dims == ("time", "batch", "unit") and v.attrs["units"] == "volt"
    np.testing.assert_array_equal(v.sel(unit=1, batch=0), run.states["a"]["v"][:, 0, 1])
    np.testing.assert_allclose(v.time, np.arange(0, STEPS, 3) * 1e-3)
    one = run.to_xarray("slow")
    np.testing.assert_array_equal(one["z"], run.readouts["slow"])
    assert one.attrs["kind"] == "readout" and run.to_xarray("b").attrs["model"] == "egru"
    with pytest.raises(ValueError, match=r"'h' is neither a population nor a readout; there are \['a', 'b', 'slow', 'fast'\]"):
        run.to_xarray("h")


def test_nothing_recorded() -> None:
    """No events and no states still give well-formed results."""
    net = (
        srl.Network("float64")
        .add_input("x", 1)
        .add_population("h", srl.models.lif, 2)
        .connect("x", "h", weight=0.0)
        .initialize(0)
    )
    run = srl.simulate(net, np.ones((4, 1)), record=srl.Record(states=False, messages=False))
    assert len(run.events) == 0 and len(run.to_pandas()) == 0 and len(run.to_pandas("states")) == 0
    assert [len(t) for t in run.to_neo().segments[0].spiketrains] == [0, 0]
    assert not run.to_xarray("h").data_vars


def test_history() -> None:
    history = History([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "valid_accuracy": 1.0}])
    frame = history.to_pandas()
    assert list(frame.columns) == ["step", "loss", "valid_accuracy"] and frame.loss.tolist() == [0.5, 0.25]
    assert np.isnan(frame.valid_accuracy[0])


@pytest.mark.parametrize("package, call", [("neo", "to_neo"), ("pandas", "to_pandas"), ("xarray", "to_xarray")])
def test_absent_package_names_the_extra(run: srl.Run, package: str, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ModuleNotFoundError, match=rf"{call}\(\) needs the package '{package}'.*pip install 'spikertrl\[{package}\]'"
    ):
        getattr(run, call)()
