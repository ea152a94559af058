"""Running commands: their environment, time limit, and absence."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from axsched_hpc.core.errors import ClusterUnavailableError
from axsched_hpc.slurm.run import leaking, run, scrubbed

_DUMP = "import os, sys; sys.stdout.write('\\n'.join(sorted(os.environ)))"


def _seen() -> list[str]:
    return run([sys.executable, "-c", _DUMP]).out.splitlines()


def test_the_answer_has_all_three_parts() -> None:
    done = run([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"])
    assert (done.code, done.out, done.err) == (3, "out\n", "err\n")


def test_output_that_is_no_text_is_read_all_the_same() -> None:
    assert run([sys.executable, "-c", r"import os; os.write(1, b'a\xffb')"]).out == "a\ufffdb"


def test_nothing_can_be_asked_of_the_user() -> None:
    assert run([sys.executable, "-c", "import sys; print(repr(sys.stdin.read()))"]).out == "''\n"


def test_no_shell_reads_the_arguments() -> None:
    word = "$(echo x); `id` 'a' \"b\" *"
    assert run([sys.executable, "-c", "import sys; print(sys.argv[1])", word]).out == f"{word}\n"


def test_a_surrounding_job_does_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "SLURM_JOB_ID",
        "SLURM_MEM_PER_CPU",
        "SBATCH_PARTITION",
        "SRUN_CPUS_PER_TASK",
        "SUBMITIT_EXECUTOR",
    ):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    seen = _seen()
    assert [name for name in seen if name.startswith(("SLURM_", "SBATCH_", "SRUN_", "SUBMITIT_"))] == [
        "SLURM_CONF"
    ]
    assert "OMP_NUM_THREADS" in seen and "PATH" in seen
    assert leaking(scrubbed(os.environ)) == []


def test_what_belongs_to_the_drivers_job_does_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("AXSCHED_DRIVER_ONLY", "PYTHONUNBUFFERED MINE")
    monkeypatch.setenv("MINE", "1")
    monkeypatch.setenv("TMPDIR", "/scratch/job4711")
    # Outside a job they are the user's own.
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert {"CUDA_VISIBLE_DEVICES", "MINE", "TMPDIR"} <= set(_seen())
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    assert not {"CUDA_VISIBLE_DEVICES", "MINE", "TMPDIR", "AXSCHED_DRIVER_ONLY"} & set(_seen())
    monkeypatch.setenv("TMPDIR", "/scratch/mine")
    assert "TMPDIR" in _seen()


def test_a_users_own_defaults_stay_outside_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    assert "SBATCH_ACCOUNT" in _seen()


def test_habits_do_not_change_what_queries_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    for name in ("SQUEUE_PARTITION", "SQUEUE_USERS", "SACCT_FORMAT", "SCANCEL_INTERACTIVE"):
        monkeypatch.setenv(name, "1")
    assert not [name for name in _seen() if name.startswith(("SQUEUE_", "SACCT_", "SCANCEL_"))]


def test_a_missing_command_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterUnavailableError, match=r"squeue is not on PATH.*LocalRunner\(\)") as caught:
        run(["squeue"])
    assert not caught.value.transient


def test_a_command_that_cannot_be_started(tmp_path: Path) -> None:
    program = tmp_path / "squeue"
    program.write_text("")
    program.chmod(0o644)
    with pytest.raises(ClusterUnavailableError, match="could not be started"):
        run([str(program)])


def test_a_command_that_hangs_is_given_up() -> None:
    with pytest.raises(ClusterUnavailableError, match=r"did not answer within 0\.2 s") as caught:
        run([sys.executable, "-c", "import signal; signal.pause()"], timeout=0.2)
    assert caught.value.transient
