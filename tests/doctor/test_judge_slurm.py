"""What is made of Slurm's configuration, partitions and accounts: over recorded answers."""

from __future__ import annotations

import pytest

from axsched_hpc.core.request import Asked
from axsched_hpc.doctor import limits, partitions, settings
from axsched_hpc.doctor.cluster import judge_commands
from axsched_hpc.doctor.finding import Finding, Level
from axsched_hpc.doctor.partitions import Nodes
from tests.doctor.recordings import out

WITH = settings.parse(out("scontrol-config"))
WITHOUT = settings.parse(out("scontrol-config-without-accounting"))
PARTITIONS = partitions.parse(out("scontrol-partitions"))
NODES = partitions.parse_nodes(out("sinfo-nodes"))


def levels(found: list[Finding]) -> dict[str, Level]:
    return {each.check: each.level for each in found}


# ---------------------------------------------------------------- configuration


def test_the_configuration_is_read() -> None:
    assert WITH["AccountingStorageType"] == "accounting_storage/slurmdbd"
    assert WITH["SLURM_VERSION"] == "22.05.8"
    assert WITH["SlurmctldHost[0]"].endswith("(127.0.0.1)")
    assert settings.number(WITH, "MinJobAge") == 300
    assert settings.number(WITH, "AuthType") is None
    assert settings.number(WITH, "NoSuchName") is None
    assert (settings.accounting(WITH), settings.accounting(WITHOUT), settings.accounting({})) == (
        True,
        False,
        None,
    )


def test_control_groups_are_read_where_slurm_tells_of_them() -> None:
    text = "TaskPlugin = task/affinity,task/cgroup\n\nCgroup Support Configuration:\nConstrainRAMSpace = {}\n"
    for constrained, level in (("yes", Level.OK), ("no", Level.NOTE)):
        known = settings.parse(text.format(constrained))
        assert settings.judge_limits_on_memory(known).level is level


def test_the_test_cluster_is_judged() -> None:
    found = settings.judge(WITH)
    assert levels(found) == {
        "ended jobs": Level.OK,
        "array size": Level.OK,
        "ends of jobs": Level.NOTE,  # KillWait=5
        "memory limits": Level.NOTE,
        "stray processes": Level.NOTE,
        "sharing nodes": Level.OK,
    }
    (ends,) = (each for each in found if each.check == "ends of jobs")
    assert "5 s to save" in ends.found
    assert "PreemptMode=REQUEUE" in ends.found


@pytest.mark.parametrize(
    ("changed", "check", "level"),
    [
        ({"MaxArraySize": "0"}, "array size", Level.PROBLEM),
        ({"MaxArraySize": "101"}, "array size", Level.OK),
        ({"SelectType": "select/linear"}, "sharing nodes", Level.WARNING),
        ({"SelectTypeParameters": "CR_CORE"}, "sharing nodes", Level.NOTE),
        ({"ProctrackType": "proctrack/cgroup"}, "stray processes", Level.OK),
        ({"TaskPlugin": "task/cgroup"}, "memory limits", Level.OK),
        ({"JobAcctGatherParams": "OverMemoryKill"}, "memory limits", Level.OK),
        ({"KillWait": "30 sec"}, "ends of jobs", Level.OK),
        ({"MinJobAge": "5 sec"}, "ended jobs", Level.OK),
    ],
)
def test_other_configurations(changed: dict[str, str], check: str, level: Level) -> None:
    assert levels(settings.judge({**WITH, **changed}))[check] is level


def test_without_accounting_a_short_memory_is_a_warning() -> None:
    short = settings.judge_memory_of_jobs({**WITHOUT, "MinJobAge": "6 sec"})
    assert (short.level, short.change) == (Level.WARNING, "config={'monitoring_interval': 2}")
    assert settings.judge_memory_of_jobs(WITHOUT).level is Level.OK


@pytest.mark.parametrize(
    ("requeue", "mode", "words"),
    [
        ("1", "OFF", ("starts a job again", "No preemption")),
        ("0", "CANCEL", ("submits the trial again, up to 3 times", "submitted again by the driver")),
        ("0", "GANG,SUSPEND", ("JobRequeue=0", "stopped for a while")),
    ],
)
def test_how_jobs_end_is_told(requeue: str, mode: str, words: tuple[str, ...]) -> None:
    found = settings.judge_ends({**WITH, "JobRequeue": requeue, "PreemptMode": mode}).found
    assert all(each in found for each in words)


