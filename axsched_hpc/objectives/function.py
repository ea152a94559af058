"""Function objectives: called in the worker's own process."""

from __future__ import annotations

import sys
from types import TracebackType

from axsched_hpc.core.errors import MetricsError
from axsched_hpc.core.metrics import Metrics, normalise
from axsched_hpc.core.states import FailureKind
from axsched_hpc.objectives.context import ObjectiveFailed, RunContext, failed
from axsched_hpc.objectives.install import Installed, load_function
from axsched_hpc.objectives.kinds import what


def run_function(installed: Installed, context: RunContext) -> Metrics:
    """Call the function and check what it returns. The metric file is written with the outcome.

    Raises
    ------
    ObjectiveFailed
        It cannot be loaded, raised, asked the process to exit, or returned something else than metrics.
    """
    named = what(installed.objective)
    try:
        function = load_function(installed)
    except Exception as error:  # unpickling imports the user's modules, which may raise anything
        raise _raised(error, FailureKind.CANNOT_RUN, f"The {named} cannot be loaded in the job: ") from None
    try:
        returned = function(dict(context.parameters))
    except Exception as error:  # any exception is the objective's failure, not the worker's
        raise _raised(error, FailureKind.EXCEPTION, "") from None
    except SystemExit as exit_:
        raise _exited(exit_, named) from None
    try:
        return normalise(returned, source=f"The return value of the {named}")
    except MetricsError as error:
        raise failed(FailureKind.BAD_METRICS, str(error)) from None


def _raised(error: Exception, kind: FailureKind, prefix: str) -> ObjectiveFailed:
    import traceback  # most jobs succeed and need none

    # The first frame is ours.
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    text = "".join(traceback.format_exception(type(error), error, frames))
    sys.stderr.write(text)
    sys.stderr.flush()
    message = f"{prefix}{type(error).__name__}: {error}{_location(frames)}"
    return failed(kind, message, tail=[line for line in text.splitlines() if line.strip()])


def _location(frames: TracebackType | None) -> str:
    if frames is None:
        return ""
    while frames.tb_next is not None:
        frames = frames.tb_next
    code = frames.tb_frame.f_code
    return f" (in {code.co_name}, {code.co_filename}, line {frames.tb_lineno})"


def _exited(exit_: SystemExit, named: str) -> ObjectiveFailed:
    code = exit_.code
    number = 0 if code is None else code if isinstance(code, int) else 1
    said = f" ({code})" if isinstance(code, str) else ""
    message = (
        f"The {named} called sys.exit with code {number}{said} instead of returning its metrics. "
        "Return a dict, or raise an exception that says what is wrong."
    )
    return failed(FailureKind.EXIT_CODE, message, exit_code=number)
