"""Checkpoint files that were damaged or edited: they are refused as CheckpointError, or go on as the whole file does.

A file that was edited on purpose, with all its checksums made anew, may go on otherwise; it must not run anything, end the
process, raise a raw error, or take a GiB.
"""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikertrl as srl
from fuzzing import REFUSED, SURVIVED, Worker, damaged, fuzz
from spikertrl import storage
from spikertrl.training.checkpoint import CheckpointError
from test_checkpoint import LEARNERS, network, run

STEPS = 2


@pytest.mark.slow
def test_mutated_checkpoint_files(tmp_path: Path) -> None:
    for name, learner in LEARNERS.items():
        run(network(), learner, STEPS, tmp_path / f"{name}.npz")
        net = network()
        run(net, learner, STEPS + 1)
        np.save(tmp_path / f"{name}.npy", net.theta)
    whole = tuple((str(tmp_path), -k) for k in range(1, len(LEARNERS) + 1))
    with Worker("fuzz.test_checkpoint_files:attempt", limit_s=60, room=1 << 30, warm=whole) as worker:
        fuzz("checkpoint files", 150, lambda seed: worker.ask(str(tmp_path), seed))


def attempt(folder: str, seed: int) -> str:
    """Damage a file by a way that the seed chooses and go on from it; a negative seed damages nothing."""
    rng = np.random.default_rng(abs(seed))
    name = list(LEARNERS)[abs(seed) % len(LEARNERS)]
    data = (Path(folder) / f"{name}.npz").read_bytes()
    way = None if seed < 0 else WAYS[int(rng.integers(len(WAYS)))]
    path = Path(folder) / "mutated" / f"{seed}.npz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data if way is None else way(data, rng))
    net = network()
    try:
        run(net, LEARNERS[name], STEPS + 1, path)
    except CheckpointError as error:
        return REFUSED if path.name in str(error) else f"the error does not name the file: {error}"
    except srl.training.fit.TrainingDiverged:
        return REFUSED if way in SEALED else "it diverges"
    finally:
        path.unlink(missing_ok=True)
    if way in SEALED or np.array_equal(net.theta, np.load(Path(folder) / f"{name}.npy")):
        return SURVIVED
    return f"{name}: it goes on with other numbers after {way and way.__name__}"


# -- ways to change a file ---------------------------------------------------------------------------------------------
def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def packed(parts: dict[str, bytes]) -> bytes:
    """A zip file whose own checksums are right."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, part in parts.items():
            file.writestr(name, part)
    return stream.getvalue()


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    return damaged(data, rng)


def member(data: bytes, rng: np.random.Generator) -> bytes:
    """Damage inside a member, which the zip file's checksum then covers."""
    parts = members(data)
    name = list(parts)[int(rng.integers(len(parts)))]
    return packed(parts | {name: damaged(parts[name], rng)})


def header(data: bytes, rng: np.random.Generator) -> bytes:
    """Another shape or type in the header of an array."""
    parts = members(data)
    name = list(parts)[int(rng.integers(len(parts)))]
    edits = [(b"<f8", b"<f4"), (b"<f8", b"|O8"), (b"<f8", b"<i8"), (b"False", b"True "), (b"(", b"(9"), (b",)", b",9)"),
             (b"'d", b"'D")]  # fmt: skip
    old, new = edits[int(rng.integers(len(edits)))]
    text, rest = parts[name][:128], parts[name][128:]
    return packed(parts | {name: text.replace(old, new, 1)[:128] + rest})


def swapped(data: bytes, rng: np.random.Generator) -> bytes:
    """Two members under each other's names, one under the name of another, or one that is missing."""
    parts = members(data)
    one, two = (str(name) for name in rng.choice(list(parts), 2, replace=False))
    how = int(rng.integers(3))
    if how == 2:
        return packed({k: v for k, v in parts.items() if k != one})
    return packed(parts | {one: parts[two]} | ({two: parts[one]} if how == 0 else {}))


def edited(data: bytes, rng: np.random.Generator) -> bytes:
    """Something else in the description."""
    return described(data, rng, lambda content: content)


def forged(data: bytes, rng: np.random.Generator) -> bytes:
    """Something else in the description, whose seal is made anew."""
    return described(data, rng, storage.sealed)


