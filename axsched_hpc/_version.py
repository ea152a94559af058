"""The version of the package, read by setup.cfg, the docs and ``axsched --version``."""

__version__ = "0.1.0"
