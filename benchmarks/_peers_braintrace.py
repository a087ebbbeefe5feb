"""braintrace's online learners on the same event-based GRU.

Its compiler wants an event whose derivative it can trace through elementary operations: the event is written as a step plus an
antiderivative of the pseudo-derivative minus itself without gradient. The threshold is a constant there (its effect on other
units' input is outside the traces), and so is the readout: compared are the weights and biases of population h. Masks are
zeros of dense matrices, which is how its fast path wants them.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from _egru_programs import layout, pseudo_derivative
from _peer_base import Limits, Peer, Problem


class Braintrace(Peer):
    """One of its algorithms, compiled, one sequence by ``etrace_grad``."""

    needs = "braintrace"
    sweeps = ("units",)

    def __init__(self, name: str, algorithm: str, claim: str, **options: Any) -> None:
        self.name, self.claim = f"braintrace {name}", claim
        self.algorithm, self.options = algorithm, options

    def refuses(self, problem: Problem, limits: Limits) -> str:
        if self.claim != "exact":
            return ""
        seconds = problem.seconds_dense
        return f"about {seconds:.0f} s a call" if seconds > limits.seconds else ""

    def prepare(self, problem: Problem) -> None:
        import brainstate
        import braintrace
        import jax.numpy as jnp

        net, self.parts = problem.net, layout(problem.net)
        self.size = net.wiring.n_parameters
        self.given = jnp.asarray(problem.x), jnp.asarray(problem.signal)
        model = _module(net, self.parts)
        known = getattr(braintrace, self.algorithm)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells that the pattern is all-to-all, which is what is wanted
            learner: Any = braintrace.compile(model, known, self.given[0][0], batch_size=1, **self.options)

        def run(x, signal):
            model.c.value = jnp.zeros_like(model.c.value)
            learner.reset_state(batch_size=1)
            return learner.etrace_grad(x, signal, step_fn=lambda a, b: jnp.sum(learner(a) * b), reduction="sum")

        compiled: Any = brainstate.transform.jit
        self.run, self.learner = compiled(run), learner

    def step(self) -> None:
        import jax

        self.found = jax.block_until_ready(self.run(*self.given))

    def gradient(self) -> np.ndarray:
        flat = np.full(self.size, np.nan, np.float32)
        for path, values in self.found.items():
            group, port = path[-2:]
            part = self.parts["h<-x" if group == "inputs" else "h<-h", port]
            flat[part.part] = part.take(np.asarray(values["weight"]).T)
            if "bias" in values:
                flat[self.parts["h", f"bias_{port}"].part] = values["bias"]
        return flat

    def bytes(self) -> float:
        """Everything that the learner carries from step to step besides the weights."""
        import brainstate
        import jax

        states = self.learner.states().values()
        kept = [s for s in states if not isinstance(s, brainstate.ParamState)]
        return float(sum(leaf.nbytes for s in kept for leaf in jax.tree.leaves(s.value) if hasattr(leaf, "nbytes")))

    def release(self) -> None:
        for name in ("run", "learner", "given", "found", "parts"):
            self.__dict__.pop(name, None)


def _module(net: Any, parts: dict) -> Any:
    import brainstate
    import jax
    import jax.numpy as jnp
    from braintrace import matmul as traced

    matmul: Any = traced
    theta, n = net.theta, net.wiring.n_units
    gamma, width = pseudo_derivative(net)
    threshold = jnp.asarray(theta[parts["h", "theta"].part])
    out, out_bias = (jnp.asarray(parts["z", name].dense(theta)) for name in ("weight", "bias"))

    def event(v):
        a = jnp.clip(v / width, -1, 1)
        soft = gamma * width * (a - a * jnp.abs(a) / 2)
        return (v > 0).astype(v.dtype) + (soft - jax.lax.stop_gradient(soft))

    def weights(group: str, port: str, biased: bool) -> Any:
        found = {"weight": jnp.asarray(parts[group, port].dense(theta).T)}
        return brainstate.ParamState(found | ({"bias": jnp.asarray(theta[parts["h", f"bias_{port}"].part])} if biased else {}))

    class EGRU(brainstate.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inputs = {port: weights("h<-x", port, port == "x") for port in "urx"}
            self.recurrent = {port: weights("h<-h", port, True) for port in "urh"}

        def init_state(self, batch_size: int | None = None, **_: Any) -> None:
            self.c = brainstate.HiddenState(jnp.zeros((batch_size, n)))

        def update(self, x):
            c = self.c.value
            fired = event(c - threshold)
            y = c * fired
            heard = {port: matmul(x, w.value["weight"], w.value.get("bias")) for port, w in self.inputs.items()}
            through = {port: matmul(y, w.value["weight"], w.value.get("bias")) for port, w in self.recurrent.items()}
            u, r = (jax.nn.sigmoid(heard[port] + through[port]) for port in "ur")
            g = jnp.tanh(heard["x"] + r * through["h"])
            c = (1 - u) * (c - threshold * fired) + u * g
            self.c.value = c
            return (c * event(c - threshold)) @ out.T + out_bias

    return EGRU()


def peers() -> list[Peer]:
    """All its algorithms that the comparison runs."""
    return [
        Braintrace("D_RTRL", "D_RTRL", "approximate"),
        Braintrace("ES-D-RTRL (pp_prop)", "pp_prop", "approximate", decay_or_rank=0.9),
        Braintrace("SnAp(1)", "SnAp", "approximate", n=1),
        Braintrace("SnAp(2), all rows", "SnAp", "exact", n=2, snap_max_jacobian_elements=10**10),
        Braintrace("UORO", "UORO", "unbiased"),
    ]
