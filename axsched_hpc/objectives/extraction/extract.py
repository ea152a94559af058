"""Read metrics from what a program has written, after it has ended well."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from axsched_hpc.core.metrics import Metrics
from axsched_hpc.io import access, atomic, outcome
from axsched_hpc.objectives.context import insist
from axsched_hpc.objectives.extraction import arrays, documents, lines, tables
from axsched_hpc.objectives.extraction.values import ExtractionError, choose, shown
from axsched_hpc.objectives.kinds import LOGS, Extraction

__all__ = ["Before", "ExtractionError", "before", "metrics"]

Pair = tuple[float, float | None]

_SHOWN = 10


@dataclass(frozen=True)
class Before:
    """What was there before the program was started.

    Attributes
    ----------
    logs
        Sizes of stdout and stderr: a requeued job appends to them.
    files
        What tells each file from what a program that writes to it makes of it.
    """

    logs: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[Path, tuple[int, ...]] = field(default_factory=dict)


def before(extractions: Sequence[Extraction], workdir: Path, stdout: Path, stderr: Path) -> Before:
    """Look at what is there before the program is started.

    A requeued job finds files of its earlier execution, and in a directory that trials share there may be
    those of another trial: they are not this one's.
    """
    logs = {name: _size(path) for name, path in zip(LOGS, (stdout, stderr), strict=True)}
    files = {}
    for path in {workdir / each.file for each in extractions if each.file not in LOGS}:
        try:
            files[path] = _signature(path.stat())
        except OSError:
            continue
    return Before(logs, files)


def metrics(
    extractions: Sequence[Extraction], workdir: Path, stdout: Path, stderr: Path, found: Before | None = None
) -> Metrics:
    """The metrics that a program has written.

    Parameters
    ----------
    workdir
        The program's working directory, to which files are relative.
    stdout, stderr
        The attempt's logs.
    found
        What was there before the program was started.

    Raises
    ------
    ExtractionError
        One cannot be had; the message says which, from which file, and what to do.
    """
    found = found or Before()
    logs = dict(zip(LOGS, (stdout, stderr), strict=True))
    return {each.metric: _metric(each, workdir, logs.get(each.file), found) for each in extractions}


def _metric(extraction: Extraction, workdir: Path, log: Path | None, found: Before) -> Pair:
    path = log or workdir / extraction.file

    def read() -> Pair:
        real = log or _inside(workdir, path)
        handle = access.open_read(real)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if log is None and _signature(status) == found.files.get(path):
                raise ExtractionError(
                    f"{path} was there before the program was started, and the program has not written to it"
                )
            start = found.logs.get(extraction.file, 0) if log else 0
            start = start if start <= status.st_size else 0
            if status.st_size == start:
                raise ExtractionError(f"the program wrote nothing to {path}")
            file.seek(start)
            pair = _READERS[extraction.kind](extraction, file, real)
            if pair is None:
                raise ExtractionError(_nothing(extraction, real, start))
            return pair

    advice = f"Correct extract[{extraction.metric!r}] in the objective's options, or what the program writes."
    try:
        # A program of several nodes may have written it on another one: the listing shows it over NFS.
        atomic.listing(path.parent)
        return insist(read, f"{path} cannot be read", reading=True)
    except ExtractionError as error:
        problem, advice = str(error), error.advice or advice
    except FileNotFoundError:
        problem = _missing(path, workdir)
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror or error}"
    raise ExtractionError(f"Metric {extraction.metric!r}: {problem}. {advice}")


def _inside(workdir: Path, path: Path) -> Path:
    """The file itself, where links lead to it."""
    real, root = Path(os.path.realpath(path)), Path(os.path.realpath(workdir))
    if not real.is_relative_to(root):
        raise ExtractionError(
            f"a link leads from {path} out of the working directory, to {real}",
            advice="Let the program write into its working directory.",
        )
    return real


def _missing(path: Path, workdir: Path) -> str:
    if path.is_symlink():
        return f"{path} is a link to {path.readlink()}, which is not there"
    gone = path
    while gone != workdir and not gone.parent.is_dir():
        gone = gone.parent
    what = "file" if gone == path else "directory"
    names = atomic.listing(gone.parent)
    # Loaded only where a file is missing.
    from difflib import get_close_matches

    near = get_close_matches(gone.name, names, n=_SHOWN, cutoff=0.6)
    if near:
        there = f"there is {', '.join(map(repr, near))}"
    else:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        there = f"its directory has {', '.join(map(repr, names[:_SHOWN])) or 'no files'}{more}"
    return f"there is no {what} {gone}; {there}"


def _nothing(extraction: Extraction, path: Path, start: int) -> str:
    match extraction.kind:
        case "regex":
            tail = [shown(line, 200) for line in outcome.tail(path, start)[-3:]]
            return (
                f"the pattern {extraction.address!r} matches no line of {path}; its last lines are: "
                f"{' | '.join(tail)}"
            )
        case "csv":
            return f"column {extraction.address!r} of {path} has no values"
        case "json":
            return f"there is no value at {extraction.address} in {path}"
        case "last_line":
            return f"{path} has only blank lines"
    return f"{extraction.address} of {path} has no elements"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns


# ---------------------------------------------------------------- kinds


def _regex(extraction: Extraction, file: BinaryIO, path: Path) -> Pair | None:
    return choose(lines.matches(file, path, str(extraction.address)), extraction.which, path)


def _last_line(extraction: Extraction, file: BinaryIO, path: Path) -> Pair | None:
    return choose(lines.last_line(file, path), "last", path)


def _csv(extraction: Extraction, file: BinaryIO, path: Path) -> Pair | None:
    column = tables.column(file, path, extraction.address, extraction.sem, extraction.separator)
    return choose(column, extraction.which, path)


def _json(extraction: Extraction, file: BinaryIO, path: Path) -> Pair | None:
    values = documents.values
    if extraction.file in LOGS:
        values = documents.values_of_log
    elif path.name.endswith(documents.LINES):
        values = documents.values_of_lines
    sem = None if extraction.sem is None else str(extraction.sem)
    return choose(values(file, path, str(extraction.address), sem), extraction.which, path)


def _hdf5(extraction: Extraction, file: BinaryIO, path: Path) -> Pair | None:
    sem = None if extraction.sem is None else str(extraction.sem)
    return arrays.hdf5(path, str(extraction.address), sem, extraction.which)


def _netcdf(extraction: Extraction, file: BinaryIO, path: Path) -> Pair | None:
    sem = None if extraction.sem is None else str(extraction.sem)
    return arrays.netcdf(path, str(extraction.address), sem, extraction.which)


_READERS: dict[str, Callable[[Extraction, BinaryIO, Path], Pair | None]] = {
    "regex": _regex,
    "json": _json,
    "csv": _csv,
    "hdf5": _hdf5,
    "netcdf": _netcdf,
    "last_line": _last_line,
}
