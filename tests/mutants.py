"""Faults put in by machine, one at a time: which share of them do the tests notice? ``make mutants``.

The operators are cosmic-ray's, and one more, that leaves a statement out. What cosmic-ray drives them with does not serve here:
it changes the working tree in place, knows no samples and one command for all files, and starts an interpreter for each mutant,
which imports for longer than the tests run. Here a copy of the tree is changed, a file at a time, and the tests that concern it
(``TESTS``) run in a fork of a process that holds the libraries already: first those that run the changed line, the quick ones
before the others, and if these pass all the others. A changed file gets a second of its own as its time, by which Python's and
numba's caches tell it from the one before (``spikertrl/compile/cache.py`` for what it is compiled into). Compiled loops run as
Python, which takes less time than compiling them and says which tests run a line; an index out of bounds is an error there.

    python tests/mutants.py training/fit.py losses --sample 30 --seed 1

A mutant counts as caught if a test fails, dies, or takes longer than five times its usual time and a minute. Mutants of
annotations, of imports for types and of decorators that change no result are not drawn; others that change no result are, and
count as missed.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import inspect
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numba
import pytest

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("spikertrl", "models", "experiments", "tests", "docs", "README.md", "setup.cfg", "pyproject.toml")
TRAINING = "test_training_steps test_train"
REWIRED = "test_rewire::test_training_goes_on_from_a_checkpoint"
ALONE = "test_many_users::test_a_comparison_is_each_learner_alone"
ZEROS = " ".join(
    f"test_cost::test_{name}" for name in (
        "zeros_are_told_apart_entry_by_entry", "nothing_done_yet", "two_states_a_unit_and_what_is_not_trained",
        "a_full_network_of_units_that_always_speak_saves_nothing_of_the_readout", "learners_that_do_not_count",
        "zeros_of_an_unknown_projection",
    )
)  # fmt: skip


def refused(*areas: str) -> str:
    """Calls that are refused at the door."""
    return " ".join(f"test_wrong_calls::test_a_wrong_call_is_refused_with_words[{area}]" for area in areas)


# file of the package -> files of tests, or their ids, with the doctests of the file itself; or, after -k, those of these tests
# that run every line of a compiled loop in little time as Python
TESTS = {
    "training/fit.py": f"{TRAINING} test_checkpoint {REWIRED} {refused('kinds', 'words')}",
    "training/session.py": f"{TRAINING} test_checkpoint test_constraints {REWIRED}",
    "training/gradients.py": f"{ALONE} test_constraints test_trainable test_divergence {TRAINING} {refused('kinds')}",
    "training/history.py": f"{TRAINING} test_exports::test_history",
    "training/checkpoint.py": f"test_checkpoint {TRAINING} test_saved::test_checkpoints_and_saved_files_are_told_apart",
    "training/fingerprint.py": f"test_fingerprint test_checkpoint {TRAINING}",
    "training/online.py": "test_online test_saved test_constraints test_rewire::test_a_stream_goes_on_from_a_file "
    "test_callbacks::test_an_online_tells_metrics_and_callbacks test_callbacks::test_peeking_changes_nothing "
    + refused("kinds", "words", "online"),
    "training/saved.py": "test_saved",
    "training/load.py": "test_saved",
    "storage.py": "test_checkpoint test_saved",
    "losses/activity.py": f"test_losses {refused('losses')}",
    "losses/base.py": f"test_losses {refused('losses')}",
    "losses/labels.py": f"test_losses {refused('losses')}",
    "losses/metrics.py": f"test_losses {refused('losses')}",
    "losses/readout.py": f"test_losses {refused('losses')}",
    "cost.py": f"test_cost::test_beside_the_textbook[RTRL(dense=False)-float64] {ZEROS} {refused('cost')}",
    "network/budget.py": "test_memory",
    "resources.py": "test_memory",
    "optimizers.py": "test_optimizers test_training_steps",
    "schedules.py": "test_optimizers",
    "constraints.py": "test_constraints",
    "learners/readout.py": "test_local test_routes test_trainable test_transition::test_short_sequences",
    "simulation/events.py": "test_events",
    "learners/engines/adjoint/kernel.py": "test_routes test_trainable test_memory "
    "-k every_route or several_states or trained_part or any_shape",
    "learners/engines/blocks/step_jacobian_kernel.py": "test_routes test_transition "
    "-k every_route or several_states or same_work or threshold",
    "learners/engines/rows/by_step_kernel.py": "test_routes test_trainable test_memory test_product "
    "-k every_route or several_states or same_work or trained_part or any_shape or every_way and general",
    "learners/engines/rows/by_event_kernel.py": "test_routes test_product -k every_route or same_work or steps or "
    "every_way and events or turns or multiply",
    "learners/engines/rows/general_event_kernel.py": "test_schedule test_routes::test_rows_of_several_states_delays_and_masks",
    "learners/engines/rows/event_plan_kernel.py": "test_schedule test_routes::test_rows_of_several_states_delays_and_masks",
    "learners/engines/rows/dense_kernel.py": "test_routes test_memory test_product "
    "-k every_route or same_work or any_shape or steps or every_way and rows or turns or multiply",
    "learners/engines/products/kernel.py": "test_product test_routes",
    "learners/engines/products/backward_kernel.py": "test_product test_routes -k products or lanes or tape or every_route",
    "learners/engines/transitions/kernel.py": "test_transition test_routes "
    "-k many and 0.8-5 or some and 0.8-1 or segments or short or fewer or reach or random_paths or no_step_has or every_route",
    "learners/engines/transitions/event_kernel.py": "test_transition test_routes -k between_messages or several_states",
    "learners/engines/kronecker/kernel.py": "test_kronecker test_estimators test_every_sign "
    "-k ok_is_exact or blas_and or counted or readout_alone or two_projections or papers or every_sign and KFRTRL and delay",
    "learners/engines/kronecker/rank_one_kernel.py": "test_every_sign test_estimators",
    "learners/engines/deferred_kernel.py": "test_routes test_postponed "
    "-k every_route or gru or looked_at or hear_one or counted",
    "learners/engines/local/kernel_events.py": "test_local -k events",
    "learners/engines/local/kernel_batch.py": "test_local -k not events and not snap-1 and not eprop-1",
    "learners/engines/local/kernel_one.py": "test_local -k not events and not snap-3 and not eprop-3 and not 9-2",
}
NO_RESULT = ("loop", "inner", "cache", "overload", "intrinsic")  # decorators without which everything is as before, or slower
COMPILED = "loops import "  # in every file with compiled loops
LOOKS = {"borrowed": lambda array: array, "flat": lambda array: array.reshape(-1)}  # intrinsics: another look at an array


# -- mutants -----------------------------------------------------------------------------------------------------------
class StatementOut:
    """An operator for cosmic-ray. A call, an assignment to a part of something, a raise, a return: ``pass`` instead."""

    def mutation_positions(self, node) -> Iterator:
        if node.type in ("expr_stmt", "atom_expr", "raise_stmt", "return_stmt", "assert_stmt"):
            if node.parent is not None and node.parent.type == "simple_stmt" and not _is_plain(node):
                yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        from parso.python.tree import Keyword, PythonNode

        del index
        return PythonNode("pass_stmt", [Keyword("pass", node.start_pos, prefix=node.get_first_leaf().prefix)])


def _is_plain(node) -> bool:
    """Is it an assignment to names? Without it most programs end at once, and the mutant says nothing."""
    first = node.type == "expr_stmt" and node.children[0].get_code()
    return bool(first) and "." not in first and "[" not in first and getattr(node.children[1], "value", "=") == "="


@dataclass(frozen=True)
class Mutant:
    line: int
    operator: str
    text: str


def mutants(text: str, count: int, seed: int) -> list[Mutant]:
    """One mutant each of so many places of a file, or of all its places."""
    from cosmic_ray.ast import get_ast
    from cosmic_ray.mutating import MutationVisitor
    from cosmic_ray.plugins import get_operator, operator_names

    operators: dict[str, Any] = {"statement left out": StatementOut()}
    for name in sorted(operator_names()):
        try:
            operators[name.removeprefix("core/")] = get_operator(name)()
        except TypeError:  # one that asks for names of variables
            continue
    skipped, places, tree = _skipped(text), {}, get_ast(text)
    for name, operator in operators.items():
        for occurrence, position in enumerate(_positions(tree, operator)):
            if not any(first <= position < last for first, last in skipped):
                places.setdefault(position, []).append((name, operator, occurrence))
    rng, found = random.Random(seed), []
    for position in rng.sample(sorted(places), min(count, len(places))):
        name, operator, occurrence = rng.choice(places[position])
        changed = MutationVisitor.mutate_code(text, operator, occurrence)
        if changed is not None and changed != text and _compiles(changed):
            found.append(Mutant(position[0], name, changed))
    return found


def _positions(tree, operator) -> Iterator[tuple[int, int]]:
    """Where an operator can change something, in the order in which cosmic-ray counts."""
    waiting = [tree]
    while waiting:
        node = waiting.pop(0)
        yield from (start for start, _ in operator.mutation_positions(node))
        waiting[:0] = getattr(node, "children", ())


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _skipped(text: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Stretches whose change no program can notice."""
    found = []
    for node in ast.walk(ast.parse(text)):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef):
            every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
            parts = [node.returns, *(a.annotation for a in every if a)]
            parts += [d for d in node.decorator_list if any(word in ast.unparse(d) for word in NO_RESULT)]
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.keyword) and node.arg == "strict":  # of zip, where lengths agree
            parts = [node]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            parts = [node]
        spans = [(p.lineno, p.col_offset - (p in getattr(node, "decorator_list", ())), p.end_lineno, p.end_col_offset)
                 for p in parts if p]  # fmt: skip
        found += [((a, max(b, 0)), (c, d)) for a, b, c, d in spans]
    return found


