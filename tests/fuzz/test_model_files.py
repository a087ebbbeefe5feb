"""Model files with words exchanged, lost, repeated or damaged: they run, or the package says in one line what is wrong."""

from __future__ import annotations

import io
import random
import re
import tokenize
from pathlib import Path

import numpy as np
import pytest

import spikertrl as srl
from fuzzing import REFUSED, SURVIVED, Worker, damaged, fuzz, said_by_us
from spikertrl.checks.check import check_model
from spikertrl.compile import compile_model
from spikertrl.models import FOLDER, load, names

LIMIT_S = 120  # of one file, everything compiled
CHECKED = 40  # of so many files that run, one is held to all laws
RAW = re.compile(r"^(Attribute|Type|Index|Key|Name|Recursion|Assertion|Import|NotImplemented|Memory|Typing|Lowering)Error")


@pytest.mark.slow
def test_mutated_model_files(tmp_path: Path) -> None:
    environment = {"SPIKERTRL_CACHE": str(tmp_path / "cache")}
    whole = ((str(tmp_path), -1),)
    with Worker("fuzz.test_model_files:attempt", limit_s=LIMIT_S, warm=whole, **environment) as worker:
        fuzz("model files", 40, lambda seed: worker.ask(str(tmp_path), seed))


def attempt(folder: str, seed: int) -> str:
    """Mutate a shipped file and use what it holds; a negative seed changes nothing."""
    rng = random.Random(abs(seed))
    data = (FOLDER / f"{rng.choice(names())}.py").read_bytes()
    path = Path(folder) / f"model_{abs(seed)}.py"
    if seed >= 0:
        data = damaged(data, np.random.default_rng(seed)) if rng.random() < 0.1 else changed(data, rng)
    path.write_bytes(data)
    try:
        use(load(path))
        raw = law_that_broke(path) if rng.randrange(CHECKED) == 0 else ""
    except Exception as error:
        if said_by_us(error):
            return REFUSED
        raise
    return raw or SURVIVED


def use(model: srl.Model) -> None:
    """Compile a model and let three units of it run for five steps."""
    compile_model(model, "float64")
    net = srl.Network("float64").add_input("x", 2).add_population("h", model, 3)
    net.connect("x", "h", ports=tuple(model.ports)).connect("h", "h", ports=tuple(model.ports), delay=2)
    srl.simulate(net.initialize(0), np.ones((5, 2, 2)))


def law_that_broke(path: Path) -> str:
    """A law that failed by a raw error."""
    return next((str(law) for law in check_model(load(path)).failures if RAW.match(law.reason)), "")


# -- mutations ---------------------------------------------------------------------------------------------------------
WORDS = re.compile(r"[A-Za-z_]\w*|\d+\.?\d*(?:e-?\d+)?|\*\*|[^\s\w]|\n")
JUNK = """
    0 1 -1 1e308 1e-320 9**9**9**9 inf nan True None // % ** / /0 * + - ( ) == != < > >= = , ; : and or not if lambda tanh exp(
    log(-1) where clip(v,0) event( event(v) sigmoid sqrt(-1) abs int range min max s y t dt v I_v I_h u mV ms second 1*volt *ms
    \\ é ' "
""".split()
JUNK += ["\n", "\x00", "where(v > 0, v, ", "tanh(" * 60 + "v" + ")" * 60, "*".join(["(v + 1)"] * 100), " + ".join(["v"] * 2000)]
JUNK += ["where(v > 0, " * 8 + "v" + ", 0)" * 8]


CODE = ["__import__('os').system('true')", "().__class__", "exec('v = 1')", "open('x', 'w')"]  # nothing of it may run


def changed(data: bytes, rng: random.Random) -> bytes:
    """One to three words of the record's texts, or of the record, are others."""
    text = data.decode()
    for _ in range(rng.choice((1, 1, 2, 3))):
        inside = rng.random() < 0.7
        start, stop = rng.choice(literals(text)) if inside else (max(text.find("MODEL ="), 0), len(text))
        text = text[:start] + edited(text[start:stop], rng, JUNK + CODE if inside else JUNK) + text[stop:]
    return text.encode()


def literals(text: str) -> list[tuple[int, int]]:
    """Where the insides of the record's strings are; all of the record, if it can no longer be read."""
    begin, lines, found = max(text.find("MODEL ="), 0), text.splitlines(keepends=True), []
    starts = np.cumsum([0, *(len(line) for line in lines)]).tolist()
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            at, end = starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1]
            if token.type == tokenize.STRING and at > begin:
                width = 3 if token.string.startswith('"""') else 1
                found.append((at + width, end - width))
    except (tokenize.TokenError, SyntaxError):
        pass
    return found or [(begin, len(text))]


def edited(text: str, rng: random.Random, junk: list[str]) -> str:
    """A word is left out, repeated, exchanged with another, or junk."""
    words = list(WORDS.finditer(text))
    if not words:
        return rng.choice(junk)
    one, other, how = rng.choice(words), rng.choice(words), rng.randrange(5)
    new = {0: "", 1: f"{one[0]} {one[0]}", 2: other[0], 3: rng.choice(junk), 4: rng.choice(junk)}[how]
    return text[: one.start()] + new + text[one.end() :]