def test_accounting_in_words() -> None:
    on = settings.judge_accounting(WITH, None, 0.04)
    assert (on.level, on.found) == (Level.OK, "On; sacct answered in 40 ms.")
    silent = settings.judge_accounting(WITH, "sacct could not answer: no.", 0.0)
    assert silent.level is Level.WARNING
    assert "for 5m00s after its end" in silent.found
    off = settings.judge_accounting(WITHOUT, None, 0.0)
    assert off.level is Level.NOTE
    assert "Results do not need it" in off.found


@pytest.mark.parametrize(
    ("seconds", "level", "interval"),
    [(0.01, Level.OK, ""), (0.2, Level.OK, ""), (0.3, Level.NOTE, "20"), (8.0, Level.WARNING, "400")],
)
def test_a_slow_controller_is_asked_less_often(seconds: float, level: Level, interval: str) -> None:
    found = settings.judge_answer(seconds)
    assert found.level is level
    assert found.change == (
        f"Ask less often: config={{'monitoring_interval': {interval}}}" if interval else ""
    )


@pytest.mark.parametrize(
    ("client", "controller", "level", "words"),
    [
        ("slurm-wlm 22.05.8", "22.05.8", Level.OK, "22.05.8 here, 22.05.8 at"),
        ("slurm 23.11.4-1.2", "24.05.0", Level.OK, "23.11.4 here, 24.05.0 at"),
        ("slurm 24.05.1", "23.11.4", Level.WARNING, "newer than the controller"),
        ("slurm 19.05.5", "19.05.5", Level.WARNING, "20.11 and newer"),
        ("", "", Level.OK, "unknown here"),
    ],
)
def test_versions(client: str, controller: str, level: Level, words: str) -> None:
    found = settings.judge_versions(client, {"SLURM_VERSION": controller})
    assert found.level is level
    assert words in found.found


def test_commands_that_are_missing() -> None:
    assert judge_commands([]).level is Level.OK
    assert judge_commands(["sacct", "sinfo"]).level is Level.NOTE
    found = judge_commands(["srun", "sacct"])
    assert (found.level, found.found) == (Level.PROBLEM, "Not on PATH: srun.")


# ---------------------------------------------------------------- partitions


def test_partitions_are_read() -> None:
    by_name = {each.name: each for each in PARTITIONS}
    assert list(by_name) == ["main", "short", "low", "high"]
    main = by_name["main"]
    assert (main.default, main.state, main.limit, main.nodes) == (True, "UP", 86400, 4)
    assert (main.default_time, main.most_memory, main.memory_per_cpu) == (None, None, None)
    assert by_name["short"].limit == 60
    assert NODES["main"] == Nodes(0, 4, 0)
    assert partitions.parse("") == []
    assert partitions.parse("No partitions in the system\n") == []
    assert partitions.parse_nodes("a|b|1/2/3/6\nnonsense\nx|1/2\n") == {"a|b": Nodes(1, 2, 3)}
    assert partitions.default_memory(WITH) == "100 MB per core by default"


def judged(wanted: str | None, text: str = "", nodes: dict[str, Nodes] | None = None) -> Finding:
    listed = partitions.parse(text) if text else PARTITIONS
    return partitions.judge(listed, NODES if nodes is None else nodes, wanted, Asked(4096, 3600), "")[1]


def test_the_default_partition_is_taken() -> None:
    found = judged(None)
    assert (found.level, found.found) == (Level.OK, "Partition main, the default.")


def test_a_misspelt_partition_is_a_problem() -> None:
    found = judged("mian")
    assert found.level is Level.PROBLEM
    assert "Did you mean 'main'?" in found.found


def test_a_partition_with_too_short_a_limit_is_a_problem() -> None:
    found = judged("short")
    assert found.level is Level.PROBLEM
    assert "Trials ask for 1h00m, and its time limit is 1m00s" in found.found
    assert found.change == "SlurmRunner(time_limit='00:01:00') or less."


@pytest.mark.parametrize(
    ("line", "nodes", "level", "words"),
    [
        ("PartitionName=a State=DOWN Default=YES", None, Level.PROBLEM, "It is DOWN"),
        (
            "PartitionName=a State=UP Default=YES",
            {"a": Nodes(0, 0, 3)},
            Level.PROBLEM,
            "None of its nodes is up",
        ),
        ("PartitionName=a State=UP Default=NO", None, Level.WARNING, "no default partition"),
        (
            "PartitionName=a Default=YES MaxMemPerNode=2000",
            None,
            Level.PROBLEM,
            "may have 2 GB on a node",
        ),
    ],
)
def test_partitions_that_do_not_take_trials(
    line: str, nodes: dict[str, Nodes] | None, level: Level, words: str
) -> None:
    found = judged(None, line, nodes)
    assert found.level is level
    assert words in found.found