# -- runs --------------------------------------------------------------------------------------------------------------
@dataclass
class Tree:
    """A copy of the tree, in which a file can be another."""

    folder: Path
    second: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        for name in COPIED:
            source, target = ROOT / name, self.folder / name
            if source.is_dir():  # compiled code too, unless there is some already
                left_out = shutil.ignore_patterns("*.pyc", "_build", *(["*.nb*"] if target.exists() else []))
                shutil.copytree(source, target, ignore=left_out, dirs_exist_ok=True)
            else:
                shutil.copy2(source, target)

    def write(self, path: Path, text: str) -> None:
        """Write a file, a second later than every one before it."""
        path.write_text(text)
        self.second += 1
        os.utime(path, (self.second, self.second))

    def run(self, tests: list[str], limit_s: float, watched: str, lines: Path | None = None) -> tuple[str, str]:
        """What became of the tests, and the end of what they printed; which ``lines`` of the ``watched`` file each one runs."""
        log = self.folder / "log"
        child = os.fork()
        if not child:
            self._test(tests, log, watched, lines)
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                told = log.read_text(errors="replace")
                code = os.waitstatus_to_exitcode(status)
                return ("passed" if code == 0 else f"killed by signal {-code}" if code < 0 else f"failed ({code})"), told
            time.sleep(0.02)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return f"over {limit_s:.0f} s", ""

    def _test(self, tests: list[str], log: Path, watched: str, lines: Path | None) -> None:
        """In a fork: the tests, and the end of the process."""
        code = 70
        try:
            os.setpgid(0, 0)
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1), os.dup2(out, 2)
            os.chdir(self.folder)
            os.environ["SPIKERTRL_CACHE"] = str(self.folder / "cache")
            sys.path[:0] = [str(self.folder), str(self.folder / "tests")]
            if COMPILED in (self.folder / "spikertrl" / watched).read_text():
                sys.meta_path.insert(0, Plain(self.folder / "spikertrl", watched))
            plugins = [Lines(self.folder / "spikertrl" / watched, lines)] if lines else []
            options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short"]
            code = int(pytest.main([*options, *tests], plugins))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


