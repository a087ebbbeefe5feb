"""Fill the cache of compiled code before it is needed: on a cluster's nodes, in an image, for a course.

Numba compiles one function after the other in a process; here learners are compiled in several processes at once. What is in
the cache holds for this version of spikertrl and numba and for one kind of processor: other nodes may share the folder.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

import numpy as np

from . import arguments
from . import models as _models
from .resources import cores

LEARNERS = ("RTRL", "SnAp", "EProp", "RFLO", "KFRTRL", "OK", "UORO", "BPTT", "Certified")


def warm(
    models: Sequence[str] = ("egru",), learners: Sequence[str] = ("RTRL", "EProp", "BPTT"), dtype: str = "float32",
    workers: int | None = None,
) -> Iterator[tuple[str, str, float]]:  # fmt: skip
    """Compile what these learners need on these models: sequences, alone and in a batch, whole and in pieces; online steps.

    Parameters
    ----------
    models : sequence of str
        Names of shipped models, or paths of files.
    learners : sequence of str
        Of ``LEARNERS``; "Certified" is the certificate, around ``SnAp``.
    dtype : str
        "float32" or "float64".
    workers : int, optional
        Processes; default one a core.

    Yields
    ------
    tuple
        Model, learner, and the seconds that it took, as they are done.

    Raises
    ------
    ValueError
        For an unknown model or learner, or none.

    Examples
    --------
    >>> from spikertrl.warm import warm
    >>> [model for model, learner, seconds in warm(["egru"], ["BPTT"], workers=1)]
    ['egru']
    """
    for what, names in (("models", models), ("learners", learners)):
        if not names:
            raise arguments.refuse("warm", what, names, "at least one name")
    for name in learners:
        arguments.choice("warm", "learners", name, LEARNERS)
    for model in models:
        _models.load(model)
    # the first model compiles all loops; the others need their own cells, and little else
    first, rest = [(models[0], name) for name in learners], [(model, learners[0]) for model in models[1:]]
    most = cores() if workers is None else arguments.whole("warm", "workers", workers, 1)
    if most == 1:
        for model, name in [*first, *rest]:
            yield model, name, use(model, name, dtype)
        return
    with ProcessPoolExecutor(most, multiprocessing.get_context("spawn")) as pool:
        jobs = {pool.submit(use, model, name, dtype): (model, name) for model, name in [*first, *rest]}
        for job in as_completed(jobs):
            yield (*jobs[job], job.result())


def use(model: str, learner: str, dtype: str) -> float:
    """Take a small network of a model through all that a learner can be asked for; seconds that it took."""
    from . import learners as _learners
    from . import losses, optimizers
    from .network.network import Network
    from .training.gradients import gradient
    from .training.online import Online

    began = time.perf_counter()
    kind = _learners.Certified(_learners.SnAp()) if learner == "Certified" else getattr(_learners, learner)()
    net = Network(dtype).add_input("x", 2).add_population("h", _models.load(model), 20).connect("x", "h")
    net = net.connect("h", "h", density=0.2, seed=0).add_readout("z", "h", 2).initialize(0)
    rng = np.random.default_rng(0)
    for lanes in (1, 4):
        x, loss = rng.normal(size=(24, lanes, 2)).astype(dtype), losses.cross_entropy(np.zeros(lanes, int), at="last")
        for tau in (None, 6):
            gradient(net, kind, x, loss, tau=tau)
    if learner != "BPTT":
        online = Online(net, kind, optimizers.adam(1e-3), losses.squared_error)
        for x in rng.normal(size=(3, 2)):
            online.predict_one(x)
            online.learn_one(np.zeros(2))
    return time.perf_counter() - began
