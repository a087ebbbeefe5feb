"""Certified: how far a learner's gradient may be from the exact one, told online and without computing that.

Along a few random directions of parameter space the exact gradient costs little (``engines/tangents``: forward mode, K numbers
a state), and so does the gradient at hand. For a gap E between the two and K independent directions whose numbers are standard
normal, the sum of the squared gaps along them is the squared norm of E times a chi-squared number with K degrees of freedom,
whatever E is: an exact confidence limit, which needs nothing to be known of the network, the loss or the learner.

Sources: Hutchinson 1990, Communications in Statistics 19:433 (norms by random directions); Williams and Zipser 1989 (forward
derivatives of a network that runs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments
from ..network.wiring import Wiring
from ..tape import Tape
from .base import Learner, Length, Plan, Signal, learner_of, routes_of
from .engines.tangents import Tangents, init_tangents

if TYPE_CHECKING:
    from ..network.network import Network


RISK = 1e-6  # of a bound, unless another is asked for


@dataclass(frozen=True)
class Certificate:
    """What is known of the distance of a gradient to the exact one, both over all parameters.

    ``bound``: the distance is larger with probability ``risk``, over the draw of the directions; ``estimate``: the root of an
    unbiased estimate of its square; ``norm``: of the gradient at hand.
    """

    bound: float
    estimate: float
    norm: float
    risk: float

    @property
    def relative(self) -> float:
        """The bound over the norm of the gradient."""
        return self.bound / self.norm if self.norm else math.inf if self.bound else 0.0

    @property
    def cosine(self) -> float:
        """The cosine to the exact gradient is at least this, with the same risk; -1 where nothing can be said."""
        return math.sqrt(1 - self.relative**2) if self.relative < 1 else -1.0


def certificate(exact: np.ndarray, along: np.ndarray, gradient: np.ndarray, risk: float) -> Certificate:
    """From the exact gradient along standard normal directions (K), the ``gradient`` along them, and itself."""
    from scipy.special import gammaincinv  # late: it is asked for by few

    K, total = len(exact), float(((exact - along) ** 2).sum())
    least = 2 * float(gammaincinv(K / 2, risk))  # chi-squared of K degrees of freedom is below it with probability risk
    return Certificate(math.sqrt(total / least), math.sqrt(total / K), float(np.linalg.norm(gradient.astype(float))), risk)


def certificate_of(state: Any) -> Certificate | None:
    """Of the last gradient, where the learner of a state is certified."""
    return getattr(state, "certificate", None)


@dataclass
class CertifiedState:
    """The learner's own state, the tangents, and the certificate of the last gradient."""

    inner: Any
    tangents: Tangents
    certificate: Certificate | None = field(default=None, init=False)

    @property
    def wiring(self) -> Wiring:
        """Of the network."""
        return self.tangents.wiring

    @property
    def batch(self) -> int:
        """Lanes."""
        return len(self.tangents.states)

    @property
    def counts(self) -> np.ndarray | None:
        """Multiply-adds of the learner; those of the tangents are not counted."""
        return getattr(self.inner, "counts", None)

    @property
    def lane_steps(self) -> Any:
        """Steps learned from, times lanes."""
        return getattr(self.inner, "lane_steps", None)

    @property
    def routes(self) -> dict[str, int]:
        """How often each route of the learner ran."""
        return routes_of(self.inner)

    def bytes_held(self) -> int:
        """Bytes of the learner's state, of the tangents and of the directions."""
        return self.inner.bytes_held() + self.tangents.bytes_held()


@dataclass(frozen=True)
class Certified:
    """Any learner, and with every gradient a certificate: how far it may be from the exact one.

    Parameters
    ----------
    learner : Learner
        Its gradient is handed on as it is.
    directions : int
        Random directions K. With the default risk the bound is 4.4 times the estimate for 12 of them, 3.3 times for 16, 2.1
        times for 32; the estimate has a relative error of about 1 / sqrt(2 K).
    risk : float in (0, 1)
        Probability that a bound does not hold.
    seed : int
        Of the directions.

    After an update ``state.certificate`` (of ``Online``: ``online.memory.certificate``) is a ``Certificate``; the history of
    ``fit`` has the column "certificate", its ``relative`` at the last update of each row. The exact gradient meant is that of
    ``RTRL``: where weights change from step to step, the one that carries what was said with older weights.

    A step and lane cost about K times the synapses in use between units, and K times the weights from sources that fired.

    Raises
    ------
    ValueError
        If there is no such learner, directions < 1, or risk is not between 0 and 1.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> net = srl.Network("float64").add_input("x", 2).add_population("h", srl.models.egru, 16, theta=0.1).connect("x", "h")
    >>> net = net.connect("h", "h", density=0.25, seed=2).add_readout("z", "h", 1).initialize(0)
    >>> rng = np.random.default_rng(0)
    >>> online = srl.Online(net, srl.Certified(srl.SnAp(1)), srl.optimizers.adam(1e-3), loss=srl.losses.squared_error)
    >>> for x in rng.normal(size=(30, 2)):
    ...     z, error = online.predict_one(x), online.learn_one([x.sum()])
    >>> found = online.memory.certificate
    >>> found.estimate < found.bound < found.norm, found.cosine > 0.8
    (True, True)
    """

    learner: Learner
    directions: int = 16
    risk: float = RISK
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "learner", learner_of("Certified", self.learner))
        arguments.whole("Certified", "directions", self.directions)
        if arguments.number("Certified", "risk", self.risk, 0, 1, above=True) == 1:
            raise arguments.refuse("Certified", "risk", self.risk, "a number between 0 and 1, both excluded")
        arguments.seed("Certified", self.seed)

    @property
    def claim(self) -> str:
        """That of the learner."""
        return self.learner.claim

    def init(self, net: Network, batch: int) -> CertifiedState:
        """Allocate the learner's state, and the tangents."""
        inner = self.learner.init(net, batch)
        return CertifiedState(inner, init_tangents(net.wiring, batch, self.directions, self.seed))

    def plan(self, net: Network, length: Length) -> Plan | None:
        """How the learner would be computed, see ``explain``, and the multiply-adds of both."""
        w, own = net.wiring, getattr(self.learner, "plan", None)
        if own is None:
            return None
        found = own(net, length)
        more = self.directions * (length.active * len(w.syn_theta) + w.n_recurrent)
        return found._replace(reason=f"{found.reason}; {self.directions} tangents", macs=found.macs + more)

    def update(self, state: CertifiedState, tape: Tape, signal: Signal) -> np.ndarray:
        """The learner's gradient, flat like theta; its certificate is in the state."""
        exact = state.tangents.update(tape, signal)
        gradient = self.learner.update(state.inner, tape, signal)
        state.certificate = certificate(exact, state.tangents.along(gradient), gradient, self.risk)
        return gradient
