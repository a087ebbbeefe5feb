"""Sphinx extension: puts the docstring of every shipped model file where a page says ``<!-- models -->``.

The docstrings are Markdown already; only their examples are fenced, and their code marks reduced to one backtick.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from sphinx.application import Sphinx

from spikertrl import models

MARK = "<!-- models -->"


def section(path: Path) -> str:
    """One model file as Markdown: its name, its docstring, its examples as code."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    text = re.sub(r"((?:^(?:>>>|\.\.\.) .*\n?(?:^(?!>>>).+\n?)*)+)", r"```python\n\1\n```\n", text, flags=re.MULTILINE)
    return f"## {path.stem}\n\n" + re.sub(r"(?<!`)``(?!`)", "`", text) + "\n"


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace the mark in a page that has one."""
    if MARK in source[0]:
        app.env.note_dependency(str(models.FOLDER))
        source[0] = source[0].replace(MARK, "\n".join(section(models.FOLDER / f"{name}.py") for name in models.names()))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
