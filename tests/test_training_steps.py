"""What a run of fit is, step by step: beside a loop written out here, and beside simulations without learning."""

from __future__ import annotations

import io
import itertools
import os
import signal
from typing import Any

import numpy as np
import pytest
from tqdm.auto import tqdm

import spikertrl as srl
from spikertrl import optimizers
from spikertrl.learners.base import Signal
from spikertrl.losses.base import Loss
from spikertrl.losses.base import Signal as Told
from spikertrl.optimizers import Optimizer
from spikertrl.simulation.run import simulator
from spikertrl.tasks.base import Sequence, Stream
from spikertrl.training import session as sessions
from spikertrl.training.fit import CheckpointError, Interrupted, TrainingDiverged, _count, _postfix
from spikertrl.training.gradients import signal_of
from spikertrl.training.history import History, early_stop

T, LANES = 8, 3


def network(model: Any = srl.models.egru, **options: Any) -> srl.Network:
    options = {"theta": 0.05} | options if model is srl.models.egru else options
    net = srl.Network("float64").add_input("x", 2).add_population("h", model, 7, **options)
    return net.connect("x", "h", delay=1).connect("h", "h", delay=2).add_readout("z", "h", 1, decay=0.5).initialize(0)


class Still(Optimizer):
    """Moves nothing and counts."""

    def __init__(self) -> None:
        self.thetas: list[np.ndarray] = []

    def buffers(self) -> tuple[str, ...]:
        return ()

    def advance(self, state: Any, theta: np.ndarray, grad: np.ndarray) -> None:
        self.thetas.append(theta.copy())


