"""The documentation of several releases in one folder."""

from __future__ import annotations

import runpy
from pathlib import Path

put = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "releases.py"))["put"]


def built(folder: Path, version: str, text: str) -> Path:
    folder.mkdir()
    (folder / "index.html").write_text(text)
    (folder / "objects.inv").write_bytes(f"# Sphinx inventory version 2\n# Project: p\n# Version: {version}\n# \n".encode())
    return folder


def test_releases_stand_side_by_side(tmp_path: Path) -> None:
    site = tmp_path / "site"
    for version in ("0.9.0", "0.10.0", "0.11.0rc1"):
        found = put(built(tmp_path / version, version, version), site)
    assert found == ["0.11.0rc1", "0.10.0", "0.9.0"]
    assert (site / "versions.js").read_text() == 'const VERSIONS = ["0.11.0rc1", "0.10.0", "0.9.0"];\n'
    assert {(site / name / "index.html").read_text() for name in ("stable", "0.10.0")} == {"0.10.0"}
    assert "stable/index.html" in (site / "index.html").read_text()
    put(built(tmp_path / "again", "0.10.0", "mended"), site)
    assert [(site / name / "index.html").read_text() for name in ("stable", "0.9.0")] == ["mended", "0.9.0"]
