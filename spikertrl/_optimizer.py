"""The optimizer classes; ``optimizers`` holds the functions that make them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Rate = float | Callable[[int], float]
State = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Optimizer(ABC):
    """Base of all optimizers; a new one defines ``buffers`` and ``advance``."""

    def init(self, theta: np.ndarray) -> State:
        """State for parameters like ``theta`` (floats, any shape).

        Raises
        ------
        TypeError
            If theta is not an array of floats.
        """
        if not isinstance(theta, np.ndarray) or theta.dtype.kind != "f":
            found = f"an array of dtype {theta.dtype}" if isinstance(theta, np.ndarray) else type(theta).__name__
            raise TypeError(f"optimizer: theta is {found}; legal: an ndarray of floats, changed in place")
        return {"step": 0} | {name: np.zeros_like(theta) for name in self.buffers()}

    def update(self, state: State, theta: np.ndarray, grad: np.ndarray) -> None:
        """Advance ``theta`` and ``state`` in place by one step against ``grad``.

        Raises
        ------
        ValueError
            If theta and grad differ in shape.
        FloatingPointError
            If grad holds NaN or infinity; theta and state are untouched then.
        """
        grad = np.asarray(grad, theta.dtype)
        if grad.shape != theta.shape:
            raise ValueError(f"optimizer: grad has shape {grad.shape} and theta {theta.shape}; they must be equal")
        if not np.isfinite(grad).all():
            wrong = np.flatnonzero(~np.isfinite(grad))
            raise FloatingPointError(
                f"optimizer: {wrong.size} of {grad.size} entries of the gradient are NaN or infinite, first at index "
                f"{wrong[0]}; theta was not changed; lower the learning rate or clip with clip_norm"
            )
        self.advance(state, theta, grad)
        state["step"] += 1

    @abstractmethod
    def buffers(self) -> tuple[str, ...]:
        """Names of the arrays kept beside theta."""

    @abstractmethod
    def advance(self, state: State, theta: np.ndarray, grad: np.ndarray) -> None:
        """Move theta and the buffers; grad is checked and read-only. ``state["step"]`` is the number of steps done before."""


@dataclass(frozen=True, eq=False)
class Momentum(Optimizer):
    """Steps along grad, or along its running sum; see `optimizers.sgd` and `optimizers.momentum`."""

    lr: Rate
    beta: float = 0.0
    nesterov: bool = False

    def buffers(self) -> tuple[str, ...]:
        return ("velocity",) if self.beta else ()

    def advance(self, state: State, theta: np.ndarray, grad: np.ndarray) -> None:
        direction = grad
        if self.beta:
            direction = state["velocity"]
            direction *= self.beta
            direction += grad
            if self.nesterov:
                direction = self.beta * direction + grad
        theta -= _rate(self.lr, state) * direction


@dataclass(frozen=True, eq=False)
class Adam(Optimizer):
    """See `optimizers.adam` and `optimizers.adamw`."""

    lr: Rate
    b1: float
    b2: float
    eps: float
    weight_decay: float = 0.0

    def buffers(self) -> tuple[str, ...]:
        return ("mean", "square")

    def advance(self, state: State, theta: np.ndarray, grad: np.ndarray) -> None:
        lr, steps = _rate(self.lr, state), state["step"] + 1
        mean, square = state["mean"], state["square"]
        mean += (1 - self.b1) * (grad - mean)
        square += (1 - self.b2) * (grad * grad - square)
        root = np.sqrt(square / (1 - self.b2**steps))
        root += self.eps
        if self.weight_decay:
            theta *= 1 - lr * self.weight_decay
        theta -= (lr / (1 - self.b1**steps)) * mean / root


@dataclass(frozen=True, eq=False)
class RmsProp(Optimizer):
    """See `optimizers.rmsprop`."""

    lr: Rate
    decay: float
    eps: float

    def buffers(self) -> tuple[str, ...]:
        return ("square",)

    def advance(self, state: State, theta: np.ndarray, grad: np.ndarray) -> None:
        square = state["square"]
        square += (1 - self.decay) * (grad * grad - square)
        theta -= _rate(self.lr, state) * grad / (np.sqrt(square) + self.eps)


@dataclass(frozen=True, eq=False)
class Clip(Optimizer):
    """See `optimizers.clip_norm` and `optimizers.clip_value`."""

    inner: Optimizer
    limit: float
    by_norm: bool

    def buffers(self) -> tuple[str, ...]:
        return self.inner.buffers()

    def advance(self, state: State, theta: np.ndarray, grad: np.ndarray) -> None:
        if self.by_norm:
            norm = float(np.linalg.norm(grad.astype(np.float64).ravel()))
            grad = grad * (self.limit / norm) if norm > self.limit else grad
        else:
            grad = grad.clip(-self.limit, self.limit)
        self.inner.advance(state, theta, grad)


@dataclass(frozen=True, eq=False)
class ScaleGroups(Optimizer):
    """See `optimizers.scale_groups`."""

    inner: Optimizer
    scale: np.ndarray

    def buffers(self) -> tuple[str, ...]:
        return self.inner.buffers()

    def advance(self, state: State, theta: np.ndarray, grad: np.ndarray) -> None:
        if self.scale.shape != theta.shape:
            raise ValueError(f"scale_groups: scale has shape {self.scale.shape} and theta {theta.shape}; they must be equal")
        before = theta.copy()
        self.inner.advance(state, theta, grad)
        np.copyto(theta, before + self.scale * (theta - before), where=self.scale != 1)


def _rate(lr: Rate, state: State) -> float:
    return float(lr(state["step"])) if callable(lr) else lr
