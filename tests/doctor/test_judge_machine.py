"""This machine, its packages, the directory and its filesystem: judgements over given values."""

from __future__ import annotations

import pytest

from axsched_hpc.doctor import machine, mounts, storage, versions
from axsched_hpc.doctor.finding import (
    Finding,
    Group,
    Level,
    as_json,
    found_problem,
    group_text,
    joined,
    summary,
)
from axsched_hpc.doctor.machine import Resources
from axsched_hpc.doctor.storage import Space, Speed

GB = 2**30

# ---------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("version", "wanted", "inside"),
    [
        ("1.3.1", ">=1.3,<1.4", True),
        ("1.3", "<1.4,>=1.3.0", True),
        ("1.4.0", ">=1.3,<1.4", False),
        ("1.4.0rc1", ">=1.3,<1.4", False),
        ("1.3.0rc1", ">=1.3", False),
        ("1.10", ">=1.9", True),
        ("2", "!=2.0", False),
        ("2.1", "==2.1.0", True),
        ("2.1", ">2.1", False),
        ("2.1", "<=2.0", False),
        ("3.11.7", "", True),
        ("unknown", ">=1", True),
    ],
)
def test_version_ranges(version: str, wanted: str, inside: bool) -> None:
    assert versions.within(version, wanted) is inside


def test_requirements_of_extras_do_not_count() -> None:
    lines = [
        "ax-platform<1.4,>=1.3",
        "rich>=13",
        "plotly>=5.12; extra == 'report'",
        "a[b]>=1 ; os_name == 'x'",
    ]
    assert versions.needed(lines) == {"ax-platform": "<1.4,>=1.3", "rich": ">=13", "a": ">=1"}


def test_the_packages_here_are_within_their_ranges() -> None:
    python, packages = versions.findings()
    assert (python.level, packages.level) == (Level.OK, Level.OK)
    assert "ax-platform 1." in packages.found
    assert "submitit 1." in packages.found


def test_packages_outside_their_ranges_are_named_with_what_to_install() -> None:
    have = {"axsched-hpc": "0.1.0", "ax-platform": "1.4.0", "filelock": None, "click": "8.1"}
    found = versions.judge_packages(have, {"ax-platform": "<1.4", "filelock": ">=3.30", "click": ">=8"})
    assert found.level is Level.PROBLEM
    assert "ax-platform 1.4.0 is not in the supported range (<1.4)" in found.found
    assert "filelock is not installed" in found.found
    assert found.change == "Install what fits: python -m pip install 'ax-platform<1.4' 'filelock>=3.30'"
    assert versions.judge_packages(have, {}).level is Level.NOTE
    assert versions.judge_python("3.10.2", "/usr/bin/python3", ">=3.11").level is Level.PROBLEM


# ---------------------------------------------------------------- resources


@pytest.mark.parametrize(
    ("have", "level", "words"),
    [
        (Resources(4, 16 * GB, None, None, 1024), Level.OK, "4 cores and 16 GB of memory"),
        (Resources(1, GB, None, None, None), Level.WARNING, "A driver with Ax takes about 2 GB"),
        (Resources(1, None, 1800, None, None), Level.WARNING, "after 30m00s of CPU time"),
        (Resources(1, None, None, 50, None), Level.WARNING, "50 processes"),
        (Resources(1, None, None, None, 64), Level.WARNING, "64 files"),
    ],
)
def test_resources(have: Resources, level: Level, words: str) -> None:
    found = machine.judge_resources(have)
    assert found.level is level
    assert words in found.found


