"""Figures of a network: its weights, how they changed, and which part speaks to which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from .. import arguments
from ..network.elements import DELAY
from .axes import COLORS, GREY, axes, legend, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..network.network import Network


def weights(
    net: Network, connection: str, port: str | None = None, *, theta: np.ndarray | None = None, ax: Axes | None = None
) -> Axes:
    """The weights of a connection as an image: rows receive, columns send; red above zero, blue below, grey without a synapse.

    Parameters
    ----------
    net : Network
    connection : str
        Such as "h<-x", or the name of a readout.
    port : str, optional
        May be left out when there is only one.
    theta : ndarray, optional
        Default the network's parameters.

    Raises
    ------
    ValueError
        If the network has no such connection or port.

    Examples
    --------
    >>> import spikertrl as srl
    >>> net = srl.Network().add_input("x", 3).add_population("h", srl.models.egru, 8).connect("x", "h")
    >>> net = net.connect("h", "h", density=0.25, seed=1).initialize(0)
    >>> ax = weights(net, "h<-h", "u")
    >>> ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")
    ('unit of h (sends)', 'unit of h (receives)', 'h ← h, port u: 16 of 64 pairs')
    """
    port, found = _matrix("weights", net, connection, port, theta)
    full = found.toarray() if sparse.issparse(found) else np.asarray(found)
    there = _mask(found)
    most = float(np.abs(full).max()) or 1.0
    ax = axes(ax, (5.2, 4.2))
    ax.set_facecolor("#E3E3E3")
    shown = np.ma.masked_array(full, ~there)
    image = ax.imshow(shown, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="weight", pad=0.02)
    source, target = _ends(net, connection)
    ax.set(xlabel=f"{source} (sends)", ylabel=f"{target} (receives)")
    title = connection.replace("<-", " ← ") + (f", port {port}" if port != "weight" else "")
    note(ax, f"{title}: {int(there.sum())} of {there.size} pairs")
    return ax


def weight_change(
    net: Network, connection: str, port: str | None = None, *, before: np.ndarray, after: np.ndarray | None = None,
    bins: int = 40, ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Histograms of a connection's weights before and after training, on the same bins; missing synapses are left out.

    Parameters
    ----------
    before, after : ndarray
        Parameters like ``net.theta`` (keep ``net.theta.copy()`` before training); after: by default the present ones.

    Raises
    ------
    ValueError
        If the network has no such connection or port, or a vector does not fit.

    Examples
    --------
    >>> import spikertrl as srl
    >>> net = srl.Network().add_input("x", 3).add_population("h", srl.models.rnn, 8).connect("x", "h").initialize(0)
    >>> ax = weight_change(net, "h<-x", before=0.5 * net.theta)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['before', 'after']
    """
    bins = arguments.whole("weight_change", "bins", bins)
    drawn = {"before": before, "after": net.theta if after is None else after}
    found = {label: _matrix("weight_change", net, connection, port, theta)[1] for label, theta in drawn.items()}
    values = {label: matrix.data if sparse.issparse(matrix) else np.ravel(matrix) for label, matrix in found.items()}
    together = np.concatenate(list(values.values()))
    edges = np.histogram_bin_edges(together[np.isfinite(together)], bins).tolist()
    ax = axes(ax)
    for (label, numbers), color, style in zip(values.items(), (GREY, COLORS[0]), ("--", "-"), strict=True):
        ax.hist(numbers, edges, histtype="step", color=color, linewidth=1.6, linestyle=style, label=label)
    ax.set(xlabel=f"weight of {connection.replace('<-', ' ← ')}", ylabel="synapses")
    handles, labels = ax.get_legend_handles_labels()
    legend(ax, handles=handles, labels=labels)
    return ax


