"""Random Brian2 networks: their import spikes at the same steps and holds the same states, or is refused by its own error.

Both programs add in another order, and what is chaotic multiplies that; a deviation counts as a fault when it comes at once,
not when it grew step by step out of roundings.
"""

from __future__ import annotations

import contextlib
from typing import Any

import brian2 as b2
import numpy as np
import pytest

import spikertrl as srl
from fuzzing import REFUSED, SURVIVED, Worker, fuzz
from interpreted import plain_cells
from spikertrl.brian.read.errors import BrianImportError

STEPS = 200
SMALL, LARGE = 1e-9, 1e-6  # deviations of a state, relative to its largest value: of roundings, and of another computation


@pytest.mark.slow
def test_random_brian_networks() -> None:
    with Worker("fuzz.test_brian_networks:attempt", limit_s=300) as worker:
        fuzz("brian networks", 12, worker.ask)


def attempt(seed: int) -> str:
    """Every fourth network is compiled; of the others the generated text runs as Python, which takes a tenth of the time."""
    with contextlib.nullcontext() if seed % 4 == 0 else plain_cells():
        return imported(seed)


def imported(seed: int) -> str:
    """Build, import, run both, compare."""
    b2.prefs.codegen.target = "numpy"
    b2.BrianLogger.suppress_hierarchy("brian2")
    b2.seed(seed)
    rng = np.random.default_rng([seed, 2])
    b2.defaultclock.dt = float(rng.choice([0.1, 0.2, 0.5])) * b2.ms
    groups, sources, synapses = network(rng, f"s{seed}")
    spikes = {g.name: b2.SpikeMonitor(g) for g in (*groups, *sources)}
    states = {g.name: b2.StateMonitor(g, variables(g), record=True, when="thresholds") for g in groups}
    brian = b2.Network(*groups, *sources, *synapses, *spikes.values(), *states.values())
    try:
        net = srl.from_brian(brian)
    except BrianImportError:
        return REFUSED
    try:
        brian.run(STEPS * b2.defaultclock.dt)
    except Exception:
        return REFUSED  # by Brian2, for its own reasons
    try:
        run = srl.simulate(net, net.brian_inputs(STEPS, replace={g.name: spikes[g.name] for g in sources}))
    except FloatingPointError:
        return REFUSED  # said by population, unit and step
    return compared(run, groups, spikes, states)


def variables(group: Any) -> list[str]:
    """What an equation moves."""
    return sorted(group.equations.diff_eq_names)


def compared(run: srl.Run, groups: list[Any], spikes: dict[str, Any], states: dict[str, Any]) -> str:
    """SURVIVED, or where they part without a reason."""
    gaps, parted = np.zeros(STEPS), STEPS
    for group in groups:
        for name in variables(group):
            theirs, ours = np.asarray(getattr(states[group.name], name)).T, run.states[group.name][name][:, 0]
            gap = np.where(np.isnan(ours) & np.isnan(theirs), 0.0, np.abs(ours - theirs)).max(axis=1)
            gaps = np.maximum(gaps, np.nan_to_num(gap / max(np.nanmax(np.abs(theirs)), 1e-300), nan=np.inf))
        dt, monitor = float(b2.defaultclock.dt), spikes[group.name]
        theirs = set(zip(np.rint(np.asarray(monitor.t) / dt).astype(int).tolist(), np.asarray(monitor.i).tolist(), strict=True))
        step, _, unit = np.nonzero(run.messages[group.name])
        parted = min([parted, *(t for t, _ in theirs ^ set(zip(step.tolist(), unit.tolist(), strict=True)))])
    wide = np.flatnonzero(gaps > LARGE)
    first = min(parted, int(wide[0]) if len(wide) else STEPS)
    if first == STEPS or (first and gaps[:first].max() > SMALL):
        return SURVIVED
    what = "spikes" if first == parted else "states"
    before = gaps[:first].max() if first else 0.0
    return f"{what} part at step {first}, where states differ by {gaps[first]:.2g}, before by {before:.2g}"


