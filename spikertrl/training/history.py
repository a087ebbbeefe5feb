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


def early_stop(metric: str, patience: int, larger_is_better: bool = False) -> Callable[[History], bool]:
    """Stop rule for ``fit(stop=...)``: no improvement of ``metric`` over its last ``patience`` values.

    >>> rule = early_stop("loss", patience=2)
    >>> rule(History([{"step": i, "loss": x} for i, x in enumerate([3.0, 1.0, 2.0, 2.0])]))
    True
    """
    if patience < 1:
        raise ValueError(f"early_stop: patience must be at least 1, got {patience}")

    def rule(history: History) -> bool:
        if metric not in history.columns:
            return False
        values = history.series(metric)[1] * (1 if larger_is_better else -1)
        return len(values) > patience and bool(values[-patience:].max() <= values[:-patience].max())

    return rule
