"""The controller's configuration, as `scontrol show config` tells it, and what it means for trials."""

from __future__ import annotations

import re
from collections.abc import Mapping

from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.policy import RetryPolicy
from axsched_hpc.doctor.finding import Finding, Level, joined
from axsched_hpc.reporting.table import duration

#: The oldest Slurm whose words and options this package knows.
OLDEST = (20, 11)

#: Tasks in one of SlurmRunner's arrays, by default.
ARRAY = 1000

_INTERVAL = SchedulerConfig().monitoring_interval
_RETRIES = RetryPolicy().infrastructure


def parse(answer: str) -> dict[str, str]:
    """Settings by name, of all sections; the control groups' stand in the last one, since Slurm 21.08."""
    settings = {}
    for line in answer.splitlines():
        name, equals, value = line.partition("=")
        if equals and re.fullmatch(r"\S+", name.strip()):
            settings[name.strip()] = value.strip()
    return settings


def number(settings: Mapping[str, str], name: str) -> int | None:
    """The number at the begin of a value, such as ``300 sec``."""
    found = re.match(r"\d+", settings.get(name, ""))
    return int(found[0]) if found is not None else None


def accounting(settings: Mapping[str, str]) -> bool | None:
    """Whether the site keeps accounting records; None where it does not tell."""
    kind = settings.get("AccountingStorageType", "")
    return None if not kind else kind not in ("accounting_storage/none", "(null)")


def version(text: str) -> tuple[int, ...]:
    """The numbers of ``slurm-wlm 22.05.8`` or ``slurm 23.11.4-1.2``; empty where there are none."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in found[0].split(".")) if found is not None else ()


def judge_versions(client: str, settings: Mapping[str, str]) -> Finding:
    """Slurm's version here and at the controller."""
    here, there = version(client), version(settings.get("SLURM_VERSION", ""))
    name = settings.get("ClusterName", "")
    of = f" of cluster {name}" if name else ""
    parts = [Finding("", Level.OK, f"{_dotted(here)} here, {_dotted(there)} at the controller{of}.")]
    if here and here[:2] < OLDEST:
        parts.append(
            Finding(
                "",
                Level.WARNING,
                f"This package knows Slurm {OLDEST[0]}.{OLDEST[1]} and newer.",
                "Ask the site for newer commands, often a module: `module avail slurm`.",
            )
        )
    elif here and there and here[:2] > there[:2]:
        parts.append(
            Finding(
                "",
                Level.WARNING,
                "The commands are newer than the controller, which Slurm does not support.",
                "Load the Slurm module that fits the cluster.",
            )
        )
    return joined("versions", parts)