def described(data: bytes, rng: np.random.Generator, finish: Callable[[dict], dict]) -> bytes:
    parts = members(data)
    content = json.loads(str(np.load(io.BytesIO(parts["tree.npy"]))))
    for _ in range(int(rng.integers(1, 3))):
        change(content, random.Random(int(rng.integers(1 << 30))))
    stream = io.BytesIO()
    np.save(stream, np.array(json.dumps(finish(content))))
    return packed(parts | {"tree.npy": stream.getvalue()})


def numbers(data: bytes, rng: np.random.Generator) -> bytes:
    """Other numbers in the arrays of whole numbers, or in any, with all checksums made anew."""
    parts = members(data)
    arrays = {name: np.load(io.BytesIO(part)) for name, part in parts.items()}
    content = json.loads(str(arrays.pop("tree.npy")))
    whole = [name for name, array in arrays.items() if array.dtype.kind in "iub" and array.size]
    for _ in range(int(rng.integers(1, 3))):
        name = str(rng.choice(whole if whole and rng.random() < 0.8 else list(arrays)))
        arrays[name] = junked(arrays[name], rng)
    found = {name: bytes_of(array) for name, array in arrays.items()}
    return packed({"tree.npy": bytes_of(np.array(json.dumps(resummed(content, arrays))))} | found)


def junked(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the numbers, or all of them, are out of range or just others."""
    if not array.size:
        return array
    found, least = array.copy(), -1 if array.dtype.kind == "u" else np.iinfo(array.dtype).min if array.dtype.kind == "i" else -9
    junk = [0, 1, -1, -2, 5, 6, 7, 8, 64, 1000, 10**6, 2**31 - 1, least]
    value = np.array(junk[int(rng.integers(len(junk)))]).astype(array.dtype)
    found[... if rng.random() < 0.3 else tuple(int(rng.integers(n)) for n in array.shape)] = value
    return found


def resummed(content: dict, arrays: dict[str, np.ndarray]) -> dict:
    """The description with the checksums of other arrays, and its seal."""
    sums = [storage._sum(arrays[f"a{i}.npy"]) for i in range(len(content["sums"]))]
    return storage.sealed(content | {"sums": sums})


def bytes_of(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


WAYS = (damage, damage, damage, member, member, header, swapped, swapped, edited, forged, forged, numbers, numbers, numbers)
SEALED = (forged, numbers)  # as one would who means it: what goes on may be another run
JUNK: list[Any] = [
    None, True, 0, -1, 1, 3, 7.5, 1e308, 10**30, "", "x", "a0", [], {}, [1, [2]], {"@": "pickle"}, {"@": "array", "i": 0},
    {"@": "array", "i": -1}, {"@": "array", "i": "0"}, {"@": "zeros", "shape": [10**6, 10**6], "dtype": "<f8"},
    {"@": "zeros", "shape": [200_000_000], "dtype": "<f8"}, {"@": "zeros", "shape": [3], "dtype": "O"},
    {"@": "zeros", "shape": [3], "dtype": "<U9"}, {"@": "data", "c": "subprocess:Popen", "v": {"args": ["true"]}},
    {"@": "data", "c": "os:system", "v": {}}, {"@": "rng", "v": {"@": "dict", "v": [["bit_generator", "MT19937"]]}},
    {"@": "dict", "v": [[{"@": "list", "v": []}, 1]]}, {"@": "wiring"}, {"@": "list", "v": 3},
]  # fmt: skip


def change(content: dict, rng: random.Random) -> None:
    """Put junk in a place of the tree, remove one, or copy another there."""
    places = [(part, key) for part in containers(content) for key in (part if isinstance(part, dict) else range(len(part)))]
    holder, key = rng.choice(places)
    how = rng.randrange(4)
    if how == 0:
        holder.pop(key)
    elif how == 1:
        other, there = rng.choice(places)
        holder[key] = copy.deepcopy(other[there])
    else:
        holder[key] = rng.choice(JUNK)


def containers(value: Any) -> list[Any]:
    """All records and lists inside that hold something."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return ([value] if inside else []) + [found for part in inside for found in containers(part)]
