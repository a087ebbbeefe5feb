"""Wrong calls of the public functions: each is refused at the door, in words that name what was given and what is legal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikertrl as srl
from spikertrl import losses, plot, schedules, tasks
from spikertrl.cost import zeros
from spikertrl.models import egru

NAN, INF = float("nan"), float("inf")
NO_NUMBER = (None, "1", 1.5, True, NAN, [1], 1j)  # where a whole number is meant
NO_REAL = (None, "1", NAN, INF, True, [1.0], 1j)  # where a finite number is meant
NO_FLAG = (None, 0, 1, "yes", [])
NO_SEED = (None, "0", -1, 0.5, True)
SMALL = srl.Network().add_input("x", 2).add_population("h", egru, 4).connect("x", "h").connect("h", "h")
SMALL.add_readout("z", "h", 2).initialize(0)
X, Z = np.ones((3, 2, 2)), np.zeros((3, 2, 2))


def record(**settings: Any) -> srl.Run:
    return srl.simulate(SMALL, X, record=srl.Record(**settings))


def each(call: Callable[[Any], Any], values: Any, *words: str) -> list[tuple[Callable[[], Any], tuple[str, ...]]]:
    """One wrong call for every value."""
    return [((lambda value=value: call(value)), words) for value in values]


def loss(one: losses.Loss) -> losses.Signal:
    return one.signal({"z": Z.astype(np.float32)}, {"h": Z}, 0, 3)


def fit(**given: Any) -> Any:
    """A step of training, with these arguments in place of legal ones."""
    legal = {"task": tasks.spiral(), "learner": srl.RTRL(), "optimizer": srl.optimizers.sgd(0.1), "steps": 1, "progress": False}
    return srl.fit(SMALL, **legal | given)


def online(**given: Any) -> srl.Online:
    """The same for a stream."""
    legal = {"learner": srl.RTRL(), "optimizer": srl.optimizers.sgd(0.1), "loss": losses.squared_error}
    return srl.Online(SMALL, **legal | given)


def labelled(label: Any) -> float:
    """A step of an ``Online`` with a loss by readout, learned from this label."""
    one = online(loss={"z": losses.squared_error})
    one.predict_one([1.0, 1.0])
    return one.learn_one(label)


ROWS = [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]
ONE_LOSS = losses.squared_error(0.0)

ALONE = srl.Network().add_population("h", egru, 4).connect("h", "h").initialize(0)
TASK = tasks.arrays(X, Z)
EXACT, SGD = srl.RTRL(), srl.optimizers.sgd(0.1)
RUNS: dict[str, Callable[..., Any]] = {  # each call right in all but what it is given
    "simulate": lambda net=SMALL, x=X, record=None: srl.simulate(net, x, record=record),
    "gradient": lambda net=SMALL, learner=EXACT, x=X, loss=ONE_LOSS, **k: srl.gradient(net, learner, x, loss, **k),
    "compare": lambda net=SMALL, learner=EXACT, x=X, loss=ONE_LOSS, **k: srl.compare(net, [learner], x, loss, **k),
    "evaluate": lambda net=SMALL, task=TASK: srl.evaluate(net, task, X, Z),
    "explain": lambda net=SMALL, learner=EXACT, **k: srl.explain(net, learner, **k),
    "memory": lambda learner=EXACT, **k: SMALL.memory(learner, **k),
    "to_brian": lambda net=SMALL: srl.to_brian(net),
    "Online": lambda net=SMALL, learner=EXACT, optimizer=SGD, loss=losses.squared_error, **k: srl.Online(
        net, learner, optimizer, loss, **k
    ),
    "fit": lambda net=SMALL, task=TASK, learner=EXACT, optimizer=SGD, batch=2, **k: srl.fit(
        net, task, learner, optimizer, steps=1, batch=batch, progress=False, **k
    ),
}
NO_INPUT = (None, "abc", [[1], [1, 2]], 1j * X, np.full(X.shape, "1"), np.full(X.shape, 1e39), {"y": X})
KINDS = (  # argument, wrong values, what is said, calls
    (
        "net",
        ("net", 3, egru, srl.Network),
        "legal: a Network",
        "simulate gradient compare Online fit evaluate explain to_brian",
    ),
    ("learner", ("RTRL", 3, {}), "learner is", "gradient compare Online fit memory explain"),
    ("optimizer", (None, "adam", 0.1, srl.optimizers.adam), "optimizer is", "Online fit"),
    ("loss", (None, "mse", 0.1, losses.squared_error), "legal: a loss", "gradient compare"),
    ("task", (None, "copy", 3, tasks.copy), "srl.tasks.arrays", "fit evaluate"),
    ("regularizer", ("a", 3, losses.activity), "fit: regularizer", "fit"),
    ("stop", ("a", 3), "fit: stop", "fit"),
    ("callbacks", ([3], ["a"]), "fit: callbacks", "fit"),
    ("callbacks", ([3], ["a"]), "(net, history)", "Online"),
    ("metrics", ({"a": 3}, {"a": None}), "(z_t, y_t) -> number", "Online"),
    ("checkpoint", (3, True), "fit: checkpoint", "fit"),
    ("tau", (0, -1, "1", 1.5, True, NAN, [1]), "tau is", "gradient compare fit explain"),
    ("tau", (0, -1, *NO_NUMBER), "tau is", "memory"),
    ("batch", (0, -1, *NO_NUMBER), "batch is", "Online fit memory explain"),
    ("record", ({}, True, srl.Record), "simulate: record", "simulate"),
    ("x", NO_INPUT, "x", "simulate gradient compare"),
)

CALLS: dict[str, list[tuple[Callable[[], Any], tuple[str, ...]]]] = {
    "Record": [
        *each(lambda v: srl.Record(every=v), (0, -1, *NO_NUMBER), "Record: every", "whole number >= 1"),
        *each(lambda v: srl.Record(last=v), (0, -1, *NO_NUMBER[1:]), "Record: last", "whole number >= 1"),
        *each(lambda v: srl.Record(messages=v), NO_FLAG, "Record: messages", "True or False"),
        *each(lambda v: srl.Record(events=v), NO_FLAG, "Record: events", "True or False"),
        *each(lambda v: srl.Record(states=v), ("h", None, 1), "Record: states", "list of populations"),
        *each(lambda v: srl.Record(units=v), ("h", None, [0], 3), "Record: units", "mapping"),
        *each(lambda v: record(states=v), (["g"], ["h", "h"], [0]), "Record: states", "['h']"),
        *each(lambda v: record(units=v), ({"g": [0]}, {0: [0]}, {"x": [0]}), "Record: units", "['h']"),
        *each(lambda v: record(units={"h": v}), ([4], [-1], [0.5], 2, "a", [[0]], [True], None), "units['h']", "0 .. 3"),
    ],
    "Run": [
        *each(lambda v: record().to_pandas(v), ("spikes", None, 1), "to_pandas: what", "'events'"),
        *each(lambda v: record().to_neo(v), NO_FLAG, "to_neo: states", "True or False"),
    ],
    "losses": [
        *each(losses.cross_entropy, (None, "a", [0.5], [[0], [1, 2]], [NAN], [1j]), "cross_entropy: labels"),
        *each(losses.squared_error, (None, "a", [[0], [1, 2]], 1j, np.zeros((1, 1, 1, 1))), "squared_error: targets"),
        *each(lambda v: losses.cross_entropy(0, readout=v), (0, "", ["z"]), "readout", "name of a readout"),
        *each(lambda v: losses.squared_error(0, readout=v), (0, "", ["z"]), "readout", "name of a readout"),
        *each(lambda v: losses.cross_entropy(0, v), ("first", None, [0, 1], [[[True]]], [[True], [True, False]]), "loss: at"),
        *each(lambda v: loss(losses.squared_error(np.full((3, 2, 2), v))), (1e39, -1e39, 2e19), "too large for float32"),
        *each(lambda v: loss(losses.squared_error(np.full((3, 2, 2), v))), (NAN, INF), "NaN or infinite"),
        *each(lambda v: losses.activity(v, 0.1), (None, 1, "", ["h"]), "activity: population", "name of a population"),
        *each(lambda v: losses.activity("h", v), (-0.1, 1.1, *NO_REAL), "activity: target", "0 .. 1"),
        *each(lambda v: losses.activity("h", 0.1, v), (-1, *NO_REAL), "activity: weight", ">= 0"),
        *each(lambda v: ONE_LOSS * v, NO_REAL, "the factor"),
        *each(lambda v: losses.accuracy(v, 0), (None, "a", 1.0, np.zeros((2, 2)), np.zeros((0, 1, 1))), "accuracy: z"),
        *each(lambda v: losses.accuracy(Z, v), (None, "a", np.zeros((3, 2))), "accuracy: labels"),
        *each(lambda v: losses.accuracy(Z, np.zeros((3, 2), int), v), ("all", None, 1), "loss: at"),
        *each(lambda v: losses.bits_per_symbol(v, 0), (None, np.zeros((2, 2))), "bits_per_symbol: z"),
        *each(lambda v: losses.bits_per_symbol(Z, v), (np.full((3, 2), 2), np.full((3, 2), -1)), "0 .. 1"),
        *each(losses.softmax, (None, "a", 1.0, []), "softmax: z"),
    ],
    "tasks": [
        *[
            call
            for make in (tasks.spiral, tasks.copy, tasks.copy_stream, tasks.delayed_xor, tasks.add, tasks.sunspots, tasks.text)
            for call in each(lambda v, make=make: make(seed=v), NO_SEED, "seed", "whole number >= 0")
        ],
        *each(lambda v: tasks.spiral(n_out=v), (0, 3, *NO_NUMBER), "task spiral: n_out", "1 .. 2"),
        *each(lambda v: tasks.spiral().batch(v), (0, -1, *NO_NUMBER), "task spiral: batch", "whole number >= 1"),
        *each(lambda v: tasks.copy().batch(v), (0, -1, *NO_NUMBER), "task copy: batch", "whole number >= 1"),
        *each(lambda v: tasks.add().batch(v), (0, -1, *NO_NUMBER), "number of lanes", "whole number >= 1"),
        *each(lambda v: next(tasks.add().stream(v)), (-1, *NO_NUMBER[1:]), "task add: steps", "whole number >= 0"),
        *each(lambda v: tasks.copy(length=v), (0, *NO_NUMBER), "task copy: length"),
        *each(lambda v: tasks.copy(curriculum=v), NO_FLAG, "task copy: curriculum", "True or False"),
        *each(lambda v: tasks.delayed_xor(gap=v), (0, *NO_NUMBER), "task delayed_xor: gap"),
        *each(lambda v: tasks.delayed_xor(delay=v), (-1, *NO_NUMBER), "task delayed_xor: delay"),
        *each(lambda v: tasks.add(delays=v), ((3, 2), (2, 2), (-1, 2), (1,), 3, None, (0.5, 2), "ab"), "task add: delays"),
        *each(lambda v: tasks.add(hold=v), (0, *NO_NUMBER), "task add: hold"),
        *each(lambda v: tasks.add(tau=v), (0, *NO_NUMBER), "task add: tau"),
        *each(lambda v: tasks.sunspots(tau=v), (0, *NO_NUMBER), "task sunspots: tau"),
        *each(lambda v: tasks.sunspots(split=v), ((1, 0), (2, -1, 0), (NAN, 0, 1), None, "abc", 1), "task sunspots: split"),
        *each(lambda v: tasks.text(reset=v), (-0.1, 1.1, *NO_REAL), "task text: reset", "0 .. 1"),
        *each(lambda v: tasks.text(held_lanes=v), (0, *NO_NUMBER), "task text: held_lanes"),
        *each(lambda v: tasks.text(v), (1, ["a"], 1.5), "task text: source", "Path"),
        *each(lambda v: tasks.spiral().restore(v), (None, [], {}, {"name": "copy"}), "task spiral"),
        *each(lambda v: tasks.ngram_bits(v, 1), ([0.5, 1], "abc", [[1]], [-1, 0], None, 3), "ngram_bits"),
        *each(lambda v: tasks.ngram_bits(np.arange(5), v), (-1, *NO_NUMBER), "ngram_bits: order"),
        *each(lambda v: tasks.ngram_bits(np.arange(5), 1, alpha=v), (0, -1, *NO_REAL), "ngram_bits: alpha", "> 0"),
        *each(lambda v: tasks.ngram_bits(np.arange(5), 1, n_symbols=v), (0, 4, *NO_NUMBER[1:]), "ngram_bits: n_symbols"),
        *each(lambda v: tasks.ngram_bits(np.arange(5), 1, method=v), ("exact", None, 1), "ngram_bits: method"),
        *each(lambda v: tasks.Vary(drop=v), (-0.1, 1.0, *NO_REAL), "Vary: drop"),
        *each(lambda v: tasks.Vary(stretch=v), (-0.1, 1.0, *NO_REAL), "Vary: stretch"),
        *each(lambda v: tasks.Vary(delay=v), (-1, *NO_REAL), "Vary: delay"),
        *each(lambda v: tasks.Vary(shift=v), (-1, *NO_NUMBER), "Vary: shift"),
    ],
    "learners": [
        *each(lambda v: srl.RTRL(dense=v), NO_FLAG, "RTRL: dense"),
        *each(lambda v: srl.SnAp(v), (0, *NO_NUMBER), "SnAp: order"),
        *each(lambda v: srl.BPTT(truncate=v), (0, -1, *NO_NUMBER[1:]), "BPTT: truncate"),
        *each(lambda v: srl.BPTT(truncate=3, stride=v), (0, 4, *NO_NUMBER), "BPTT: stride", "1 .. 3"),
        *each(lambda v: srl.KFRTRL(v), (0, *NO_NUMBER), "KFRTRL: samples"),
        *each(lambda v: srl.UORO(v), (0, *NO_NUMBER), "UORO: samples"),
        *each(lambda v: srl.OK(v), (0, *NO_NUMBER), "OK: rank"),
        *each(lambda v: srl.RandomPaths(v), (-1, *NO_NUMBER), "RandomPaths: paths"),
        *each(srl.EProp, ("guess", None, 1), "EProp: feedback", "'symmetric'"),
        *each(srl.RFLO, ("guess", None, 1), "RFLO: feedback", "'symmetric'"),
        *[
            call
            for kind in (srl.KFRTRL, srl.UORO, srl.OK, srl.RandomPaths, srl.EProp, srl.RFLO)
            for call in each(lambda v, kind=kind: kind(seed=v), NO_SEED, f"{kind.__name__}: seed", "whole number >= 0")
        ],
    ],
    "schedules": [
        *each(schedules.constant, (0, -1, *NO_REAL), "constant: lr", "> 0"),
        *each(lambda v: schedules.step(v, 0.5, 10), (0, -1, *NO_REAL), "step: lr"),
        *each(lambda v: schedules.step(0.1, v, 10), (0, 1.1, *NO_REAL), "step: factor"),
        *each(lambda v: schedules.exponential(0.1, v), (0, 1.1, *NO_REAL), "exponential: rate"),
        *each(lambda v: schedules.exponential(0.1, 0.5, v), (0, -1, *NO_REAL), "exponential: every"),
        *each(lambda v: schedules.warmup_cosine(v, 1, 9), (0, *NO_REAL), "warmup_cosine: peak"),
        *each(lambda v: schedules.warmup_cosine(0.1, v, 9), (-1, 9, *NO_NUMBER), "warmup_cosine: warmup", "0 .. 8"),
        *each(lambda v: schedules.warmup_cosine(0.1, 0, v), (0, *NO_NUMBER), "warmup_cosine: total"),
        *each(lambda v: schedules.warmup_cosine(0.1, 0, 9, v), (-1, 0.2, *NO_REAL), "warmup_cosine: floor"),
    ],
    "plot": [
        *[
            call
            for draw in (plot.learning_curve, plot.loss_against_macs, plot.sparsity)
            for call in each(draw, (None, 1, "a", [], {}, [1, 2], {"loss": [[1], [1, 2]]}, {"loss": ["a"]}))
        ],
        *each(lambda v: plot.learning_curve(ROWS, v), (1, "ax", []), "plot: ax", "Axes"),
        *each(lambda v: plot.learning_curve(ROWS, metric=v), ("error", None, 1), "no column"),
        *each(lambda v: plot.learning_curve(ROWS, x=v), ("epoch", None), "no column"),
        *each(lambda v: plot.learning_curve(ROWS, smooth=v), (0, *NO_NUMBER[1:]), "learning_curve: smooth"),
        *each(lambda v: plot.learning_curve(ROWS, references=v), (1, [1], "a"), "learning_curve: references"),
        *each(lambda v: plot.learning_curve(ROWS, references={"a": v}), NO_REAL, "references['a']"),
        *each(plot.raster, (None, 1, SMALL), "raster: run", "Run"),
        *each(lambda v: plot.raster(record(), v), (-1, 2, *NO_NUMBER), "raster: lane", "0 .. 1"),
        *each(lambda v: plot.raster(record(), populations=v), ("h", ["g"], [0], ["h", "h"]), "raster: populations", "['h']"),
        *each(plot.alignment, (None, 1, [], {}, {"a": 1}), "alignment"),
        *each(plot.savings, (None, {}, {"a": None}, 1, {"a": 1}), ""),
        *each(plot.surrogate, (1, [], [1], "triangle"), "surrogate: surrogates"),
        *each(lambda v: plot.save(v, "a.png"), (None, 1), "save: ax"),
        *each(lambda v: plot.save(plot.learning_curve(ROWS), "a.png", v), (0, *NO_NUMBER), "save: dpi"),
    ],
    "checks": [
        *each(lambda v: srl.checks.check_model(egru, seed=v), NO_SEED, "check_model: seed"),
        *each(srl.checks.check_model, (None, 1, [egru]), "check_model: model"),
        *each(lambda v: srl.checks.check_learner(srl.RTRL(), seed=v), NO_SEED, "check_learner: seed"),
        *each(lambda v: srl.checks.check_learner(srl.RTRL(), models=v), ("egru", (egru,)), "check_learner: models"),
    ],
    "network": [
        *each(lambda v: SMALL.connect("h", "h", name=v), ("z", "h"), "is in use already"),
        *each(lambda v: SMALL.connect("h", "h", name=v), (1, ["a"]), "name must be text"),
        *each(
            lambda v: srl.Network().add_population("h", egru, 2).connect("h", "h", name="own").add_readout(v, "h", 1),
            ("own",),
            "is in use already",
        ),
        *each(lambda v: SMALL.initialize(v), NO_SEED, "initialize: seed"),
        *each(lambda v: SMALL.connect("h", "h", name="new", seed=v), NO_SEED, "connect 'new': seed"),
        *each(
            lambda v: SMALL.connect("h", "h", name="new", density=v), (0, 1.5, "a", True, NAN, [1]), "density must be in (0, 1]"
        ),
        *each(lambda v: SMALL.connect("h", "h", name="new", ports=v), (3, [3]), "ports must be names"),
        *each(lambda v: SMALL.connect("h", "h", name="new", trainable=v), (3, None, [3]), "trainable must be names"),
        *each(lambda v: SMALL.add_readout("new", "h", 1, decay=v), (1, -0.1, "a", NAN, None, True, [0.1]), "decay must be in"),
        *each(lambda v: SMALL.add_readout("new", "h", 1, trainable=v), NO_FLAG, "readout 'new': trainable"),
        *each(lambda v: SMALL.add_population("new", egru, 1, trainable=v), (3, True, [3]), "trainable must be names"),
        *each(lambda v: SMALL.add_population("new", egru, 1, initial=v), (3, ["c"]), "initial must be a mapping"),
        *each(
            lambda v: SMALL.add_population("new", egru, 1, reset_gradient=v), NO_FLAG[1:], "population 'new': reset_gradient"
        ),
        *each(lambda v: egru.replace(states=v), (["c"], {"c": 3}, None), "states= must be a mapping"),
        *each(lambda v: egru.replace(ports=v), (["c"], {"c": 3}, None), "ports= must be a mapping"),
        *each(lambda v: egru.replace(parameters=v), (["c"], {"c": 3}, None), "parameters= must be a mapping"),
    ],
    "kinds": [
        call
        for name, wrong, words, runs in KINDS
        for run in runs.split()
        for call in each(lambda v, name=name, run=run: RUNS[run](**{name: v}), wrong, words)
    ],
    "no input": [
        *each(lambda v: srl.simulate(ALONE, steps=v), (0, -1, *NO_NUMBER), "simulate: steps"),
        *each(lambda v: srl.simulate(ALONE, steps=3, batch=v), (0, -1, *NO_NUMBER), "simulate: batch"),
        *each(lambda v: srl.simulate(SMALL, X, steps=v), (2, 4, "3"), "simulate: steps", "x has 3"),
        *each(lambda v: srl.simulate(SMALL, steps=v), (3,), "for the inputs ['x']"),
    ],
    "words": [
        *each(lambda v: fit(learner=v), ("rtrl", None, 1, srl.losses), "fit: learner", "srl.RTRL()"),
        *each(lambda v: srl.gradient(SMALL, v, X, ONE_LOSS), ("rtrl", None), "gradient: learner", "srl.RTRL()"),
        *each(lambda v: srl.compare(SMALL, [srl.RTRL(), v], X, ONE_LOSS), ("rtrl", None), "compare: learner", "srl.RTRL()"),
        *each(lambda v: fit(optimizer=v), ("adam", "Adam", srl.optimizers.adam), "fit: optimizer", "srl.optimizers.adam(1e-3)"),
        *each(lambda v: online(optimizer=v), ("sgd", srl.optimizers.sgd), "Online: optimizer", "srl.optimizers.sgd(1e-3)"),
        *each(lambda v: fit(optimizer=v), (None, 0.1, "best"), "fit: optimizer", "srl.optimizers.adam(1e-3)"),
        *each(lambda v: fit(task=v), ((X, Z), None, tasks.spiral), "fit: task", "srl.tasks.arrays"),
        *each(lambda v: online(loss=v), ("mse", ONE_LOSS, None), "Online: loss", "srl.losses.squared_error"),
        *each(lambda v: fit(epochs=v), (3,), "fit: there is no epochs=", "steps="),
        *each(lambda v: fit(validation_data=v), (X,), "valid=", "validate_every="),
        *each(lambda v: fit(learning_rate=v), (0.1,), "srl.optimizers.adam(1e-3)"),
        *each(lambda v: online(lr=v), (0.1,), "Online: there is no lr=", "srl.optimizers.adam(1e-3)"),
        *each(lambda v: fit(batch_size=v, batch=2), (2,), "batch_size= and batch= mean the same"),
        *each(lambda v: srl.Network().add_population("h", egru, 2, surrogate=v), ("relu", 1), "surrogate", "triangle, boxcar"),
        *each(lambda v: srl.Network().add_population("h", v, 2), ("egrus",), "did you mean 'egru'"),
        *each(lambda v: srl.Network().add_population("h", v, 2), (None, 1), "must be a Model"),
        *each(srl.Network, ("float16", np.float16, "half", "int32", None, "x"), "dtype", "'float32', 'float64'"),
    ],
    "constraints": [
        *each(srl.constraints.dale, (None, "a", [2], [[1, -1]], [0.5], 1), "dale: signs", "1, -1 or 0"),
        *each(lambda v: srl.constraints.between(v, 1), (NAN, 2, None, "0"), "between: low"),
        *each(lambda v: fit(constraints=v), ([1], "h<-h", srl.constraints.non_negative), "constraints", "a mapping"),
        *each(lambda v: fit(constraints={v: srl.constraints.non_negative}), ("h<-y", "x", 1), "constraints", "'h<-h'"),
        *each(lambda v: fit(constraints={v: srl.constraints.non_negative}), ("h", "z"), "say which"),
        *each(lambda v: fit(constraints={"h<-h": v}), (None, "dale", {"u": 1}), "srl.constraints"),
        *each(lambda v: fit(constraints={"h<-h": {v: srl.constraints.non_negative}}), ("x", 1), "'u', 'r', 'h'"),
        *each(lambda v: fit(constraints={"h<-x": srl.constraints.dale(v)}), ([1, 1, -1], [1]), "2, one a presynaptic unit"),
        *each(lambda v: online(constraints={"h": {"theta": srl.constraints.dale(v)}}), ([1] * 4,), "no presynaptic units"),
    ],
    "online": [
        *each(lambda v: online(loss=v), ({}, {"y": losses.squared_error}, {"z": 1}), "Online: loss", "['z']"),
        *each(lambda v: labelled(v), ([0.0, 1.0], {}, {"y": [0.0, 1.0]}, None), "the label", "['z']"),
    ],
    "models": [*each(srl.models.load, (None, 1, egru, b"egru"), "models.load")],
    "cost": [*each(lambda v: zeros(SMALL, v), (None, srl.UORO().init(SMALL, 1), SMALL), "zeros: state")],
    "outputs": [
        *each(
            lambda v: srl.fit(network_of(v), tasks.copy(), srl.SnAp(1), srl.optimizers.sgd(0.1), steps=1, progress=False),
            (1, 3, 5),
            "task copy: the readout 'z' has",
            "the task needs 4",
        ),
        *each(lambda v: srl.evaluate(network_of(v), tasks.copy(), *tasks.copy().valid), (3, 5), "the task needs 4"),
    ],
}


def network_of(outputs: int) -> srl.Network:
    net = srl.Network().add_input("x", 4).add_population("h", egru, 2).connect("x", "h").add_readout("z", "h", outputs)
    return net.initialize(0)


@pytest.mark.parametrize("area", CALLS)
def test_a_wrong_call_is_refused_with_words(area: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ValueError and nothing else; every word that is expected stands in the message."""
    monkeypatch.chdir(tmp_path)
    wrong = []
    for number, (call, words) in enumerate(CALLS[area]):
        value = (call.__defaults__ or ("?",))[0]
        try:
            call()
        except ValueError as error:
            if missing := [word for word in words if word not in str(error)]:
                wrong.append(f"{number} {value!r}: {missing} not in {error}")
        except Exception as error:  # a raw error of numpy or Python
            wrong.append(f"{number} {value!r} {words}: {type(error).__name__}: {error}")
        else:
            wrong.append(f"{number} {value!r} {words}: went through")
    assert not wrong, "\n" + "\n".join(wrong)
    assert not list(tmp_path.iterdir())


