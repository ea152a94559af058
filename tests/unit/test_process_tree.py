"""Whatever a program starts, and however that tries to leave: nothing of it survives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import claim, processes
from axsched_hpc.io.processes import Row
from axsched_hpc.objectives import descendants, guardian
from tests.unit.worker_kit import MARKER, Bench, bench, script_bench, started_with, wait_for

WRITE_METRICS = 'echo \'{"loss": 0.25}\' > "$AXSCHED_METRICS_FILE"\n'

#: Leaves nothing but a process in a session of its own, whose parent has ended.
DAEMON = (
    f"'{sys.executable}' -S -c 'import os, sys, time\n"
    "if os.fork(): os._exit(0)\n"
    "os.setsid()\n"
    "if os.fork(): os._exit(0)\n"
    'os.execvp("sleep", ["sleep", "300"])\'\n'
)
ESCAPES = {
    "setsid": "setsid sleep 300 &\n",
    "nohup": "nohup setsid sh -c 'sleep 300 & sleep 301 & wait' >/dev/null 2>&1 &\n",
    "double fork": DAEMON,
    "deaf": "(trap '' TERM HUP; setsid sh -c 'while :; do sleep 1; done' &)\n",
    "stopped": "setsid sh -c 'kill -STOP $$' &\n",
    "200 children": "for i in $(seq 200); do setsid sleep 300 & done\n",
    # Each process starts the next and ends: hunted one by one, there is always another.
    "runner": "setsid sh -c 'run() { sleep 0.02; (run &) ; exit; }; run' &\n",
}


@pytest.fixture
def tag() -> Iterator[str]:
    value = uuid.uuid4().hex
    yield value
    for pid in started_with(value):
        os.kill(pid, signal.SIGKILL)


def escaping(tmp_path: Path, how: str, rest: str, tag: str, **options: Any) -> Bench:
    """A script that starts what leaves it, waits until that has left, and goes on."""
    count = {"200 children": 200}.get(how, 1)
    text = (
        f"{ESCAPES[how]}\n"
        # Its own shells have left when as many processes are in other sessions.
        f"'{sys.executable}' -S -c 'import os, time\nwhile True:\n"
        "    other = 0\n"
        '    for each in filter(str.isdecimal, os.listdir("/proc")):\n'
        "        try:\n"
        f'            if b"{MARKER}={tag}" in open(f"/proc/{{each}}/environ", "rb").read():\n'
        "                other += os.getsid(int(each)) != os.getsid(0)\n"
        "        except OSError: pass\n"
        f"    if other >= {count}: break\n"
        "    time.sleep(0.01)\n'\n"
        f"{rest}"
    )
    return script_bench(tmp_path, text, {"environment": {MARKER: tag}, **options})


class TestScript:
    @pytest.mark.parametrize("how", ESCAPES)
    def test_its_end_is_that_of_all(self, tmp_path: Path, tag: str, how: str) -> None:
        b = escaping(tmp_path, how, WRITE_METRICS, tag)
        assert b.run() == (0, "")
        assert started_with(tag) == []
        assert b.outcome().metrics == {"loss": (0.25, None)}
        assert "could not be killed" not in b.files.stderr.read_text()

    @pytest.mark.parametrize("how", ["setsid", "double fork"])
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_told_to_end(self, tmp_path: Path, tag: str, how: str, number: int) -> None:
        b = escaping(tmp_path, how, "touch started; sleep 300\n", tag)
        worker = b.start()
        wait_for((b.files.work / "started").exists, "the script runs")
        before = time.monotonic()
        worker.send_signal(number)
        worker.communicate(timeout=30)
        assert worker.returncode == 128 + number
        assert started_with(tag) == []
        # What has left the group is told to end as well: the time until SIGKILL is not waited for.
        assert time.monotonic() - before < 5

    def test_what_has_left_has_the_time_to_end_well(self, tmp_path: Path, tag: str) -> None:
        leaving = (
            'setsid sh -c \'trap "sleep 0.5; echo saved > saved; exit" TERM; touch ready; '
            "while :; do sleep 0.05; done' &\nwhile ! [ -e ready ]; do sleep 0.05; done\nsleep 300\n"
        )
        b = script_bench(tmp_path, leaving, {"environment": {MARKER: tag}, "timeout": 1.5})
        assert b.failure().kind is FailureKind.OBJECTIVE_TIMEOUT
        assert (b.files.work / "saved").read_text() == "saved\n"
        assert started_with(tag) == []

    def test_a_timeout_ends_the_deaf(self, tmp_path: Path, tag: str) -> None:
        b = escaping(tmp_path, "deaf", "touch started; sleep 300\n", tag, timeout=0.5)
        code = (
            "import sys; from axsched_hpc import worker; from axsched_hpc.objectives import process;"
            "process.GRACE = 0.5; sys.exit(worker.main(sys.argv[1:]))"
        )
        command = [sys.executable, "-c", code, str(b.manifest), "0"]
        subprocess.run(command, env=b.environment(), check=False, timeout=30)
        failure = b.outcome().failure
        assert failure is not None and failure.kind is FailureKind.OBJECTIVE_TIMEOUT
        assert started_with(tag) == []

    def test_a_process_that_looks_like_a_zombie(self, tmp_path: Path) -> None:
        # Its first thread has ended, another goes on.
        text = (
            f"setsid '{sys.executable}' -S -c 'import ctypes, os, threading, time\n"
            'open("pid", "w").write(str(os.getpid()))\n'
            "threading.Thread(target=time.sleep, args=(300,)).start()\n"
            "ctypes.CDLL(None).pthread_exit(None)' &\n"
            'until [ -s pid ] && grep -q "^State:.Z" /proc/$(cat pid)/status; do sleep 0.02; done\n'
        )
        b = script_bench(tmp_path, text + WRITE_METRICS)
        assert b.run() == (0, "")
        assert not Path("/proc", (b.files.work / "pid").read_text()).exists()

    def test_orphans_do_not_pile_up_as_zombies(self, tmp_path: Path) -> None:
        text = (
            "for i in $(seq 50); do (true &); done\n"
            "for i in $(seq 100); do\n"
            '  [ "$(grep -l "^PPid:[[:space:]]$PPID$" /proc/[0-9]*/status | wc -l)" = 1 ] && break\n'
            "  sleep 0.1\ndone\n[ $i -lt 100 ] || exit 1\n"
        )
        assert script_bench(tmp_path, text + WRITE_METRICS).run()[0] == 0

    def test_others_of_the_user_are_left_alone(self, tmp_path: Path) -> None:
        other = subprocess.Popen(["sleep", "300"], start_new_session=True)
        try:
            assert escaping(tmp_path, "setsid", WRITE_METRICS, uuid.uuid4().hex).run()[0] == 0
            assert other.poll() is None
        finally:
            other.kill()
            other.wait()


class TestFunction:
    def test_its_processes_end_with_it(self, tmp_path: Path, tag: str) -> None:
        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            environment = {**os.environ, MARKER: tag}
            subprocess.run(["sh", "-c", DAEMON], env=environment, check=True)
            subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 300"], env=environment, start_new_session=True)
            while len(started_with(tag)) < 2:
                time.sleep(0.01)
            return {"loss": 1.0}

        b = bench(tmp_path, objective)
        assert b.run()[0] == 0
        assert b.outcome().metrics == {"loss": (1.0, None)}
        assert started_with(tag) == []

    def test_what_python_ends_itself_ends_in_its_own_way(self, tmp_path: Path) -> None:
        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            import concurrent.futures
            import multiprocessing

            globals()["pool"] = concurrent.futures.ProcessPoolExecutor(
                2, mp_context=multiprocessing.get_context("spawn")
            )
            globals()["lock"] = multiprocessing.get_context("spawn").Lock()
            return {"loss": sum(globals()["pool"].map(abs, [1, -2]))}

        b = bench(tmp_path, objective)
        assert b.run()[0] == 0
        assert b.outcome().metrics == {"loss": (3.0, None)}
        assert b.files.stderr.read_text() == ""


class TestKilledWorker:
    """The worker cannot end anything: the guardian does, or who watches the worker."""

    def test_on_a_cluster_without_cgroups(self, tmp_path: Path, tag: str) -> None:
        b = escaping(tmp_path, "double fork", "touch started; sleep 300\n", tag)
        worker = b.start(SLURM_JOB_ID="4711")
        wait_for((b.files.work / "started").exists, "the script runs")
        worker.kill()
        worker.communicate(timeout=30)
        wait_for(lambda: started_with(tag) == [], "nothing is left")

    def test_a_function_that_has_forked(self, tmp_path: Path, tag: str) -> None:
        started = tmp_path / "started"

        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            import multiprocessing

            subprocess.run(["sh", "-c", DAEMON], env={**os.environ, MARKER: tag}, check=True)
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(8,))
            child.start()  # it has all pipes of the worker
            while not started_with(tag):
                time.sleep(0.01)
            started.touch()
            child.join()
            return {"loss": 1.0}

        b = bench(tmp_path, objective)
        worker = b.start(SLURM_JOB_ID="4711")
        wait_for(started.exists, "the function runs")
        worker.kill()
        worker.wait(timeout=30)
        wait_for(lambda: started_with(tag) == [], "nothing is left")

    def test_the_guardian_of_one_that_ended_well_ends(self, tmp_path: Path) -> None:
        text = f"grep -l guardian.py /proc/[0-9]*/cmdline > '{tmp_path}/seen'\n" + WRITE_METRICS
        assert script_bench(tmp_path, text).run(SLURM_JOB_ID="4711")[0] == 0
        seen = (tmp_path / "seen").read_text().split()
        # Others' may be among them; that of a worker is its child, so it has ended before.
        assert seen and any(not Path(each).exists() for each in seen)


class TestMarks:
    def test_what_a_marked_process_is(self) -> None:
        environment = {"PATH": "/bin"}
        assert guardian.mark(environment, "12.34@n1") == "12.34@n1"
        environ = "\0".join(f"{name}={value}" for name, value in environment.items()).encode()
        assert guardian.marked(environ, "12.34@n1")
        assert not guardian.marked(environ, "2.34@n1") and not guardian.marked(environ, "12.34@n")
        assert not guardian.marked(b"", "12.34@n1")

    def test_a_worker_below_a_worker(self) -> None:
        environment = {"SLURM_JOB_ID": "7"}
        guardian.mark(environment, "1.2@n1")
        guardian.mark(environment, "3.4@n1")
        environ = "\0".join(f"{name}={value}" for name, value in environment.items()).encode()
        assert guardian.marked(environ, "1.2@n1") and guardian.marked(environ, "3.4@n1")

    def test_a_job_that_a_worker_has_submitted_is_not_its_own(self) -> None:
        # sbatch passes the variables on, and Slurm sets that of the new job.
        environment = {"SLURM_JOB_ID": "7"}
        guardian.mark(environment, "1.2@n1")
        environment["SLURM_JOB_ID"] = "8"
        environ = "\0".join(f"{name}={value}" for name, value in environment.items()).encode()
        assert not guardian.marked(environ, "1.2@n1")

    def test_all_are_ended_and_nobody_else(self, tag: str) -> None:
        me = claim.process_name(os.getpid())
        mine = {**os.environ, MARKER: tag}
        guardian.mark(mine, me)
        children = [
            subprocess.Popen(["sleep", "300"], env=environment, start_new_session=True)
            for environment in (mine, mine, {**os.environ, MARKER: tag})
        ]
        assert guardian.end_marked(me) == 2
        assert [child.wait(timeout=10) for child in children[:2]] == [-signal.SIGKILL] * 2
        assert started_with(tag) == [children[2].pid]
        children[2].kill()
        children[2].wait()
        assert guardian.end_marked(me) == 0

    @pytest.mark.parametrize(
        ("job", "cgroup", "needed"),
        [
            (None, "0::/user.slice/user-1000.slice/session-3.scope\n", False),
            ("12", "0::/system.slice/slurmstepd.scope/job_12/step_batch/user/task_0\n", False),
            ("12", "4:memory:/slurm/uid_1000/job_12/step_batch\n1:name=systemd:/\n", False),
            ("12", "0::/system.slice/slurmd.service\n", True),
            ("12", "0::/system.slice/slurmstepd.scope/job_1/step_batch\n", True),
            ("12", "", True),
        ],
    )
    def test_where_a_guardian_is_needed(self, job: str | None, cgroup: str, needed: bool) -> None:
        assert guardian.needed({} if job is None else {"SLURM_JOB_ID": job}, cgroup) is needed


class TestDescendants:
    def test_they_are_found_below_a_process(self) -> None:
        def row(parent: int, *, ended: bool = False) -> Row:
            return Row(parent, 1, 5, ended)

        table = {1: row(0), 2: row(1), 3: row(2), 4: row(3, ended=True), 5: row(4), 6: row(1), 7: row(6)}
        found = descendants.below(table, 2)
        assert sorted(each.pid for each in found) == [3, 5]
        assert sorted(each.pid for each in descendants.below(table, 1, frozenset({6}))) == [2, 3, 5]

    def test_a_number_that_another_process_has_by_now(self) -> None:
        other = subprocess.Popen(["sleep", "300"])
        try:
            start = processes.start_ticks(other.pid)
            assert start is not None
            assert descendants.send(descendants.Process(other.pid, start - 1, 1), signal.SIGKILL)
            assert other.poll() is None
            assert descendants.send(descendants.Process(other.pid, start, 1), signal.SIGTERM)
            assert other.wait(timeout=10) == -signal.SIGTERM
            assert descendants.send(descendants.Process(other.pid, start, 1), signal.SIGKILL)
        finally:
            other.kill()
            other.wait()

    def test_it_is_known_at_once_that_there_are_none_but_those_spared(self) -> None:
        code = (
            "import subprocess, threading\n"
            "from axsched_hpc.objectives import descendants\n"
            "descendants.processes.table = None\n"
            "assert descendants.living() == []\n"
            "started = []\n"
            "start = lambda: started.append(subprocess.Popen(['sleep', '300']))\n"
            "other = threading.Thread(target=start); other.start(); other.join()\n"
            "try:\n    descendants.living()\n"
            "except TypeError: pass\n"
            "else: raise SystemExit('a child was overlooked')\n"
            "descendants.spare(started[0].pid)\n"
            "assert descendants.living() == []\n"
            "started[0].kill()\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
