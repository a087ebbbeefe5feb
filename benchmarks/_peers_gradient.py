"""The peers that compute a gradient of the event-based GRU: spikertrl's learners, structured dense RTRL, JAX, PyTorch."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from _egru_programs import jax_program, layout, pseudo_derivative
from _peer_base import Limits, Peer, Problem
from _structured_dense import Dense

import spikertrl as srl
from spikertrl.cost import cost_of
from spikertrl.learners.base import Signal
from spikertrl.simulation.run import pieces, simulator


class Ours(Peer):
    """A learner of spikertrl, the sequence as one tape or in tapes of ``tau`` steps; its time contains the simulation."""

    def __init__(self, learner: Any, tau: int | None = None) -> None:
        self.learner, self.tau = learner, tau
        order = f"({learner.order})" if isinstance(learner, srl.SnAp) else ""
        self.name, self.claim = f"spikertrl {type(learner).__name__}{order}", learner.claim
        self.name += f", tapes of {tau}" if tau else ""

    def prepare(self, problem: Problem) -> None:
        self.net, self.x, self.T = problem.net, problem.x, problem.steps
        self.lanes = problem.x.shape[1]
        self.machine, self.memory = simulator(self.net), self.learner.init(self.net, self.lanes)
        self.state, tapes = self.machine.start(self.lanes), pieces(self.T, self.tau)
        self.parts = [(t, Signal(0.0, problem.signal[t], last=t.stop == self.T)) for t in tapes]
        self.inside: list[float] = []
        self.calls = 0

    def step(self) -> None:
        self.state.reset_lanes()
        gradients, inside = [], 0.0
        for part, signal in self.parts:
            tape = self.machine.run(self.state, self.x[part])
            began = time.perf_counter()
            gradients.append(self.learner.update(self.memory, tape, signal))
            inside += time.perf_counter() - began
        self.found = np.sum(gradients, 0)
        self.inside.append(inside)
        self.calls += 1

    def gradient(self) -> np.ndarray:
        return self.found

    def bytes(self) -> float:
        """Influence or factors; for BPTT the tape of the sequence."""
        told = self.net.memory(self.learner, self.lanes, self.T)
        return float(told.tape if isinstance(self.learner, srl.BPTT) else told.influence)

    def extra(self) -> dict[str, float]:
        """Time inside the learner alone, and for learners that count: multiply-adds and bytes of influence touched, a step."""
        found = {"learner_ms": 1e3 * float(np.median(self.inside[2:])) / self.T}
        cost = cost_of(self.memory)
        if cost is not None:
            # A step reads and writes every resident block of the influence once, if the cache keeps what is shared.
            found |= {"macs": cost.macs / (self.calls * self.T), "touched": 2.0 * cost.bytes_held}
        return found

    def release(self) -> None:
        for name in ("memory", "machine", "state", "net", "found"):
            self.__dict__.pop(name, None)


class StructuredDense(Peer):
    """One matrix product a step; the simulation is spikertrl's."""

    def __init__(self, masked: bool) -> None:
        self.masked = masked
        self.name = "structured dense RTRL (BLAS)" + (", masked" if masked else "")

    def refuses(self, problem: Problem, limits: Limits) -> str:
        w = problem.net.wiring
        columns = w.n_recurrent if self.masked else w.n_filled
        needed, seconds = 8.0 * w.n_units * columns, problem.seconds_structured(columns)
        if needed > limits.bytes:
            return f"its two matrices need {needed / 1e9:.1f} GB"
        return f"about {seconds:.0f} s a call" if seconds > limits.seconds else ""

    def prepare(self, problem: Problem) -> None:
        self.net, self.x, self.signal = problem.net, problem.x, Signal(0.0, problem.signal, last=True)
        self.machine = simulator(self.net)
        self.state, self.opponent = self.machine.start(1), Dense(self.net, self.masked)
        self.none = np.ones(self.net.wiring.n_parameters, bool)
        self.none[self.net.wiring.col_theta] = False

    def step(self) -> None:
        self.state.reset_lanes()
        self.opponent.reset()
        self.found = self.opponent.update(self.machine.run(self.state, self.x), self.signal)

    def gradient(self) -> np.ndarray:
        return np.where(self.none, np.nan, self.found)

    def bytes(self) -> float:
        return float(self.opponent.M.nbytes + self.opponent.next.nbytes)


