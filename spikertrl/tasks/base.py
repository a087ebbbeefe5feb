"""The contract of a task: where x and labels come from, what the loss is, how an answer is scored, and how to resume.

A **sequence** task hands out independent sequences: the state of the network starts from zero at every batch. A **stream** task
continues where it left off: ``batch(n)`` gives the next ``tau`` steps of ``n`` fixed parallel lanes. Arrays are (T, B, n); a
label of -1 marks a step that does not count. Everything random comes from ``task.rng``, and `Task.state` with `Task.restore`
resume bit by bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np

from .. import arguments, losses
from ..losses.base import Loss
from ..losses.labels import At

Batch = tuple[np.ndarray, np.ndarray]
TRAIN, VALID, TEST, MAKE = range(4)


def generator(seed: int, purpose: int) -> np.random.Generator:
    """Independent generator for one purpose (TRAIN, VALID, TEST or MAKE) of a task with this seed.

    >>> bool(generator(0, TRAIN).random() == generator(0, VALID).random())
    False
    """
    return np.random.default_rng([arguments.seed("task", seed), purpose])


def one_hot(indices: np.ndarray, n: int) -> np.ndarray:
    """float32 array with one more axis of length ``n``, 1 at the index and 0 elsewhere.

    >>> one_hot(np.array([2, 0]), 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    out = np.zeros((*indices.shape, n), np.float32)
    np.put_along_axis(out, indices[..., None], 1.0, axis=-1)
    return out


def check_size(name: str, what: str, value: int, least: int = 1) -> int:
    """Return a whole number ``>= least``, or raise ValueError.

    >>> check_size("copy", "batch", 0)
    Traceback (most recent call last):
        ...
    ValueError: task copy: batch is 0; legal: a whole number >= 1
    """
    return arguments.whole(f"task {name}", what, value, least)


class Task(ABC):
    """What `fit` needs to know about a problem; see the module docstring.

    Attributes
    ----------
    name, kind : str
        How messages and tables call it; "sequence" or "stream".
    n_in, n_out : int
        Inputs, and outputs of the readout that `loss` and `score` expect.
    rng : numpy.random.Generator
        Source of everything that `batch` draws.
    """

    name: str
    kind: str
    n_in: int
    n_out: int
    rng: np.random.Generator

    @abstractmethod
    def batch(self, n: int) -> Batch:
        """Next training batch: x (T, n, n_in) float32, and labels as `loss` and `score` take them."""

    @property
    @abstractmethod
    def valid(self) -> Batch:
        """Held-out x and labels for choosing settings."""

    @property
    @abstractmethod
    def test(self) -> Batch:
        """Held-out x and labels for the final number."""

    @abstractmethod
    def loss(self, labels: np.ndarray) -> Loss:
        """The loss of one batch."""

    @abstractmethod
    def score(self, z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Metrics of readout z (T, B, n_out), by name; accuracy is larger the better, everything else smaller."""

    def check_outputs(self, sizes: Mapping[str, int]) -> None:
        """Look at the readouts of a network, name -> outputs, before it is trained; several are the loss's own business.

        Raises
        ------
        ValueError
            If the only readout has not `n_out` outputs.
        """
        if len(sizes) == 1 and not self.takes(outputs := next(iter(sizes.values()))):
            raise ValueError(
                f"task {self.name}: the readout {next(iter(sizes))!r} has {outputs} outputs, the task needs {self.n_out}; "
                f"use add_readout(name, source, {self.n_out})"
            )

    def takes(self, outputs: int) -> bool:
        """Whether `loss` and `score` can do with a readout of so many outputs; one sigmoid is as good as two of a softmax."""
        return outputs == self.n_out or {outputs, self.n_out} == {1, 2}

    def observe(self, value: float) -> bool:
        """Tell the task the training loss of an update; True if the task became harder (only curricula do)."""
        del value
        return False

    def state(self) -> dict[str, Any]:
        """Everything `batch` depends on, ready for JSON."""
        return {"name": self.name, "rng": self.rng.bit_generator.state} | self.extra_state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `state` of a task made with the same settings.

        Raises
        ------
        ValueError
            If the state is of another task.
        """
        if not isinstance(state, Mapping) or state.get("name") != self.name:
            state = state if isinstance(state, Mapping) else {}
            raise ValueError(f"task {self.name}: this is the state of task {state.get('name')!r}; restore it there")
        self.rng.bit_generator.state = state["rng"]
        self.restore_extra(state)

    def extra_state(self) -> dict[str, Any]:
        """What the state holds beside the generator."""
        return {}

    def restore_extra(self, state: dict[str, Any]) -> None:
        """Undo `extra_state`."""
        del state


class Sequence(Task):
    """A task of independent sequences."""

    kind = "sequence"


class ClassAtEnd(Sequence):
    """A class a sequence, asked for at its last step: labels (n,)."""

    def loss(self, labels: np.ndarray) -> Loss:
        return losses.cross_entropy(labels, at="last")

    def score(self, z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        return class_score(z, labels, at="last")


class Drawn(ClassAtEnd):
    """Sequences drawn without end; a subclass says how (``draw``) and how many are held out (``held``)."""

    held: int
    seed: int

    @abstractmethod
    def draw(self, rng: np.random.Generator, n: int) -> Batch:
        """``n`` sequences x (T, n, n_in) and their labels (n,)."""

    def batch(self, n: int) -> Batch:
        """``n`` new sequences: x (T, n, n_in), labels (n,)."""
        return self.draw(self.rng, check_size(self.name, "batch", n))

    @property
    def valid(self) -> Batch:
        return self.draw(generator(self.seed, VALID), self.held)

    @property
    def test(self) -> Batch:
        return self.draw(generator(self.seed, TEST), self.held)


class Stream(Task):
    """A task without an end: ``n`` fixed parallel lanes, ``tau`` steps a batch, state carried across batches.

    ``fresh`` (tau, n) bool, or None: the steps of the last batch before which `fit` puts a lane's state and influence back to
    the start. With tau > 1 pieces of one step (``fit(tau=1)``) make sure that they lie at the beginning of a piece.
    """

    kind = "stream"
    tau: int
    lanes: int | None = None
    fresh: np.ndarray | None = None

    @abstractmethod
    def start(self, n: int) -> None:
        """Set up ``n`` lanes; called once, by the first draw."""

    @abstractmethod
    def draw(self, steps: int) -> Batch:
        """The next ``steps`` steps of all lanes: x (steps, n, n_in), labels (steps, n, ...)."""

    def batch(self, n: int) -> Batch:
        """The next ``tau`` steps of ``n`` lanes; ``n`` is fixed by the first call.

        Raises
        ------
        ValueError
            If ``n`` differs from the first call.
        """
        self._open(n)
        return self.draw(self.tau)

    def stream(self, steps: int | None = None) -> Iterator[Batch]:
        """One lane, one step at a time, for online learning: yields x_t (n_in,) and its label, ``steps`` times or for ever."""
        self._open(1)
        for _ in count() if steps is None else range(check_size(self.name, "steps", steps, 0)):
            x, labels = self.draw(1)
            yield x[0, 0], labels[0, 0]

    def _open(self, n: int) -> None:
        check_size(self.name, "the number of lanes", n)
        if self.lanes is None:
            self.start(n)
            self.lanes = n
        elif self.lanes != n:
            raise ValueError(f"task {self.name}: {n} lanes asked for, but this stream runs in {self.lanes}; make another task")

    def state(self) -> dict[str, Any]:
        found = super().state()
        if "lanes" not in found:
            raise ValueError(
                f"task {self.name}: extra_state() leaves out what every stream keeps; write "
                "return super().extra_state() | {...}, and super().restore_extra(state) in restore_extra"
            )
        return found

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        if self.lanes != state["lanes"]:
            raise ValueError(f"task {self.name}: restore_extra(state) does not call super().restore_extra(state)")

    def extra_state(self) -> dict[str, Any]:
        return {"lanes": self.lanes}

    def restore_extra(self, state: dict[str, Any]) -> None:
        self.lanes = state["lanes"]


def class_score(z: np.ndarray, labels: np.ndarray, at: At = "each") -> dict[str, float]:
    """Accuracy and bits per symbol of the counted steps.

    >>> class_score(np.zeros((1, 2, 2)), np.array([[0, 1]]))
    {'accuracy': 0.5, 'bits': 1.0}
    """
    return {"accuracy": losses.accuracy(z, labels, at), "bits": losses.bits_per_symbol(z, labels, at)}
