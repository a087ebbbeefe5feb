"""A program that knows nothing of ranks, run by several: they share its learners, and the first prints, draws and writes."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..learners.base import Learner, spread
from ..learners.engines.divide import Columns
from .columns import over_columns
from .lanes import over_lanes
from .ranks import OverRanks

PATIENCE = 10.0  # seconds for the others to fail, too
EXPECTED = (ValueError, OSError, ImportError, ArithmeticError)
LARGEST = 16 << 20  # bytes of a result that others look at; checkpoints are read by the first


@contextlib.contextmanager
def learners_over(comm: Any) -> Iterator[None]:
    """Inside, learners given to ``fit``, ``gradient``, ``compare`` and ``Online`` are over the ranks of a communicator.

    Columns are shared out of those that keep columns; of others the lanes of ``fit``, if there is one for each rank. What is
    left is done on every rank.
    """

    def shared(learner: Learner, lanes: int | None) -> Learner:
        if isinstance(learner, OverRanks):
            return learner
        if isinstance(learner, Columns) and not getattr(learner, "dense", False):
            return over_columns(learner, comm)
        return over_lanes(learner, comm) if lanes is not None and lanes >= comm.Get_size() else learner

    token = spread.set(shared)
    try:
        yield
    finally:
        spread.reset(token)


def run_together(main: Callable[[Sequence[str]], int | None], words: Sequence[str], out: Path, comm: Any = None) -> int:
    """Run ``main(words)`` of an experiment on every rank; returns its code, on all the same or none is left.

    ``out``: where it writes if ``--out`` is not among the words. The first rank's results lie there; the others begin with
    what is there, and write to a folder that is gone afterwards.
    """
    if comm is None:
        comm = _everyone()
    first = comm.Get_rank() == 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(learners_over(comm))
        if not first:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
            words = elsewhere(words, out, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        comm.Barrier()
        code = _code_of(main, words, first)
    return _all_ended(comm, code)


def _everyone() -> Any:
    try:
        from mpi4py import MPI  # type: ignore[import-not-found]
    except ModuleNotFoundError as error:
        ways = "install it with: pip install 'spikertrl[mpi]'"
        raise ModuleNotFoundError(f"spikertrl run under mpiexec needs the package 'mpi4py'; {ways}", name="mpi4py") from error
    return MPI.COMM_WORLD


def elsewhere(words: Sequence[str], out: Path, folder: Path) -> list[str]:
    """The words with another ``--out``, a folder that begins with the small results that are there."""
    kept, given, words = [], out, list(words)
    while words:
        word = words.pop(0)
        if word == "--out" and words:
            given = Path(words.pop(0))
        elif word.startswith("--out="):
            given = Path(word.removeprefix("--out="))
        else:
            kept.append(word)

    def left(where: str, names: list[str]) -> list[str]:
        files = [name for name in names if (Path(where) / name).is_file()]
        return [n for n in files if n.endswith((".npz", ".checkpoint")) or (Path(where) / n).stat().st_size > LARGEST]

    if given.is_dir():
        shutil.copytree(given, folder / "out", ignore=left)
    return [*kept, "--out", str(folder / "out")]


def _code_of(main: Callable[[Sequence[str]], int | None], words: Sequence[str], first: bool) -> int:
    """What it leaves with; an error is said, by every rank that is not the first with its number."""
    try:
        return int(main(words) or 0)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1 if stop.code else 0
    except KeyboardInterrupt as stop:
        if first:
            print(" ".join(str(stop).split()) or "interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if not isinstance(error, EXPECTED):
            traceback.print_exc()
        elif first or not str(error).startswith("rank "):
            print(f"error: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 1 if isinstance(error, ArithmeticError) else 2


def _all_ended(comm: Any, code: int) -> int:
    """Wait for the others; where this rank failed and they do not end, end them."""
    ended, began = comm.Ibarrier(), time.monotonic()
    while not ended.Test():
        if code and time.monotonic() - began > PATIENCE:
            print(f"rank {comm.Get_rank()} left with {code}; the others are stopped", file=sys.stderr, flush=True)
            comm.Abort(code)
        time.sleep(0.01)
    return code