# -- what is imported --------------------------------------------------------------------------------------------------
def network(rng: np.random.Generator, tag: str) -> tuple[list[Any], list[Any], list[Any]]:
    """One or two groups of neurons, sources, synapses among them."""
    groups = [neurons(rng, f"{tag}_g{k}") for k in range(int(rng.choice([1, 1, 2])))]
    sources = [source(rng, f"{tag}_p{k}") for k in range(int(rng.choice([0, 1, 1, 2])))]
    pairs = [(one, two) for one in (*groups, *sources) for two in groups if rng.random() < 0.7]
    return groups, sources, [connected(rng, one, two, f"{tag}_c{k}") for k, (one, two) in enumerate(pairs)]


def neurons(rng: np.random.Generator, name: str) -> Any:
    """A group whose equations, threshold, reset, refractoriness, start and input are drawn."""

    def one_of(*texts: str) -> str:
        return str(rng.choice(texts))

    space: dict[str, Any] = {"tau": float(rng.uniform(3, 20)) * b2.ms, "drive": float(rng.uniform(0.2, 1.6))}
    if rng.random() < 0.3:
        wide = rng.random() < 0.5
        values = rng.normal(size=(40, 30) if wide else 40)
        space["signal"] = b2.TimedArray(values, dt=float(rng.choice([0.5, 1.0])) * b2.ms, name=f"{name}_signal")
    where = "t, i" if "signal" in space and space["signal"].values.ndim == 2 else "t"
    told = f" + 0.5*signal({where})" if "signal" in space else ""
    kind = one_of("leaky", "leaky", "quadratic", "exponential", "izhikevich", "conductance", "resonator")
    wait = one_of("", "", " (unless refractory)")
    right = {
        "leaky": f"(drive + x - v{told})/tau",
        "quadratic": f"(v*(v - 0.6)*2 + drive + x{told})/tau",
        "exponential": f"(-v + 0.1*exp(clip((v - 0.8)/0.1, -50, 3)) + drive + x{told})/tau",
        "izhikevich": f"((0.04*(v*95 - 65)**2 + 5*(v*95 - 65) + 140 - u + 10*drive + x{told})/95)/ms",
        "conductance": f"(drive - v + x*(2 - v) - a*(v + 0.2){told})/tau",
        "resonator": f"(-0.3*v - u + drive + x{told})/tau",
    }[kind]
    filtered = "dx/dt = (y_in - x)/(2*ms) : 1\ndy_in/dt = -y_in/(3*ms) : 1"
    lines = [f"dv/dt = {right} : 1{wait}", one_of("dx/dt = -x/(5*ms) : 1", filtered)]
    if kind == "izhikevich":
        lines.append("du/dt = 0.05*(0.2*(v*95 - 65) - u)/ms : 1")
    if kind == "resonator":
        lines.append("du/dt = (v - 0.1*u)/tau : 1")
    if kind == "conductance":
        lines.append(one_of("da/dt = -a/(50*ms) : 1", "da/dt = (0.1*v - a)/(30*ms) : 1"))
    high = one_of("v > 1", "v >= 1", "v > 1 + 0.1*int(i > 2)", "v > vt", "v > 0.8 and x > -1")
    if "vt" in high:
        lines.append(one_of("dvt/dt = (1 - vt)/(20*ms) : 1", "vt : 1"))
    if rng.random() < 0.3:
        lines.append("gain : 1 (constant)")
        lines[0] = lines[0].replace("drive", "gain*drive")
    reset = one_of("v = 0", "v -= 1", "v = -0.1 + 0.1*rate", "v = 0\nx = 0.5*x", "v *= 0.2")
    if "rate" in reset:
        lines.append("rate : 1 (constant)")
    reset += "\na += 0.3" if kind == "conductance" else "\nu += 2" if kind == "izhikevich" else ""
    reset += "\nvt += 0.2" if "vt" in high else ""
    refractory: dict[str, Any] = {}
    if wait or rng.random() < 0.2:
        value = rng.choice(["2*ms", "0*ms", "1*ms + 0.2*ms*int(i > 3)", "late"])
        refractory = {"refractory": str(value) if value != "2*ms" else 2 * b2.ms}
        if value == "late":
            lines.append("late : second (constant)")
    ways = [] if told else {"leaky": ["exact", "exact", "exponential_euler"], "resonator": ["exponential_euler"]}.get(kind, [])
    method = one_of("euler", "rk2", "rk4", "heun", *ways)  # sympy takes minutes to find that a resonator's solution is complex
    size = int(rng.integers(4, 16))
    group = b2.NeuronGroup(
        size, "\n".join(lines), threshold=high, reset=reset, method=method, namespace=space, name=name, **refractory
    )
    group.v = one_of("rand()*0.9", "0", "0.5*i/N", "-0.2")
    for key, text in {"gain": "0.8 + 0.4*rand()", "rate": "rand()", "late": "rand()*3*ms", "vt": "1 + 0.2*rand()"}.items():
        if key in group.variables and key in group.equations.names:
            setattr(group, key, text)
    if rng.random() < 0.15:
        group.run_regularly(one_of("x += 0.05", "x = 0.9*x + 0.01*i", "v += 0.01*sin(t/ms)"), dt=b2.defaultclock.dt)
    return group


