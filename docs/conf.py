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

# References to functions, methods, modules and errors have to lead somewhere. Types of annotations need not:
# those of other packages could only be looked up in the network.
nitpicky = True
nitpick_ignore_regex = [("py:class", r".*"), ("py:mod", r"axsched_hpc\..*")]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["two.css"]
html_title = f"axsched-hpc {release}"