def test_limits_of_control_groups_are_found_at_every_level() -> None:
    second = "0::/user.slice/user-1000.slice\n"
    assert machine.limit_files(second) == [
        "/sys/fs/cgroup/user.slice/user-1000.slice/memory.max",
        "/sys/fs/cgroup/user.slice/memory.max",
        "/sys/fs/cgroup/memory.max",
    ]
    read = {machine.limit_files(second)[0]: "max\n", machine.limit_files(second)[1]: f"{4 * GB}\n"}
    assert machine.cgroup_limit(second, read) == 4 * GB
    first = "9:cpu,cpuacct:/x\n4:memory:/slurm/job_7\n"
    (path, *_) = machine.limit_files(first)
    assert path == "/sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes"
    assert machine.cgroup_limit(first, {path: "9223372036854771712"}) is None
    assert machine.cgroup_limit(first, {path: "1000"}) == 1000


def test_inside_a_job() -> None:
    assert machine.judge_job({}).level is Level.OK
    found = machine.judge_job({"SLURM_JOB_ID": "77"})
    assert (found.level, "Slurm job 77" in found.found) == (Level.NOTE, True)


# ---------------------------------------------------------------- filesystem

MOUNTS = mounts.parse(
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n"
    "30 22 0:40 / /home rw,relatime shared:2 master:1 - nfs4 server:/home rw,vers=4.2,hard,local_lock=none\n"
    "31 22 0:41 / /old\\040scratch rw - nfs server:/old rw,vers=3,soft,nolock,local_lock=all,acdirmax=600\n"
    "32 22 0:42 / /lustre rw - lustre 10.0.0.1@tcp:/l rw,flock\n"
    "33 22 0:43 / /lustre2 rw - lustre 10.0.0.1@tcp:/l rw,localflock\n"
    "34 22 0:44 / /lustre3 rw - lustre 10.0.0.1@tcp:/l rw\n"
    "35 22 0:45 / /tmp rw - tmpfs tmpfs rw,size=1g\n"
    "36 22 0:46 / /data ro - xfs /dev/sdb rw\n"
    "37 30 0:47 / /home/me rw - fuse.sshfs me@x: rw\n"
    "38 22 0:48 / /new rw - somefs x rw\n"
    "nonsense\n"
)


def kind(path: str, *, slurm: bool = True, seen: bool | None = None, same: bool = False) -> Finding:
    return mounts.judge(mounts.mount_of(path, MOUNTS), slurm=slurm, seen=seen, same=same)


def test_mounts_are_read_and_the_deepest_is_taken() -> None:
    assert len(MOUNTS) == 10
    paths = ("/", "/homer", "/home/you", "/home/me/x", "/old scratch/a")
    found = [mounts.mount_of(path, MOUNTS) for path in paths]
    assert [each.point for each in found if each] == ["/", "/", "/home", "/home/me", "/old scratch"]
    assert mounts.mount_of("/home", MOUNTS).option("vers") == "4.2"  # type: ignore[union-attr]
    assert mounts.mount_of("/x", []) is None


@pytest.mark.parametrize(
    ("path", "level", "words"),
    [
        ("/home/x", Level.OK, "nfs4, mounted at /home."),
        ("/home/me", Level.OK, "fuse.sshfs"),
        ("/old scratch", Level.WARNING, "`local_lock=all`"),
        ("/lustre", Level.OK, "lustre"),
        ("/lustre2", Level.WARNING, "`localflock`"),
        ("/lustre3", Level.NOTE, "without `flock`"),
        ("/tmp/x", Level.PROBLEM, "memory of this machine"),
        ("/var", Level.WARNING, "a disk of this machine"),
        ("/data", Level.PROBLEM, "read-only"),
        ("/new", Level.NOTE, "not known whether compute nodes share"),
    ],
)
def test_kinds_of_filesystems_for_a_cluster(path: str, level: Level, words: str) -> None:
    found = kind(path)
    assert found.level is level
    assert words in found.found


def test_soft_mounts_and_long_caches_are_told() -> None:
    found = kind("/old scratch").found
    assert "soft" in found
    assert "600 s out of date" in found


def test_what_a_job_saw_decides_over_what_the_kind_suggests() -> None:
    assert kind("/var", seen=True).level is Level.OK
    assert kind("/home/x", seen=False).level is Level.PROBLEM
    assert kind("/var", seen=True, same=True).level is Level.NOTE
    assert kind("/home/x", seen=True, same=True).level is Level.OK


