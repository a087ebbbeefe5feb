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

import numpy as np

from ._optimizer import Adam, Clip, Momentum, Optimizer, Rate, RmsProp, ScaleGroups

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