def data(steps: int = T, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return 2 * rng.normal(size=(steps, LANES, 2)), rng.normal(size=(steps, LANES, 1))


class Pieces(Stream):
    """A stream out of given arrays; ``anew`` (steps, lanes): where lanes begin anew."""

    name, n_in, n_out, tau = "pieces", 2, 1, T

    def __init__(self, x: np.ndarray, y: np.ndarray, tau: int = T, anew: np.ndarray | None = None) -> None:
        self.x, self.y, self.tau, self.anew, self.place, self.rng = x, y, tau, anew, 0, np.random.default_rng(0)
        self.observed: list[float] = []

    def start(self, n: int) -> None:
        del n

    def draw(self, steps: int):
        part = slice(self.place, self.place + steps)
        self.place += steps
        self.fresh = None if self.anew is None else self.anew[part]
        return self.x[part], self.y[part]

    def loss(self, labels):
        return srl.losses.squared_error(labels)

    def score(self, z, labels):
        return {"error": float(np.abs(z - labels).mean())}

    @property
    def valid(self):
        return self.x[:T], self.y[:T]

    test = valid

    def observe(self, value):
        self.observed.append(value)
        return False

    def extra_state(self):
        return super().extra_state() | {"place": self.place}

    def restore_extra(self, state):
        super().restore_extra(state)
        self.place = state["place"]


class Given(Sequence):
    """The same sequences at every batch, with any loss."""

    name, n_in, n_out = "given", 2, 1

    def __init__(self, loss: Any = None) -> None:
        (self.x, self.y), self.rng, self._loss = data(), np.random.default_rng(0), loss

    def batch(self, n):
        return self.x, self.y

    def loss(self, labels):
        return self._loss or srl.losses.squared_error(labels)

    def score(self, z, labels):
        return {"error": float(np.abs(z - labels).mean())}

    @property
    def valid(self):
        return self.x, self.y

    test = valid


def fit(net: srl.Network, task: Any, optimizer: Any = None, steps: int = 3, learner: Any = None, **options: Any) -> History:
    learner, optimizer = learner or srl.RTRL(), optimizer or Still()
    return srl.fit(net, task, learner, optimizer, steps=steps, batch=LANES, progress=False, **options)


def half_squares(z: np.ndarray, y: np.ndarray) -> float:
    return float(0.5 * ((z - y) ** 2).sum(-1).mean())


# -- updates: how many, in which order -----------------------------------------------------------------------------------
@pytest.mark.parametrize("tau", [None, 3, 1])
def test_a_run_is_the_loop_written_out(tau):
    """Piece after piece: simulate with the parameters of now, loss share, gradient, update; the regulariser is part of it."""
    regularizer = srl.losses.activity("h", 0.7, 3.0)
    net, task = network(), Pieces(*data(3 * T))
    history = fit(net, task, optimizers.adam(1e-2), tau=tau, regularizer=regularizer)

    other, (x, y), learner, adam = network(), data(3 * T), srl.RTRL(), optimizers.adam(1e-2)
    machine = simulator(other)
    state, memory, opt, losses = machine.start(LANES), learner.init(other, LANES), adam.init(other.theta), []
    for batch in range(3):
        total = 0.0
        for a in range(0, T, tau or T):
            part = slice(a, min(a + (tau or T), T))
            tape = machine.run(state, x[batch * T : (batch + 1) * T][part])
            loss = srl.losses.squared_error(y[batch * T : (batch + 1) * T]) + regularizer
            told = signal_of(other, loss, tape, a, T)
            adam.update(opt, other.theta, learner.update(memory, tape, told))
            total += told.value
        losses.append(total)
    assert np.abs(net.theta - network().theta).max() > 1e-3
    np.testing.assert_array_equal(net.theta, other.theta)
    assert history["loss"].tolist() == losses == task.observed


@pytest.mark.parametrize(("tau", "updates"), [(None, 1), (8, 1), (5, 2), (3, 3), (1, 8)])
def test_every_piece_is_one_update(tau, updates):
    still = Still()
    fit(network(), Given(), still, steps=2, tau=tau)
    assert len(still.thetas) == 2 * updates


def test_the_rate_is_that_of_the_update_also_after_a_pause(tmp_path):
    def run(steps, asked):
        fit(network(), Given(), optimizers.sgd(lambda step: asked.append(step) or 0.0), steps=steps, tau=4, resume="anyway",
            checkpoint=tmp_path / "c.npz")  # fmt: skip
        return asked

    assert run(2, []) == [0, 1, 2, 3]
    assert run(3, []) == [4, 5]


def test_a_step_of_sgd_is_the_rate_times_the_gradient():
    net = network()
    before = net.theta.copy()
    _, gradient = srl.gradient(net, srl.RTRL(), data()[0], srl.losses.squared_error(data()[1]))
    fit(net, Given(), optimizers.sgd(srl.schedules.step(0.5, 0.1, 1)), steps=1)
    assert np.abs(gradient).max() > 1e-2
    np.testing.assert_allclose(before - net.theta, 0.5 * gradient, rtol=1e-9, atol=1e-14)


# -- losses of pieces ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("tau", [None, 5, 3, 1])
def test_a_stream_goes_on_from_batch_to_batch(tau):
    net, (x, y) = network(), data(3 * T)
    history = fit(net, Pieces(x, y), tau=tau)
    z = srl.simulate(net, x).z
    expected = [half_squares(z[a : a + T], y[a : a + T]) for a in (0, T, 2 * T)]
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-12)


@pytest.mark.parametrize("tau", [None, 3, 1])
def test_a_sequence_begins_anew_at_every_batch(tau):
    net, (x, y) = network(), data()
    history = fit(net, Given(), tau=tau)
    np.testing.assert_allclose(history["loss"], half_squares(srl.simulate(net, x).z, y), rtol=1e-12)


@pytest.mark.parametrize("tau", [3, 2, 1])
def test_a_mask_and_a_regulariser_are_cut_at_the_borders_of_pieces(tau):
    """Steps that count lie on both sides of the borders; the sum over pieces is the loss of the whole."""
    counted = np.zeros(T, bool)
    counted[[0, 2, 3, 5]] = True
    loss, regularizer = srl.losses.squared_error(data()[1], at=counted), srl.losses.activity("h", 0.9, 2.0)
    net = network()
    ways = ((tau, regularizer), (None, regularizer), (tau, None))
    cut, whole, bare = (fit(net, Given(loss), steps=1, tau=t, regularizer=r)["loss"][0] for t, r in ways)
    run = srl.simulate(net, data()[0])
    masked = half_squares(run.z[counted], data()[1][counted])
    share = ((run.messages["h"] != 0).mean((1, 2)) - 0.9) ** 2
    assert share.mean() > 0.01 and bare == pytest.approx(masked, rel=1e-12)
    assert cut == pytest.approx(masked + 2.0 * share.mean(), rel=1e-12) and whole == pytest.approx(cut, rel=1e-12)


