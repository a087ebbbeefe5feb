"""Many runs of one function: a grid of arguments, on the cores of this machine or on anything that takes ``submit``.

No queue and no scheduler of its own: joblib's processes by default, Dask beyond one machine, or an executor that is given. Each
run that has finished is a file; started again, a sweep does only the rest.
"""

from __future__ import annotations

import csv
import importlib.util
import itertools
import json
import os
import re
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..resources import cores
from ..threads import at_most

Row = dict[str, Any]
EXECUTORS = '"joblib", "dask", "submitit", "serial"'
MINUTES = 24 * 60  # of a job of submitit; give an executor of your own for others
WAIT = 0.05  # seconds between two looks at runs that are going on


@dataclass
class Sweep:
    """``rows``: arguments and results of every run that has finished, in the order of the grid; ``failed``: arguments, error,
    traceback of the others; ``skipped``: runs that had finished before; ``arguments``: their names. ``srl.plot.sweep`` draws.
    """

    rows: list[Row] = field(default_factory=list)
    failed: list[Row] = field(default_factory=list)
    skipped: int = 0
    arguments: tuple[str, ...] = ()

    def write_csv(self, path: str | Path) -> Path:
        """All rows as comma-separated values; columns in the order in which they first appear."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(name for row in self.rows for name in row)))
            writer.writeheader()
            writer.writerows(self.rows)
        return path

    def to_pandas(self) -> Any:
        """All rows as a pandas DataFrame."""
        from ..optional import needed

        return needed("pandas", "to_pandas()").DataFrame(self.rows)


def sweep(
    function: Callable[..., Any], grid: Mapping[str, Sequence[Any]], executor: Any = None, *, out: str | Path | None = None,
    workers: int | None = None, threads: int = 1, progress: bool = True,
) -> Sweep:  # fmt: skip
    """Call ``function(**arguments)`` for every combination of a grid.

    Parameters
    ----------
    function : callable
        Returns a mapping of names to numbers or texts (or one number: column ``value``). It runs in other processes: it makes
        what it needs from its arguments, seeds among them.
    grid : mapping
        Argument -> values; numbers, texts, None or booleans.
    executor : None, "joblib", "dask", "submitit", "serial" or an object with ``submit``
        None: joblib's processes on the cores of this machine. "dask": a local cluster. "submitit": a job of Slurm for every
        run, or processes of this machine where there is no Slurm. An object: a ``concurrent.futures.Executor``, a Dask
        ``Client``, a submitit executor with settings of its own; it is not shut down.
    out : path, optional
        Folder for one file a run and ``table.csv``. Runs whose file is there are skipped.
    workers : int, optional
        Processes of "joblib" and "dask", jobs of "submitit" at a time; default: cores divided by ``threads``, of Slurm all.
    threads : int
        Threads of compiled loops and BLAS in each run.
    progress : bool
        Show a bar over the runs.

    Returns
    -------
    Sweep
        A run that fails is reported there with its arguments, and in the bar's place; the others go on.

    Raises
    ------
    ValueError
        For an empty grid, an executor that cannot be used, or files in ``out`` of other arguments.
    ModuleNotFoundError
        If joblib or distributed is not installed.

    Examples
    --------
    >>> import spikertrl as srl
    >>> def area(wide, high):
    ...     return {"area": wide * high}
    >>> found = srl.sweep(area, {"wide": [1, 2], "high": [3]}, "serial", progress=False)
    >>> found.rows
    [{'wide': 1, 'high': 3, 'area': 3}, {'wide': 2, 'high': 3, 'area': 6}]
    """
    runs = combinations(grid)
    folder = Path(out) if out is not None else None
    done = {i: row for i, run in enumerate(runs) if (row := _load(folder, run)) is not None}
    waiting = {i: run for i, run in enumerate(runs) if i not in done}
    result = Sweep(skipped=len(done), arguments=tuple(grid))
    with _executor(executor, min(workers or max(1, cores() // threads), max(1, len(waiting))), threads, folder) as pool:
        bar = tqdm(total=len(runs), initial=len(done), disable=not progress, unit="run", dynamic_ncols=True)
        with bar:
            for i, found in _results(pool, function, waiting, threads, workers):
                if "error" in found:
                    result.failed.append(waiting[i] | found)
                    bar.write(f"failed: {describe(waiting[i])}: {found['error']}")
                else:
                    done[i] = _store(folder, waiting[i], found["result"])
                bar.update()
    result.rows = [done[i] for i in sorted(done)]
    if folder:
        result.write_csv(folder / "table.csv")
    return result


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[Row]:
    """Every combination, the last argument fastest."""
    for name, values in grid.items():
        if isinstance(values, str) or not len(values):
            raise ValueError(f"sweep: {name} has the values {values!r}; legal: a list of at least one value")
        if wrong := [v for v in values if not isinstance(v, (bool, int, float, str, np.number, type(None)))]:
            raise ValueError(f"sweep: {name} has the value {wrong[0]!r}; legal: numbers, texts, booleans, None")
    return [dict(zip(grid, _plain(list(values)), strict=True)) for values in itertools.product(*grid.values())]


def describe(run: Row) -> str:
    """Arguments as text.

    >>> describe({"omega": 0.5, "seed": 1})
    'omega=0.5 seed=1'
    """
    return " ".join(f"{name}={value}" for name, value in run.items())


def key(run: Row) -> str:
    """Name of a run's file: its arguments, and a checksum that tells apart what a file name cannot.

    >>> key({"omega": 0.5, "seed": 1}).rpartition("-")[0]
    'omega=0.5_seed=1'
    """
    return re.sub(r"[^\w.=+-]+", "_", describe(run))[:120] + f"-{zlib.crc32(json.dumps(run).encode()):08x}"


def _load(folder: Path | None, run: Row) -> Row | None:
    """Arguments and result of a run that has finished."""
    path = folder / f"{key(run)}.json" if folder else None
    if path is None or not path.exists():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept["arguments"] != run:
        raise ValueError(f"{path} is the file of {describe(kept['arguments'])}, not of {describe(run)}; use another folder")
    return run | kept["result"]


def _store(folder: Path | None, run: Row, result: Row) -> Row:
    """Write a run, whole or not at all; returns the row as it will be read."""
    text = json.dumps({"arguments": run, "result": result})
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{key(run)}.json"
        draft = path.with_name(f"{path.name}.{os.getpid()}.part")
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    return run | json.loads(text)["result"]


def _results(
    pool: Any, function: Callable[..., Any], runs: dict[int, Row], threads: int, workers: int | None
) -> Iterator[tuple[int, Row]]:
    """Number and result of every run, as they finish."""
    if pool is None:
        for i, run in runs.items():
            yield i, one_run(function, run, threads)
        return
    going, waiting, most = {}, dict(runs), _jobs_at_a_time(pool, workers) or len(runs)
    try:
        while going or waiting:
            while waiting and len(going) < most:
                i = next(iter(waiting))
                going[i] = pool.submit(one_run, function, waiting.pop(i), threads)
            for i in [i for i, job in going.items() if job.done()]:
                yield i, _result(going.pop(i))
            time.sleep(WAIT if going or waiting else 0)
    finally:
        for job in going.values():
            job.cancel()


def _jobs_at_a_time(pool: Any, workers: int | None) -> int | None:
    """submitit starts every job at once, on one machine too; others have a queue."""
    if not type(pool).__module__.startswith("submitit"):
        return None
    return workers or (None if getattr(pool, "cluster", "") == "slurm" else cores())


def _result(job: Any) -> Row:
    """Of a job; its process may be gone."""
    try:
        return job.result()
    except Exception as error:
        return _failure(error)


def one_run(function: Callable[..., Any], run: Row, threads: int) -> Row:
    """In the worker: ``result``, or ``error`` and ``traceback``, of one run with so many threads."""
    from threadpoolctl import threadpool_limits

    try:
        with threadpool_limits(threads), at_most(threads):
            found = function(**run)
        return {"result": _plain(dict(found) if isinstance(found, Mapping) else {"value": found})}
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> Row:
    return {"error": f"{type(error).__name__}: {error}", "traceback": "".join(traceback.format_exception(error))}


def _plain(value: Any) -> Any:
    """Numbers of numpy as those of Python, so that they can be written."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value.tolist() if isinstance(value, np.ndarray) else value


