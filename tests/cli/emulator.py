"""A terminal of which the screen can be read: a command in a pseudo-terminal, and pyte behind it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyte


class Screen(pyte.Screen):
    """Shows what is faint as blinking: pyte knows nothing of faint letters."""

    def select_graphic_rendition(self, *attributes: int, **more: Any) -> None:
        """Take a style in."""
        super().select_graphic_rendition(*(5 if each == 2 else each for each in attributes), **more)


class Emulator:
    """Runs a command.

    Attributes
    ----------
    screen
        What the terminal shows.
    output
        All that came.
    """

    def __init__(
        self,
        command: Sequence[str],
        columns: int = 80,
        lines: int = 24,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.screen = Screen(columns, lines)
        self.output = b""
        self._stream = pyte.ByteStream(self.screen)
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            # Right away as large as it is to be.
            _size(0, columns, lines)
            os.execvpe(command[0], list(command), dict(os.environ if environment is None else environment))

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, 9)
            self.ended()

    @property
    def text(self) -> str:
        """The lines of the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def until(self, seen: Callable[[str], bool], seconds: float = 30.0) -> str:
        """Wait until the screen shows something; its text."""
        end = time.monotonic() + seconds
        while not seen(self.text):
            left = end - time.monotonic()
            assert left > 0, f"it does not come:\n{self.text}"
            assert self._read(left), f"it has ended:\n{self.text}"
        return self.text

    def type(self, keys: str) -> None:
        """Type some keys."""
        os.write(self._terminal, keys.encode())

    def signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self._pid, number)

    def resize(self, columns: int, lines: int) -> None:
        """Give the window another size."""
        self.screen.resize(lines, columns)
        _size(self._terminal, columns, lines)

    def ended(self) -> int:
        """Wait for its end; its exit code, or minus the signal."""
        while self._read(30.0):
            pass
        os.close(self._terminal)
        pid, self._pid = self._pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _read(self, seconds: float) -> bool:
        if not select.select([self._terminal], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # Linux: the other end is closed
            return False
        self.output += data
        self._stream.feed(data)
        return bool(data)


def _size(handle: int, columns: int, lines: int) -> None:
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
