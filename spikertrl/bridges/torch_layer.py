"""Layer: a network as a module of PyTorch, whose backward pass is a learner of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments
from ..learners.base import Learner, Signal, learner_of
from ..learners.bptt import BPTT, with_inputs
from ..optional import needed
from ..simulation.run import as_input, simulator
from ..tape import Tape
from ..threads import one_pool

if TYPE_CHECKING:
    from ..network.network import Network

torch: Any = needed("torch", "srl.torch.Layer")
once: Any = needed("torch.autograd.function", "srl.torch.Layer").once_differentiable


@dataclass
class Piece:
    """Some steps that were simulated, until a backward pass has learned from them."""

    tape: Tape
    memory: Any  # of the learner, of a layer that goes on; None: begin anew
    learned: bool = False


class Layer(torch.nn.Module):
    """A network that trains beside other modules, with PyTorch's optimizers, by any learner.

    Parameters
    ----------
    net : Network
        Its parameters become parameters of the module, one a block of ``net.view(net.theta)``, such as "h<-x:u". They share its
        memory: what an optimizer does to them is done to ``net.theta``. Blocks that are not trained do not require a gradient.
    learner : Learner
        What the backward pass asks for the gradient; default BPTT, the cheapest exact one where whole sequences are at hand.
    returns : str or sequence of str, optional
        Readouts, whose z (T, B, outputs), and populations, whose messages (T, B, units), ``forward`` returns: one, or a tuple.
        Default: all readouts, side by side.
    batch_first : bool
        Input and outputs are (B, T, ...).
    stateful : bool
        The next call goes on where the last one ended, with the same lanes, until ``reset``: states, messages under way and,
        for online learners, sensitivities, so that RTRL stays exact across calls. Each call's backward pass has to come before
        the next call; a call under ``torch.no_grad()`` makes the learner begin anew.
    flat : bool
        One parameter "theta" in place of the blocks.
    input_gradient : bool, optional
        The gradient with respect to the input is that of backpropagation through the steps of one call. None: it is given
        where the learner is exact, and refused elsewhere, since it would not match; True: given with any learner; False: the
        input is a constant.

    Raises
    ------
    ModuleNotFoundError
        Without the package ``torch``.
    ValueError
        For unknown names, or a network without anything to return.

    Examples
    --------
    >>> import torch, spikertrl as srl
    >>> net = srl.Network().add_input("x", 8).add_population("h", srl.models.egru, 16, theta=0.1).connect("x", "h")
    >>> net = net.connect("h", "h").add_readout("z", "h", 4).initialize(0)
    >>> layer = srl.torch.Layer(net, srl.RTRL())
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 8), layer, torch.nn.Linear(4, 2))
    >>> optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    >>> z = model(torch.ones(20, 5, 3))                        # (T, B, channels) -> (T, B, outputs)
    >>> torch.nn.functional.cross_entropy(z[-1], torch.tensor([0, 1, 0, 1, 0])).backward()
    >>> optimizer.step()
    >>> z.shape, layer.get_parameter("h<-x:u").grad.shape
    (torch.Size([20, 5, 2]), torch.Size([16, 8]))
    """

    def __init__(self, net: Network, learner: Learner | None = None, *, returns: str | Sequence[str] | None = None,
                 batch_first: bool = False, stateful: bool = False, flat: bool = False,
                 input_gradient: bool | None = None) -> None:  # fmt: skip
        super().__init__()
        for what, value in (("batch_first", batch_first), ("stateful", stateful), ("flat", flat)):
            arguments.flag("Layer", what, value)
        self._net = arguments.network("Layer", net).ready()
        self.learner = BPTT() if learner is None else learner_of("Layer", learner)
        self.batch_first, self.stateful = batch_first, stateful
        self.input_gradient = getattr(self.learner, "claim", "") == "exact" if input_gradient is None else input_gradient
        self._asked = input_gradient
        self._single = returns is None or isinstance(returns, str)
        self._outputs = _outputs(net, returns)
        self._layout = dict(net.wiring.layout)
        self._blocks = _blocks(net, flat)
        for name, (part, shape, trained) in self._blocks.items():
            block = torch.nn.Parameter(torch.from_numpy(net.theta[part].reshape(shape)), requires_grad=trained)
            self.register_parameter(name, block)
        self._machine: Any = None
        self._state: Any = None
        self._memory: Any = None
        self._waiting: Piece | None = None

    @property
    def net(self) -> Network:
        """The network, with the module's parameters as they are now."""
        return self._synchronized()

    def forward(self, x: Any) -> Any:
        """Run the network on x (T, B, channels), (T, channels), or a mapping input -> one of them.

        Raises
        ------
        RuntimeError
            If x requires a gradient that the learner cannot give; or, with ``stateful``, for another number of lanes.
        ValueError, SimulationDiverged
            As in ``simulate``.
        """
        if isinstance(x, dict):
            if set(x) != set(self._net.inputs):
                raise ValueError(f"Layer: x names the inputs {sorted(x)}, the network has {sorted(self._net.inputs)}")
            x = torch.cat([x[name] for name in self._net.inputs], dim=-1)
        if not isinstance(x, torch.Tensor):
            raise arguments.refuse("Layer", "x", x, "a tensor (T, B, channels), or a mapping of them")
        follows = torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in self.parameters()))
        if follows and x.requires_grad and not self.input_gradient and self._asked is None:
            raise RuntimeError(
                f"Layer: x requires a gradient, and {self.learner!r} gives none for the input that would match its own; legal: "
                "an exact learner such as srl.BPTT(), x.detach(), input_gradient=True (by backpropagation) or False (none)"
            )
        alone = x.ndim == 2
        x = x.unsqueeze(1) if alone else x.transpose(0, 1) if self.batch_first else x
        found = _Run.apply(self, follows, x, *(self.get_parameter(name) for name in self._blocks))
        found = tuple(y.squeeze(1) if alone else y.transpose(0, 1) if self.batch_first else y for y in found)
        return found[0] if self._single else found

    def reset(self, lanes: Any = None) -> None:
        """With ``stateful``: new sequences in some lanes (bool (B,)), default all of any number.

        Raises
        ------
        ValueError
            If ``lanes`` has another shape.
        """
        self._learn_nothing()
        if lanes is None:
            self._state = self._memory = None
        elif self._state is not None:
            self._state.reset_lanes(arguments.numbers("Layer", "lanes", lanes))

    def extra_repr(self) -> str:
        """For ``print``: the network, the learner."""
        return f"{self._net!r}, {self.learner!r}"

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles begin anew."""
        return {**self.__dict__, "_machine": None, "_state": None, "_memory": None, "_waiting": None}

    # -- inside --------------------------------------------------------------------------------------------------------
    def _synchronized(self) -> Any:
        """The network; parameters that were moved to other memory (``.to``, copies) are written into it."""
        net = self._net
        if net.wiring.layout != self._layout:
            raise RuntimeError("Layer: the network has changed since the layer was made; make a new one")
        for name, (part, shape, _) in self._blocks.items():
            block = self.get_parameter(name)
            mine = net.theta[part].reshape(shape)
            if block.device.type != "cpu" or block.data_ptr() != mine.ctypes.data:
                mine[...] = block.detach().cpu().numpy()
        return net

    def _run(self, x: Any, follows: bool) -> tuple[list[np.ndarray], Piece | None]:
        """Simulate x (T, B, channels); the outputs, and what a backward pass needs."""
        net = self._synchronized()
        given = as_input(net, x.detach().cpu().to(getattr(torch, net.dtype)).numpy())
        if self._machine is None or self._machine.wiring is not net.wiring:
            self._machine, self._state, self._memory = simulator(net), None, None
        with one_pool(), np.errstate(over="ignore", invalid="ignore"):  # the simulator looks for it and says where
            self._learn_nothing()
            state = self._state if self.stateful and self._state is not None else self._machine.start(given.shape[1])
            if state.batch != given.shape[1]:
                raise RuntimeError(f"Layer: {given.shape[1]} lanes after {state.batch}; call reset() to begin anew")
            tape = self._machine.run(state, given, linearise=follows)
            y, z = tape.units(net.wiring), tape.z
            outputs = [(z if which == "z" else y)[:, :, part].copy() for which, part in self._outputs]
            piece = None
            if self.stateful:
                self._state = state
                if follows and self._memory is None:
                    self._memory = self.learner.init(net, state.batch)
                    tape.reset[...] = True
                self._memory = self._memory if follows else None
            if follows:
                piece = Piece(tape.copy(), self._memory)  # a copy: the next call uses the buffers again
                self._waiting = piece if self.stateful else None
        return outputs, piece

    def _learn_nothing(self) -> None:
        """Steps without a backward pass still move the sensitivities of a layer that goes on."""
        piece, self._waiting = self._waiting, None
        if piece is not None and not piece.learned:
            piece.learned = True
            self.learner.update(piece.memory, piece.tape, Signal(0.0, np.zeros_like(piece.tape.z)))

    def _gradients(self, piece: Piece, slopes: Sequence[Any], for_input: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Gradient, flat like theta, and of the input if it is asked for."""
        net, tape, again = self._net, piece.tape, piece.memory is not None
        if again and piece.learned:
            raise RuntimeError("Layer: these steps have been learned from; with stateful=True backward() comes once a call, "
                               "before the next call")  # fmt: skip
        piece.learned = again
        signal = self._signal(tape, slopes, last=not again)
        with one_pool(), np.errstate(over="ignore", invalid="ignore"):
            if for_input:
                gradient, slope = with_inputs(net.wiring, tape, signal)
                if not again and isinstance(self.learner, BPTT) and self.learner.truncate is None:
                    return net.wiring.gradient(tape.theta, gradient), slope
            memory = piece.memory if again else self.learner.init(net, tape.batch)
            gradient = self.learner.update(memory, tape, signal)
            return net.wiring.gradient(tape.theta, gradient), slope if for_input else None

    def _signal(self, tape: Tape, slopes: Sequence[Any], last: bool) -> Signal:
        """dL/dz and dL/dy from the slopes of the outputs."""
        dz, dy = np.zeros_like(tape.z), None
        for (which, part), slope in zip(self._outputs, slopes, strict=True):
            if slope is None:
                continue
            if which == "y" and dy is None:
                dy = np.zeros_like(tape.units(self._net.wiring))
            into = dz if which == "z" else dy
            into[:, :, part] += slope.detach().cpu().numpy()  # type: ignore[index]
        return Signal(0.0, dz, dy, last)


