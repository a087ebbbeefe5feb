"""What is said while something is compiled, and what a bar makes of the first step; no clock is waited for."""

from __future__ import annotations

import io
from typing import Any

import pytest
import tqdm.std
from numba import njit

from spikertrl.compile import notice
from spikertrl.compile.cache import PACKAGE, cache_folder
from spikertrl.training import fit
from spikertrl.training.history import History


class Clock:
    """A timer that goes off when it is told, and remembers."""

    made: list[Clock]

    def __init__(self, delay: float, tell: Any, arguments: tuple[str]) -> None:
        self.delay, self.tell, self.arguments, self.cancelled = delay, tell, arguments, False
        self.made.append(self)

    def start(self) -> None:
        pass

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> list[Clock]:
    monkeypatch.setattr(Clock, "made", [], raising=False)
    for name, value in (("Timer", Clock), ("_spent", {}), ("_told", set())):
        monkeypatch.setattr(notice, name, value)
    monkeypatch.setattr(notice.logger, "disabled", False)
    return Clock.made


def test_a_long_compilation_is_told_once(clocks: list[Clock], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "spikertrl.compile"):
        with notice.compiling("egru"):
            with notice.compiling("inside"):  # belongs to what began
                pass
            (clock,) = clocks
            clock.tell(*clock.arguments)
        clock.tell(*clock.arguments)
        with notice.compiling("egru"):
            pass
    assert clock.delay == notice.PATIENCE and clock.cancelled and len(clocks) == 1
    assert [r.getMessage() for r in caplog.records] == ["compiling egru (once; later starts take it from the cache)"]


def test_short_ones_add_up(clocks: list[Clock], monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.5, 10.0, 10.1])
    monkeypatch.setattr(notice.time, "monotonic", lambda: next(now))
    for _ in range(2):
        with notice.compiling("lif"):
            pass
    assert [clock.delay for clock in clocks] == [notice.PATIENCE, notice.PATIENCE - 1.5]


@pytest.mark.parametrize(
    ("file", "thing"),
    [
        (PACKAGE / "learners" / "x.py", "the loops of the learners"),
        (cache_folder() / "mine_2_float64_0f_1a.py", "mine_2"),
        (PACKAGE.parent / "tests" / "x.py", None),
    ],
)
def test_numba_says_what_is_compiled(file: Any, thing: str | None, clocks: list[Clock]) -> None:
    namespace: dict[str, Any] = {}
    exec(compile("def probe(x):\n    return x + 1\n", str(file), "exec"), namespace)
    assert njit(namespace["probe"])(1) == 2
    assert [(clock.arguments[0], clock.cancelled) for clock in clocks] == ([] if thing is None else [(thing, True)])


def test_the_first_step_is_no_measure_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 s, then 1 s a step: after three of ten, 7 s are left."""
    now = [0.0]
    monkeypatch.setattr(tqdm.std, "time", lambda: now[0])
    monkeypatch.setattr(tqdm.std.tqdm, "monitor_interval", 0)
    monkeypatch.setattr(fit, "tqdm", lambda **given: tqdm.std.tqdm(file=io.StringIO(), **given))
    bar, history = fit._bar(10, 0, True), History([{"step": 1, "loss": 0.5, "activity": 0.25}])
    for step in range(3):
        now[0] += 1.0 if step else 100.0
        fit._count(bar, history, first=step == 0)
    assert "| 3/10 [00:02<00:07," in str(bar) and "loss=0.5, active=25%" in str(bar)
    bar.close()
