"""submitit's executor with our worker as its command, and all that is private in submitit and used here.

submitit pickles a function per job and renames the pickles after sbatch has answered: a driver that is killed
in between leaves jobs that wait for their pickle and fail. Here the job's command is the worker itself with a
manifest that is complete before sbatch runs, so there is nothing to rename, and the job does not import
submitit. submitit checks the parameters, writes the batch script, and reads the job id from the answer; the
command itself runs like all others of Slurm's, with a time limit and without the variables of a surrounding
job. What is used of submitit, beyond its public interface, is listed in ``USED``; a test fails when an
upgrade changes one of them.
"""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from submitit import AutoExecutor
from submitit.core.plugins import get_executors
from submitit.core.utils import DelayedSubmission, FailedSubmissionError, JobPaths
from submitit.slurm.slurm import SlurmExecutor

from axsched_hpc.core.errors import ClusterUnavailableError, ConfigError, SubmissionError
from axsched_hpc.io import atomic, faults
from axsched_hpc.slurm import parse
from axsched_hpc.slurm.run import Completed, not_installed

#: Private methods of submitit that this module calls or overrides: class, name, parameters. Besides, an
#: AutoExecutor has the executor that it chose as ``_executor``.
USED = (
    (SlurmExecutor, "_make_submission_file_text", ("self", "command", "uid")),
    (SlurmExecutor, "_make_submission_command", ("self", "submission_file_path")),
    (SlurmExecutor, "_get_job_id_from_submission_command", ("string",)),
    (DelayedSubmission, "load", ("filepath",)),
    (JobPaths, "__init__", ("self", "folder", "job_id", "task_id")),
)

#: The end of the name of the file in which submitit keeps what a job runs.
_SUBMITTED = "_submitted.pkl"


class WorkerExecutor(SlurmExecutor):
    """Submits the worker as a job array."""

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        text: str = super()._make_submission_file_text(command, uid)
        lines = text.split("\n")
        if "signal" not in (self.parameters.get("additional_parameters") or {}):
            # submitit asks Slurm for USR2 before the time limit, for its own worker; it would kill ours.
            lines = [line for line in lines if not line.startswith("#SBATCH --signal=")]
        else:
            # A warning that comes while the job still loads its modules must not end it.
            last = max(number for number, line in enumerate(lines) if line.startswith("#SBATCH "))
            lines[last + 1 : last + 1] = ["", "trap '' USR1"]
        return "\n".join(lines)

    def submit_tasks(
        self,
        name: str,
        command: Sequence[str],
        count: int,
        offset: int,
        execute: Callable[[Sequence[str]], Completed],
    ) -> str:
        """Submit ``count`` tasks of a command that takes its index as its last argument; the array's job id.

        Parameters
        ----------
        offset
            Index of the first task. Slurm's own task ids always start at 0, since sites bound them.
        execute
            Runs sbatch.

        Raises
        ------
        SubmissionError
            sbatch refused, or its answer is not known.
        ClusterUnavailableError
            There is no sbatch.
        """
        script = self._write(name, command, count, offset)
        try:
            answer = execute(self._make_submission_command(script))
        except ClusterUnavailableError as error:
            if not error.transient:
                raise
            # The answer is lost, and not whether there are jobs.
            raise SubmissionError(str(error), transient=True) from error
        if answer.code != 0:
            raise parse.submission_error(answer.err or answer.out)
        faults.reach("submit.half")
        try:
            return str(self._get_job_id_from_submission_command(answer.out))
        except FailedSubmissionError:
            raise SubmissionError(
                f"sbatch gave no job id ({answer.out!r}); the jobs are looked for by their name, {name}.",
                transient=True,
            ) from None

    def text(self, name: str, command: Sequence[str], count: int, offset: int) -> str:
        """The batch script of so many tasks."""
        self.parameters.update(job_name=name, map_count=count, array_parallelism=count)
        # Under srun the command has to be a program; alone it takes the place of the shell.
        words = shlex.join(command) if self.parameters["use_srun"] else f"exec {shlex.join(command)}"
        return self._make_submission_file_text(f'{words} "$((SLURM_ARRAY_TASK_ID + {offset}))"', name)

    def _write(self, name: str, command: Sequence[str], count: int, offset: int) -> Path:
        script: Path = self.folder / f"{name}.sh"
        atomic.write(script, self.text(name, command, count, offset))
        return script

    def refusal(self, execute: Callable[[Sequence[str]], Completed]) -> str:
        """Why sbatch would refuse the jobs, in its words, found out without submitting any; else empty."""
        script = self._write("check", ["true"], 1, 0)
        try:
            sbatch, *arguments = self._make_submission_command(script)
            answer = execute([sbatch, "--test-only", *arguments])
        finally:
            script.unlink(missing_ok=True)
        return "" if answer.code == 0 else answer.err or answer.out or f"exit code {answer.code}"


def worker_executor(folder: Path, parameters: Mapping[str, Any]) -> WorkerExecutor:
    """An executor for one batch, with parameters under submitit's names (``timeout_min``,
    ``slurm_partition``).

    Raises
    ------
    ConfigError
        submitit does not know a parameter; has its words.
    ClusterUnavailableError
        There is no Slurm here.
    """
    if SlurmExecutor.affinity() < 0:
        raise not_installed("srun")
    translated = auto_executor(folder, "slurm", parameters)._executor.parameters
    executor = WorkerExecutor(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        executor.update_parameters(**{"use_srun": False, "wckey": None, **translated})
    return executor


def auto_executor(folder: Path, cluster: str, parameters: Mapping[str, Any]) -> AutoExecutor:
    """submitit's executor for a cluster by name, with its parameters checked.

    Raises
    ------
    ConfigError
        The cluster or a parameter is not known to submitit.
    """
    try:
        executor = AutoExecutor(folder, cluster=cluster)
        executor.update_parameters(**dict(parameters))
    except (NameError, ValueError, AssertionError, TypeError, RuntimeError) as error:
        raise ConfigError(f"SubmititRunner({cluster!r}): submitit refuses the parameters: {error}") from None
    return executor


def submitted(folder: Path) -> dict[int, str]:
    """Job ids by index of the jobs for which submitit has left its pickle in a folder.

    A pickle of another user is passed over: nothing is loaded that this user did not write.
    """
    found = {}
    for name in atomic.listing(folder):
        job = name.removesuffix(_SUBMITTED)
        path = folder / name
        if job != name and path.stat().st_uid == os.geteuid():
            found[int(DelayedSubmission.load(path).args[1])] = job
    return found


def reopened(cluster: str, folder: Path, job: str) -> Any:
    """submitit's view of a job that another process submitted; None where it is not from this folder."""
    if "/" in job or not JobPaths(folder, job_id=job).submitted_pickle.is_file():
        return None
    return get_executors()[cluster].job_class(folder=folder, job_id=job)
