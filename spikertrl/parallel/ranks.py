"""What ranks tell each other: that they agree, that one has failed, and pieces of a gradient.

A communicator is anything that mpi4py calls so; nothing here imports mpi4py. Ranks compute the same forward pass from the same
parameters and inputs, so that all that travels in an update is a gradient.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..learners.base import Learner

Result = TypeVar("Result")


@dataclass(frozen=True, repr=False, eq=False)
class OverRanks:
    """A learner over the ranks of a communicator; a subclass says what each has. How many there are changes nothing."""

    learner: Learner
    comm: Any
    way: ClassVar[str]  # the function that makes it

    @property
    def claim(self) -> str:
        """That of the learner."""
        return self.learner.claim

    def __repr__(self) -> str:
        return f"{self.way}({self.learner!r})"


def together(comm: Any, action: Callable[[], Result]) -> Result:
    """Do something that may fail on some ranks; then all of them raise, and none waits for one that is gone.

    Raises
    ------
    Exception
        Its own error on a rank that failed; on the others one of the same kind that names the first that did.
    """
    failed, found = None, None
    try:
        found = action()
    except Exception as error:
        failed = error
    reports = comm.allgather(None if failed is None else (type(failed), str(failed)))
    if failed is not None:
        raise failed
    for rank, report in enumerate(reports):
        if report is not None:
            kind, text = report
            raise _as(kind, f"rank {rank}: {text}")
    return found  # type: ignore[return-value]


def _as(kind: type[Exception], text: str) -> Exception:
    try:
        return kind(text)
    except TypeError:  # an error that is not made from one text
        return RuntimeError(text)


def check_alike(comm: Any, what: dict[str, Any]) -> None:
    """Raise ValueError on every rank if some value is not the same on all of them; arrays are compared by their bytes."""
    mine = {name: _print_of(value) for name, value in what.items()}
    for name, value in mine.items():
        found = comm.allgather(value)
        if different := [rank for rank, other in enumerate(found) if other != found[0]]:
            rank = different[0]
            raise ValueError(
                f"{name} is not the same on all ranks (rank 0: {found[0]}, rank {rank}: {found[rank]}); "
                "build the network, the data and the learner on every rank from the same seeds"
            )


def _print_of(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape} checksum {zlib.crc32(np.ascontiguousarray(value).tobytes()):08x}"
    return repr(value)


def my_lanes(comm: Any, batch: int) -> slice:
    """The lanes of this rank, of ``batch`` in all: as many on each, or one more where they do not divide.

    Raises
    ------
    ValueError
        If there are fewer lanes than ranks.

    Examples
    --------
    >>> my_lanes(None, 5)
    slice(0, 5, None)
    """
    rank, ranks = (0, 1) if comm is None else (comm.Get_rank(), comm.Get_size())
    if batch < ranks:
        raise ValueError(f"my_lanes: {batch} lanes for {ranks} ranks; legal: at least one lane for each")
    edges = [batch * r // ranks for r in range(ranks + 1)]
    return slice(edges[rank], edges[rank + 1])


def sum_in_order(comm: Any, part: np.ndarray) -> np.ndarray:
    """Sum of the ranks' vectors, in the order of the ranks: the same bits on all, and every time.

    Each rank sums one piece of the vector and tells it: twice the vector's size travels, however many ranks there are.
    """
    ranks = comm.Get_size()
    piece = -(-len(part) // ranks)
    padded = np.zeros(piece * ranks, part.dtype)
    padded[: len(part)] = part
    pieces = np.empty((ranks, piece), part.dtype)
    comm.Alltoall(padded, pieces)
    total = pieces[0].copy()
    for other in pieces[1:]:
        total += other
    comm.Allgather(total, padded)
    return padded[: len(part)].copy()
