"""load: what ``Network.save`` and ``Online.save`` wrote."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import storage
from ..constraints import Given
from ..learners.base import Learner
from ..network import record
from ..network.network import Network
from ..optimizers import Optimizer
from . import online as _online
from .saved import SAVED, chosen

if TYPE_CHECKING:
    from ..losses.base import Loss


def load(
    path: str | os.PathLike[str],
    *,
    learner: Learner | None = None,
    optimizer: Optimizer | None = None,
    loss: Callable[..., Loss] | Mapping[str, Callable[..., Loss]] | None = None,
    constraints: Given | None = None,
) -> Any:
    """Read a ``Network`` or an ``Online`` from a file that its ``save`` wrote; no code of the file is run.

    Models are read from their text by the package's own parser and compiled here. Everything is checked as if it were built by
    hand.

    Parameters
    ----------
    path : path
    learner, optimizer, loss, constraints : optional
        For an ``Online``: those of your own, which are not in the file; or others, if the states in the file fit them.

    Returns
    -------
    Network or Online
        Whichever was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it is damaged, of another version, a checkpoint of ``fit`` (which ``fit(checkpoint=path)`` reads), or needs a
        learner, optimizer or loss of your own that was not given. It is a ValueError.

    Examples
    --------
    >>> import os, tempfile, spikertrl as srl
    >>> mine = srl.Model("leaky", update="h = a*h + I_h", message="h", states={"h": srl.State()},
    ...                  ports={"h": srl.Port()}, parameters={"a": srl.Parameter(0.9)})
    >>> net = srl.Network().add_input("x", 1).add_population("h", mine, 3).connect("x", "h", density=0.7).initialize(0)
    >>> again = load(net.save(os.path.join(tempfile.mkdtemp(), "net.npz")))
    >>> again.populations["h"].model == mine, bool((again.theta == net.theta).all())
    (True, True)
    """
    file = storage.read(path, SAVED)
    with storage.refusal(file.path, SAVED):
        what = _kind(file)
        lanes = {name: file.decode(part=name) for name in ("batch", "horizon") if name in file.names}
    net = _network(file, "network" if what == "online" else None)
    if what == "network":
        return net
    given = {"learner": learner, "optimizer": optimizer, "loss": loss, "constraints": constraints}
    return _online.Online(net, **lanes, **chosen(file, given))._go_on(file)


def _kind(file: storage.Stored) -> str:
    """ "network" or "online"."""
    if "signature" in file.names:
        raise storage.Damage("it is a checkpoint of fit; fit(..., checkpoint=path) goes on from it")
    what = file.decode(part="saved") if "saved" in file.names else None
    newest = {"network": record.VERSION, "online": _online.VERSION}
    if what not in newest:
        raise storage.Damage("it holds neither a network nor an Online")
    if (version := file.decode(part="version")) != newest[what]:
        raise storage.Damage(f"its {what} is of version {version!r}, this program reads {newest[what]}")
    return what


def _network(file: storage.Stored, part: str | None) -> Network:
    with storage.refusal(file.path, SAVED):
        found: Mapping[str, Any] = file.decode(part=part)
        net = Network(found["dtype"], f"{float(found['dt'])!r}*s")
        record.rebuild(net, found)
    return net
