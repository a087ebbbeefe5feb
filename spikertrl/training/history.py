"""History: what training wrote down, one row per step, and how it leaves the program (CSV, JSON lines)."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..html import table
from ..optional import needed

KINDS = "biufU"  # of numpy's types: what a column may hold
FULL = {"step", "loss", "activity"}  # columns that every row of training has


@dataclass
class History:
    """Rows of named numbers; every row has "step", other columns may be missing in some rows (validation).

    >>> history = History([{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.6, "valid_accuracy": 0.9}])
    >>> history["loss"].tolist(), history.series("valid_accuracy")
    ([0.7, 0.6], (array([2]), array([0.9])))
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    routes: dict[str, int] = field(default_factory=dict)  # of the learner, how often each ran since training began or went on

    def __repr__(self) -> str:
        return f"History({len(self)} steps; columns {', '.join(self.columns) or 'none'})"

    def _repr_html_(self) -> str:
        newest = [(name, self[name][0], self.last(name)) for name in self.columns]
        return table(f"History, {len(self)} steps", newest, ("column", "first", "last"))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> np.ndarray:
        """A column as floats, nan where a row lacks it. Raises KeyError, listing the columns, if no row has it."""
        if not any(name in row for row in self.rows):
            raise KeyError(f"history has no column {name!r}; columns: {self.columns}")
        return np.array([row.get(name, np.nan) for row in self.rows], float)

    @property
    def columns(self) -> list[str]:
        """Names of all columns, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(steps, values) of the rows that have the column."""
        values = self[name]
        there = ~np.isnan(values)
        return self["step"][there].astype(int), values[there]

    def last(self, name: str) -> float:
        """Newest value of a column."""
        return float(self.series(name)[1][-1])

    def to_csv(self, path: str | Path) -> Path:
        """Write all rows as CSV."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)
        return path

    def to_jsonl(self, path: str | Path) -> Path:
        """Write one JSON object a line."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        return path

    def to_pandas(self) -> Any:
        """All rows as a pandas.DataFrame, nan where a row lacks a column; needs the extra ``pandas``."""
        return needed("pandas", "history.to_pandas()").DataFrame(self.rows, columns=self.columns)

    @classmethod
    def from_jsonl(cls, path: str | Path) -> History:
        """Read what ``to_jsonl`` wrote."""
        return cls([json.loads(line) for line in Path(path).read_text().splitlines()])

    def to_columns(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Name -> (places of the rows that have the column, its values there): a tenth of the rows' memory.

        >>> History([{"step": 1}, {"step": 2, "valid": 0.5}]).to_columns()["valid"]
        (array([1]), array([0.5]))

        Raises ValueError where a column holds something else than numbers or text.
        """
        places: dict[str, list[int]] = {}
        values: dict[str, list[Any]] = {}
        for k, row in enumerate(self.rows):
            for name, value in row.items():
                places.setdefault(name, []).append(k)
                values.setdefault(name, []).append(value)
        return {name: (np.array(places[name], np.int64), _column(name, values[name])) for name in places}

    @classmethod
    def from_columns(cls, columns: dict[str, tuple[np.ndarray, np.ndarray]]) -> History:
        """The history of which ``to_columns`` made this."""
        rows: list[dict[str, Any]] = [{} for _ in range(1 + max((places[-1] for places, _ in columns.values()), default=-1))]
        for name, (places, values) in columns.items():
            for k, value in zip(places.tolist(), values.tolist(), strict=True):
                rows[k][name] = value
        return cls(rows)


def _column(name: str, values: list[Any]) -> np.ndarray:
    try:
        found = np.array(values)
    except ValueError:  # lists of different lengths
        found = np.empty(0, object)
    if found.ndim != 1 or found.dtype.kind not in KINDS:
        odd = next(value for value in values if np.ndim(value) or np.asarray(value).dtype.kind not in KINDS)
        raise ValueError(f"history: column {name!r} holds {odd!r}; legal: numbers, truth values, text")
    return found


def wrong_with(saved: Any) -> str:
    """What is wrong with a history from a file, its columns or (in older files) its rows, or nothing."""
    if isinstance(saved, dict):
        return _wrong_columns(saved)
    if not isinstance(saved, list):
        return f"its history is a {type(saved).__name__}, no columns"
    for k, row in enumerate(saved, 1):
        numbers = isinstance(row, dict) and all(isinstance(n, str) and _is_number(v) for n, v in row.items())
        if not numbers or not FULL <= set(row) or row["step"] != k:
            return f"row {k} of its history is {row!r}"
    return ""


def _wrong_columns(columns: dict[Any, Any]) -> str:
    """What is wrong with the columns of a history, or nothing."""
    for name, column in columns.items():
        pair = isinstance(name, str) and isinstance(column, tuple) and [type(part) for part in column] == [np.ndarray] * 2
        if not pair or any(part.ndim != 1 for part in column) or len(column[0]) != len(column[1]):
            return f"column {name!r} of its history is no pair of places and values"
        if column[0].dtype != np.int64 or column[1].dtype.kind not in KINDS:
            return f"column {name!r} of its history holds {column[1].dtype} at {column[0].dtype}, not numbers or text at places"
    steps = len(columns["step"][0]) if "step" in columns else 0
    for name, (places, values) in columns.items():
        if len(places) and not (0 <= places[0] and places[-1] < steps and (np.diff(places) > 0).all()):
            return f"column {name!r} of its history is of rows that are not there"
        if name == "step" and not np.array_equal(values, np.arange(1, steps + 1)):
            return "the steps of its history are not 1, 2, 3 and so on"
    short = [name for name in sorted(FULL) if steps and len(columns.get(name, [()])[0]) != steps]
    return f"its history lacks {', '.join(short)} in some rows" if short else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, np.ndarray) and not value.shape)


def early_stop(metric: str, patience: int, larger_is_better: bool = False) -> Callable[[History], bool]:
    """Stop rule for ``fit(stop=...)``: no improvement of ``metric`` over its last ``patience`` values.

    >>> rule = early_stop("loss", patience=2)
    >>> rule(History([{"step": i, "loss": x} for i, x in enumerate([3.0, 1.0, 2.0, 2.0])]))
    True
    """
    if patience < 1:
        raise ValueError(f"early_stop: patience must be at least 1, got {patience}")

    asked: History | None = None
    read, since, best = 0, -1, np.nan  # rows looked at; values since the best one; the best one

    def rule(history: History) -> bool:
        nonlocal asked, read, since, best
        if history is not asked or len(history) < read:
            asked, read, since, best = history, 0, -1, np.nan
        for row in history.rows[read:]:
            value = float(row.get(metric, np.nan)) * (1 if larger_is_better else -1)
            if not np.isnan(value):
                better = not value <= best
                since, best = (0, value) if better else (since + 1, best)
        read = len(history)
        return since >= patience

    return rule
