"""Optimizers: frozen settings that turn a gradient into a step of theta.

``state = optimizer.init(theta)`` makes a flat dictionary of arrays and integers (ready to be saved), and
``optimizer.update(state, theta, grad)`` advances theta and the state in place. theta, grad and the arrays of the state have one
shape and keep their float type; grad is never changed. A learning rate is a number or any callable ``step -> float``, such as
those in ``schedules``; steps count from 0. Wrappers (`clip_norm`, `clip_value`, `scale_groups`) take an optimizer and
are one: ``clip_norm(adam(1e-3), 1.0)``.

>>> theta = np.array([1.0, -2.0])
>>> optimizer = momentum(0.1)
>>> state = optimizer.init(theta)
>>> for _ in range(300):
...     optimizer.update(state, theta, grad=theta)
>>> bool(abs(theta).max() < 1e-6), state["step"]
(True, 300)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arguments import refuse
from .loops import loop
from .simulation.divergence import finite
from .threads import in_parts

MANY = 1 << 18  # parameters from which a second thread is used

__all__ = ["Optimizer", "adam", "adamw", "clip_norm", "clip_value", "momentum", "rmsprop", "scale_groups", "sgd"]


def sgd(lr: Rate) -> Optimizer:
    """Plain gradient descent, ``theta -= lr * grad``.

    >>> theta, optimizer = np.array([1.0]), sgd(0.5)
    >>> optimizer.update(optimizer.init(theta), theta, np.array([1.0]))
    >>> theta.item()
    0.5
    """
    return Momentum(_check_rate("sgd", lr))


def momentum(lr: Rate, beta: float = 0.9, nesterov: bool = False) -> Optimizer:
    """Gradient descent with a velocity, ``v = beta*v + grad; theta -= lr*v`` (Nesterov: ``theta -= lr*(beta*v + grad)``).

    Source: Sutskever et al. 2013, in the form whose ``lr`` multiplies the velocity.

    >>> momentum(0.1, beta=0.5).buffers()
    ('velocity',)
    """
    return Momentum(_check_rate("momentum", lr), _check_decay("momentum", "beta", beta), nesterov)


def adam(lr: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """Adam (Kingma and Ba 2015, algorithm 1): bias-corrected means of grad and grad^2; ``eps`` is outside the root.

    >>> theta, optimizer = np.zeros(2), adam(0.1)
    >>> optimizer.update(optimizer.init(theta), theta, np.array([5.0, -0.01]))
    >>> theta.round(4).tolist()
    [-0.1, 0.1]
    """
    return adamw(lr, 0.0, b1, b2, eps)


def adamw(lr: Rate, weight_decay: float = 1e-2, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """Adam with decoupled weight decay, ``theta -= lr * weight_decay * theta`` (Loshchilov and Hutter 2019, algorithm 2).

    >>> theta, optimizer = np.ones(1), adamw(0.1, weight_decay=0.5)
    >>> optimizer.update(optimizer.init(theta), theta, np.zeros(1))
    >>> theta.item()
    0.95
    """
    if not (weight_decay >= 0 and math.isfinite(weight_decay) and eps > 0):
        raise ValueError(f"adam: weight_decay is {weight_decay} and eps is {eps}; legal: weight_decay >= 0, eps > 0")
    return Adam(_check_rate("adam", lr), _check_decay("adam", "b1", b1), _check_decay("adam", "b2", b2), eps, weight_decay)


def rmsprop(lr: Rate, decay: float = 0.99, eps: float = 1e-8) -> Optimizer:
    """RMSprop (Tieleman and Hinton 2012): ``s = decay*s + (1-decay)*grad^2; theta -= lr*grad/(sqrt(s) + eps)``.

    >>> theta, optimizer = np.zeros(1), rmsprop(0.1, decay=0.75)
    >>> optimizer.update(optimizer.init(theta), theta, np.array([3.0]))
    >>> round(theta.item(), 6)
    -0.2
    """
    if not eps > 0:
        raise ValueError(f"rmsprop: eps is {eps}; legal: eps > 0")
    return RmsProp(_check_rate("rmsprop", lr), _check_decay("rmsprop", "decay", decay), eps)


def clip_norm(optimizer: Optimizer, max_norm: float) -> Optimizer:
    """Shrink the whole gradient to Euclidean norm ``max_norm`` (> 0) when it is longer (Pascanu et al. 2013, algorithm 1).

    >>> theta, clipped = np.zeros(2), clip_norm(sgd(1.0), 1.0)
    >>> clipped.update(clipped.init(theta), theta, np.array([30.0, -40.0]))
    >>> theta.round(6).tolist()
    [-0.6, 0.8]
    """
    return Clip(optimizer, _check_limit("clip_norm", max_norm), True)


def clip_value(optimizer: Optimizer, limit: float) -> Optimizer:
    """Cut every entry of the gradient to -limit .. limit (limit > 0).

    >>> theta, clipped = np.zeros(2), clip_value(sgd(1.0), 1.0)
    >>> clipped.update(clipped.init(theta), theta, np.array([0.5, -40.0]))
    >>> theta.tolist()
    [-0.5, 1.0]
    """
    return Clip(optimizer, _check_limit("clip_value", limit), False)


def scale_groups(optimizer: Optimizer, scale: np.ndarray) -> Optimizer:
    """Multiply each parameter's step, weight decay included, by its entry of ``scale`` (>= 0, shaped like theta; 0 freezes).

    >>> theta, one = np.zeros(2), scale_groups(sgd(1.0), np.array([0.0, 0.5]))
    >>> one.update(one.init(theta), theta, np.ones(2))
    >>> theta.tolist()
    [0.0, -0.5]
    """
    scale = np.array(scale, float)
    if not (np.isfinite(scale).all() and (scale >= 0).all()):
        raise ValueError("scale_groups: scale holds a negative, NaN or infinite entry; legal: finite, >= 0, shaped like theta")
    return ScaleGroups(optimizer, scale)


RATE = dict.fromkeys(("lr", "learning_rate"), "the rate belongs to the optimizer, srl.optimizers.adam(1e-3)")
"""What to write instead of keywords of other packages, see ``arguments.other_words``."""


def optimizer_of(where: str, value: Any) -> Optimizer:
    """An optimizer as it may be given: anything with ``init`` and ``update``.

    Raises
    ------
    ValueError
        For a name or a function without its learning rate, and for anything else.
    """
    name = value if isinstance(value, str) else getattr(value, "__name__", "")
    if (found := name.lower()) in ("sgd", "momentum", "adam", "adamw", "rmsprop"):
        raise ValueError(f"{where}: optimizer is {name!r} without a learning rate; write srl.optimizers.{found}(1e-3)")
    if isinstance(value, str | type) or not all(callable(getattr(value, method, None)) for method in ("init", "update")):
        raise refuse(where, "optimizer", value, "srl.optimizers.adam(1e-3), another of srl.optimizers, or one of your own")
    return value


def _check_rate(name: str, lr: Rate) -> Rate:
    if not callable(lr) and not (lr > 0 and math.isfinite(lr)):
        raise ValueError(f"{name}: lr is {lr}; legal: a finite number > 0, or a callable step -> float")
    return lr if callable(lr) else float(lr)


def _check_decay(name: str, what: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name}: {what} is {value}; legal: 0 <= {what} < 1")
    return value


def _check_limit(name: str, limit: float) -> float:
    if not (limit > 0 and math.isfinite(limit)):
        raise ValueError(f"{name}: the limit is {limit}; legal: a finite number > 0")
    return limit


Rate = float | Callable[[int], float]


State = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Optimizer(ABC):
    """Base of the shipped optimizers; a new one defines ``buffers`` and ``advance``.

    Anything else with ``init(theta) -> dict`` and ``update(state, theta, grad)`` is an optimizer as well.
    """

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
        if not finite(grad):
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
        lr, direction = _rate(self.lr, state), grad
        if self.beta:
            direction = state["velocity"]
            direction *= self.beta
            direction += grad
            if self.nesterov:
                direction = self.beta * direction + grad
        theta -= lr * direction


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
        kind = theta.dtype.type if theta.itemsize in (4, 8) else np.float64
        arrays = theta, state["mean"], state["square"], grad
        flat = [np.ascontiguousarray(x, kind).reshape(-1) for x in arrays]
        numbers = 1 - self.b1, 1 - self.b2, 1 - self.b2**steps, self.eps, 1 - lr * self.weight_decay, lr / (1 - self.b1**steps)
        numbers = [kind(x) for x in numbers]
        if theta.size < MANY:
            _adam(*flat, *numbers)
        else:
            in_parts(lambda part: _adam(*(x[part] for x in flat), *numbers), theta.size)
        for whole, part in zip(arrays[:3], flat[:3], strict=True):
            if not np.may_share_memory(whole, part):
                whole[...] = part.reshape(whole.shape)


@loop(nogil=True, error_model="numpy")
def _adam(theta, mean, square, grad, to_grad, to_square, of_square, eps, keep, rate):
    """One step in one pass over the arrays; the correction of ``square`` for its start is taken out of the loop."""
    root = np.sqrt(of_square)
    shift, step = eps * root, rate * root
    for i in range(len(theta)):
        mean[i] += to_grad * (grad[i] - mean[i])
        square[i] += to_square * (grad[i] * grad[i] - square[i])
        theta[i] = keep * theta[i] - step * mean[i] / (np.sqrt(square[i]) + shift)


@dataclass(frozen=True, eq=False)
class RmsProp(Optimizer):
    """See `optimizers.rmsprop`."""

    lr: Rate
    decay: float
    eps: float

    def buffers(self) -> tuple[str, ...]:
        return ("square",)

    def advance(self, state: State, theta: np.ndarray, grad: np.ndarray) -> None:
        lr, square = _rate(self.lr, state), state["square"]
        square += (1 - self.decay) * (grad * grad - square)
        theta -= lr * grad / (np.sqrt(square) + self.eps)


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
    """The learning rate of this step; called before anything is changed."""
    if not callable(lr):
        return lr
    found = lr(state["step"])
    try:
        value = float(found)
    except (TypeError, ValueError):
        value = math.nan
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"optimizer: lr({state['step']}) returned {found!r}; legal: a finite number >= 0; nothing changed")
    return value
