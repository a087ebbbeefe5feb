"""Event files of the field, as lists of events that ``arrays(channels=...)`` takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import arguments
from ..optional import needed

EVENT_BYTES = 5  # x: 8 bits, y: 8, polarity: 1, time in microseconds: 23, big-endian
RECORDINGS = (".aedat4", ".raw", ".dat", ".es")  # read by faery


def read_dvs(path: str | os.PathLike[str], width: int | None = None, height: int | None = None) -> np.ndarray:
    """Events of a vision sensor, a recording in one file.

    Parameters
    ----------
    path : path
        ``.aedat4`` (iniVation), ``.raw`` and ``.dat`` (Prophesee) and ``.es`` are read by the package faery. Any other name:
        five bytes an event, the ``.bin`` files of N-MNIST and N-Caltech and the ``.bs2`` files of SLAYER.
    width, height : int, optional
        Pixels of the sensor. Default: those that the file names; 34 by 34 for five bytes an event.

    Returns
    -------
    ndarray (events, 2)
        Time in ms, of a camera's recording from its first event on, and unit ``(polarity * height + y) * width + x``, so that
        there are ``2 * width * height`` channels.

    Raises
    ------
    ModuleNotFoundError
        Without the extra ``faery``, for the files that it reads.
    ValueError
        If the file is no recording of its kind, or an event lies outside the sensor.

    References
    ----------
    Orchard et al. 2015, Frontiers in Neuroscience 9:437 (N-MNIST and its format).

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "one.bin"
    >>> _ = file.write_bytes(bytes([3, 2, 0b1000_0000, 0b0000_0111, 0b1101_0000]))  # x 3, y 2, polarity 1, 2000 microseconds
    >>> read_dvs(file).tolist()
    [[2.0, 1227.0]]
    """
    for what, size in (("width", width), ("height", height)):
        if size is not None:
            arguments.whole("read_dvs", what, size)
    found = (_recording if Path(path).suffix.lower() in RECORDINGS else _five_bytes)(path)
    width, height = width or found.width, height or found.height
    if found.x.max(initial=0) >= width or found.y.max(initial=0) >= height:
        seen = f"{found.x.max(initial=0) + 1} x {found.y.max(initial=0) + 1}"
        raise ValueError(f"read_dvs: {path} has events on {seen} pixels; legal: within width={width}, height={height}")
    return np.stack([found.time / 1e3, (found.polarity * height + found.y) * width + found.x], 1)


class _Events(NamedTuple):
    """Of a vision sensor, int64 (events,): time in microseconds, pixel, polarity 0 or 1; and the sensor's size."""

    time: np.ndarray
    x: np.ndarray
    y: np.ndarray
    polarity: np.ndarray
    width: int
    height: int


def _five_bytes(path: str | os.PathLike[str]) -> _Events:
    raw = np.frombuffer(Path(path).read_bytes(), np.uint8)
    if raw.size % EVENT_BYTES:
        raise ValueError(f"read_dvs: {path} has {raw.size} bytes; legal: whole events of {EVENT_BYTES} bytes (N-MNIST, .bs2)")
    x, y, high, middle, low = raw.reshape(-1, EVENT_BYTES).T.astype(np.int64)
    return _Events(((high & 127) << 16) | (middle << 8) | low, x, y, high >> 7, 34, 34)


def _recording(path: str | os.PathLike[str]) -> _Events:
    faery = needed("faery", f"read_dvs of a {Path(path).suffix} file")
    if not Path(path).is_file():
        raise FileNotFoundError(f"read_dvs: there is no file {path}")
    try:
        stream = faery.events_stream_from_file(Path(path))
        packets = [np.zeros(0, faery.EVENTS_DTYPE), *stream]
    except RuntimeError as error:
        raise ValueError(f"read_dvs: {path} is no {Path(path).suffix} recording ({error})") from None
    events = np.concatenate(packets)
    time, x, y, polarity = (events[field].astype(np.int64) for field in ("t", "x", "y", "on"))
    return _Events(time - time.min(initial=2**62) if len(time) else time, x, y, polarity, *stream.dimensions())