def test_the_words_of_other_packages_are_taken_where_they_mean_the_same() -> None:
    """Names and classes without settings stand for their defaults; the same gradient and the same network come out."""
    nets = [srl.Network().add_input("x", 2) for _ in range(2)]
    given = ("egru", "triangular"), (egru, srl.surrogates.triangle())
    for net, (model, surrogate) in zip(nets, given, strict=True):
        net.add_population("h", model, 4, surrogate=surrogate).connect("x", "h").connect("h", "h").add_readout("z", "h", 2)
    results = [srl.gradient(net.initialize(0), srl.RTRL, X, losses.squared_error(Z + 1))[1] for net in nets]
    np.testing.assert_array_equal(*results)
    assert np.abs(results[0]).max() > 0
    assert len(fit(batch_size=2, learner=srl.SnAp)) == 1 and online(batch_size=3, learner=srl.SnAp).batch == 3
    assert SMALL.memory(srl.SnAp).influence == SMALL.memory(srl.SnAp(1)).influence
    assert str(srl.explain(SMALL, srl.RTRL)) == str(srl.explain(SMALL, srl.RTRL()))
    assert egru.replace(surrogate="gaussian").surrogate == srl.surrogates.gaussian()


def test_a_step_of_a_second_is_told_unless_it_is_meant() -> None:
    with pytest.warns(UserWarning, match=r"dt = 1 is 1 s, .*milliseconds write dt='1\*ms'"):
        srl.Network(dt=1)
    assert srl.Network(dt="1*second").dt == 1.0 and srl.Network(dt=0.05).dt == 0.05