class _Run(torch.autograd.Function):
    """Forward: simulate. Backward: ask the learner."""

    @staticmethod
    def forward(ctx: Any, layer: Layer, follows: bool, x: Any, *blocks: Any) -> tuple[Any, ...]:
        outputs, ctx.piece = layer._run(x, follows)
        ctx.layer, ctx.like, ctx.blocks = layer, (x.device, x.dtype), [(b.device, b.dtype) for b in blocks]
        ctx.set_materialize_grads(False)
        return tuple(torch.from_numpy(y).to(x.device) for y in outputs)

    @staticmethod
    @once
    def backward(ctx: Any, *slopes: Any) -> tuple[Any, ...]:
        for_input = bool(ctx.needs_input_grad[2]) and ctx.layer.input_gradient
        gradient, slope = ctx.layer._gradients(ctx.piece, slopes, for_input)
        parts = zip(ctx.layer._blocks.values(), ctx.needs_input_grad[3:], ctx.blocks, strict=True)
        found = [
            torch.from_numpy(gradient[part].reshape(shape)).to(*like) if wanted else None
            for (part, shape, _), wanted, like in parts
        ]
        return None, None, None if slope is None else torch.from_numpy(slope).to(*ctx.like), *found


def _outputs(net: Network, returns: str | Sequence[str] | None) -> list[tuple[str, slice]]:
    """What ``forward`` returns: ("z", outputs) or ("y", units) of each."""
    places = {r.name: ("z", slice(r.start, r.start + r.size)) for r in net.readouts}
    places |= {p.name: ("y", slice(p.start, p.start + p.size)) for p in net.populations.values()}
    if returns is None:
        if not net.readouts:
            raise ValueError("Layer: the network has no readout; add one, or name populations with returns=")
        return [("z", slice(0, net.wiring.n_outputs))]
    names = arguments.names("Layer", "returns", [returns] if isinstance(returns, str) else returns, list(places))
    if not names:
        raise arguments.refuse("Layer", "returns", returns, f"names out of {list(places)}")
    return [places[name] for name in names]


def _blocks(net: Network, flat: bool) -> dict[str, tuple[slice, tuple[int, ...], bool]]:
    """Name of a parameter -> its place in theta, its shape, and whether it is trained."""
    if flat:
        return {"theta": (slice(0, net.wiring.n_theta), (net.wiring.n_theta,), True)}
    frozen = set(net.wiring.fixed.tolist())
    return {
        f"{group}:{name}".replace(".", "_"): (part, shape, part.start not in frozen)
        for (group, name), (part, shape) in net.wiring.layout.items()
    }
