"""Checkpoints: files written before the move go on, nothing in a file is run, damage is said, nothing is lost."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import spikertrl as srl
from spikertrl import storage
from spikertrl.learners.engines.blocks.kept_steps import empty
from spikertrl.learners.engines.choose import override
from spikertrl.simulation.run import simulator
from spikertrl.tape import LINEAR
from spikertrl.training import checkpoint
from spikertrl.training.checkpoint import CheckpointError
from spikertrl.training.fit import TrainingDiverged

BEFORE = Path(__file__).parent / "data" / "checkpoints_v3"
LEARNERS = {
    "rtrl": srl.RTRL(), "rtrl_dense": srl.RTRL(dense=True), "snap1": srl.SnAp(1), "snap2": srl.SnAp(2), "eprop": srl.EProp(),
    "eprop_random": srl.EProp(feedback="random"), "rflo": srl.RFLO(), "kf_rtrl": srl.KFRTRL(), "ok": srl.OK(rank=2),
    "uoro": srl.UORO(), "bptt": srl.BPTT(), "bptt_truncated": srl.BPTT(truncate=6), "immediate": srl.Immediate(),
    "random_paths": srl.RandomPaths(),
}  # fmt: skip


def network(decay: float = 0.5, **options) -> srl.Network:
    net = srl.Network("float64").add_input("x", 1).add_population("h", srl.models.egru, 6, **({"theta": 0.05} | options))
    net.connect("x", "h").connect("h", "h", density=0.5, seed=1)
    return net.add_readout("z", "h", 1, decay=decay).initialize(0)


def run(net: srl.Network, learner, steps: int, path=None, *, adam=1e-2, tau: int = 4, every: int = 8, **options):
    optimizer = options.pop("optimizer", None) or srl.optimizers.adam(adam)
    task = options.pop("task", None) or srl.tasks.sunspots(tau=every)
    return srl.fit(net, task, learner, optimizer, steps=steps, batch=2, tau=tau, checkpoint=path, progress=False, **options)


@pytest.fixture
def written(tmp_path):
    """A checkpoint of two steps."""
    path = tmp_path / "c.npz"
    run(network(), srl.SnAp(2), 2, path)
    return path


# -- files of version 3 ------------------------------------------------------------------------------------------------
# Their states are those of another learner here, or are read by the same lines.
VARIANTS = "rtrl_dense snap1 snap2 eprop eprop_random rflo bptt_truncated immediate random_paths kf_rtrl ok".split()


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in VARIANTS)) for n in LEARNERS])
def test_a_file_written_before_the_move_goes_on(name, tmp_path):
    """Equal to the run of the program that wrote it, to the rounding of another processor."""
    path = tmp_path / "c.npz"
    path.write_bytes((BEFORE / f"{name}.npz").read_bytes())
    net = network()
    history = run(net, LEARNERS[name], 6, path)
    with np.load(BEFORE / "expected.npz") as expected:
        np.testing.assert_allclose(net.theta, expected[name], rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(history["loss"], expected[f"{name}_loss"], rtol=1e-10)
    assert len(history) == 6
    assert np.abs(net.theta - network().theta).max() > 1e-3, "training must move the parameters"


def test_deferred_steps_written_before_the_move_go_on(tmp_path):
    """In the file six online steps wait for the influence to be brought up to date, with more of them."""
    path = tmp_path / "c.npz"
    path.write_bytes((BEFORE / "rtrl_deferred.npz").read_bytes())
    with np.load(path) as file:
        fields = memory_of(json.loads(str(file["tree"])))["v"]
        rows = file[f"a{fields['M']['i']}"]
    assert fields["kept"]["v"]["steps"] == 6 and not rows.any()
    net = network(decay=0.0)
    with override(deferred_bytes=0, dense_deferred_bytes=0, most_active=1.0):
        history = run(net, srl.RTRL(), 6, path, tau=1, every=3)
    assert history.routes["deferred"] >= 10
    with np.load(BEFORE / "expected.npz") as expected:
        np.testing.assert_allclose(net.theta, expected["rtrl_deferred"], rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(history["loss"], expected["rtrl_deferred_loss"], rtol=1e-10)


def test_a_state_of_another_way_to_compute_is_refused_by_name(tmp_path):
    """Units that nobody hears have rows of their own; before, and where a route is forced, they had the influence of all."""
    net = srl.Network("float64").add_input("x", 1).add_population("h", srl.models.egru, 6, theta=0.05).connect("x", "h")
    net.add_readout("z", "h", 1).initialize(0)
    path, before = tmp_path / "c.npz", net.theta.copy()
    with override("rows"):
        run(net, srl.RTRL(), 1, path)
    net.theta = before
    what = r"c\.npz: .*'memory'\] is of kind Influence, this run needs LocalState: .*another version.*resume=False"
    with pytest.raises(CheckpointError, match=what):
        run(net, srl.RTRL(), 2, path)
    np.testing.assert_array_equal(net.theta, before)
    with override("rows"):
        assert len(run(net, srl.RTRL(), 2, path)) == 2


# -- nothing in a file is run ------------------------------------------------------------------------------------------
def rewrite(path: Path, change) -> None:
    """Change the description of a file, and its seal with it."""
    with np.load(path) as file:
        content, arrays = json.loads(str(file["tree"])), {k: file[k] for k in file.files if k != "tree"}
    change(content)
    np.savez(path.with_suffix(".new.npz"), tree=np.array(json.dumps(storage.sealed(content))), **arrays)
    os.replace(path.with_suffix(".new.npz"), path)


def memory_of(content: dict) -> dict:
    return next(value for key, value in content["tree"]["v"] if key == "memory")


@pytest.mark.parametrize(
    "name", ["subprocess:Popen", "beside:Evil", "builtins:eval", "spikertrl.training.fit:Interrupted", "x"]
)
def test_a_file_names_nothing_but_known_states(name, written, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "beside.py").write_text("open('ran', 'w').close()\nclass Evil: pass\n")
    monkeypatch.chdir(tmp_path)

    def change(content):
        found = memory_of(content)
        found["c"], found["v"] = name, {"args": ["touch", str(tmp_path / "ran")]}

    rewrite(written, change)
    with pytest.raises(CheckpointError, match="names a state"):
        run(network(), srl.SnAp(2), 3, written)
    assert not (tmp_path / "ran").exists() and "beside" not in sys.modules


@dataclasses.dataclass
class OwnState:
    inner: object
    steps: int = 0


@dataclasses.dataclass(frozen=True)
class Own:
    """A learner that is not ours, with a state that is not ours."""

    claim = "exact"

    def init(self, net, batch):
        return OwnState(srl.RTRL().init(net, batch))

    def update(self, state, tape, signal):
        state.steps += tape.tau
        return srl.RTRL().update(state.inner, tape, signal)


def test_a_learner_of_ones_own_is_resumed(tmp_path):
    whole, first, rest = network(), network(), network()
    run(whole, Own(), 4)
    run(first, Own(), 2, tmp_path / "c.npz")
    run(rest, Own(), 4, tmp_path / "c.npz")
    np.testing.assert_array_equal(rest.theta, whole.theta)


# -- another run -------------------------------------------------------------------------------------------------------
def other_mask() -> srl.Network:
    net = srl.Network("float64").add_input("x", 1).add_population("h", srl.models.egru, 6, theta=0.05)
    net.connect("x", "h").connect("h", "h", density=0.5, seed=2)
    return net.add_readout("z", "h", 1, decay=0.5).initialize(0)


def other_delay() -> srl.Network:
    net = srl.Network("float64").add_input("x", 1).add_population("h", srl.models.egru, 6, theta=0.05)
    net.connect("x", "h").connect("h", "h", density=0.5, seed=1, delay=np.where(np.eye(6), 2, 1))
    return net.add_readout("z", "h", 1, decay=0.5).initialize(0)


def other_initial() -> srl.Network:
    return network(initial={"c": 0.5})


def other_surrogate() -> srl.Network:
    return network(surrogate=srl.surrogates.triangle(0.5, 0.5))


@pytest.mark.parametrize("learner", [srl.SnAp(2), srl.RTRL(), srl.KFRTRL(), srl.BPTT()], ids=repr)
@pytest.mark.parametrize(("other", "what"), [(other_mask, "masks"), (other_delay, "delays|network"),
                                             (other_initial, "initial values"), (other_surrogate, "surrogates")])  # fmt: skip
def test_another_network_is_refused_by_name(learner, other, what, tmp_path):
    path = tmp_path / "c.npz"
    run(network(), learner, 1, path)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=what):
        run(other(), learner, 2, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "learner", [srl.RTRL(), srl.SnAp(1), srl.SnAp(2), srl.KFRTRL(), srl.OK(2), srl.UORO(), srl.EProp()], ids=repr
)
def test_another_mask_is_refused_whatever_is_said(learner, tmp_path):
    path = tmp_path / "c.npz"
    run(network(), learner, 1, path)
    with pytest.raises(CheckpointError, match="masks"):
        run(other_mask(), learner, 2, path, resume="anyway")


OTHERS = {
    "adam with another rate": srl.optimizers.adam(1e-3), "adamw": srl.optimizers.adamw(1e-2), "sgd": srl.optimizers.sgd(1e-2),
    "momentum": srl.optimizers.momentum(1e-2), "a schedule": srl.optimizers.adam(srl.schedules.exponential(1e-2, 0.9)),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_optimizer_is_refused_by_name(name, written):
    with pytest.raises(CheckpointError, match=r"optimizer, .*there, .*here"):
        run(network(), srl.SnAp(2), 3, written, optimizer=OTHERS[name])


def test_another_rate_goes_on_when_it_is_meant(written):
    net = network()
    assert len(run(net, srl.SnAp(2), 3, written, adam=1e-3, resume="anyway")) == 3
    with pytest.raises(CheckpointError, match="its optimizer keeps"):
        run(network(), srl.SnAp(2), 4, written, optimizer=srl.optimizers.momentum(1e-2), resume="anyway")


def test_another_task_or_learner_is_refused(written):
    with pytest.raises(CheckpointError, match="task settings"):
        run(network(), srl.SnAp(2), 3, written, every=4)
    with pytest.raises(CheckpointError, match="learner: 'SnAp"):
        run(network(), srl.SnAp(1), 3, written)
    with pytest.raises(CheckpointError, match="regularizer"):
        run(network(), srl.SnAp(2), 3, written, regularizer=srl.losses.activity("h", 0.2))


# -- damaged files -----------------------------------------------------------------------------------------------------
def flip(data: bytes) -> bytes:
    """One bit, in the middle of the largest array."""
    place = data.index(b"\x93NUMPY", len(data) // 3) + 300
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


DAMAGE = {
    "empty": lambda data: b"", "cut": lambda data: data[: len(data) // 2], "last byte": lambda data: data[:-1],
    "text": lambda data: b"hello " * 100, "flipped": flip, "zeros": lambda data: bytes(len(data)),
    "npy": lambda data: b"\x93NUMPY" + data[6:200], "start": lambda data: b"XXXX" + data[4:],
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_said_and_the_file_named(name, written):
    written.write_bytes(DAMAGE[name](written.read_bytes()))
    net = network()
    before = net.theta.copy()
    with pytest.raises(CheckpointError, match=r"c\.npz.*resume=False"):
        run(net, srl.SnAp(2), 3, written)
    np.testing.assert_array_equal(net.theta, before)
    assert len(run(net, srl.SnAp(2), 1, written, resume=False)) == 1


CHANGES = {
    "not JSON": None,
    "version": lambda c: c.update(version=99),
    "no tree": lambda c: c.pop("tree"),
    "a list": lambda c: c.update(tree=[1, 2]),
    "array of another number": lambda c: memory_of(c)["v"].update(M={"@": "array", "i": 999}),
    "another shape": lambda c: memory_of(c)["v"].update(M={"@": "array", "i": 0}),
    "a number for an array": lambda c: memory_of(c)["v"].update(M=3.5),
    "7 TiB of zeros": lambda c: memory_of(c)["v"].update(M={"@": "zeros", "shape": [10**12], "dtype": "<f8"}),
    "negative zeros": lambda c: memory_of(c)["v"].update(M={"@": "zeros", "shape": [-1], "dtype": "<f8"}),
    "unknown field": lambda c: memory_of(c)["v"].update(other=1),
    "unknown kind": lambda c: memory_of(c)["v"].update(M={"@": "pickle"}),
    "another state": lambda c: memory_of(c).update({"c": "Tape"}),
    "no state": lambda c: memory_of(c).update({"@": "list", "v": []}),
    "a state without a field": lambda c: memory_of(c)["v"].pop("M"),
    "a field of another type": lambda c: memory_of(c)["v"].update(routes="x", clock="3"),
    "other lanes": lambda c: memory_of(c)["v"].update(batch=3),
    "another order": lambda c: memory_of(c)["v"].update(hops=5),
    "a count below zero": lambda c: memory_of(c)["v"].update(clock=-3),
    "history of text": lambda c: of(c, "rows", "x"),
    "a row of text": lambda c: of(c, "rows", {"@": "list", "v": ["x"]}),
    "a row without activity": lambda c: of(c, "rows", rows_of({"step": 1, "loss": 0.5})),
    "a loss of text": lambda c: of(c, "rows", rows_of({"step": 1, "loss": "x", "activity": 0.5})),
    "a row too many": lambda c: of(c, "rows", rows_of(*[{"step": 1, "loss": 0.5, "activity": 0.5}] * 2)),
    "columns without one": lambda c: of(c, "rows", {"@": "dict", "v": entry(c, "rows")["v"][:1]}),
    "a column of text": lambda c: entry(c, "rows")["v"][1].__setitem__(1, "x"),
    "places of another column": lambda c: entry(c, "rows")["v"][1][1]["v"].__setitem__(0, entry(c, "rows")["v"][1][1]["v"][1]),
    "seconds of text": lambda c: of(c, "seconds", "x"),
    "no states": lambda c: of(c, "sim", {"@": "dict", "v": []}),
    "states as a list": lambda c: of(c, "sim", {"@": "list", "v": []}),
    "sums of others": lambda c: c.update(sums=[0] * len(c["sums"])),
}


SAID = {
    "history of text": "its history is a str, no columns", "a row of text": "row 1 of its history is 'x'",
    "a row without activity": r"row 1 of its history is \{'step': 1, 'loss': 0.5\}", "a loss of text": "row 1 of .*'loss': 'x'",
    "a row too many": "row 2 of its history is", "columns without one": "its history lacks activity, loss in some rows",
    "a column of text": "column 'loss' of its history is no pair of places and values",
    "places of another column": "column 'loss' of its history holds float64 at float64, not numbers or text at places",
    "seconds of text": "its seconds are 'x', no number",
}  # fmt: skip


def rows_of(*rows: dict) -> dict:
    """A history as a file holds it."""
    return {"@": "list", "v": [{"@": "dict", "v": [list(pair) for pair in row.items()]} for row in rows]}


def of(content: dict, name: str, value) -> None:
    """Put a value in the place of an entry of the tree."""
    next(pair for pair in content["tree"]["v"] if pair[0] == name)[1] = value


def entry(content: dict, name: str):
    """An entry of the tree."""
    return next(value for key, value in content["tree"]["v"] if key == name)


@pytest.mark.parametrize("name", CHANGES)
def test_a_description_that_lies_is_said(name, written):
    if CHANGES[name] is None:
        with np.load(written) as file:
            arrays = {k: file[k] for k in file.files if k != "tree"}
        np.savez(written, tree=np.array("{no json"), **arrays)
    else:
        rewrite(written, CHANGES[name])
    with pytest.raises(CheckpointError, match=rf"c\.npz.*{SAID.get(name, '')}"):
        run(network(), srl.SnAp(2), 3, written)


def test_what_is_exchanged_or_edited_is_seen(written):
    """Arrays of one shape in each other's places, a header that reads one otherwise, a description with another number."""
    with np.load(written) as file:
        parts = {k: file[k] for k in file.files}
    tree = str(parts.pop("tree"))
    one, two = next((a, b) for a in parts for b in parts if a < b and parts[a].shape == parts[b].shape
                    and parts[a].dtype == parts[b].dtype and not np.array_equal(parts[a], parts[b]))  # fmt: skip
    wide = next(k for k, v in parts.items() if v.ndim == 2 and min(v.shape) > 1)
    turned = parts[wide].reshape(parts[wide].shape[::-1]).T
    changed = {one: parts[two], two: parts[one]}, {wide: turned}
    for text, arrays in ((tree, changed[0]), (tree, changed[1]), (tree.replace('"lane_steps": ', '"lane_steps": 1'), {})):
        np.savez(written, tree=np.array(text), **(parts | arrays))
        with pytest.raises(CheckpointError, match=r"not the one that was written|description was changed"):
            run(network(), srl.SnAp(2), 3, written)
    np.savez(written, tree=np.array(tree), **parts)
    assert len(run(network(), srl.SnAp(2), 3, written)) == 3


