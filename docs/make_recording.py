"""Record a command in a terminal as a picture (SVG), which README.md and the documentation show.

    python docs/make_recording.py docs/pictures/demo.svg "make demo"

The command runs for real, in a pseudo-terminal; the picture shows what is on the screen when it has ended.
Several commands follow one another, each after its prompt. Only what rich draws by itself is understood of a
terminal's language: colours, carriage return, going up, and erasing a line.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 100
PROMPT = "\x1b[1;32m$\x1b[0m \x1b[1m{}\x1b[0m\r\n"

# Colours and styles; cursor up and erase; anything else, such as hiding the cursor, is left out.
_TOKEN = re.compile(r"(\x1b\[[0-9;]*m)|\x1b\[([0-9]*)([AK])|\x1b\[[?0-9;]*[A-Za-z]|(\r)|(\n)|([^\x1b\r\n]+)")


class Screen:
    """The lines of a terminal, each as text with its colours in it."""

    def __init__(self) -> None:
        self.lines = [""]
        self._row = 0
        self._at_start = False

    def feed(self, output: str) -> None:
        """Take in what a program has written."""
        for colour, count, move, back, newline, text in _TOKEN.findall(output):
            if newline:
                self._row += 1
                if self._row == len(self.lines):
                    self.lines.append("")
            elif back:
                self._at_start = True
            elif move == "A":
                self._row = max(0, self._row - int(count or 1))
            elif move == "K":
                self.lines[self._row] = ""
            else:
                # Who goes back to the start of a line writes all of it anew.
                if self._at_start and text:
                    self.lines[self._row] = ""
                self.lines[self._row] += colour + text
            if not back:
                self._at_start = False


def record(command: str) -> tuple[str, int]:
    """Run a shell command in a pseudo-terminal: what it wrote, and its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("sh", ["sh", "-c", command], {**os.environ, "TERM": "xterm-256color"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    output = bytearray()
    while chunk := _read(terminal):
        output += chunk
    os.close(terminal)
    return output.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _read(terminal: int) -> bytes:
    # Linux reports the end of a pseudo-terminal as an error.
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def main(picture: Path, commands: list[str]) -> int:
    """Record the commands, draw the picture, and return the first exit code that is not 0."""
    screen = Screen()
    for command in commands:
        output, code = record(command)
        screen.feed(PROMPT.format(command) + output)
        if code:
            sys.stderr.write(f"{command!r} ended with exit code {code}; no picture was made.\n{output}")
            return code
    draw(picture, Text.from_ansi("\n".join(screen.lines).rstrip()), commands[0])
    return 0


def draw(picture: Path, text: Text, title: str, columns: int = COLUMNS) -> None:
    """Draw what a terminal shows, its text being text."""
    console = Console(record=True, width=columns, file=io.StringIO())
    console.print(text, soft_wrap=True)
    picture.parent.mkdir(parents=True, exist_ok=True)
    svg = console.export_svg(title=title, unique_id="terminal")
    # rich asks the net for a font; a page that shows the picture has one of its own.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code", "ui-monospace")
    picture.write_text(svg)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
