"""Callbacks for ``fit`` and ``Online``: what training wrote down, sent to a tracker after every update.

A callback is any callable ``(net, history)``; the newest row is ``history.rows[-1]``. One that is for more than a moment is
best a class, so that it keeps what it needs.

>>> import spikertrl as srl
>>> class Largest:
...     def __init__(self):
...         self.value = 0.0
...     def __call__(self, net, history):
...         self.value = max(self.value, history.rows[-1]["loss"])
>>> net = srl.Network().add_input("x", 2).add_population("h", srl.models.egru, 16, theta=0.1).connect("x", "h")
>>> net, largest = net.add_readout("z", "h", 2).initialize(0), Largest()
>>> history = srl.fit(net, srl.tasks.spiral(0), srl.RTRL(), srl.optimizers.adam(1e-2), steps=3, callbacks=[largest],
...                   progress=False)
>>> bool(largest.value == history["loss"].max())
True
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import arguments
from .optional import needed

if TYPE_CHECKING:
    from .network.network import Network
    from .training.history import History

__all__ = ["TensorBoard", "WandB"]


def numbers_of(history: History) -> tuple[int, dict[str, float]]:
    """The step of the newest row, and its other columns.

    >>> from spikertrl.training.history import History
    >>> numbers_of(History([{"step": 3, "loss": 0.5}]))
    (3, {'loss': 0.5})
    """
    row = history.rows[-1]
    return int(row["step"]), {name: float(value) for name, value in row.items() if name != "step"}


def blocks_of(net: Network) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of every block of the parameters that is not empty."""
    for (group, name), (part, _) in net.wiring.layout.items():
        if part.stop > part.start:
            yield f"{group}/{name}", net.theta[part]


class TensorBoard:
    """Write every column of the history as a scalar, and parameters as histograms, for TensorBoard.

    Parameters
    ----------
    folder : path
        Of this run; ``tensorboard --logdir`` looks at it, or at the folder above it.
    every : int
        Write every so many updates.
    histograms : int, optional
        Write histograms of all blocks of ``net.theta`` every so many updates.

    Raises
    ------
    ModuleNotFoundError
        Without the package ``tensorboardX`` (the extra ``tensorboard``).

    Examples
    --------
    >>> import spikertrl as srl
    >>> watch = srl.callbacks.TensorBoard("runs/first", histograms=50)                           # doctest: +SKIP
    >>> srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(1e-2), steps=500, callbacks=[watch])  # doctest: +SKIP
    """

    def __init__(self, folder: str | os.PathLike[str], *, every: int = 1, histograms: int | None = None) -> None:
        package = needed("tensorboardX", "callbacks.TensorBoard", extra="tensorboard")
        self.folder, self.every = Path(folder), arguments.whole("TensorBoard", "every", every)
        self.histograms = None if histograms is None else arguments.whole("TensorBoard", "histograms", histograms)
        self._writer: Any = package.SummaryWriter(str(self.folder))

    def __call__(self, net: Network, history: History) -> None:
        """Write the newest row."""
        step, row = numbers_of(history)
        if step % self.every == 0:
            for name, value in row.items():
                self._writer.add_scalar(name, value, step)
        if self.histograms and step % self.histograms == 0:
            for name, values in blocks_of(net):
                self._writer.add_histogram(name, values, step)

    def close(self) -> None:
        """Write what is still under way, and end the file."""
        self._writer.close()


class WandB:
    """Log every column of the history to Weights & Biases.

    Parameters
    ----------
    run : wandb run, optional
        Log to it; default: ``wandb.init(**settings)``.
    every : int
        Log every so many updates.
    histograms : int, optional
        Log histograms of all blocks of ``net.theta`` every so many updates.
    **settings
        Of ``wandb.init``: project, name, mode="offline", ...

    Raises
    ------
    ModuleNotFoundError
        Without the package ``wandb`` (the extra ``wandb``).

    Examples
    --------
    >>> import spikertrl as srl
    >>> watch = srl.callbacks.WandB(project="spirals", mode="offline")                           # doctest: +SKIP
    >>> srl.fit(net, task, srl.RTRL(), srl.optimizers.adam(1e-2), steps=500, callbacks=[watch])  # doctest: +SKIP
    >>> watch.close()                                                                            # doctest: +SKIP
    """

    def __init__(self, run: Any = None, *, every: int = 1, histograms: int | None = None, **settings: Any) -> None:
        self.every = arguments.whole("WandB", "every", every)
        self.histograms = None if histograms is None else arguments.whole("WandB", "histograms", histograms)
        self._mine = run is None
        self.run = needed("wandb", "callbacks.WandB").init(**settings) if run is None else run
        arguments.having("WandB", "run", self.run, ("log",), "what wandb.init returns, or None")

    def __call__(self, net: Network, history: History) -> None:
        """Log the newest row."""
        step, row = numbers_of(history)
        found: dict[str, Any] = dict(row) if step % self.every == 0 else {}
        if self.histograms and step % self.histograms == 0:
            histogram = needed("wandb", "callbacks.WandB").Histogram
            found |= {name: histogram(values) for name, values in blocks_of(net)}
        if found:
            self.run.log(found, step=step)

    def close(self) -> None:
        """Finish the run, if it was begun here."""
        if self._mine:
            self.run.finish()
