"""Named views of a vector shaped like theta. What is written into them reaches the vector, or is refused.

>>> import spikertrl as srl
>>> net = srl.Network().add_population("h", srl.models.rnn, 3).connect("h", "h", mask=[[0, 1, 1], [1, 0, 1], [1, 1, 0]])
>>> weights = net.view(net.theta)["h<-h"]["h"]
>>> weights[...] = 0.5                                      # every synapse
>>> net.view(net.theta)["h<-h"]["h"] = 2 * weights          # a matrix that is zero where there is no synapse
>>> net.theta[:6].tolist()
[1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import sparse

from .elements import NetworkError, Projection
from .wiring import Wiring


class SynapseMatrix(sparse.csr_matrix):
    """The weights of a masked connection: a scipy CSR matrix (post, pre) whose ``data`` are a part of a vector.

    Synapses stay what they are: a number is written to all of those that are chosen, an array or matrix must be zero where
    there is no synapse. What is computed from it (``abs(w)``, ``w.T``, ``w.copy()``) is a matrix of its own.
    """

    _of_vector = False

    def __setattr__(self, name: str, value: Any) -> None:
        if self._of_vector and name in ("data", "indices", "indptr", "_shape"):
            mine = getattr(self, name)
            if value is mine:
                return
            if name != "data" or np.shape(value) != mine.shape:
                raise NetworkError(f"{name.strip('_')} of a view is fixed: the synapses of a network stay what they are")
            mine[...] = value
            return
        super().__setattr__(name, value)

    def __setitem__(self, key: Any, value: Any) -> None:
        if not self._of_vector:
            super().__setitem__(key, value)
            return
        place = np.arange(self.shape[0] * self.shape[1]).reshape(self.shape)[key]  # of every chosen pair
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        slot = np.full(self.shape[0] * self.shape[1], -1)
        slot[rows * self.shape[1] + self.indices] = np.arange(len(self.data))
        slots = slot[np.atleast_1d(place)]
        value = value.toarray() if sparse.issparse(value) else np.asarray(value)
        values = np.broadcast_to(value, slots.shape)
        if (value.ndim and np.any(values[slots < 0] != 0)) or not (slots >= 0).any():
            raise NetworkError("some of the places written to have no synapse; give 0 there, or choose another mask in connect")
        self.data[slots[slots >= 0]] = values[slots >= 0]

    def sum_duplicates(self) -> None:
        """Nothing to do in a view: no pair stands twice."""
        if not self._of_vector:
            super().sum_duplicates()

    def eliminate_zeros(self) -> None:
        """Refused for a view: a synapse of weight 0 stays a synapse."""
        if self._of_vector:
            raise NetworkError("a view keeps its synapses, those of weight 0 too; take a copy: w.copy().eliminate_zeros()")
        super().eliminate_zeros()

    def __reduce__(self) -> tuple:
        return sparse.csr_matrix, ((self.data, self.indices, self.indptr), self.shape)


class Block(dict):
    """Views by name. Assigning to a name writes into what it views."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self:
            raise NetworkError(f"there is no {name!r} here; names: {sorted(self)}")
        mine = self[name]
        if isinstance(mine, Block):
            raise NetworkError(f"{name!r} holds several arrays {sorted(mine)}; write into one of them")
        if value is not mine:
            mine[...] = value

    def _fixed(self, *arguments: Any, **keywords: Any) -> Any:
        raise NetworkError("the names of a view are fixed; write into its arrays")

    __delitem__ = pop = popitem = clear = setdefault = update = __ior__ = _fixed  # type: ignore[assignment]

    def __reduce__(self) -> tuple:
        return dict, (list(self.items()),)


def views(wiring: Wiring, projections: Iterable[Projection], vector: np.ndarray) -> dict[str, dict[str, Any]]:
    """Named views into a vector shaped like theta; see ``Network.view``."""
    found: dict[str, dict[str, Any]] = {}
    masks = {p.name: p for p in projections if not p.is_dense}
    for (group, name), (part, shape) in wiring.layout.items():
        piece, projection = vector[part], masks.get(group)
        found.setdefault(group, {})[name] = _synapses(projection, piece) if projection else piece.reshape(shape)
    return Block({group: Block(named) for group, named in found.items()})


def _synapses(projection: Projection, piece: np.ndarray) -> SynapseMatrix:
    indices, indptr = (part.view() for part in (projection.indices, projection.indptr) if part is not None)
    view = SynapseMatrix((piece, indices, indptr), shape=projection.shape, copy=False)
    view.data = piece  # scipy copies the data when they are a small part of a larger array
    view.has_canonical_format = True
    for part in (view.indices, view.indptr):
        part.flags.writeable = False
    view._of_vector = True
    return view
