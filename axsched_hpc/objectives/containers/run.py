"""Container objectives: the same files as a script's, seen through a mount of the attempt's directory."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from axsched_hpc.core.metrics import Metrics
from axsched_hpc.io import atomic, claim, parameters
from axsched_hpc.objectives import descendants, guardian, process, results, script, workspace
from axsched_hpc.objectives.containers import checks, engines
from axsched_hpc.objectives.containers.engines import ContainerRun, Engine, Image, Mount, image_kind
from axsched_hpc.objectives.containers.mounts import INSIDE
from axsched_hpc.objectives.context import CHECKPOINT_DIR, PROGRESS_FILE, RunContext, account, insist
from axsched_hpc.objectives.kinds import ContainerObjective
from axsched_hpc.objectives.placeholders import expand
from axsched_hpc.objectives.workspace import Workspace

if TYPE_CHECKING:
    from axsched_hpc.objectives.containers.prepare import Ready

# ch-run mounts only on directories that the image has, since it does not write to the image; this one is part
# of every usual tree.
_INSIDE_CHARLIECLOUD = "/mnt"

# Where an image keeps the variables that it sets, if charliecloud made it.
_CH_ENVIRONMENT = "ch/environment"

_KILL_SECONDS = 20.0

# What podman has to do after a container's end takes a second on a busy node.
_ENGINE_SECONDS = 10.0


def run_container(container: ContainerObjective, files: Path, context: RunContext) -> Metrics:
    """Run the container and read its metrics.

    Raises
    ------
    ObjectiveFailed
        It cannot be started, failed, or wrote no valid metrics.
    Terminated
        The job was told to end; the container has ended.
    """
    with workspace.opened(container, context) as place:
        return _run(container, files, context, place)


def _run(container: ContainerObjective, files: Path, context: RunContext, place: Workspace) -> Metrics:
    given = container
    engine, program = checks.find(given)
    ready = _ready(given, engine, context)
    container = given if ready is None else ready.used_by(given)
    # The checkpoint directory is mounted on it: engines would make it themselves, some of them as root's.
    saved = context.files.root / context.checkpoint.name
    insist(lambda: atomic.make_directory(saved), f"{saved} cannot be made")
    script.write_parameters(context, context.files.root / "parameters.json")
    workspace.furnish(container, files, place, context, own_values(container, engine, context))
    run = container_run(container, engine, context, place.directory)
    checks.check(engine, run)
    environment = {**os.environ, **engines.client_environment(engine, run)}
    environment.setdefault("USER", account())  # ch-run asks for it, and not all batch systems set it
    command = script.Command(
        (program, *engine.argv(run)),
        environment,
        place.directory,
        f"{engine.name} with image {given.image}",
        container.timeout,
        "container_options",
        container.warning,
        container.warning_signal,
        container.output_bytes,
    )
    started, before = script.start_of_logs(context), results.before(container, context, place.directory)

    def kill() -> None:
        _kill(program, run.name, environment)

    def run_it() -> process.Ended:
        if engine.outlives_client:
            return _watched(command, context, run.name, kill)
        return script.execute(command, context)

    ended = run_it()
    if ready is not None and ready.fetched(ended.code, context.files.stderr, started):
        started = script.start_of_logs(context)
        ended = run_it()
    if ended.code and not ended.timed_out:
        checks.raise_not_started(engine, run, given, ended.code, context.files.stderr, started)
    if ended.code or ended.timed_out:
        raise script.ended_badly(ended, command, context, started)
    return results.read(container, command.what, context, place.directory, before)


def _ready(container: ContainerObjective, engine: Engine, context: RunContext) -> Ready | None:
    """The image as it is run, prepared; None for one that runs as it is."""
    if image_kind(container.image) is Image.PATH:
        return None
    from axsched_hpc.objectives.containers import prepare  # most images are files

    return prepare.in_job(container, engine, context)


def own_values(container: ContainerObjective, engine: Engine, context: RunContext) -> dict[str, str]:
    """What the command and decks may name beside the parameters, with paths as seen inside."""
    inside = _inside(engine, container)
    return {
        "params_file": f"{inside}/parameters.json",
        "output_file": f"{inside}/{context.files.metrics.name}",
        "trial": str(context.trial),
        "attempt": str(context.attempt),
        "workdir": container.workdir or f"{inside}/{context.files.work.name}",
    }


def container_run(
    container: ContainerObjective, engine: Engine, context: RunContext, directory: Path
) -> ContainerRun:
    """What the engine is to run: the objective for one attempt.

    Parameters
    ----------
    directory
        The working directory, on the host.
    """
    inside = _inside(engine, container)
    own = own_values(container, engine, context)
    checkpoint = f"{inside}/{context.checkpoint.name}"
    values = {name: parameters.as_text(value) for name, value in context.parameters.items()} | own
    variables = {
        **engines.forwarded(os.environ),
        **dict(container.env_vars),
        "AXSCHED_PARAMETERS_FILE": own["params_file"],
        "AXSCHED_METRICS_FILE": own["output_file"],
        "AXSCHED_WORKDIR": own["workdir"],
        **context.variables,
        CHECKPOINT_DIR: checkpoint,
        PROGRESS_FILE: f"{inside}/{context.files.progress.name}",
    }
    # On a disk of the node, the working directory is mounted where it is otherwise.
    scratch = [Mount(str(directory), f"{inside}/{context.files.work.name}")] if container.scratch else []
    volumes = (Mount(host, target, read_only=mode == "ro") for host, target, mode in container.volumes)
    return ContainerRun(
        image=container.image,
        command=tuple(expand(container.command, values)),
        # The worker's pid tells a requeued job's container from one that its earlier execution may have left.
        name=f"axsched-{context.token}-{context.trial}-{context.attempt}-{os.getpid()}",
        mounts=(
            Mount(str(context.files.root), inside),
            Mount(str(context.checkpoint), checkpoint),
            *scratch,
            *volumes,
        ),
        environment=tuple(variables.items()),
        workdir=own["workdir"],
        gpus=container.gpus,
        extra=container.extra_args,
        network=container.network,
        user=container.user,
        uid=os.getuid(),
        gid=os.getgid(),
        groups=tuple(os.getgroups()),
        directory=image_kind(container.image) is Image.PATH and Path(container.image).is_dir(),
        own_environment=(Path(container.image) / _CH_ENVIRONMENT).is_file(),
    )


def _inside(engine: Engine, container: ContainerObjective) -> str:
    if engine.name != "charliecloud":
        return INSIDE
    image = Path(container.image)
    prepared = image_kind(container.image) is Image.PATH and (image / INSIDE.lstrip("/")).is_dir()
    return INSIDE if prepared else _INSIDE_CHARLIECLOUD


def _watched(
    command: script.Command, context: RunContext, name: str, kill: Callable[[], None]
) -> process.Ended:
    """Run a container that outlives its client, and see to it that it does not outlive this process."""
    worker = claim.process_name(os.getpid()) if context.in_job else ""
    watch = guardian.Guardian(worker, (command.argv[0], name), dict(command.environment))
    descendants.spare(watch.start())
    try:
        # It has to be ended before the scheduler kills this process. What the engine has beside it ends after
        # it, when it has put things in order.
        return script.execute(command, context, grace=process.GRACE, on_kill=kill, leave=_ENGINE_SECONDS)
    finally:
        watch.done()


def _kill(program: str, name: str, environment: Mapping[str, str]) -> None:
    # The container is the engine's child, not ours. That it is gone already is no error.
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            [program, "kill", name], env=environment, capture_output=True, check=False, timeout=_KILL_SECONDS
        )