@pytest.mark.parametrize("change", [{"tau": 3}, {"start": 10**30}, {"tau": "x"}], ids=str)
def test_a_tape_that_does_not_fit_is_said(change, tmp_path):
    path = tmp_path / "c.npz"
    run(network(), LEARNERS["bptt"], 2, path)
    rewrite(path, lambda content: memory_of(content)["v"]["tapes"]["v"][0]["v"].update(change))
    with pytest.raises(CheckpointError, match=r"c\.npz.*[Tt]ape"):
        run(network(), LEARNERS["bptt"], 3, path)


def forge(path: Path, change) -> None:
    """Change the parts of a file, and all its checksums with them."""
    with np.load(path) as file:
        content, arrays = json.loads(str(file["tree"])), {k: file[k] for k in file.files if k != "tree"}
    change(content, arrays)
    content["sums"] = [storage._sum(arrays[f"a{i}"]) for i in range(len(content["sums"]))]
    np.savez(path, tree=np.array(json.dumps(storage.sealed(content))), **arrays)


INDICES = {"snap2": ("slot", "position", "width", "sent", "senders", "clock"), "kf_rtrl": ("sent", "clock"), "uoro": ("clock",),
           "immediate": ("fired", "n_fired")}  # fmt: skip


@pytest.mark.parametrize(("learner", "name"), [(learner, name) for learner, names in INDICES.items() for name in names])
def test_indices_that_do_not_exist_are_said(learner, name, tmp_path):
    """Loops look at no bounds: one number too large ended the process. Just inside of the bounds it goes on."""
    path = tmp_path / "c.npz"
    run(network(), LEARNERS[learner], 2, path)
    whole = path.read_bytes()

    def put(value, content, arrays):
        sim = dict(next(part for key, part in content["tree"]["v"] if key == "sim")["v"])
        fields = memory_of(content)["v"] | dict(sim["past"]["v"])
        if name == "clock":
            fields[name] = memory_of(content)["v"]["clock"] = value
        else:
            arrays[f"a{fields[name]['i']}"].flat[0] = value

    for value in (1000, 2**31 - 1, -2):
        path.write_bytes(whole)
        forge(path, functools.partial(put, value))
        what = f"clock is {value}, a count" if name == "clock" and value < 0 else rf"{name} holds indices that do not exist"
        with pytest.raises(CheckpointError, match=rf"c\.npz: .*{what}"):
            run(network(), LEARNERS[learner], 3, path)
    path.write_bytes(whole)
    forge(path, functools.partial(put, 0))
    assert len(run(network(), LEARNERS[learner], 3, path)) == 3