def source(rng: np.random.Generator, name: str) -> Any:
    size = int(rng.integers(2, 10))
    if rng.random() < 0.5:
        rates = str(rng.choice(["100*Hz", "(50 + 10*i)*Hz", "80*Hz*(1 + sin(2*pi*20*Hz*t))"]))
        return b2.PoissonGroup(size, rates, name=name)
    dt = float(b2.defaultclock.dt)
    steps = np.stack([rng.permutation(STEPS)[:10] for _ in range(size)])
    return b2.SpikeGeneratorGroup(size, np.repeat(np.arange(size), 10), steps.reshape(-1) * dt * b2.second, name=name)


def connected(rng: np.random.Generator, pre: Any, post: Any, name: str) -> Any:
    """Synapses with weights, statements, a pattern and delays that are drawn."""
    target = "y_in" if "y_in" in post.equations.names and rng.random() < 0.5 else str(rng.choice(["x", "v", "x", "x"]))
    ways = ["{0}_post += w", "{0} += w", "{0}_post += 0.5*w", "{0}_post += w*f", "{0}_post -= w*int(f > 0.5)"]
    statement = str(rng.choice(ways))
    lines = "w : 1" + ("\nf : 1 (constant)" if "f" in statement else "")
    how: Any = statement.format(target)
    if rng.random() < 0.15:
        how = {"fast": how, "slow": "x_post += 0.1*w"}
    syn = b2.Synapses(pre, post, lines, on_pre=how, name=name)
    pattern = int(rng.integers(5))
    if pattern == 0:
        syn.connect()
    elif pattern == 1:
        syn.connect(condition="i != j", p=0.5)
    elif pattern == 2:
        syn.connect(j="(i + k) % N_post for k in range(1, 3)")
    elif pattern == 3:
        size = int(rng.integers(1, 20))
        syn.connect(i=rng.integers(0, len(pre), size), j=rng.integers(0, len(post), size))
    else:
        syn.connect(p=float(rng.uniform(0.1, 0.9)))
    syn.w = str(rng.choice(["0.2*rand()", "0.3*randn()", "0.1", "0.1*(i - j)/10.0"]))
    if "f" in lines:
        syn.f = "rand()"
    if len(syn):
        paths = [getattr(syn, path) for path in how] if isinstance(how, dict) else [syn]
        for path in paths:
            if (late := rng.random()) < 0.3:
                path.delay = "rand()*3*ms"
            elif late < 0.6:
                path.delay = 1 * b2.ms
    return syn
