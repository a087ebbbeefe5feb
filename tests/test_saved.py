"""Files of networks and of ``Online``: they come back as they were, run nothing, and say what is wrong with them."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import networks
import spikertrl as srl
from spikertrl import storage
from spikertrl.network.network import NetworkError
from spikertrl.training.checkpoint import CheckpointError
from spikertrl.training.fingerprint import of_network

MINE = srl.Model(
    "mine", update="h = a*h + I_h\nw = h", message="tanh(h)*where(w > 3, 2, 1)",
    parameters={"a": srl.Parameter(0.9, trainable=True)},
    states={"h": srl.State(0.25), "w": srl.State(discrete=True)}, ports={"h": srl.Port(bias=True, scale=0.5)}, summary='"""',
)  # fmt: skip


def network(loss_size: int = 1) -> srl.Network:
    """The network of the tests of Online, so that nothing new is compiled."""
    net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 6, theta=0.05)
    net.connect("x", "h").connect("h", "h", delay=2)
    return net.add_readout("z", "h", loss_size, decay=0.5).initialize(0)


def test_a_network_comes_back(tmp_path: Path) -> None:
    """Masks, delays one a synapse, units, biases of ports, frozen weights, sparse weights, a parameter one a unit."""
    from brian2 import ms

    slow = {"tau": np.linspace(10, 20, 4) * ms}
    net = networks.stacked("egru", "lif", first={"bias": dict.fromkeys("urxh", 0.25)}, second=slow)
    mask = np.eye(4)[[1, 2, 3, 0]]
    net.connect("b", "b", name="ring", mask=mask, weight=sparse.csr_matrix(2e-3 * mask), delay=mask * 2, trainable=False)
    net.initialize(1)
    path = net.save(tmp_path / "net.npz")
    again = srl.load(path)
    assert path == tmp_path / "net.npz" and of_network(again) == of_network(net)
    np.testing.assert_array_equal(again.theta, net.theta)
    x = networks.drive(20, 2)
    for name, z in srl.simulate(net, x).readouts.items():
        np.testing.assert_array_equal(srl.simulate(again, x).readouts[name], z)
    np.testing.assert_array_equal(again.initialize(5).theta, net.initialize(5).theta)
    assert np.abs(again.theta - srl.load(path).theta).max() > 0.1, "another seed must give another network"


def test_a_model_of_ones_own_travels_and_quantities_keep_their_value(tmp_path: Path) -> None:
    from brian2 import ms

    net = srl.Network("float64", dt="0.5*ms").add_input("x", 1).add_population("h", MINE, 3).connect("x", "h")
    again = srl.load(net.initialize(2).save(tmp_path / "net"))
    assert again.populations["h"].model == MINE and again.dt == net.dt
    late = srl.models.lif.replace(parameters=dict(srl.models.lif.parameters) | {"tau": srl.Parameter(17.3 * ms, "ms")})
    record = srl.network.record._model(late)  # type: ignore[attr-defined]
    assert isinstance(text := record.parameters["tau"].default, str)
    assert srl.network.weights.base_values(text, (0, 0, 1, 0, 0, 0, 0), "tau") == float(17.3 * ms)  # type: ignore[attr-defined]


def test_functions_are_refused_or_their_values_kept(tmp_path: Path) -> None:
    net = srl.Network("float64").add_input("x", 2)
    net.add_population("h", srl.models.egru, 6, theta=lambda rng, n: rng.random(n), bias=lambda rng, n: rng.random(n))
    net.connect("x", "h", density=0.5, weight=lambda rng, shape: rng.random(shape)).connect("h", "h", delay=2)
    path = tmp_path / "net.npz"
    with pytest.raises(NetworkError, match=r"save: .* is given by a function.*functions='values'"):
        net.initialize(0).save(path)
    assert not path.exists()
    again = srl.load(net.save(path, functions="values"))
    np.testing.assert_array_equal(again.theta, net.theta)
    again.initialize(9)
    for group, names in {"h": ("theta", "bias_u", "bias_h")}.items():
        for name in names:
            np.testing.assert_array_equal(again.view(again.theta)[group][name], net.view(net.theta)[group][name])
    np.testing.assert_array_equal(again.view(again.theta)["h<-x"]["u"].data, net.view(net.theta)["h<-x"]["u"].data)
    assert not np.array_equal(again.theta, net.theta), "what no function gave is drawn with the new seed"


# -- Online ------------------------------------------------------------------------------------------------------------
X = 2 * np.random.default_rng(0).normal(size=(14, 2))
RATE = srl.schedules.warmup_cosine(1e-2, 3, 30)
LEARNERS = [srl.RTRL(), srl.SnAp(1), srl.EProp(), srl.BPTT(truncate=4), srl.RTRL(dense=True), srl.RandomPaths()]


