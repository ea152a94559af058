"""The blocks of code of the documentation, and what the comments above them say of how they are tested.

``python -m tests.docs.blocks`` lists all of them. Above a block may stand, each in a line of its own:

``<!-- not run: REASON -->``
    Nothing runs it. The reason begins with one of :data:`REASONS`.
``<!-- run by: tests/examples/test_examples.py::test_an_example_runs_here -->``
    That test runs it, or the same.
``<!-- all run by: tests/docs/test_howto.py -->``
    Once on a page: that test sees to all blocks that have no comment of their own.
``<!-- file: NAME -->``
    It is written as a file of that name, for the blocks after it.
``<!-- with: NAME -->``
    Here begins another session, in a new directory, with what :mod:`tests.docs.beginnings` has under that
    name.
``<!-- on: slurm -->``
    Its session runs on the test Slurm.
``<!-- budget: 4 -->``
    It is run with so many trials, whatever it says.
``<!-- exit: 2 -->``
    The command ends with that exit code.
``<!-- output: numbers differ -->``
    It is the output of the block before, but for its numbers.

Without a comment blocks of Python and of a shell are run, in their order and in one directory; JSON is
parsed; YAML is written as ``axsched.yaml`` and read as a project file; any other text is what the block
before prints. In it ``...`` stands for anything. Lines that begin with ``$`` are commands, with their output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]

#: What a reason for not running a block may begin with, and when it is one.
REASONS = {
    "installs": "it changes the machine, or fetches from the network",
    "develops": "the project's own targets, which CI runs by themselves, or the crash campaign",
    "needs": "hardware, a program or a site that CI has not: name it",
    "another package": "code in another package's interface, where that is not installed",
    "a part": "it cannot run alone: a fragment, or the lines of a file",
    "a picture": "a diagram, a formula, a layout of files",
    "of a run": "output or measurements of a run that is too long to repeat, or of another machine",
    "of the shell": "what only an interactive shell does",
}

#: Directives of MyST that hold no code; what is nested in them is looked through.
_PLAIN = {"toctree", "include", "eval-rst", "figure", "image"}

_COMMENT = re.compile(r"<!--\s*(not run|run by|file|with|on|exit|output|budget):\s*(.*?)\s*-->", re.DOTALL)
#: No test runs them because a page shows them.
_UNWISE = {"apt-get", "kill", "pip", "pipx", "pkill", "rm", "scancel", "sudo"}
#: Where a block says how many trials are run.
_TRIALS = re.compile(r"(\bmax_trials=|\btrials(?:: | = ))\d+")
#: Above the first block of a page, for all of them.
_ALL = re.compile(r"^<!-- all run by: (\S+) -->$", re.MULTILINE)
_SHELLS = {"sh", "bash", "shell", "console"}
#: An indented block that begins with one of them is a shell's.
_PROGRAMS = {
    *("axsched", "python", "python3", "pip", "pipx", "make", "cd", "cat", "ls", "jq", "watch", "eval", "git"),
    *("export", "sbatch", "squeue", "scancel", "salloc", "srun", "module", "source", "apt-get", "nohup"),
}


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes
    ----------
    page, line
        Where it stands: the page's path from the root, the number of its first line of code.
    language
        As the page says it; empty for an indented block.
    notes
        What the comments above it say: word -> text.
    included
        The file that it shows, from the root, where it is none of the page's own.
    """

    page: str
    line: int
    language: str
    text: str
    notes: dict[str, str] = field(default_factory=dict)
    included: str | None = None

    @property
    def unwise(self) -> str | None:
        """A program in a block that is to be run, which would change the machine or end jobs of others."""
        words = re.findall(r"(?:^|[|;&]\s*|\$\s)([\w.-]+)", self.text, re.MULTILINE)
        return next((word for word in words if word in _UNWISE), None) if self.kind == "shell" else None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    def within_its_budget(self) -> Block:
        """The block with fewer trials, where a comment says so."""
        budget = self.notes.get("budget")
        if budget is None:
            return self
        return replace(self, text=_TRIALS.sub(rf"\g<1>{budget}", self.text))

    @property
    def kind(self) -> str:
        """Who sees to it: a reason, another test, a file, python, shell, json, yaml, output."""
        for note in ("not run", "run by", "file"):
            if note in self.notes:
                return note
        if "output" in self.notes:
            return "output"
        if self.included is None:
            if self.language in ("python", "pycon", "json", "yaml"):
                return self.language
            if (
                self.language in _SHELLS
                or self.text.startswith("$ ")
                or (not self.language and self._command)
            ):
                return "shell"
            if self.language in ("text", ""):
                return "output"
        return "unknown"

    @property
    def _command(self) -> bool:
        """Whether the first word is a program."""
        first = self.text.split(maxsplit=1)[0]
        return Path(first).name in _PROGRAMS or (ROOT / first).is_file()


