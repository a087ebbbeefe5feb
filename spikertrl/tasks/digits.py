"""Spoken digits as spike trains of a model cochlea: a real recording, 70 channels, 6 speakers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import arguments, losses
from ..losses.base import Loss
from .base import TRAIN, Batch, Sequence, check_size, generator

FILE, FOLDER, VARIABLE, CHANNELS, POOL = "fsdd_lauscher70.npz", "fsdd", "SPIKERTRL_DATA", 70, 4
TICKS_PER_MS = 10
VALID_INDEX = (5, 6, 7)
LABEL_AT = ("last", "half", "each")


@dataclass(frozen=True)
class Vary:
    """How training utterances are varied, each time they are drawn; 0 leaves them as they are.

    Parameters
    ----------
    stretch : float
        Speed: times are multiplied by a factor from 1 - stretch to 1 + stretch.
    shift : int
        Pitch and vocal tract: channels move by up to so many.
    drop : float
        Share of spikes left out at random: up to so much.
    delay : float
        Start: all spikes come up to so many ms later.

    >>> Vary(drop=1.5)
    Traceback (most recent call last):
        ...
    ValueError: Vary: drop is 1.5; legal: 0 .. 1
    """

    stretch: float = 0.0
    shift: int = 0
    drop: float = 0.0
    delay: float = 0.0

    def __post_init__(self) -> None:
        for what in ("stretch", "drop"):
            if arguments.number("Vary", what, share := getattr(self, what), 0, 1) == 1:
                raise arguments.refuse("Vary", what, share, "0 <= share < 1")
        arguments.number("Vary", "delay", self.delay, 0)
        arguments.whole("Vary", "shift", self.shift, 0)

    def __call__(
        self, rng: np.random.Generator, ms: np.ndarray, unit: np.ndarray, duration: float
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Varied times, channels and duration of one utterance."""
        factor, late = 1 + rng.uniform(-self.stretch, self.stretch), rng.uniform(0, self.delay)
        moved = unit + rng.integers(-self.shift, self.shift + 1)
        kept = (moved >= 0) & (moved < CHANNELS) & (rng.random(len(ms)) >= rng.uniform(0, self.drop))
        return (ms * factor + late)[kept], moved[kept], duration * factor + late


