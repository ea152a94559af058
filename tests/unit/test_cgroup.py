"""Where the kernel counts its kills for lack of memory: texts as machines have them, and a real kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from axsched_hpc.io import cgroup

# A machine with version 2 alone (systemd), here inside a Slurm 23 job.
V2 = "0::/system.slice/slurmstepd.scope/job_41/step_batch/user/task_0\n"
V2_MOUNT = (
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot"
)

# Version 1, with Slurm's cgroups.
V1 = "11:memory:/slurm/uid_1000/job_41/step_batch/task_0\n4:cpu,cpuacct:/\n1:name=systemd:/user.slice\n"
V1_MOUNT = "36 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:14 - cgroup cgroup rw,memory"
OTHER = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct"

# Both: memory belongs to version 1.
UNIFIED = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"


@pytest.mark.parametrize(
    ("groups", "mounts", "expected"),
    [
        (V2, V2_MOUNT, "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_41/memory.events"),
        (
            "0::/user.slice/session-3.scope\n",
            V2_MOUNT,
            "/sys/fs/cgroup/user.slice/session-3.scope/memory.events",
        ),
        (
            V1,
            f"{OTHER}\n{V1_MOUNT}\n",
            "/sys/fs/cgroup/memory/slurm/uid_1000/job_41/step_batch/task_0/memory.oom_control",
        ),
        (
            V1 + "0::/elsewhere\n",
            f"{UNIFIED}\n{OTHER}\n{V1_MOUNT}",
            "/sys/fs/cgroup/memory/slurm/uid_1000/job_41/step_batch/task_0/memory.oom_control",
        ),
        # Both, and memory handed to version 2.
        ("1:name=systemd:/\n0::/a\n", f"{OTHER}\n{UNIFIED}", "/sys/fs/cgroup/unified/a/memory.events"),
        # A container without a cgroup namespace: the mount shows the container's part of the tree.
        (
            "5:memory:/docker/abc/inner\n",
            "700 650 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory",
            "/sys/fs/cgroup/memory/inner/memory.oom_control",
        ),
        # A container with one: its own root.
        ("0::/\n", V2_MOUNT, "/sys/fs/cgroup/memory.events"),
        # Names with a colon, a space and a backslash.
        (
            "0::/a:b c\n",
            r"30 23 0:26 / /mnt/c\040\134g rw - cgroup2 cgroup2 rw",
            "/mnt/c \\g/a:b c/memory.events",
        ),
        # The first mount shows another part of the tree.
        (
            "0::/b/c\n",
            "30 23 0:26 /a /mnt/a rw - cgroup2 none rw\n31 23 0:26 /b /mnt/b rw - cgroup2 none rw",
            "/mnt/b/c/memory.events",
        ),
        # Outside of what is seen here.
        ("5:memory:/other\n", "700 650 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup c rw,memory", None),
        ("0::/../other\n", V2_MOUNT, None),
        ("0::/a\n", "30 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw", None),
        # Not mounted at all, no cgroups, and texts of another shape.
        (V1, OTHER, None),
        ("", V2_MOUNT, None),
        ("nonsense\n", "nonsense\n - \n1 2 3 - cgroup2 x y\n", None),
    ],
)
def test_the_file_that_counts(groups: str, mounts: str, expected: str | None) -> None:
    assert cgroup.counter(groups, mounts) == (None if expected is None else Path(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 0\n", 3),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1),
        ("oom_kill_disable 0\nunder_oom 0\n", None),
        ("oom_kill many\n", None),
        ("", None),
    ],
)
def test_the_number_of_kills(text: str, expected: int | None) -> None:
    assert cgroup.kills(text) == expected


def test_it_is_known_here_or_not_and_never_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = cgroup.oom_kills()
    assert found is None or found >= 0
    monkeypatch.setattr(cgroup, "_SELF", tmp_path)
    assert cgroup.oom_kills() is None
    (tmp_path / "cgroup").write_text("0::/a\n")
    (tmp_path / "mountinfo").write_text(f"30 23 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw")
    assert cgroup.oom_kills() is None
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "memory.events").write_text("oom_kill 2\n")
    assert cgroup.oom_kills() == 2
