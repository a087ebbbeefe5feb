"""Optional packages, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any


def needed(package: str, what: str, extra: str | None = None) -> Any:
    """Import an optional package; ``extra`` brings it, by default the one of its name.

    Raises
    ------
    ModuleNotFoundError
        Naming the extra that brings it.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name not in (package, None) and error.name != package.split(".")[0]:
            raise
        extra = extra or package.split(".")[0]
        why = f"{what} needs the package {package!r}; install it with: pip install 'spikertrl[{extra}]'"
        raise ModuleNotFoundError(why, name=package) from None


def member(of: str, names: list[str], package: str, home: str, name: str) -> Any:
    """What ``of.__getattr__(name)`` returns for one of ``names``, which stand in the file ``home`` and need ``package``.

    Raises
    ------
    AttributeError
        If it is none of them.
    ModuleNotFoundError
        As in ``needed``.
    """
    if name not in names:
        raise AttributeError(f"module {of!r} has no attribute {name!r}")
    needed(package, f"srl.{of.rpartition('.')[2]}.{name}")
    return getattr(importlib.import_module(home), name)
