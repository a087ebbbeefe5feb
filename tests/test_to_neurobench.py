"""to_neurobench: NeuroBench's figures, against those of the same network in snnTorch and against events that were counted."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

import spikertrl as srl
from networks import drive, stacked
from spikertrl.network import Network
from tolerances import VALUES32


def test_without_neurobench_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Network().add_input("x", 2).add_population("h", srl.models.egru, 3).connect("x", "h")
    with pytest.raises(ValueError, match=r"0 readouts; legal: returns= one of \['h'\]"):
        srl.to_neurobench(net)
    monkeypatch.setitem(sys.modules, "neurobench", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'spikertrl\[neurobench\]'"):
        srl.to_neurobench(net, "h")


pytest.importorskip("neurobench")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its dependencies
    import snntorch
    import torch
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
    from neurobench.metrics.workload import ActivationSparsity, ClassificationAccuracy, SynapticOperations
    from neurobench.models import SNNTorchModel

pytestmark = pytest.mark.filterwarnings("ignore")
UNITS, OUTPUTS, T, B = 8, 2, 15, 6
METRICS = [[ConnectionSparsity], [ActivationSparsity, SynapticOperations, ClassificationAccuracy]]


class Leaky(torch.nn.Module):
    """One layer of leaky units in snnTorch, its spikes read by another."""

    def __init__(self, weight: np.ndarray, out: np.ndarray) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(3, UNITS, bias=False), torch.nn.Linear(UNITS, OUTPUTS)
        self.first.weight.data, self.last.weight.data = torch.from_numpy(weight), torch.from_numpy(out)
        self.last.bias.data.zero_()
        self.units = snntorch.Leaky(0.9, init_hidden=True, reset_mechanism="subtract")

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.last(self.units(self.first(x))), None


@pytest.mark.parametrize("spikes", [False, True])
def test_it_counts_what_it_counts_for_snntorch(spikes: bool) -> None:
    net = Network().add_input("x", 3).add_population("h", srl.models.cuba_lif, UNITS, alpha=0.9, alpha_s=0.0)
    net = net.connect("x", "h", density=0.6, seed=1, weight=1.0).add_readout("z", "h", OUTPUTS).initialize(0)
    rng = np.random.default_rng(0)
    view = net.view(net.theta)
    view["h<-x"]["i"].data[...] = rng.normal(0.4, 0.5, view["h<-x"]["i"].nnz)
    weight, out = view["h<-x"]["i"].toarray(), np.array(view["z"]["weight"])
    x = drive(T, B).astype("float32").swapaxes(0, 1)
    x = torch.from_numpy((x > 0.5).astype("float32") if spikes else x)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.arange(B) % 2), batch_size=4)
    ours, theirs = srl.to_neurobench(net), SNNTorchModel(Leaky(weight, out))
    z = theirs(x).detach()
    assert (ours(x) - z).abs().max() <= 10 * VALUES32 * z.abs().max() and z.abs().max() > 0.1
    answer = [lambda z: z.sum(1).argmax(1)]
    found, expected = (Benchmark(model, loader, [], answer, METRICS).run(quiet=True) for model in (ours, theirs))
    assert found == expected
    assert 0.1 < found["ActivationSparsity"] < 0.99 and found["ConnectionSparsity"] > 0.1
    assert (found["SynapticOperations"]["Effective_MACs"] > 0) == (not spikes)


def test_operations_are_events_times_the_synapses_that_hear_them() -> None:
    """Stacked populations, masks, delays, a graded message; parameters and bytes of the dense matrices and of theta."""
    net = stacked("cuba_lif", "egru", "float32")
    x = drive(T, B, seed=1).astype("float32")
    run = srl.simulate(net, x)
    loader = [(torch.from_numpy(x.swapaxes(0, 1).copy()), torch.zeros(B))]
    loader = type("Loader", (list,), {"dataset": range(B)})(loader)
    metrics = [[ParameterCount, Footprint], [ActivationSparsity, SynapticOperations]]
    model = srl.to_neurobench(net, "slow")
    found = Benchmark(model, loader, [], [], metrics).run(quiet=True)
    sent, sums, dense, weights = {"x": x} | run.messages, {"graded": 0, "spikes": 0}, 0, 0
    for p in net.projections:
        mask = np.ones(p.shape) if p.is_dense else (net.view(net.theta)[p.name][p.ports[0]].toarray() != 0)
        sums["spikes" if p.source == "a" else "graded"] += len(p.ports) * int(((sent[p.source] != 0) * mask.sum(0)).sum())
        dense += len(p.ports) * mask.size * T * B
        weights += len(p.ports) * mask.size
    for r in net.readouts:
        sums["spikes" if r.source == "a" else "graded"] += r.size * int((sent[r.source] != 0).sum())
        dense += r.size * net.populations[r.source].size * T * B
        weights += r.size * (net.populations[r.source].size + 1)
    own = sum(part.stop - part.start for (group, _), (part, _) in net.wiring.layout.items() if group in net.populations)
    expected = {"Effective_MACs": sums["graded"] / B, "Effective_ACs": sums["spikes"] / B, "Dense": dense / B}
    assert found["SynapticOperations"] == expected
    messages = np.concatenate([run.messages["a"].reshape(-1), run.messages["b"].reshape(-1)])
    assert found["ActivationSparsity"] == pytest.approx((messages == 0).mean()) and 0 < (messages == 0).mean() < 1
    assert found["ParameterCount"] == weights + own
    states = sum(len(p.cell.states) * p.size for p in net.populations.values())
    assert found["Footprint"] == 4 * (weights + own + states)
    np.testing.assert_array_equal(model(loader[0][0]).numpy(), run.readouts["slow"].swapaxes(0, 1))
    with pytest.raises(ValueError, match="2 readouts"):
        srl.to_neurobench(net)