class Jax(Peer):
    """JAX, compiled: reverse mode (BPTT), or forward mode over the whole sequence (RTRL)."""

    needs = "jax"

    def __init__(self, forward: bool) -> None:
        self.forward = forward
        self.name = "JAX jacfwd (RTRL)" if forward else "JAX grad (BPTT)"
        self.sweeps = ("units",) if forward else Peer.sweeps

    def refuses(self, problem: Problem, limits: Limits) -> str:
        w = problem.net.wiring
        needed = 8 * 4.0 * w.n_parameters * w.n_filled  # a tangent of every dense matrix for every parameter, some copies
        if self.forward and w.n_units > 64:
            return "above 64 units"
        return f"needs about {needed / 1e9:.1f} GB" if self.forward and needed > limits.bytes else ""

    def prepare(self, problem: Problem) -> None:
        import jax
        import jax.numpy as jnp

        program, n = jax_program(problem.net), problem.net.wiring.n_units

        def loss(theta, x, signal):
            p = program.unpack(theta)

            def advance(c, given):
                c = program.step(p, c, given[0])
                return c, jnp.sum(program.read(p, c) * given[1])

            return jax.lax.scan(advance, jnp.zeros((1, n), x.dtype), (x, signal))[1].sum()

        self.given = jnp.asarray(problem.net.theta), jnp.asarray(problem.x), jnp.asarray(problem.signal)
        self.run = jax.jit(jax.jacfwd(loss) if self.forward else jax.grad(loss)).lower(*self.given).compile()

    def step(self) -> None:
        self.found = np.asarray(self.run(*self.given))

    def gradient(self) -> np.ndarray:
        return self.found

    def bytes(self) -> float:
        """Temporary memory of the compiled program."""
        told = self.run.memory_analysis()
        return float(told.temp_size_in_bytes) if told is not None else float("nan")

    def release(self) -> None:
        for name in ("run", "given", "found"):
            self.__dict__.pop(name, None)


class Torch(Peer):
    """PyTorch, eager: inputs of all steps in one product, the gates of a step in one; masks are zeros of dense matrices."""

    name, needs = "PyTorch autograd (BPTT)", "torch"

    def prepare(self, problem: Problem) -> None:
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.event, self.parts = _torch_event(*pseudo_derivative(problem.net)), layout(problem.net)
        self.places = {k: None if p.places is None else torch.from_numpy(p.places) for k, p in self.parts.items()}
        self.theta = torch.from_numpy(problem.net.theta.copy()).requires_grad_()
        self.x, self.signal = torch.from_numpy(problem.x[:, 0]), torch.from_numpy(problem.signal[:, 0])
        self.n = problem.net.wiring.n_units

    def step(self) -> None:
        import torch

        p, n, event = self._unpack(), self.n, self.event
        into = torch.cat([p["h<-x", port] for port in "urx"])
        across = torch.cat([p["h<-h", port] for port in "urh"]).T
        bias = torch.cat([p["h", f"bias_{port}"] for port in "urh"])
        heard, theta = self.x @ into.T, p["h", "theta"]
        c, messages = torch.zeros(n), []
        fired, y = torch.zeros(n), torch.zeros(n)
        for t in range(len(self.x)):
            through = y @ across + bias
            u, r = torch.sigmoid(heard[t, : 2 * n] + through[: 2 * n]).split(n)
            g = torch.tanh(heard[t, 2 * n :] + p["h", "bias_x"] + r * through[2 * n :])
            c = (1 - u) * (c - theta * fired) + u * g
            fired = event(c - theta)
            y = c * fired
            messages.append(y)
        z = torch.stack(messages) @ p["z", "weight"].T + p["z", "bias"]
        self.theta.grad = None
        (z * self.signal).sum().backward()

    def _unpack(self) -> dict[tuple[str, str], Any]:
        import torch

        found = {}
        for key, (part, shape, _) in self.parts.items():
            values, places = self.theta[part], self.places[key]
            if places is not None:
                values = torch.zeros(int(np.prod(shape))).index_put((places,), values)
            found[key] = values.reshape(shape)
        return found

    def gradient(self) -> np.ndarray:
        assert self.theta.grad is not None
        return self.theta.grad.numpy().copy()

    def bytes(self) -> float:
        """Tensors that autograd saves for the way back, each once."""
        from torch.autograd.graph import saved_tensors_hooks

        saved: dict[int, int] = {}

        def keep(tensor):
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            self.step()
        return float(sum(saved.values()))


def _torch_event(gamma: float, width: float) -> Any:
    import torch

    class Event(torch.autograd.Function):
        @staticmethod
        def forward(ctx, v):
            ctx.save_for_backward(v)
            return (v > 0).to(v.dtype)

        @staticmethod
        def backward(ctx, *grads):
            (v,) = ctx.saved_tensors
            return grads[0] * gamma * torch.clamp(1 - v.abs() / width, min=0)

    return Event.apply
