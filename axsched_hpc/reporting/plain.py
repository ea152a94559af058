"""Text from journals and logs, made harmless for a terminal: it may be anybody's, and hold what moves the
cursor, changes a title or reads the keyboard.
"""

from __future__ import annotations

import re

#: Controls but for the line end and the tab, what turns the direction of writing, and halves of letters,
#: which no encoding takes.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

#: What programs write for colours and the like (ECMA-48, control sequences).
_SEQUENCE = re.compile("\x1b\\[[0-?]*[ -/]*[@-~]")

#: What a later part of the same line writes over, as progress bars do.
_OVERWRITTEN = re.compile(r"[^\r\n]+\r(?=[^\r\n])")

#: What is no news in a reason, and takes its room: the directories of a path.
_DIRECTORIES = re.compile(r"(?<!\S)/(?:[^\s/]+/)+")

_PART = re.compile(r"[^_.-]+[_.-]*|[_.-]+")


def harmless(text: str) -> str:
    """The text without colours, and with escapes such as ``\\x1b`` for what else a terminal would obey. Lines
    stay lines.
    """
    bare = _SEQUENCE.sub("", text)
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape").decode(), bare)


def line(text: str) -> str:
    """The text in one line."""
    return " ".join(text.split())


def log_text(text: str) -> str:
    """A piece of a log as a terminal may show it: of a progress bar its last state."""
    last = _OVERWRITTEN.sub("", text)
    return harmless(last.replace("\r\n", "\n").replace("\r", "\n"))


def shortened(text: str, width: int) -> str:
    """The text, or its beginning where it is longer than ``width``."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def without_directories(text: str) -> str:
    """The text with the last names of its paths only."""
    return _DIRECTORIES.sub("", text)


def parts(name: str) -> list[str]:
    """What a long name may be broken into: its words, with the ``_``, ``.`` or ``-`` after them."""
    return _PART.findall(name)


def broken(name: str, width: int) -> list[str]:
    """A name in lines no longer than ``width``, broken between its parts where that does."""
    lines = [""]
    for part in parts(name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
        while len(lines[-1]) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return lines
