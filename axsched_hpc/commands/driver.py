"""What ``axsched submit`` does: the driver of an experiment as a job."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axsched_hpc.core.errors import ConfigError, SubmissionError
from axsched_hpc.core.sizes import time_s, time_text
from axsched_hpc.reporting.records import FORMAT
from axsched_hpc.slurm import parse, render, templates
from axsched_hpc.slurm import profile as profiles
from axsched_hpc.slurm.run import run

if TYPE_CHECKING:
    from axsched_hpc.runners.driver_job import DriverJob

#: What sbatch itself takes from the environment, by the option; in the header it reaches a successor as well.
_SBATCH_VARIABLES = {"partition": "SBATCH_PARTITION", "account": "SBATCH_ACCOUNT"}

#: What runs a project file, behind the Python.
_RUN = ("-m", "axsched_hpc", "run")


@dataclass(frozen=True)
class Driver:
    """A driver's job, ready to be submitted."""

    job: DriverJob
    name: str
    command: tuple[str, ...]
    log: str
    script: str


def prepare(
    script: str,
    args: Sequence[str],
    profile: str | None,
    name: str | None,
    log: str | None,
    given: Mapping[str, Any],
    environment: Mapping[str, str],
) -> Driver:
    """Check all there is to check, and write the batch script.

    Raises
    ------
    ConfigError
        The script is not there, an option is wrong, or the profile is.
    ProjectError
        It is a project file, and wrong.
    """
    # Here, since every other command would pay for it.
    from axsched_hpc.runners import driver_job
    from axsched_hpc.runners.slurm_runner import SlurmRunner

    command = _command(script, args)
    found = profiles.load(profile)
    options = {key: value for key, value in given.items() if value is not None}
    exported = {"PYTHONPATH": environment["PYTHONPATH"]} if environment.get("PYTHONPATH") else {}
    if found is not None:
        found.check("driver", driver_job.KEYS)
        # What is wrong for the trials is better known now than when the driver starts.
        SlurmRunner.from_profile(found.where)
        exported[profiles.VARIABLE] = found.where
    mine = found.driver if found is not None else {}
    defaults = {k: environment[v] for k, v in _SBATCH_VARIABLES.items() if environment.get(v)}
    try:
        job = driver_job.DriverJob.from_dict(profiles.merged({**defaults, **mine}, options))
    except ConfigError as error:
        raise ConfigError(f"{error} (With the profile {found.where}.)" if found else str(error)) from None
    called = driver_job.job_name(name if name is not None else default_name(command, Path.cwd()))
    path = _log(log)
    text = driver_job.render(
        templates.read("driver.sbatch"), job, command, name=called, log=path, exported=exported
    )
    return Driver(job, called, tuple(command), path, text)


def default_name(command: Sequence[str], directory: Path) -> str:
    """The name of a driver's job: the same for the same command in the same directory, and for no other."""
    script = next((word for word in command if word not in (sys.executable, *_RUN)), command[0])
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(script).stem).strip("-")[:40] or "driver"
    digest = hashlib.sha256("\0".join([str(directory), *command]).encode(errors="surrogateescape"))
    return f"axsched-{stem}-{digest.hexdigest()[:6]}"


def _command(script: str, args: Sequence[str]) -> list[str]:
    path = Path(script).absolute()
    if path.suffix in (".yaml", ".yml"):
        from axsched_hpc.project.reading import load

        load(path)  # what is wrong is better known now than when the driver starts
        return [sys.executable, *_RUN, str(path), *args]
    if not path.is_file():
        raise ConfigError(f"There is no script {path}." if not path.exists() else f"{path} is no file.")
    if not os.access(path, os.R_OK):
        raise ConfigError(f"{path} cannot be read: check its permissions.")
    if path.suffix != ".py" and os.access(path, os.X_OK):
        return [str(path), *args]
    return [sys.executable, str(path), *args]


