"""Sphinx extension: every public name must be documented on some page.

Public are the names of ``spikertrl.__all__`` and, for each module among them, the names of that module's own ``__all__``, or,
if it has none, the functions and classes it defines without a leading underscore.
A name counts as documented if a page describes the same object under any name, so ``spikertrl.learners.rtrl.RTRL`` will do for
``spikertrl.RTRL``. A missing name is a warning, and ``make docs`` turns warnings into errors.
"""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Iterator
from types import ModuleType

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)


def public(module: ModuleType, prefix: str) -> Iterator[tuple[str, object]]:
    """Dotted name and object of everything public in a module, modules within it included."""
    for name in getattr(module, "__all__", None) or defined(module):
        try:
            value = getattr(module, name)
        except ModuleNotFoundError:  # it needs a package that is not installed
            value = None
        if inspect.ismodule(value):
            yield from public(value, f"{prefix}.{name}")
        elif not name.startswith("__"):
            yield f"{prefix}.{name}", value


def defined(module: ModuleType) -> list[str]:
    """Functions and classes a module defines itself."""
    found = inspect.getmembers(module, lambda value: inspect.isroutine(value) or inspect.isclass(value))
    return [name for name, value in found if not name.startswith("_") and value.__module__ == module.__name__]


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn about each public name that no page describes."""
    import spikertrl

    described = set(env.domains["py"].data["objects"])
    identities = {id(found) for name in described if (found := _located(name)) is not None}
    for name, value in public(spikertrl, "spikertrl"):
        if name not in described and id(value) not in identities:
            logger.warning("public name %s is on no page; add it to docs/reference/", name, type="coverage")


def _located(name: str) -> object:
    """What a page describes, if it can be imported."""
    try:
        return pydoc.locate(name)
    except (pydoc.ErrorDuringImport, ImportError):
        return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