def test_only_the_lanes_that_begin_anew_do_so():
    net, (x, y), anew = network(), data(2 * T), np.zeros((2 * T, LANES), bool)
    anew[T + 2, 1] = True
    history = fit(net, Pieces(x, y, anew=anew), steps=2, tau=1)
    z = srl.simulate(net, x).z
    assert history["loss"][0] == pytest.approx(half_squares(z[:T], y[:T]), rel=1e-12)
    as_if_nothing = half_squares(z[T:], y[T:])
    z[T + 2 :, 1] = srl.simulate(net, x[T + 2 :, 1:2]).z[:, 0]
    assert history["loss"][1] == pytest.approx(half_squares(z[T:], y[T:]), rel=1e-12)
    assert abs(history["loss"][1] - as_if_nothing) > 1e-6
    with pytest.raises(ValueError, match=r"begins anew inside a piece of 4 steps; use fit\(tau=1\)"):
        fit(network(), Pieces(x, y, anew=anew), steps=2, tau=4)


# -- rows of the history -------------------------------------------------------------------------------------------------
def test_rows_say_what_happened(monkeypatch):
    """Shares of events and of gradient-active units, counted on a simulation; time by a clock that ticks."""
    ticks = itertools.count()
    monkeypatch.setattr(sessions.time, "perf_counter", lambda: float(next(ticks)))
    net = network(srl.models.threshold_rnn, surrogate=srl.surrogates.triangle(0.7, 0.3))
    history = fit(net, Given(), steps=3, tau=3)
    run = srl.simulate(net, data()[0])
    fired, near = (run.messages["h"] != 0).mean(), (np.abs(run.states["h"]["v"]) < 0.3).mean()
    assert 0.1 < near < 0.4 and abs(fired - near) > 0.1
    np.testing.assert_allclose(history["activity"], fired, rtol=1e-12)
    np.testing.assert_allclose(history["gradient_activity"], near, rtol=1e-12)
    assert history["step"].tolist() == [1, 2, 3] and history["seconds"].tolist() == [1.0, 2.0, 3.0]
    assert history.columns == ["step", "loss", "seconds", "activity", "gradient_activity", "macs", "macs_dense"]
    done = history["macs"]
    assert (np.diff(done) > 0).all() and (done < history["macs_dense"]).all()
    dense = history["macs_dense"]
    np.testing.assert_allclose(dense, dense[0] * np.arange(1, 4))


def test_a_history_says_what_it_holds_and_leaves_the_program(tmp_path):
    rows = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "valid_a": 1.0}, {"step": 3, "loss": 0.75}]
    history = History(rows)
    assert repr(history) == "History(3 steps; columns step, loss, valid_a)"
    assert repr(History()) == "History(0 steps; columns none)"
    assert history.columns == ["step", "loss", "valid_a"] and history.last("valid_a") == 1.0 and history.last("loss") == 0.75
    np.testing.assert_array_equal(history["valid_a"], [np.nan, 1.0, np.nan])
    steps, values = history.series("valid_a")
    assert steps.dtype == int and steps.tolist() == [2] and values.tolist() == [1.0]
    with pytest.raises(KeyError, match=r"no column 'x'; columns: \['step', 'loss', 'valid_a'\]"):
        history["x"]
    table, lines = tmp_path / "new" / "folders" / "h.csv", tmp_path / "others" / "here" / "h.jsonl"
    assert history.to_csv(str(table)) == table and history.to_jsonl(str(lines)) == lines
    assert table.read_text() == "step,loss,valid_a\n1,0.5,\n2,0.25,1.0\n3,0.75,\n"
    assert lines.read_text().startswith('{"step": 1, "loss": 0.5}\n') and lines.read_text().count("\n") == 3
    assert history.to_csv(table) == table and History.from_jsonl(str(lines)).rows == rows
    shown = history._repr_html_()
    assert "History, 3 steps" in shown and "<td>0.5</td><td>0.75</td>" in shown
    with pytest.raises(ValueError, match="early_stop: patience must be at least 1, got 0"):
        early_stop("loss", 0)
    assert not early_stop("loss", 1)(History(rows[:2])) and early_stop("loss", 1)(history)


