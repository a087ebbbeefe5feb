"""Losses for ``jax_reference``: functions of (readouts, messages), dicts of (T, B, n); means over batch and counted steps."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

Loss = Callable[[dict, dict], jax.Array]


def _counted(shape: tuple[int, ...], at: str | np.ndarray) -> np.ndarray:
    """Weights (T, B) that average over batch and counted steps."""
    weight = np.ones(shape)
    if isinstance(at, str):
        weight[:-1] = at == "each"
    else:
        weight *= np.asarray(at, float).reshape(len(weight), -1)
    return weight / weight.sum()


def cross_entropy(labels: np.ndarray, at: str | np.ndarray = "each", readout: str | None = None) -> Loss:
    """Softmax over two or more outputs, sigmoid for one; labels (T, B), or (B,) for the last step."""

    def loss(readouts: dict, messages: dict) -> jax.Array:
        z = readouts[readout or next(iter(readouts))]
        target = jnp.broadcast_to(jnp.asarray(labels), z.shape[:2])
        if z.shape[2] == 1:
            each = jnp.logaddexp(0.0, z[..., 0]) - target * z[..., 0]
        else:
            each = jax.nn.logsumexp(z, axis=2) - jnp.take_along_axis(z, target[..., None], axis=2)[..., 0]
        return jnp.sum(each * _counted(z.shape[:2], at))

    return loss


def squared_error(targets: np.ndarray, at: str | np.ndarray = "each", readout: str | None = None) -> Loss:
    """Half the squared distance, summed over outputs; targets (T, B, n_out)."""

    def loss(readouts: dict, messages: dict) -> jax.Array:
        z = readouts[readout or next(iter(readouts))]
        return jnp.sum(0.5 * jnp.sum((z - targets) ** 2, axis=2) * _counted(z.shape[:2], at))

    return loss


def activity(population: str, target: float, weight: float = 1.0) -> Loss:
    """weight * mean over steps of (share of nonzero messages - target)^2; the count has the slope of |y|, 1 where silent."""

    def loss(readouts: dict, messages: dict) -> jax.Array:
        y = messages[population]
        magnitude = jnp.where(y < 0, -y, y)
        event = magnitude + jax.lax.stop_gradient((y != 0) - magnitude)
        return weight * jnp.mean((jnp.mean(event, axis=(1, 2)) - target) ** 2)

    return loss


def add(*losses: Loss) -> Loss:
    """Sum of losses."""
    return lambda readouts, messages: sum(loss(readouts, messages) for loss in losses)
