"""A task made of arrays that are there already: recorded input, a pattern to be learned, samples of unequal length, events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import arguments, losses
from ..losses.base import Loss
from ..losses.labels import At
from . import ragged
from .base import MAKE, TRAIN, Batch, Sequence, check_size, class_score, generator

WHERE = "task arrays"


@dataclass(frozen=True, eq=False)
class Part:
    """Samples side by side: x (T, lanes, channels), labels by step or by lane (``timed``), and the steps of each lane."""

    x: np.ndarray
    labels: np.ndarray
    steps: np.ndarray
    timed: bool

    def of(self, lanes: np.ndarray) -> Part:
        """Some lanes, cut after the last step of the longest."""
        total = int(self.steps[lanes].max())
        labels = self.labels[:total, lanes] if self.timed else self.labels[lanes]
        return Part(self.x[:total, lanes], labels, self.steps[lanes], self.timed)


class Arrays(Sequence):
    """See `arrays`. ``x`` and ``labels`` are the training part."""

    name = "arrays"

    def __init__(self, part: Part, held: dict[str, Part], loss: Callable[[np.ndarray], Loss] | None, seed: int) -> None:
        self._train, self._held, self._loss, self.rng = part, held, loss, generator(seed, TRAIN)
        self.x, self.labels, self.timed = part.x, part.labels, part.timed
        self.classes = part.labels.dtype.kind in "iu"
        largest = max(int(p.labels.max()) for p in (part, *held.values())) if self.classes else 0
        self.n_in, self.n_out = part.x.shape[2], largest + 1 if self.classes else part.labels.shape[-1]

    def batch(self, n: int) -> Batch:
        """``n`` training samples, without repeats as long as there are enough; all of them in order if n is their number."""
        lanes = self.x.shape[1]
        if check_size(self.name, "batch", n) == lanes:
            return self.x, self.labels
        part = self._train.of(self.rng.choice(lanes, n, replace=n > lanes))
        return part.x, part.labels

    @property
    def valid(self) -> Batch:
        """Samples held out for choosing settings; ValueError if there are none."""
        return self._part("valid")

    @property
    def test(self) -> Batch:
        """Samples held out for the final number; ValueError if there are none."""
        return self._part("test")

    def _part(self, which: str) -> Batch:
        if which not in self._held:
            raise ValueError(f"{WHERE}: nothing is held out; give {which}=0.2 (a share of the samples) or {which}=(x, labels)")
        return self._held[which].x, self._held[which].labels

    def takes(self, outputs: int) -> bool:
        """Classes may have more outputs than were seen; of a loss of one's own nothing is known."""
        return self._loss is not None or super().takes(outputs) or (self.classes and outputs > self.n_out)

    def loss(self, labels: np.ndarray) -> Loss:
        if self._loss is not None:
            return self._loss(labels)
        kind = losses.cross_entropy if self.classes else losses.squared_error
        return kind(labels, self._at(labels))

    def score(self, z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        if self.classes:
            return class_score(z, labels, self._at(labels))
        gap = (z if self.timed else z[-1]) - labels
        return {"error": float(0.5 * (gap[ragged.counts(labels)] ** 2).sum(axis=-1).mean())}

    def _at(self, labels: np.ndarray) -> At:
        if not self.timed:
            return "last"
        counted = ragged.counts(labels)
        return "each" if counted.all() else counted


def arrays(x: Any, labels: Any, loss: Callable[[np.ndarray], Loss] | None = None, seed: int = 0, *, valid: Any = None,
           test: Any = None, lengths: Any = None, channels: int | None = None, step: float = 1.0) -> Arrays:  # fmt: skip
    """Samples and labels of one's own.

    Parameters
    ----------
    x : ndarray (T, samples, channels), or list
        A list holds one array (T, channels) a sample, of any lengths, or with ``channels=`` one list of events
        ``(time, unit[, value])`` a sample; values (default 1) are added up in steps of length ``step``.
    labels : ndarray or list
        Whole numbers (samples,) or (T, samples): classes at the last or at every step, scored by cross-entropy. Real numbers
        (samples, outputs) or (T, samples, outputs): targets, scored by squared error. For samples of unequal length a list of
        one array (T, ...) each will do. A class of -1 or a target of NaN does not count, nor does a step after a sample's end.
    loss : callable (labels of a batch) -> Loss, optional
        Another loss. Labels of unequal length come as (T, samples, ...), with -1 or NaN where none counts.
    seed : int
        Of the samples that are held out, and of those drawn for a batch.
    valid, test : float, or (x, labels) or (x, labels, lengths), optional
        What is held out: a share of the samples, drawn with ``seed``, or samples of its own. Without it there is no
        ``task.valid``, and ``fit(validate_every=...)`` is refused.
    lengths : ndarray (samples,), optional
        Steps of each sample of an array x that is padded at its end.
    channels, step
        For lists of events: number of units, and the length of a step in the unit of the times.

    Raises
    ------
    ValueError
        If shapes do not fit, no label counts, or too few samples are left.

    Examples
    --------
    >>> task = arrays(np.zeros((5, 8, 2)), np.ones((5, 8, 1)), valid=0.25)
    >>> x, targets = task.batch(3)
    >>> x.shape, targets.shape, task.n_in, task.n_out, task.valid[0].shape
    ((5, 3, 2), (5, 3, 1), 2, 1, (5, 2, 2))

    Two samples of unequal length, as events of three units; each label counts at its sample's last step:

    >>> task = arrays([[(0.5, 0), (3.2, 2)], [(1.1, 1)]], [1, 0], channels=3)
    >>> task.x.shape, task.labels.T.tolist()
    ((4, 2, 3), [[-1, -1, -1, 1], [-1, 0, -1, -1]])
    """
    arguments.seed(WHERE, seed)
    if not (loss is None or callable(loss)):
        raise arguments.refuse(WHERE, "loss", loss, "a callable, labels of a batch -> Loss, or None")
    if channels is not None:
        channels, step = arguments.whole(WHERE, "channels", channels), arguments.number(WHERE, "step", step, 0, above=True)
    part = _part((x, labels, lengths), channels, step)
    held, rest, order = {}, part, generator(seed, MAKE).permutation(part.x.shape[1])
    for which, given in (("valid", valid), ("test", test)):
        if isinstance(given, tuple | list) and len(given) in (2, 3):
            held[which] = _alike(which, _part(given, channels, step), part)
        elif given is not None:
            chosen, order = _drawn(which, given, part.x.shape[1], order)
            held[which], rest = part.of(chosen), part.of(np.sort(order))
    if len({p.timed for p in (rest, *held.values())}) > 1:
        rest, held = _by_step(rest), {which: _by_step(other) for which, other in held.items()}
    return Arrays(rest, held, loss, seed)


def _drawn(which: str, given: Any, samples: int, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The samples that a share takes, and the order of those that are left."""
    count = max(1, round(arguments.number(WHERE, which, given, 0, 1, above=True) * samples))
    if len(order) <= count:
        raise ValueError(f"{WHERE}: {which}={given} leaves none of {samples} samples to train on")
    return np.sort(order[:count]), order[count:]


def _alike(which: str, other: Part, part: Part) -> Part:
    if other.x.shape[2] != part.x.shape[2] or other.labels.dtype.kind != part.labels.dtype.kind:
        raise ValueError(f"{WHERE}: {which} has other channels or another kind of labels than x and labels")
    return other


def _part(given: Any, channels: int | None, step: float) -> Part:
    """Inputs, labels and perhaps lengths, as they were given."""
    x, labels, *lengths = given
    x, steps = ragged.inputs(x, lengths[0] if lengths else None, channels, step)
    labels, timed = ragged.targets(labels, steps, len(x))
    return Part(x, labels, steps, timed)


def _by_step(part: Part) -> Part:
    """The same with labels by step."""
    if part.timed:
        return part
    return Part(part.x, ragged.at_the_end(part.labels, part.steps, len(part.x)), part.steps, True)
