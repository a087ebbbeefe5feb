"""The command ``spikertrl``: demo, run, sweep, models, check, warm, info.

Exit codes: 0 all is well; 1 a law does not hold, or an experiment failed; 2 the call was wrong; 130 interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Event-driven recurrent networks that learn while they run.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
EXPECTED = (ValueError, OSError, ImportError, ArithmeticError)  # ModelError and NetworkError are ValueErrors
_settings = {"debug": False}


@contextmanager
def plain_errors() -> Iterator[None]:
    """Say expected errors in one line on stderr and leave with their code; with ``--debug``, let them pass."""
    try:
        yield
    except KeyboardInterrupt as stop:
        typer.echo(" ".join(str(stop).split()) or "interrupted", err=True)
        raise typer.Exit(130) from None
    except EXPECTED as error:
        if _settings["debug"]:
            raise
        typer.echo(f"error: {' '.join(str(error).split()) or type(error).__name__}", err=True)
        raise typer.Exit(1 if isinstance(error, ArithmeticError) else 2) from None


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("spikertrl"))
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Event-driven recurrent networks that learn while they run."""
    _settings["debug"] = debug


@app.command()
@plain_errors()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("results/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Train less.")] = False,
) -> None:
    """Watch an event-based GRU learn online, exactly; writes figures."""
    from .demo import main as show

    show(out, quick)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False})
@plain_errors()
def run(
    context: typer.Context,
    experiment: Annotated[str | None, typer.Argument(help="Name of an experiment; the options after it are its own.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the experiments.")] = False,
) -> None:
    """Run an experiment: spikertrl run NAME [its options]; spikertrl run NAME --help shows them.

    mpiexec -n 4 spikertrl run NAME shares its learners out over four ranks; the first prints, draws and writes.
    """
    from . import experiments as _experiment

    if list_ or experiment is None:
        for name, summary in _experiment.summaries().items():
            typer.echo(f"{name:32} {summary}")
        if not _experiment.names():
            typer.echo(f"no experiments in {_experiment.FOLDER}", err=True)
        raise typer.Exit(0 if list_ else 2)
    main, words = _experiment.load(experiment), context.args
    if _experiment.ranks_started() > 1:
        from .parallel.world import run_together

        _leave(run_together(main, words, Path("results") / experiment))
    _leave(main(words))


@app.command()
@plain_errors()
def sweep(
    experiment: Annotated[str, typer.Argument(help="Name of an experiment; it has to know --out.")],
    more: Annotated[list[str] | None, typer.Argument(help="More of the grid.", metavar="[NAME=VALUES]...")] = None,
    grid: Annotated[list[str] | None, typer.Option(help="Values of an option: name=a,b,c or name=first:end.")] = None,
    on: Annotated[str, typer.Option(help="joblib, dask, submitit (Slurm) or serial.")] = "joblib",
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, with --on dask.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; default: one a core.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for results; default results/sweep_NAME.")] = None,
) -> None:
    """Run an experiment for a grid of its options: spikertrl sweep NAME --grid omegas=0,0.9 steps=100,200."""
    from . import experiments as _experiment
    from .parallel.runs import Experiment, parse_grid
    from .parallel.runs import sweep as _sweep

    _experiment.load(experiment)
    folder, values = out or Path("results") / f"sweep_{experiment}", parse_grid([*(grid or []), *(more or [])])
    found = _sweep(Experiment(experiment, folder), values, _scheduled(on, scheduler), out=folder, workers=workers)
    if found.rows:
        from .plot import sweep as draw

        draw(found).savefig(folder / "sweep.png", dpi=150)
    before, failed = f"{found.skipped} of them from before", f"{len(found.failed)} failed"
    typer.echo(f"{len(found.rows)} runs, {before}, {failed}; {folder / 'table.csv'}, sweep.png")
    _leave(1 if found.failed else 0)


def _scheduled(on: str, scheduler: str | None) -> object:
    """The executor that the options of ``sweep`` ask for."""
    if scheduler is None:
        return on
    if on != "dask":
        raise ValueError(f"--scheduler is for --on dask, not for --on {on}")
    from .optional import needed

    return needed("distributed", "--scheduler").Client(scheduler)


@app.command()
@plain_errors()
def models(
    name: Annotated[str | None, typer.Argument(help="Name of a shipped model, or path of a file of your own.")] = None,
    source: Annotated[bool, typer.Option("--source", help="Show the generated code instead.")] = False,
    dtype: Annotated[str, typer.Option(help="Type of the generated code: float32 or float64.")] = "float32",
) -> None:
    """List the models; with NAME, its equations, parameters and derived Jacobian."""
    from . import models as door
    from .compile import describe as _describe

    if name is None:
        if source:
            raise ValueError("--source needs the name of a model; spikertrl models lists them")
        for known in door.names():
            typer.echo(f"{known:24} {door.load(known).summary}")
        return
    from .compile.cell import compile_model

    cell = compile_model(door.load(name), dtype)
    typer.echo(cell.source if source else _describe.describe(cell))


@app.command()
@plain_errors()
def check(path: Annotated[str, typer.Argument(help="A .py file that assigns MODEL, or the name of a shipped model.")]) -> None:
    """Hold a model to the laws: exact gradients, units, sparse equals dense, and the rest. Leaves with 1 if one is broken."""
    from .checks.check import check_model
    from .models import load

    report = check_model(load(path))
    typer.echo(str(report))
    _leave(0 if report.passed else 1)


@app.command()
@plain_errors()
def warm(
    models: Annotated[list[str] | None, typer.Argument(help="Models, or files of your own; default egru.")] = None,
    learners: Annotated[str, typer.Option(help="Names of learners, with commas.")] = "RTRL,EProp,BPTT",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    workers: Annotated[int | None, typer.Option(help="Processes; default: one a core.")] = None,
) -> None:
    """Compile now what would be compiled at first use, in several processes; SPIKERTRL_CACHE says where it is kept."""
    from .warm import warm as _warm

    for model, learner, seconds in _warm(models or ["egru"], [name.strip() for name in learners.split(",")], dtype, workers):
        typer.echo(f"{model:24} {learner:8} {seconds:6.1f} s")


@app.command()
@plain_errors()
def info() -> None:
    """Versions, cores, threads and the cache of compiled models."""
    for label, value in installation().items():
        typer.echo(f"{label:12} {value}")


def _leave(code: int | None) -> None:
    """End the command with a code; None is 0."""
    raise typer.Exit(int(code or 0))


def installation() -> dict[str, str]:
    """What a report of a problem should say: versions, cores, threads, cache.

    >>> list(installation())
    ['spikertrl', 'python', 'numpy', 'numba', 'brian2', 'cores', 'threads', 'cache']
    """
    import platform

    from .compile.cell import cache_folder
    from .resources import cores
    from .threads import describe as threads

    files = [path for path in cache_folder().rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    python = f"{platform.python_version()} ({platform.system()} {platform.machine()})"
    found = {"spikertrl": _installed("spikertrl"), "python": python}
    found |= {name: _installed(name) for name in ("numpy", "numba", "brian2")}
    kept = f"{cache_folder()} ({len(files)} files, {size:.1f} MB)"
    return found | {"cores": str(cores()), "threads": threads(), "cache": kept}


def _installed(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Entry point of the command.

    >>> from typer.testing import CliRunner
    >>> CliRunner().invoke(app, ["models"]).stdout.splitlines()[0].split()[0]
    'adex'
    """
    os.environ.setdefault("MPLBACKEND", "Agg")  # experiments that use pyplot must not need a display
    app(prog_name="spikertrl")
