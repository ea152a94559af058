"""Argument lists of Slurm's commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: Fields of squeue: job, state, reason, nodes, submission, start; last the name, which may hold anything.
SQUEUE_FORMAT = "%i|%T|%r|%N|%V|%S|%j"
#: Fields of sacct, likewise.
SACCT_FORMAT = "JobID,State,ExitCode,NodeList,Submit,Start,End,JobName,Reason"

#: Fields of sacct about what jobs asked for and used.
USAGE_FORMAT = "JobID,State,ReqMem,MaxRSS,ElapsedRaw,TimelimitRaw,AllocCPUS,NNodes"

#: Without a start sacct looks at today only; no attempt of ours is older than this.
SACCT_START = "now-30days"

#: Roots of job ids in one command line; beyond it all of the user's jobs are asked for.
MOST_IDS = 1000


def root(job: str) -> str:
    """The id of the array that a job belongs to: ``123`` of ``123_4``."""
    return job.split("_", 1)[0]


def roots(jobs: Iterable[str]) -> list[str]:
    """The ids of the arrays of jobs, each once, in order."""
    return list(dict.fromkeys(root(job) for job in jobs))


def squeue_jobs(jobs: Iterable[str]) -> list[str]:
    """Ask for jobs by id, ended ones included as long as the controller knows them."""
    ids = roots(jobs)
    which = f"--jobs={','.join(ids)}" if len(ids) <= MOST_IDS else "--me"
    return _squeue(which)


def squeue_names(names: Sequence[str]) -> list[str]:
    """Ask for jobs by name."""
    return _squeue(f"--name={','.join(names)}" if len(names) <= MOST_IDS else "--me")


def squeue_scripts(jobs: Iterable[str]) -> list[str]:
    """Ask for the batch scripts of jobs by id."""
    ids = roots(jobs)
    which = f"--jobs={','.join(ids)}" if len(ids) <= MOST_IDS else "--me"
    return ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%o", which]


def sacct_jobs(jobs: Iterable[str]) -> list[str]:
    """Ask the accounting for jobs by id."""
    ids = roots(jobs)
    return _sacct(*([f"--jobs={','.join(ids)}"] if len(ids) <= MOST_IDS else []))


def sacct_names(names: Sequence[str]) -> list[str]:
    """Ask the accounting for jobs by name."""
    return _sacct(*([f"--name={','.join(names)}"] if len(names) <= MOST_IDS else []))


def sacct_usage(jobs: Sequence[str]) -> list[str]:
    """Ask the accounting for the memory and time of ended jobs. Their steps are asked for as well: memory
    that was used stands there and not on the job.
    """
    ids = list(jobs) if len(jobs) <= MOST_IDS else roots(jobs)
    which = [f"--jobs={','.join(ids)}"] if len(ids) <= MOST_IDS else []
    return _accounting([f"--format={USAGE_FORMAT}"], which)


def show_config() -> list[str]:
    """Ask for the controller's configuration."""
    return ["scontrol", "show", "config"]


def scancel(jobs: Sequence[str]) -> list[str]:
    """Cancel jobs; ids that are not known are passed over by Slurm."""
    return ["scancel", "--quiet", *jobs]


def _squeue(which: str) -> list[str]:
    return ["squeue", "--noheader", "--array", "--states=all", f"--format={SQUEUE_FORMAT}", which]


def _sacct(*which: str) -> list[str]:
    return _accounting(["--allocations", f"--format={SACCT_FORMAT}"], which)


def _accounting(rows: Sequence[str], which: Sequence[str]) -> list[str]:
    return ["sacct", "--noheader", "--parsable2", *rows, f"--starttime={SACCT_START}", *which]


def show_allocation(job: str) -> list[str]:
    """Ask what a job has on each of its nodes."""
    return ["scontrol", "show", "job", "--details", job]


def squeue_steps(jobs: Iterable[str]) -> list[str]:
    """Ask for the steps of jobs that run now."""
    return ["squeue", "--noheader", "--steps", "--format=%i|%N|%j", f"--jobs={','.join(jobs)}"]


def step(
    job: str,
    name: str,
    command: Sequence[str],
    *,
    cpus: int,
    memory_mb: int | None,
    gpus: int,
    time: str,
    exclude: Sequence[str] = (),
) -> list[str]:
    """Run a command as one task of an allocation, with nothing but its own share of one node.

    Parameters
    ----------
    memory_mb
        MiB; None where Slurm does not count memory.
    """
    return [
        "srun",
        f"--jobid={job}",
        f"--job-name={name}",
        # Without these a step has all of the job's memory and devices, and the next one waits for its end.
        "--exact",
        *([f"--mem={memory_mb}M"] if memory_mb is not None else []),
        f"--gres=gpu:{gpus}" if gpus else "--gres=none",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={cpus}",
        f"--time={time}",
        *([f"--exclude={','.join(exclude)}"] if exclude else []),
        *command,
    ]
