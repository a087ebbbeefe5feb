"""Settings every test runs under: no window is opened, and random examples have no deadline (the first call may compile)."""

import logging
import os

os.environ.setdefault("MPLBACKEND", "Agg")

from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")

collect_ignore = ["ranks"]  # programs for mpiexec

from interpreted import interpreted  # noqa: E402, F401  (a fixture)

logging.getLogger("spikertrl.compile").setLevel(logging.ERROR)  # how long compiling takes is no matter of the tests
