"""A round trip between two machines that share a directory. pytest runs these in the guest."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from axsched_hpc.core.states import JobState
from axsched_hpc.doctor import judge_trip, versions
from axsched_hpc.doctor.finding import Finding, Level
from axsched_hpc.doctor.judge_trip import Clocks, Here
from axsched_hpc.doctor.trip import Trip, make, private_directory
from axsched_hpc.io import processes
from axsched_hpc.runners.base import BaseRunner, Batch, JobStatus
from tests.nfs.hosts import Host, both

VERSION = os.environ["NFS_VERSION"]
ROOT = Path(__file__).resolve().parents[2]


class OnHost(BaseRunner):
    """Runs jobs on a host, which has the directory elsewhere."""

    def __init__(self, host: Host, here: Path) -> None:
        self._host, self._here = host, here
        self._jobs: dict[str, subprocess.Popen[str]] = {}

    def submit(self, batch: Batch) -> Mapping[int, str]:
        words = [word.replace(str(self._here), str(self._host.mount)) for word in batch.command(0)]
        self._jobs["1"] = self._host.start("env", f"PYTHONPATH={ROOT}", *words)
        return {0: "1"}

    def poll(self, jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        code = self._jobs["1"].poll()
        state = JobState.RUNNING if code is None else JobState.FAILED if code else JobState.SUCCEEDED
        return {"1": JobStatus(state, exit_code=code)}

    def find(self, batches: Sequence[Batch]) -> Mapping[str, Mapping[int, str]]:
        return {}

    def cancel(self, jobs: Sequence[str]) -> None:
        self._jobs["1"].kill()


def trip(host: Host) -> tuple[Trip, dict[str, Finding]]:
    """From alpha to a host and back."""
    alpha, _ = both()
    with private_directory(alpha.mount) as private:
        made = make(OnHost(host, alpha.mount), private, wait=60, say=lambda text: None)
    # Nothing is left, and no name of a file that was open when it was removed.
    assert os.listdir(alpha.mount) == []  # noqa: PTH208
    here = Here(processes.boot_id(), os.geteuid(), "", versions.installed_all(), str(alpha.mount))
    assert made.node is not None
    found = judge_trip.judge(
        made,
        Here(here.boot, here.uid, made.node["python"], here.versions, here.directory),
        slurm=True,
        settle=2.0,
    )
    return made, {each.check: each for each in found}


def clocks(made: Trip) -> Clocks:
    assert made.node is not None
    return judge_trip.clocks(made.exchanges, made.file_clock - made.node["file_clock"])


def mounted(name: str, options: str) -> Host:
    """Beta with another mount of the export."""
    place = Path(os.environ["NFS_RUN"], "mnt", name)
    place.mkdir(exist_ok=True)
    source = f"10.77.2.1:{os.environ['NFS_EXPORT'] if VERSION == '3' else '/'}"
    done = both()[1].run("mount", "-t", "nfs", "-o", f"vers={VERSION},nosharecache,{options}", source, place)
    assert done.returncode == 0, done.stderr
    return Host("beta", place)


def test_two_machines_that_share_a_directory_as_they_should() -> None:
    made, found = trip(both()[1])
    assert made.node is not None
    assert made.node["host"] == "beta"
    assert "machine" not in found
    checks = ("directory there", "late files", "claims", "locks", "clocks", "user")
    known = clocks(made)
    levels = dict.fromkeys(checks, Level.OK) | ({"late files": Level.NOTE} if known.missed else {})
    assert {check: found[check].level for check in checks} == levels
    assert max(known.there, known.here) < 1
    # Both hosts have the clock of the one kernel.
    assert abs(known.skew) < 0.1
    assert known.bound < 1


def test_a_stale_cache_is_measured() -> None:
    """A client that looks at a directory anew only every 2 s is late by up to that."""
    made, found = trip(mounted("late", "nocto,acdirmin=2,acdirmax=2,acregmin=2,acregmax=2"))
    known = clocks(made)
    assert 0.7 < known.there < 3
    assert known.here < 0.5
    assert abs(known.skew) < 0.1
    assert found["late files"].level >= Level.NOTE


def test_locks_that_hold_on_one_machine_only() -> None:
    """Of NFS 3 alone: NFS 4 has none, so tests/nfs/test_guest.py does not ask for this there."""
    made, found = trip(mounted("alone", "nolock"))
    assert (made.lock_there, made.lock_here) == ("granted", "granted")
    assert found["locks"].level is Level.WARNING
    assert "one machine only" in found["locks"].found
