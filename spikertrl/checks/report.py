"""What becomes of the laws of ``checks``: one Law each, a Report of all, and ``judge``, which tries one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..html import table


@dataclass(frozen=True)
class Law:
    """One law: ``status`` "passed", "failed", "warned" or "skipped", the ``figure``, its ``tolerance``, and a reason.

    "warned" says that no law is broken and that the result is probably not what is wanted.
    """

    name: str
    status: str
    figure: float | None = None
    tolerance: float | None = None
    reason: str = ""

    def __str__(self) -> str:
        measured = "" if self.figure is None else f"{self.figure:.3g}"
        measured += "" if self.tolerance is None else f" (tolerance {self.tolerance:.3g})"
        return f"{self.status:<7}  {self.name:<44}  {'; '.join(filter(None, (measured, self.reason)))}".rstrip()


@dataclass(frozen=True)
class Report:
    """What became of every law for one subject.

    Examples
    --------
    >>> report = Report("unit", (Law("memory is flat", "passed", 0.0, 0.0), Law("alive", "skipped", reason="sends always")))
    >>> report.passed, report["alive"].status
    (True, 'skipped')
    >>> print(report)
    unit: 1 passed, 0 failed, 1 skipped
      passed   memory is flat                                0 (tolerance 0)
      skipped  alive                                         sends always
    """

    subject: str
    laws: tuple[Law, ...]

    @property
    def passed(self) -> bool:
        """No law failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Law, ...]:
        """The laws that failed."""
        return tuple(law for law in self.laws if law.status == "failed")

    def __getitem__(self, name: str) -> Law:
        return {law.name: law for law in self.laws}[name]

    def _repr_html_(self) -> str:
        rows = [(law.status, law.name, "" if law.figure is None else law.figure, law.reason) for law in self.laws]
        return table(self.subject, rows, ("", "law", "figure", "reason"))

    def __str__(self) -> str:
        found = [law.status for law in self.laws]
        kinds = ("passed", "failed", "skipped", *(["warned"] if "warned" in found else []))
        counts = ", ".join(f"{found.count(s)} {s}" for s in kinds)
        return "\n".join((f"{self.subject}: {counts}", *(f"  {law}" for law in self.laws)))


class Skip(Exception):
    """A law does not apply, with the reason."""


class Warn(Exception):
    """No law is broken; what is probably not wanted, with the figure and its tolerance."""

    def __init__(self, reason: str, figure: float, tolerance: float) -> None:
        super().__init__(reason)
        self.figure, self.tolerance = figure, tolerance


def judge(name: str, law: Callable[[], Any]) -> Law:
    """Try a law, which returns (figure, tolerance) with figure <= tolerance wanted, or what is wrong, or None; never raises."""
    try:
        found = law()
    except Skip as reason:
        return Law(name, "skipped", reason=str(reason))
    except Warn as told:
        return Law(name, "warned", told.figure, told.tolerance, str(told))
    except Exception as error:  # a law that cannot be tried has failed
        return Law(name, "failed", reason=f"{type(error).__name__}: {error}")
    if isinstance(found, tuple):
        figure, tolerance = float(found[0]), float(found[1])
        return Law(name, "passed" if figure <= tolerance else "failed", figure, tolerance, *found[2:])
    return Law(name, "failed" if found else "passed", reason=found or "")
