"""Record what Slurm's commands really print, for the tests of the parsers.

`python -m tests.slurm.record DIRECTORY` needs the test clusters (`tests/slurm/cluster up`) with no other jobs
on them, takes some minutes, and kills daemons on its way.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from axsched_hpc.doctor import limits
from tests.slurm.control import up
from tests.slurm.harness import Cluster, ensure_up
from tests.slurm.layout import Site
from tests.slurm.processes import job_processes, kill, poll, running_daemons, stop

SQUEUE = ("squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r|%N|%V|%S|%j")
SACCT = (
    "sacct",
    "--noheader",
    "--parsable2",
    "--allocations",
    "--format=JobID,State,ExitCode,NodeList,Submit,Start,End,JobName,Reason",
    "--starttime=now-1hours",
)
UNKNOWN_ID = "999999"
WHOLE_CLUSTER = ("--nodes=4", "--exclusive")


def text_of(command: str, result: subprocess.CompletedProcess[str]) -> str:
    """Render a recording: the command, its exit code, its output, and what it wrote to stderr."""
    errors = f"# stderr:\n{result.stderr}" if result.stderr else ""
    return f"# {command}\n# exit {result.returncode}\n{result.stdout}{errors}"


@dataclass(frozen=True)
class Recorder:
    directory: Path
    cluster: Cluster

    def record(self, name: str, *argv: str) -> None:
        result = self.cluster.run(*argv, timeout=120)
        (self.directory / f"{name}.txt").write_text(text_of(shlex.join(argv), result))

    def squeue(self, name: str, *jobs: str) -> None:
        self.record(f"squeue-{name}", *SQUEUE, f"--jobs={','.join(jobs)}")

    def sacct(self, name: str, *jobs: str) -> None:
        self.record(f"sacct-{name}", *SACCT, f"--jobs={','.join(jobs)}")

    def both(self, name: str, *jobs: str) -> None:
        self.squeue(name, *jobs)
        self.sacct(name, *jobs)

    def submit(self, name: str, script: str, *options: str) -> str:
        argv = (
            "sbatch",
            "--parsable",
            "--output=/dev/null",
            f"--job-name={name}",
            *options,
            f"--wrap={script}",
        )
        result = self.cluster.run(*argv)
        if result.returncode != 0:
            raise RuntimeError(f"{shlex.join(argv)}: {result.stderr}")
        return result.stdout.strip()

    def state(self, job: str) -> str:
        return self.cluster.run("squeue", "-h", "--states=all", "-o%T", f"--jobs={job}").stdout.strip()

    def accounted(self, job: str, *options: str) -> str:
        return self.cluster.run("sacct", "-nXP", "--format=State,JobName", f"--jobs={job}", *options).stdout

    def wait(self, what: str, condition: Callable[[], object], timeout: float = 60) -> None:
        if not poll(lambda: bool(condition()), timeout, interval=0.2):
            raise RuntimeError(f"waited {timeout:.0f} s for: {what}")

    def wait_state(self, job: str, state: str, timeout: float = 60) -> None:
        self.wait(f"job {job} {state}", lambda: self.state(job) == state, timeout)

    def wait_ended(self, job: str, state: str, timeout: float = 60) -> None:
        # The controller knows before the database does. For some seconds the database has the end of a short
        # job but not its start; its name is then "allocation" and its list of nodes may be short.
        def settled() -> bool:
            record = self.accounted(job)
            return record.startswith(state) and "|allocation" not in record

        self.wait_state(job, state, timeout)
        if self.cluster.accounting:
            self.wait(f"job {job} {state} in sacct", settled)


def single_jobs(recorder: Recorder) -> str:
    """Record jobs that need no company; return one that completed."""
    cluster = recorder.cluster

    pending = recorder.submit("pending", "true", "--begin=now+1hour")
    held = recorder.submit("held", "true", "--hold")
    oversized = recorder.submit("too-long", "true", "--partition=short", "--time=02:00:00")
    # The first reason of a new job is None; the scheduler replaces it.
    recorder.wait(
        "reason", lambda: "PartitionTimeLimit" in cluster.run(*SQUEUE, f"--jobs={oversized}").stdout
    )
    for name, job in (("pending", pending), ("held", held), ("pending-partition-time-limit", oversized)):
        recorder.wait(f"{name} in sacct", partial(recorder.accounted, job))
        recorder.both(name, job)
    cluster.run("scancel", pending, held, oversized)
    recorder.wait_ended(pending, "CANCELLED")
    recorder.both("cancelled-while-pending", pending)

    running = recorder.submit("running", "sleep 300")
    recorder.wait_state(running, "RUNNING")
    recorder.wait("running in sacct", lambda: "RUNNING" in recorder.accounted(running))
    recorder.both("running", running)
    cluster.run("scontrol", "suspend", running)
    recorder.wait_state(running, "SUSPENDED")
    recorder.wait("suspended in sacct", lambda: "SUSPENDED" in recorder.accounted(running))
    recorder.both("suspended", running)
    cluster.run("scontrol", "resume", running)
    cluster.run("scancel", running)
    recorder.wait_ended(running, "CANCELLED")
    recorder.both("cancelled", running)

    stubborn = recorder.submit("completing", "trap '' TERM; sleep 300 & wait; wait", "--signal=B:USR2@1")
    recorder.wait_state(stubborn, "RUNNING")
    cluster.run("scancel", stubborn)
    recorder.wait_state(stubborn, "COMPLETING")
    recorder.squeue("completing", stubborn)

    done = ""
    for name, script, state in (
        ("completed", "true", "COMPLETED"),
        ("failed", "exit 3", "FAILED"),
        ("signalled", "kill -9 $$", "FAILED"),
        ("odd-name|with,signs", "true", "COMPLETED"),
    ):
        job = recorder.submit(name, script)
        recorder.wait_ended(job, state)
        recorder.both("completed-odd-name" if "|" in name else name, job)
        done = job if name == "completed" else done

    recorder.both("several-states", done, running, stubborn)
    return done


def arrays(recorder: Recorder) -> None:
    """Record a job array of which one task runs, one has ended and the others wait, then all of it ended."""
    script = "case $SLURM_ARRAY_TASK_ID in 0) exit 0;; 1) exit 3;; esac; sleep 300"
    array = recorder.submit("array", script, "--array=0-7%1")
    recorder.wait(
        "third task", lambda: "_2|RUNNING" in recorder.cluster.run(*SQUEUE, f"--jobs={array}").stdout
    )
    recorder.wait("third task in sacct", lambda: "RUNNING" in recorder.accounted(array))
    recorder.both("array-pending", array)
    recorder.record(
        "squeue-array-pending-collapsed", *(a for a in SQUEUE if a != "--array"), f"--jobs={array}"
    )
    recorder.both("array-one-task", f"{array}_3")
    recorder.record("squeue-by-name", *SQUEUE, "--name=array,no-such-name")
    recorder.record("sacct-by-name", *SACCT, "--name=array,no-such-name")
    recorder.cluster.run("scancel", f"{array}_5")
    # Neither squeue nor sacct ever lists the cancelled task by itself: it is only missing from the range.
    recorder.wait(
        "one task less", lambda: f"{array}_5" not in recorder.cluster.run(*SQUEUE, f"--jobs={array}").stdout
    )
    recorder.both("array-one-pending-task-cancelled", array)
    recorder.cluster.run("scancel", array)
    recorder.wait("end of array", lambda: not recorder.cluster.run("squeue", "-h", f"--jobs={array}").stdout)
    recorder.wait("end of array in sacct", lambda: "PENDING" not in recorder.accounted(array))
    recorder.both("array-ended", array)


def unknown(recorder: Recorder, known: str) -> None:
    """Record questions about jobs that do not exist."""
    recorder.both("unknown-id", UNKNOWN_ID)
    recorder.both("unknown-id-among-known", UNKNOWN_ID, known)
    recorder.squeue("two-unknown-ids", UNKNOWN_ID, "999998")
    recorder.squeue("unknown-array-task", f"{UNKNOWN_ID}_4")
    recorder.record("squeue-unknown-name", *SQUEUE, "--name=no-such-name")
    recorder.record("sacct-unknown-name", *SACCT, "--name=no-such-name")
    recorder.record("scancel-unknown-id", "scancel", UNKNOWN_ID)
    recorder.record("scancel-ended", "scancel", known)


def preemption(recorder: Recorder) -> None:
    """Record a job that is preempted and requeued, and one that may not be requeued."""
    cluster = recorder.cluster
    low = recorder.submit("preempted-requeued", "sleep 300", "--partition=low", *WHOLE_CLUSTER)
    recorder.wait_state(low, "RUNNING")
    resources = recorder.submit("pending-resources", "true", *WHOLE_CLUSTER)
    recorder.wait("reason", lambda: "Resources" in cluster.run(*SQUEUE, f"--jobs={resources}").stdout)
    recorder.both("pending-resources", resources)
    cluster.run("scancel", resources)
    high = recorder.submit("high", "sleep 300", "--partition=high", *WHOLE_CLUSTER)
    recorder.wait_state(high, "RUNNING", timeout=90)
    recorder.wait("preempted in sacct", lambda: "PREEMPTED" in recorder.accounted(low, "--duplicates"))
    recorder.both("preempted-requeued", low)
    recorder.record("sacct-preempted-requeued-duplicates", *SACCT, "--duplicates", f"--jobs={low}")
    cluster.run("scancel", high)
    recorder.wait_state(low, "RUNNING", timeout=120)
    recorder.both("preempted-requeued-running-again", low)
    recorder.record("sacct-preempted-then-run-again-duplicates", *SACCT, "--duplicates", f"--jobs={low}")
    cluster.run("scancel", low)
    recorder.wait_ended(low, "CANCELLED")

    low = recorder.submit(
        "preempted-for-good", "sleep 300", "--partition=low", "--no-requeue", *WHOLE_CLUSTER
    )
    recorder.wait_state(low, "RUNNING")
    high = recorder.submit("high", "sleep 300", "--partition=high", *WHOLE_CLUSTER)
    recorder.wait_ended(low, "PREEMPTED", timeout=90)
    recorder.both("preempted", low)
    cluster.run("scancel", high)


def node_failure(recorder: Recorder, site: Site) -> None:
    """Record two jobs of a node that dies: one that Slurm may requeue, one that it may not."""
    jobs = [
        recorder.submit("node-fail", "sleep 300", "--nodelist=n4", "--no-requeue"),
        recorder.submit("node-fail-requeued", "sleep 300", "--nodelist=n4"),
    ]
    for job in jobs:
        recorder.wait_state(job, "RUNNING")
    kill([running_daemons(site.directory)[f"{recorder.cluster.name}/n4"], *job_processes(site.directory)])
    recorder.wait_ended(jobs[0], "NODE_FAIL", timeout=180)
    recorder.both("node-fail", jobs[0])
    recorder.both("node-fail-requeued", jobs[1])
    recorder.record("sacct-node-fail-requeued-duplicates", *SACCT, "--duplicates", f"--jobs={jobs[1]}")
    up(site)
    recorder.wait_state(jobs[1], "RUNNING", timeout=200)
    recorder.both("node-fail-requeued-running-again", jobs[1])
    recorder.record("sacct-node-fail-then-run-again-duplicates", *SACCT, "--duplicates", f"--jobs={jobs[1]}")
    recorder.cluster.run("scancel", jobs[1])


def submissions(recorder: Recorder) -> None:
    """Record what sbatch says: yes, and no for several reasons."""
    for name, options in (
        ("accepted", ()),
        ("invalid-partition", ("--partition=nosuch",)),
        ("too-much-memory", ("--mem=1T",)),
        ("array-too-large", ("--array=0-20000",)),
        ("unknown-option", ("--no-such-option",)),
        ("unknown-qos", ("--qos=nosuch",)),
    ):
        named = f"--job-name=sbatch-{name}"
        recorder.record(
            f"sbatch-{name}", "sbatch", "--parsable", "--output=/dev/null", named, *options, "--wrap=true"
        )
    # A submission that sbatch reports as refused may still have left a job.
    refused = "--name=sbatch-too-much-memory"
    recorder.wait("refused job in sacct", lambda: "FAILED" in recorder.cluster.run(*SACCT, refused).stdout)
    recorder.record("squeue-refused-by-name", *SQUEUE, refused)
    recorder.record("sacct-refused-by-name", *SACCT, refused)


def whole_site(recorder: Recorder) -> None:
    """Record what tells of the cluster as a whole, for `axsched doctor`."""
    recorder.record("scontrol-config", "scontrol", "show", "config")
    recorder.record("scontrol-partitions", "scontrol", "show", "partition", "--oneliner")
    recorder.record("sinfo-nodes", "sinfo", "--noheader", "--format=%R|%F")
    for name, user in (("user", "root"), ("user-unknown", "nobody")):
        recorder.record(f"sacctmgr-{name}", *limits.accounts_query(user, "acct"))
    recorder.record("sacctmgr-qos", *limits.qos_query())


def without_accounting(recorder: Recorder, site: Site) -> None:
    """Record the second cluster: no accounting, jobs that vanish, and a controller that does not answer."""
    recorder.record("scontrol-config-without-accounting", "scontrol", "show", "config")
    recorder.record("sacctmgr-accounting-disabled", *limits.qos_query())
    recorder.record("sacct-accounting-disabled", *SACCT, "--jobs=1")
    job = recorder.submit("vanished", "true")
    recorder.wait_state(job, "COMPLETED")
    recorder.squeue("completed-without-accounting", job)
    recorder.wait("job to vanish", lambda: not recorder.state(job), timeout=180)
    recorder.squeue("vanished-without-accounting", job)

    stop([running_daemons(site.directory)[f"{recorder.cluster.name}/slurmctld"]])
    recorder.squeue("controller-down", job)
    recorder.record("sbatch-controller-down", "sbatch", "--parsable", "--wrap=true")
    recorder.record("scancel-controller-down", "scancel", job)
    recorder.record("scontrol-ping-controller-down", "scontrol", "ping")
    up(site)
    recorder.record("scontrol-ping", "scontrol", "ping")


def database_down(recorder: Recorder, site: Site, known: str) -> None:
    """Record the first cluster while slurmdbd does not answer."""
    pid = running_daemons(site.directory)["slurmdbd"]
    os.kill(pid, signal.SIGTERM)
    recorder.wait("end of slurmdbd", lambda: "slurmdbd" not in running_daemons(site.directory))
    recorder.both("database-down", known)
    up(site)


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    site = Site.from_environment()
    acct, noacct = (Recorder(directory, cluster) for cluster in ensure_up())
    slow = acct.submit("timeout", "sleep 300", "--partition=short")
    whole_site(acct)
    submissions(acct)
    without_accounting(noacct, site)
    known = single_jobs(acct)
    arrays(acct)
    unknown(acct, known)
    acct.wait_ended(slow, "TIMEOUT", timeout=150)
    acct.both("timeout", slow)
    preemption(acct)
    node_failure(acct, site)
    database_down(acct, site, known)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
