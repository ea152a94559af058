"""Sphinx configuration; `make docs` builds with warnings as errors."""

from axsched_hpc._version import __version__

project = "axsched-hpc"
author = "axsched-hpc contributors"
project_copyright = "2026, axsched-hpc contributors"
release = __version__
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "data", "results"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"axsched-hpc {release}"
