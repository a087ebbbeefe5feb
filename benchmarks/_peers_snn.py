"""A recurrent network of leaky integrate-and-fire units: spikertrl's learners beside BPTT by snnTorch and by Norse.

The unit is one that all three have, the same step and the same pseudo-derivative, the reset part of the gradient:

    v(t) = alpha (v(t-1) - v_th y(t-1)) + I(t),   y(t) = [v(t) > v_th],   dy/dv = 0.3 max(0, 1 - |v - v_th|)

snnTorch's differs where a voltage passes 2: it takes two thresholds off over two steps. Input are random spikes. The forward
pass of the peers is a loop over steps in Python, as their users write it, inputs of all steps in one product; the missing
synapses are zeros of dense matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _peer_base import Peer, Problem
from _peers_gradient import Ours, Torch

import spikertrl as srl
from spikertrl.model import Model, Parameter, Port, State

ALPHA, INPUTS, OUTPUTS = 0.9, 64, 8
LEAKY = Model(
    name="leaky",
    summary="leaky integrate-and-fire neuron in discrete time, reset by subtraction before the leak",
    update="v = alpha*(v - v_th*y) + I_v",
    message="event(v - v_th)",
    states={"v": State(meaning="membrane voltage")},
    ports={"v": Port(kind="both", meaning="step of the voltage")},
    parameters={
        "alpha": Parameter(ALPHA, meaning="what the voltage keeps in a step"),
        "v_th": Parameter(1.0, meaning="threshold, and the size of the reset"),
    },
    surrogate=srl.surrogates.triangle(0.3, 1.0),
    reference="Eshraghian et al. (2023), Training spiking neural networks using lessons from deep learning, Proceedings of the "
    "IEEE 111(9):1016-1054",
)


def problem(n: int, density: float, steps: int, lanes: int, peak: float) -> Problem:
    """Inputs speak in a tenth of the steps; the share of gradient-active units is that of this sequence."""
    net = srl.Network().add_input("x", INPUTS, kind="event").add_population("h", LEAKY, n)
    net.connect("x", "h", weight=lambda rng, shape: rng.normal(0.003, 0.07, shape))  # some spikes, voltages seldom above 2
    net = net.connect("h", "h", density=density, seed=1).add_readout("z", "h", OUTPUTS).initialize(0)
    rng = np.random.default_rng(5)
    x = (rng.random((steps, lanes, INPUTS)) < 0.1).astype(np.float32)
    run = srl.simulate(net, x)
    share = float((np.abs(run.states["h"]["v"] - 1.0) < 1.0).mean())
    return Problem(net, share, x, rng.normal(size=(steps, lanes, OUTPUTS)).astype(np.float32), peak)


class SnnTorch(Torch):
    """``snntorch.Leaky`` that resets in the step of the spike."""

    name, needs, network, sweeps = "snnTorch (BPTT)", "snntorch", "lif", ("snn",)
    scale = 1.0  # of the input, for the cell

    def prepare(self, problem: Problem) -> None:
        import torch

        super().prepare(problem)
        self.x, self.signal = torch.from_numpy(problem.x), torch.from_numpy(problem.signal)
        self.cell = self._cell(_triangle())

    def _cell(self, triangle: Any) -> Any:
        import snntorch

        leaky = snntorch.Leaky(ALPHA, spike_grad=triangle, reset_mechanism="subtract", reset_delay=False)
        return lambda current, v: leaky(current, v)

    def _rest(self, like: Any) -> Any:
        return like.new_zeros(like.shape)

    def step(self) -> None:
        import torch

        p = self._unpack()
        across, heard = self.scale * p["h<-h", "v"].T, self.x @ (self.scale * p["h<-x", "v"].T)
        y, messages = torch.zeros_like(heard[0]), []
        state = self._rest(heard[0])
        for current in heard:
            y, state = self.cell(current + y @ across, state)
            messages.append(y)
        z = torch.stack(messages) @ p["z", "weight"].T + p["z", "bias"]
        self.theta.grad = None
        (z * self.signal).sum().backward()


class Norse(SnnTorch):
    """Its ``lif_box`` cell, without a synaptic current; it weighs its input by 1 - alpha, which the weights make up for."""

    name, needs, scale = "Norse (BPTT)", "norse", 1 / (1 - ALPHA)

    def _cell(self, triangle: Any) -> Any:
        import torch
        from norse.torch.functional.lif_box import LIFBoxParameters, lif_box_feed_forward_step
        from norse.torch.functional.reset import reset_subtract

        rate = torch.as_tensor((1 - ALPHA) / 1e-3)
        known = LIFBoxParameters(tau_mem_inv=rate, method="triangle", alpha=0.3, reset_method=reset_subtract)
        return lambda current, state: lif_box_feed_forward_step(current, state, known)

    def _rest(self, like: Any) -> Any:
        from norse.torch.functional.lif_box import LIFBoxFeedForwardState

        return LIFBoxFeedForwardState(v=like.new_zeros(like.shape))


def _triangle() -> Any:
    """The pseudo-derivative for snnTorch."""
    import torch

    class Triangle(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, v: Any) -> Any:
            ctx.save_for_backward(v)
            return (v > 0).to(v.dtype)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            (v,) = ctx.saved_tensors
            return gradients[0] * 0.3 * torch.relu(1 - v.abs())

    return Triangle.apply


def peers() -> list[Peer]:
    """Exact RTRL, BPTT and e-prop of spikertrl, and the peers."""
    ours = [Ours(learner) for learner in (srl.BPTT(), srl.RTRL(), srl.EProp())]
    for peer in ours:
        peer.network = "lif"
    return [*ours, SnnTorch(), Norse()]
