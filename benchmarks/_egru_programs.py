"""The event-based GRU written by hand for JAX, on the flat parameter vector of a spikertrl network.

``layout`` says where every matrix lies in that vector, for JAX and for every other program that wants dense matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import spikertrl as srl


class Part(NamedTuple):
    """A matrix or vector in theta: its slice, its dense shape, its entries' places there (None: all, in order)."""

    part: slice
    shape: tuple[int, ...]
    places: np.ndarray | None

    def dense(self, theta: np.ndarray) -> np.ndarray:
        """Its values, zero where there is no synapse."""
        found = np.zeros(int(np.prod(self.shape)), theta.dtype)
        found[slice(None) if self.places is None else self.places] = theta[self.part]
        return found.reshape(self.shape)

    def take(self, dense: np.ndarray) -> np.ndarray:
        """The entries of a dense array of this shape that theta has."""
        flat = np.asarray(dense).reshape(-1)
        return flat if self.places is None else flat[self.places]


def layout(net: srl.Network) -> dict[tuple[str, str], Part]:
    """(population, projection or readout; name) -> where it lies."""
    view, found = net.view(np.ones(net.wiring.n_parameters)), {}
    for (group, name), (part, _) in net.wiring.layout.items():
        ones: Any = view[group][name]
        dense = ones.toarray() if hasattr(ones, "toarray") else ones
        found[group, name] = Part(part, dense.shape, None if dense.all() else np.flatnonzero(dense))
    return found


def pseudo_derivative(net: srl.Network) -> tuple[float, float]:
    """Height and half width of the triangle of population h."""
    given = net.populations["h"].model.surrogate.parameters
    return float(given["gamma"]), float(given["width"])


class JaxProgram(NamedTuple):
    """``unpack(theta)`` -> matrices; ``step(matrices, c, x)`` -> next c; ``read(matrices, c)`` -> z."""

    unpack: Callable[[Any], Mapping[tuple[str, str], Any]]
    step: Callable[[Any, Any, Any], Any]
    read: Callable[[Any, Any], Any]


def jax_program(net: srl.Network) -> JaxProgram:
    """The network (input x, population h, readout z) for JAX."""
    import jax
    import jax.numpy as jnp

    gamma, width = pseudo_derivative(net)
    parts = layout(net)

    @jax.custom_jvp
    def event(v):
        return (v > 0).astype(v.dtype)

    @event.defjvp
    def _(primals, tangents):
        (v,), (dv,) = primals, tangents
        return event(v), gamma * jnp.maximum(0, 1 - jnp.abs(v) / width) * dv

    def unpack(theta):
        found = {}
        for key, (part, shape, places) in parts.items():
            values = theta[part]
            if places is not None:
                values = jnp.zeros(int(np.prod(shape)), theta.dtype).at[places].set(values)
            found[key] = values.reshape(shape)
        return found

    def step(p, c, x):
        threshold = p["h", "theta"]
        fired = event(c - threshold)
        y = c * fired
        through = {port: y @ p["h<-h", port].T + p["h", f"bias_{port}"] for port in "urh"}
        u = jax.nn.sigmoid(x @ p["h<-x", "u"].T + through["u"])
        r = jax.nn.sigmoid(x @ p["h<-x", "r"].T + through["r"])
        g = jnp.tanh(x @ p["h<-x", "x"].T + p["h", "bias_x"] + r * through["h"])
        return (1 - u) * (c - threshold * fired) + u * g

    def read(p, c):
        return (c * event(c - p["h", "theta"])) @ p["z", "weight"].T + p["z", "bias"]

    return JaxProgram(unpack, step, read)