def judge_answer(seconds: float) -> Finding:
    """How long the controller takes for a query, and how often to ask it."""
    found = f"A query of the job queue took {_seconds(seconds)}."
    # A query every so often that the controller spends at most a fiftieth of its time on one driver.
    interval = -int(-50 * seconds // 10) * 10
    if interval <= _INTERVAL:
        return Finding(
            "controller", Level.OK, f"{found} The default of one per {_INTERVAL:g} s is no burden."
        )
    level = Level.WARNING if seconds > 5 else Level.NOTE
    return Finding(
        "controller", level, found, f"Ask less often: config={{'monitoring_interval': {interval}}}"
    )


def judge_accounting(settings: Mapping[str, str], answered: str | None, seconds: float) -> Finding:
    """Accounting, and what it means that there is none.

    Parameters
    ----------
    answered
        What sacct complained of; None where it answered.
    """
    on = accounting(settings)
    age = number(settings, "MinJobAge")
    remembers = f" for {duration(age)} after its end (MinJobAge)" if age else ""
    if on and answered is None:
        return Finding("accounting", Level.OK, f"On; sacct answered in {_seconds(seconds)}.")
    if on:
        return Finding(
            "accounting",
            Level.WARNING,
            f"On, but sacct does not answer: {answered} Trials run without it; the driver asks it again now "
            f"and then, and takes the controller's word meanwhile, which knows a job{remembers}.",
            "If it stays so, tell the site.",
        )
    return Finding(
        "accounting",
        Level.NOTE,
        "Off: the site keeps no records of ended jobs, and sacct answers nothing. Results do not need it. "
        "The end of a job that dies without a word is learnt from the controller, which knows "
        f"it{remembers}; of one that ended while no driver ran, only that it is gone, and it is repeated.",
    )


def judge_memory_of_jobs(settings: Mapping[str, str]) -> Finding:
    """MinJobAge: for how long a job's end can be learnt."""
    check, age = "ended jobs", number(settings, "MinJobAge")
    if not age or accounting(settings):
        words = (
            f"The controller knows them for {duration(age)}."
            if age
            else "The controller does not forget them."
        )
        more = " Then the accounting does." if age and accounting(settings) else ""
        return Finding(check, Level.OK, words + more)
    if age < 2 * _INTERVAL:
        return Finding(
            check,
            Level.WARNING,
            f"The controller forgets them after {age} s, and there is no accounting: the driver has to look "
            "more often than that to learn why a job died.",
            f"config={{'monitoring_interval': {max(1, age // 3)}}}",
        )
    return Finding(
        check,
        Level.OK,
        f"The controller forgets them after {duration(age)}; the driver looks every {_INTERVAL:g} s.",
    )


def judge_arrays(settings: Mapping[str, str]) -> Finding:
    """MaxArraySize."""
    check, most = "array size", number(settings, "MaxArraySize")
    if most is None:
        return Finding(check, Level.NOTE, "The controller does not tell MaxArraySize.")
    # Task ids are smaller than MaxArraySize, and ours begin at 0.
    if most < 2:
        return Finding(
            check,
            Level.PROBLEM,
            f"MaxArraySize is {most}: the site does not allow job arrays, and every batch is one.",
            "Ask the site to allow them.",
        )
    return Finding(check, Level.OK, f"Up to {min(most, ARRAY)} tasks; a larger batch becomes several arrays.")


def judge_ends(settings: Mapping[str, str]) -> Finding:
    """How jobs end and come back: KillWait, JobRequeue, preemption."""
    wait, mode = number(settings, "KillWait"), settings.get("PreemptMode", "OFF")
    on = settings.get("PreemptType", "preempt/none") not in ("preempt/none", "(null)")
    parts = []
    if wait is not None:
        words = f"A trial that is ended has {wait} s to save (KillWait)."
        save = "" if wait >= 10 else "What a trial saves when it is ended has to be saved quickly."
        parts.append(Finding("", Level.NOTE if save else Level.OK, words, save))
    parts.append(
        Finding(
            "",
            Level.OK,
            "After a node failure Slurm starts a job again (JobRequeue=1)."
            if settings.get("JobRequeue") == "1"
            else f"After a node failure the driver submits the trial again, up to {_RETRIES} times "
            "(JobRequeue=0).",
        )
    )
    if not on or mode.upper() == "OFF":
        parts.append(Finding("", Level.OK, "No preemption."))
    else:
        how = {
            "REQUEUE": "started again by Slurm",
            "CANCEL": f"ended, and submitted again by the driver, up to {_RETRIES} times",
            "SUSPEND": "stopped for a while",
        }
        does = next((words for word, words in how.items() if word in mode.upper()), f"treated by {mode}")
        parts.append(
            Finding(
                "",
                Level.OK,
                f"Preemption (PreemptMode={mode}): a preempted trial is {does}; partitions can differ.",
            )
        )
    return joined("ends of jobs", parts)


def judge_limits_on_memory(settings: Mapping[str, str]) -> Finding:
    """Whether a job that takes more memory than it asked for is stopped."""
    check = "memory limits"
    groups = "cgroup" in settings.get("TaskPlugin", "") and settings.get("ConstrainRAMSpace", "yes") != "no"
    sampled = "overmemorykill" in settings.get("JobAcctGatherParams", "").lower()
    if groups:
        return Finding(
            check, Level.OK, "Enforced by control groups: a trial beyond its memory is ended, and says so."
        )
    if sampled:
        return Finding(
            check, Level.OK, "Enforced by sampling: a trial beyond its memory is ended some time later."
        )
    return Finding(
        check,
        Level.NOTE,
        f"Not enforced (TaskPlugin={settings.get('TaskPlugin', 'none')}): a trial that takes more than it "
        "asked for takes it from the others on its node, until the kernel kills one of them.",
        "Ask for enough: SlurmRunner(memory=...); each trial's result.json tells what it used.",
    )


def judge_confinement(settings: Mapping[str, str]) -> Finding:
    """Whether what a job leaves behind is ended with it."""
    check, kind = "stray processes", settings.get("ProctrackType", "")
    if kind.endswith("/cgroup"):
        return Finding(check, Level.OK, "Slurm ends all processes of a job with it (proctrack/cgroup).")
    return Finding(
        check,
        Level.NOTE,
        f"Slurm follows processes by their parents ({kind or 'ProctrackType unknown'}): a daemon that a "
        "trial starts can outlive its job.",
        "Have the objective's programs stay in the foreground.",
    )


def judge_selection(settings: Mapping[str, str]) -> Finding:
    """Whether small trials share a node."""
    check, kind = "sharing nodes", settings.get("SelectType", "")
    consumed = settings.get("SelectTypeParameters", "").upper()
    if kind.endswith("/linear"):
        return Finding(
            check,
            Level.WARNING,
            "Every job gets whole nodes (select/linear): a trial of one core takes a node.",
            "Have each trial use the whole node, or ask for a partition that shares nodes.",
        )
    if kind and "MEMORY" not in consumed and "CR_" in consumed:
        return Finding(
            check,
            Level.NOTE,
            f"Jobs share nodes by cores only ({consumed}): Slurm does not count memory.",
            "Where trials need much memory, ask for more cores per trial: SlurmRunner(cpus_per_task=...).",
        )
    return Finding(
        check, Level.OK, f"Jobs share nodes by {'cores and memory' if consumed else 'cores'} ({kind})."
    )


def judge(settings: Mapping[str, str]) -> list[Finding]:
    """All that the configuration alone tells."""
    return [
        judge_memory_of_jobs(settings),
        judge_arrays(settings),
        judge_ends(settings),
        judge_limits_on_memory(settings),
        judge_confinement(settings),
        judge_selection(settings),
    ]


def _dotted(numbers: tuple[int, ...]) -> str:
    return (
        f"{numbers[0]}.{'.'.join(f'{n:02d}' if i == 0 else str(n) for i, n in enumerate(numbers[1:]))}"
        if numbers
        else "unknown"
    )


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
