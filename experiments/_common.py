"""What the experiments share: options of the command line, results that survive an interruption, tables and figures."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spikertrl.plot.axes import axes as plain_axes


def parser(name: str, text: str | None, steps: int, seeds: int) -> argparse.ArgumentParser:
    """Options that every experiment has; ``text`` is the docstring of the script."""
    found = argparse.ArgumentParser(name, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--seeds", type=positive, default=seeds, help=f"seeds 0 .. N-1 (default {seeds})")
    found.add_argument("--steps", type=positive, default=steps, help=f"training steps of a run (default {steps})")
    found.add_argument("--out", type=Path, default=Path("results") / name, help=f"folder for results (default results/{name})")
    found.add_argument("--quick", action="store_true", help="a small version, to see that everything works")
    found.add_argument("--again", action="store_true", help="also repeat runs whose results are there already")
    return found


def positive(text: str) -> int:
    """A whole number >= 1, for argparse.

    >>> positive("3")
    3
    """
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= 1")
    return int(text)


def load(path: Path, again: bool = False) -> dict[str, Any] | None:
    """The result of a finished run, or None."""
    return None if again or not path.exists() else json.loads(path.read_text())


def store(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Write a finished run, whole or not at all; returns it as it will be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, default=_plain) + "\n"
    draft = path.with_suffix(".part")
    draft.write_text(text)
    os.replace(draft, path)
    return json.loads(text)


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Rows as comma-separated values; columns in the order in which they first appear."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot write a {type(value).__name__} to JSON")


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of text or numbers, the first one the head, as aligned columns.

    >>> print(table([("n", "bits"), (16, 3.25)]))
    n   bits
    16  3.25
    """
    cells = [[f"{c:.4g}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def absent(name: str, error: Exception) -> int:
    """Say that data are missing; the exit code for it."""
    print(f"{name}: skipped. {error}", file=sys.stderr)
    return 2


def axes(width: float = 6.4, height: float = 4.2) -> Any:
    """Axes of a new figure that needs no display, in the style of ``spikertrl.plot``."""
    return plain_axes(None, (width, height))
