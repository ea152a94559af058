"""Why a job waits, in Slurm's words: which reasons pass by themselves, and what to do about the others. Pure.

The words are those of squeue(1), "JOB REASON CODES", Slurm 20.11 to 24.11.
"""

from __future__ import annotations

import re

#: What does not pass by itself. The first that fits counts.
_STUCK: tuple[tuple[str, str], ...] = (
    (r"JobHeldUser", "it is held: `scontrol release {job}`, or `scancel {job}`"),
    (r"JobHeldAdmin", "the site holds it: ask its support"),
    (
        r"launch_failed_requeued_held|job_requeued_in_held_state|.*requeued_held",
        "it was requeued and held: `scontrol release {job}` lets it start",
    ),
    (r"PartitionTimeLimit", "time_limit is beyond the partition's; `sinfo -o '%P %l'` shows it"),
    (r"PartitionNodeLimit", "it asks for more nodes than the partition gives"),
    (r"PartitionDown|PartitionInactive", "the partition takes no jobs now; `sinfo` shows it"),
    (
        r"ReqNodeNotAvail|Node(s)?Down|NodeDown",
        "nodes that it needs are down, drained or reserved for maintenance; `sinfo -R` shows why",
    ),
    (r"BadConstraints", "no node has what it asks for (constraint, memory, cores, GPUs)"),
    (
        r"(QOS|Assoc)\w*(Minutes|Mins|RunMinutes)\w*",
        "the account's compute time is used up; `sshare` or the site's own command shows it",
    ),
    (r"(QOS|Assoc)\w*Wall\w*", "time_limit is beyond what the account or QOS allows"),
    (r"QOSUsageThreshold", "the QOS asks for more fair share than the account has left"),
    (
        r"(QOS|Assoc)\w*(PerJob|MinGRES|MinCPU|MaxCpuPerJob|MaxNodePerJob)\w*",
        "it asks for more than the account or QOS allows one job",
    ),
    (r"MaxMemPerLimit|MaxMemPerNode", "memory is beyond what the partition allows"),
    (r"InvalidAccount", "the account is not valid; `sacctmgr show assoc user=$USER` lists yours"),
    (r"InvalidQOS", "the QOS is not valid for this account"),
    (
        r"AccountNotAllowed|QOSNotAllowed|AllocNodeNotAllowed|.*NotAllowed",
        "the partition does not take this account, QOS or node",
    ),
    (r"DependencyNeverSatisfied", "what it depends on has failed"),
    (r"ReservationDeleted", "its reservation is gone"),
    (r"BurstBuffer\w*|.*staging.*", "its burst buffer could not be prepared"),
    (r"SystemFailure|FedJobLock|OutOfMemory", "Slurm itself is in trouble: ask the site's support"),
)


def stuck(reason: str, job: str = "") -> str | None:
    """What to do about a job that waits for this reason; None where the reason passes by itself.

    A reason that is not known counts as one that passes: a warning that is none is worse than none.
    """
    # ReqNodeNotAvail carries a list of nodes after a comma, and a reason in parentheses may stand around it.
    word = reason.strip().strip("()").split(",")[0].strip().replace(" ", "_")
    if not word:
        return None
    for pattern, hint in _STUCK:
        if re.fullmatch(pattern, word, re.IGNORECASE):
            return hint.format(job=job or "JOB")
    return None
