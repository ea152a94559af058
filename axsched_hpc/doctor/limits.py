"""The limits of the user's accounts, as sacctmgr tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from axsched_hpc.doctor.finding import Finding, Level, joined

#: Fields asked for, in sacctmgr's words, with ours for a limit.
ACCOUNT_FIELDS = (
    ""
    ""
    ""
    "DefaultAccount,Cluster,Account,Partition,QOS,DefaultQOS,MaxJobs,MaxSubmitJobs,MaxWall,MaxTRES,GrpJobs,GrpSubmitJobs,GrpTRES"
)
QOS_FIELDS = (
    "Name,MaxJobsPerUser,MaxSubmitJobsPerUser,MaxWall,MaxTRES,MaxTRESPerUser,GrpJobs,GrpSubmitJobs,GrpTRES"
)

_WORDS = {
    "MaxJobs": "at most {} of your jobs run at a time",
    "MaxJobsPerUser": "at most {} of your jobs run at a time",
    "MaxSubmitJobs": "at most {} of your jobs are queued or running",
    "MaxSubmitJobsPerUser": "at most {} of your jobs are queued or running",
    "MaxWall": "a job may ask for at most {}",
    "MaxTRES": "a job may have at most {}",
    "MaxTRESPerUser": "your jobs together may have at most {}",
    "GrpJobs": "at most {} jobs of all its users run at a time",
    "GrpSubmitJobs": "at most {} jobs of all its users are queued or running",
    "GrpTRES": "all its users together may have at most {}",
}

_SUBMIT = ("MaxSubmitJobs", "MaxSubmitJobsPerUser", "GrpSubmitJobs")
_RUN = ("MaxJobs", "MaxJobsPerUser", "GrpJobs")


def accounts_query(user: str, cluster: str) -> list[str]:
    """Ask for the user's default account and associations."""
    where = ["where", f"user={user}", *([f"cluster={cluster}"] if cluster else [])]
    return [
        "sacctmgr",
        "--noheader",
        "--parsable2",
        "show",
        "user",
        "withassoc",
        *where,
        f"format={ACCOUNT_FIELDS}",
    ]


def qos_query() -> list[str]:
    """Ask for all qualities of service."""
    return ["sacctmgr", "--noheader", "--parsable2", "show", "qos", f"format={QOS_FIELDS}"]


def parse(answer: str, fields: str) -> list[dict[str, str]]:
    """Rows of sacctmgr as dicts, without empty values."""
    names = fields.split(",")
    rows = []
    for line in answer.splitlines():
        values = line.split("|")
        if len(values) == len(names):
            rows.append({name: value for name, value in zip(names, values, strict=True) if value})
    return rows


def judge(
    accounts: Sequence[Mapping[str, str]],
    qualities: Sequence[Mapping[str, str]],
    *,
    wanted: str | None,
    parallel: int,
    enforced: str,
) -> Finding:
    """What the user's accounts allow.

    Parameters
    ----------
    accounts, qualities
        The user's associations, and all qualities of service.
    wanted
        The account that the user named.
    parallel
        Trials that may be queued or running at a time.
    enforced
        AccountingStorageEnforce of the configuration.
    """
    check = "account"
    binding = "associations" in enforced or "limits" in enforced or "qos" in enforced
    if not accounts:
        if not binding:
            return Finding(check, Level.OK, "You have none, and the site does not ask for one.")
        return Finding(
            check,
            Level.PROBLEM,
            "You have none on this cluster, and the site asks for one "
            f"(AccountingStorageEnforce={enforced}): jobs are refused.",
            "Ask the site for an account on this cluster.",
        )
    names = list(dict.fromkeys(row.get("Account", "") for row in accounts))
    if wanted is not None and wanted not in names:
        return Finding(
            check,
            Level.PROBLEM if binding else Level.WARNING,
            f"You are not in account {wanted!r}; you are in {', '.join(names)}.",
            "axsched doctor --account NAME, and SlurmRunner(account=NAME).",
        )
    used = wanted or accounts[0].get("DefaultAccount", names[0])
    rows = [row for row in accounts if row.get("Account") == used]
    quality = _quality(rows)
    taken = [(f"account {used}{_partition(row)}", row) for row in rows]
    taken += [(f"QOS {quality}", row) for row in qualities if row.get("Name") == quality]
    allowed = {name for row in rows for name in row.get("QOS", "").split(",")} - {quality}
    others = [
        (f"QOS {row['Name']}, where you ask for it", row) for row in qualities if row["Name"] in allowed
    ]
    more = [name for name in names if name != used]
    also = f"; you may also use {', '.join(more)}" if more else ""
    parts = [Finding("", Level.OK, f"{used}, with QOS {quality}{also}." if quality else f"{used}{also}.")]
    lines = [
        f"{name}: {'; '.join(words)}"
        for name, row in (*taken, *others)
        if (words := [words.format(row[field]) for field, words in _WORDS.items() if field in row])
    ]
    if not lines:
        parts.append(Finding("", Level.OK, "No limits besides those of the partitions."))
    elif "limits" not in enforced and "qos" not in enforced:
        how = f"AccountingStorageEnforce={enforced or 'none'}"
        parts.append(Finding("", Level.OK, f"The site does not enforce these limits ({how}):"))
    else:
        parts += _judge_numbers([row for _, row in taken], parallel)
    finding = joined(check, parts)
    return replace(finding, found="\n".join([finding.found, *lines]))


def _judge_numbers(rows: Sequence[Mapping[str, str]], parallel: int) -> list[Finding]:
    submit, run = _smallest(rows, _SUBMIT), _smallest(rows, _RUN)
    if submit is not None and submit < parallel:
        return [
            Finding(
                "",
                Level.WARNING,
                f"SlurmRunner keeps {parallel} trials queued or running; Slurm refuses those "
                f"beyond {submit}, and the driver tries again until they are taken.",
                f"SlurmRunner(max_parallel={submit}), less what else you run.",
            )
        ]
    if run is not None and run < parallel:
        return [
            Finding(
                "",
                Level.NOTE,
                f"Of {parallel} trials (max_parallel) {run} run at a time; the others wait, chosen "
                "by Ax before the results that they could have learnt from.",
                f"SlurmRunner(max_parallel={run}).",
            )
        ]
    return []


def _smallest(rows: Sequence[Mapping[str, str]], names: Sequence[str]) -> int | None:
    values = [int(row[name]) for row in rows for name in names if row.get(name, "").isdecimal()]
    return min(values, default=None)


def _quality(rows: Sequence[Mapping[str, str]]) -> str:
    """The QOS that a job gets which names none: the default one, else Slurm's `normal`, else the only one."""
    for row in rows:
        allowed = row.get("QOS", "").split(",")
        found = row.get("DefaultQOS") or (
            "normal" if "normal" in allowed else allowed[0] if len(allowed) == 1 else ""
        )
        if found:
            return found
    return ""


def _partition(row: Mapping[str, str]) -> str:
    return f" in partition {row['Partition']}" if "Partition" in row else ""
