"""The laws over every model x every learner, both found by scanning; random networks; and that they catch what is broken."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikertrl as srl
from networks import CORE, OUTPUTS, drive, marked, randomize, readout_loss, single, stacked, worst_block
from spikertrl import Model, Network, Parameter, Port, State, learners, surrogates
from spikertrl.checks import Report, check_learner, check_model
from spikertrl.checks.model_laws import width
from spikertrl.checks.networks import living_network
from spikertrl.checks.report import judge
from spikertrl.models import load
from tolerances import ALIVE, EXACT64

NAMES = srl.models.names()
SETTINGS = {  # representative settings of each learner; a learner not named here is tried with its defaults
    "Certified": ({"learner": srl.SnAp(1), "directions": 3},),
    "BPTT": ({}, {"truncate": 5}, {"truncate": 6, "stride": 3}),
    "RTRL": ({}, {"dense": True}),
    "SnAp": ({"order": 1}, {"order": 2}),
    "KFRTRL": ({}, {"samples": 3}),
    "OK": ({"rank": 1}, {"rank": 3}),
    "RFLO": ({}, {"feedback": "symmetric"}),
    "RandomPaths": ({"paths": 2},),
    "UORO": ({"samples": 4},),
    "EProp": tuple({"feedback": kind} for kind in ("symmetric", "random", "adaptive")),
}
UNSUPPORTED = {  # (learner class, model) -> reason: strict xfails
    ("UORO", "adex"): "one norm for volts and amperes: the draws scatter 1e9 times the gradient's norm",
}


def _learners() -> list[learners.Learner]:
    """Every public dataclass of ``spikertrl.learners`` that keeps the contract, at its representative settings."""
    found: dict[str, type] = {}
    for info in pkgutil.iter_modules(learners.__path__):
        module = importlib.import_module(f"{learners.__name__}.{info.name}")
        for name, thing in vars(module).items():
            if (
                dataclasses.is_dataclass(thing)
                and thing.__module__ == module.__name__
                and all(hasattr(thing, n) for n in ("init", "update", "claim"))
            ):
                found[name] = thing
    return [kind(**values) for name, kind in sorted(found.items()) for values in SETTINGS.get(name, ({},))]


LEARNERS = _learners()


# Several states, minutes of compiling: by default with one setting of each kind of learner.
HEAVY = "egru_subramoney_2023"


def _later(learner: learners.Learner, name: str) -> bool:
    return name not in CORE or (
        name == HEAVY and learner not in (srl.RTRL(), srl.SnAp(2), srl.KFRTRL(), srl.EProp(), srl.BPTT())
    )


def _pairs() -> list:
    marks = {key: [pytest.mark.xfail(strict=True, reason=reason)] for key, reason in UNSUPPORTED.items()}
    return [
        pytest.param(
            learner, name,
            marks=marks.get((type(learner).__name__, name), []) + [pytest.mark.slow] * _later(learner, name),
        )
        for learner in LEARNERS
        for name in NAMES
    ]


def test_scanning_finds_all_that_is_exported() -> None:
    exported = {name for name in learners.__all__ if name not in ("Learner", "Signal")}
    assert {type(learner).__name__ for learner in LEARNERS} == exported
    assert set(SETTINGS) <= exported


@pytest.mark.parametrize("name", marked(NAMES, slow=("egru_subramoney_2023", "gru", "threshold_rnn")))
def test_models(name: str) -> None:
    report = check_model(name)
    assert report.passed, str(report)


@pytest.mark.parametrize(("learner", "name"), _pairs(), ids=str)
def test_learners(learner: learners.Learner, name: str) -> None:
    report = check_learner(learner, models=(name,))
    assert report.passed, str(report)


# -- random networks -----------------------------------------------------------------------------------------------------
@settings(max_examples=40)
@given(data=st.data())
def test_exact_learners_agree_on_any_network(data: st.DataObject) -> None:
    """Any mask (empty rows too), delays, lanes, length, tape, readout decay, one or two populations of any model."""
    pick = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    net = Network("float64").add_input("x", 2, kind=data.draw(st.sampled_from(["analog", "event"])))
    sizes = [pick(1, 5) for _ in range(pick(1, 2))]
    rng = np.random.default_rng(pick(0, 1000))
    for k, size in enumerate(sizes):
        net.add_population(f"p{k}", srl.models.load(data.draw(st.sampled_from(CORE))), size)
        net.connect("x", f"p{k}", delay=pick(0, 2))
        for source in range(k + 1):
            shape = (size, sizes[source])
            net.connect(
                f"p{source}",
                f"p{k}",
                mask=rng.random(shape) < data.draw(st.sampled_from([0.0, 0.4, 1.0])),
                delay=rng.integers(1, pick(2, 8), shape),
            )
    last = len(sizes) - 1
    net.add_readout("z", f"p{last}", OUTPUTS, decay=data.draw(st.sampled_from([0.0, 0.7]))).initialize(0)
    randomize(net, rng)
    steps, lanes = pick(1, 20), pick(1, 3)
    x, loss = drive(steps, lanes, channels=2), readout_loss(steps, lanes)
    expected = srl.gradient(net, srl.BPTT(), x, loss)[1]
    for learner in (srl.RTRL(), srl.RTRL(dense=True), srl.SnAp(sum(sizes) + 1)):
        gap, where = worst_block(net, srl.gradient(net, learner, x, loss, tau=pick(1, steps))[1], expected)
        assert gap < EXACT64, (learner, where)


@pytest.mark.parametrize("name", marked(NAMES))
def test_snap_reaches_rtrl_and_its_error_falls(name: str) -> None:
    """On a chain with a ring at its end, order by order."""
    ring = np.eye(5, k=-1, dtype=bool)
    ring[0, 4] = True
    net = Network("float64").add_input("x", 3).add_population("h", srl.models.load(name), 5)
    net.connect("x", "h").connect("h", "h", mask=ring).add_readout("z", "h", OUTPUTS).initialize(0)
    randomize(net, np.random.default_rng(0))
    x, loss = drive(25, 4, seed=2), readout_loss(25, 4)
    exact = srl.gradient(net, srl.RTRL(), x, loss)[1]
    assert np.linalg.norm(exact) > ALIVE
    errors = [
        np.linalg.norm(srl.gradient(net, srl.SnAp(n), x, loss)[1] - exact) / np.linalg.norm(exact) for n in (1, 2, 3, 4, 5)
    ]
    assert errors[-1] < EXACT64 < errors[0]
    assert errors[3] < errors[0], errors


def test_event_input_equals_analog_input() -> None:
    x = drive(20, 3) * (np.random.default_rng(0).random((20, 3, 3)) < 0.3)
    nets = [single("alif", kind=kind) for kind in ("analog", "event")]
    gradients = [srl.gradient(net, srl.RTRL(), x, readout_loss(20, 3))[1] for net in nets]
    assert np.array_equal(nets[0].theta, nets[1].theta) and np.linalg.norm(gradients[0]) > ALIVE
    assert worst_block(nets[0], gradients[1], gradients[0])[0] < EXACT64


def test_a_sparse_connection_equals_a_dense_one_with_zeros() -> None:
    """The same weights through BLAS, or event by event: nothing is lost where synapses are missing."""
    sparse_net, rng = single("egru", units=6), np.random.default_rng(1)
    mask = np.asarray(sparse_net.view(sparse_net.theta)["h<-h"]["u"].toarray() != 0)
    dense = Network("float64").add_input("x", 3).add_population("h", srl.models.egru, 6)
    dense.connect("x", "h").connect("h", "h").add_readout("z", "h", OUTPUTS, decay=0.5)
    old, new = sparse_net.view(sparse_net.theta), dense.view(dense.theta)
    for group, named in old.items():
        for name, values in named.items():
            new[group][name][...] = values.toarray() if group == "h<-h" else values
    x, loss = rng.normal(size=(20, 2, 3)) + 0.5, readout_loss(20, 2)
    found, expected = (srl.gradient(net, srl.RTRL(), x, loss)[1] for net in (sparse_net, dense))
    for port, weights in sparse_net.view(found)["h<-h"].items():
        assert np.abs(weights).max() > 0
        np.testing.assert_allclose(weights.toarray(), dense.view(expected)["h<-h"][port] * mask, rtol=EXACT64, atol=1e-14)


def test_smooth_networks_equal_finite_differences() -> None:
    """No psi in sight: the whole gradient along a random direction."""
    for name in ("rnn", "gru", "rhn"):
        net = stacked(name, "gru")
        x, rng = drive(10, 2), np.random.default_rng(0)
        loss = srl.losses.squared_error(rng.normal(size=(10, 2, OUTPUTS)), readout="slow")
        grad = srl.gradient(net, srl.RTRL(), x, loss)[1]
        direction, theta, ends = rng.normal(size=grad.shape), net.theta.copy(), []
        for k in (-2, -1, 1, 2):
            net.theta = theta + 1e-4 * k * direction
            ends.append(srl.gradient(net, srl.Immediate(), x, loss)[0])
        slope = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / 12e-4
        assert abs(slope) > ALIVE and grad @ direction == pytest.approx(slope, rel=1e-8)


# -- models and learners as a user would write them ------------------------------------------------------------------------
USERS = {
    "izhikevich": '''
MODEL = Model(
    name="izhikevich",
    equations="""
    dv/dt = (0.04/ms/mV)*v**2 + (5/ms)*v + 140*mV/ms - u : volt
    du/dt = a*(b*v - u) : volt/second
    """,
    threshold="v > 30*mV", reset="v = c; u += d", receive="v += I_v", method="euler",
    states={"v": State("-65*mV", unit="volt"), "u": State("-13*mV/ms", unit="volt/second")},
    ports={"v": Port(unit="volt")},
    parameters={
        "a": Parameter("0.02/ms", unit="1/second"), "b": Parameter("0.2/ms", unit="1/second"),
        "c": Parameter("-65*mV", unit="volt"), "d": Parameter("8*mV/ms", unit="volt/second", trainable=True),
    },
)
''',
    "resonate_and_fire": '''
MODEL = Model(
    name="resonate_and_fire",
    update="""
    x_new = decay*(cos(omega)*x - sin(omega)*w) + I_x
    w = where(y > 0, 0, decay*(sin(omega)*x + cos(omega)*w))
    x = x_new
    """,
    message="event(w - theta)",
    states={"x": State(), "w": State()}, ports={"x": Port()},
    parameters={"decay": Parameter(0.95), "omega": Parameter(0.3, trainable=True), "theta": Parameter(1.0, trainable=True)},
    surrogate=surrogates.gaussian(),
)
''',
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "izhikevich")) for n in USERS])
def test_a_model_never_seen_before_passes(name: str, tmp_path) -> None:
    path = tmp_path / f"{name}.py"
    path.write_text("from spikertrl import Model, Parameter, Port, State, surrogates\n" + USERS[name])
    report = check_model(path)
    assert report.passed, str(report)
    assert not [law for law in report.laws if law.status == "skipped"]


TAU = {"tau": Parameter("10*ms", unit="second")}
BROKEN = {
    "alive": Model("mute", update="v = I_v", message="0*event(v)", states={"v": State()}, ports={"v": Port()}),
    "units agree": Model(
        "wrong_unit",
        equations="dv/dt = -v/tau : volt",
        threshold="v > v_th",
        reset="v = 0*v_th",
        receive="v += I_v",
        states={"v": State(unit="volt")},
        ports={"v": Port()},
        parameters=TAU | {"v_th": Parameter("1*mV", unit="volt")},
    ),
    "reset leaves the threshold": Model(
        "no_reset",
        equations="dv/dt = -v/tau : 1",
        threshold="v > 1",
        reset="v += 0.1",
        receive="v += I_v",
        states={"v": State()},
        ports={"v": Port()},
        parameters=TAU,
    ),
}


@pytest.mark.parametrize("law", BROKEN)
def test_the_laws_catch_broken_models(law: str) -> None:
    report = check_model(BROKEN[law])
    assert not report.passed and report[law].status == "failed" and report[law].name in str(report)


def test_a_pseudo_derivative_wider_than_the_unit_is_told() -> None:
    """20 mV from rest to threshold, seen through a triangle of 1 V: no law is broken, and the report says what to do."""
    lif = load("lif")
    for model, status in ((lif, "passed"), (lif.replace(surrogate=surrogates.triangle(0.3, 50.0)), "warned")):
        found = judge("fits", lambda model=model: width(model, living_network(model)))
        assert found.status == status and (status == "passed" or "threshold_scale=" in found.reason)
    assert Report("unit", (found,)).passed and "1 warned" in str(Report("unit", (found,)))


def test_an_integrator_that_nothing_resets_is_flagged() -> None:
    stuck = Model("stuck", update="v = v + I_v", message="event(v - 1)", states={"v": State()}, ports={"v": Port()})
    assert [law.name for law in check_model(stuck).failures] == ["reset leaves the threshold"]


def test_a_file_that_does_not_load_is_reported(tmp_path) -> None:
    path = tmp_path / "empty.py"
    path.write_text("x = 1\n")
    report = check_model(path)
    assert not report.passed and "assigns no MODEL" in str(report)


@dataclasses.dataclass(frozen=True)
class Wrapped:
    """Exact RTRL with something broken."""

    fault: str = ""
    claim = "exact"

    def init(self, net, batch):
        return [srl.RTRL().init(net, batch), []]

    def update(self, state, tape, signal):
        grad = srl.RTRL().update(state[0], tape, signal)
        if self.fault == "scale":
            grad *= 1.01
        elif self.fault == "leak":
            state[1].append(grad.copy())
        elif self.fault == "mutate":
            signal.dz[...] = 0
        elif self.fault == "type":
            grad = grad.astype(np.float32)
        elif self.fault == "random":
            grad *= 1 + np.random.default_rng().normal() * 1e-3
        return grad


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        ("scale", "claim: exact"),
        ("leak", "memory is flat"),
        ("mutate", "nothing is mutated"),
        ("type", "gradient is like theta"),
        ("random", "same settings, same gradient"),
    ],
)
def test_the_laws_catch_broken_learners(fault: str, law: str) -> None:
    assert check_learner(Wrapped(), models=("egru",)).passed
    report = check_learner(Wrapped(fault), models=("egru",))
    assert f"{law} [egru]" in {found.name for found in report.failures}, str(report)


@dataclasses.dataclass(frozen=True)
class Signs:
    """The exact gradient times 1 + a random sign: unbiased; ``bias`` makes it a liar."""

    seed: int = 0
    bias: float = 0.0
    claim = "unbiased"

    def init(self, net, batch):
        return srl.RTRL().init(net, batch), np.random.default_rng(self.seed).choice([-1.0, 1.0], net.wiring.n_recurrent)

    def update(self, state, tape, signal):
        grad = srl.RTRL().update(state[0], tape, signal)
        grad[state[0].wiring.col_theta] *= (1 + state[1] + self.bias).astype(grad.dtype)
        return grad


def test_unbiased_claims_are_checked() -> None:
    assert check_learner(Signs(), models=("alif",)).passed
    report = check_learner(Signs(bias=0.5), models=("alif",))
    assert [law.name for law in report.failures] == ["claim: unbiased [alif]"], str(report)


def test_a_claim_nobody_knows_and_settings_that_change_are_refused() -> None:
    class Odd(Wrapped):
        claim = "perfect"

    assert "claim must be one of" in str(check_learner(Odd()))
    assert not check_learner(object()).passed
