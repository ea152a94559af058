"""What is wrong with a project file: collected while it is looked at, said all at once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from axsched_hpc.core.errors import ConfigError, did_you_mean
from axsched_hpc.io.yaml_text import Document, Way

#: What the checks of other packages call the things that a file has other names for.
_NAMES = (
    (re.compile(r"(script|container)_options(?=\W)"), "objective"),
    (re.compile(r"\bscript_path\b"), "objective.script"),
    (re.compile(r"\bcontainer_image\b"), "objective.container"),
    (re.compile(r"\bcontainer_command\b|The container's command"), "objective.command"),
    (re.compile(r"SlurmRunner's config"), "runner.config"),
    (re.compile(r"(?<![\w.])max_parallel\b"), "parallel.max_parallel"),
    (re.compile(r"Give its path from the current directory"), "Give its path from the file's directory"),
    (re.compile(r"(?<![\w.])config\["), "runner.config["),
    (re.compile(r"\['([\w-]+)'\]"), r".\1"),
)
#: Python's words, and YAML's.
_WORDS = (
    (re.compile(r"\bTrue\b"), "true"),
    (re.compile(r"\bFalse\b"), "false"),
    (re.compile(r"\bNone\b"), "nothing"),
    (re.compile(r"\ba dict\b(?: of options)?"), "a mapping"),
)
_STEP = re.compile(r"\[(\d+)\]|\[('.*?'|\".*?\")\]|\.?([^.\[]+)")


class Findings:
    """Problems of one file, each at a line.

    Parameters
    ----------
    name
        The file, as messages call it.
    """

    def __init__(self, name: str, document: Document) -> None:
        self._name = name
        self._lines = document.lines
        self._found: list[tuple[int, str]] = []
        self._bad: set[Way] = set()
        #: Of these there is no value, and enough was said.
        self._refused = document.refused
        self._bad |= self._refused
        for line, what in document.problems:
            self._found.append((line or 1, what))

    def add(self, way: Way, what: str) -> None:
        """Note a problem of the value at ``way``, in a sentence."""
        self._bad.add(way)
        if not any(way[:length] in self._refused for length in range(len(way) + 1)):
            self._found.append((self._line(way), what))

    def wrong(self, way: Way, value: object, wanted: str, known: Sequence[str] = ()) -> None:
        """Note that a value is not what is wanted; with the nearest of the words that are known."""
        hint = near(value, known) if isinstance(value, str) and known else ""
        self.add(way, f"{way_text(way)} is {shown(value)}; {in_yaml(wanted)} is wanted.{hint}")

    def unknown(self, way: Way, known: list[str], hint: str = "") -> None:
        """Note a key that is not known where it stands."""
        place = f"in {way_text(way[:-1])}" if way[:-1] else "at the top"
        nearest = hint or did_you_mean(str(way[-1]), known)
        self.add(way, f"unknown key {str(way[-1])!r} {place}.{nearest}")

    def take(self, way: Way, error: Exception) -> None:
        """Note what a check of another package says of the value at ``way``, or of a part of it."""
        wrong = error.wrong if isinstance(error, ConfigError) else None
        if wrong is not None:
            name, value, wanted = wrong
            self.wrong(self._way(in_file(name)) or way, value, wanted)
        else:
            text = in_file(in_yaml(str(error)))
            text = text.replace("Unknown key", "unknown key", 1)
            name = text.split(maxsplit=1)[0].rstrip(":")
            self.add((self._way(name) if "." in name else None) or self._named(way, text), text)

    def good(self, *way: str | int) -> bool:
        """Whether nothing is wrong at ``way``, above it or below it."""
        return not any(bad[: len(way)] == way[: len(bad)] for bad in self._bad)

    @property
    def texts(self) -> list[str]:
        """One text for each problem, in the order of lines."""
        found = sorted(dict.fromkeys(self._found), key=lambda each: each[0])
        return [f"{self._name}:{line}: {what}" for line, what in found]

    def _line(self, way: Way) -> int:
        while way and way not in self._lines:
            way = way[:-1]
        return self._lines.get(way, 1)

    def _way(self, name: str) -> Way | None:
        """The way that a name such as ``objective.args[0]`` stands for, where the file has it."""
        way: Way = ()
        for place, quoted, plain in _STEP.findall(name):
            step = int(place) if place else quoted[1:-1] if quoted else plain
            if (*way, step) not in self._lines:
                break
            way = (*way, step)
        return way or None

    def _named(self, way: Way, text: str) -> Way:
        """The key below ``way`` that a sentence speaks of first; ``way`` itself where it names none."""
        below = [each for each in self._lines if each[: len(way)] == way and len(each) == len(way) + 1]
        places = {each: re.search(rf"(?<!\w){re.escape(str(each[-1]))}(?!\w)", text) for each in below}
        named = [(found.start(), each) for each, found in places.items() if found is not None]
        return min(named, default=(0, way))[1]


def near(word: str, known: Sequence[str]) -> str:
    """``" Did you mean 'x'?"`` where a known word is near, else nothing."""
    hint = did_you_mean(word, known)
    return hint if hint.startswith(" Did") else ""


def way_text(way: Way) -> str:
    """``parameters.x.upper``; ``constraints, entry 2``."""
    text = ""
    for step in way:
        if isinstance(step, int):
            text += f", entry {step + 1}"
        else:
            text += f"{'.' if text else ''}{step}"
    return text or "the file"


def shown(value: object) -> str:
    """A value as a file has it."""
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping" + (f" with the key {str(next(iter(value)))!r}" if value else " without keys")
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 80 else f"{text[:77]}..."


def in_yaml(text: str) -> str:
    """A sentence with YAML's words in the place of Python's."""
    for pattern, word in _WORDS:
        text = pattern.sub(word, text)
    return text


def in_file(text: str) -> str:
    """A sentence with the file's names of things."""
    for pattern, name in _NAMES:
        text = pattern.sub(name, text)
    return text


def values_of(data: Any, *way: str | int) -> Any:
    """What stands at a way; None where nothing does."""
    for step in way:
        if isinstance(step, str) and isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(step, int) and isinstance(data, list) and step < len(data):
            data = data[step]
        else:
            return None
    return data