class SpokenDigits(Sequence):
    """See `spoken_digits`. ``task.parts`` holds utterance numbers by part; ``task.frames(numbers)`` makes a batch of any."""

    name, n_in, n_out = "spoken_digits", CHANNELS, 10

    def __init__(
        self,
        file: Path,
        ms: int,
        speaker: str | None,
        label_at: str,
        blur: float,
        compress: float,
        vary: Vary | None,
        name_speaker: bool,
        seed: int,
    ) -> None:
        where = "task spoken_digits"
        arguments.choice(where, "label_at", label_at, LABEL_AT)
        blur, compress = arguments.number(where, "blur", blur, 0), arguments.number(where, "compress", compress, 0)
        arguments.flag(where, "name_speaker", name_speaker)
        if not isinstance(vary, Vary | None):
            raise arguments.refuse(where, "vary", vary, "a Vary, or None")
        self.ms, self.label_at, self.rng = check_size(self.name, "ms", ms), label_at, generator(seed, TRAIN)
        self.compress, self.vary, self.mix = compress, vary, _receptive_fields(blur) if blur else None
        with np.load(file) as data:
            self.data = {name: data[name] for name in data.files}
        self.name_speaker = name_speaker
        self.n_out = 10 * len(self.data["speakers"]) if name_speaker else 10
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

    def frames(self, numbers: np.ndarray, vary: Vary | None = None) -> Batch:
        """Inputs (T, B, 70) of these utterances and labels (T, B), padded with zeros and -1 to the longest.

        ``vary`` changes them at random first, as `batch` does for training.
        """
        spikes = [self._spikes(number, vary) for number in numbers]
        counts = np.array([max(1, -(-duration // self.ms)) for *_, duration in spikes]).astype(int)
        x = np.zeros((counts.max(), len(numbers), CHANNELS), np.float32)
        for lane, (ms, unit, _) in enumerate(spikes):  # the few spikes after the end of the recording go to the last frame
            np.add.at(x[:, lane], (np.minimum(ms // self.ms, counts[lane] - 1).astype(int), unit), 1.0)
        step = np.arange(len(x))[:, None]
        first = {"last": counts - 1, "half": counts // 2, "each": 0 * counts}[self.label_at]
        label = self.data["digit"][numbers].astype(int)
        if self.name_speaker:
            label = label + 10 * self.data["speaker"][numbers].astype(int)
        return self._sense(x), np.where((first <= step) & (step < counts), label, -1)

    def _spikes(self, number: int, vary: Vary | None) -> tuple[np.ndarray, np.ndarray, float]:
        """Times in ms, channels and duration in ms of one utterance."""
        part = slice(*self.data["offsets"][number : number + 2])
        ms, unit = self.data["t_100us"][part] / TICKS_PER_MS, self.data["unit"][part].astype(int)
        duration = float(self.data["duration_ms"][number])
        return vary(self.rng, ms, unit, duration) if vary else (ms, unit, duration)

    def _sense(self, counts: np.ndarray) -> np.ndarray:
        """Spike counts as the network gets them."""
        x = counts if self.mix is None else counts @ self.mix
        return np.log1p(np.float32(self.compress) * x) if self.compress else x

    def batch(self, n: int) -> Batch:
        """``n`` training utterances of similar length: 4 n are drawn, sorted by length, and one of the quarters is taken."""
        drawn = self.rng.choice(self.parts["train"], POOL * check_size(self.name, "batch", n))
        ranked = drawn[np.argsort(self.frame_counts[drawn], kind="stable")]
        return self.frames(ranked.reshape(POOL, n)[self.rng.integers(POOL)], self.vary)

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
        return {"accuracy": float((self.evidence(z, labels).argmax(axis=1) == labels.max(axis=0) % 10).mean())}

    def evidence(self, z: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Log probability of every digit, mean over the labeled steps, (utterances, 10); speakers are summed out."""
        shares = losses.softmax(z.astype(np.float64)).reshape(*z.shape[:2], -1, 10).sum(axis=2)
        counted = (labels >= 0)[..., None]
        return (np.log(np.maximum(shares, 1e-300)) * counted).sum(axis=0) / np.maximum(counted.sum(axis=0), 1)


def _receptive_fields(blur: float) -> np.ndarray:
    """Gaussian weights (spiking channel, sensed channel) of standard deviation ``blur``, adding up to 1 per sensed channel."""
    distance = np.subtract.outer(np.arange(CHANNELS), np.arange(CHANNELS))
    weights = np.exp(-0.5 * (distance / blur) ** 2)
    return (weights / weights.sum(axis=0)).astype(np.float32)


def spoken_digits(
    path: str | Path | None = None, ms: int = 10, speaker: str | None = None, label_at: str = "last", *, blur: float = 0.0,
    compress: float = 0.0, vary: Vary | None = None, name_speaker: bool = False, seed: int = 0,
) -> SpokenDigits:  # fmt: skip
    """Name the digit that is spoken: 1,500 utterances of 10 digits by 6 speakers, as spikes of 70 cochlear channels.

    The data file is not part of the package. It is looked for in ``path``, else in the folder named by the environment variable
    SPIKERTRL_DATA, else in a folder ``data`` or ``shared/data`` beside or above the current folder or this package; each time
    directly and in a subfolder ``fsdd``.

    Parameters
    ----------
    path : str or Path, optional
        The file ``fsdd_lauscher70.npz`` or a folder that holds it.
    ms : int
        Length of a frame; inputs are spike counts per frame and channel, unless ``blur`` or ``compress`` are given.
    speaker : str, optional
        Leave this speaker out: all his utterances are the test part, and the official test utterances of the others (their
        takes 0-4) are for validation. By default the official split: takes 0-4 test (300), 5-7 validation (180), 8-24 training.
    label_at : "last", "half" or "each"
        Whether the label counts at the last frame of an utterance, in its second half, or at each of its frames.
    blur : float
        Standard deviation, in channels, of Gaussian receptive fields that sense the spike counts; 0 for none.
    compress : float
        If > 0, log(1 + compress * count) takes the place of each count.
    vary : Vary, optional
        How training utterances are varied; validation and test never are.
    name_speaker : bool
        The network names digit and speaker together, 60 outputs (10 * speaker + digit); only the digit is scored.
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
    return SpokenDigits(_find(path), ms, speaker, label_at, blur, compress, vary, name_speaker, seed)


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