def test_time_goes_on_after_a_pause(tmp_path, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(sessions.time, "perf_counter", lambda: float(next(ticks)))
    fit(network(), Given(), steps=2, checkpoint=tmp_path / "c.npz")
    history = fit(network(), Given(), steps=4, checkpoint=tmp_path / "c.npz")
    assert history["seconds"].tolist() == [1.0, 2.0, 3.0, 4.0] and history["step"].tolist() == [1, 2, 3, 4]


class Kept:
    """RTRL that shows its state."""

    claim = "exact"

    def init(self, net, batch):
        self.state = srl.RTRL().init(net, batch)
        return self.state

    def update(self, state, tape, told):
        return srl.RTRL().update(state, tape, told)


def test_zeros_are_those_of_the_influence_that_learned():
    net, learner = network(surrogate=srl.surrogates.triangle(0.7, 0.2)), Kept()
    found = []
    history = fit(net, Pieces(*data(4 * T)), steps=4, tau=1, learner=learner, zeros_every=2,
                  callbacks=[lambda n, h: found.append(srl.cost.zeros(n, learner.state))])  # fmt: skip
    assert history.series("zeros")[0].tolist() == [2, 4]
    for step, zeros in ((2, found[1]), (4, found[3])):
        row = history.rows[step - 1]
        said = [row[f"zeros{n}"] for n in ("", "_mask", "_columns", "_rows")]
        assert said == [zeros.all, zeros.mask, zeros.columns, zeros.rows]
        assert zeros.all < 0.99 * srl.cost.zeros(net, srl.RTRL().init(net, LANES)).all


def test_zeros_of_a_sequence_are_those_at_its_end():
    """Learners need not know their influence where a sequence ends; a second one is advanced that does."""
    net, learner = network(surrogate=srl.surrogates.triangle(0.7, 0.2)), srl.RTRL()
    row = fit(net, Given(), steps=1, tau=3, zeros_every=1).rows[0]
    machine, memory = simulator(net), learner.init(net, LANES)
    state = machine.start(LANES)
    for a in (0, 3, 6):
        tape = machine.run(state, data()[0][a : a + 3])
        learner.update(memory, tape, Signal(0.0, np.zeros_like(tape.z)))
    zeros = srl.cost.zeros(net, memory)
    assert [row[f"zeros{n}"] for n in ("", "_mask", "_columns", "_rows")] == [zeros.all, zeros.mask, zeros.columns, zeros.rows]
    assert zeros.all < 0.99 * srl.cost.zeros(net, learner.init(net, LANES)).all


@pytest.mark.parametrize(("at", "batch", "step"), [(1, 1, 2), (T + 4, 2, 5)])
def test_a_state_that_is_not_finite_is_said_by_its_step_in_the_batch(at, batch, step):
    """In the very first piece, and in the second one of the second batch: the clock of a stream goes on."""
    net, (x, y) = network(srl.models.threshold_rnn), data(2 * T)
    for weights in net.view(net.theta)["h<-x"].values():
        weights[...] = 10.0
    x[at] = 1e308
    with pytest.raises(TrainingDiverged, match=rf"^step {batch}: .* at step {step} of the batch; lower the learning") as caught:
        fit(net, Pieces(x, y), tau=3)
    assert len(caught.value.history) == batch - 1


@pytest.mark.parametrize(
    ("steps", "every", "when"), [(5, 2, [2, 4, 5]), (4, 2, [2, 4]), (3, 5, [3]), (3, 1, [1, 2, 3]), (np.int64(3), 2, [2, 3])]
)
def test_validation_comes_in_time_and_at_the_end_with_the_parameters_of_then(steps, every, when):
    net, now = network(), []
    history = fit(net, Given(), optimizers.adam(1e-2), steps=steps, validate_every=every,
                  callbacks=[lambda n, h: now.append(srl.evaluate(n, Given(), *data())["error"])])  # fmt: skip
    at, values = history.series("valid_error")
    assert at.tolist() == when and len(set(now)) == steps
    assert values.tolist() == [now[step - 1] for step in when]


def test_evaluation_changes_nothing():
    whole, looked = network(), network()
    fit(whole, Pieces(*data(3 * T)), optimizers.adam(1e-2))
    fit(looked, Pieces(*data(3 * T)), optimizers.adam(1e-2), validate_every=1, zeros_every=1)
    np.testing.assert_array_equal(whole.theta, looked.theta)


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_every_callback_is_called_at_every_step_in_order(kind):
    calls: list[tuple[str, int, bool]] = []
    net = network()

    def make(name):
        return lambda n, h: calls.append((name, len(h), n is net))

    fit(net, Given(), callbacks=kind([make("a"), make("b"), make("c")]))
    assert calls == [(name, step, True) for step in (1, 2, 3) for name in "abc"]


def test_a_bar_is_shown_unless_it_is_not_wanted_and_leaves_the_first_step_out_of_its_time(capsys):
    srl.fit(network(), Given(), srl.RTRL(), Still(), steps=3, batch=LANES)
    assert "3/3" in (shown := capsys.readouterr().err) and "loss=" in shown and "active=" in shown
    fit(network(), Given())
    assert not capsys.readouterr().err
    bar, history = tqdm(total=3, file=io.StringIO(), mininterval=1e6), History([{"loss": 0.5, "activity": 0.25}])
    _count(bar, history, first=True)
    assert (bar.n, bar.initial, bar.postfix) == (1, 1, "loss=0.5, active=25%")
    history.rows[0]["loss"] = 0.4
    _count(bar, history, first=False)
    assert (bar.n, bar.initial, bar.postfix) == (2, 1, "loss=0.5, active=25%"), "it will not be drawn yet"
    _count(bar, history, first=False)
    assert (bar.n, bar.postfix) == (3, "loss=0.4, active=25%"), "the last one is"
    rows = [{"loss": float(k), "activity": 0.25} for k in range(1000)]
    assert _postfix(History([rows[0] | {"valid_a": 0.5}, *rows[1:]])) == {"loss": "989.5", "active": "25%", "valid_a": "0.5"}
    assert _postfix(History([rows[0] | {"valid_a": 0.5}, *rows])) == {"loss": "989.5", "active": "25%"}, "too long ago"


# -- stop and divergence -------------------------------------------------------------------------------------------------
def test_an_early_stop_is_saved(tmp_path):
    path, net = tmp_path / "c.npz", network()
    history = fit(net, Given(), optimizers.adam(1e-2), steps=9, stop=lambda h: len(h) == 2, checkpoint=path)
    assert len(history) == 2 and path.exists()
    again = network()
    assert len(fit(again, Given(), optimizers.adam(1e-2), steps=2, checkpoint=path)) == 2
    np.testing.assert_array_equal(again.theta, net.theta)


def test_the_stop_rule_looks_at_the_best():
    def first(values, **options):
        rule = early_stop("m", **options)
        rows = [{"step": i, "m": v} for i, v in enumerate(values, 1)]
        return next((i for i in range(1, len(rows) + 1) if rule(History(rows[:i]))), None)

    assert first([3, 2, 1, 2, 1.5, 0.5], patience=2) == 5
    assert first([3, 2, 1, 2, 0.5, 2, 2], patience=2) == 7
    assert first([3, 3, 3], patience=2) == 3, "no improvement is none"
    assert first([1, 2, 3, 2, 2.5], patience=2, larger_is_better=True) == 5
    assert first([1, 2, 3], patience=3) is None
    gap = [{"step": 1, "m": 1.0}, {"step": 2}, {"step": 3, "m": 2.0}, {"step": 4}]
    assert not early_stop("m", 2)(History(gap)), "steps without the metric do not count"
    rule, grows = early_stop("m", 2), History()
    for value, stops in zip([3, 1, 2, 2, 0.5, 1, 1], [False, False, False, True, False, False, True], strict=True):
        grows.rows.append({"m": value})
        assert rule(grows) == stops, "asked at every step, it reads what is new"
    del grows.rows[4:]
    assert rule(grows) and not rule(History(grows.rows[:3])), "and anew where the history is another or shorter"


class Infinite(Loss):
    """A value that is not finite, with a gradient that is."""

    def signal(self, readouts, messages, start, total):
        return Told(np.inf, {name: np.zeros_like(z) for name, z in readouts.items()}, {})

    def at_steps(self, total):
        return np.ones(total, bool)


def test_a_loss_that_is_not_finite_is_said_though_its_gradient_is():
    net = network()
    with pytest.raises(TrainingDiverged, match="step 1: the loss is inf") as caught:
        fit(net, Given(Infinite()))
    assert len(caught.value.history) == 0
    np.testing.assert_array_equal(net.theta, network().theta)


def test_targets_that_the_network_cannot_hold_are_said():
    net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 3).connect("x", "h").add_readout("z", "h", 1)
    with pytest.raises(ValueError, match=r"a target of step 1 is 1e\+39 .* up to 3.4e\+38"):
        fit(net.initialize(0), srl.tasks.arrays(data()[0], np.full((T, LANES, 1), 1e39)))


