"""Function objectives: called in the worker's own process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType, TracebackType

from axsched_hpc.core.errors import MetricsError
from axsched_hpc.core.metrics import Metrics, normalise
from axsched_hpc.core.states import FailureKind
from axsched_hpc.objectives import warning
from axsched_hpc.objectives.checkpoint import ContinueLater
from axsched_hpc.objectives.context import ObjectiveFailed, RunContext, Terminated, failed
from axsched_hpc.objectives.install import Installed, load_function
from axsched_hpc.objectives.kinds import what


def run_function(installed: Installed, context: RunContext) -> Metrics:
    """Call the function and check what it returns. The metric file is written with the outcome.

    Raises
    ------
    ObjectiveFailed
        It cannot be loaded, raised, asked the process to exit, or returned something else than metrics.
    Terminated
        The job was told to end, and the function has saved what it wanted to.
    """
    named, seconds = what(installed.objective), installed.objective.warning
    with _Surroundings(context, seconds) as surroundings:
        try:
            function = load_function(installed)
        except Exception as error:  # unpickling imports the user's modules, which may raise anything
            raise _raised(
                error, FailureKind.CANNOT_RUN, f"The {named} cannot be loaded in the job: "
            ) from None
        try:
            returned = function(dict(context.parameters))
        except ContinueLater as error:
            surroundings.end_if_told()
            raise _asked_to_go_on(error, named, context, seconds) from None
        except Exception as error:  # any exception is the objective's failure, not the worker's
            surroundings.end_if_told()
            raise _raised(error, FailureKind.EXCEPTION, "") from None
        except SystemExit as exit_:
            surroundings.end_if_told()
            raise _exited(exit_, named) from None
    try:
        return normalise(returned, source=f"The return value of the {named}")
    except MetricsError as error:
        raise failed(FailureKind.BAD_METRICS, str(error)) from None


class _Surroundings:
    """What a function finds around it: the variables of its checkpoints, and signals as warnings.

    SIGTERM to one that saves checkpoints is a warning as well, since a preempted job gets no other. It ends
    the process after as many seconds as the function was to be warned before the end; a scheduler that grants
    less kills the process.
    """

    def __init__(self, context: RunContext, seconds: int | None) -> None:
        self._variables = context.variables
        self._signals = context.in_job
        self._seconds = seconds
        self._told = False
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Surroundings:
        for name, value in self._variables.items():
            # The debug executor runs functions in the driver's process.
            self._stack.callback(_set, name, os.environ.get(name))
            os.environ[name] = value
        tell = warning.ignore if self._seconds is None else _say_warned
        self._stack.enter_context(warning.telling(tell, enabled=self._signals))
        if self._signals and self._seconds is not None:
            signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._signals and self._seconds is not None:
            # What is left to do is to publish the outcome, which a signal must not interrupt.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self._told:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self._stack.close()

    def end_if_told(self) -> None:
        """End the attempt without an outcome where the process was told to end; the scheduler says why."""
        if self._told:
            raise Terminated(signal.SIGTERM)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._told:
            return
        self._told = True
        signal.signal(signal.SIGALRM, _die)
        signal.setitimer(signal.ITIMER_REAL, self._seconds or 0)
        warning.ring()


def _die(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _say_warned() -> None:
    warning.note("the end of the job's time is near; warned() is true.")


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _asked_to_go_on(
    error: ContinueLater, named: str, context: RunContext, seconds: int | None
) -> ObjectiveFailed:
    said = f" ({error})" if str(error) else ""
    if seconds is not None and context.saved:
        message = f"The {named} saved its state in {context.checkpoint}, to go on in another job{said}."
        return failed(FailureKind.CHECKPOINTED, message, progressed=True)
    why = (
        "that takes set_objective_function(..., checkpointable=True)"
        if seconds is None
        else f"it saved nothing in {context.checkpoint} since it was called"
    )
    message = f"The {named} raised ContinueLater{said} to go on in another job, but {why}."
    return failed(FailureKind.EXCEPTION, message)


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
