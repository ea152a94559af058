"""What a job's round trip means: judgements over what could have been measured."""

from __future__ import annotations

from typing import Any

import pytest

from axsched_hpc.core.states import JobState
from axsched_hpc.doctor import judge_trip
from axsched_hpc.doctor.finding import Finding, Level
from axsched_hpc.doctor.judge_silence import judge_silence
from axsched_hpc.doctor.judge_trip import Here
from axsched_hpc.doctor.trip import Exchange, Trip
from axsched_hpc.runners.base import JobStatus

HERE = Here("boot-1", 1000, "3.11.7", {"axsched-hpc": "0.1.0", "submitit": "1.5.4"}, "/home/me/run")

NODE: dict[str, Any] = {
    "started": 1000.5,
    "host": "n17.site",
    "node": "n17",
    "boot": "boot-2",
    "python": "3.11.7",
    "executable": "/home/me/env/bin/python",
    "versions": {"axsched-hpc": "0.1.0", "submitit": "1.5.4"},
    "uid": 1000,
    "mount": ["nfs4", ["rw"]],
    "tmpdir": "",
    "scratch": "/tmp",
    "scratch_free": 5 * 2**30,
    "cores": 1,
    "granted": "1",
    "gpus": None,
    "seen": True,
    "file_clock": 0.0,
    "lock": "refused",
    "claimed": "refused",
    "holds": True,
}


def trip(exchanges: list[Exchange] | None = None, **changed: Any) -> Trip:
    """A trip on which all went well, with some of the node's words changed."""
    made = [Exchange(1001.0 + n, 1001.01 + n, 1001.01 + n, 1001.02 + n) for n in range(3)]
    return Trip(
        job="7_0",
        submitted=1000.0,
        submitting=0.01,
        node={**NODE, **changed},
        engines={"apptainer": "apptainer version 1.3.1", "podman": ""},
        exchanges=made if exchanges is None else exchanges,
        owner=1000,
        mode=0o600,
        lock_here="refused",
        released=0.0,
    )


def judged(one: Trip, *, slurm: bool = True) -> dict[str, Finding]:
    return {each.check: each for each in judge_trip.judge(one, HERE, slurm=slurm, settle=2.0)}


def bad(one: Trip) -> dict[str, Level]:
    return {check: each.level for check, each in judged(one).items() if each.level is not Level.OK}


def test_a_trip_on_which_all_is_well() -> None:
    found = judged(trip())
    assert not bad(trip())
    assert found["start"].found == "On n17.site; Python ran 500 ms after submission."
    assert found["containers"].found == "apptainer 1.3.1, podman."
    assert found["python there"].found.endswith("The same versions of all 2 packages as here.")


def test_on_one_machine_what_goes_without_saying_is_not_said() -> None:
    assert list(judged(trip(), slurm=False)) == [
        *("start", "late files", "claims", "locks", "python there", "scratch", "cores and GPUs", "containers")
    ]


@pytest.mark.parametrize(
    ("changed", "check", "level", "words"),
    [
        ({"boot": "boot-1"}, "machine", Level.NOTE, "is this machine"),
        ({"seen": False}, "directory there", Level.PROBLEM, "does not see what this process wrote"),
        ({"claimed": "granted"}, "claims", Level.PROBLEM, "two jobs could run one trial"),
        ({"claimed": "Operation not permitted"}, "claims", Level.PROBLEM, "link(2)"),
        ({"lock": "granted"}, "locks", Level.WARNING, "locks hold on one machine only"),
        ({"lock": "No locks available"}, "locks", Level.NOTE, "No locks available"),
        ({"python": "3.12.1"}, "python there", Level.PROBLEM, "Here it is 3.11.7"),
        ({"uid": 99}, "user", Level.PROBLEM, "user 99 on the node"),
        ({"cores": 64}, "cores and GPUs", Level.NOTE, "1 of the 64 cores"),
    ],
)
def test_what_can_be_wrong_on_the_node(changed: dict[str, Any], check: str, level: Level, words: str) -> None:
    one = trip(**changed)
    assert bad(one) == {check: level}
    assert words in judged(one)[check].found


def test_packages_that_differ_are_named() -> None:
    found = judged(trip(versions={"axsched-hpc": "0.1.0", "submitit": None}))["python there"]
    assert found.level is Level.PROBLEM
    assert "submitit is missing there and 1.5.4 here" in found.found


@pytest.mark.parametrize(
    ("owner", "mode", "level"),
    [(1000, 0o600, Level.OK), (65534, 0o600, Level.PROBLEM), (1000, 0o644, Level.NOTE)],
)
def test_whose_the_files_of_the_node_are(owner: int, mode: int, level: Level) -> None:
    one = trip()
    one.owner, one.mode = owner, mode
    assert judged(one)["user"].level is level


@pytest.mark.parametrize(
    ("here", "released", "level"),
    [
        ("refused", 0.0, Level.OK),
        ("refused", None, Level.WARNING),
        ("granted", 0.0, Level.WARNING),
        ("", None, Level.NOTE),
    ],
)
def test_locks_of_the_node_seen_from_here(here: str, released: float | None, level: Level) -> None:
    one = trip()
    one.lock_here, one.released = here, released
    assert judged(one)["locks"].level is level


# ---------------------------------------------------------------- clocks and lateness


