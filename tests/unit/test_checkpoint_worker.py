"""Objectives that save checkpoints, and kills for lack of memory: the worker as a real process."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import axsched_hpc
from axsched_hpc import ContinueLater, checkpoint_directory, warned
from axsched_hpc.core.errors import ObjectiveError
from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import claim, manifest, outcome
from axsched_hpc.io.manifest import Manifest
from axsched_hpc.objectives.install import Checkpointed
from tests.unit.memory_cgroup import limited
from tests.unit.worker_kit import TOKEN, Bench, bench, script_bench, wait_for

CHECKPOINTABLE = {"checkpointable": True}
WRITE_METRICS = 'echo "loss 1" > "$AXSCHED_METRICS_FILE"\n'

#: Counts on from its checkpoint until it is told to save; touches a file when it is ready for that.
COUNT = """
state="$AXSCHED_CHECKPOINT_DIR/step"
step=$(cat "$state" 2>/dev/null || echo 0)
trap 'told=yes' {signal}
step=$((step + 1))
touch '{ready}'
while [ -z "$told" ]; do step=$((step + 1)); sleep 0.05; done
echo $step > "$state"
exit 75
"""


def counting(tmp_path: Path, number: str = "USR1", **options: Any) -> Bench:
    text = COUNT.format(signal=number, ready=tmp_path / "ready")
    return script_bench(tmp_path, text, {**CHECKPOINTABLE, **options})


def start(b: Bench, settle: float = 0.0, grace: float = 10.0, **environment: str) -> subprocess.Popen[str]:
    """A worker with other times than usual."""
    code = (
        "import sys; from axsched_hpc import worker; from axsched_hpc.objectives import process; "
        f"process.SETTLE, process.GRACE = {settle}, {grace}; sys.exit(worker.main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code, str(b.manifest), "0"], env=b.environment(**environment)
    )


def again(b: Bench, attempt: int) -> Bench:
    """A batch with a later attempt of the same trial."""
    first = manifest.read(b.manifest)
    b.layout.attempt(3, attempt).root.mkdir()
    token = f"{TOKEN}-{attempt}"
    path = manifest.write(b.layout, Manifest(token, first.root, first.objective, ((3, attempt),)))
    return Bench(b.layout, path)


def ended(worker: subprocess.Popen[str], seconds: float = 30) -> int:
    worker.communicate(timeout=seconds)
    return worker.returncode


class TestScript:
    def test_what_every_script_finds(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, 'echo "$AXSCHED_CHECKPOINT_DIR $AXSCHED_RESTART_COUNT"\n' + WRITE_METRICS)
        assert b.run() == (0, "")
        place = b.layout.checkpoint(3)
        assert b.files.stdout.read_text() == f"{place} 0\n"
        assert place.is_dir() and stat.S_IMODE(place.stat().st_mode) == 0o700

    def test_told_to_save_it_goes_on_in_the_next_attempt(self, tmp_path: Path) -> None:
        b = counting(tmp_path)
        worker = start(b)
        wait_for((tmp_path / "ready").exists, "the script is ready")
        worker.send_signal(signal.SIGUSR1)
        assert ended(worker) == 1
        failure = b.outcome().failure
        assert failure is not None and failure.progressed and failure.exit_code == 75
        assert failure.kind is FailureKind.CHECKPOINTED
        assert failure.message == (
            f"{tmp_path}/train.sh saved its state in {b.layout.checkpoint(3)} and exited with code 75, to go "
            "on in another job."
        )
        assert "the end of the job's time is near; the objective gets SIGUSR1." in b.files.stderr.read_text()
        steps = int((b.layout.checkpoint(3) / "step").read_text())

        b = again(b, 2)
        (tmp_path / "ready").unlink()
        worker = start(b)
        wait_for((tmp_path / "ready").exists, "the script is ready")
        worker.send_signal(signal.SIGUSR1)
        assert ended(worker) == 1
        assert int((b.layout.checkpoint(3) / "step").read_text()) > steps
        second = outcome.read(b.layout.attempt(3, 2).result).failure
        assert second is not None
        # A shell may tell that its `sleep` was killed.
        assert second.changed(stderr_tail=()) == failure.changed(stderr_tail=())

    @pytest.mark.parametrize("number", ["TERM", "USR2"])
    def test_the_signal_of_its_choice(self, tmp_path: Path, number: str) -> None:
        b = counting(tmp_path, number, warning_signal=number)
        worker = start(b)
        wait_for((tmp_path / "ready").exists, "the script is ready")
        worker.send_signal(signal.SIGUSR1)
        assert ended(worker) == 1
        failure = b.outcome().failure
        assert failure is not None and failure.kind is FailureKind.CHECKPOINTED

    def test_a_warning_before_it_is_ready_waits(self, tmp_path: Path) -> None:
        text = "sleep 1.5\n" + COUNT.format(signal="USR1", ready=tmp_path / "ready")
        b = script_bench(tmp_path, text, CHECKPOINTABLE)
        worker = b.start()
        wait_for(b.files.claim.exists, "the worker has its attempt")
        worker.send_signal(signal.SIGUSR1)
        assert ended(worker) == 1
        failure = b.outcome().failure
        assert failure is not None and failure.kind is FailureKind.CHECKPOINTED, failure

    def test_without_a_handler_it_has_run_out_of_time(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, f"touch '{tmp_path}/ready'\nexec sleep 60\n", CHECKPOINTABLE)
        worker = start(b)
        wait_for((tmp_path / "ready").exists, "the script is ready")
        worker.send_signal(signal.SIGUSR1)
        assert ended(worker) == 1
        failure = b.outcome().failure
        assert failure is not None and failure.kind is FailureKind.TIMED_OUT and not failure.progressed
        assert (
            "was ended by SIGUSR1, which told it that the end of its job's time was near" in failure.message
        )

    def test_a_script_that_finishes_in_time_has_succeeded(self, tmp_path: Path) -> None:
        text = f"trap 'told=yes' USR1\ntouch '{tmp_path}/ready'\nuntil [ \"$told\" ]; do sleep 0.05; done\n"
        b = script_bench(tmp_path, text + WRITE_METRICS, CHECKPOINTABLE)
        worker = start(b)
        wait_for((tmp_path / "ready").exists, "the script is ready")
        worker.send_signal(signal.SIGUSR1)
        assert ended(worker) == 0
        assert b.outcome().metrics == {"loss": (1.0, None)}

    def test_code_75_with_nothing_saved_is_a_failure(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, ': > "$AXSCHED_CHECKPOINT_DIR/empty"; exit 75\n', CHECKPOINTABLE)
        place = b.layout.checkpoint(3)
        place.mkdir()
        (place / "of an earlier attempt").write_text("1")
        failure = b.failure()
        assert (failure.kind, failure.exit_code) == (FailureKind.EXIT_CODE, 75)
        assert not failure.progressed
        assert f"but it saved nothing in {place} since it was started" in failure.message

    def test_code_75_of_a_script_that_is_not_checkpointable(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, 'echo 1 > "$AXSCHED_CHECKPOINT_DIR/state"; exit 75\n')
        failure = b.failure()
        assert failure.kind is FailureKind.EXIT_CODE
        assert "only where script_options['checkpointable'] is True" in failure.message

    def test_a_warning_that_nobody_wants_is_ignored(self, tmp_path: Path) -> None:
        ready = tmp_path / "ready"
        b = script_bench(
            tmp_path, f"touch '{ready}'\nuntil [ -e '{ready}.on' ]; do sleep 0.05; done\n" + WRITE_METRICS
        )
        worker = b.start()
        wait_for(ready.exists, "the script runs")
        worker.send_signal(signal.SIGUSR1)
        wait_for(lambda: "SIGUSR1 came, and is ignored" in b.files.stderr.read_text(), "it is told")
        Path(f"{ready}.on").touch()
        assert ended(worker) == 0
        assert b.outcome().metrics == {"loss": (1.0, None)}

    def test_sigterm_publishes_nothing_whatever_was_saved(self, tmp_path: Path) -> None:
        """Whether the job was preempted or cancelled by a person, only the scheduler knows."""
        b = counting(tmp_path, "TERM")
        worker = start(b)
        wait_for((tmp_path / "ready").exists, "the script is ready")
        worker.terminate()
        assert ended(worker) == 128 + signal.SIGTERM
        assert (b.layout.checkpoint(3) / "step").exists() and not b.files.result.exists()

    def test_it_has_as_long_to_save_as_it_said(self, tmp_path: Path) -> None:
        text = COUNT.format(signal="TERM", ready=tmp_path / "ready").replace(
            "echo $step", "sleep 1; echo $step"
        )
        b = script_bench(tmp_path, text, {**CHECKPOINTABLE, "warning": 20})
        worker = start(b, grace=0.2)
        wait_for((tmp_path / "ready").exists, "the script is ready")
        worker.terminate()
        assert ended(worker) == 128 + signal.SIGTERM
        assert (b.layout.checkpoint(3) / "step").exists()

    def test_how_often_it_was_begun_before(self, tmp_path: Path) -> None:
        # Without a limit the program writes to the log itself: a killed worker loses nothing of it.
        b = script_bench(
            tmp_path,
            'echo "$AXSCHED_RESTART_COUNT"; kill -KILL $PPID; sleep 10\n',
            {**CHECKPOINTABLE, "output_limit": 0},
        )
        seen = []
        for number in (1, 2, 3, 4):
            run = b if number == 1 else again(b, number)
            files = b.layout.attempt(3, number)
            if number == 2:  # never submitted: it does not count
                assert claim.close(files, "never submitted")
                continue
            slurm = {"SLURM_JOB_ID": str(40 + number)}
            assert ended(run.start(**slurm)) == -signal.SIGKILL
            if number == 3:
                assert ended(run.start(**slurm, SLURM_RESTART_COUNT="1")) == -signal.SIGKILL
            claim.give_up(files, "its job is gone")
            seen += files.stdout.read_text().split()
        assert seen == ["0", "1", "2", "3"]

    def test_a_link_in_its_place_is_refused(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, WRITE_METRICS)
        b.layout.checkpoint(3).symlink_to(tmp_path)
        failure = b.failure()
        assert failure.kind is FailureKind.CANNOT_RUN
        assert "a symbolic link leads from it" in failure.message


class TestFunction:
    def test_told_to_save_it_is_called_again(self, tmp_path: Path) -> None:
        ready = tmp_path / "ready"

        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            state = checkpoint_directory() / "step"
            if state.exists():
                return {
                    "loss": float(state.read_text()),
                    "before": float(os.environ["AXSCHED_RESTART_COUNT"]),
                }
            ready.touch()
            while not warned():
                time.sleep(0.02)
            state.write_text("5")
            raise ContinueLater("at step 5")

        b = bench(tmp_path, Checkpointed(objective, 60))
        worker = b.start()
        wait_for(ready.exists, "the function runs")
        worker.send_signal(signal.SIGUSR1)
        assert ended(worker) == 1
        failure = b.outcome().failure
        assert failure is not None and failure.kind is FailureKind.CHECKPOINTED and failure.progressed
        place = b.layout.checkpoint(3)
        assert f"saved its state in {place}, to go on in another job (at step 5)." in failure.message
        assert "the end of the job's time is near; warned() is true." in b.files.stderr.read_text()
        assert ended(again(b, 2).start()) == 0
        found = outcome.read(b.layout.attempt(3, 2).result)
        assert found.metrics == {"loss": (5.0, None), "before": (1.0, None)}

    def test_a_warning_before_it_was_called(self, tmp_path: Path) -> None:
        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            return {"warned": int(warned())}

        b = bench(tmp_path, Checkpointed(objective, 60))
        worker = b.start()
        wait_for(b.files.claim.exists, "the worker has its attempt")
        worker.send_signal(signal.SIGUSR1)
        assert ended(worker) == 0
        metrics = b.outcome().metrics
        assert metrics is not None and metrics["warned"] in ((0.0, None), (1.0, None))

    def test_nothing_saved_is_a_failure(self, tmp_path: Path) -> None:
        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            raise ContinueLater

        failure = bench(tmp_path, Checkpointed(objective, 60)).failure()
        assert failure.kind is FailureKind.EXCEPTION
        assert "raised ContinueLater to go on in another job, but it saved nothing in " in failure.message

    def test_a_function_that_is_not_checkpointable(self, tmp_path: Path) -> None:
        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            (checkpoint_directory() / "state").write_text("1")
            raise ContinueLater

        failure = bench(tmp_path, objective).failure()
        assert failure.kind is FailureKind.EXCEPTION
        assert "that takes set_objective_function(..., checkpointable=True)" in failure.message

    def test_a_warning_that_nobody_wants_is_ignored(self, tmp_path: Path) -> None:
        ready = tmp_path / "ready"

        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            ready.touch()
            while not Path(f"{ready}.on").exists():
                time.sleep(0.02)
            return {"loss": 1}

        b = bench(tmp_path, objective)
        worker = b.start()
        wait_for(ready.exists, "the function runs")
        worker.send_signal(signal.SIGUSR1)
        wait_for(lambda: "SIGUSR1 came, and is ignored" in b.files.stderr.read_text(), "it is told")
        Path(f"{ready}.on").touch()
        assert ended(worker) == 0
        assert b.outcome().metrics == {"loss": (1.0, None)}

    @pytest.mark.parametrize("ending", ["continue", "error", "metrics"])
    def test_sigterm_is_a_warning_too(self, tmp_path: Path, ending: str) -> None:
        ready = tmp_path / "ready"

        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            ready.touch()
            while not warned():
                time.sleep(0.02)
            (checkpoint_directory() / "state").write_text("1")
            if ending == "continue":
                raise ContinueLater
            if ending == "error":
                raise ValueError("interrupted")
            return {"loss": 1}

        b = bench(tmp_path, Checkpointed(objective, 60))
        worker = b.start()
        wait_for(ready.exists, "the function runs")
        worker.terminate()
        # What it has computed to the end counts; else the scheduler says what became of the job.
        assert ended(worker) == (0 if ending == "metrics" else 128 + signal.SIGTERM)
        assert b.files.result.exists() == (ending == "metrics")
        assert (b.layout.checkpoint(3) / "state").exists()

    def test_one_that_does_not_listen_is_ended(self, tmp_path: Path) -> None:
        ready = tmp_path / "ready"

        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            ready.touch()
            time.sleep(60)
            return {"loss": 1}

        b = bench(tmp_path, Checkpointed(objective, 1))
        worker = b.start()
        wait_for(ready.exists, "the function runs")
        worker.terminate()
        assert ended(worker, 15) == -signal.SIGTERM
        assert not b.files.result.exists()

    def test_inside_another_process_nothing_is_left(self, tmp_path: Path) -> None:
        from axsched_hpc import worker

        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            return {"loss": len(str(checkpoint_directory())), "warned": int(warned())}

        before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
        b = bench(tmp_path, Checkpointed(objective, 60))
        assert worker.run(b.manifest, 0, redirect=False) == 0
        metrics = {"loss": (float(len(str(b.layout.checkpoint(3)))), None), "warned": (0.0, None)}
        assert b.outcome().metrics == metrics
        assert "AXSCHED_CHECKPOINT_DIR" not in os.environ
        assert {number: signal.getsignal(number) for number in before} == before


def test_outside_of_a_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AXSCHED_CHECKPOINT_DIR", raising=False)
    assert warned() is False
    with pytest.raises(ObjectiveError, match="no trial runs here: AXSCHED_CHECKPOINT_DIR is not set"):
        checkpoint_directory()
    monkeypatch.setenv("AXSCHED_CHECKPOINT_DIR", str(tmp_path))
    assert checkpoint_directory() == tmp_path
    assert {"ContinueLater", "checkpoint_directory", "warned"} <= set(axsched_hpc.__all__)


class TestMemory:
    """Where the kernel kills for lack of memory, as in the memory cgroup of a Slurm job."""

    @pytest.fixture
    def place(self) -> Iterator[Path]:
        with limited(200) as made:
            yield made

    def run(self, b: Bench, place: Path) -> Any:
        enter = f'echo $$ > "{place}/cgroup.procs"; exec "$@"'
        command = ["sh", "-c", enter, "sh", sys.executable, "-m", "axsched_hpc.worker", str(b.manifest), "0"]
        assert subprocess.run(command, env=b.environment(), check=False, timeout=60).returncode == 1
        return b.outcome().failure

    @pytest.mark.parametrize("start", ["", "if true; then ", "sh -c '"])
    def test_a_script_that_takes_too_much(self, tmp_path: Path, place: Path, start: str) -> None:
        greedy = f'{sys.executable} -c "b = bytearray(400 << 20)"'
        text = {"": f"exec {greedy}", "if true; then ": f"{greedy}\nexit $?"}.get(
            start, f"{start}{greedy}'\nexit $?"
        )
        failure = self.run(script_bench(tmp_path, text + "\n"), place)
        assert failure.kind is FailureKind.OUT_OF_MEMORY
        assert failure.signal == signal.SIGKILL
        assert f"{tmp_path}/train.sh ran out of memory: the kernel killed a process of it" in failure.message
        peak = float(failure.message.rpartition(" held ")[2].split()[0])
        assert 100 < peak <= 200

    def test_a_kill_by_somebody_else(self, tmp_path: Path, place: Path) -> None:
        failure = self.run(script_bench(tmp_path, "kill -KILL $$\n"), place)
        assert failure.kind is FailureKind.CRASHED
