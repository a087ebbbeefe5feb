"""What the fuzzers share: how many attempts, the tally that is printed, damaged bytes, and a process that may die.

``FUZZ=500`` sets the number of attempts of every fuzzer, ``FUZZ_BRIAN=200`` that of one, ``FUZZ_SEED=17`` the first seed.
An attempt returns ``SURVIVED`` or ``REFUSED``, or says what is wrong; whatever it raises is a fault, too.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from spikertrl.model import ModelError

SURVIVED, REFUSED = "survived", "refused clearly"
ROOT = Path(__file__).resolve().parent.parent
RUN = ("os.system", "os.exec", "os.posix_spawn", "os.startfile", "subprocess.Popen", "pickle.find_class")


# -- attempts ----------------------------------------------------------------------------------------------------------
@dataclass
class Tally:
    """What became of the attempts of one fuzzer; ``faults`` by seed."""

    name: str
    survived: int = 0
    refused: int = 0
    faults: dict[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        attempts = self.survived + self.refused + len(self.faults)
        told = f"{attempts} attempts, {self.survived} survived, {self.refused} refused clearly, {len(self.faults)} faults"
        return f"{self.name}: {told}" + (f"; seeds {sorted(self.faults)}" if self.faults else "")

    def add(self, seed: int, outcome: str) -> None:
        """Count an outcome; a fault is printed at once."""
        if outcome == SURVIVED:
            self.survived += 1
        elif outcome == REFUSED:
            self.refused += 1
        else:
            self.faults[seed] = outcome
            print(f"{self.name}, seed {seed}: {outcome}", flush=True)


def fuzz(name: str, default: int, attempt: Callable[[int], str]) -> Tally:
    """Try the seeds, print the tally, fail if there was a fault."""
    count = int(os.environ.get(f"FUZZ_{name.upper().replace(' ', '_')}") or os.environ.get("FUZZ") or default)
    first, tally = int(os.environ.get("FUZZ_SEED") or 0), Tally(name)
    print(flush=True)
    for seed in range(first, first + count):
        tally.add(seed, tried(attempt, seed))
        if (seed + 1 - first) % 20 == 0:
            print(tally, flush=True)
    print(tally, flush=True)
    assert not tally.faults, f"{tally}\n" + "\n".join(f"seed {seed}: {what}" for seed, what in tally.faults.items())
    return tally


def tried(attempt: Callable[..., str], *arguments: object) -> str:
    """The outcome of an attempt, or what it raised."""
    try:
        return attempt(*arguments)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-4:]
        places = " > ".join(f"{Path(f.filename).name}:{f.lineno}" for f in where)
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ({places})"


def said_by_us(error: BaseException) -> bool:
    """Whether an error was raised by a line of the package, in so many words, and not by what the package called."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if (ROOT / "spikertrl") not in Path(last.filename).parents:
        return False
    hidden = error.__cause__ if isinstance(error, ModelError) else None  # what broke while a model's file was run
    if hidden is not None and (ROOT / "spikertrl") in Path(traceback.extract_tb(hidden.__traceback__)[-1].filename).parents:
        return said_by_us(hidden)
    return "raise" in (last.line or "") or "refuse(" in (last.line or "")


# -- damage ------------------------------------------------------------------------------------------------------------
def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bits turned, bytes written over, a stretch of zeros, a piece cut out or repeated, or the end missing."""
    found, how = bytearray(data), int(rng.integers(6))
    start = int(rng.integers(len(found)))
    if rng.random() < 0.3:
        start = int(rng.integers(min(len(found), 256)))  # where headers are
    stop = min(len(found), start + int(rng.integers(1, 200)))
    if how == 0:
        for place in {start, *rng.integers(len(found), size=int(rng.integers(3))).tolist()}:
            found[place] ^= 1 << int(rng.integers(8))
    elif how == 1:
        found[start:stop] = rng.bytes(stop - start)
    elif how == 2:
        found[start:stop] = bytes(stop - start)
    elif how == 3:
        del found[start:stop]
    elif how == 4:
        found[start:start] = found[start:stop]
    else:
        del found[start:]
    return bytes(found)


# -- a process that may die --------------------------------------------------------------------------------------------
class Worker:
    """A process that answers ``module:function`` for one list of arguments at a time.

    It is ended when an answer takes longer than ``limit_s``, may allocate ``room`` bytes more than it holds after the function
    was called with each of ``warm``, and tells when something was run that a file should not run.
    """

    def __init__(self, function: str, *, limit_s: float, room: int = 0, warm: tuple = (), **environment: str) -> None:
        self.function, self.limit_s, self.room, self.warm = function, limit_s, room, warm
        self.environment = {"NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **os.environ, **environment}
        self.environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, *arguments: object) -> str:
        """The outcome; the next question goes to a new process if this one died."""
        if self.process is None:
            self.process = self._start()
        stream, answers = self.process.stdin, self.process.stdout
        assert stream is not None and answers is not None
        stream.write(json.dumps(arguments).encode() + b"\n")
        stream.flush()
        if not select.select([answers], [], [], self.limit_s)[0]:
            self._end()
            return f"no answer after {self.limit_s:g} s"
        if line := answers.readline():
            return json.loads(line)
        code = self._end()
        return f"the process ended by {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"

    def _start(self) -> subprocess.Popen:
        command = [sys.executable, __file__, self.function, str(self.room), json.dumps(self.warm)]
        process = subprocess.Popen(command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", "the worker did not start"
        return process

    def _end(self) -> int:
        if self.process is None:
            return 0
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                pass
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
        code, self.process = self.process.wait(), None
        return code


def serve(function: str, room: int, warm: list) -> None:
    """Answer the questions on stdin until it is closed."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints, prints elsewhere
    module, _, name = function.partition(":")
    call = getattr(importlib.import_module(module), name)
    for arguments in warm:
        outcome = tried(call, *arguments)
        assert outcome == SURVIVED, outcome
    if room:
        pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
        if pages:
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room, resource.RLIM_INFINITY))
    seen: list[str] = []
    sys.addaudithook(lambda event, _: seen.append(event) if event in RUN and not loads_code() else None)
    answers.write(b"ready\n")
    for line in sys.stdin:
        seen.clear()
        outcome = tried(call, *json.loads(line))
        answers.write(json.dumps(f"it ran {seen[0]}" if seen else outcome).encode() + b"\n")


def loads_code() -> bool:
    """Is numba reading its own files? They are pickles."""
    frame = sys._getframe()
    while frame is not None:
        if "numba" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
