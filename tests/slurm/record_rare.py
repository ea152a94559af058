"""Record the states that take another configuration than that of the test clusters, and what jobs have used.

`python -m tests.slurm.record_rare DIRECTORY` brings up a Slurm of its own, takes some minutes, and needs a
memory cgroup of version 1 (/sys/fs/cgroup/memory) in which it may make directories.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from axsched_hpc.slurm.render import USAGE_FORMAT
from tests.outages.site import Outages, outages
from tests.slurm.layout import NODES
from tests.slurm.processes import running_daemons, stop
from tests.slurm.record import SACCT, Recorder

USAGE = ("sacct", "--noheader", "--parsable2", f"--format={USAGE_FORMAT}", "--starttime=now-1hours")
_CGROUPS = """\
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
"""
# Slurm does not start with two ways to kill for memory.
_WITH_CGROUPS = {
    "TaskPlugin=task/none": "TaskPlugin=task/cgroup",
    "JobAcctGatherParams=OverMemoryKill": "JobAcctGatherParams=NoOverMemoryKill",
}
_OTHER_USER = 65534  # nobody


def greedy(megabytes: int) -> str:
    """A command that has so much memory long enough to be seen with it."""
    return f"python3 -c 'import time; kept = bytearray({megabytes} << 20); time.sleep(3)'"


@contextmanager
def configured(site: Outages, changes: dict[str, str], **files: str) -> Iterator[None]:
    """Run `acct` with lines of its configuration changed, and with additional files."""
    cluster = site.site.clusters[0]
    running = running_daemons(site.site.directory)
    stop(pid for name, pid in running.items() if name.startswith(f"{cluster.name}/"))
    text = cluster.conf.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    cluster.conf.write_text(text)
    for name, content in files.items():
        (cluster.directory / f"{name}.conf").write_text(content)
    site.start_controller(cluster.name)
    for node in NODES:
        site.return_node(cluster.name, node)
    yield
    for name in files:
        (cluster.directory / f"{name}.conf").unlink()
    site.repair()


def usage(recorder: Recorder, name: str, *jobs: str) -> None:
    recorder.record(f"usage-{name}", *USAGE, f"--jobs={','.join(jobs)}")


def settled(recorder: Recorder, job: str) -> None:
    """Wait for the whole record of an ended job."""

    def whole() -> bool:
        record = recorder.cluster.run(*USAGE, f"--jobs={job}").stdout
        return bool(record) and "?" not in record and "RUNNING" not in record and "PENDING" not in record

    recorder.wait(f"record of job {job}", whole)


def used(recorder: Recorder) -> None:
    """Record what jobs used that asked for it in several ways."""
    small, watched = greedy(20), "--acctg-freq=1"
    jobs = {
        "steps": recorder.submit(
            "steps", f"srun {greedy(30)}; srun {greedy(40)}", watched, "--mem=100M", "--time=10"
        ),
        "two-nodes": recorder.submit(
            "two-nodes", f"srun {small}", watched, "--mem=200M", "--nodes=2", "--ntasks-per-node=2"
        ),
        "per-cpu": recorder.submit(
            "per-cpu", f"srun {small}", watched, "--mem-per-cpu=60M", "--nodes=2", "--cpus-per-task=2"
        ),
        "array": recorder.submit("array", small, watched, "--mem=100M", "--array=3,7"),
        "too-short": recorder.submit("too-short", "true", "--mem=100M"),
        "over-memory-killed": recorder.submit("over", greedy(200), watched, "--mem=100M"),
        "all-memory": recorder.submit("all-memory", small, watched, "--mem=0"),
    }
    for name, job in jobs.items():
        settled(recorder, job)
        usage(recorder, name, job)
    recorder.both("over-memory-killed", jobs["over-memory-killed"])
    recorder.record("usage-unknown-id", *USAGE, "--jobs=999999")


def out_of_memory(recorder: Recorder) -> None:
    """Record jobs that are killed by their cgroup: as a whole, and in a step."""
    for name, script in (
        ("out-of-memory", greedy(200)),
        ("out-of-memory-in-step", f"srun {greedy(200)}"),
        ("out-of-memory-in-step-survived", f"srun {greedy(200)}; true"),
    ):
        job = recorder.submit(name, script, "--mem=100M", "--acctg-freq=1")
        settled(recorder, job)
        recorder.both(name, job)
        usage(recorder, name, job)


def held(recorder: Recorder) -> None:
    """Record jobs that were put back into the queue, and held there, by hand."""
    for name, state in (("special-exit", ["state=SpecialExit"]), ("requeue-hold", [])):
        job = recorder.submit(name, "sleep 300")
        recorder.wait_state(job, "RUNNING")
        recorder.wait("start in sacct", partial(_says, recorder, job, "RUNNING"))
        recorder.cluster.run("scontrol", "requeuehold", *state, job)
        recorder.wait("held", partial(_reason, recorder, job, "requeued in held state"))
        recorder.wait("requeued in sacct", partial(_says, recorder, job, "REQUEUED", "--duplicates"))
        recorder.both(name, job)
        recorder.record(f"sacct-{name}-duplicates", *SACCT, "--duplicates", f"--jobs={job}")
        usage(recorder, name, job)
        recorder.cluster.run("scancel", job)


def launch_failed(recorder: Recorder) -> None:
    """Record a job whose prolog has failed, with Prolog=/bin/false."""
    job = recorder.submit("launch-failed", "true", "--nodelist=n3")
    recorder.wait("held", partial(_reason, recorder, job, "launch failed requeued held"))
    recorder.wait("requeued in sacct", partial(_says, recorder, job, "REQUEUED", "--duplicates"))
    recorder.both("launch-failed-requeued-held", job)
    recorder.record("sacct-launch-failed-requeued-held-duplicates", *SACCT, "--duplicates", f"--jobs={job}")
    recorder.cluster.run("scancel", job)


def deadline(recorder: Recorder) -> None:
    """Record a job that cannot start early enough."""
    blocker = recorder.submit("blocker", "sleep 300", "--nodelist=n4", "--exclusive")
    recorder.wait_state(blocker, "RUNNING")
    late = ("--deadline=now+70seconds", "--time=1", "--nodelist=n4")
    job = recorder.submit("deadline", "true", *late)
    recorder.wait_ended(job, "DEADLINE", timeout=180)
    recorder.both("deadline", job)
    recorder.cluster.run("scancel", blocker)


def cancelled_by_its_user(recorder: Recorder) -> None:
    """Record a job that a user has cancelled who is not root."""
    recorder.cluster.run("sacctmgr", "-i", "add", "user", "nobody", "account=root")
    job = recorder.submit("cancelled-by-user", "sleep 300", f"--uid={_OTHER_USER}", "--chdir=/tmp")
    recorder.wait_state(job, "RUNNING")
    recorder.wait("start in sacct", partial(_says, recorder, job, "RUNNING"))
    environment = recorder.cluster.environment()
    subprocess.run(["scancel", job], env=environment, user=_OTHER_USER, extra_groups=[], check=True)
    recorder.wait_ended(job, "CANCELLED")
    recorder.both("cancelled-by-user", job)
    usage(recorder, "cancelled-by-user", job)


def _says(recorder: Recorder, job: str, state: str, *options: str) -> bool:
    return state in recorder.accounted(job, *options)


def _reason(recorder: Recorder, job: str, words: str) -> bool:
    return words in recorder.cluster.run("squeue", "-h", "-o%r", f"--jobs={job}").stdout


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with outages() as site:
        acct = Recorder(directory, site.cluster("acct"))
        noacct = Recorder(directory, site.cluster("noacct"))
        noacct.record("usage-accounting-disabled", *USAGE, "--jobs=1")
        used(acct)
        held(acct)
        deadline(acct)
        cancelled_by_its_user(acct)
        with configured(site, _WITH_CGROUPS, cgroup=_CGROUPS):
            out_of_memory(acct)
        with configured(site, {"MailProg=": "Prolog=/bin/false\nMailProg="}):
            launch_failed(acct)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