class Lines:
    """A plugin of pytest: how long each test takes, and which lines of a file it runs."""

    def __init__(self, watched: Path, into: Path) -> None:
        self.watched, self.into = str(watched), into
        self.found: dict[str, tuple[float, list[int]]] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: Any, nextitem: Any) -> Iterator[None]:
        lines: set[int] = set()

        def inside(frame: Any, event: str, value: Any) -> Any:
            lines.add(frame.f_lineno)
            return inside

        def called(frame: Any, event: str, value: Any) -> Any:
            return inside if frame.f_code.co_filename == self.watched else None

        began = time.monotonic()
        threading.settrace(called)
        sys.settrace(called)
        yield
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        self.found[item.nodeid] = time.monotonic() - began, sorted(lines)

    def pytest_sessionfinish(self) -> None:
        self.into.write_text(json.dumps(self.found))


class Plain:
    """A finder of modules: a file of compiled loops, and those compiled with it, become plain Python."""

    def __init__(self, package: Path, watched: str) -> None:
        self.package, self.names, more = package, set(), {Path(watched)}
        while more:
            stems = {f"{path.parent.name}.{path.stem} import" for path in more}
            self.names |= {self._name(path) for path in more}
            more = {path.relative_to(package) for path in package.glob("learners/engines/**/*.py")
                    if self._name(path.relative_to(package)) not in self.names
                    and COMPILED in (text := path.read_text()) and any(stem in text for stem in stems)}  # fmt: skip

    def _name(self, path: Path) -> str:
        return ".".join((self.package.name, *path.with_suffix("").parts))

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in self.names:
            return None
        self.names.remove(name)
        spec = importlib.util.find_spec(name)
        self.names.add(name)
        spec.loader.exec_module = lambda module: self._run(module, spec.origin)  # type: ignore[union-attr]
        return spec

    def _run(self, module: Any, file: str) -> None:
        """What it imports stays compiled, and what numba knows only in compiled code is wrapped into some."""
        tree = compile(Path(file).read_text(), file, "exec", ast.PyCF_ONLY_AST)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                importlib.import_module("." * node.level + (node.module or ""), module.__package__)
        numba.config.DISABLE_JIT = 1
        try:
            exec(compile(tree, file, "exec"), module.__dict__)
        finally:
            numba.config.DISABLE_JIT = 0
        for name, value in vars(module).items():
            if type(value).__name__ == "_Intrinsic":
                vars(module)[name] = _callable(name, value)


