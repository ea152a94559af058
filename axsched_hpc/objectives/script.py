"""Script objectives: a program of its own, told where its parameters are and where its metrics belong."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from axsched_hpc.core.errors import AxSchedError
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.record import Record
from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import cgroup, outcome, parameters, processes
from axsched_hpc.objectives import process, results, workspace
from axsched_hpc.objectives.context import ObjectiveFailed, RunContext, failed, insist, quoted, size
from axsched_hpc.objectives.kinds import INTERPRETERS, ScriptObjective
from axsched_hpc.objectives.placeholders import expand

#: Functions for objectives that are shell scripts.
_SHELL_LIBRARY = Path(__file__).resolve().parents[1] / "slurm_templates" / "axsched.sh"


class Command(Record):
    """A program that is about to run.

    Attributes
    ----------
    what
        The program, as a message names it.
    options
        What the user's options for it are called.
    warning
        Seconds before the end of the job's time at which it is told to save; None: it saves no checkpoints.
    warning_signal
        The signal that tells it, without ``SIG``.
    output_limit
        Bytes of each of its two outputs that are kept; None: all.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    what: str
    timeout: float | None
    options: str
    warning: int | None = None
    warning_signal: str = "USR1"
    output_limit: int | None = None

    @property
    def warn(self) -> signal.Signals | None:
        """The signal that tells it to save; None where it saves no checkpoints."""
        return None if self.warning is None else signal.Signals[f"SIG{self.warning_signal}"]


def run_script(script: ScriptObjective, files: Path, context: RunContext) -> Metrics:
    """Run the script and read its metrics.

    Raises
    ------
    ObjectiveFailed
        It cannot be started, failed, or wrote no valid metrics.
    Terminated
        The job was told to end; the script has ended.
    """
    with workspace.opened(script, context) as place:
        if not place.directory.is_dir():
            raise failed(
                FailureKind.CANNOT_RUN,
                f"The option working_directory is {place.directory}, which is no directory on "
                f"{os.uname().nodename}.",
            )
        parameters_file = context.parameters_file
        if script.parameters_format != "json":
            parameters_file = context.files.root / f"parameters.{script.parameters_format}"
            try:
                write_parameters(context, parameters_file, script.parameters_format)
            except AxSchedError as error:
                raise failed(
                    FailureKind.CANNOT_RUN, f"The parameter file cannot be written: {error}"
                ) from None
        own = own_values(context, parameters_file, place.directory)
        workspace.furnish(script, files, place, context, own)
        command = command_for(script, files, context, own, os.environ)
        started, before = start_of_logs(context), results.before(script, context, place.directory)
        ended = execute(command, context)
        if ended.code or ended.timed_out:
            raise ended_badly(ended, command, context, started)
        return results.read(script, command.what, context, place.directory, before)


def write_parameters(context: RunContext, path: Path, form: str = "json") -> None:
    """Write the parameters as the objective asked for them."""
    insist(lambda: parameters.write(path, context.parameters, form), f"{path} cannot be written")


def own_values(context: RunContext, parameters_file: Path, directory: Path) -> dict[str, str]:
    """What arguments and decks may name beside the parameters."""
    return {
        "parameters": str(parameters_file),
        "metrics": str(context.files.metrics),
        "trial": str(context.trial),
        "attempt": str(context.attempt),
        "workdir": str(directory),
    }


def command_for(
    script: ScriptObjective,
    files: Path,
    context: RunContext,
    own: Mapping[str, str],
    environment: Mapping[str, str],
) -> Command:
    """What to run for a script: argument list, environment and directory.

    Raises
    ------
    ObjectiveFailed
        It is a program that is not on this node's PATH.
    """
    directory = Path(own["workdir"])
    variables = {
        **environment,
        **dict(script.environment),
        "AXSCHED_PARAMETERS_FILE": own["parameters"],
        "AXSCHED_METRICS_FILE": own["metrics"],
        "AXSCHED_WORKDIR": own["workdir"],
        "AXSCHED_SHELL_LIBRARY": str(_SHELL_LIBRARY),
        **context.variables,
    }
    path = Path(_on_path(script.script, variables)) if script.in_place else files / script.script
    if path.suffix == ".py":
        # A copy runs: modules beside the original are found through the search path.
        rest = variables.get("PYTHONPATH")
        variables["PYTHONPATH"] = str(Path(script.source).parent) + (os.pathsep + rest if rest else "")
    values = {name: parameters.as_text(value) for name, value in context.parameters.items()} | dict(own)
    return Command(
        argv_of(script, path, values),
        variables,
        directory,
        script.source,
        script.timeout,
        "script_options",
        script.warning,
        script.warning_signal,
        script.output_bytes,
    )


def argv_of(script: ScriptObjective, path: Path, values: Mapping[str, str]) -> tuple[str, ...]:
    """The interpreter, the program and its arguments; a placeholder without a value stays as it is."""
    interpreter = script.interpreter or _interpreter(path)
    return (*interpreter, str(path), *expand(script.args, values))


def _on_path(program: str, environment: Mapping[str, str]) -> str:
    if "/" in program:
        return program
    import shutil  # it loads the compression modules, which a job can do without

    found = shutil.which(program, path=environment.get("PATH"))
    if found is None:
        raise failed(
            FailureKind.CANNOT_RUN,
            f"There is no program {program!r} on PATH on {os.uname().nodename}. Load its module "
            "(modules of the runner's config), set PATH in the objective's option environment, or give "
            "its full path.",
        )
    return found


