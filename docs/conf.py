"""Sphinx settings. Nothing is fetched: no intersphinx, no web fonts. ``-D plot_gallery=0`` leaves the examples unrun."""

import sys
from importlib.metadata import version as installed
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "spikertrl"
author = "The spikertrl authors"
copyright = "2026, The spikertrl authors"
version = release = installed("spikertrl")

extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx_gallery.gen_gallery",
    "coverage_check", "model_pages",
]  # fmt: skip
exclude_patterns = ["_build", "gallery/README.rst"]
suppress_warnings = ["ref.python"]  # two records are called Signal, a loss's and a learner's

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_mock_imports = [name for name in ("torch", "sklearn", "river") if find_spec(name) is None]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
add_module_names = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "show_memory": False,
    "reference_url": {"spikertrl": None},
    "reset_modules": ("matplotlib",),
    "remove_config_comments": True,
}

html_theme = "furo"
html_title = "spikertrl"
html_show_sphinx = False
