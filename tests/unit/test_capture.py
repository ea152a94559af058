"""The limit on a program's output: what stands in its log, also on a full disk and with a pipe held open."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from axsched_hpc.io import outcome
from axsched_hpc.objectives import capture, process
from axsched_hpc.objectives.capture import Excerpt
from tests.unit.worker_kit import alive, wait_for

OPTION = "script_options['output_limit']"


class Log:
    """A log in memory, on a disk with so many bytes of room."""

    def __init__(self) -> None:
        self.text = b""
        self.room = 1 << 40
        self.now = 0.0

    def write(self, data: bytes | memoryview) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = min(len(data), self.room, 7000)  # as a system may, less than it was given
        self.text += bytes(data[:written])
        self.room -= written
        return written

    def excerpt(self, limit: int) -> Excerpt:
        return Excerpt(limit, OPTION, self.write, lambda: self.now)


def lines(first: int, last: int) -> bytes:
    return b"".join(b"%07d\n" % number for number in range(first, last))


class TestExcerpt:
    @pytest.mark.parametrize("piece", [1, 100, 8000, 100_000])
    def test_output_up_to_the_limit_is_written_as_it_is(self, piece: int) -> None:
        log = Log()
        excerpt, output = log.excerpt(8000), lines(0, 1000)
        for begin in range(0, len(output), piece):
            excerpt.take(output[begin : begin + piece])
        excerpt.end()
        assert log.text == output

    @pytest.mark.parametrize("piece", [1, 7, 4096, 100_000])
    def test_of_more_the_begin_and_the_end_are_written(self, piece: int) -> None:
        log = Log()
        excerpt, output = log.excerpt(8000), lines(0, 5000)
        for begin in range(0, len(output), piece):
            excerpt.take(output[begin : begin + piece])
        before = log.text
        excerpt.end()
        # Half of a limit as small as this is for the end, which begins with a whole line.
        over = (
            b"axsched worker: more than 0.008 MB of output; what follows is left out, but for its end. "
            b"script_options['output_limit'] is how much is kept.\n"
        )
        assert before == lines(0, 500) + over
        left_out = len(output) - 4000 - 4000 + 8
        said = b"axsched worker: %d bytes of output were left out here.\n" % left_out
        assert log.text == before + said + lines(4501, 5000)

    def test_remarks_have_lines_of_their_own(self) -> None:
        log = Log()
        excerpt = log.excerpt(20)
        excerpt.take(b"x" * 1000)
        excerpt.end()
        written = log.text.split(b"\n")
        assert written[0] == b"x" * 10 and written[1].startswith(b"axsched worker: more than")
        assert written[2] == b"axsched worker: 980 bytes of output were left out here."
        assert written[3:] == [b"x" * 10]

    def test_nearly_all_of_a_large_limit_is_written_at_once(self) -> None:
        log = Log()
        excerpt = log.excerpt(1_000_000)
        excerpt.take(b"x" * 2_000_000)
        assert log.text.count(b"x") >= 1_000_000 - capture.TAIL

    def test_a_full_disk_costs_nothing_that_fits_into_memory(self) -> None:
        log = Log()
        log.room = 12
        excerpt = log.excerpt(100_000)
        for number in range(100):
            excerpt.take(lines(number, number + 1))
        assert log.text == lines(0, 100)[:12]
        log.room = 1 << 40
        excerpt.take(lines(100, 101))
        assert log.text == lines(0, 100)[:12]  # it is not tried for each piece
        log.now = capture.RETRY
        excerpt.take(lines(101, 102))
        assert log.text == lines(0, 102)
        excerpt.take(lines(102, 103))
        excerpt.end()
        assert log.text == lines(0, 103)

    def test_what_a_full_disk_has_cost_is_told(self) -> None:
        log = Log()
        excerpt = log.excerpt(8000)
        excerpt.take(lines(0, 10))
        log.room = 0
        excerpt.take(lines(10, 4000))
        assert log.text == lines(0, 10)
        log.room, log.now = 1 << 40, capture.RETRY
        excerpt.take(lines(4000, 4001))
        lost = 8 * (4000 - 10 - 500)
        said = f"{lost} bytes of output could not be written, and are lost: No space left on device.\n"
        assert log.text.startswith(lines(0, 10) + f"axsched worker: {said}".encode())
        excerpt.end()
        assert log.text.endswith(lines(3500, 4001))

    def test_a_disk_that_stays_full(self) -> None:
        log = Log()
        log.room = 0
        excerpt = log.excerpt(8000)
        for _ in range(10):
            log.now += 10
            excerpt.take(lines(0, 5000))
        excerpt.end()
        assert log.text == b""

    def test_a_disk_that_is_full_now_and_then(self) -> None:
        # Whatever happens, what is written is in order and at most once.
        log = Log()
        excerpt = log.excerpt(40_000)
        for number in range(10_000):
            log.now += 0.3
            log.room = 1 << 40 if number % 7 < 3 else number % 5
            excerpt.take(lines(number, number + 1))
        log.room = 1 << 40
        excerpt.end()
        found = [int(line) for line in log.text.split(b"\n") if line.isdigit() and len(line) == 7]
        assert found == sorted(set(found)) and found[0] == 0 and found[-1] == 9999


def run(tmp_path: Path, code: str, limit: int | None, **options: object) -> process.Ended:
    return process.run(
        [sys.executable, "-c", code],
        environment=dict(os.environ),
        directory=tmp_path,
        stdout=tmp_path / "out",
        stderr=tmp_path / "err",
        signals=False,
        limit=limit,
        remedy=OPTION,
        **options,  # type: ignore[arg-type]
    )


class TestProgram:
    @pytest.mark.parametrize("limit", [None, 10_000_000])
    def test_both_outputs(self, tmp_path: Path, limit: int | None) -> None:
        (tmp_path / "err").write_text("earlier\n")
        code = "import sys; print('result'); sys.stderr.write('trouble\\n'); sys.exit(3)"
        assert run(tmp_path, code, limit).code == 3
        assert (tmp_path / "out").read_text() == "result\n"
        assert (tmp_path / "err").read_text() == "earlier\ntrouble\n"

    def test_output_is_in_the_log_while_the_program_runs(self, tmp_path: Path) -> None:
        code = (
            "import os, pathlib, time\nos.write(1, b'begun\\n')\n"
            "while pathlib.Path('out').read_text() != 'begun\\n': time.sleep(0.01)\n"
        )
        assert run(tmp_path, code, 1000, timeout=20).code == 0

    def test_much_output_and_its_last_words(self, tmp_path: Path) -> None:
        code = (
            "import os, sys\nfor _ in range(200): os.write(2, (b'x' * 99 + b'\\n') * 1000)\n"
            "os.write(2, b'the reason\\n'); sys.exit(1)"
        )
        assert run(tmp_path, code, 1_000_000).code == 1
        log = tmp_path / "err"
        assert 990_000 < log.stat().st_size < 1_000_500
        assert outcome.tail(log)[-1] == "the reason"
        assert b"\naxsched worker: 19" in log.read_bytes()

    def test_a_process_that_cannot_be_ended_holds_the_pipe(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Inside another process only the group is ended: what has left it keeps the pipe open, and writes on.
        monkeypatch.setattr(capture, "DRAIN", 0.2)
        code = (
            "import subprocess, sys\n"
            "loop = ['sh', '-c', 'while echo more; do sleep 0.1; done']\n"
            "p = subprocess.Popen(loop, start_new_session=True)\n"
            "open('pid', 'w').write(str(p.pid))"
        )
        before = time.monotonic()
        assert run(tmp_path, code, 1_000_000).code == 0
        assert time.monotonic() - before < 5
        pid, size = int((tmp_path / "pid").read_text()), (tmp_path / "out").stat().st_size
        try:
            # Neither does it write to the log any more, nor is it ended by a pipe that nobody reads.
            time.sleep(0.3)
            assert alive(pid)
            assert (tmp_path / "out").stat().st_size == size
        finally:
            os.killpg(pid, signal.SIGKILL)
        wait_for(lambda: not alive(pid), "it has ended")

    def test_a_program_that_cannot_be_started_leaves_nothing_open(self, tmp_path: Path) -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            with pytest.raises(FileNotFoundError):
                process.run(
                    ["/no/such/program"],
                    environment={},
                    directory=tmp_path,
                    stdout=tmp_path / "out",
                    stderr=tmp_path / "err",
                    signals=False,
                    limit=1000,
                )
        assert len(list(Path("/proc/self/fd").iterdir())) == before
