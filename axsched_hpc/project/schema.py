"""The JSON Schema of a project file, for editors: made of the tables by which the file is checked.

``python -m axsched_hpc.project.schema`` writes the one that is shipped anew.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from axsched_hpc.project.keys import PROJECT

NAME = "axsched.schema.json"


def text() -> str:
    """The schema (JSON Schema, draft 2020-12), made anew."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An experiment for axsched run",
        **PROJECT.schema(),
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def shipped() -> str:
    """The schema that came with the package."""
    return (files("axsched_hpc.project") / NAME).read_text(encoding="utf-8")


if __name__ == "__main__":
    Path(__file__).with_name(NAME).write_text(text(), encoding="utf-8")
