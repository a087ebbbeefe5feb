"""One parser for all text of a user: what it reads, what it refuses, and that nothing of it is ever run as Python."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

import spikertrl as srl
from spikertrl import Model, Parameter, Port, State
from spikertrl.compile.quantities import quantity
from spikertrl.language import ANY, TextError, evaluate, parse
from spikertrl.model import ModelError
from spikertrl.surrogates import Surrogate

ESCAPES = [
    "().__class__.__base__.__subclasses__()",
    "[c for c in ().__class__.__base__.__subclasses__()]",
    "(lambda: 0)()",
    "v.real",
    "v[0]",
    "f'{v}'",
    "'a' * 9",
    "__import__('os').system('true')",
    "(v := 2)",
    "print(1)",
    "abs(*[v])",
    "{v: 1}",
    "yield_ if v else (yield v)",
]


@pytest.mark.parametrize("text", ESCAPES)
def test_no_way_out_of_the_language(text: str) -> None:
    """The same text at every door."""
    with pytest.raises(TextError):
        parse(text)
    with pytest.raises(ValueError, match="surrogate 'own'"):
        Surrogate("own", text)
    with pytest.raises(TextError):
        quantity(text)
    with pytest.raises(ModelError, match="model 'm'"):
        Model("m", update=f"v = {text} + I_x", message="v", states={"v": State()}, ports={"x": Port()})
    with pytest.raises(ValueError, match=r"h\.beta"):
        srl.Network().add_population("h", srl.models.alif, 2, beta=text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v // 2", "the operator '//'"),
        ("v % 2", "the operator '%'"),
        ("v ^ 2", r"the operator '\^' \(a power is '\*\*'\)"),
        ("(v > 0)", r"a comparison where a number is needed; write int\(a > b\)"),
        ("where(v > 0, v > 1, 0)", "a comparison where a number is needed"),
        ("True", "has True where a number is needed; write 1"),
        ("where(0 < v < 1, v, 0)", "compares more than two things at a time"),
        ("abss(v)", "did you mean 'abs'"),
        ("clip(v, 1)", r"gives clip\(\) 2 argument\(s\), it takes 3"),
        ("exp(x=v)", "an argument by name"),
        ("v if v > 0 else 0", r"write where\(c, a, b\)"),
        ("9**9**9**9", "has no value"),
        ("2**(0 - 10**9)", "has no value"),
        ("1/0", "divides by zero in '1 / 0'"),
        ("v + exp(1000)", r"has no value: 'exp\(1000\)'"),
        ("log(0)", "has no value"),
        ("1e400 * v", "beyond 1.7e308"),
        ("1" * 400, "beyond 1.7e308"),
        ("1j", "which the language does not have"),
        ("v +", "cannot parse"),
        ("", "cannot parse"),
        (" + ".join(["v"] * 5000), "write it in several statements"),
        ("-" * 5000 + "v", "write it in several statements"),
        ("(" * 300 + "v" + ")" * 300, "too many nested parentheses"),
        ("tanh(" * 120 + "v" + ")" * 120, "more than 100 operations inside each other|too many nested parentheses"),
        ("v" * 30_000, "at most 20000 are read"),
    ],
)
def test_what_is_refused_says_what_to_write(text: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        parse(text)


def test_values_are_those_of_python() -> None:
    """Where the text is also Python, an independent reading exists."""
    names = {"v": 0.3, "w": -2.0}
    for text in ("v**2 - w/3 + 2*v*w", "-v**-2", "w - v - 1", "2**3**2", "(v + w)*(v - w)/7.5", "+v - -w"):
        assert evaluate(parse(text), names, {}) == eval(text, {}, names)
    functions = {"max": max, "where": lambda c, a, b: a if c else b}
    assert evaluate(parse("max(v, w, 1)", {"max": ANY}), names, functions) == 1
    for text, expected in (("v > 0 and w > 0", 2), ("v > 0 or w > 0", 1), ("not w > v", 1), ("w == -2 and v != 1", 1)):
        assert evaluate(parse(f"where({text}, 1, 2)"), names, functions) == expected


def test_refused_text_in_a_model_names_the_part_and_the_line() -> None:
    with pytest.raises(ModelError, match=r"model 'm': 'v % 2' has the operator '%'.* in update, 'v = v % 2'"):
        Model("m", update="u = I_x\nv = v % 2", message="v", states={"v": State()}, ports={"x": Port()})


@pytest.mark.parametrize("name", ["v", "abs", "pi", "_a", "lambda", "β"])
def test_parameters_of_a_surrogate_are_no_names_of_the_language(name: str) -> None:
    with pytest.raises(ValueError, match="needs another name"):
        Surrogate("own", "abs(v)", {name: 1.0})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None])
def test_parameters_of_a_surrogate_are_finite_numbers(value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        srl.surrogates.triangle(width=value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be a finite number"):
        Surrogate("own", "a*abs(v)", {"a": value})  # type: ignore[dict-item]


def test_units_that_do_not_exist_are_told() -> None:
    with pytest.raises(ModelError, match=r"'20.msec' has 'msec', which is no unit; did you mean 'msecond'"):
        srl.compile.compile_model(
            Model("m", update="v = I_x*a", message="v", states={"v": State()}, ports={"x": Port()},
                  parameters={"a": Parameter("20*msec")}), "float64"
        )  # fmt: skip


def test_a_model_can_be_compiled_first_in_a_worker_thread(tmp_path) -> None:
    """Brian2 sets a signal handler as it is imported, which only the main thread may do."""
    code = """
        import signal, sys, threading
        import numpy as np, spikertrl as srl
        before, real, found = signal.getsignal(signal.SIGINT), signal.signal, []
        def work():
            net = srl.Network("float64").add_input("x", 1).add_population("h", srl.models.lif, 1, tau="20*ms").connect("x", "h")
            found.append(srl.simulate(net.initialize(0), np.ones((3, 1, 1))).z.shape)
        threads = [threading.Thread(target=work) for _ in range(3)]
        [t.start() for t in threads], [t.join() for t in threads]
        print(found, "brian2" in sys.modules, signal.getsignal(signal.SIGINT) is before, signal.signal is real)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        env={**__import__("os").environ, "SPIKERTRL_CACHE": str(tmp_path)},
    )
    assert done.stdout.split("]")[1].split() == ["True", "True", "True"], done.stdout + done.stderr