def test_kept_steps_that_do_not_fit_are_said(tmp_path):
    path = tmp_path / "c.npz"
    with override(deferred_bytes=0, dense_deferred_bytes=0, dense_deferred_steps=12, most_active=1.0):
        run(network(decay=0.0), srl.RTRL(), 1, path, tau=1, every=3)
        whole = path.read_bytes()
        for change in ({"steps": 99}, {"steps": -1}, {"batch": 3}, {"theta": {"@": "array", "i": 0}}, {}):
            path.write_bytes(whole)
            rewrite(path, lambda content, change=change: memory_of(content)["v"]["kept"]["v"].update(change))
            if change:
                with pytest.raises(CheckpointError, match=r"c\.npz: .*kept"):
                    run(network(decay=0.0), srl.RTRL(), 2, path, tau=1, every=3)
        assert len(run(network(decay=0.0), srl.RTRL(), 2, path, tau=1, every=3)) == 2


def test_every_array_of_a_tape_is_compared_with_its_network():
    """One element more along the last axis, or another type; files from before tapes had a history do not name it."""
    net = network()
    tape = simulator(net).run(simulator(net).start(2), np.ones((3, 2, 1)))
    found, history = vars(tape), tape.history
    checkpoint.check_tape(found, net.wiring)
    for name in ("theta", "messages", "z", "reset", *LINEAR):
        for wrong in (np.insert(found[name], 0, 0, axis=-1), found[name].astype("float32")):
            with pytest.raises(storage.Damage, match=rf"^{name} of a tape has shape \({wrong.shape[0]},.*{wrong.dtype}; right"):
                checkpoint.check_tape(found | {name: wrong}, net.wiring)
    before = {name: value for name, value in found.items() if name != "history"}
    checkpoint.check_tape(before | {"messages": tape.messages[history:]}, net.wiring)
    with pytest.raises(storage.Damage, match=r"^messages of a tape"):
        checkpoint.check_tape(before, net.wiring)


