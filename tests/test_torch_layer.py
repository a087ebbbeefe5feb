"""srl.torch.Layer against torch.nn.RNN, BPTT and differences; beside other modules, across calls, and in copies."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import Any

import numpy as np
import pytest

import spikertrl as srl
from networks import CHANNELS, OUTPUTS, drive, single, stacked, worst_block
from spikertrl.network import Network
from tolerances import ALIVE, DIFFERENCES, EXACT64, VALUES64

T, B = 12, 4


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"srl.torch.Layer needs .* pip install 'spikertrl\[torch\]'"):
        _ = srl.torch.Layer


torch = pytest.importorskip("torch")
NAMES = srl.models.names()


def flat(layer: Any, of: str = "grad") -> np.ndarray:
    """Gradients of all blocks in the order of theta."""
    found = np.zeros_like(layer.net.theta)
    for name, (part, _, _) in layer._blocks.items():
        value = getattr(layer.get_parameter(name), of)
        found[part] = 0 if value is None else value.detach().numpy().reshape(-1)
    return found


def like_torch() -> tuple[Network, Any]:
    """``torch.nn.RNN`` and a readout, and the same network here."""
    rnn, out = torch.nn.RNN(CHANNELS, 5).double(), torch.nn.Linear(5, OUTPUTS).double()
    with torch.no_grad():
        rnn.bias_hh_l0.zero_()
    net = Network("float64").add_input("x", CHANNELS).add_population("h", srl.models.rnn, 5)
    net = net.connect("x", "h").connect("h", "h").add_readout("z", "h", OUTPUTS).initialize(0)
    view = net.view(net.theta)
    pairs = {("h<-x", "h"): rnn.weight_ih_l0, ("h<-h", "h"): rnn.weight_hh_l0, ("h", "bias_h"): rnn.bias_ih_l0}
    pairs |= {("z", "weight"): out.weight, ("z", "bias"): out.bias}
    for (group, name), value in pairs.items():
        view[group][name][...] = value.detach().numpy()
    return net, (rnn, out, pairs)


@pytest.mark.parametrize("learner", [srl.BPTT(), srl.RTRL()], ids=["BPTT", "RTRL"])
def test_it_is_torchs_own_rnn(learner: Any) -> None:
    """Values and gradients of parameters, and of the input through a linear module before it."""
    torch.manual_seed(0)
    net, (rnn, out, pairs) = like_torch()
    layer, first = srl.torch.Layer(net, learner), torch.nn.Linear(2, CHANNELS).double()
    x, targets = torch.randn(T, B, 2).double(), torch.randn(T, B, OUTPUTS).double()
    found = layer(first(x))
    ((found - targets) ** 2).mean().backward()
    ours, of_input = flat(layer), first.weight.grad.clone()
    first.zero_grad()
    expected = out(rnn(first(x))[0])
    ((expected - targets) ** 2).mean().backward()
    assert (found - expected).detach().abs().max().item() < VALUES64
    theirs = np.zeros_like(net.theta)
    for (group, name), value in pairs.items():
        net.view(theirs)[group][name][...] = value.grad.numpy()
    gap, where = worst_block(net, ours, theirs)
    assert gap < EXACT64 and np.linalg.norm(theirs) > ALIVE, where
    np.testing.assert_allclose(of_input.numpy(), first.weight.grad.numpy(), rtol=EXACT64)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "egru" else pytest.mark.slow) for n in NAMES])
def test_every_model_as_by_gradient(name: str) -> None:
    """Readouts and messages, delays, masks, stacked populations; and the slope of the input by differences where smooth."""
    net = stacked(name, NAMES[(NAMES.index(name) + 3) % len(NAMES)])
    layer = srl.torch.Layer(net, srl.BPTT(), returns=["slow", "a"])
    x = torch.tensor(drive(T, B, seed=1), requires_grad=True)
    targets = np.random.default_rng(3).normal(size=(T, B, OUTPUTS))
    z, y = layer(x)
    shares = (y + ((y != 0).double() - y).detach()).mean((1, 2))
    (0.5 * ((z - torch.tensor(targets)) ** 2).sum(2).mean() + ((shares - 0.2) ** 2).mean()).backward()
    loss = srl.losses.squared_error(targets, readout="slow") + srl.losses.activity("a", 0.2)
    _, expected = srl.gradient(net, srl.BPTT(), x.detach().numpy(), loss)
    found = flat(layer)
    if net.populations["a"].cell.spiking:  # of a message that is never below zero, the slope of its size is 1
        gap, where = worst_block(net, found, expected)
        assert gap < EXACT64 and np.linalg.norm(expected) > ALIVE, where
    assert float(x.grad.abs().max()) > 0
    if not any(p.cell.spiking for p in net.populations.values()):
        check_input_slope(net, x, targets, layer)


def check_input_slope(net: Network, x: Any, targets: np.ndarray, layer: Any) -> None:
    x.grad = None
    (0.5 * ((layer(x)[0] - torch.tensor(targets)) ** 2).sum(2).mean()).backward()
    along, loss = np.random.default_rng(0).normal(size=x.shape), srl.losses.squared_error(targets, readout="slow")
    ends = [srl.gradient(net, srl.BPTT(), x.detach().numpy() + s * 1e-5 * along, loss)[0] for s in (1, -1)]
    assert float((x.grad.numpy() * along).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=DIFFERENCES)


def test_input_slope_over_delays_and_masks() -> None:
    net = Network("float64").add_input("u", 2).add_input("x", CHANNELS).add_population("h", srl.models.rnn, 5)
    net = net.connect("u", "h", density=0.6, delay=np.arange(10).reshape(5, 2) % 4).connect("x", "h", delay=2)
    net = net.connect("h", "h", delay=3).add_readout("slow", "h", OUTPUTS, decay=0.8).initialize(0)
    targets = np.random.default_rng(3).normal(size=(T, B, OUTPUTS))
    layer = srl.torch.Layer(net, srl.BPTT(), returns=["slow"])
    x = torch.tensor(drive(T, B, channels=2 + CHANNELS), requires_grad=True)
    check_input_slope(net, x, targets, layer)
    assert not x.grad[-2:, :, 2:].any() and x.grad[:-2, :, 2:].any()  # what is still under way


def test_an_optimizer_of_torch_trains_the_network() -> None:
    net = single("egru", "float32", units=8, theta=0.1)
    layer = srl.torch.Layer(net, srl.SnAp(1), batch_first=True)
    model = torch.nn.Sequential(layer, torch.nn.Linear(OUTPUTS, 2))
    task, before = srl.tasks.spiral(0), net.theta.copy()
    data = [torch.from_numpy(part) for part in task.batch(64)]
    data = torch.utils.data.TensorDataset(torch.nn.functional.pad(data[0].transpose(0, 1), (0, 1)), data[1].long())
    optimizer, means = torch.optim.AdamW(model.parameters(), 1e-2), []
    for _ in range(15):
        losses = []
        for x, labels in torch.utils.data.DataLoader(data, 16, shuffle=True):
            optimizer.zero_grad()
            value = torch.nn.functional.cross_entropy(model(x)[:, -1], labels)
            value.backward()
            optimizer.step()
            losses.append(value.item())
        means.append(np.mean(losses))
    assert means[-1] < 0.9 * means[0] and np.abs(net.theta - before).max() > 0.05
    np.testing.assert_array_equal(net.theta, flat(layer, "data"))


def test_calls_that_go_on_are_one_sequence() -> None:
    """RTRL across calls gives the gradient of the whole; a call without backward still moves the sensitivities."""
    net = single("egru", units=5, theta=0.1, delay=2)
    x, targets = drive(T, B), np.random.default_rng(3).normal(size=(T, B, OUTPUTS))
    layer = srl.torch.Layer(net, srl.RTRL(), stateful=True)
    for cut in (slice(0, 4), slice(4, 6), slice(6, T)):
        z = layer(torch.tensor(x[cut]))
        if cut.start != 4:
            (0.5 * ((z - torch.tensor(targets[cut])) ** 2).sum() / (T * B)).backward()
    with pytest.raises(RuntimeError, match="before the next call"):
        z.sum().backward()
    counted = np.ones((T, B), bool)
    counted[4:6] = False
    loss = srl.losses.squared_error(targets, at=counted)
    expected = srl.gradient(net, srl.BPTT(), x, loss)[1] * counted.mean()
    gap, where = worst_block(net, flat(layer), expected)
    assert gap < EXACT64 and np.linalg.norm(expected) > ALIVE, where
    with pytest.raises(RuntimeError, match="lanes"):
        layer(torch.tensor(x[:2, :1]))
    layer.reset()
    np.testing.assert_allclose(layer(torch.tensor(x)).detach(), srl.simulate(net, x).z, rtol=VALUES64)


def test_fixed_weights_copies_and_files() -> None:
    net = Network("float64").add_input("x", CHANNELS).add_population("h", srl.models.egru, 5, theta=0.1).connect("x", "h")
    net = net.connect("h", "h", delay=2, trainable=False).add_readout("z", "h", OUTPUTS).initialize(0)
    layer = srl.torch.Layer(net)
    assert [n for n, p in layer.named_parameters() if not p.requires_grad] == ["h<-h:u", "h<-h:r", "h<-h:h"]
    x = torch.tensor(drive(T, B))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.mul_(1.5)
        assert not np.allclose(other(x).detach(), layer(x).detach())
        layer_again = srl.torch.Layer(copy.deepcopy(net), flat=True)
        with torch.no_grad():
            layer_again.theta.copy_(torch.from_numpy(other.net.theta))
        np.testing.assert_array_equal(layer_again(x).detach(), other(x).detach())
    layer.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(net.theta, other.net.theta)


def test_what_is_refused() -> None:
    net = single("egru", units=5, theta=0.1, delay=2)
    x = torch.tensor(drive(T, B))
    assert np.array_equal(srl.simulate(net, x).z, srl.simulate(net, x.numpy()).z)
    with pytest.raises(ValueError, match=r"x is a Tensor that cannot be read .*detach"):
        srl.simulate(net, x.clone().requires_grad_())
    with pytest.raises(RuntimeError, match=r"SnAp.*x.detach\(\)"):
        srl.torch.Layer(net, srl.SnAp(1))(x.clone().requires_grad_())
    asked = x.clone().requires_grad_()
    srl.torch.Layer(net, srl.SnAp(1), input_gradient=True)(asked).sum().backward()
    assert asked.grad.any()
    with pytest.raises(ValueError, match="returns"):
        srl.torch.Layer(net, returns="y")
    with pytest.raises(ValueError, match=r"\(T, B, 3\)"):
        srl.torch.Layer(net)(x[..., :2])
    layer = srl.torch.Layer(net)
    net.add_readout("more", "h", 1)
    with pytest.raises(RuntimeError, match="changed"):
        layer(x)
