"""Sphinx settings. Nothing is fetched, for names of others see ``inventories``. ``-D plot_gallery=0`` runs no example."""

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
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx", "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery", "coverage_check", "model_pages",
]  # fmt: skip
exclude_patterns = ["_build", "gallery/README.rst", "inventories"]
suppress_warnings = ["ref.python"]  # two records are called Signal, a loss's and a learner's

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

# Text files, in the first format of Sphinx: a name, what it is, its page. A name that is not there is no link; add it.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "inventories/python.txt"),
    "numpy": ("https://numpy.org/doc/stable", "inventories/numpy.txt"),
    "scipy": ("https://docs.scipy.org/doc/scipy", "inventories/scipy.txt"),
    "matplotlib": ("https://matplotlib.org/stable", "inventories/matplotlib.txt"),
    "brian2": ("https://brian2.readthedocs.io/en/stable", "inventories/brian2.txt"),
    "jax": ("https://docs.jax.dev/en/latest", "inventories/jax.txt"),
}

autodoc_mock_imports = [name for name in ("torch", "sklearn", "river") if find_spec(name) is None]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"Axes": "matplotlib.axes.Axes"}
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
    "capture_repr": ("_repr_html_",),
    "reference_url": {"spikertrl": None},
    "reset_modules": ("matplotlib",),
    "remove_config_comments": True,
}

templates_path = ["_templates"]
html_sidebars = {
    "**": [
        "sidebar/brand.html", "sidebar/search.html", "sidebar/scroll-start.html", "sidebar/navigation.html", "versions.html",
        "sidebar/scroll-end.html",
    ],
}  # fmt: skip
html_theme = "furo"
html_title = "spikertrl"
html_show_sphinx = False
