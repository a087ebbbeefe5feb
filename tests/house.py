"""The plan of the package as data: rooms in the order in which data flows. Read by ``test_house``."""

from __future__ import annotations

MOST_PARAMETERS = 20
"""Of any function, kernels included."""

ROOMS = (
    # what others build on
    "arguments", "plugins", "derived", "html", "lazy", "loops", "optional", "resources", "fitted", "storage", "threads",
    # text
    "language", "surrogates", "model", "models",
    # -> compile
    "compile", "units",
    # -> network
    "network",
    # -> simulation -> tape
    "tape", "simulation", "losses",
    # -> learner: the contract and what all share, the engines from the ground up, then one learner a file
    "learners.engines.simd", "learners.base", "learners.signs", "learners.readout", "learners.engines.records",
    "learners.engines.weights", "learners.engines.transitions.segments", "learners.engines.transitions.sources",
    "learners.engines.choose", "learners.engines.adjoint", "learners.engines.local.records", "learners.engines.local.layout",
    "learners.engines.as_matrix", "learners.engines.local", "learners.engines.blocks", "learners.engines.kronecker",
    "learners.engines.divide",
    "learners.engines.rows", "learners.engines.products", "learners.engines.transitions", "learners.engines.deferred_kernel",
    "learners.engines.deferred", "learners.engines.one_step", "learners.engines.influence", "learners.engines", "learners",
    # -> training
    "cost", "explanation", "schedules", "optimizers", "constraints", "rewire", "tasks", "training", "callbacks", "experiments",
    "parallel", "rl", "warm",
    # both ends, figures, laws, and the doors
    "brian", "nir", "bridges", "river", "sklearn", "torch", "plot", "checks", "demo", "cli", "",
)  # fmt: skip
"""A module belongs to the longest name that begins its own; it may import from its own room and from those before it."""