@contextmanager
def _executor(wanted: Any, workers: int, threads: int, folder: Path | None) -> Iterator[Any]:
    """What takes ``submit``, or None for this process."""
    if wanted == "serial":
        yield None
    elif wanted in (None, "joblib"):
        _need("joblib", 'sweep(executor="joblib")', "sweep")
        from joblib.externals.loky import get_reusable_executor  # type: ignore[import-not-found]

        pool, kill = get_reusable_executor(max_workers=workers, reuse=False), True
        try:
            yield pool
            kill = False  # workers that are done go by themselves, and leave nothing behind
        finally:
            pool.shutdown(wait=True, kill_workers=kill)
    elif wanted == "dask":
        _need("distributed", 'sweep(executor="dask")', "dask")
        from distributed import Client, LocalCluster  # type: ignore[import-not-found]

        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client
    elif wanted == "submitit":
        _need("submitit", 'sweep(executor="submitit")', "submitit")
        from submitit import AutoExecutor  # type: ignore[import-not-found]

        executor = AutoExecutor(folder=(folder or Path("results")) / "jobs")
        executor.update_parameters(timeout_min=MINUTES, cpus_per_task=threads, name="sweep")
        yield executor
    elif hasattr(wanted, "submit"):
        yield wanted
    else:
        raise ValueError(f'sweep: executor is {wanted!r}; legal: None, {EXECUTORS}, an object with submit')


