"""Fault points: what fires, when, and that nothing does when nobody asked for it."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from axsched_hpc.io import faults
from tests.unit.worker_kit import REPOSITORY, script_bench, state, wait_for

POINT = "file.written"


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    faults.arm(None)


def process(armed: Path | None, code: str) -> subprocess.Popen[str]:
    """A Python process that imports faults and runs some code."""
    environment = {name: value for name, value in os.environ.items() if name != "AXSCHED_FAULTS"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    if armed is not None:
        environment["AXSCHED_FAULTS"] = str(armed)
    code = f"from axsched_hpc.io.faults import reach\n{code}"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def fired(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_every_point_is_placed() -> None:
    placed = [
        point
        for path in sorted((REPOSITORY / "axsched_hpc").rglob("*.py"))
        for point in re.findall(r'\b(?:reach|pieces)\("([^"]+)"', path.read_text(encoding="utf-8"))
    ]
    # Two of them stand at all places where the same thing happens.
    assert sorted(placed) == sorted([*faults.POINTS, "submit.half", "submit.half", "claim.closed"])


def test_an_unarmed_process_ignores_everything(tmp_path: Path) -> None:
    (tmp_path / POINT).write_text("kill")
    faults.reach(POINT)
    faults.reach("no such point")
    ran = process(None, f"reach({POINT!r}); reach('no such point'); print('through')")
    assert ran.communicate(timeout=20) == ("through\n", "")
    assert fired(tmp_path) == [POINT]


def test_an_unknown_point_raises_when_armed(tmp_path: Path) -> None:
    faults.arm(tmp_path)
    with pytest.raises(KeyError, match="no such point"):
        faults.reach("no such point")


def test_a_point_without_a_file_does_nothing(tmp_path: Path) -> None:
    faults.arm(tmp_path / "missing")
    faults.reach(POINT)
    faults.arm(tmp_path)
    faults.reach(POINT)
    assert fired(tmp_path) == []


def test_an_error_is_raised_once(tmp_path: Path) -> None:
    (tmp_path / POINT).write_text("ENOSPC\n")
    faults.arm(tmp_path)
    with pytest.raises(OSError, match=r"\(fault at file\.written\)") as caught:
        faults.reach(POINT)
    assert caught.value.errno == errno.ENOSPC
    faults.reach(POINT)
    assert fired(tmp_path) == [f"{POINT}.fired-{os.getpid()}"]


def test_the_nth_arrival(tmp_path: Path) -> None:
    (tmp_path / POINT).write_text("EIO 3")
    faults.arm(tmp_path)
    faults.reach(POINT)
    faults.reach("worker.started")
    faults.reach(POINT)
    assert fired(tmp_path) == [POINT]
    with pytest.raises(OSError, match="fault at"):
        faults.reach(POINT)
    # Arming begins to count anew.
    (tmp_path / POINT).write_text("EIO 2")
    faults.arm(tmp_path)
    faults.reach(POINT)
    assert POINT in fired(tmp_path)


def test_kill(tmp_path: Path) -> None:
    (tmp_path / POINT).write_text("kill 2")
    ran = process(tmp_path, f"reach({POINT!r}); print('once', flush=True); reach({POINT!r}); print('twice')")
    assert ran.communicate(timeout=20) == ("once\n", "")
    assert ran.returncode == -signal.SIGKILL
    assert fired(tmp_path) == [f"{POINT}.fired-{ran.pid}"]


def test_stop(tmp_path: Path) -> None:
    (tmp_path / POINT).write_text("stop")
    ran = process(tmp_path, f"reach({POINT!r}); print('went on')")
    wait_for(lambda: state(ran.pid) == "T", "the process is stopped")
    ran.send_signal(signal.SIGCONT)
    assert ran.communicate(timeout=20) == ("went on\n", "")
    assert ran.returncode == 0


def test_of_several_processes_one_fires(tmp_path: Path) -> None:
    (tmp_path / POINT).write_text("kill")
    code = f"input()\nfor _ in range(50): reach({POINT!r})"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "AXSCHED_FAULTS": str(tmp_path)}
    command = [sys.executable, "-c", f"from axsched_hpc.io.faults import reach\n{code}"]
    running = [subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) for _ in range(6)]
    for each in running:
        assert each.stdin is not None
        each.stdin.write(b"\n")
        each.stdin.close()
    codes = [each.wait(timeout=20) for each in running]
    assert sorted(codes) == [-signal.SIGKILL, *[0] * 5]
    (name,) = fired(tmp_path)
    assert name == f"{POINT}.fired-{running[codes.index(-signal.SIGKILL)].pid}"


WRITE_METRICS = 'echo \'{"loss": 0.25}\' > "$AXSCHED_METRICS_FILE"\n'


@pytest.mark.parametrize(
    ("point", "files", "notices"),
    [
        ("worker.started", set(), 0),
        ("worker.claimed", {"claim.json"}, 0),
        ("worker.ended", {"claim.json", "metrics.json", "stderr.log", "stdout.log", "work"}, 0),
        (
            "worker.result",
            {"claim.json", "metrics.json", "result.json", "stderr.log", "stdout.log", "work"},
            0,
        ),
        (
            "worker.announced",
            {"claim.json", "metrics.json", "result.json", "stderr.log", "stdout.log", "work"},
            1,
        ),
    ],
)
def test_what_a_killed_worker_leaves(tmp_path: Path, point: str, files: set[str], notices: int) -> None:
    faulty = tmp_path / "faults"
    faulty.mkdir()
    (faulty / point).write_text("kill")
    b = script_bench(tmp_path, WRITE_METRICS)
    code, _ = b.run(AXSCHED_FAULTS=str(faulty))
    assert code == -signal.SIGKILL
    assert {path.name for path in b.files.root.iterdir()} == files
    assert len(list(b.layout.inbox.iterdir())) == notices


@pytest.mark.parametrize("point", ["worker.started", "worker.claimed", "worker.ended", "worker.result"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "ESTALE", "EACCES"])
def test_an_error_at_any_point_of_a_worker_is_waited_for(tmp_path: Path, point: str, error: str) -> None:
    faulty = tmp_path / "faults"
    faulty.mkdir()
    (faulty / point).write_text(error)
    b = script_bench(tmp_path, f"echo ran >> '{tmp_path}/log'\n" + WRITE_METRICS)
    code, said = b.run(AXSCHED_FAULTS=str(faulty))
    assert code == 0
    assert b.outcome().metrics == {"loss": (0.25, None)}
    assert (tmp_path / "log").read_text() == "ran\n"
    assert f"(fault at {point})" in said + b.files.stderr.read_text()
    assert fired(faulty)[0].startswith(f"{point}.fired-")


@pytest.mark.parametrize("arrival", [1, 2, 3])
def test_a_worker_killed_while_it_writes_leaves_no_torn_file(tmp_path: Path, arrival: int) -> None:
    # Its files are the claim, the result and the notice.
    b = script_bench(tmp_path, WRITE_METRICS)
    faulty = tmp_path / "faults"
    faulty.mkdir()
    (faulty / POINT).write_text(f"kill {arrival}")
    code, _ = b.run(AXSCHED_FAULTS=str(faulty))
    assert code == -signal.SIGKILL
    names = {path.name for path in (*b.files.root.iterdir(), *b.layout.inbox.iterdir())}
    whole = [name for name in ("claim.json", "result.json", "00003-1.json") if name in names]
    assert len(whole) == arrival - 1
    left = [name for name in names if name.startswith(".")]
    assert len(left) == 1 and left[0].endswith(".tmp")
