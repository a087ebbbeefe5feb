"""Models, learners and tasks of other installed packages, found by their entry points.

A package adds its own by a line of its metadata, in ``pyproject.toml`` for instance

    [project.entry-points."spikertrl.models"]
    resonator = "my_package.resonator:MODEL"

and the same in "spikertrl.learners" and "spikertrl.tasks"; then ``models.load("resonator")``, ``learners.Mine`` and
``tasks.mine`` are there as if they had come with this package. Nothing of the other package is imported before that.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any


class PluginError(ImportError):
    """What an installed package says it adds cannot be had."""


def names(group: str) -> tuple[str, ...]:
    """Names that installed packages add to a group, in alphabetical order.

    >>> isinstance(names("spikertrl.models"), tuple)
    True
    """
    return tuple(sorted({point.name for point in metadata.entry_points(group=group)}))


def load(group: str, name: str) -> Any:
    """What an installed package adds under a name.

    Raises
    ------
    KeyError
        If there is no such name.
    PluginError
        If two packages add it, or the package fails to import; names the package.
    """
    points = list(metadata.entry_points(group=group, name=name))
    if not points:
        raise KeyError(name)
    origins = sorted({f"{point.dist.name} ({point.value})" if point.dist else point.value for point in points})
    if len(origins) > 1:
        raise PluginError(f"{group}: {name!r} is added by several packages, {', '.join(origins)}; uninstall all but one")
    try:
        return points[0].load()
    except Exception as error:
        raise PluginError(f"{group}: {name!r} of {origins[0]} cannot be loaded: {type(error).__name__}: {error}") from error


def attribute(group: str, module: str, name: str) -> Any:
    """What ``module.__getattr__(name)`` returns for a module to which installed packages add.

    Raises
    ------
    AttributeError
        If none does.
    """
    if not name.startswith("_"):
        try:
            return load(group, name)
        except KeyError:
            pass
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