def test_a_long_list_of_partitions_is_cut_and_keeps_the_chosen_one() -> None:
    many = partitions.parse("\n".join(f"PartitionName=p{n} TotalNodes=1" for n in range(40)))
    listed = partitions.judge(many, {}, "p39", Asked(), "")[0].found.splitlines()
    assert listed[0] == "40 in all:"
    assert listed[1].startswith("p39: up, 1 node, no time limit")
    assert listed[-1] == "and 28 more; `sinfo -s` lists them"


# ---------------------------------------------------------------- accounts

ACCOUNTS = limits.parse(out("sacctmgr-user"), limits.ACCOUNT_FIELDS)
QUALITIES = limits.parse(out("sacctmgr-qos"), limits.QOS_FIELDS)
ENFORCED = "associations,limits,qos"


def test_limits_are_read() -> None:
    assert [row["Account"] for row in ACCOUNTS] == ["chemistry", "physics", "root"]
    assert ACCOUNTS[1] == {
        "DefaultAccount": "root",
        "Cluster": "acct",
        "Account": "physics",
        "QOS": "long,normal",
        "MaxJobs": "8",
        "MaxSubmitJobs": "20",
        "MaxWall": "12:00:00",
    }
    assert QUALITIES[1]["MaxTRESPerUser"] == "cpu=16"
    assert limits.parse(out("sacctmgr-user-unknown"), limits.ACCOUNT_FIELDS) == []


def test_limits_are_told_in_words_with_the_number_to_set() -> None:
    found = limits.judge(ACCOUNTS, QUALITIES, wanted="physics", parallel=32, enforced=ENFORCED)
    assert found.level is Level.WARNING
    head, *lines = found.found.splitlines()
    assert head.startswith("physics, with QOS normal; you may also use chemistry, root. SlurmRunner keeps 32")
    assert lines == [
        "account physics: at most 8 of your jobs run at a time; at most 20 of your jobs are queued or "
        "running; a job may ask for at most 12:00:00",
        "QOS long, where you ask for it: at most 4 of your jobs run at a time; a job may ask for at most "
        "7-00:00:00; your jobs together may have at most cpu=16",
    ]
    assert found.change == "SlurmRunner(max_parallel=20), less what else you run."


def test_only_what_a_job_gets_by_default_is_judged() -> None:
    found = limits.judge(ACCOUNTS, QUALITIES, wanted=None, parallel=32, enforced=ENFORCED)
    assert (found.level, found.found) == (
        Level.OK,
        "root, with QOS normal; you may also use chemistry, physics. No limits besides those of the "
        "partitions.",
    )
    tight = [{"Account": "a", "QOS": "normal,tight", "DefaultQOS": "tight"}]
    rules = [{"Name": "normal", "MaxJobsPerUser": "100"}, {"Name": "tight", "MaxSubmitJobsPerUser": "3"}]
    assert limits.judge(tight, rules, wanted=None, parallel=32, enforced=ENFORCED).level is Level.WARNING
    del tight[0]["DefaultQOS"]
    found = limits.judge(tight, rules, wanted=None, parallel=32, enforced=ENFORCED)
    assert found.level is Level.OK
    assert "QOS tight, where you ask for it" in found.found


def test_limits_that_are_not_enforced_are_told_and_no_more() -> None:
    found = limits.judge(ACCOUNTS, QUALITIES, wanted="physics", parallel=32, enforced="none")
    assert found.level is Level.OK
    assert "does not enforce these limits" in found.found


def test_a_limit_on_running_jobs_alone_is_a_note() -> None:
    rows = [{"Account": "a", "MaxJobs": "5"}]
    found = limits.judge(rows, [], wanted=None, parallel=32, enforced=ENFORCED)
    assert (found.level, found.change) == (Level.NOTE, "SlurmRunner(max_parallel=5).")


def test_accounts_that_the_user_does_not_have() -> None:
    assert limits.judge([], [], wanted=None, parallel=32, enforced="none").level is Level.OK
    assert limits.judge([], [], wanted=None, parallel=32, enforced=ENFORCED).level is Level.PROBLEM
    assert limits.judge(ACCOUNTS, [], wanted="maths", parallel=32, enforced="none").level is Level.WARNING
    found = limits.judge(ACCOUNTS, [], wanted="maths", parallel=32, enforced=ENFORCED)
    assert found.level is Level.PROBLEM
    assert "you are in chemistry, physics, root" in found.found
