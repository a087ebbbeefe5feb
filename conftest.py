"""Files that need a package which is not installed are not looked through for examples."""

from importlib.util import find_spec

_NEEDS = {"torch": "torch_layer.py", "sklearn": "estimators.py", "river": "streams.py"}
collect_ignore = [f"spikertrl/bridges/{file}" for package, file in _NEEDS.items() if find_spec(package) is None]