def test_an_optimizer_that_overflows_is_not_saved(tmp_path):
    """In float32 the mean square of a gradient of 1e30 is infinite, and every later step 0: not a state to go on from."""
    net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 3).connect("x", "h").add_readout("z", "h", 1)
    task = srl.tasks.arrays(data()[0], np.full((T, LANES, 1), 1e15), loss=lambda y: 1e15 * srl.losses.squared_error(y))
    with pytest.raises(TrainingDiverged, match=r"after step 1: optimizer\['square'\] is not finite"):
        fit(net.initialize(0), task, optimizers.adam(1e-3), steps=1, checkpoint=tmp_path / "c.npz")
    assert not (tmp_path / "c.npz").exists()


# -- pauses --------------------------------------------------------------------------------------------------------------
WAYS = {
    "momentum": optimizers.momentum(1e-2, nesterov=True), "adamw": optimizers.adamw(1e-2), "rmsprop": optimizers.rmsprop(1e-3),
    "schedule": optimizers.sgd(srl.schedules.warmup_cosine(1e-2, 2, 9)),
    "clip": optimizers.clip_norm(optimizers.adam(1e-2), 0.1),
    "groups": optimizers.scale_groups(optimizers.momentum(1e-2), np.linspace(0, 1, network().theta.size)),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_optimizers_go_on_after_a_pause_to_the_bit(name, tmp_path):
    whole, cut, rest = network(), network(), network()
    fit(whole, Given(), WAYS[name], steps=5, tau=3)
    fit(cut, Given(), WAYS[name], steps=2, tau=3, checkpoint=tmp_path / "c.npz")
    fit(rest, Given(), WAYS[name], steps=5, tau=3, checkpoint=tmp_path / "c.npz")
    assert np.abs(whole.theta - cut.theta).max() > 1e-4
    np.testing.assert_array_equal(rest.theta, whole.theta)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


POINTS = ["batch", "loss", "update", "advance", "observe", "score", "callback", "stop", "save"]


@pytest.mark.parametrize("point", POINTS)
def test_an_interrupt_at_any_point_finishes_the_step_and_is_saved(point, tmp_path, monkeypatch):
    """Once in the second step, wherever: the file holds whole steps, and the run ends where it would have without."""
    path, seen = tmp_path / "c.npz", []

    def at(where, result=None):
        seen.append(where)
        if where == point and seen.count(point) == 2:
            press()
        return result

    class Task(Pieces):
        def draw(self, steps):
            return at("batch", super().draw(steps))

        def loss(self, labels):
            return at("loss", super().loss(labels))

        def observe(self, value):
            return at("observe", False)

        def score(self, z, labels):
            return at("score", super().score(z, labels))

    class Learner(Kept):
        def update(self, state, tape, told):
            return at("update", super().update(state, tape, told))

    class Sgd(type(optimizers.sgd(1.0))):
        def advance(self, state, theta, grad):
            super().advance(state, theta, grad)
            at("advance")

    def run(net, steps=4, **options):
        return fit(net, Task(*data(4 * T)), Sgd(1e-2), steps=steps, learner=Learner(), validate_every=1, **options)

    save = sessions.Session.save
    monkeypatch.setattr(sessions.Session, "save", lambda self, path: at("save", save(self, path)))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as caught:
        run(network(), checkpoint=path, checkpoint_every=1, callbacks=[lambda n, h: at("callback")],
            stop=lambda h: at("stop", False))  # fmt: skip
    done = len(caught.value.history)
    assert done == (3 if point == "save" else 2) and signal.getsignal(signal.SIGINT) is before
    whole, rest = network(), network()
    expected = run(whole)
    again = run(rest, checkpoint=path)
    np.testing.assert_array_equal(rest.theta, whole.theta)
    assert again["loss"].tolist() == expected["loss"].tolist() and len(again) == 4


def test_an_interrupt_while_the_last_file_is_written_is_not_swallowed(tmp_path, monkeypatch):
    save = sessions.Session.save
    monkeypatch.setattr(sessions.Session, "save", lambda self, path: (save(self, path), press()))
    with pytest.raises(Interrupted, match="stopped after step 1"):
        fit(network(), Given(), steps=1, checkpoint=tmp_path / "c.npz")
    assert (tmp_path / "c.npz").exists()


def test_a_second_interrupt_acts_at_once_and_keeps_the_history(tmp_path):
    class Task(Given):
        count = 0

        def loss(self, labels):
            self.count += 1
            if self.count == 2:
                press()
                press()
            return super().loss(labels)

    with pytest.raises(KeyboardInterrupt) as caught:
        fit(network(), Task(), checkpoint=tmp_path / "c.npz", checkpoint_every=1)
    assert not isinstance(caught.value, Interrupted) and len(caught.value.history) == 1
    assert len(fit(network(), Given(), steps=1, checkpoint=tmp_path / "c.npz", resume="anyway")) == 1


@pytest.mark.parametrize("where", ["score", "stop", "batch"])
def test_whatever_raises_the_finished_steps_are_kept(where, tmp_path):
    def fail(at, history=None):
        if at == where and (history is None or len(history) == 2):
            raise ArithmeticError(at)

    class Task(Pieces):
        def score(self, z, labels):
            fail("score", self.observed)
            return super().score(z, labels)

        def draw(self, steps):
            fail("batch", self.observed)
            return super().draw(steps)

    path, whole, rest = tmp_path / "c.npz", network(), network()
    with pytest.raises(ArithmeticError) as caught:
        fit(network(), Task(*data(3 * T)), optimizers.adam(1e-2), checkpoint=path, checkpoint_every=2, validate_every=1,
            stop=lambda h: fail("stop", h))  # fmt: skip
    assert len(caught.value.history) == 2 and "2 steps were done" in caught.value.__notes__[-1]
    fit(whole, Pieces(*data(3 * T)), optimizers.adam(1e-2))
    fit(rest, Pieces(*data(3 * T)), optimizers.adam(1e-2), checkpoint=path, resume="anyway")
    np.testing.assert_array_equal(rest.theta, whole.theta)


# -- the same run --------------------------------------------------------------------------------------------------------
def test_a_task_that_moves_is_the_same_task(tmp_path):
    """One object for both runs: its curriculum and counters have moved, its settings have not."""
    task = srl.tasks.copy(2)
    net = srl.Network().add_input("x", task.n_in).add_population("h", srl.models.egru, 4).connect("x", "h")
    net.connect("h", "h").add_readout("z", "h", task.n_out).initialize(0)
    for steps in (2, 4):
        history = fit(net, task, optimizers.sgd(0.1), steps=steps, checkpoint=tmp_path / "c.npz")
    assert len(history) == 4


def test_other_data_or_another_rule_is_another_run(tmp_path):
    path, (x, y) = tmp_path / "c.npz", data()
    fit(network(), srl.tasks.arrays(x, y), optimizers.sgd(lambda step: 0.1), steps=1, checkpoint=path)
    for task, rate, what in ((srl.tasks.arrays(x, y + 1), lambda step: 0.1, "task settings, labels"),
                             (srl.tasks.arrays(x, y), lambda step: 0.2, "optimizer, lr")):  # fmt: skip
        with pytest.raises(CheckpointError, match=what):
            fit(network(), task, optimizers.sgd(rate), steps=2, checkpoint=path)


def test_a_folder_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(CheckpointError, match="it is a folder"):
        fit(network(), Given(), checkpoint=tmp_path, resume=False)