@pytest.mark.parametrize(
    ("hint", "skew", "bound"),
    [
        (100.0, 100.0, 0.5),  # the clock of an NFS server
        (0.0, 99.9, 0.6),  # a filesystem that has none: the nearest that can be
        (777.0, 100.5, 0.6),
    ],
)
def test_clocks_differ_by_no_more_than_can_be(hint: float, skew: float, bound: float) -> None:
    # The node is 100 s ahead. A file takes 3 s to get there, once 0.5 s, and 0.1 s to come back.
    known = judge_trip.clocks(
        [
            Exchange(10.0, 113.0, 113.0, 13.1),
            Exchange(20.0, 120.5, 120.5, 20.6),
            Exchange(30.0, 133.0, 133.0, 33.1),
        ],
        hint,
    )
    assert (known.skew, known.bound) == (pytest.approx(skew), pytest.approx(bound))
    assert abs(known.skew - 100.0) <= known.bound
    assert known.there == pytest.approx(3.0, abs=known.bound)
    assert known.here == pytest.approx(0.1, abs=known.bound)


@pytest.mark.parametrize(
    ("skew", "bound", "level"),
    [
        (0.01, 0.01, Level.OK),
        (-3.0, 5.0, Level.OK),  # not known to differ
        (-3.0, 0.1, Level.NOTE),
        (400.0, 0.1, Level.WARNING),
    ],
)
def test_clocks(skew: float, bound: float, level: Level) -> None:
    assert judge_trip.judge_skew(skew, bound).level is level


@pytest.mark.parametrize(("seconds", "level"), [(0.02, Level.OK), (1.5, Level.NOTE), (2.5, Level.WARNING)])
def test_lateness(seconds: float, level: Level) -> None:
    assert judge_trip.judge_lateness(seconds, "there", settle=2.0).level is level
    quick = Exchange(1001.0, 1001.01, 1001.01, 1001.02)
    slow = Exchange(1010.0, 1010.01, 1010.01, 1010.01 + seconds)
    assert judged(trip([quick, slow]))["late files"].level is level


def test_files_that_a_listing_missed_are_told_and_not_timed() -> None:
    quick = Exchange(1001.0, 1001.01, 1001.01, 1001.02)
    found = judged(trip([quick, Exchange(1010.0, 1013.01, 1013.01, 1013.02, missed_there=True)]))[
        "late files"
    ]
    assert found.level is Level.NOTE
    assert "1 of 4 files" in found.found
    assert found.found.startswith("10 ms until")


def test_a_node_that_does_not_answer() -> None:
    one = trip()
    one.mute = "question 3"
    assert "question 3" in judged(one)["late files"].found
    assert bad(trip([])) == {"late files": Level.PROBLEM}


# ---------------------------------------------------------------- no report


def silent(state: JobState, reason: str = "", log: str | None = None) -> Finding:
    status = JobStatus(state, str(state).upper(), reason, "n17")
    return judge_silence(Trip(job="7_0", submitted=1.0, status=status, log=log), "/home/me/run")


@pytest.mark.parametrize(
    ("reason", "level", "change"),
    [
        ("Resources", Level.WARNING, "--wait 1800"),
        ("Priority", Level.WARNING, "--wait 1800"),
        ("PartitionTimeLimit", Level.PROBLEM, "time_limit"),
        ("JobHeldUser", Level.PROBLEM, "held"),
        ("QOSMaxJobsPerUserLimit", Level.WARNING, "limit of your account"),
        ("AssocGrpCpuLimit", Level.WARNING, "limit of your account"),
        ("InvalidQOS", Level.PROBLEM, "--account"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", Level.WARNING, "sinfo -R"),
    ],
)
def test_why_a_job_waits(reason: str, level: Level, change: str) -> None:
    found = silent(JobState.QUEUED, reason)
    assert found.level is level
    assert f"Slurm's reason: {reason}" in found.found
    assert change in found.change


@pytest.mark.parametrize(
    ("log", "words", "change"),
    [
        (None, "Not even its log", "compute nodes share"),
        ("", "Its last words: nothing", ""),
        ("x\n/x/python: No module named axsched_hpc\n", "No module named axsched_hpc", "virtual environment"),
        (
            "slurm_script: line 9: /home/me/env/bin/python: No such file or directory",
            "No such file",
            "modules",
        ),
        ("The directory /local/x is not seen on n17.\n", "is not seen on n17", "compute nodes share"),
    ],
)
def test_why_a_job_died(log: str | None, words: str, change: str) -> None:
    found = silent(JobState.FAILED, log=log)
    assert found.level is Level.PROBLEM
    assert words in found.found
    assert change in found.change


def test_a_job_that_was_ended_by_others_tells_nothing_of_the_directory() -> None:
    assert silent(JobState.CANCELLED).level is Level.WARNING
    for state, seen in ((JobState.CANCELLED, None), (JobState.QUEUED, None), (JobState.FAILED, False)):
        assert Trip(status=JobStatus(state)).seen is seen
    assert Trip(status=JobStatus(JobState.FAILED), log="x").seen is None
    assert silent(JobState.RUNNING).level is Level.PROBLEM


def test_a_submission_that_was_refused_and_a_job_that_was_left() -> None:
    found = judged(Trip(refused="Slurm refused the jobs: no.", left="Job 7 may be left."))
    assert found["submission"].level is Level.PROBLEM
    assert found["left over"].level is Level.WARNING