@pytest.mark.parametrize("model", [srl.models.egru, srl.models.rnn], ids=["a parameter of its own", "none"])
def test_every_array_of_kept_steps_is_compared_with_its_network(model):
    net, room = srl.Network("float64").add_input("x", 1).add_population("h", model, 6).connect("x", "h").connect("h", "h"), 4
    net.add_readout("z", "h", 1).initialize(0)
    w, kept = net.wiring, empty(net.wiring, simulator(net).run(simulator(net).start(2), np.ones((3, 2, 1))), room)
    for array in (kept.theta, kept.messages, *kept.arrays):
        array[:] = 0
    found = vars(kept)
    for steps in (0, room):
        checkpoint.check_kept(found | {"steps": steps}, w)
    for steps in (-1, room + 1):
        with pytest.raises(storage.Damage, match=f"^{steps} steps were kept where there is room for {room}"):
            checkpoint.check_kept(found | {"steps": steps}, w)
    for name, array in [("theta", kept.theta), ("messages", kept.messages), *zip(LINEAR, kept.arrays, strict=True)]:
        for wrong in (np.insert(array, 0, 0, axis=-1), array.astype("float32")):
            arrays = tuple(wrong if name == other else one for other, one in zip(LINEAR, kept.arrays, strict=True))
            with pytest.raises(storage.Damage, match=rf"^{name} of steps that were kept has shape .*{wrong.dtype}; right"):
                checkpoint.check_kept(found | ({name: wrong} if name not in LINEAR else {"arrays": arrays}), w)


