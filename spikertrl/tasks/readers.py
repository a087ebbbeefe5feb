"""Event files of the field, as lists of events that ``arrays(channels=...)`` takes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .. import arguments
from ..optional import needed

EVENT_BYTES = 5  # x: 8 bits, y: 8, polarity: 1, time in microseconds: 23, big-endian


def read_dvs(path: str | os.PathLike[str], width: int = 34, height: int = 34) -> np.ndarray:
    """Events of a vision sensor: a ``.bin`` file of N-MNIST or N-Caltech, or a ``.bs2`` file of SLAYER, five bytes an event.

    Parameters
    ----------
    path : path
    width, height : int
        Pixels of the sensor.

    Returns
    -------
    ndarray (events, 2)
        Time in ms and unit ``(polarity * height + y) * width + x``, so that there are ``2 * width * height`` channels.

    Raises
    ------
    ValueError
        If the file is no whole number of events, or an event lies outside the sensor.

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
        arguments.whole("read_dvs", what, size, 1, 256)
    raw = np.frombuffer(Path(path).read_bytes(), np.uint8)
    if raw.size % EVENT_BYTES:
        raise ValueError(f"read_dvs: {path} has {raw.size} bytes; legal: whole events of {EVENT_BYTES} bytes (N-MNIST, .bs2)")
    x, y, high, middle, low = raw.reshape(-1, EVENT_BYTES).T.astype(np.int64)
    if x.max(initial=0) >= width or y.max(initial=0) >= height:
        seen = f"{x.max(initial=0) + 1} x {y.max(initial=0) + 1}"
        raise ValueError(f"read_dvs: {path} has events on {seen} pixels; legal: within width={width}, height={height}")
    polarity, time = high >> 7, ((high & 127) << 16) | (middle << 8) | low
    return np.stack([time / 1e3, (polarity * height + y) * width + x], 1)


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
