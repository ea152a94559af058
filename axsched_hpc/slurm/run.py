"""Running Slurm's commands: the one place of this layer that touches the system."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from axsched_hpc.core.errors import ClusterUnavailableError
from axsched_hpc.io.claim import JOB_VARIABLE
from axsched_hpc.io.parameters import VARIABLE

#: Seconds that a command may take; Slurm's own time-outs are shorter. A query is repeated at the next look
#: and not waited for so long: nothing else happens meanwhile, and Slurm gives a job 30 s after SIGTERM.
TIMEOUT, QUERY_TIMEOUT = 60.0, 20.0
_QUERIES = frozenset({"squeue", "sacct", "scontrol"})

#: Variables of a surrounding job, which would leak into what is submitted from inside it.
JOB_VARIABLES = ("SLURM_", "SBATCH_", "SRUN_", "SUBMITIT_", "SALLOC_")
_KEPT = frozenset({"SLURM_CONF"})

#: Others that Slurm sets in a job and that a job without them would inherit: the driver's devices and node.
JOB_NAMES = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "GPU_DEVICE_ORDINAL",
        "ROCR_VISIBLE_DEVICES",
        "SLURMD_NODENAME",
        "ZE_AFFINITY_MASK",
    }
)

#: Holds the names of what the batch script of the driver has set for the driver alone.
DRIVER_ONLY = "AXSCHED_DRIVER_ONLY"

#: A user's habits that would change what the queries mean (SQUEUE_PARTITION hides jobs, SCANCEL_INTERACTIVE
#: asks).
_HABITS = ("SQUEUE_", "SACCT_", "SCANCEL_")


@dataclass(frozen=True)
class Completed:
    """What a command answered."""

    code: int
    out: str
    err: str


def leaking(environment: Mapping[str, str], *, inside: bool = False) -> list[str]:
    """The variables of a surrounding job that are not for what is started from it; outside a job a user's own
    SBATCH_ACCOUNT has to stay.

    Parameters
    ----------
    inside
        Whether it stays in the job, where the job's devices and directories are its own.
    """
    job = environment.get("SLURM_JOB_ID")
    # A driver that is an objective itself has the parameters of its own trial.
    own = {name for name in environment if name == JOB_VARIABLE or name.startswith(VARIABLE)}
    if job is None:
        return sorted(own)
    own.update(environment.get(DRIVER_ONLY, "").split(), (DRIVER_ONLY,))
    if not inside:
        own.update(JOB_NAMES)
        if job and job in environment.get("TMPDIR", ""):
            # Some sites make one for each job, on its node.
            own.add("TMPDIR")
    return sorted(
        name for name in environment if name in own or (name.startswith(JOB_VARIABLES) and name not in _KEPT)
    )


def scrubbed(environment: Mapping[str, str], *, inside: bool = False) -> dict[str, str]:
    """The environment without those."""
    dropped = set(leaking(environment, inside=inside))
    return {name: value for name, value in environment.items() if name not in dropped}


def run(argv: Sequence[str], *, timeout: float | None = None) -> Completed:
    """Run a command without a shell, for so many seconds at the most.

    Raises
    ------
    ClusterUnavailableError
        It is not installed, or did not end in time.
    """
    if timeout is None:
        timeout = QUERY_TIMEOUT if argv[0] in _QUERIES else TIMEOUT
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            env=_environment(os.environ),
            # sbatch gives the umask of its caller to the job, and Slurm makes the job's logs with it.
            umask=0o077,
            check=False,
        )
    except FileNotFoundError:
        raise not_installed(argv[0]) from None
    except OSError as error:
        raise ClusterUnavailableError(f"{argv[0]} could not be started: {error}.", transient=True) from error
    except subprocess.TimeoutExpired:
        raise ClusterUnavailableError(
            f"{argv[0]} did not answer within {timeout:g} s. "
            "`scontrol ping` tells whether the controller is up.",
            transient=True,
        ) from None
    return Completed(done.returncode, done.stdout, done.stderr)


def not_installed(program: str) -> ClusterUnavailableError:
    """The error for a machine without Slurm."""
    return ClusterUnavailableError(
        f"{program} is not on PATH, so there is no Slurm here. Run this on a login node, load the site's "
        "Slurm module, or use LocalRunner() instead."
    )


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in scrubbed(environment).items() if not name.startswith(_HABITS)}