def test_what_is_refused_nearby_is_legal() -> None:
    """The values beside the wrong ones: whole numbers of numpy, lists, the ends of every range."""
    run = record(every=np.int64(2), last=3, states=["h"], units={"h": [0, 3]})
    assert run.states["h"]["c"].shape == run.messages["h"].shape == (2, 2, 2)
    assert record(states=(), units={"h": []}).messages["h"].shape == (3, 2, 0)
    assert losses.activity("h", 0).target == 0.0 and losses.activity("h", np.float32(1), 0).weight == 0.0
    assert (np.float64(2) * ONE_LOSS).signal({"z": np.ones((1, 1, 1))}, {}, 0, 1).value == 1.0
    assert (-1 * ONE_LOSS).signal({"z": np.ones((1, 1, 1))}, {}, 0, 1).value == -0.5
    assert loss(losses.squared_error(np.full((3, 2, 2), 1e19))).value == pytest.approx(1e38, rel=1e-6)
    assert tasks.copy(np.int64(2), np.False_).batch(np.int32(1))[0].shape == (6, 1, 4)
    assert tasks.ngram_bits([0, 1, 0, 1], 0, n_symbols=5, alpha=1) > 1 and tasks.Vary(0.5, 2, 0.9, 3).shift == 2
    assert list(tasks.add().stream(0)) == [] and srl.BPTT(truncate=np.int64(3), stride=3).claim == "truncated"
    assert schedules.warmup_cosine(0.1, 0, 1, 0.1)(0) == 0.1
    for outputs in (1, 2):  # a sigmoid, or a softmax over two classes
        net = srl.Network().add_input("x", 2).add_population("h", egru, 2).connect("x", "h").add_readout("z", "h", outputs)
        assert 0 <= srl.evaluate(net.initialize(0), tasks.spiral(), *tasks.spiral().valid)["accuracy"] <= 1
