"""The metrics of a program that has ended well: from its metric file, and from what else it has written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from axsched_hpc.core.errors import MetricsError
from axsched_hpc.core.metrics import Metrics, parse_text
from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import atomic, outcome
from axsched_hpc.objectives.context import RunContext, failed, insist
from axsched_hpc.objectives.kinds import ProgramObjective

if TYPE_CHECKING:
    from axsched_hpc.objectives.extraction.extract import Before


def before(objective: ProgramObjective, context: RunContext, directory: Path) -> Before | None:
    """What there is before the program is started, where metrics are extracted from what it writes.

    Parameters
    ----------
    directory
        Its working directory, on the host.
    """
    if not objective.extract:
        return None
    from axsched_hpc.objectives.extraction import extract  # most programs write their metrics

    return extract.before(objective.extract, directory, context.files.stdout, context.files.stderr)


def read(
    objective: ProgramObjective, what: str, context: RunContext, directory: Path, found: Before | None
) -> Metrics:
    """The metrics of a program that has ended well.

    Parameters
    ----------
    what
        The program, as a message names it.
    found
        What :func:`before` returned.

    Raises
    ------
    ObjectiveFailed
        They are missing or not valid.
    """
    if found is None:
        return _written(what, context)
    from axsched_hpc.objectives.extraction import extract

    files = context.files
    try:
        extracted = extract.metrics(objective.extract, directory, files.stdout, files.stderr, found)
    except extract.ExtractionError as error:
        raise failed(
            FailureKind.BAD_METRICS,
            f"{what} exited with code 0, but its metrics cannot be read. {error}",
            exit_code=0,
            tail=outcome.tail(files.stderr, found.logs["stderr"]),
        ) from None
    if files.metrics.name not in atomic.listing(files.metrics.parent):
        return extracted
    written = _written(what, context)
    if twice := sorted(written.keys() & extracted.keys()):
        raise failed(
            FailureKind.BAD_METRICS,
            f"{what} wrote the metric {twice[0]!r} to {files.metrics}, and the option 'extract' reads it "
            "from its output too. Leave out one of them.",
            exit_code=0,
        )
    return {**written, **extracted}


def _written(what: str, context: RunContext) -> Metrics:
    """What the program wrote to the metric file."""
    path = context.files.metrics
    # A program of several nodes may have written it on another one; the listing makes it visible over NFS.
    if path.name not in atomic.listing(path.parent):
        tail = outcome.tail(context.files.stderr)
        message = (
            f"{what} exited with code 0, but wrote no metrics file {path}; "
            'write {"metric": value} to the path in AXSCHED_METRICS_FILE.'
        )
        raise failed(FailureKind.BAD_METRICS, message, exit_code=0, tail=tail)
    try:
        text = insist(lambda: atomic.read_text(path), f"{path} cannot be read", reading=True)
        return parse_text(text, source=str(path))
    except MetricsError as error:
        message = str(error)
    except UnicodeDecodeError:
        message = f'{path} is not text. Write the metrics there as JSON: {{"metric": value}}.'
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}."
    raise failed(FailureKind.BAD_METRICS, message, exit_code=0, tail=outcome.tail(context.files.stderr))
