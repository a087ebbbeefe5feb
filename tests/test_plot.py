"""Figures show the numbers they are given, on the Axes they are given, without a display."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import spikertrl as srl
from spikertrl import cost, plot
from spikertrl.simulation.run import as_input, simulator
from spikertrl.surrogates import boxcar, gaussian, triangle
from spikertrl.training.gradients import signal_of
from spikertrl.training.history import History


@pytest.fixture(scope="module")
def net():
    """Two populations, one of them with differential equations."""
    net = srl.Network(dt=5e-4).add_input("x", 3, kind="event")
    net.add_population("a", srl.models.lif, 7).add_population("b", srl.models.egru, 5)
    delay = np.random.default_rng(0).integers(2, 7, (5, 7))
    net.connect("x", "a", weight=0.03).connect("a", "b", delay=delay).connect("b", "b", density=0.5, seed=1)
    return net.add_readout("z", "b", 2).initialize(0)


@pytest.fixture(scope="module")
def run(net):
    x = np.random.default_rng(1).random((60, 2, 3)) < 0.5
    return srl.simulate(net, x.astype(float))


@pytest.fixture(scope="module")
def rows():
    return [{"step": n, "loss": 1 / n, "macs": 10 * n, "macs_dense": 400 * n, "activity": 0.1} for n in range(1, 81)]


def marks(ax):
    """Label -> (events, 2) points of each population of a raster."""
    return {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections}


# -- raster ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("lane", [0, 1])
def test_raster_marks_are_the_events_of_the_lane(net, run, lane):
    ax = plot.raster(run, lane)
    assert isinstance(ax, Axes) and ax.get_xlabel() == "time (ms)"
    low, high = ax.get_ylim()
    for name, points in marks(ax).items():
        p = net.populations[name]
        events = run.events.of(lane, p.start, p.start + p.size)
        assert len(events) > 5, "the test needs a living population"
        assert points[:, 0] == pytest.approx(events.time * 0.5)
        heights = points[:, 1] - events.unit
        assert np.ptp(heights) < 1e-9, "units of a population keep their order, one row each"
        assert low < points[:, 1].min() and points[:, 1].max() < high
    assert marks(ax).keys() == {"a", "b"}


def test_raster_separates_and_colors_populations(run):
    ax = plot.raster(run)
    assert len({to_hex(c.get_edgecolor()[0]) for c in ax.collections}) == 2
    assert marks(ax)["a"][:, 1].max() < marks(ax)["b"][:, 1].min()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a\n7 lif units", "b\n5 egru units"]


def test_raster_names_delays(run):
    assert plot.raster(run).get_title(loc="left") == "delay (ms): b ← a 1 to 3, b ← b 0.5"
    assert "a" not in marks(plot.raster(run, populations=["b"]))


def test_raster_counts_steps_without_differential_equations():
    net = srl.Network().add_input("x", 1).add_population("h", srl.models.egru, 4).connect("x", "h").initialize(0)
    ax = plot.raster(srl.simulate(net, np.ones((9, 1, 1))))
    assert (ax.get_xlabel(), ax.get_title(loc="left"), ax.get_xlim()) == ("time (steps)", "", (-0.5, 8.5))


def test_raster_of_the_last_steps_starts_there(net):
    x = np.ones((50, 1, 3))
    ax = plot.raster(srl.simulate(net, x, record=srl.Record(last=10)))
    assert ax.get_xlim() == pytest.approx((39.5 * 0.5, 49.5 * 0.5))


def test_raster_of_a_stretch_goes_on_in_time(net):
    first = srl.simulate(net, np.ones((20, 1, 3)))
    rest = srl.simulate(net, np.ones((30, 1, 3)), state=first.state)
    ax, whole = plot.raster(rest), marks(plot.raster(srl.simulate(net, np.ones((50, 1, 3)))))["a"]
    assert ax.get_xlim() == pytest.approx((19.5 * 0.5, 49.5 * 0.5))
    later = whole[whole[:, 0] > 19.5 * 0.5]
    assert len(later) > 5
    np.testing.assert_allclose(marks(ax)["a"], later)


def test_raster_of_silence(net):
    ax = plot.raster(srl.simulate(net, np.zeros((5, 1, 3))))
    assert len(marks(ax)["a"]) == 0
    ax.figure.canvas.draw()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"lane": 2}, r"lane is 2; legal: a whole number 0 .. 1"), ({"populations": ["c"]}, r"populations is \['c'\]")],
)
def test_raster_refuses(run, options, message):
    with pytest.raises(ValueError, match=message):
        plot.raster(run, **options)


def test_raster_shows_inputs_below(net):
    x = (np.random.default_rng(1).random((60, 1, 3)) < 0.5).astype(float)
    ax = plot.raster(srl.simulate(net, x), inputs=x)
    points = marks(ax)["x"]
    assert sorted(zip(points[:, 1], points[:, 0] / 0.5, strict=True)) == sorted((k, t) for t, _, k in np.argwhere(x))
    assert points[:, 1].max() < marks(ax)["a"][:, 1].min()
    with pytest.raises(ValueError, match="60 steps of 1 lanes"):
        plot.raster(srl.simulate(net, x), inputs=x[:5])


# -- traces, weights, connections ------------------------------------------------------------------------------------------
def test_traces_are_the_recorded_states_with_events_and_threshold(net, run):
    ax = plot.traces(run, "a", [2, 6], lane=1)
    lines = [line for line in ax.lines if len(line.get_xdata()) == 60]
    for line, unit in zip(lines, (2, 6), strict=True):
        v = run.states["a"]["v"][:, 1, unit]
        assert np.ptp(v) > 0.01, "the test needs a living unit"
        np.testing.assert_allclose(np.diff(line.get_ydata()), np.diff(v), atol=1e-7)
    dashed = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linestyle() != "-"]
    heights = [line.get_ydata()[0] - trace.get_ydata()[0] for line, trace in zip(dashed, lines, strict=True)]
    assert heights == pytest.approx([0.02 - run.states["a"]["v"][0, 1, unit] for unit in (2, 6)])
    ticks = [len(c.get_segments()) for c in ax.collections]
    assert ticks == [len(run.events.of(1, unit, unit + 1)) for unit in (2, 6)] and sum(ticks) > 5
    assert ax.get_title(loc="left") == "bar: 50 mV" and np.ptp(ax.lines[-1].get_ydata()) == pytest.approx(0.05)


def test_traces_follow_units_that_were_recorded_alone(net):
    x = np.ones((50, 1, 3))
    some = srl.simulate(net, x, record=srl.Record(units={"a": [6, 2]}, every=5))
    whole = srl.simulate(net, x)
    line = next(line for line in plot.traces(some, "a", [2]).lines if len(line.get_xdata()) == 10)
    np.testing.assert_allclose(np.diff(line.get_ydata()), np.diff(whole.states["a"]["v"][::5, 0, 2]), atol=1e-7)
    with pytest.raises(ValueError, match=r"units is 3; legal: units recorded of 'a': \[6, 2\]"):
        plot.traces(some, "a", [3])
    with pytest.raises(ValueError, match=r"population is None; legal: one whose states were recorded: \['a', 'b'\]"):
        plot.traces(some)


def test_weights_show_synapses_and_gaps(net):
    ax = plot.weights(net, "b<-b", "h")
    shown = ax.images[0].get_array()
    matrix = net.view(net.theta)["b<-b"]["h"].toarray()
    np.testing.assert_allclose(shown.filled(0), matrix)
    assert np.array_equal(~shown.mask, matrix != 0) and 0 < shown.mask.sum() < 25
    assert plot.weights(net, "z").images[0].get_array().shape == (2, 5)
    with pytest.raises(ValueError, match="port is None; legal: 'u', 'r', 'h'"):
        plot.weights(net, "b<-b")


def test_weight_change_counts_synapses_alone(net):
    ax = plot.weight_change(net, "b<-b", "h", before=2 * net.theta, bins=7)
    counts = [patch.get_xy()[:, 1].sum() for patch in ax.patches]
    assert len(counts) == 2
    drawn = [np.diff(np.unique(patch.get_xy()[:, 0])).min() for patch in ax.patches]
    assert drawn[0] == pytest.approx(drawn[1]), "the same bins"


def test_connectivity_names_all_parts(net):
    texts = [text.get_text() for text in plot.connectivity(net).texts]
    assert {"x\n3 channels", "a\n7 lif", "b\n5 egru", "z\n2 outputs", "all to all\ndelay 2 to 6"} <= set(texts)


def test_confusion_counts():
    rng = np.random.default_rng(0)
    labels, said = rng.integers(-1, 3, 200), rng.integers(0, 3, 200)
    ax = plot.confusion(labels, said)
    for text in ax.texts:
        column, row = text.get_position()
        assert int(text.get_text()) == int(((labels == row) & (said == column)).sum())
    for wrong, message in (([0, 3], "predicted is 3"), ([0, 0.5], "whole numbers")):
        with pytest.raises(ValueError, match=message):
            plot.confusion([0, 1], wrong, ["a", "b"])


# -- curves ----------------------------------------------------------------------------------------------------------------
def test_learning_curve_draws_the_values(rows):
    (line,) = plot.learning_curve(rows, smooth=1).lines
    assert line.get_xdata().tolist() == [r["step"] for r in rows]
    assert line.get_ydata() == pytest.approx([r["loss"] for r in rows])


def test_learning_curve_smooths_over_the_raw_values(rows):
    raw, mean = plot.learning_curve(rows, smooth=5).lines
    assert raw.get_ydata() == pytest.approx([r["loss"] for r in rows])
    assert mean.get_ydata()[40] == pytest.approx(np.mean([r["loss"] for r in rows[38:43]]))


def test_learning_curve_of_several_runs_is_their_mean_in_a_band(rows):
    others = [[r | {"loss": k * r["loss"]} for r in rows[: 80 - 10 * k]] for k in (1, 2, 3)]
    ax = plot.learning_curve({"one": rows, "three": others}, smooth=1)
    assert ax.lines[1].get_xdata().tolist() == list(range(1, 51)), "as far as all go"
    assert ax.lines[1].get_ydata() == pytest.approx([2 * r["loss"] for r in rows[:50]])
    (band,) = ax.collections
    edges = band.get_paths()[0].vertices
    assert edges[edges[:, 0] == 10][:, 1].max() == pytest.approx(0.3)
    assert edges[edges[:, 0] == 10][:, 1].min() == pytest.approx(0.1)


def test_learning_curve_skips_rows_without_the_metric(rows):
    sparse = [r | ({"valid_accuracy": 0.5} if r["step"] % 20 == 0 else {}) for r in rows]
    ax = plot.learning_curve({"one": sparse, "two": History(sparse)}, metric="valid_accuracy", references={"chance": 0.1})
    assert [line.get_xdata().tolist() for line in ax.lines[:2]] == [[20, 40, 60, 80]] * 2
    assert ax.get_ylabel() == "validation accuracy (share correct)"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["one", "two", "chance (0.1)"]


def test_columns_and_rows_are_the_same(rows):
    columns = {name: [r[name] for r in rows] for name in ("step", "loss")}
    for a, b in zip(plot.learning_curve(rows).lines, plot.learning_curve(columns).lines, strict=True):
        assert a.get_xydata() == pytest.approx(b.get_xydata())


def test_loss_against_macs(rows):
    (line,) = plot.loss_against_macs(rows, smooth=1).lines
    assert line.get_xdata().tolist() == [r["macs"] for r in rows]


def test_missing_columns_are_named(rows):
    with pytest.raises(ValueError, match=r"no column 'accuracy'; columns: .*'loss'"):
        plot.learning_curve(rows, metric="accuracy")
    with pytest.raises(ValueError, match="no column of zeros or activity"):
        plot.sparsity([{"loss": 1.0}])
    with pytest.raises(ValueError, match="equal length"):
        plot.learning_curve({"step": [1, 2], "loss": [1.0]})


def test_sparsity_areas_add_up_to_all_zeros():
    zeros = {"zeros": [0.9, 0.8], "zeros_mask": [0.5, 0.5], "zeros_columns": [0.2, 0.1], "zeros_rows": [0.1, 0.1]}
    ax = plot.sparsity(zeros | {"gradient_activity": [0.4, 0.3]})
    tops = [area.get_paths()[0].vertices[:, 1].max() for area in ax.collections]
    assert tops == pytest.approx([0.5, 0.7, 0.8, 0.9])
    assert ax.lines[0].get_ydata().tolist() == [0.4, 0.3]


def test_fit_writes_what_the_figures_read():
    net = (
        srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 6).connect("x", "h").connect("h", "h", density=0.5)
    )
    net.add_readout("z", "h", 2).initialize(0)
    history = srl.fit(
        net, srl.tasks.spiral(0), srl.RTRL(), srl.optimizers.adam(1e-2), steps=6, batch=4, zeros_every=2, progress=False
    )
    assert len(plot.sparsity(history).collections) == 4
    assert plot.loss_against_macs(history, smooth=1).lines[0].get_xdata()[-1] == history.last("macs")
    assert plot.savings(history).patches[1].get_width() == pytest.approx(history.last("macs") / history.last("macs_dense"))


# -- influence, alignment, savings, surrogates --------------------------------------------------------------------------------
def test_influence_shows_magnitudes_and_masks_exact_zeros():
    matrix = np.array([[0.0, -2.0, 1e-3], [0.5, 0.0, 0.0]])
    ax = plot.influence(matrix)
    shown = ax.images[0].get_array()
    assert np.array_equal(shown.mask, matrix == 0)
    assert shown.compressed() == pytest.approx([2.0, 1e-3, 0.5])
    assert ax.get_title(loc="left").startswith("50% of 2 x 3")


@pytest.mark.parametrize("of", ["state", "message"])
def test_influence_of_a_learner(net, of):
    x, loss = as_input(net, np.ones((30, 1, 3))), srl.losses.cross_entropy([1], at="last")
    machine, learner = simulator(net), srl.RTRL()
    memory = learner.init(net, 1)
    tape = machine.run(machine.start(1), x)
    learner.update(memory, tape, signal_of(net, loss, tape, 0, 30))
    wanted = cost.influence(memory, 0, of)
    ax = plot.influence(memory, of=of)
    assert np.any(wanted) and np.array_equal(np.ma.getmaskarray(ax.images[0].get_array()), wanted == 0)
    assert ax.get_xlabel() == "parameter, grouped by receiving unit"


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.eye(3)])
def test_influence_of_one_value(matrix):
    plot.influence(matrix).figure.canvas.draw()


@pytest.mark.parametrize("matrix", [np.zeros(3), np.zeros((0, 3)), np.full((2, 2), np.nan)])
def test_influence_refuses(matrix):
    with pytest.raises(ValueError, match="needs a finite matrix"):
        plot.influence(matrix)


def test_alignment_and_savings_of_a_comparison(net):
    x, loss = np.ones((20, 1, 3)), srl.losses.cross_entropy([1], at="last")
    found = srl.compare(net, [srl.RTRL(), srl.SnAp(order=1), srl.Immediate()], x, loss)
    ax = plot.alignment(found)
    drawn = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    assert list(drawn) == list(found.cosine)[1:], "the reference is the line at 1"
    for name, line in drawn.items():
        assert np.array_equal(line.get_xdata(), list(found.cosine[name].values()), equal_nan=True)
        assert np.rint(line.get_ydata()).tolist() == list(range(len(found.cosine[name])))
    done = {name: c.macs / c.macs_dense for name, c in found.cost.items() if c}
    bars = plot.savings(found.cost)
    assert [bar.get_width() for bar in bars.patches[1::2]] == pytest.approx(list(done.values()))
    assert [t.get_text() for t in bars.get_yticklabels()] == list(done)


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="no learner to draw"):
        plot.alignment({})
    with pytest.raises(ValueError, match="nothing to draw"):
        plot.savings({"BPTT": None})


def test_surrogate_draws_psi():
    ax = plot.surrogate([triangle(0.7, 0.5), boxcar(), gaussian()])
    for line, psi in zip(ax.lines, (triangle(0.7, 0.5), boxcar(), gaussian()), strict=True):
        assert line.get_ydata() == pytest.approx([psi(v) for v in line.get_xdata()])
    assert [t.get_text().split(", ")[1] for t in ax.get_legend().get_texts()] == ["zero beyond 0.5"] * 2 + ["never zero"]


# -- all -------------------------------------------------------------------------------------------------------------------
def test_given_axes_are_used_and_returned(run, rows):
    figure = Figure()
    panels = figure.subplots(4, 2).ravel()
    draw = [
        lambda ax: plot.raster(run, ax=ax),
        lambda ax: plot.learning_curve(rows, ax),
        lambda ax: plot.loss_against_macs(rows, ax),
        lambda ax: plot.sparsity(rows, ax),
        lambda ax: plot.influence(np.eye(3), ax),
        lambda ax: plot.alignment({"a": {"all": 0.5}}, ax),
        lambda ax: plot.savings(rows, ax),
        lambda ax: plot.surrogate(triangle(), ax),
    ]
    for function, ax in zip(draw, panels, strict=True):
        assert function(ax) is ax
    figure.canvas.draw()


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_save_makes_folders(tmp_path, rows, suffix):
    path = plot.save(plot.learning_curve(rows), tmp_path / "new" / f"curve{suffix}")
    assert path.stat().st_size > 1000


def test_no_backend_is_chosen_and_no_pyplot_imported():
    code = (
        "import sys, spikertrl.plot as plot\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plot.learning_curve([{'loss': 1.0}]).figure.canvas.draw()\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