def test_one_machine_alone_may_use_its_own_disk() -> None:
    assert kind("/var", slurm=False).level is Level.OK
    assert kind("/tmp", slurm=False).level is Level.WARNING
    assert mounts.judge(None, slurm=False).level is Level.NOTE


@pytest.mark.parametrize(
    ("space", "level"),
    [
        (Space(100 * GB, None), Level.OK),
        (Space(100 * GB, 10**7), Level.OK),
        (Space(GB // 2, 10**7), Level.WARNING),
        (Space(100 * GB, 5000), Level.WARNING),
        (Space(GB // 100, None), Level.PROBLEM),
        (Space(100 * GB, 100), Level.PROBLEM),
    ],
)
def test_space(space: Space, level: Level) -> None:
    assert storage.judge_space(space).level is level


@pytest.mark.parametrize(
    ("speed", "level"),
    [
        (Speed(0.001, 0.001, 0.01), Level.OK),
        (Speed(0.5, 0.2, 1.0), Level.NOTE),
        (Speed(4.0, 2.0, 9.0), Level.WARNING),
    ],
)
def test_speed(speed: Speed, level: Level) -> None:
    assert storage.judge_speed(speed).level is level


@pytest.mark.parametrize(
    ("local", "freed", "level"),
    [
        ("refused", 0.0, Level.OK),
        ("refused", None, Level.WARNING),
        ("granted", 0.0, Level.WARNING),
        ("No locks available", None, Level.NOTE),
    ],
)
def test_locks_of_one_machine(local: str, freed: float | None, level: Level) -> None:
    assert storage.judge_locks(local, freed).level is level


def test_the_clock_of_the_filesystem() -> None:
    assert storage.judge_clock(-1.5).level is Level.OK
    found = storage.judge_clock(-90.0)
    assert (found.level, "90 s behind" in found.found) == (Level.NOTE, True)


# ---------------------------------------------------------------- what people read


def test_a_group_is_a_paragraph_per_check() -> None:
    group = Group(
        "Slurm",
        (
            Finding("commands", Level.OK, "All there."),
            Finding(
                "where", Level.WARNING, "A long story that has to be wrapped.\na: b\nc: d", "Change this."
            ),
        ),
    )
    assert group_text(group, 46).splitlines() == [
        "Slurm",
        "  ok    commands  All there.",
        "  warn  where     A long story that has to be",
        "                  wrapped.",
        "                  a: b",
        "                  c: d",
        "                  -> Change this.",
    ]
    assert max(map(len, group_text(group, 5).splitlines())) < 60


def levels(*found: Level) -> list[Group]:
    return [Group("x", tuple(Finding("y", level, "z") for level in found))]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ((Level.OK, Level.NOTE), "No problem: experiments run here."),
        ((Level.OK, Level.SKIPPED), "No problem in what was checked."),
        ((Level.WARNING, Level.WARNING), "No problem, 2 warnings (warn): experiments run here; read"),
        ((Level.PROBLEM,), "1 problem (FAIL): mend"),
        ((Level.PROBLEM, Level.PROBLEM, Level.WARNING), "2 problems (FAIL) and 1 warning (warn): mend"),
    ],
)
def test_the_summary(found: tuple[Level, ...], words: str) -> None:
    groups = levels(*found)
    assert summary(groups).startswith(words)
    assert found_problem(groups) is (Level.PROBLEM in found)
    told = as_json(groups)
    assert [each["level"] for each in told["findings"]] == [level.name.lower() for level in found]


def test_findings_on_one_thing_are_joined_without_repetitions() -> None:
    parts = [
        Finding("", Level.OK, "A.", "Do."),
        Finding("", Level.WARNING, "B.", "Do."),
        Finding("", Level.OK, ""),
    ]
    assert joined("x", parts) == Finding("x", Level.WARNING, "A. B.", "Do.")
