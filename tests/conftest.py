"""Settings every test runs under: no window is opened, and random examples have no deadline (the first call may compile)."""

import logging
import os

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
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

TOGETHER = "laws checkpoint exactness transition kronecker estimators local routes many_users".split()


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in a hook of the same name
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For xdist: a file a process, and files that compile the same loops one after the other in one process."""
    for item in items if config.pluginmanager.hasplugin("xdist") else ():
        name = item.path.stem.removeprefix("test_")
        item.add_marker(pytest.mark.xdist_group("loops" if name in TOGETHER else f"{item.path.parent.name}_{name}"))
