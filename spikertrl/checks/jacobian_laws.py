"""Laws of one unit and one step: the local Jacobian and the pseudo-derivative.

Two independent roads to the Jacobian. With the pseudo-derivative set to zero, what the compiled code returns is the true
derivative wherever no event boundary is crossed, and differences of the compiled values must agree (``jacobian``). With the
event function replaced by a smooth one and the pseudo-derivative by its slope, there is no boundary at all, and differences of
the step's own equations must agree with every term, those of the reset included (``pseudo_derivative``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..compile.cell import SURROGATE, Cell, compile_model
from ..model import Model
from ..simulation.run import simulate
from ..surrogates import Surrogate
from .networks import LivingNetwork

POINTS = 400
DIFFERENCES = 1e-6  # central differences in float64, extrapolated once, on variables of size 1
CROSSED = 0.2  # share of points that may lie too near to a boundary for differences to exist
_NO_SURROGATE = Surrogate("none", "0 * v", {}, 1.0)


def jacobian(model: Model, b: LivingNetwork) -> tuple[float, float, str]:
    """Worst error of compiled A, B, P, o, q against differences of compiled values, away from event boundaries."""
    cell, phi = _without_surrogate(model)
    points = _points(cell, b)
    names = (*cell.memory, *(f"I_{p}" for p in cell.ports), *cell.trainable)
    place = {
        **{n: ("s", j) for j, n in enumerate(cell.states)},
        **{f"I_{p}": ("I", g) for g, p in enumerate(cell.ports)},
        **{n: ("phi", cell.phi.index(n)) for n in cell.trainable},
    }
    inputs = {"s": points[0], "I": points[1], "phi": np.repeat(phi[:, None], POINTS, 1)}
    size = {n: _size(inputs[place[n][0]][place[n][1]]) for n in names}
    sizes_out = [*(size[n] for n in cell.memory), _size(_values(cell, b.net.dt, inputs)[-1])]
    exact = _compiled_jacobian(cell, b.net.dt, inputs)
    worst, crossed = 0.0, 0
    for c, name in enumerate(names):
        kind, row = place[name]

        def shifted(h: float, kind: str = kind, row: int = row) -> np.ndarray:
            moved = {k: v.copy() for k, v in inputs.items()}
            moved[kind][row] += h
            return _values(cell, b.net.dt, moved)

        error, unclear = _compare(shifted, exact[:, c], 1e-4 * size[name], size[name] / np.array(sizes_out)[:, None])
        worst, crossed = max(worst, error), max(crossed, unclear)
    if crossed > CROSSED * POINTS:
        return float("inf"), DIFFERENCES, f"at {crossed} of {POINTS} points the step is not differentiable in a state or input"
    return worst, DIFFERENCES, f"{crossed} of {POINTS} points at a boundary left out"


def _compare(shifted: Callable[[float], np.ndarray], exact: np.ndarray, h: float, scale: np.ndarray) -> tuple[float, int]:
    """Worst error over points where differences exist, and at how many they do not. Arrays (outputs, points)."""
    wide, narrow = ((shifted(k) - shifted(-k)) / (2 * k) for k in (h, h / 2))
    smooth = (np.abs(wide - narrow) * scale < 1e-4 * np.maximum(1.0, np.abs(narrow) * scale)).all(0)
    # one-sided: a kink looks smooth from both sides at once
    sides = (shifted(h / 2) - shifted(0.0)) / (h / 2), (shifted(0.0) - shifted(-h / 2)) / (h / 2)
    smooth &= (np.abs(sides[0] - sides[1]) * scale < 1e-2 * np.maximum(1.0, np.abs(narrow) * scale)).all(0)
    error = np.abs((4 * narrow - wide) / 3 - exact) * scale / np.maximum(1.0, np.abs(exact) * scale)
    return float(error[:, smooth].max(initial=0.0)), int((~smooth).sum())


def _without_surrogate(model: Model) -> tuple[Cell, np.ndarray]:
    """A float64 cell whose pseudo-derivative is zero, and its parameters."""
    cell = compile_model(model, "float64")
    surrogate = Surrogate(
        "probe", model.surrogate.derivative, dict(model.surrogate.parameters) | {"gamma": 0.0}, model.surrogate.support
    )
    if "gamma" not in model.surrogate.parameters or any(surrogate(v) for v in np.linspace(-2, 2, 41)):
        cell = compile_model(model.replace(surrogate=_NO_SURROGATE), "float64")
    surrogates = {f"{SURROGATE}{n}": 0.0 if n == "gamma" else v for n, v in model.surrogate.parameters.items()}
    return cell, np.array([(cell.defaults | surrogates)[n] for n in cell.phi])


def _points(cell: Cell, b: LivingNetwork) -> tuple[np.ndarray, np.ndarray]:
    """States (states, points) near the trajectory and inputs (ports, points) of the size that arrives there."""
    rng = np.random.default_rng(5)
    states = simulate(b.net, b.x).states["h"]
    flat = np.array([states[n].reshape(-1) for n in cell.states])
    chosen = flat[:, rng.integers(0, flat.shape[1], POINTS)]
    for j, name in enumerate(cell.states):
        if name in cell.memory:
            chosen[j] += 0.1 * _size(flat[j]) * rng.normal(size=POINTS)
    weights = b.net.view(b.net.theta)["h<-x"]
    scale = [_size(weights[p]) if p in weights else _size(next(iter(weights.values()))) for p in cell.ports]
    return chosen, np.array(scale)[:, None] * rng.normal(size=(len(cell.ports), POINTS))


def _size(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) or 1.0


def _call(cell: Cell, dt: float, inputs: dict[str, np.ndarray], *arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    constants = np.zeros((cell.n_constants, POINTS))
    cell.constants(inputs["phi"], dt, constants)
    after, y = np.zeros((1, len(cell.states), POINTS)), np.zeros((1, POINTS))
    (cell.linearise if arrays else cell.advance)(
        inputs["s"][None], inputs["I"][None], inputs["phi"], constants, after, y, *arrays
    )
    return after[0], y


def _values(cell: Cell, dt: float, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """New states with sensitivity and the message, (S + 1, points)."""
    after, y = _call(cell, dt, inputs)
    return np.concatenate((after[: len(cell.memory)], y))


def _compiled_jacobian(cell: Cell, dt: float, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """d(new states, message)/d(old states, inputs, trainable parameters), (S + 1, S + G + Q, points), from A, B, P, o, q."""
    S, G, Q = len(cell.memory), len(cell.ports), len(cell.trainable)
    A, B, P, o, q = (np.zeros((1, n, POINTS)) for n in (S * S, S * G, S * Q, S, Q))
    _call(cell, dt, inputs, A, B, P, o, q)
    states = np.concatenate((A.reshape(S, S, POINTS), B.reshape(S, G, POINTS), P.reshape(S, Q, POINTS)), axis=1)
    message = np.einsum("sp,scp->cp", o[0], states)
    message[S + G :] += q[0]
    return np.concatenate((states, message[None]))


# -- the pseudo-derivative -----------------------------------------------------------------------------------------------
def pseudo_derivative(model: Model, b: LivingNetwork) -> tuple[float, float]:
    """Worst error of every derived term against differences, with sigmoid(v) for event(v) and its slope for psi(v)."""
    import sympy

    from ..compile import discretise, emit
    from ..compile.symbols import StopEvent, real

    step = discretise.step(model)
    d = emit.Derivatives(step, tuple(model.ports), model.trainable)
    memory, phi = step.states[: step.memory], model.trainable
    columns = [*memory, *(f"I_{p}" for p in model.ports), *phi]
    terms = [
        (f, n, e)
        for f, a, i, p in zip(step.advance, d.A, d.B, d.P, strict=False)
        for n, e in zip(columns, [*a, *i, *p], strict=True)
    ]
    terms += [(step.message, n, e) for n, e in zip((*memory, *phi), [*d.o, *d.q], strict=True)]
    terms = [(sympy.sympify(f), n, sympy.sympify(e)) for f, n, e in terms]
    written = [part for f, _, e in terms for part in (f, e)] + [e for _, e in d.lines]
    stopped_terms = sorted({s for e in written for s in e.atoms(StopEvent)}, key=str)
    stopped = {s: real(f"_stopped{k}") for k, s in enumerate(stopped_terms)}  # constants to the derivative: any value will do
    known = _symbol_values(compile_model(model, "float64"), b, list(stopped.values()))
    lines = [(s.name, e.xreplace(stopped)) for s, e in d.lines]
    call = {e: _numeric(e.xreplace(stopped), known, lines) for f, _, e in terms for e in (f, e)}
    worst = 0.0
    for f, name, e in terms:
        size = _size(known[name])

        def shifted(h: float, f: Any = f, name: str = name) -> np.ndarray:
            return call[f](known | {name: known[name] + h})[None]

        error, _ = _compare(shifted, call[e](known)[None], 1e-4 * size, np.array([[size / _size(call[f](known))]]))
        worst = max(worst, error)
    return worst, DIFFERENCES


def distances(model: Model, b: LivingNetwork) -> np.ndarray | None:
    """What ``event(...)`` of the message was asked about at steps of a run: distances to the threshold in its own scale."""
    from ..compile import discretise
    from ..compile.symbols import Event

    step = discretise.step(model)
    asked = sorted((event.args[0] for event in step.message.atoms(Event)), key=str)
    if not asked or step.shared:
        return None
    cell = compile_model(model, "float64")
    states = simulate(b.net, b.x).states["h"]
    chosen = np.random.default_rng(5).integers(0, states[cell.states[0]].size, POINTS)
    known = _symbol_values(cell, b, []) | {n: states[n].reshape(-1)[chosen] for n in cell.states}
    return np.concatenate([_numeric(part, known, [])(known) for part in asked])


def _symbol_values(cell: Cell, b: LivingNetwork, extra: list[Any]) -> dict[str, np.ndarray]:
    states, inputs = _points(cell, b)
    known = {n: states[j] for j, n in enumerate(cell.states)} | {f"I_{p}": inputs[g] for g, p in enumerate(cell.ports)}
    known |= {n: np.full(POINTS, cell.defaults[n]) for n in cell.model.parameters} | {"dt": np.full(POINTS, b.net.dt)}
    return known | {s.name: np.random.default_rng(k).random(POINTS) for k, s in enumerate(extra)}


def _numeric(
    expr: Any, known: dict[str, np.ndarray], lines: list[tuple[str, Any]]
) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """An expression in names and lines as a function of the values of the names."""
    import sympy

    from ..compile.symbols import real

    def sigmoid(v: Any) -> Any:
        return 0.5 * (1 + np.tanh(0.5 * v))

    functions = {
        "Event": sigmoid,
        "Sigmoid": sigmoid,
        "Psi": lambda v: sigmoid(v) * (1 - sigmoid(v)),
        "Select": lambda e, a, b: e * a + (1 - e) * b,
        "IsZero": lambda v: np.where(v <= 0, 1.0, 0.0),
        "Test": lambda v: np.where(v, 1.0, 0.0),
        "Clip": np.clip,
        "Absolute": np.abs,
        "Sign": np.sign,
    }
    names = sorted(known)

    def compiled(places: list[str], part: Any) -> Callable[..., Any]:
        return sympy.lambdify([real(name) for name in places], part, modules=[functions, "numpy"], dummify=True)

    steps = [compiled([*names, *(n for n, _ in lines[:k])], part) for k, (_, part) in enumerate(lines)]
    function = compiled([*names, *(n for n, _ in lines)], expr)

    def call(values: dict[str, np.ndarray]) -> np.ndarray:
        arguments: list[Any] = [values[n] for n in names]
        for step in steps:
            arguments.append(step(*arguments))
        return np.broadcast_to(np.asarray(function(*arguments), float), (POINTS,))

    return call
