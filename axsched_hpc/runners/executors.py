"""submitit's executor with our worker as its command, and all that is private in submitit and used here.

submitit pickles a function per job and renames the pickles after sbatch has answered: a driver that is killed
in between leaves jobs that wait for their pickle and fail. Here the job's command is the worker itself with a
manifest that is complete before sbatch runs, so there is nothing to rename, and the job does not import
submitit. What is used of submitit, beyond its public interface, is listed in ``USED``; a test fails when an
upgrade changes one of them.
"""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from submitit import AutoExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from axsched_hpc.core.errors import ConfigError
from axsched_hpc.slurm import parse
from axsched_hpc.slurm.run import leaking

#: Private members of submitit that this module relies on: class, name.
USED = (
    (SlurmExecutor, "_submit_command"),
    (SlurmExecutor, "_make_submission_file_text"),
    (SlurmExecutor, "_make_submission_command"),
    (SlurmExecutor, "_internal_update_parameters"),
    (AutoExecutor, "_internal_update_parameters"),
)


class WorkerExecutor(SlurmExecutor):
    """Submits the worker as a job array."""

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        text: str = super()._make_submission_file_text(command, uid)
        lines = text.splitlines()
        if "signal" not in (self.parameters.get("additional_parameters") or {}):
            # submitit asks Slurm for USR2 before the time limit, for its own worker; it would kill ours.
            lines = [line for line in lines if not line.startswith("#SBATCH --signal=")]
        return "\n".join(lines) + "\n"

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        unset = [word for name in leaking(os.environ) for word in ("-u", name)]
        command: list[str] = super()._make_submission_command(submission_file_path)
        return ["env", *unset, *command] if unset else command

    def submit_array(self, name: str, command: Sequence[str], count: int, offset: int) -> str:  # type: ignore[override]
        """Submit ``count`` tasks of a command that takes its index as its last argument; the array's job id.

        Parameters
        ----------
        offset
            Index of the first task. Slurm's own task ids always start at 0, since sites bound them.

        Raises
        ------
        SubmissionError
            sbatch refused.
        """
        self.parameters.update(job_name=name, map_count=count, array_parallelism=count)
        index = f'"$((SLURM_ARRAY_TASK_ID + {offset}))"'
        try:
            job = self._submit_command(f"exec {shlex.join(command)} {index}")
        except (FailedJobError, FailedSubmissionError) as error:
            raise parse.submission_error(str(error)) from None
        return str(job.job_id)


def worker_executor(folder: Path, parameters: Mapping[str, Any]) -> WorkerExecutor:
    """An executor for one batch, with parameters under submitit's names (``timeout_min``,
    ``slurm_partition``).

    Raises
    ------
    ConfigError
        submitit does not know a parameter; has its words.
    """
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
