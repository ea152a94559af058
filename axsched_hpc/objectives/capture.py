"""A program's output on its way to its log, of which it may fill no more than a part of the disk.

Up to the limit all of it is written, and nearly all at once, so that ``tail -f`` shows it. Of what follows,
only the end is kept, in memory, and written when the program has ended: the log's end is the program's end.

A log that cannot be written neither ends the program nor makes it wait.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from axsched_hpc.io import access
from axsched_hpc.objectives.context import insist

#: The most that is kept of the end, in bytes.
TAIL = 256 * 1024

#: Seconds between two tries to write to a log that could not be written.
RETRY = 1.0

#: Seconds for what is still in the pipe when the program has ended, where a process has it open that could
#: not be ended.
DRAIN = 2.0

_CHUNK = 64 * 1024


class Excerpt:
    """What of some output is written, and when.

    Parameters
    ----------
    limit
        Bytes; output that is not longer is written as it is.
    remedy
        What the user changes to have more: an option's name.
    write
        Writes bytes to the log; returns how many it has written, or raises OSError.
    """

    def __init__(
        self,
        limit: int,
        remedy: str,
        write: Callable[[bytes | memoryview], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._remedy = remedy
        self._write = write
        self._clock = clock
        self._most = min(TAIL, limit // 2)
        self._room = limit - self._most
        # What is not in the log: bytes that are lost, followed by those that are kept.
        self._lost = 0
        self._kept = bytearray()
        self._announced = False
        self._line_began = False
        self._error = ""
        self._retry_at = 0.0

    def take(self, data: bytes) -> None:
        """Take the next piece of output."""
        if self._error and self._clock() >= self._retry_at:
            self._catch_up()
        if not self._kept and not self._lost and not self._error:
            written = self._put(memoryview(data)[: self._room])
            self._room -= written
            data = data[written:]
        self._keep(data)
        if self._lost and not self._error and not self._announced:
            self._announced = self._say(
                f"more than {self._limit / 1e6:g} MB of output; what follows is left out, but for its end. "
                f"{self._remedy} is how much is kept."
            )

    def end(self) -> None:
        """Write the end; nothing is taken any more."""
        if self._error:
            self._catch_up()
        if self._lost and not self._error:
            # A line whose begin is lost is no use.
            begin = self._kept.find(b"\n") + 1
            del self._kept[:begin]
            self._say(f"{self._lost + begin} bytes of output were left out here.")
        if not self._error:
            self._put(self._kept)

    def _keep(self, data: bytes) -> None:
        self._kept += data
        if (over := len(self._kept) - self._most) > 0:
            del self._kept[:over]
            self._lost += over

    def _catch_up(self) -> None:
        """Try again to write, after an error."""
        error, self._error = self._error, ""
        if self._lost and not self._announced:
            if not self._say(f"{self._lost} bytes of output could not be written, and are lost: {error}."):
                return
            self._lost = 0
        if not self._announced:
            written = self._put(bytes(self._kept[: self._room]))
            self._room -= written
            del self._kept[:written]

    def _say(self, text: str) -> bool:
        """Write a line of the worker's own; whether it is in the log."""
        line = f"{chr(10) if self._line_began else ''}axsched worker: {text}\n".encode()
        return self._put(line) == len(line)

    def _put(self, data: bytes | bytearray | memoryview) -> int:
        """Write as much as can be written now; how many bytes that is."""
        done = 0
        view = memoryview(data)
        try:
            while done < len(view):
                done += self._write(view[done:])
        except OSError as error:
            self._error = error.strerror or str(error)
            self._retry_at = self._clock() + RETRY
        if done:
            self._line_began = view[done - 1] != 0x0A
        return done


class Output:
    """A log as a program's standard output or error: a file, or with a limit a pipe that a thread empties.

    Parameters
    ----------
    log
        Is appended to.
    limit, remedy
        As of :class:`Excerpt`; without a limit the program writes to the file itself.
    """

    def __init__(self, log: Path, limit: int | None, remedy: str = "") -> None:
        self._log = insist(lambda: access.open_append(log), f"{log} cannot be opened")
        self._target = self._log
        self._excerpt: Excerpt | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        if limit is not None:
            self._excerpt = Excerpt(limit, remedy, lambda data: os.write(self._log, data))

    def __enter__(self) -> Output:
        try:
            if self._excerpt is not None:
                self._source, self._target = os.pipe()
                self._thread = threading.Thread(target=self._pump, args=(self._excerpt,), daemon=True)
                _start(self._thread)
        except OSError:
            self.__exit__()
            raise
        return self

    @property
    def target(self) -> int:
        """What the program writes to."""
        return self._target

    def release(self) -> None:
        """Leave the pipe to the program, which has been started: its end is the output's."""
        if self._target != self._log:
            os.close(self._target)
            self._target = self._log

    def __exit__(self, *_: object) -> None:
        self.release()
        if self._thread is not None:
            self._thread.join(DRAIN)
        with self._lock:
            self._closed = True
            if self._excerpt is not None:
                self._excerpt.end()
            os.close(self._log)

    def _pump(self, excerpt: Excerpt) -> None:
        # To the end of the pipe in any case: a process that could not be ended is not to wait for a reader.
        while data := os.read(self._source, _CHUNK):
            with self._lock:
                if not self._closed:
                    excerpt.take(data)
        os.close(self._source)


def _start(thread: threading.Thread) -> None:
    # A signal that the thread took would not wake the main one, which handles it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
