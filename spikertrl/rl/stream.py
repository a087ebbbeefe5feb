"""Stream Q(lambda) and Stream AC(lambda) for recurrent networks that learn by any learner of this package.

The value of a step is worth what comes after it: its gradient is taken when the step is made (``Online.gradient_one``), kept in
an eligibility trace, and applied when reward and next value are known (``Online.apply``). The gradient goes through the whole
past as far as the learner does; with RTRL it is exact, whatever the length of an episode.

Source: Elsayed, Vasan and Mahmood (2024), Streaming deep reinforcement learning finally works, arXiv:2410.14606, algorithms 1
(Stream AC), 2 (Stream Q) and 3 (the step size). What the paper adds to its networks (layer normalization, sparse initial
weights) is left to the network that is given; observations are taken as they come.

The step size is one for all parameters, small enough for their sum. Where a network remembers by small gradients of many
weights, beside large ones of its readout, these hardly move: there an optimizer that scales each parameter by itself, such as
Adam, is given in its place, and is stepped down ``-error * trace``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments, losses, optimizers
from ..arguments import number, refuse
from ..learners.base import Learner
from ..optional import needed
from ..training.online import Online
from .bounded import RewardScale, bounded_rate

if TYPE_CHECKING:
    from ..network.network import Network
    from ..optimizers import Optimizer


class _Part:
    """A network with the eligibility trace of one of its outputs."""

    def __init__(
        self, net: Network, learner: Learner, rate: float, kappa: float, forget: float, optimizer: Optimizer | None,
        late: int = 0,
    ) -> None:  # fmt: skip
        self.bounded = optimizer is None
        steps = optimizers.sgd(1.0) if optimizer is None else optimizer
        self.online = Online(net, learner, steps, losses.squared_error, horizon=late)
        self.rate, self.kappa, self.forget = rate, kappa, forget
        self.trace = np.zeros_like(net.theta)

    def begin(self) -> None:
        self.online.reset()
        self.trace[...] = 0

    def remember(self, dz: np.ndarray, ago: int = 0) -> None:
        """trace <- discount * lambda * trace + d(dz . z)/dtheta."""
        self.trace *= self.forget
        self.trace += self.online.gradient_one(dz, ago=ago)

    def update(self, error: float) -> None:
        rate = bounded_rate(error, self.trace, self.rate, self.kappa) if self.bounded else 1.0
        self.online.apply(-rate * error * self.trace)


class _Agent:
    """What both agents share: the loop over an environment with Gymnasium's ``reset`` and ``step``."""

    def __init__(self, where: str, discount: float, trace: float, scale_reward: bool, seed: int) -> None:
        self.discount = number(where, "discount", discount, 0, 1)
        self.trace = number(where, "trace", trace, 0, 1)
        arguments.flag(where, "scale_reward", scale_reward)
        arguments.seed(where, seed)
        self.rng = np.random.default_rng(seed)
        self._scale = RewardScale(self.discount) if scale_reward else lambda reward, ended: reward

    def begin(self, observation: Any) -> int:
        """The first action of an episode."""
        raise NotImplementedError

    def step(self, reward: float, observation: Any, terminated: bool, truncated: bool = False) -> int | None:
        """Learn from what the last action brought; the next action, or None where the episode is over."""
        raise NotImplementedError

    def learn(self, env: Any, steps: int, *, seed: int | None = None) -> list[tuple[int, float]]:
        """Act and learn for so many steps, episode after episode.

        Parameters
        ----------
        env : object, or the name of an environment of Gymnasium
            With ``reset(seed=)`` -> (observation, info) and ``step(action)`` -> (observation, reward, terminated, truncated,
            info); observations are arrays of the size of the network's input, actions 0 .. outputs - 1.
        steps : int
        seed : int, optional
            For the first ``reset``.

        Returns
        -------
        list of (step, return)
            For each episode the step that ended it, counted from 1, and the sum of its rewards.

        Raises
        ------
        ValueError
            If an observation does not fit the network.
        FloatingPointError
            If a gradient is not finite.
        """
        if isinstance(env, str):
            env = needed("gymnasium", f"learn({env!r})", "rl").make(env)
        arguments.having("learn", "env", env, ("reset", "step"), "an environment with Gymnasium's reset and step, or its name")
        arguments.whole("learn", "steps", steps)
        found: list[tuple[int, float]] = []
        observation, _ = env.reset(seed=seed)
        action, total = self.begin(observation), 0.0
        for step in range(1, steps + 1):
            observation, reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
            following = self.step(float(reward), observation, bool(terminated), bool(truncated))
            if following is None:
                found.append((step, total))
                observation, _ = env.reset()
                following, total = self.begin(observation), 0.0
            action = following
        return found


