"""A look at a script that is there already: what runs it, and what it lacks to be an objective."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from axsched_hpc.core.errors import ObjectiveError
from axsched_hpc.io.parameters import variables
from axsched_hpc.objectives.kinds import INTERPRETERS

#: How much of a script is looked at.
_LOOK = 1_000_000

#: How a language reads a number from a variable and writes a metric: {name}, {variable}, {metric}.
_LINES: dict[str, dict[str, tuple[str, ...]]] = {
    ".py": {
        "parameters": ("import os", '{name} = float(os.environ["{variable}"])'),
        "metrics": (
            "import os",
            'with open(os.environ["AXSCHED_METRICS_FILE"], "w") as file:',
            '    print("{metric}", {metric}, file=file)',
        ),
    },
    ".sh": {
        "parameters": ('{name}="${variable}"',),
        "metrics": ('echo "{metric} ${metric}" >"$AXSCHED_METRICS_FILE"',),
    },
    ".R": {
        "parameters": ('{name} <- as.numeric(Sys.getenv("{variable}"))',),
        "metrics": ('writeLines(paste("{metric}", {metric}), Sys.getenv("AXSCHED_METRICS_FILE"))',),
    },
    ".jl": {
        "parameters": ('{name} = parse(Float64, ENV["{variable}"])',),
        "metrics": ('write(ENV["AXSCHED_METRICS_FILE"], "{metric} ${metric}\\n")',),
    },
    ".pl": {
        "parameters": ('my ${name} = $ENV{{"{variable}"}};',),
        "metrics": (
            'open(my $file, ">", $ENV{{"AXSCHED_METRICS_FILE"}}) or die;',
            'print $file "{metric} ${metric}\\n";',
            "close $file;",
        ),
    },
}
_LINES[".r"] = _LINES[".R"]


@dataclass(frozen=True)
class OwnScript:
    """What was found.

    Attributes
    ----------
    runs
        What runs it, in words.
    interpreter
        What has to be named in the file so that it runs; empty where nothing has.
    lacks
        What it seems to do nowhere: to read a parameter, to write a metric.
    """

    path: Path
    runs: str
    interpreter: tuple[str, ...]
    lacks: tuple[str, ...]


def look(path: Path) -> OwnScript:
    """Look at a script.

    Raises
    ------
    ObjectiveError
        It is missing, cannot be read, or nothing is known that runs it.
    """
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise ObjectiveError(f"The script {path} {what}. Nothing was written.")
    try:
        with path.open("rb") as file:
            content = file.read(_LOOK)
    except OSError as error:
        raise ObjectiveError(f"The script {path} cannot be read: {error.strerror or error}.") from None
    first = content.partition(b"\n")[0].decode(errors="replace").strip()
    lacks = []
    if not any(word in content for word in (b"AXSCHED_PARAMETER", b"axsched_parameter")):
        lacks.append("parameters")
    if not any(word in content for word in (b"AXSCHED_METRICS_FILE", b"axsched_metric")):
        lacks.append("metrics")
    runs, interpreter = _runs(path, first, binary=b"\0" in content)
    return OwnScript(path, runs, interpreter, tuple(lacks))


def _runs(path: Path, first: str, *, binary: bool) -> tuple[str, tuple[str, ...]]:
    executable = os.access(path, os.X_OK)
    begins = tuple(first[2:].split()) if first.startswith("#!") else ()
    if path.suffix == ".py":
        return f"{sys.executable}, the Python of axsched (the key interpreter names another)", ()
    if executable and begins:
        return f"{' '.join(begins)}, as its first line says", ()
    if path.suffix in INTERPRETERS:
        program = INTERPRETERS[path.suffix] or "python"
        there = "" if shutil.which(program) else ", which is not on PATH here"
        return f"{program}{there}", ()
    if executable and binary:
        return "the system: it is a program", ()
    if begins:
        return f"{' '.join(begins)}, as its first line says; it is not executable itself", begins
    how = "has no first line such as #!/bin/sh" if executable else "is not executable"
    raise ObjectiveError(
        f"The script {path} {how}, and its name ends with none of {', '.join(INTERPRETERS)}, so that nothing "
        "is known that runs it. Begin it with #! and the program that does, and make it executable: "
        f"chmod +x {path}"
    )


def advice(script: OwnScript, lacks: Sequence[str], parameters: Sequence[str], metric: str) -> str:
    """What the script has to read and write still, with the lines to add."""
    first = parameters[0]
    variable = next(iter(variables({first: 0})))
    needs = {
        "parameters": f"read its parameters: {variable} in its environment has {first}; all of them are in "
        "the file that AXSCHED_PARAMETERS_FILE names, as JSON",
        "metrics": f'write its metric to the file that AXSCHED_METRICS_FILE names: a line "{metric} 0.25", '
        f'or JSON, {{"{metric}": 0.25}}',
    }
    said = ["It seems not to", *(f"  - {needs[what]}" for what in lacks)]
    lines = _LINES.get(script.path.suffix)
    if lines is not None:
        plain = re.sub(r"\W", "_", first, flags=re.ASCII)
        words = {"name": plain, "variable": variable, "metric": metric}
        said.append("Lines to add, such as:")
        said += ["    " + line.format(**words) for what in lacks for line in lines[what]]
    said.append(
        "Or leave it as it is; see args (parameters as arguments) and extract (a metric from what it prints) "
        "in axsched.yaml."
    )
    return "\n".join(said)
