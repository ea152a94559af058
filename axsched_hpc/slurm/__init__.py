"""Slurm's commands: argument lists and parsers as pure functions, and one module that runs them."""