def _callable(name: str, value: Any) -> Any:
    """What stands for code inside of compiled functions, as one of them."""
    if name in LOOKS:
        return LOOKS[name]
    names = ", ".join(list(inspect.signature(value._defn).parameters)[1:])
    return numba.njit(eval(f"lambda {names}: f({names})", {"f": value}))


def try_file(tree: Tree, name: str, count: int, seed: int) -> tuple[int, int]:
    """Caught and tried mutants of a file."""
    path = tree.folder / "spikertrl" / name
    text, began, lines = path.read_text(), time.monotonic(), tree.folder / "lines.json"
    stems, _, chosen = TESTS[name].partition(" -k ")
    tests = [f"tests/{stem}.py{sign}{rest}" for stem, sign, rest in (word.partition("::") for word in stems.split())]
    tests += ["-k", chosen] if chosen else [f"spikertrl/{name}"]
    outcome, told = tree.run(tests, 3600, name, lines)  # and what they need is compiled
    if outcome != "passed":
        sys.exit(f"{name}: without a change the tests {outcome}\n{told[-3000:]}")
    usual, found = time.monotonic() - began, json.loads(lines.read_text())
    print(f"{name}: {usual:.1f} s, {len(found)} tests", flush=True)
    caught, drawn = 0, mutants(text, count, seed)
    for mutant in drawn:
        tree.write(path, mutant.text)
        outcome = "passed"
        for some in _in_order(found, _stretch(text, mutant.line)):
            if some and outcome == "passed":
                outcome, _ = tree.run(some, 60 + 5 * usual, name)
        caught += outcome != "passed"
        if outcome == "passed":
            changes = list(difflib.unified_diff(text.split("\n"), mutant.text.split("\n"), lineterm="", n=0))
            print(f"  {name}:{mutant.line} {mutant.operator}", *changes[3:], sep="\n    ", flush=True)
    tree.write(path, text)
    print(_share(name, caught, len(drawn)), flush=True)
    return caught, len(drawn)


def _in_order(found: dict[str, tuple[float, list[int]]], lines: range) -> tuple[list[str], list[str]]:
    """Tests that run some lines, and the others; a file at a time, the quick ones first."""
    files = list(dict.fromkeys(test.partition("::")[0] for test in found))
    order = sorted(found, key=lambda test: (files.index(test.partition("::")[0]), found[test][0]))
    near = [test for test in order if not set(lines).isdisjoint(found[test][1])]
    return near, [test for test in order if test not in near]


def _stretch(text: str, line: int) -> range:
    """The lines of the statement that a line is part of, of a compound one those of its head."""
    best = range(line, line + 1)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None) or getattr(node, "cases", None)
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            last = max(first, body[0].lineno - 1) if body else node.end_lineno or line
            if first <= line <= last:
                best = range(first, last + 1)
    return best


def _share(name: str, caught: int, tried: int) -> str:
    return f"{name:50} {caught:4} of {tried:4} caught, {caught / max(tried, 1):.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="beginnings of names under spikertrl/; default: all of the table")
    parser.add_argument("--sample", type=int, default=int(os.environ.get("MUTANTS") or 30), help="mutants a file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where the copy stays with all that was compiled; default: a temporary one")
    given = parser.parse_args()
    names = [name for name in TESTS if not given.files or name.startswith(tuple(given.files))]
    if not names:
        sys.exit(f"no file of {list(TESTS)} begins with {given.files}")
    for library in ("scipy.sparse", "scipy.linalg.cython_blas", "sympy", "psutil", "threadpoolctl", "tqdm"):
        __import__(library)
    with tempfile.TemporaryDirectory(prefix="mutants_") as folder:
        tree, total = Tree(Path(given.folder or folder)), {}
        for name in names:
            total[name] = try_file(tree, name, given.sample, given.seed)
    for name, (caught, tried) in total.items():
        print(_share(name, caught, tried))


if __name__ == "__main__":
    main()
