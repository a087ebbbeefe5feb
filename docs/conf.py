"""Sphinx settings. Nothing is fetched: no intersphinx, no web fonts."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "spikertrl"
author = "The spikertrl authors"
copyright = "2026, The spikertrl authors"
version = release = installed("spikertrl")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "coverage_check", "model_pages"]
exclude_patterns = ["_build"]
suppress_warnings = ["ref.python"]  # two records are called Signal, a loss's and a learner's

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
add_module_names = False

html_theme = "furo"
html_title = "spikertrl"
html_show_sphinx = False
