"""Brian2 networks to import, after the themes of Brian2's documentation: each function builds one and returns a Case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import brian2 as b2
import numpy as np
from brian2 import Hz, amp, ms, mV, nA, namp, nS, ohm, pA, pF, second, siemens, volt  # noqa: F401  (names of the equations)


class Case(NamedTuple):
    """A network, its populations, its random sources, and what could be trained."""

    objects: list[Any]
    groups: list[Any]
    sources: list[Any]
    trainable: list[Any]


def cuba(n: int = 60) -> Case:
    """Excitation and inhibition as currents that decay, refractory neurons, everything from subgroups of one group."""
    eqs = """
    dv/dt = (ge + gi - (v - El))/taum : volt (unless refractory)
    dge/dt = -ge/(5*ms) : volt
    dgi/dt = -gi/taui : volt
    """
    space = {"taum": 20 * ms, "taui": 10 * ms, "El": -49 * mV, "Vt": -50 * mV, "Vr": -60 * mV, "wi": -9 * mV}
    cells = b2.NeuronGroup(
        n, eqs, threshold="v > Vt", reset="v = Vr", refractory=5 * ms, method="exact", namespace=space, name="cells"
    )
    cells.v = "Vr + rand()*(Vt - Vr)"
    exc = b2.Synapses(cells[: 4 * n // 5], cells, "w : volt", on_pre="ge += w", name="exc", namespace=space)
    inh = b2.Synapses(cells[4 * n // 5 :], cells, on_pre="gi += wi", name="inh", namespace=space)
    for syn in (exc, inh):
        syn.connect(p=0.2)
    exc.w = "(1 + rand())*1.62*mV"
    return Case([cells, exc, inh], [cells], [], [exc.w])


def conductances() -> Case:
    """Conductances that decay, reversal potentials, a bias current of each neuron; exponential Euler."""
    eqs = """
    dv/dt = (gl*(El - v) + ge*(0*mV - v) + gi*(-80*mV - v) + bias)/C : volt (unless refractory)
    dge/dt = -ge/(5*ms) : siemens
    dgi/dt = -gi/(10*ms) : siemens
    bias : amp (constant)
    """
    space = {"gl": 10 * nS, "El": -60 * mV, "C": 200 * pF}
    cells = b2.NeuronGroup(50, eqs, threshold="v > -50*mV", reset="v = El", refractory=3 * ms, method="exponential_euler",
                           namespace=space, name="cells")  # fmt: skip
    cells.v = "El + rand()*8*mV"
    cells.bias = "90*pA + 60*pA*rand()"
    exc = b2.Synapses(cells, cells, "w : siemens", on_pre="ge_post += w", name="exc")
    exc.connect(condition="i < 40", p=0.25)
    exc.w = "rand()*1.2*nS"
    exc.delay = "rand()*2*ms"
    inh = b2.Synapses(cells, cells, "w : siemens", on_pre="gi_post += w", name="inh")
    inh.connect(condition="i >= 40", p=0.4)
    inh.w = "rand()*6*nS"
    return Case([cells, exc, inh], [cells], [], [exc.w, inh.w])


def adaptive_threshold() -> Case:
    """A threshold that jumps at every spike and relaxes; Poisson input."""
    eqs = """
    dv/dt = -v/(10*ms) : volt
    dvt/dt = (10*mV - vt)/(15*ms) : volt
    """
    cells = b2.NeuronGroup(20, eqs, threshold="v > vt", reset="v = 0*mV; vt += 3*mV", method="exact", name="cells")
    cells.vt = 10 * mV
    feed = b2.PoissonGroup(40, 80 * Hz, name="feed")
    syn = b2.Synapses(feed, cells, "w : volt", on_pre="v += w", name="syn")
    syn.connect(p=0.5)
    syn.w = "rand()*4*mV"
    syn.delay = "rand()*5*ms"
    return Case([cells, feed, syn], [cells], [feed], [syn.w])


def exponential() -> Case:
    """Brette and Gerstner's adaptive exponential neuron, in one shared and one per-neuron form; forward Euler."""
    eqs = """
    dvm/dt = (gL*(EL - vm) + gL*DeltaT*exp((vm - VT)/DeltaT) + I - w)/C : volt
    dw/dt = (a*(vm - EL) - w)/tauw : amp
    I : amp
    b : amp (constant)
    DeltaT : volt (shared, constant)
    """
    space = {"C": 281 * pF, "gL": 30 * nS, "EL": -70.6 * mV, "VT": -50.4 * mV, "tauw": 144 * ms, "a": 4 * nS, "Vr": -70.6 * mV}
    cells = b2.NeuronGroup(20, eqs, threshold="vm > VT + 5*DeltaT", reset="vm = Vr; w += b", method="euler", namespace=space,
                           name="cells")  # fmt: skip
    cells.DeltaT = 2 * mV
    cells.vm = "EL + rand()*10*mV"
    cells.b = "(0.05 + 0.05*rand())*nA"
    cells.I = "(0.8 + 0.8*i/20)*nA"
    syn = b2.Synapses(cells, cells, "J : volt", on_pre="vm_post += J", name="syn")
    syn.connect(p=0.3)
    syn.J = "randn()*mV"
    syn.delay = "rand()*4*ms"
    return Case([cells, syn], [cells], [], [syn.J])


