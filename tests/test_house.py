"""The law of the house: imports run one way, in no circle, and no function takes a roll of arguments.

Every import statement counts, those for types and those inside functions too.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from house import MOST_PARAMETERS, ROOMS

PACKAGE = Path(__file__).resolve().parent.parent / "spikertrl"


def modules(package: Path) -> dict[str, Path]:
    """Module name -> file."""
    files = sorted(package.rglob("*.py"))
    return {".".join(p.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): p for p in files}


def imported(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    """(module of the package, line) of every import in a file."""
    here = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names]
        yield from ((module, node.lineno) for module in dict.fromkeys(found) if module in known and module != name)


@functools.cache
def arrows(package: Path = PACKAGE) -> dict[str, dict[str, int]]:
    """Module -> module that it imports -> line."""
    known = modules(package)
    return {name: dict(imported(name, path, known)) for name, path in known.items()}


def circles(graph: dict[str, dict[str, int]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or not."""

    def reached(start: str) -> set[str]:
        seen, todo = set(), [start]
        while todo:
            new = set(graph[todo.pop()]) - seen
            seen |= new
            todo += new
        return seen

    reach = {name: reached(name) for name in graph}
    groups = {tuple(sorted(m for m in reach[name] if name in reach[m])) for name in graph if name in reach[name]}
    return [list(group) for group in sorted(groups)]


def room(module: str, package: str) -> int:
    """Place of a module's room in the plan."""
    inside = module.removeprefix(package).removeprefix(".")
    fitting = [r for r in ROOMS if r == inside or inside.startswith(f"{r}.") or not r]
    return ROOMS.index(max(fitting, key=len))


def backward(graph: dict[str, dict[str, int]], package: str) -> list[str]:
    """Imports from a room that comes later."""
    return [
        f"{name}:{line} imports {other}, which comes later"
        for name, found in graph.items()
        for other, line in found.items()
        if room(other, package) > room(name, package)
    ]


def rolls(package: Path = PACKAGE) -> list[str]:
    """Functions with more parameters than are allowed."""
    found = []
    for path in modules(package).values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                a = node.args
                count = len(a.posonlyargs) + len(a.args) + len(a.kwonlyargs)
                if count > MOST_PARAMETERS:
                    found.append(f"{path.relative_to(package.parent)}:{node.lineno} {getattr(node, 'name', 'lambda')}: {count}")
    return found


def test_no_circle() -> None:
    graph = arrows()
    assert sum(len(found) for found in graph.values()) > 100, "the imports must be found"
    assert circles(graph) == []


def test_arrows_run_one_way() -> None:
    assert backward(arrows(), "spikertrl") == []


def test_every_room_is_there() -> None:
    known = modules(PACKAGE)
    assert [r for r in ROOMS if r and f"spikertrl.{r}" not in known] == [], "a room of the plan is not in the package"


def test_no_roll_of_arguments() -> None:
    assert rolls() == []


def test_the_law_sees_what_breaks_it(tmp_path: Path) -> None:
    """Circles by way of types and of functions, backward arrows by a relative and a full name, and a long roll."""
    house = tmp_path / "house"
    (house / "network").mkdir(parents=True)
    (house / "training").mkdir()
    for folder in (house, house / "network", house / "training"):
        (folder / "__init__.py").write_text("")
    (house / "network" / "a.py").write_text("if TYPE_CHECKING:\n    from .b import B\n")
    (house / "network" / "b.py").write_text("def f():\n    from . import a\n")
    (house / "network" / "c.py").write_text("from ..training.fit import fit\n")
    (house / "network" / "d.py").write_text("import house.training.fit\n")
    many = ", ".join(f"p{i}" for i in range(MOST_PARAMETERS + 1))
    (house / "training" / "fit.py").write_text(f"from ..network import a\n\ndef fit({many}):\n    return a\n")
    graph = arrows(house)
    assert circles(graph) == [["house.network.a", "house.network.b"]]
    assert [line.split(",")[0] for line in backward(graph, "house")] == [
        "house.network.c:1 imports house.training.fit",
        "house.network.d:1 imports house.training.fit",
    ]
    assert len(rolls(house)) == 1
