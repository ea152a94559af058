"""Argument lists of Slurm's commands."""

from __future__ import annotations

from axsched_hpc.slurm import render


def test_jobs_of_one_array_are_one_id() -> None:
    argv = render.squeue_jobs(["12_0", "12_1", "7", "12_5"])
    assert argv == [
        "squeue",
        "--noheader",
        "--array",
        "--states=all",
        "--format=%i|%T|%r|%N|%V|%S|%j",
        "--jobs=12,7",
    ]


def test_sacct_always_has_a_start() -> None:
    for argv in (render.sacct_jobs(["12_0"]), render.sacct_names(["name"])):
        assert "--starttime=now-30days" in argv
        assert "--format=JobID,State,ExitCode,NodeList,Submit,Start,End,JobName,Reason" in argv
        assert {"--noheader", "--parsable2", "--allocations"} < set(argv)
    assert render.sacct_jobs(["12_0", "12_1"])[-1] == "--jobs=12"
    assert render.sacct_names(["a", "b"])[-1] == "--name=a,b"


def test_a_command_line_stays_short() -> None:
    many = [str(number) for number in range(100_000, 100_000 + render.MOST_IDS)]
    assert len(",".join(many)) < 32_000
    assert render.squeue_jobs(many)[-1] == f"--jobs={','.join(many)}"
    assert render.squeue_jobs([*many, "1"])[-1] == "--me"
    assert render.squeue_names([*many, "1"])[-1] == "--me"
    assert render.sacct_jobs([*many, "1"])[-1] == "--starttime=now-30days"
    assert render.sacct_names([*many, "1"])[-1] == "--starttime=now-30days"


def test_scancel_names_each_job() -> None:
    assert render.scancel(["12_0", "7"]) == ["scancel", "--quiet", "12_0", "7"]


def test_usage_is_asked_for_with_the_steps_of_just_these_jobs() -> None:
    argv = render.sacct_usage(["12_0", "12_7"])
    assert "--allocations" not in argv
    assert "--starttime=now-30days" in argv
    assert argv[-1] == "--jobs=12_0,12_7"
    tasks = [f"12_{task}" for task in range(render.MOST_IDS + 1)]
    assert render.sacct_usage(tasks)[-1] == "--jobs=12"
    assert render.sacct_usage([str(job) for job in range(render.MOST_IDS + 1)])[-1].startswith("--starttime=")