def feed(online: Any, steps: range) -> list[float]:
    """Predictions and losses; every third step has no label."""
    found = []
    for t in steps:
        found.append(online.predict_one(X[t]).item())
        if t % 3:
            found.append(online.learn_one([np.sin(t)]))
    return found


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_a_stream_goes_on_bit_by_bit(learner: Any, tmp_path: Path) -> None:
    """Also from between a prediction and its label (step 6)."""
    optimizer = srl.optimizers.clip_norm(srl.optimizers.adam(RATE), 1.0)
    whole, first = (srl.Online(network(), learner, optimizer, srl.losses.squared_error) for _ in range(2))
    expected = feed(whole, range(14))
    found = feed(first, range(7))
    online = srl.load(first.save(tmp_path / "online.npz"))
    assert (online.learner, online.steps, online.loss) == (learner, 7, srl.losses.squared_error)
    assert repr(online.optimizer) == repr(optimizer)
    assert found + feed(online, range(7, 14)) == expected
    np.testing.assert_array_equal(online.net.theta, whole.net.theta)
    assert np.abs(whole.net.theta - network().theta).max() > 1e-3, "learning must move the parameters"


def test_what_is_code_is_asked_for(tmp_path: Path) -> None:
    loss = functools.partial(srl.losses.squared_error, readout="z")
    one = srl.Online(network(), srl.SnAp(1), srl.optimizers.adam(lambda step: 1e-2 / (step + 1)), loss)
    feed(one, range(5))
    path = one.save(tmp_path / "online.npz")
    with pytest.raises(CheckpointError, match=r"its optimizer is one of your own, .*give it: srl\.load\(path, optimizer="):
        srl.load(path, loss=loss)
    with pytest.raises(CheckpointError, match="optimizer keeps"):
        srl.load(path, loss=loss, optimizer=srl.optimizers.sgd(0.1))
    with pytest.raises(CheckpointError, match="memory is of kind Influence, this run needs"):
        srl.load(path, loss=loss, optimizer=one.optimizer, learner=srl.BPTT(truncate=4))
    assert feed(srl.load(path, loss=loss, optimizer=one.optimizer), range(5, 9)) == feed(one, range(5, 9))


# -- files that lie ----------------------------------------------------------------------------------------------------
def rewrite(path: Path, old: str, new: str) -> None:
    """Replace a piece of the description, and its seal with it."""
    with np.load(path) as file:
        text, arrays = str(file["tree"]), {k: file[k] for k in file.files if k != "tree"}
    assert old in text
    content = storage.sealed(json.loads(text.replace(old, new)))
    np.savez(path, tree=np.array(json.dumps(content)), **arrays)


LIES = {
    "code in a model": ("a*h + I_h", "a*h + __import__('os').remove(I_h)", "ModelError"),
    "code in a unit": ('"unit": "1", "trainable": true', '"unit": "exec(1)", "trainable": true', "damaged"),
    "a path as a name": ('"name": "mine"', '"name": "../../mine"', "identifier"),
    "an unknown class": ('"c": "Parameter"', '"c": "subprocess:Popen"', "subprocess:Popen"),
    "an unknown function": ('{"@": "data", "c": "Port"', '{"@": "function", "n": "os.remove", "c": "Port"', "names a function"),
    "another version": ('["version", 1]', '["version", 2]', "version 2"),
    "another size": ('["size", 3]', '["size", 4]', "damaged"),
    "something else": ('["saved", "network"]', '["saved", "horse"]', "neither"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_file_that_lies_is_refused_and_runs_nothing(name: str, tmp_path: Path) -> None:
    old, new, said = LIES[name]
    net = srl.Network("float64").add_input("x", 1).add_population("h", MINE, 3).connect("x", "h").initialize(0)
    path = net.save(tmp_path / "net.npz")
    rewrite(path, old, new)
    with pytest.raises(CheckpointError, match=rf"net\.npz.*{said}"):
        srl.load(path)


def test_checkpoints_and_saved_files_are_told_apart(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "run.npz"
    run = functools.partial(srl.fit, net, srl.tasks.sunspots(tau=8), srl.SnAp(1), srl.optimizers.sgd(0.1), steps=1, batch=2)
    net.save(path)
    with pytest.raises(CheckpointError, match=r"no checkpoint of fit but what save wrote"):
        run(checkpoint=path, progress=False)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"checkpoint of fit; fit\(\.\.\., checkpoint=path\) goes on"):
        srl.load(Path(__file__).parent / "data" / "checkpoints_v3" / "snap1.npz")
    with pytest.raises(FileNotFoundError, match="no file at"):
        srl.load(path)
