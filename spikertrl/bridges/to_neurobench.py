"""to_neurobench: a network as a model of NeuroBench's harness, whose metrics then count what it does."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments
from ..optional import needed
from ..simulation.recording import Record
from ..simulation.run import simulate

if TYPE_CHECKING:
    from ..network.network import Network


def to_neurobench(net: Network, returns: str | None = None) -> Any:
    """A network as a model that ``neurobench.benchmarks.Benchmark`` takes.

    It runs here; the harness sees, as PyTorch modules, a linear layer for each port of a connection and for each readout, and
    all messages of every population. A synaptic operation is then a message that is not zero times a weight that is not zero
    (effective), or any message times any weight (dense): what masks and silence save. Messages still under way at the end
    count. Operations inside a unit are its equations', which the harness does not know: ``NeuronOperations`` and
    ``MembraneUpdates`` find none.

    Parameters
    ----------
    net : Network
        Taken as it is now: a copy is made.
    returns : str, optional
        The readout, or the population whose messages, that are the answer (B, T, outputs). Default: the only readout.

    Returns
    -------
    neurobench.models.NeuroBenchModel
        Called with a tensor (B, T, channels), as the harness does. ``Footprint`` is weights, parameters and the states of one
        sequence, of a mask with its zeros, as in the harness.

    Raises
    ------
    ModuleNotFoundError
        Without the package ``neurobench`` (the extra ``neurobench``).
    ValueError
        If ``returns`` names nothing, or is missing where there is not one readout.

    References
    ----------
    Yik et al. 2025, The neurobench framework for benchmarking neuromorphic computing algorithms and systems, Nature
    Communications 16:1545.

    Examples
    --------
    >>> from neurobench.benchmarks import Benchmark                                              # doctest: +SKIP
    >>> from neurobench.metrics.static import ConnectionSparsity, Footprint                      # doctest: +SKIP
    >>> from neurobench.metrics.workload import ClassificationAccuracy, SynapticOperations       # doctest: +SKIP
    >>> metrics = [[Footprint, ConnectionSparsity], [ClassificationAccuracy, SynapticOperations]]      # doctest: +SKIP
    >>> answer = [lambda z: z[:, -1].argmax(1)]                                                  # doctest: +SKIP
    >>> Benchmark(srl.to_neurobench(net), loader, [], answer, metrics).run()                     # doctest: +SKIP
    """
    arguments.network("to_neurobench", net).ready()
    legal = [*(r.name for r in net.readouts), *net.populations]
    if returns is None and len(net.readouts) != 1:
        raise ValueError(f"to_neurobench: there are {len(net.readouts)} readouts; legal: returns= one of {legal}")
    name = net.readouts[0].name if returns is None else arguments.choice("to_neurobench", "returns", returns, legal)
    needed("neurobench", "srl.to_neurobench")
    return _kind()(deepcopy(net), name)


@functools.cache
def _kind() -> type:
    """The class, once there is something to derive it from."""
    torch: Any = needed("torch", "srl.to_neurobench", "neurobench")
    base: Any = needed("neurobench.models", "srl.to_neurobench").NeuroBenchModel

    class Messages(torch.nn.Module):
        """All messages of a population pass through it."""

        def forward(self, y: Any) -> Any:
            return y

    class NeuroBenchNetwork(base):
        """What ``to_neurobench`` returns."""

        def __init__(self, net: Network, returns: str) -> None:
            super().__init__()
            self.net, self.returns = net, returns
            self.add_activation_module(Messages)
            self._modules = torch.nn.Module()
            for name, population in net.populations.items():
                stage = Messages()
                states = torch.zeros(len(population.cell.states), population.size, dtype=getattr(torch, net.dtype))
                stage.register_buffer("states", states)
                self._modules.add_module(_plain(name), stage)
            self._links = [(source, self._linear(name, w, bias)) for source, name, w, bias in _layers(net)]
            for (group, name), (part, _) in net.wiring.layout.items():
                if group in net.populations:
                    own = torch.nn.Parameter(torch.from_numpy(net.theta[part].copy()))
                    self._modules.register_parameter(_plain(f"{group}:{name}"), own)

        def _linear(self, name: str, weight: np.ndarray, bias: np.ndarray | None) -> Any:
            post, pre = weight.shape
            layer = torch.nn.Linear(pre, post, bias is not None)
            layer.weight = torch.nn.Parameter(torch.from_numpy(weight))
            if bias is not None:
                layer.bias = torch.nn.Parameter(torch.from_numpy(bias))
            self._modules.add_module(_plain(name), layer)
            return layer

        def __net__(self) -> Any:
            return self._modules

        def __call__(self, batch: Any) -> Any:
            x = batch.detach().cpu().transpose(0, 1).flatten(2).numpy()
            run = simulate(self.net, x, record=Record(states=False, events=False))
            starts = {name: slice(i.start, i.start + i.size) for name, i in self.net.inputs.items()}
            sent = {name: x[:, :, part].astype(self.net.dtype) for name, part in starts.items()} | run.messages
            with torch.no_grad():
                seen = {name: torch.from_numpy(np.ascontiguousarray(y.swapaxes(0, 1))) for name, y in sent.items()}
                for name in self.net.populations:
                    self._modules.get_submodule(_plain(name))(seen[name])
                for source, layer in self._links:
                    layer(seen[source])
            if self.returns in seen:
                return seen[self.returns]
            return torch.from_numpy(np.ascontiguousarray(run.readouts[self.returns].swapaxes(0, 1)))

    return NeuroBenchNetwork


def _plain(name: str) -> str:
    """A name that PyTorch takes for a module."""
    return name.replace(".", "_")


def _layers(net: Network) -> Sequence[tuple[str, str, np.ndarray, np.ndarray | None]]:
    """Source, name, weights (post, pre) and biases of every port of a connection and of every readout."""
    view, found = net.view(net.theta), []
    for p in net.projections:
        for port in p.ports:
            weight = view[p.name][port]
            weight = np.array(weight) if p.is_dense else np.array(weight.toarray())
            found.append((p.source, f"{p.name}:{port}", weight, None))
    for r in net.readouts:
        found.append((r.source, r.name, np.array(view[r.name]["weight"]), np.array(view[r.name]["bias"])))
    return found