def pages() -> list[str]:
    """All pages, by their paths from the root."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [str(page.relative_to(ROOT)) for page in found if "_build" not in page.parts]


def tokens(text: str) -> list[Token]:
    """The parts of a page."""
    return MarkdownIt().enable("table").parse(text)


def blocks(page: str, text: str | None = None) -> list[Block]:
    """The blocks of a page, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8") if text is None else text
    found = list(_blocks(page, text, 0))
    test = _ALL.search(text)
    if test is None:
        return found
    return [block if block.notes else replace(block, notes={"run by": test[1]}) for block in found]


def _blocks(page: str, text: str, before: int) -> Iterator[Block]:
    notes: dict[str, str] = {}
    for token in tokens(text):
        if token.type == "html_block":
            notes |= dict(_COMMENT.findall(token.content))
        elif token.type not in ("fence", "code_block"):
            # The comments are of the block that follows them at once, which may be in a list.
            if token.type in ("heading_open", "paragraph_open"):
                notes = {}
        else:
            assert token.map is not None
            line = before + token.map[0] + (2 if token.type == "fence" else 1)
            yield from _fence(page, line, token.info.strip(), token.content, notes)
            notes = {}


def _fence(page: str, line: int, info: str, text: str, notes: dict[str, str]) -> Iterator[Block]:
    found = re.fullmatch(r"\{([\w-]+)\}\s*(.*)", info)
    if found is None:
        words = info.split()
        if "slurm" in words[1:]:
            notes = {**notes, "on": "slurm"}
        yield Block(page, line, words[0] if words else "", text, notes)
        return
    name, argument = found.groups()
    head = re.match(r"(:[\w-]+:.*\n)*", text)
    body = text[head.end() :] if head else text
    if name == "literalinclude":
        path = (ROOT / page).parent.joinpath(argument).resolve().relative_to(ROOT)
        yield Block(page, line, "", "", notes, str(path))
    elif name in ("code-block", "code"):
        caption = re.search(r"^:caption: (\S+\.\w+)$", text, re.MULTILINE)
        if caption:
            notes = {"file": caption[1], **notes}
        body = body.lstrip("\n")
        skipped = text[: len(text) - len(body)].count("\n")
        yield Block(page, line + skipped, argument, body, notes)
    elif name not in _PLAIN:
        yield from _blocks(page, text, line - 1)


def sessions(found: Sequence[Block]) -> list[list[Block]]:
    """The blocks that are run together."""
    made: list[list[Block]] = [[]]
    for block in found:
        if "with" in block.notes and made[-1]:
            made.append([])
        made[-1].append(block)
    return [session for session in made if session]


def on_slurm(session: Sequence[Block]) -> bool:
    """Whether a session needs Slurm."""
    return any("on" in block.notes for block in session)


if __name__ == "__main__":
    for each in pages():
        for one in blocks(each):
            said = one.notes.get(one.kind, "")
            print(f"{one.place:36} {one.language or '-':10} {one.kind:8} {said}")  # noqa: T201