def _log(log: str | None) -> str:
    """The log's path as sbatch's pattern."""
    if log is None or log.endswith("/") or Path(log).is_dir():
        folder = str(Path(log or "").absolute())
        if "%" in folder:
            raise ConfigError(
                f"Slurm replaces % in the names of log files, so it cannot write to {folder}. Choose another "
                "place: --log DIR."
            )
        path = f"{folder.rstrip('/')}/%x.log"
    else:
        path = str(Path(log).absolute())
    if "\\" in path:
        raise ConfigError(f"Slurm drops backslashes in the names of log files, so it cannot write to {path}.")
    return path


def refuse_second(driver: Driver) -> None:
    """Check that there is no job of this name.

    Raises
    ------
    SubmissionError
        There is one.
    """
    answer = run([*render.squeue_names([driver.name]), "--me"])
    others = [row for row in parse.squeue(answer.code, answer.out, answer.err) if not row.state.final]
    if others:
        jobs = ", ".join(f"{row.job} ({row.raw.lower()})" for row in others)
        raise SubmissionError(
            f"There is a driver's job named {driver.name} already: {jobs}. One is enough, since it starts "
            f"again by itself; to stop it: {_stop(driver)}. For another experiment choose another name with "
            "--name."
        )


def submit(driver: Driver) -> str:
    """Submit, and return the job's id.

    Raises
    ------
    ConfigError
        The log's directory cannot be made.
    SubmissionError
        Slurm does not take the job.
    """
    from axsched_hpc.runners import driver_job

    folder = Path(driver.log).parent
    if "%" not in str(folder):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder}, where the log belongs, cannot be made: {error.strerror}.") from None
    with tempfile.NamedTemporaryFile(
        "w", suffix=".sbatch", encoding="utf-8", errors="surrogateescape"
    ) as file:
        file.write(driver.script)
        file.flush()
        # On the command line as well: there they count more than a user's SBATCH_ variables.
        options = driver_job.options(driver.job, name=driver.name, log=driver.log)
        answer = run(["sbatch", "--parsable", *options, file.name])
    if answer.code != 0:
        raise parse.submission_error(answer.err or answer.out)
    job = answer.out.strip().partition(";")[0]
    if not job.isdecimal():
        raise SubmissionError(
            f"sbatch gave no job id ({answer.out!r}). Look whether it is there: squeue --name={driver.name}"
        )
    return job


def _stop(driver: Driver) -> str:
    return f"scancel --user=$USER --name={driver.name}"


def record(driver: Driver, job: str | None) -> dict[str, Any]:
    """What was submitted, or with no job's id what would be, for programs."""
    return {
        "format": FORMAT,
        "job": job,
        "name": driver.name,
        "command": list(driver.command),
        "log": _log_of(driver, job),
        "time_limit": driver.job.time_limit,
        "warning": driver.job.warning,
        "again": driver.job.again,
        "script": driver.script,
    }


def _log_of(driver: Driver, job: str | None) -> str:
    path = driver.log.replace("%x", driver.name)
    return path if job is None else path.replace("%j", job)


def told(driver: Driver, job: str) -> str:
    """What was submitted, and how to watch and stop it."""
    log = shlex.quote(_log_of(driver, job))
    if driver.job.again == "requeue":
        then = "and this job is requeued (Slurm waits some two minutes before it starts again)"
    else:
        then = "and its successor, a job that is in the queue from the start of this one, takes over"
    seconds = time_s(driver.job.time_limit) or 0
    return (
        f"Submitted {shlex.join(driver.command)}\n"
        f"as job {job}, named {driver.name}.\n"
        f"  log:    tail -F {log}\n"
        f"  watch:  squeue --name={driver.name}\n"
        f"  stop:   {_stop(driver)}\n"
        f"{driver.job.warning} s before its walltime of {time_text(seconds)} the driver is warned and "
        f"saves, {then}, until the script has ended by itself. Trials go on meanwhile."
    )
