"""Networks that rewire while they learn: weak synapses die and others grow, as many, so that the density stays.

``fit(..., rewire=rule)`` and ``Online(..., rewire=rule)`` take one rule, or several, each for a connection that has a mask.
What RTRL, SnAp, e-prop or RFLO know of the synapses that stay goes on: columns of the influence are dropped or born empty, and
the gradient is exact (or as approximate as before) for the synapses that there are, each counted from the step of its birth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arguments import number, refuse, seed, whole

__all__ = ["DeepR", "Rule", "SparseEvolution", "deep_r", "sparse_evolution"]


@dataclass(frozen=True)
class Rule:
    """A way to rewire ``connection`` every so many updates. Weights and signs are (ports, synapses)."""

    connection: str
    every: int
    seed: int

    def drift(self, weights: np.ndarray, signs: np.ndarray, rng: np.random.Generator) -> None:
        """What happens to the weights after every update, in place."""

    def strength(self, weights: np.ndarray) -> np.ndarray:
        """How strong each synapse is, (synapses)."""
        return np.sqrt((weights.astype(float) ** 2).sum(0))

    def deaths(self, weights: np.ndarray) -> np.ndarray:
        """The synapses that die, by their place, weakest first."""
        raise NotImplementedError

    def birth(self, rng: np.random.Generator, shape: tuple[int, int], deviation: np.ndarray) -> np.ndarray:
        """Weights of ``shape`` of new synapses; ``deviation`` (ports) is that of the connection's first weights."""
        raise NotImplementedError


@dataclass(frozen=True)
class DeepR(Rule):
    """See `rewire.deep_r`."""

    shrink: float
    noise: float

    def drift(self, weights: np.ndarray, signs: np.ndarray, rng: np.random.Generator) -> None:
        """Towards zero, at random, and not beyond zero."""
        weights -= (self.shrink * signs).astype(weights.dtype)
        if self.noise:
            weights += (self.noise * rng.standard_normal(weights.shape)).astype(weights.dtype)
        weights[weights * signs < 0] = 0

    def deaths(self, weights: np.ndarray) -> np.ndarray:
        """Synapses of which nothing is left."""
        return np.flatnonzero(~weights.any(0))

    def birth(self, rng: np.random.Generator, shape: tuple[int, int], deviation: np.ndarray) -> np.ndarray:
        """Zero: which way they go is for the gradient to say."""
        return np.zeros(shape)


@dataclass(frozen=True)
class SparseEvolution(Rule):
    """See `rewire.sparse_evolution`."""

    share: float

    def deaths(self, weights: np.ndarray) -> np.ndarray:
        """The weakest ones."""
        count = round(self.share * weights.shape[1])
        return np.argsort(self.strength(weights), kind="stable")[:count]

    def birth(self, rng: np.random.Generator, shape: tuple[int, int], deviation: np.ndarray) -> np.ndarray:
        """As the first weights were drawn by default."""
        return deviation[:, None] * rng.standard_normal(shape)


def deep_r(connection: str, *, every: int = 1, shrink: float = 1e-5, noise: float = 0.0, seed: int = 0) -> DeepR:
    """Deep Rewiring: weights keep their signs, drift towards zero, and die there; others grow at random places from zero.

    Parameters
    ----------
    connection : str
        The name of a connection with a mask and one delay, for example "h<-h".
    every : int
        Updates from one rewiring to the next.
    shrink : float
        How much every weight loses at an update (rate times the strength of the L1 penalty).
    noise : float
        Standard deviation of what is added to every weight at an update.
    seed : int

    A synapse with several ports dies when all its weights have come to zero. A new one may go either way first, and keeps to
    that sign from the next rewiring on.

    Source: Bellec, Kappel, Maass and Legenstein (2018), Deep rewiring: training very sparse deep networks, ICLR;
    arXiv:1711.05136, algorithm 1.

    Examples
    --------
    >>> import spikertrl as srl
    >>> net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 16, theta=0.05).connect("x", "h")
    >>> net = net.connect("h", "h", density=0.1).add_readout("z", "h", 2).initialize(0)
    >>> before = net.view(net.theta)["h<-h"]["u"].nonzero()
    >>> rule = srl.rewire.deep_r("h<-h", every=2, shrink=0.02)
    >>> history = srl.fit(net, srl.tasks.spiral(0), srl.RTRL(), srl.optimizers.adam(1e-2), steps=8, rewire=rule, progress=False)
    >>> after = net.view(net.theta)["h<-h"]["u"]
    >>> after.nnz == len(before[0]), list(zip(*before)) == list(zip(*after.nonzero()))
    (True, False)
    """
    values = _checked("deep_r", connection, every, seed)
    return DeepR(*values, number("deep_r", "shrink", shrink, 0), number("deep_r", "noise", noise, 0))


def sparse_evolution(connection: str, *, every: int = 100, share: float = 0.3, seed: int = 0) -> SparseEvolution:
    """Sparse evolutionary training: a share of the weakest synapses dies, as many grow at random places with random weights.

    Parameters
    ----------
    connection, every, seed
        As in `deep_r`.
    share : float
        Of the synapses, in 0 .. 1; several ports count together (root of the sum of squares).

    Source: Mocanu, Mocanu, Stone, Nguyen, Gibescu and Liotta (2018), Scalable training of artificial neural networks with
    adaptive sparse connectivity, Nature Communications 9:2383. There the weakest of either sign die, share by share.

    >>> sparse_evolution("h<-h", every=50).share
    0.3
    """
    return SparseEvolution(*_checked("sparse_evolution", connection, every, seed),
                           number("sparse_evolution", "share", share, 0, 1, above=True))  # fmt: skip


def _checked(where: str, connection: str, every: int, drawn: int) -> tuple[str, int, int]:
    if not isinstance(connection, str):
        raise refuse(where, "connection", connection, "the name of a connection, such as 'h<-h'")
    seed(where, drawn)
    return connection, whole(where, "every", every), drawn