def execute(
    command: Command,
    context: RunContext,
    *,
    grace: float | None = None,
    on_kill: Callable[[], None] = lambda: None,
    leave: float | None = None,
) -> process.Ended:
    """Run a command with its output in the attempt's logs.

    Parameters
    ----------
    grace
        Seconds between SIGTERM and SIGKILL. By default a program that saves checkpoints has the time that it
        was to be warned before the end: a scheduler that grants less kills it, and the worker with it.
    on_kill, leave
        As of :func:`axsched_hpc.objectives.process.run`.

    Raises
    ------
    ObjectiveFailed
        It cannot be started, or the kernel killed it for lack of memory.
    """
    before = cgroup.oom_kills()
    try:
        ended = process.run(
            command.argv,
            environment=command.environment,
            directory=command.directory,
            stdout=context.files.stdout,
            stderr=context.files.stderr,
            timeout=command.timeout,
            signals=context.in_job,
            grace=max(process.GRACE, command.warning or 0) if grace is None else grace,
            warn=command.warn,
            on_kill=on_kill,
            leave=leave,
            limit=command.output_limit,
            remedy=f"{command.options}['output_limit']",
        )
    except OSError as error:
        raise failed(FailureKind.CANNOT_RUN, _cannot_start(error, command)) from None
    if ended.by(signal.SIGKILL) and not ended.timed_out and before is not None:
        after = cgroup.oom_kills()
        if after is not None and after > before:
            raise _out_of_memory(ended, command, context)
    return ended


def start_of_logs(context: RunContext) -> int:
    """Where this execution's part of stderr.log begins: a requeued job appends to it."""
    return size(context.files.stderr)


def ended_badly(ended: process.Ended, command: Command, context: RunContext, start: int) -> ObjectiveFailed:
    """The failure of a program that ran out of time, was killed, or said that it failed."""
    tail = outcome.tail(context.files.stderr, start)
    said = quoted(tail, context.files.stderr)
    if ended.timed_out:
        message = (
            f"{command.what} ran longer than {command.options}['timeout'] = {command.timeout:g} s and was "
            f"ended. Raise the option if it needs more; {said}"
        )
        return failed(FailureKind.OBJECTIVE_TIMEOUT, message, tail=tail)
    if ended.code == os.EX_TEMPFAIL:
        return _asked_to_go_on(command, context, tail, said)
    if command.warn is not None and ended.warned and ended.by(command.warn):
        message = (
            f"{command.what} was ended by {command.warn.name}, which told it that the end of its job's time "
            f"was near: it has no handler that saves a checkpoint and exits with {os.EX_TEMPFAIL}; {said}"
        )
        return failed(FailureKind.TIMED_OUT, message, signal=command.warn, tail=tail)
    if ended.code < 0:
        message = f"{command.what} was killed by {_signal_name(-ended.code)}; {said}"
        return failed(FailureKind.CRASHED, message, signal=-ended.code, tail=tail)
    # Shells and containers report a signal in this way.
    hint = f" (in a shell or container: {_signal_name(ended.code - 128)})" if 128 < ended.code < 160 else ""
    message = f"{command.what} exited with code {ended.code}{hint}; {said}"
    return failed(FailureKind.EXIT_CODE, message, exit_code=ended.code, tail=tail)


def _asked_to_go_on(command: Command, context: RunContext, tail: Sequence[str], said: str) -> ObjectiveFailed:
    code = os.EX_TEMPFAIL
    if command.warning is not None and context.saved:
        message = (
            f"{command.what} saved its state in {context.checkpoint} and exited with code {code}, to go on "
            "in another job."
        )
        return failed(FailureKind.CHECKPOINTED, message, exit_code=code, tail=tail, progressed=True)
    asks = f"{command.what} exited with code {code}, which asks to go on in another job"
    if command.warning is None:
        message = f"{asks} only where {command.options}['checkpointable'] is True; {said}"
    else:
        message = f"{asks}, but it saved nothing in {context.checkpoint} since it was started; {said}"
    return failed(FailureKind.EXIT_CODE, message, exit_code=code, tail=tail)


def _out_of_memory(ended: process.Ended, command: Command, context: RunContext) -> ObjectiveFailed:
    from axsched_hpc.core.sizes import memory_text

    peak = memory_text(processes.max_rss_mb() * 1e6 / 2**20)
    return failed(
        FailureKind.OUT_OF_MEMORY,
        f"{command.what} ran out of memory: the kernel killed a process of it; the largest of its processes "
        f"whose memory is known held {peak}.",
        exit_code=ended.code if ended.code > 0 else None,
        signal=signal.SIGKILL,
        tail=outcome.tail(context.files.stderr),
    )


def _interpreter(path: Path) -> Sequence[str]:
    if path.suffix == ".py":
        return (sys.executable,)
    program = INTERPRETERS.get(path.suffix)
    if program is None or (os.access(path, os.X_OK) and _first_line(path).startswith("#!")):
        return ()
    import shutil  # it loads the compression modules, which a job can do without

    return (shutil.which(program) or ("sh" if program == "bash" else program),)


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