class StreamQ(_Agent):
    """Stream Q(lambda): action values, one output an action; the best one is taken, or with ``epsilon`` any.

    Parameters
    ----------
    net : Network
        All its readouts together are the values.
    learner : Learner
    discount, trace : float
        gamma and lambda; the trace fades by their product, and is cut after an action that was not the best.
    rate, kappa : float
        See ``bounded_rate``.
    optimizer : Optimizer, optional
        In place of the bounded step, ``rate`` and ``kappa``.
    epsilon : float or callable(step) -> float
        Share of random actions.
    scale_reward : bool
        Divide rewards by the running deviation of their discounted sum.
    seed : int

    Raises
    ------
    ValueError
        If a setting is out of range, or the network has no readout.

    Examples
    --------
    >>> import numpy as np, spikertrl as srl
    >>> class Say:  # the action is to be what was seen one step ago
    ...     def __init__(self): self.rng = np.random.default_rng(0)
    ...     def reset(self, seed=None):
    ...         self.t, self.seen = 0, self.rng.integers(2)
    ...         return np.eye(3)[self.seen], {}
    ...     def step(self, action):
    ...         self.t += 1
    ...         return np.eye(3)[2], float(action == self.seen) * (self.t == 2), self.t == 2, False, {}
    >>> net = srl.Network().add_input("x", 3).add_population("h", srl.models.egru, 8).connect("x", "h").connect("h", "h")
    >>> agent = StreamQ(net.add_readout("q", "h", 2).initialize(0), srl.SnAp(1), epsilon=0.1)
    >>> returns = [total for _, total in agent.learn(Say(), 1000)]
    >>> bool(np.mean(returns[-100:]) > 0.8)
    True
    """

    def __init__(self, net: Network, learner: Learner, *, discount: float = 0.99, trace: float = 0.8, rate: float = 1.0,
                 kappa: float = 2.0, epsilon: Any = 0.05, scale_reward: bool = True, seed: int = 0,
                 optimizer: Optimizer | None = None) -> None:  # fmt: skip
        super().__init__("StreamQ", discount, trace, scale_reward, seed)
        self.actions = _outputs("StreamQ", net)
        steps = number("StreamQ", "rate", rate, 0), number("StreamQ", "kappa", kappa, 0)
        self._part = _Part(net, learner, *steps, self.discount * self.trace, optimizer)
        self.epsilon = epsilon if callable(epsilon) else number("StreamQ", "epsilon", epsilon, 0, 1)
        self.steps = 0
        self._value, self._is_best = 0.0, True

    def begin(self, observation: Any) -> int:
        """The first action of an episode."""
        self._part.begin()
        return self._choose(self._part.online.predict_one(observation))

    def step(self, reward: float, observation: Any, terminated: bool, truncated: bool = False) -> int | None:
        """Learn from what the last action brought; the next action, or None where the episode is over."""
        reward = self._scale(reward, terminated or truncated)
        values = None if terminated else self._part.online.predict_one(observation)
        self._part.update(reward + (0.0 if values is None else self.discount * float(values.max())) - self._value)
        if not self._is_best:
            self._part.trace[...] = 0
        return None if values is None or truncated else self._choose(values)

    def _choose(self, values: np.ndarray) -> int:
        """An action, whose gradient is remembered."""
        epsilon: Any = self.epsilon(self.steps) if callable(self.epsilon) else self.epsilon
        self.steps += 1
        best = int(values.argmax())
        action = int(self.rng.integers(self.actions)) if self.rng.random() < epsilon else best
        self._value, self._is_best = float(values[action]), action == best
        self._part.remember(np.eye(self.actions)[action])
        return action


