"""Environments that only memory solves, with the interface of Gymnasium: a chain, a T-maze, and one of POPGym's.

Beside what an environment is, its class says which return is the best and which is chance, and what an agent takes there:
``discount``, ``units``, and the bias ``forget`` at which update gates begin.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spikertrl.optional import needed


class MemoryChain:
    """Tell at the end what was shown at the beginning: a bit at the first step, a question ``length`` steps later.

    Observations: the bit (1 or -1 at the first step, else 0), the question (1 at the last step), and 1. Actions: 0 or 1; the
    answer to the question brings 1 or -1, all others nothing. After bsuite's "memory length" (Osband et al. 2020, arXiv
    1908.03568), without the clock among its observations.
    """

    channels, actions, best, chance = 3, 2, 1.0, 0.0
    discount, units, forget = 0.99, 16, -2.0

    def __init__(self, length: int, seed: int = 0) -> None:
        self.length, self.rng = length, np.random.default_rng(seed)
        self.time, self.bit = 0, 0

    def reset(self, *, seed: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """A new chain."""
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.time, self.bit = 0, int(self.rng.integers(2))
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step; the action at the question counts."""
        asked = self.time == self.length
        reward = (1.0 if action == self.bit else -1.0) if asked else 0.0
        self.time += 1
        return self._seen(), reward, asked, False, {}

    def _seen(self) -> np.ndarray:
        return np.array([(2 * self.bit - 1) * (self.time == 0), self.time == self.length, 1.0])


class TMaze:
    """Walk down a corridor of ``length`` steps and turn to the side that was shown at its beginning (Bakker 2002, NIPS).

    Observations: the sign (1: north, -1: south, 0 but at the first step), corridor or junction, and 1. Actions: north, east,
    south, west. The right turn brings 4, the wrong one -0.1, and so does every step that leads nowhere; either turn ends the
    episode, and so do 3 times as many steps as are needed.
    """

    channels, actions, best, chance = 3, 4, 4.0, 1.95
    discount, units, forget = 0.9, 16, -2.0

    def __init__(self, length: int, seed: int = 0) -> None:
        self.length, self.rng = length, np.random.default_rng(seed)
        self.place, self.north, self.time = 0, True, 0

    def reset(self, *, seed: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """At the beginning of the corridor."""
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.place, self.north, self.time = 0, bool(self.rng.integers(2)), 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step."""
        before, self.time = self.place, self.time + 1
        if self.place == self.length and action in (0, 2):
            return self._seen(), 4.0 if (action == 0) == self.north else -0.1, True, False, {}
        self.place = min(max(self.place + {1: 1, 3: -1}.get(action, 0), 0), self.length)
        late = self.time >= 3 * (self.length + 1)
        return self._seen(), 0.0 if self.place != before else -0.1, False, late, {}

    def _seen(self) -> np.ndarray:
        sign = (1.0 if self.north else -1.0) if self.time == 0 else 0.0
        return np.array([sign, float(self.place == self.length), 1.0])


class RepeatPrevious:
    """Name the suit of the card that was shown ``length`` cards ago, the present one counted: POPGym's RepeatPrevious.

    With 4 it is RepeatPreviousEasy. A deck is shown card by card; from the first card that can be asked for on, each right
    answer brings 1 and each wrong one -1, over their number. Observations: which suit, one of four, and 1. Actions: suits.
    Morad et al. 2023, POPGym: benchmarking partially observable reinforcement learning, ICLR; arXiv 2303.01859.
    """

    channels, actions, best, chance = 5, 4, 1.0, -0.5
    discount, units, forget = 0.0, 32, 0.0  # what is said changes nothing of what comes

    def __init__(self, length: int, seed: int = 0) -> None:
        games = needed("popgym", "the task 'repeat'", "rl").envs
        self.env, self.seed = games.repeat_previous.RepeatPrevious(k=length), seed

    def reset(self, *, seed: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Shuffled anew."""
        first = self.seed if seed is None else seed
        self.seed = None  # afterwards the environment goes on with its own generator
        card, said = self.env.reset(seed=first)
        return self._seen(card), said

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """The next card."""
        card, reward, ended, late, said = self.env.step(action)
        return self._seen(card), float(reward), ended, late, said

    def _seen(self, card: int) -> np.ndarray:
        return np.append(np.eye(4)[card], 1.0)