def connectivity(net: Network, ax: Axes | None = None) -> Axes:
    """Inputs, populations and readouts as boxes from left to right, connections as arrows with synapses and delays.

    Examples
    --------
    >>> import spikertrl as srl
    >>> net = srl.Network().add_input("x", 3).add_population("h", srl.models.egru, 8).connect("x", "h")
    >>> ax = connectivity(net.connect("h", "h", density=0.25, seed=1, delay=3).add_readout("z", "h", 2))
    >>> [text.get_text() for text in ax.texts][:3]
    ['x\\n3 channels', 'h\\n8 egru', 'z\\n2 outputs']
    """
    if not hasattr(net, "projections"):
        raise arguments.refuse("connectivity", "net", net, "a Network")
    ax, place = axes(ax, (7.2, 3.6)), _places(net)
    text = {name: f"{name}\n{one.size} channels" for name, one in net.inputs.items()}
    text |= {name: f"{name}\n{one.size} {one.model.name}" for name, one in net.populations.items()}
    text |= {one.name: f"{one.name}\n{one.size} output{'s' * (one.size > 1)}" for one in net.readouts}
    for name, (x, y) in place.items():
        edge = COLORS[0] if name in net.populations else GREY
        box = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": edge, "linewidth": 1.4}
        ax.text(x, y, text[name], ha="center", va="center", fontsize=9, bbox=box, zorder=3)
    for p in net.projections:
        size = "all to all" if p.is_dense else f"{p.n_synapses} of {p.shape[0] * p.shape[1]}"
        _arrow(ax, place[p.source], place[p.target], size + (f"\ndelay {p.waits.replace('-', ' to ')}" if p.waits else ""))
    for one in net.readouts:
        _arrow(ax, place[one.source], place[one.name], f"decay {one.decay:g}" if one.decay else "")
    across, down = np.array(list(place.values())).T if place else np.zeros((2, 1))
    ax.set(xlim=(across.min() - 0.5, across.max() + 0.5), ylim=(down.min() - 0.75, down.max() + 1.0))
    ax.axis("off")
    return ax


def _places(net: Network) -> dict[str, tuple[float, float]]:
    """Column by column: a population stands right of those that it hears, unless they hear it as well."""
    column = dict.fromkeys(net.inputs, 0)
    for name in net.populations:  # in the order in which they were added
        heard = [column[p.source] for p in net.projections if p.target == name and p.source in column and p.source != name]
        column[name] = max(heard, default=0) + 1
    last = max(column.values(), default=0) + 1
    column |= {one.name: last for one in net.readouts}
    members = {k: [name for name, mine in column.items() if mine == k] for k in set(column.values())}
    return {name: (1.7 * k, (len(row) - 1) / 2 * 1.2 - 1.2 * row.index(name)) for k, row in members.items() for name in row}


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], text: str) -> None:
    style = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.1, "shrinkA": 32, "shrinkB": 32, "mutation_scale": 11}
    (x0, y0), (x1, y1) = start, end
    if start == end:
        style |= {"shrinkA": 14, "shrinkB": 14, "connectionstyle": "arc3,rad=-1.6"}
        x0, x1, middle = x0 - 0.16, x1 + 0.16, (x0, y0 + 0.55)
    else:
        back = x1 <= x0
        style["connectionstyle"] = f"arc3,rad={0.35 if back else 0}"
        share = 0.5 if back else 0.42  # nearer to what sends, where fewer arrows meet
        middle = (x0 + share * (x1 - x0), y0 + share * (y1 - y0) + (0.42 if back else -0.14))
    ax.annotate("", (x1, y1), (x0, y0), arrowprops=style, zorder=2)
    ax.text(*middle, text, ha="center", va="center", fontsize=7.5, color=GREY)


def _matrix(where: str, net: Network, connection: str, port: str | None, theta: np.ndarray | None) -> tuple[str, Any]:
    """A matrix of weights (post, pre), and the name of its port."""
    if not hasattr(net, "projections"):
        raise arguments.refuse(where, "net", net, "a Network")
    named: Mapping[str, Any] = net.view(net.theta if theta is None else theta)
    known = [*(p.name for p in net.projections), *(one.name for one in net.readouts)]
    connection = arguments.choice(where, "connection", connection, tuple(known))
    found = {name: matrix for name, matrix in named[connection].items() if matrix.ndim == 2}
    if port is None and len(ports := [name for name in found if name != DELAY]) == 1:
        port = ports[0]
    return arguments.choice(where, "port", port, tuple(found)), found[port]  # type: ignore[index]


def _mask(matrix: Any) -> np.ndarray:
    """Which pairs have a synapse, those of weight 0 included."""
    if not sparse.issparse(matrix):
        return np.ones(matrix.shape, bool)
    ones = sparse.csr_matrix((np.ones(len(matrix.data), bool), matrix.indices, matrix.indptr), matrix.shape)
    return ones.toarray()


def _ends(net: Network, connection: str) -> tuple[str, str]:
    """What sends and what receives, in words."""
    for p in net.projections:
        if p.name == connection:
            return f"{'channel' if p.source in net.inputs else 'unit'} of {p.source}", f"unit of {p.target}"
    one = next(one for one in net.readouts if one.name == connection)
    return f"unit of {one.source}", f"output of {one.name}"
