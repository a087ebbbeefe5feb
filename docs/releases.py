"""Put a built documentation beside those of other releases: ``python docs/releases.py docs/_build/html SITE``.

SITE is a folder that any host of files can serve, and that opens without one: ``SITE/0.1.0/`` and so on, ``SITE/stable/`` (the
newest that is no pre-release), an index that leads there, and ``versions.js``, which all pages of all releases read, so that
old ones know the new. A release that is put in again takes the place of itself; the others are left as they were built.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from packaging.version import InvalidVersion, Version

FIRST = """<!doctype html>
<title>spikertrl</title>
<meta http-equiv="refresh" content="0; url=stable/index.html">
<a href="stable/index.html">spikertrl</a>
"""


def version_of(built: Path) -> str:
    """The version that Sphinx wrote into its inventory of names."""
    with (built / "objects.inv").open("rb") as file:
        return [file.readline().decode().strip() for _ in range(3)][2].removeprefix("# Version: ")


def put(built: Path, site: Path) -> list[str]:
    """Copy ``built`` into ``site``; the versions that are there, newest first."""
    _copy(built, site / version_of(built))
    versions = sorted(filter(_is_version, (path.name for path in site.iterdir() if path.is_dir())), key=Version, reverse=True)
    stable = next((v for v in versions if not Version(v).is_prerelease), versions[0])
    _copy(site / stable, site / "stable")
    (site / "versions.js").write_text(f"const VERSIONS = {json.dumps(versions)};\n", encoding="utf-8")
    (site / "index.html").write_text(FIRST, encoding="utf-8")
    return versions


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def _is_version(name: str) -> bool:
    try:
        Version(name)
    except InvalidVersion:
        return False
    return True


if __name__ == "__main__":
    print(f"{sys.argv[2]}/index.html, versions: {', '.join(put(Path(sys.argv[1]), Path(sys.argv[2])))}")
