"""Walking along a stored series, one value after the other, and the sunspot series as the smallest such task."""

from __future__ import annotations

from abc import abstractmethod
from importlib import resources
from typing import Any

import numpy as np

from .. import arguments, losses
from ..losses.base import Loss
from .base import TRAIN, Batch, Stream, check_size, generator


def embedded(name: str) -> bytes:
    """Content of a data file that comes with the package.

    >>> embedded("sunspots_yearly.csv").splitlines()[1]
    b'1700,5'
    """
    return resources.files(__name__.partition(".")[0]).joinpath("data", name).read_bytes()


class Series(Stream):
    """Stream that walks along a stored series, predicting each next value; lanes start evenly spaced and wrap around.

    Parameters
    ----------
    series : ndarray (N,)
        The whole series; ``split`` cuts it, in order, into training, validation and test parts.
    held_lanes : int
        Lanes into which validation and test parts are cut, at most.
    reset : float
        Probability, per step and lane, that the lane's state is put back to the start (``fresh``).
    """

    def __init__(self, series: np.ndarray, split: tuple[float, float, float], tau: int, seed: int, held_lanes: int = 1,
                 reset: float = 0.0) -> None:  # fmt: skip
        where = f"task {self.name}"
        reset = arguments.number(where, "reset", reset, 0, 1)
        shares = np.asarray(split) if np.shape(split) == (3,) else np.zeros(0)
        if shares.dtype.kind not in "iuf" or not (shares >= 0).all() or not abs(shares.sum() - 1) <= 1e-9:
            raise arguments.refuse(where, "split", split, "three shares >= 0 that add up to 1")
        ends = np.round(np.cumsum(split) * len(series)).astype(int)
        self.train_part, self.valid_part, self.test_part = np.split(series, ends[:2])
        if len(self.train_part) < 2:
            raise ValueError(f"task {self.name}: the training part holds {len(self.train_part)} values; it needs at least 2")
        self.tau, self.rng = check_size(self.name, "tau", tau), generator(seed, TRAIN)
        self.held_lanes = check_size(self.name, "held_lanes", held_lanes)
        self.position, self.reset = np.zeros(0, np.int64), reset

    @abstractmethod
    def encode(self, values: np.ndarray) -> np.ndarray:
        """Inputs (..., n_in) float32 for values (...)."""

    @abstractmethod
    def targets(self, values: np.ndarray) -> np.ndarray:
        """Labels for values (...)."""

    def start(self, n: int) -> None:
        self.position = np.arange(n) * (len(self.train_part) - 1) // n

    def draw(self, steps: int) -> Batch:
        where = (self.position + np.arange(steps)[:, None]) % (len(self.train_part) - 1)
        self.position = (self.position + steps) % (len(self.train_part) - 1)
        self.fresh = self.rng.random(where.shape) < self.reset if self.reset else None
        return self.encode(self.train_part[where]), self.targets(self.train_part[where + 1])

    @property
    def valid(self) -> Batch:
        return self._held("valid", self.valid_part)

    @property
    def test(self) -> Batch:
        return self._held("test", self.test_part)

    def _held(self, which: str, part: np.ndarray) -> Batch:
        steps = (len(part) - 1) // self.held_lanes
        if steps < 1:
            raise ValueError(f"task {self.name}: the {which} part holds {len(part)} values; give it a larger share of split")
        where = np.arange(steps)[:, None] + steps * np.arange(self.held_lanes)
        return self.encode(part[where]), self.targets(part[where + 1])

    def extra_state(self) -> dict[str, Any]:
        return super().extra_state() | {"position": self.position.tolist()}

    def restore_extra(self, state: dict[str, Any]) -> None:
        super().restore_extra(state)
        self.position = np.array(state["position"], np.int64)


class Sunspots(Series):
    """See `sunspots`."""

    name, n_in, n_out = "sunspots", 1, 1

    def encode(self, values: np.ndarray) -> np.ndarray:
        return values[..., None].astype(np.float32)

    def targets(self, values: np.ndarray) -> np.ndarray:
        return self.encode(values)

    def loss(self, labels: np.ndarray) -> Loss:
        return losses.squared_error(labels)

    def score(self, z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        return {"mse": float(((z - labels) ** 2).mean())}


def sunspots(tau: int = 32, split: tuple[float, float, float] = (0.7, 0.15, 0.15), seed: int = 0) -> Sunspots:
    """Yearly sunspot numbers 1700-2008, divided by 100, one step ahead: input this year, target next year, squared error.

    The bar to beat is persistence (next year as this year).

    Parameters
    ----------
    tau : int
        Steps a batch.
    split : three floats
        Shares of the years for training, validation and test, in order of time.
    seed : int
        Not used by the data; seeds ``task.rng``.

    Examples
    --------
    >>> task = sunspots()
    >>> x, y = task.test
    >>> x.shape, {name: round(value, 4) for name, value in task.score(x, y).items()}
    ((45, 1, 1), {'mse': 0.0876})
    """
    rows = np.genfromtxt(embedded("sunspots_yearly.csv").decode().splitlines(), delimiter=",", skip_header=1)
    return Sunspots(rows[:, 1] / 100.0, split, tau, seed)