@pytest.mark.parametrize("kind", ["MT19937", "Philox"])
def test_a_random_generator_beyond_its_buffer_is_refused(kind, tmp_path):
    """numpy takes any place in the buffer and reads there."""
    generator = np.random.Generator(getattr(np.random, kind)(0))
    path = checkpoint.save(tmp_path / "c.npz", {"rng": generator})
    assert checkpoint.load(path)["rng"].random() == generator.random()

    def change(content):
        def visit(part):
            for pair in part["v"]:
                if pair[0] in ("pos", "buffer_pos"):
                    pair[1] = 10**6
                elif isinstance(pair[1], dict) and pair[1]["@"] == "dict":
                    visit(pair[1])

        visit(content["tree"]["v"][0][1]["v"])

    rewrite(path, change)
    with pytest.raises(CheckpointError, match="at place 1000000 of its buffer"):
        checkpoint.load(path)


def test_a_folder_and_a_header_of_seven_tebibytes(tmp_path):
    folder = tmp_path / "folder.npz"
    folder.mkdir()
    with pytest.raises(CheckpointError, match="folder"):
        checkpoint.load(folder)
    header = (
        np.lib.format.magic(1, 0)
        + b"\x76\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117)
        + b"\n"
    )
    path = tmp_path / "c.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tree.npy", header)
    with pytest.raises(CheckpointError, match="bytes for shape"):
        checkpoint.load(path)
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "none.npz")