class StreamAC(_Agent):
    """Stream AC(lambda): a policy that says how likely each action is, and a critic that says what the state is worth.

    Parameters
    ----------
    actor, critic : Network
        One output an action (their softmax is the policy); one output.
    learner : Learner
        Of both.
    discount, trace : float
        gamma and lambda.
    rate : float
        Largest step size of both.
    kappa_actor, kappa_critic : float
        See ``bounded_rate``.
    optimizer : Optimizer, optional
        Of both, in place of the bounded step.
    entropy : float
        Weight of the policy's entropy, with the sign of the error.
    scale_reward : bool
        Divide rewards by the running deviation of their discounted sum.
    seed : int

    Raises
    ------
    ValueError
        If a setting is out of range, or the critic has not one output.

    Examples
    --------
    >>> import spikertrl as srl
    >>> def net(outputs):
    ...     found = srl.Network().add_input("x", 3).add_population("h", srl.models.egru, 8).connect("x", "h").connect("h", "h")
    ...     return found.add_readout("z", "h", outputs).initialize(outputs)
    >>> agent = StreamAC(net(2), net(1), srl.SnAp(1))
    >>> action = agent.begin([1.0, 0.0, 0.0])
    >>> agent.step(1.0, [0.0, 1.0, 0.0], terminated=False) in (0, 1), agent.step(0.0, None, terminated=True)
    (True, None)
    """

    def __init__(self, actor: Network, critic: Network, learner: Learner, *, discount: float = 0.99, trace: float = 0.8,
                 rate: float = 1.0, kappa_actor: float = 3.0, kappa_critic: float = 2.0, entropy: float = 0.01,
                 scale_reward: bool = True, seed: int = 0, optimizer: Optimizer | None = None) -> None:  # fmt: skip
        super().__init__("StreamAC", discount, trace, scale_reward, seed)
        self.actions = _outputs("StreamAC", actor)
        if _outputs("StreamAC", critic) != 1:
            raise refuse("StreamAC", "critic", critic, "a network with one output")
        if actor is critic:
            raise refuse("StreamAC", "critic", critic, "a network of its own")
        rate, fade = number("StreamAC", "rate", rate, 0), self.discount * self.trace
        # the sign of the error, which the entropy goes by, is known one step later
        self._actor = _Part(actor, learner, rate, number("StreamAC", "kappa_actor", kappa_actor, 0), fade, optimizer, late=1)
        self._critic = _Part(critic, learner, rate, number("StreamAC", "kappa_critic", kappa_critic, 0), fade, optimizer)
        self.entropy = number("StreamAC", "entropy", entropy, 0)
        self._value, self._action, self._policy = 0.0, 0, np.zeros(0)

    def begin(self, observation: Any) -> int:
        """The first action of an episode."""
        self._actor.begin()
        self._critic.begin()
        return self._choose(*self._say(observation))

    def step(self, reward: float, observation: Any, terminated: bool, truncated: bool = False) -> int | None:
        """Learn from what the last action brought; the next action, or None where the episode is over."""
        reward = self._scale(reward, terminated or truncated)
        said = None if terminated else self._say(observation)
        error = reward + (0.0 if said is None else self.discount * said[1]) - self._value
        self._actor.remember(self._direction(error), ago=0 if said is None else 1)
        for part in (self._actor, self._critic):
            part.update(error)
        return None if said is None or truncated else self._choose(*said)

    def _say(self, observation: Any) -> tuple[np.ndarray, float]:
        return self._actor.online.predict_one(observation), float(self._critic.online.predict_one(observation)[0])

    def _choose(self, logits: np.ndarray, value: float) -> int:
        """An action, and the gradient of the value."""
        likely = np.exp(logits.astype(float) - logits.max())
        self._policy, self._value = likely / likely.sum(), value
        self._action = int(self.rng.choice(self.actions, p=self._policy))
        self._critic.remember(np.ones(1))
        return self._action

    def _direction(self, error: float) -> np.ndarray:
        """d(log pi(action) + entropy * sign(error) * H(pi))/dlogits."""
        p = self._policy
        logs = np.log(np.maximum(p, 1e-300))
        uncertainty = -p * (logs - (p * logs).sum())
        return np.eye(self.actions)[self._action] - p + self.entropy * np.sign(error) * uncertainty


def _outputs(where: str, net: Any) -> int:
    arguments.network(where, net)
    if not net.readouts:
        raise refuse(where, "the network", net, "one with a readout")
    return sum(readout.size for readout in net.readouts)
