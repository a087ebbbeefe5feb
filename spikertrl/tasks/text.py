"""Predict the next character of a text."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from .. import arguments, losses
from ..losses.base import Loss
from .base import class_score, one_hot
from .series import Series, embedded


class Text(Series):
    """See `text`. ``task.alphabet`` (bytes) names the symbols; ``task.symbols`` is the whole text as indices into it."""

    name = "text"

    def __init__(self, raw: bytes, tau: int, split: tuple[float, float, float], held_lanes: int, seed: int,
                 reset: float = 0.0) -> None:  # fmt: skip
        if len(raw) < 3:
            raise ValueError(f"task text: the text has {len(raw)} characters; it needs at least 3")
        letters, indices = np.unique(np.frombuffer(raw, np.uint8), return_inverse=True)
        self.alphabet, self.symbols = letters.tobytes(), indices.astype(np.int64)
        self.n_in = self.n_out = len(self.alphabet)
        super().__init__(self.symbols, split, tau, seed, held_lanes, reset)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """One-hot float32 (..., n_in) of symbol indices (...)."""
        return one_hot(values, self.n_in)

    def targets(self, values: np.ndarray) -> np.ndarray:
        return values

    def indices(self, text: str | bytes) -> np.ndarray:
        """Symbol indices of a text; ValueError names a character that is not in the alphabet."""
        raw = np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8)
        letters = np.frombuffer(self.alphabet, np.uint8)
        if unknown := sorted(set(raw.tolist()) - set(letters.tolist())):
            raise ValueError(f"task text: {bytes(unknown[:1])!r} is not in the alphabet, {self.alphabet!r}")
        return np.searchsorted(letters, raw)

    def decode(self, indices: np.ndarray) -> str:
        """Text of symbol indices."""
        return bytes(np.frombuffer(self.alphabet, np.uint8)[indices]).decode(errors="replace")

    def loss(self, labels: np.ndarray) -> Loss:
        return losses.cross_entropy(labels)

    def score(self, z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        return class_score(z, labels)


def text(
    source: str | bytes | Path | None = None,
    tau: int = 32,
    split: tuple[float, float, float] = (0.9, 0.05, 0.05),
    held_lanes: int = 8,
    seed: int = 0,
    reset: float = 0.0,
) -> Text:
    """Character stream: input one symbol (one-hot), target the next one; softmax cross-entropy at every step.

    ``batch(n)`` reads the training part in n lanes that start evenly spaced and wrap around; ``stream()`` reads it from the
    start in one lane. Bars for comparison come from `ngram_bits`; on the whole default text, contexts of 0, 1, 2 and 3 symbols
    give 4.355, 3.252, 2.695 and 2.749 bits ("adaptive", alpha 0.5) and 4.352, 3.183, 2.306 and 1.642 bits ("plain").

    Parameters
    ----------
    source : str, bytes or Path, optional
        The text itself, or the Path of a file (.gz is unpacked). By default the first 128 KiB of the King James Bible, one
        verse a line, 60 different symbols, which comes with the package. Symbols are bytes.
    tau : int
        Steps a batch.
    split : three floats
        Shares for training, validation and test, in order.
    held_lanes : int
        Lanes into which validation and test parts are cut.
    seed : int
        Not used by the data; seeds ``task.rng``.
    reset : float
        Probability, per step and lane, that `fit` puts state and influence of the lane back to the start (0.01 in Mujika et al.
        2018, who update at every step: ``tau=1``).

    Examples
    --------
    >>> task = text("hello hello hello ", tau=5, split=(1, 0, 0))
    >>> x, labels = task.batch(1)
    >>> x.shape, task.decode(x[:, 0].argmax(axis=1)), task.decode(labels[:, 0])
    ((5, 1, 5), 'hello', 'ello ')
    >>> scripture = text()
    >>> len(scripture.symbols), scripture.decode(scripture.symbols[:16])
    (131072, 'In the beginning')
    """
    if isinstance(source, Path):
        source = gzip.decompress(source.read_bytes()) if source.suffix == ".gz" else source.read_bytes()
    elif source is None:
        source = gzip.decompress(embedded("kjv_slice.txt.gz"))
    if not isinstance(source, str | bytes):
        raise arguments.refuse("task text", "source", source, "the text itself (str or bytes), or the Path of a file")
    return Text(source.encode() if isinstance(source, str) else source, tau, split, held_lanes, seed, reset)