def test_large_arrays_stay_in_the_file_if_that_is_asked(tmp_path):
    """A view of the file, in either order in memory; what is written into it goes nowhere."""
    tree = {"large": np.arange(2.0**18).reshape(2, -1), "turned": np.arange(2.0**18).reshape(2, -1).T, "small": np.arange(3.0)}
    path = checkpoint.save(tmp_path / "c.npz", tree)
    for mapped in (True, False, True):
        with checkpoint.opened(path, mapped=mapped) as found:
            for name, array in tree.items():
                assert isinstance(found[name], np.memmap) is (mapped and name != "small")
                np.testing.assert_array_equal(found[name], array)
                assert found[name].flags.f_contiguous == array.flags.f_contiguous
                found[name][...] = 7.0
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"c\.npz: it is damaged"), checkpoint.opened(path, mapped=True):
        pass


def test_containers_come_back_as_they_were(tmp_path):
    tree = {"t": (1, (2.5, None)), "l": [True, "x"], ("k", 1): np.arange(3), "g": np.random.default_rng(3)}
    found = checkpoint.load(checkpoint.save(tmp_path / "new" / "folders" / "c.npz", tree))
    assert found["t"] == tree["t"] and found["l"] == tree["l"] and isinstance(found["t"][1], tuple)
    np.testing.assert_array_equal(found["k", 1], tree["k", 1])
    assert found["g"].random() == np.random.default_rng(3).random()
    with pytest.raises(TypeError, match=r"checkpoint\['f'\]"):
        checkpoint.save(tmp_path / "d.npz", {"f": lambda: 0})
    assert not (tmp_path / "d.npz").exists() and not list(tmp_path.glob("*.tmp"))


