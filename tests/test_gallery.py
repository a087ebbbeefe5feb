"""The examples of the documentation are short, and run from anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "docs" / "gallery").glob("plot_*.py"))


def test_examples_are_short() -> None:
    assert len(SCRIPTS) >= 12
    for script in SCRIPTS:
        lines = script.read_text(encoding="utf-8").splitlines()
        assert len([line for line in lines if line.strip()]) <= 60, f"{script.name} is longer than a screen"


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])
def test_example_runs(script: Path, tmp_path: Path) -> None:
    environment = os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": str(script.parents[2])}
    subprocess.run([sys.executable, str(script)], check=True, cwd=tmp_path, env=environment, timeout=240)
