"""Asking Slurm: its commands, its controller, its configuration, the user's accounts."""

from __future__ import annotations

import getpass
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from axsched_hpc.core.errors import ClusterUnavailableError
from axsched_hpc.doctor import limits, partitions, settings
from axsched_hpc.doctor.finding import Finding, Level
from axsched_hpc.doctor.wanted import Wanted
from axsched_hpc.slurm import parse, render
from axsched_hpc.slurm.run import Completed, run

Execute = Callable[[Sequence[str]], Completed]

#: Commands that the runner needs, and those that only tell more.
NEEDED = ("sbatch", "squeue", "scancel", "scontrol", "srun")
USEFUL = ("sacct", "sinfo", "sacctmgr")


@dataclass(frozen=True)
class Site:
    """What is known of the cluster.

    Attributes
    ----------
    ready
        Whether a job can be submitted at all.
    partition
        The one that jobs go to; None where that is not known.
    """

    findings: tuple[Finding, ...]
    ready: bool
    partition: partitions.Partition | None = None


def present() -> bool:
    """Whether this machine has Slurm's commands."""
    return shutil.which("sbatch") is not None


def judge_commands(missing: Sequence[str]) -> Finding:
    """Whether Slurm's commands are there."""
    needed = [name for name in missing if name in NEEDED]
    if needed:
        return Finding(
            "commands",
            Level.PROBLEM,
            f"Not on PATH: {', '.join(needed)}.",
            "Load the site's Slurm module, or ask the site for a login node with all of Slurm's commands.",
        )
    if missing:
        return Finding(
            "commands",
            Level.NOTE,
            f"Not on PATH: {', '.join(missing)}. Trials run without; less is known of jobs and limits.",
        )
    return Finding("commands", Level.OK, f"{', '.join(NEEDED + USEFUL)} are on PATH.")


def examine(wanted: Wanted, *, execute: Execute = run) -> Site:
    """Ask all that is of interest, a second or less of the controller's time."""
    missing = [name for name in NEEDED + USEFUL if shutil.which(name) is None]
    found = [judge_commands(missing)]
    if found[0].level is Level.PROBLEM:
        return Site(tuple(found), ready=False)
    try:
        client = execute(["sbatch", "--version"]).out
        ping = execute(["scontrol", "ping"])
        if ping.code != 0 or "UP" not in ping.out:
            # The advice that follows is for administrators, in a frame of asterisks.
            first = next(iter((ping.out + ping.err).strip().splitlines()), "no answer")
            return Site((*found, _down(f"{first}.")), ready=False)
        known = settings.parse(execute(render.show_config()).out)
        began = time.monotonic()
        answer = execute(render.squeue_names(["axsched-doctor"]))
        parse.squeue(answer.code, answer.out, answer.err)
        took = time.monotonic() - began
        listed = partitions.parse(execute(["scontrol", "show", "partition", "--oneliner"]).out)
    except ClusterUnavailableError as error:
        return Site((*found, _down(str(error))), ready=False)
    found += [settings.judge_versions(client, known), settings.judge_answer(took)]
    found += [_accounting(known, execute), *settings.judge(known)]
    if wanted.profile is not None:
        found.append(Finding("profile", Level.OK, f"{wanted.profile}."))
    nodes, memory = _nodes(missing, execute), partitions.default_memory(known)
    found += partitions.judge(listed, nodes, wanted.partition, wanted.runner.asked, memory)
    if settings.accounting(known):
        found.append(_account(wanted, known, missing, execute))
    goes = partitions.chosen(listed, wanted.partition)
    unknown = wanted.partition is not None and goes is None
    return Site(tuple(found), ready=not unknown, partition=goes)


def _down(words: str) -> Finding:
    return Finding(
        "controller",
        Level.PROBLEM,
        f"It does not answer: {words}",
        "Try again later; if it stays so, ask the site. Running drivers wait for it.",
    )


def _accounting(known: dict[str, str], execute: Execute) -> Finding:
    began, answered = time.monotonic(), None
    if settings.accounting(known):
        try:
            answer = execute(render.sacct_names(["axsched-doctor"]))
            parse.sacct(answer.code, answer.out, answer.err)
        except (ClusterUnavailableError, parse.AccountingOff) as error:
            answered = str(error)
    return settings.judge_accounting(known, answered, time.monotonic() - began)


def _nodes(missing: Sequence[str], execute: Execute) -> dict[str, partitions.Nodes]:
    if "sinfo" in missing:
        return {}
    try:
        return partitions.parse_nodes(execute(["sinfo", "--noheader", "--format=%R|%F"]).out)
    except ClusterUnavailableError:
        return {}


def _account(wanted: Wanted, known: dict[str, str], missing: Sequence[str], execute: Execute) -> Finding:
    if "sacctmgr" in missing:
        return Finding("account", Level.SKIPPED, "sacctmgr is not on PATH, so your limits are not known.")
    try:
        answers = [
            execute(limits.accounts_query(_user(), known.get("ClusterName", ""))),
            execute(limits.qos_query()),
        ]
    except ClusterUnavailableError as error:
        return Finding("account", Level.SKIPPED, f"Your limits are not known. {error}")
    if any(answer.code != 0 for answer in answers):
        words = " ".join(" ".join(answer.err.split()) for answer in answers)
        return Finding("account", Level.SKIPPED, f"Your limits are not known; sacctmgr says: {words}")
    return limits.judge(
        limits.parse(answers[0].out, limits.ACCOUNT_FIELDS),
        limits.parse(answers[1].out, limits.QOS_FIELDS),
        wanted=wanted.account,
        parallel=wanted.parallel,
        enforced=known.get("AccountingStorageEnforce", ""),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())
