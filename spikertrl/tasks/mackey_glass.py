"""Go on with a chaotic series alone: Mackey-Glass as NeuroBench asks for it, from the formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import losses
from ..losses.base import Loss
from .base import Batch
from .series import Series

LYAPUNOV = {17: 197, 18: 138, 19: 315, 20: 131, 21: 191, 22: 119, 23: 106, 24: 97, 25: 98, 26: 104, 27: 112, 28: 119, 29: 131,
            30: 139}  # fmt: skip
PAST = {17: 0.7206597, 18: 0.7744313, 19: 0.7783468, 20: 0.9225991, 21: 0.9479431, 22: 0.5455960, 23: 0.8622247, 24: 0.3259660,
        25: 0.8297825, 26: 1.0033490, 27: 0.6491406, 28: 1.0957495, 29: 0.9256179, 30: 0.2713639}  # fmt: skip
POINTS, TRAIN, BETA, GAMMA, POWER, DT = 75, 750, 0.2, 0.1, 10, 0.1  # points a Lyapunov time, points to learn from, the equation


def solve(tau: int, past: float, until: float, dt: float = DT) -> np.ndarray:
    """x at times 0, dt, 2 dt .. of dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x, constant before 0; Runge-Kutta 4.

    >>> bool(abs(solve(17, 1.0, 50.0)[-1] - solve(17, 1.0, 50.0, 0.05)[-1]) < 1e-5)  # x = 1 is where the equation rests
    True
    """
    back, steps = round(tau / dt), int(np.ceil(until / dt))
    x = [past] * (back + 1)
    for i in range(steps):
        before, after = _gain(x[i]), _gain(x[i + 1])
        middle, now = _gain(0.5 * (x[i] + x[i + 1])), x[-1]
        a = before - GAMMA * now
        b = middle - GAMMA * (now + 0.5 * dt * a)
        c = middle - GAMMA * (now + 0.5 * dt * b)
        d = after - GAMMA * (now + dt * c)
        x.append(now + dt * (a + 2 * b + 2 * c + d) / 6)
    return np.array(x[back:])


def _gain(x: float) -> float:
    return BETA * x / (1 + x**POWER)


class MackeyGlass(Series):
    """See `mackey_glass`. ``task.values`` holds all 1,500 points, ``mean`` and ``scale`` those of the 750 to learn from."""

    name, n_in, n_out = "mackey_glass", 1, 1

    def __init__(self, delay: int, start: int, tau: int, seed: int) -> None:
        if delay not in LYAPUNOV:
            raise ValueError(f"task mackey_glass: delay is {delay}; legal: {min(LYAPUNOV)} .. {max(LYAPUNOV)}")
        if start < 0:
            raise ValueError(f"task mackey_glass: start is {start}; legal: a whole number >= 0 of half Lyapunov times")
        time = LYAPUNOV[delay] * (np.arange(2 * TRAIN + 1) / POINTS + 0.5 * start)
        fine = solve(delay, PAST[delay], float(time[-1]) + DT)
        self.values = np.interp(time, DT * np.arange(len(fine)), fine)
        learned = self.values[: TRAIN + 1]
        self.mean, self.scale, self.change = float(learned.mean()), float(learned.std()), float(np.diff(learned).std())
        super().__init__(self.values, (0.5, 0.25, 0.25), tau, seed)

    def encode(self, values: np.ndarray) -> np.ndarray:
        return ((values - self.mean) / self.scale)[..., None].astype(np.float32)

    def targets(self, values: np.ndarray) -> np.ndarray:
        raise NotImplementedError("labels are changes; see draw")

    def draw(self, steps: int) -> Batch:
        where = (self.position + np.arange(steps)[:, None]) % (len(self.train_part) - 1)
        self.position = (self.position + steps) % (len(self.train_part) - 1)
        return self._pair(self.train_part, where)

    def _held(self, which: str, part: np.ndarray) -> Batch:
        del which
        return self._pair(part, np.arange(len(part) - 1)[:, None])

    def _pair(self, part: np.ndarray, where: np.ndarray) -> Batch:
        """Inputs, and the change that follows, in units of a usual change."""
        change = (part[where + 1] - part[where]) / self.change
        return self.encode(part[where]), change[..., None].astype(np.float32)

    def loss(self, labels: np.ndarray) -> Loss:
        return losses.squared_error(labels)

    def score(self, z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        return {"nmse": float(((z - labels) ** 2).mean())}

    def forecast(self, predict: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """750 values predicted alone: ``predict`` hears the 750 of training, then what follows from its own answers.

        ``predict`` gets one input (1,) and answers the change (1,), step by step.
        """
        for value in self.values[: TRAIN - 1]:
            predict(self.encode(value))
        value, found = float(self.values[TRAIN - 1]), np.empty(TRAIN)
        for i in range(TRAIN):
            value += self.change * float(predict(self.encode(np.asarray(value)))[0])
            found[i] = value
        return found

    def smape(self, forecast: np.ndarray) -> float:
        """Symmetric mean absolute percentage error of a forecast, 0 .. 200."""
        true = self.values[TRAIN : 2 * TRAIN]
        return float(200 * np.mean(np.abs(forecast - true) / (np.abs(forecast) + np.abs(true))))


def mackey_glass(delay: int = 17, start: int = 0, tau: int = 25, seed: int = 0) -> MackeyGlass:
    """Mackey-Glass series, 75 points a Lyapunov time: 750 points to learn from, 750 to predict alone.

    dx/dt = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x. Input: the value, less the mean, over the deviation of the 750;
    target: the change to the next point, divided by the deviation of changes; squared error. ``forecast`` lets a network run on
    alone and ``smape`` scores it as NeuroBench does; ``valid`` and ``test`` are the 750 later points one step ahead, in halves.

    Parameters
    ----------
    delay : int
        17 .. 30; with it come Lyapunov time and constant past of NeuroBench's table.
    start : int
        Half Lyapunov times by which the series begins later (NeuroBench: 30 of them, averaged).
    tau : int
        Steps a batch.
    seed : int
        Not used by the data; seeds ``task.rng``.

    References
    ----------
    Yik et al. 2025, NeuroBench, Nature Communications 16:1545. Their stored series differ: chaos magnifies the rounding of any
    other solver, so results compare in distribution.

    Examples
    --------
    >>> task = mackey_glass(17)
    >>> x, change = task.batch(2)
    >>> x.shape, change.shape, task.values.shape
    ((25, 2, 1), (25, 2, 1), (1501,))
    >>> task.smape(task.values[750:1500]), round(task.smape(np.full(750, task.mean)), 1)
    (0.0, 21.9)
    """
    return MackeyGlass(delay, start, tau, seed)
