"""Models, learners and tasks of another installed package: a distribution in a folder on the path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import spikertrl as srl
from spikertrl import plugins
from spikertrl.model import ModelError

CODE = """
from spikertrl import SnAp
from spikertrl.models import load
from spikertrl.tasks import delayed_xor

MODEL = load("egru").replace(name="guest", summary="a guest")
NOTHING = 3
Guest = SnAp
guest_task = delayed_xor
"""
POINTS = """
[spikertrl.models]
guest = guest_package:MODEL
egru = guest_package:MODEL
broken = guest_package:absent
nothing = guest_package:NOTHING
[spikertrl.learners]
Guest = guest_package:Guest
[spikertrl.tasks]
guest_task = guest_package:guest_task
"""


def install(folder: Path, name: str, points: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "guest_package.py").write_text(CODE)
    install(tmp_path, "guest", POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("guest_package", None)


def test_they_are_as_if_shipped(guest: Path) -> None:
    assert "guest" in srl.models.names() and "guest" in dir(srl.models) and "Guest" in dir(srl.learners)
    assert "guest_package" not in sys.modules  # not before it is asked for
    assert srl.models.load("guest").summary == srl.models.guest.summary == "a guest"
    assert srl.learners.Guest is srl.SnAp and srl.tasks.guest_task is srl.tasks.delayed_xor
    from spikertrl.models import guest as found

    assert found.name == "guest"
    assert srl.models.load("egru").name == "egru"  # what is shipped comes first


def test_what_cannot_be_had_is_told(guest: Path) -> None:
    with pytest.raises(plugins.PluginError, match=r"'broken' of guest \(guest_package:absent\) cannot be loaded"):
        srl.models.load("broken")
    with pytest.raises(ModelError, match=r"'nothing'.*is a int, not a Model"):
        srl.models.load("nothing")
    install(guest, "second", "[spikertrl.models]\nguest = other:MODEL\n")
    with pytest.raises(plugins.PluginError, match=r"several packages, guest .*, second .*"):
        srl.models.load("guest")


def test_without_them_names_are_what_they_were() -> None:
    assert "guest" not in srl.models.names()
    with pytest.raises(ModelError, match="no model 'guest'"):
        srl.models.load("guest")
    for module in (srl.learners, srl.tasks):
        with pytest.raises(AttributeError, match="has no attribute 'Guest'"):
            _ = module.Guest