def _need(package: str, what: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        ways = f"install it with: pip install 'spikertrl[{extra}]', or use executor=\"serial\""
        raise ModuleNotFoundError(f"{what} needs the package {package!r}; {ways}")


def parse_grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """A grid from the command line: ``name=a,b,c`` or ``name=first:end`` (whole numbers, the end left out).

    >>> parse_grid(["omega=0,0.5", "seed=0:3", "model=egru"])
    {'omega': [0, 0.5], 'seed': [0, 1, 2], 'model': ['egru']}
    """
    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not (name.isidentifier() and equals and values) or name in grid:
            raise ValueError(f"--grid {text!r}: legal: name=a,b,c or name=first:end, each name once")
        span = re.fullmatch(r"(-?\d+):(-?\d+)", values)
        grid[name] = list(range(int(span[1]), int(span[2]))) if span else [_value(v) for v in values.split(",")]
    return grid


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


@dataclass(frozen=True)
class Experiment:
    """An experiment as a function of its options: one folder a run, ``out/key``; raises RuntimeError if its code is not 0."""

    name: str
    out: Path

    def __call__(self, **options: Any) -> Row:
        from ..experiments import load

        folder = self.out / key(options)
        words = [w for name, value in options.items() for w in _option(name, value)]
        began = time.perf_counter()
        try:
            code = load(self.name)([*words, "--out", str(folder)])
        except SystemExit as stop:  # argparse
            code = stop.code
        if code:
            raise RuntimeError(f"{self.name} {' '.join(words)} left with {code}")
        return {"seconds": round(time.perf_counter() - began, 3)} | _told(folder / "table.csv") | {"out": str(folder)}


def _told(path: Path) -> Row:
    """The numbers of the table that an experiment leaves: "row, column", a row being called by its first entry."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        (_, label), *rest = row.items()
        found |= {f"{label}, {name}": float(text) for name, text in rest if text and re.fullmatch(NUMBER, text)}
    return found


NUMBER = r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?"


def _option(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    return [] if value is False or value is None else [flag] if value is True else [flag, str(value)]
