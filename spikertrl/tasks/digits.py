"""Spoken digits as spike trains of a model cochlea: a real recording, 70 channels, 6 speakers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .. import losses
from ..losses import Loss
from .base import TRAIN, Batch, Sequence, check_size, generator

FILE, FOLDER, VARIABLE, CHANNELS, POOL = "fsdd_lauscher70.npz", "fsdd", "SPIKERTRL_DATA", 70, 4
TICKS_PER_MS = 10
VALID_INDEX = (5, 6, 7)


class SpokenDigits(Sequence):
    """See `spoken_digits`. ``task.parts`` holds utterance numbers by part; ``task.frames(numbers)`` makes a batch of any."""

    name, n_in, n_out = "spoken_digits", CHANNELS, 10

    def __init__(self, file: Path, ms: int, speaker: str | None, label_at: str, seed: int) -> None:
        if label_at not in ("last", "each"):
            raise ValueError(f"task spoken_digits: label_at is {label_at!r}; legal: 'last' or 'each'")
        self.ms, self.label_at, self.rng = check_size(self.name, "ms", ms), label_at, generator(seed, TRAIN)
        with np.load(file) as data:
            self.data = {name: data[name] for name in data.files}
        self.frame_counts = -(-self.data["duration_ms"].astype(int) // self.ms)
        self.parts = self._split(speaker)

    def _split(self, speaker: str | None) -> dict[str, np.ndarray]:
        index, speakers = self.data["index"], self.data["speakers"].tolist()
        if speaker is None:
            test, valid = index < 5, np.isin(index, VALID_INDEX)
        elif speaker in speakers:
            test = self.data["speaker"] == speakers.index(speaker)
            valid = ~test & (index < 5)
        else:
            raise ValueError(f"task spoken_digits: no speaker {speaker!r}; legal: {', '.join(speakers)}, or None")
        masks = {"train": ~(test | valid), "valid": valid, "test": test}
        return {part: np.flatnonzero(mask) for part, mask in masks.items()}

    def frames(self, numbers: np.ndarray) -> Batch:
        """Spike counts (T, B, 70) of these utterances and labels (T, B), padded with zeros and -1 to the longest."""
        counts = self.frame_counts[numbers]
        x = np.zeros((counts.max(), len(numbers), CHANNELS), np.float32)
        for lane, number in enumerate(numbers):  # the few spikes after the end of the recording go to the last frame
            spikes = slice(*self.data["offsets"][number : number + 2])
            frame = np.minimum(self.data["t_100us"][spikes].astype(int) // (self.ms * TICKS_PER_MS), counts[lane] - 1)
            np.add.at(x[:, lane], (frame, self.data["unit"][spikes].astype(int)), 1.0)
        step = np.arange(len(x))[:, None]
        mask = step == counts - 1 if self.label_at == "last" else step < counts
        return x, np.where(mask, self.data["digit"][numbers].astype(int), -1)

    def batch(self, n: int) -> Batch:
        """``n`` training utterances of similar length: 4 n are drawn, sorted by length, and one of the quarters is taken."""
        drawn = self.rng.choice(self.parts["train"], POOL * check_size(self.name, "batch", n))
        ranked = drawn[np.argsort(self.frame_counts[drawn], kind="stable")]
        return self.frames(ranked.reshape(POOL, n)[self.rng.integers(POOL)])

    @property
    def valid(self) -> Batch:
        return self.frames(self.parts["valid"])

    @property
    def test(self) -> Batch:
        return self.frames(self.parts["test"])

    def loss(self, labels: np.ndarray) -> Loss:
        return losses.cross_entropy(labels, at=labels >= 0)

    def score(self, z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Share of utterances whose summed log probabilities over the labeled steps favor the right digit."""
        logs = np.log(np.maximum(losses.softmax(z.astype(np.float64)), 1e-300)) * (labels >= 0)[..., None]
        return {"accuracy": float((logs.sum(axis=0).argmax(axis=1) == labels.max(axis=0)).mean())}


def spoken_digits(
    path: str | Path | None = None, ms: int = 10, speaker: str | None = None, label_at: str = "last", seed: int = 0
) -> SpokenDigits:
    """Name the digit that is spoken: 1,500 utterances of 10 digits by 6 speakers, as spikes of 70 cochlear channels.

    The data file is not part of the package. It is looked for in ``path``, else in the folder named by the environment variable
    SPIKERTRL_DATA, else in a folder ``data`` or ``shared/data`` beside or above the current folder or this package; each time
    directly and in a subfolder ``fsdd``.

    Parameters
    ----------
    path : str or Path, optional
        The file ``fsdd_lauscher70.npz`` or a folder that holds it.
    ms : int
        Length of a frame; inputs are spike counts per frame and channel.
    speaker : str, optional
        Leave this speaker out: all his utterances are the test part, and the official test utterances of the others (their
        takes 0-4) are for validation. By default the official split: takes 0-4 test (300), 5-7 validation (180), 8-24 training.
    label_at : "last" or "each"
        Whether the label counts at the last frame of an utterance or at each of its frames.
    seed : int
        Seeds the batches.

    Raises
    ------
    FileNotFoundError
        If the data file is nowhere; the message lists where it was looked for.
    ValueError
        If an argument is not legal.

    References
    ----------
    Jackson et al., Free Spoken Digit Dataset (CC BY-SA 4.0); Cramer et al. 2022 for the cochlea model (lauscher).

    Examples
    --------
    >>> spoken_digits("/nowhere")
    Traceback (most recent call last):
        ...
    FileNotFoundError: task spoken_digits: no fsdd_lauscher70.npz in /nowhere; give its place as path= or in SPIKERTRL_DATA
    """
    return SpokenDigits(_find(path), ms, speaker, label_at, seed)


def _find(path: str | Path | None) -> Path:
    places = [Path(path)] if path is not None else _places()
    for place in places:
        for file in (place, place / FILE, place / FOLDER / FILE):
            if file.is_file():
                return file
    where = ", ".join(map(str, places))
    raise FileNotFoundError(f"task {SpokenDigits.name}: no {FILE} in {where}; give its place as path= or in {VARIABLE}")


def _places() -> list[Path]:
    if VARIABLE in os.environ:
        return [Path(os.environ[VARIABLE])]
    here = Path.cwd()
    above = [here, *here.parents, *Path(__file__).resolve().parents]
    return list(dict.fromkeys(folder / name for folder in above for name in ("data", "shared/data")))