def read_tonic(dataset: Any, sensor_size: Sequence[int] | None = None) -> tuple[list[np.ndarray], np.ndarray]:
    """Recordings of any data set of tonic.

    Parameters
    ----------
    dataset : sequence of (events, label)
        Such as ``tonic.datasets.NMNIST("data", train=False)``. Transforms that keep events may be set, such as
        ``tonic.transforms.Denoise``; those that make frames may not.
    sensor_size : (width, height, polarities), optional
        Default: the data set's own.

    Returns
    -------
    samples : list of ndarray (events, 2)
        Time in ms and unit ``(polarity * height + y) * width + x`` of every event; what the data set lacks counts as 0.
    labels : int ndarray (samples,)

    Raises
    ------
    ValueError
        If a sample has no events with a field "t", an event lies outside the sensor, or labels are no whole numbers.

    References
    ----------
    Lenz et al. 2021, Tonic: event-based datasets and transformations, doi:10.5281/zenodo.5079802.

    Examples
    --------
    Two samples of a sensor of 4 by 3 pixels stand for a data set of tonic's; times are in microseconds there.

    >>> fields = [("x", int), ("y", int), ("t", int), ("p", int)]
    >>> recordings = [(np.array([(3, 2, 1500, 1)], fields), 1), (np.array([(0, 0, 0, 0), (1, 0, 4000, 0)], fields), 0)]
    >>> samples, labels = read_tonic(recordings, sensor_size=(4, 3, 2))
    >>> samples[0].tolist(), labels.tolist()
    ([[1.5, 23.0]], [1, 0])
    >>> from spikertrl import tasks
    >>> tasks.arrays(samples, labels, channels=4 * 3 * 2, step=1.0).x.shape
    (5, 2, 24)
    """
    size = getattr(dataset, "sensor_size", None) if sensor_size is None else sensor_size
    if size is None or len(size) != 3:
        raise arguments.refuse("read_tonic", "sensor_size", size, "(width, height, polarities); the data set says none")
    samples, labels = [], []
    for k in range(len(dataset)):
        events, label = dataset[k]
        samples.append(_tonic_events(k, events, [arguments.whole("read_tonic", "sensor_size", int(n)) for n in size]))
        labels.append(label)
    found = np.asarray(labels)
    if found.dtype.kind not in "iu" or found.ndim != 1:
        raise ValueError(f"read_tonic: labels are {found.dtype} {found.shape}; legal: whole numbers (see target_transform=)")
    return samples, found.astype(np.int64)


def _tonic_events(k: int, events: Any, size: Sequence[int]) -> np.ndarray:
    """Sample k as (time in ms, unit)."""
    fields = getattr(getattr(events, "dtype", None), "names", None) or ()
    if "t" not in fields:
        what = f"fields {fields}" if fields else f"a {type(events).__name__}"
        raise ValueError(f"read_tonic: sample {k} has {what}; legal: events with a field 't', and no transform to frames")
    wanted = "xyp" if size[2] > 1 else "xy"  # of one polarity tonic says 1
    places = [events[f].astype(np.int64) if f in fields and f in wanted else np.zeros(len(events), np.int64) for f in "xyp"]
    if any(place.min(initial=0) < 0 or place.max(initial=0) >= most for place, most in zip(places, size, strict=True)):
        seen = tuple(int(place.max()) + 1 for place in places)
        raise ValueError(f"read_tonic: sample {k} has events on {seen}; legal: within sensor_size={tuple(size)}")
    x, y, p = places
    return np.stack([events["t"] / 1e3, (p * size[1] + y) * size[0] + x], 1)


def read_shd(path: str | os.PathLike[str]) -> tuple[list[np.ndarray], np.ndarray]:
    """Recordings of the Heidelberg data sets (SHD, SSC), an HDF5 file as they are published.

    Returns
    -------
    samples : list of ndarray (events, 2)
        Time in ms and unit of every event (700 channels).
    labels : int ndarray (samples,)

    Raises
    ------
    ModuleNotFoundError
        Without the extra ``h5py``.
    ValueError
        If the file is no HDF5, or lacks spikes/times, spikes/units or labels.

    References
    ----------
    Cramer et al. 2022, IEEE Transactions on Neural Networks and Learning Systems 33(7):2744.
    """
    h5py = needed("h5py", "read_shd")
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"read_shd: {path} is no HDF5 file ({error})") from None
    with file:
        wanted = ("spikes/times", "spikes/units", "labels")
        if missing := [name for name in wanted if name not in file]:
            raise ValueError(f"read_shd: {path} has no {missing[0]!r}; SHD and SSC have {', '.join(wanted)}")
        pairs = zip(file["spikes/times"][:], file["spikes/units"][:], strict=True)
        samples = [np.stack([1e3 * np.asarray(time, float), np.asarray(unit, float)], 1) for time, unit in pairs]
        return samples, file["labels"][:].astype(np.int64)