def izhikevich() -> Case:
    """Izhikevich's neuron with parameters of each neuron, two kinds of synapses, a regular operation that sets the input."""
    eqs = """
    dv/dt = (0.04*v**2 + 5*v + 140 - u + I + g)/ms : 1
    du/dt = a*(b*v - u)/ms : 1
    dg/dt = -g/(3*ms) : 1
    a : 1 (constant)
    b : 1 (constant)
    c : 1 (constant)
    d : 1 (constant)
    I : 1
    """
    cells = b2.NeuronGroup(40, eqs, threshold="v >= 30", reset="v = c\nu += d", method="euler", name="cells")
    cells.a, cells.b = "0.02 + 0.08*int(i >= 32)", "0.2 + 0.05*int(i >= 32)"
    cells.c, cells.d = "-65 + 15*rand()", "8 - 6*rand()"
    cells.v = -65
    cells.u = "b*v"
    cells.run_regularly("I = 8 + 0.2*i - 0.02*u")
    on_pre = {"slow": "g_post += w*int(not fast)", "quick": "v_post += w*int(fast)"}
    syn = b2.Synapses(cells, cells, "w : 1\nfast : boolean", on_pre=on_pre, name="syn")
    syn.connect(p=0.2)
    syn.w, syn.fast = "rand()*(0.6 - 1.6*int(i >= 32))", "rand() < 0.5"
    syn.slow.delay, syn.quick.delay = "rand()*8*ms", "2*ms"
    return Case([cells, syn], [cells], [], [])


def synfire() -> Case:
    """A packet of spikes travels along a chain of groups; alpha-shaped currents, solved by rk4."""
    eqs = """
    dv/dt = (-(v + 70*mV) + x)/(10*ms) : volt (unless refractory)
    dx/dt = (-x + y)/(0.4*ms) : volt
    dy/dt = -y/(0.4*ms) : volt
    """
    size, links = 12, 8
    chain = b2.NeuronGroup(
        size * links, eqs, threshold="v > -55*mV", reset="v = -70*mV", refractory=1 * ms, method="rk4", name="chain"
    )
    chain.v = "-70*mV + rand()*5*mV"
    rng = np.random.default_rng(2)
    packet = b2.SpikeGeneratorGroup(
        20, np.tile(np.arange(20), 4), np.repeat([5, 25, 45, 65], 20) * ms + rng.random(80) * 2 * ms, name="packet"
    )
    along = b2.Synapses(chain, chain, "w : volt", on_pre="y += w", delay=2 * ms, name="along")
    along.connect(j="k for k in range((int(i/12) + 1)*12, (int(i/12) + 2)*12) if i < N_pre - 12")
    start = b2.Synapses(packet, chain[:size], "w : volt", on_pre="y += w", name="start")
    start.connect()
    along.w, start.w = "(50 + 2*rand())*mV", "35*mV"
    return Case([chain, packet, along, start], [chain], [], [along.w])


def jeffress() -> Case:
    """Two ears hear one tone at different times; detectors fire where delays from both ears make up for it."""
    sound = b2.TimedArray(np.random.default_rng(5).normal(size=400), dt=0.5 * ms, name="sound")
    space = {"sound": sound, "lag": 0.3 * ms, "freq": 40 * Hz}
    hearing = "dx/dt = (4 + sound(t - lag*i) + sin(2*pi*freq*(t - lag*i)) - x)/(1.5*ms) : 1 (unless refractory)"
    ears = b2.NeuronGroup(2, hearing, threshold="x > 2.5", reset="x = 0", refractory=2 * ms, method="euler", namespace=space,
                          name="ears")  # fmt: skip
    cells = b2.NeuronGroup(30, "dv/dt = -v/ms : 1", threshold="v > 1", reset="v = 0", method="exact", name="cells")
    syn = b2.Synapses(ears, cells, "w : 1", on_pre="v += w", name="syn")
    syn.connect()
    syn.w = 0.6
    syn.delay["i == 0"] = "1.5*ms*j/29.0"
    syn.delay["i == 1"] = "1.5*ms*(29 - j)/29.0"
    return Case([ears, cells, syn], [ears, cells], [], [syn.w])


def balanced() -> Case:
    """Two groups, excitatory and inhibitory, strong random weights, delays of each synapse, Poisson drive; rk2 and exact."""
    exc = b2.NeuronGroup(
        40, "dv/dt = -v/tau : 1\ntau : second (constant)", threshold="v > 1", reset="v -= 1", method="rk2", name="exc"
    )
    inh = b2.NeuronGroup(10, "dv/dt = (0.2 - v)/(8*ms) : 1 (unless refractory)", threshold="v > 1", reset="v = 0",
                         refractory="1*ms", method="exact", name="inh")  # fmt: skip
    exc.tau = "(10 + 10*rand())*ms"
    feed = b2.PoissonGroup(50, "60*Hz*(1 + sin(2*pi*20*Hz*t))", name="feed")
    objects: list[Any] = [exc, inh, feed]
    for source, target, low, high in ((feed, exc, 0, 0.4), (feed, inh, 0, 0.3), (exc, exc, 0, 0.15), (exc, inh, 0, 0.3),
                                      (inh, exc, -0.6, 0), (inh, inh, -0.4, 0)):  # fmt: skip
        syn = b2.Synapses(source, target, "w : 1", on_pre="v_post += w", name=f"{source.name}_{target.name}")
        syn.connect(p=0.4)
        syn.w = f"{low} + rand()*({high} - {low})"
        syn.delay = "rand()*1.9*ms"
        objects.append(syn)
    return Case(objects, [exc, inh], [feed], [objects[5].w, objects[7].w, exc.tau])


CASES: dict[str, Callable[[], Case]] = {
    f.__name__: f for f in (cuba, conductances, adaptive_threshold, exponential, izhikevich, synfire, jeffress, balanced)
}
