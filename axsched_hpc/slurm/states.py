"""Slurm's words for a job's state, in ours."""

from __future__ import annotations

from axsched_hpc.core.states import JobState

#: Job state codes of squeue(1), sacct(1) and slurm.h, Slurm 20.11 to 24.11.
STATES: dict[str, JobState] = {
    "BOOT_FAIL": JobState.NODE_FAILED,
    "CANCELLED": JobState.CANCELLED,
    "COMPLETED": JobState.SUCCEEDED,
    "COMPLETING": JobState.ENDING,
    "CONFIGURING": JobState.QUEUED,
    "DEADLINE": JobState.TIMED_OUT,
    "FAILED": JobState.FAILED,
    "LAUNCH_FAILED": JobState.NODE_FAILED,
    "NODE_FAIL": JobState.NODE_FAILED,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
    "PENDING": JobState.QUEUED,
    "POWER_UP_NODE": JobState.QUEUED,
    "PREEMPTED": JobState.PREEMPTED,
    "RECONFIG_FAIL": JobState.NODE_FAILED,
    "REQUEUED": JobState.QUEUED,
    "REQUEUE_FED": JobState.QUEUED,
    "REQUEUE_HOLD": JobState.QUEUED,
    "RESIZING": JobState.RUNNING,
    "RESV_DEL_HOLD": JobState.QUEUED,
    # Another cluster of the federation runs it: nothing has ended.
    "REVOKED": JobState.UNKNOWN,
    "RUNNING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "SPECIAL_EXIT": JobState.QUEUED,
    "STAGE_OUT": JobState.ENDING,
    "STOPPED": JobState.SUSPENDED,
    "SUSPENDED": JobState.SUSPENDED,
    "TIMEOUT": JobState.TIMED_OUT,
}


def job_state(raw: str) -> JobState:
    """Our word for Slurm's, which may carry more: ``CANCELLED by 1000``, or a ``+`` where sacct cut it.

    A word that is not known is UNKNOWN, which is never taken for an end.
    """
    word = raw.split()[0].rstrip("+").upper() if raw.strip() else ""
    return STATES.get(word, JobState.UNKNOWN)
