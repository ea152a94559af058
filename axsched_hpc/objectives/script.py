"""Script objectives: a program of its own, told where its parameters are and where its metrics belong."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from axsched_hpc.core.errors import AxSchedError, MetricsError
from axsched_hpc.core.metrics import Metrics, parse_text
from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import atomic, outcome, parameters
from axsched_hpc.objectives import process
from axsched_hpc.objectives.context import ObjectiveFailed, RunContext, failed, insist, quoted, size
from axsched_hpc.objectives.kinds import ScriptObjective
from axsched_hpc.objectives.placeholders import expand

# Signals that a program brings upon itself; SIGKILL comes from outside, but most often because of what the
# program did.
_KILLED_HINT = " (often the kernel, out of memory: compare the memory asked for with that used)"


@dataclass(frozen=True)
class Command:
    """A program that is about to run.

    Attributes
    ----------
    what
        The program, as a message names it.
    timeout_option
        The option that sets the timeout.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    what: str
    timeout: float | None
    timeout_option: str


def run_script(script: ScriptObjective, files: Path, context: RunContext) -> Metrics:
    """Run the script and read its metrics.

    Raises
    ------
    ObjectiveFailed
        It cannot be started, failed, or wrote no valid metrics.
    Terminated
        The job was told to end; the script has ended.
    """
    make_workdir(context)
    parameters_file = context.parameters_file
    if script.parameters_format != "json":
        parameters_file = context.files.root / f"parameters.{script.parameters_format}"
        try:
            write_parameters(context, parameters_file, script.parameters_format)
        except AxSchedError as error:
            raise failed(FailureKind.CANNOT_RUN, f"The parameter file cannot be written: {error}") from None
    command = command_for(script, files, context, parameters_file, os.environ)
    if not command.directory.is_dir():
        raise failed(
            FailureKind.CANNOT_RUN,
            f"script_options['working_directory'] is {command.directory}, which is no directory on "
            f"{os.uname().nodename}.",
        )
    started = start_of_logs(context)
    ended = execute(command, context)
    if ended.code or ended.timed_out:
        raise ended_badly(ended, command, context, started)
    return read_metrics(command.what, context)


def make_workdir(context: RunContext) -> None:
    """Make the objective's working directory."""
    insist(lambda: atomic.make_directory(context.files.work), f"{context.files.work} cannot be made")


def write_parameters(context: RunContext, path: Path, form: str = "json") -> None:
    """Write the parameters as the objective asked for them."""
    insist(lambda: parameters.write(path, context.parameters, form), f"{path} cannot be written")


def command_for(
    script: ScriptObjective,
    files: Path,
    context: RunContext,
    parameters_file: Path,
    environment: Mapping[str, str],
) -> Command:
    """What to run for a script: argument list, environment and directory."""
    path = files / script.script
    directory = Path(script.working_directory) if script.working_directory else context.files.work
    variables = {
        **environment,
        **dict(script.environment),
        "AXSCHED_PARAMETERS_FILE": str(parameters_file),
        "AXSCHED_METRICS_FILE": str(context.files.metrics),
        "AXSCHED_TRIAL": str(context.trial),
        "AXSCHED_ATTEMPT": str(context.attempt),
        "AXSCHED_WORKDIR": str(directory),
    }
    if path.suffix == ".py":
        # A copy runs: modules beside the original are found through the search path.
        rest = variables.get("PYTHONPATH")
        variables["PYTHONPATH"] = str(Path(script.source).parent) + (os.pathsep + rest if rest else "")
    values = {name: parameters.as_text(value) for name, value in context.parameters.items()} | {
        "parameters": str(parameters_file),
        "metrics": str(context.files.metrics),
        "trial": str(context.trial),
        "attempt": str(context.attempt),
        "workdir": str(directory),
    }
    interpreter = script.interpreter or _interpreter(path)
    argv = (*interpreter, str(path), *expand(script.args, values))
    return Command(argv, variables, directory, script.source, script.timeout, "script_options['timeout']")


def execute(command: Command, context: RunContext, **options: object) -> process.Ended:
    """Run a command with its output in the attempt's logs.

    Raises
    ------
    ObjectiveFailed
        It cannot be started.
    """
    try:
        return process.run(
            command.argv,
            environment=command.environment,
            directory=command.directory,
            stdout=context.files.stdout,
            stderr=context.files.stderr,
            timeout=command.timeout,
            signals=context.in_job,
            **options,  # type: ignore[arg-type]
        )
    except OSError as error:
        raise failed(FailureKind.CANNOT_RUN, _cannot_start(error, command)) from None


def start_of_logs(context: RunContext) -> int:
    """Where this execution's part of stderr.log begins: a requeued job appends to it."""
    return size(context.files.stderr)


def ended_badly(ended: process.Ended, command: Command, context: RunContext, start: int) -> ObjectiveFailed:
    """The failure of a program that ran out of time, was killed, or said that it failed."""
    tail = outcome.tail(context.files.stderr, start)
    said = quoted(tail, context.files.stderr)
    if ended.timed_out:
        message = (
            f"{command.what} ran longer than {command.timeout_option} = {command.timeout:g} s and was ended. "
            f"Raise the option if it needs more; {said}"
        )
        return failed(FailureKind.OBJECTIVE_TIMEOUT, message, tail=tail)
    if ended.code < 0:
        hint = _KILLED_HINT if ended.code == -signal.SIGKILL else ""
        message = f"{command.what} was killed by {_signal_name(-ended.code)}{hint}; {said}"
        return failed(FailureKind.CRASHED, message, signal=-ended.code, tail=tail)
    # Shells and containers report a signal in this way.
    hint = f" (in a shell or container: {_signal_name(ended.code - 128)})" if 128 < ended.code < 160 else ""
    message = f"{command.what} exited with code {ended.code}{hint}; {said}"
    return failed(FailureKind.EXIT_CODE, message, exit_code=ended.code, tail=tail)


def read_metrics(what: str, context: RunContext) -> Metrics:
    """Read what the program wrote to the metric file.

    Raises
    ------
    ObjectiveFailed
        It is missing or not valid.
    """
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


def _interpreter(path: Path) -> Sequence[str]:
    if path.suffix == ".py":
        return (sys.executable,)
    if path.suffix == ".sh" and not (os.access(path, os.X_OK) and _first_line(path).startswith("#!")):
        import shutil  # it loads the compression modules, which a job can do without

        return (shutil.which("bash") or "sh",)
    return ()


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline(200).decode(errors="replace").strip()


def _cannot_start(error: OSError, command: Command) -> str:
    program, node = command.argv[0], os.uname().nodename
    start = f"{command.what} cannot be started on {node}: "
    if error.errno == errno.ENOENT and not Path(program).exists():
        return (
            f"{start}there is no program {program!r} there. Install it on the nodes, load its module, or "
            "give its full path."
        )
    if error.errno == errno.ENOENT:
        return (
            f"{start}the interpreter in its first line ({_first_line(Path(program))}) is not there. Correct "
            "the line."
        )
    if error.errno == errno.ENOEXEC:
        return f"{start}it is neither a program of this machine nor has it a first line such as '#!/bin/sh'."
    if error.errno == errno.EACCES:
        return (
            f"{start}{program} may not be executed. Make it executable (chmod +x); a file system may forbid "
            "it too."
        )
    if error.errno == errno.E2BIG:
        return (
            f"{start}its arguments and environment are too long. Read the values from the parameter file "
            "instead."
        )
    return f"{start}{error.strerror or error}."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