# -- nothing is lost ---------------------------------------------------------------------------------------------------
def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    """What fsync is asked for: the whole file while it still has its partial name, then the folder."""
    sync, seen = os.fsync, []

    def look(handle):
        seen.append((os.fstat(handle).st_size, (tmp_path / "c.npz").exists()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", look)
    path = checkpoint.save(tmp_path / "c.npz", {"a": np.arange(5.0)})
    assert len(seen) == 2 and seen[0] == (path.stat().st_size, False) and seen[1][1]


def test_a_disk_that_is_full_keeps_the_old_file_and_the_history(written, monkeypatch):
    before = written.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    net = network()
    with pytest.raises(OSError, match="No space left") as caught:
        run(net, srl.SnAp(2), 3, written)
    assert len(caught.value.history) == 3 and not np.array_equal(net.theta, network().theta)
    assert written.read_bytes() == before and not list(written.parent.glob("*.tmp"))


def test_what_dead_processes_left_is_removed_and_what_others_write_is_not(written):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    stale, alive = (written.with_name(f"c.npz.{pid}.tmp") for pid in (dead.pid, os.getppid()))
    for partial in (stale, alive):
        partial.write_bytes(b"half")
    run(network(), srl.SnAp(2), 3, written)
    assert not stale.exists() and alive.exists()


def test_a_step_that_makes_parameters_infinite_is_not_saved(tmp_path):
    path = tmp_path / "c.npz"
    run(network(), srl.RTRL(), 2, path, optimizer=srl.optimizers.sgd(1e-2))
    before, net = path.read_bytes(), network()
    with pytest.raises(TrainingDiverged) as caught:
        run(net, srl.RTRL(), 3, path, optimizer=srl.optimizers.sgd(1.7e308), resume="anyway")
    assert path.read_bytes() == before and np.isfinite(net.theta).all() and len(caught.value.history) == 2
    assert len(run(network(), srl.RTRL(), 3, path, optimizer=srl.optimizers.sgd(1e-2))) == 3, "the last good file goes on"


def test_the_very_last_step_is_looked_at_too(tmp_path):
    net = srl.Network().add_input("x", 1).add_population("h", srl.models.egru, 6).connect("x", "h").connect("h", "h")
    net.add_readout("z", "h", 1).initialize(0)
    before = net.theta.copy()
    with pytest.raises(TrainingDiverged, match=r"step 1: parameter .* is not finite"):
        run(net, srl.RTRL(), 1, tmp_path / "c.npz", optimizer=srl.optimizers.sgd(1e39), tau=8)
    np.testing.assert_array_equal(net.theta, before)
    assert not (tmp_path / "c.npz").exists()


def test_a_callback_that_raises_loses_nothing(tmp_path):
    path, seen = tmp_path / "c.npz", []

    def callback(net, history):
        seen.append(len(history))
        if len(history) == 3:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError) as caught:
        run(network(), srl.SnAp(2), 5, path, callbacks=[callback])
    assert len(caught.value.history) == 3
    rest, whole = network(), network()
    run(rest, srl.SnAp(2), 5, path)
    run(whole, srl.SnAp(2), 5)
    np.testing.assert_array_equal(rest.theta, whole.theta)


def test_a_finished_run_says_that_nothing_is_left(written, caplog):
    assert len(run(network(), srl.SnAp(2), 2, written)) == 2
    assert "holds 2 steps already" in caplog.text


WRONG = [
    {"steps": -1}, {"steps": 1.5}, {"steps": True}, {"tau": 0}, {"tau": -1}, {"validate_every": 0}, {"zeros_every": -2},
    {"checkpoint_every": 0}, {"batch": 0}, {"resume": "perhaps"},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_arguments_are_checked_at_the_door(wrong):
    net, settings = network(), {"steps": 1, "batch": 2, "progress": False} | wrong
    before = net.theta.copy()
    with pytest.raises(ValueError, match=f"fit: {next(iter(wrong))} is"):
        srl.fit(net, srl.tasks.sunspots(tau=8), srl.SnAp(1), srl.optimizers.sgd(0.1), **settings)
    np.testing.assert_array_equal(net.theta, before)


@pytest.mark.parametrize("rate", [np.nan, None, -1.0, np.inf, "x"])
@pytest.mark.parametrize("make", [srl.optimizers.sgd, srl.optimizers.momentum, srl.optimizers.adam, srl.optimizers.rmsprop])
def test_a_rate_that_is_none_changes_nothing(rate, make):
    optimizer, theta = make(lambda step: rate), np.ones(3)
    state = optimizer.init(theta)
    before = {k: np.copy(v) for k, v in state.items()}
    with pytest.raises(ValueError, match=r"lr\(0\) returned"):
        optimizer.update(state, theta, np.ones(3))
    np.testing.assert_array_equal(theta, 1)
    for name, value in before.items():
        np.testing.assert_array_equal(state[name], value)
