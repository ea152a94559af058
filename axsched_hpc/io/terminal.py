"""A terminal as a screen: taken for a while, and given back as it was, however that ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import time
import tty
from collections.abc import Callable, Mapping
from enum import Enum
from types import FrameType, TracebackType
from typing import Any, Self

#: The other screen of the terminal, and no cursor; and back.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"

#: All is erased.
_CLEAR = "\x1b[H\x1b[2J"


class Came(Enum):
    """What has ended a wait."""

    TIME = "time"  #: its time was over
    REDRAW = "redraw"  #: the terminal has another size, or its screen is to be drawn anew
    QUIT = "quit"  #: the key q


class Screen:
    """The terminal that standard output leads to, from ``with`` on.

    A signal that ends the process raises SystemExit (KeyboardInterrupt for Ctrl-C), so that the terminal is
    given back. Ctrl-Z gives it back, too, until the process goes on.

    Attributes
    ----------
    keys
        Whether there is a keyboard.
    """

    def __init__(self, output: int = 1, keyboard: int = 0) -> None:
        self._output = output
        self._keyboard = keyboard
        self.keys = os.isatty(keyboard)
        self._modes: list[Any] | None = None
        self._handlers: dict[int, Any] = {}
        self._woken, self._waker = os.pipe()
        self._redraw = True

    def __enter__(self) -> Self:
        for handle in (self._woken, self._waker):
            os.set_blocking(handle, False)
        handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {
            signal.SIGWINCH: self._resized,
            signal.SIGTSTP: self._stopped,
            signal.SIGTERM: _end,
            signal.SIGHUP: _end,
        }
        self._handlers = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._woken)
        os.close(self._waker)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines; 80 and 24 where the terminal does not say."""
        with contextlib.suppress(OSError):
            columns, lines = os.get_terminal_size(self._output)
            if columns and lines:
                return columns, lines
        return 80, 24

    def fresh(self) -> bool:
        """Whether the screen has to be drawn anew; it is erased then."""
        redraw, self._redraw = self._redraw, False
        if redraw:
            self.write(_CLEAR)
        return redraw

    def write(self, text: str) -> None:
        """Send a text to the terminal."""
        data = memoryview(text.encode())
        while data:
            data = data[os.write(self._output, data) :]

    def wait(self, seconds: float) -> Came:
        """Wait for that time, a key or another size."""
        end = time.monotonic() + seconds
        while True:
            handles = [self._woken, self._keyboard] if self.keys else [self._woken]
            ready = select.select(handles, [], [], max(0.0, end - time.monotonic()))[0]
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, 4096)
            if self._keyboard in ready:
                typed = os.read(self._keyboard, 4096)
                if b"q" in typed or b"Q" in typed:
                    return Came.QUIT
                self._redraw |= b"\x0c" in typed
                self.keys = bool(typed)  # the other end is closed
            if self._redraw:
                return Came.REDRAW
            if time.monotonic() >= end:
                return Came.TIME

    # ------------------------------------------------------------ taking it

    def _take(self) -> None:
        if self.keys:
            # Keys come one by one, and are not shown; Ctrl-C and Ctrl-Z are signals still.
            self._modes = termios.tcgetattr(self._keyboard)
            tty.setcbreak(self._keyboard)
        self.write(_ENTER)
        self._redraw = True

    def _give_back(self) -> None:
        with contextlib.suppress(OSError, termios.error):  # the terminal may be gone
            self.write(_LEAVE)
            if self._modes is not None:
                termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._modes)

    def _resized(self, number: int, frame: FrameType | None) -> None:
        self._redraw = True

    def _stopped(self, number: int, frame: FrameType | None) -> None:
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # It goes on here.
        signal.signal(signal.SIGTSTP, self._stopped)
        self._take()


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def speaks_unicode(environment: Mapping[str, str]) -> bool:
    """Whether the terminal can be expected to show more than ASCII, by the locale and the kind of terminal.

    In the locale C Python sets ``LC_CTYPE`` to a UTF-8 of its own making (PEP 538), which says nothing of the
    terminal.
    """
    if environment.get("TERM") in ("linux", "dumb"):
        return False
    kind = environment.get("LC_CTYPE", "")
    made = kind in ("C.UTF-8", "C.utf8", "UTF-8") and environment.get("LANG", "") in ("", "C", "POSIX")
    locale = environment.get("LC_ALL") or ("" if made else kind) or environment.get("LANG", "")
    return "utf" in locale.lower()
