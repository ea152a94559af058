"""The arguments that commands share, and what a shell offers for them: trials, states and columns of the
experiment that the command would read.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from axsched_hpc.core.errors import AxSchedError, did_you_mean
from axsched_hpc.core.states import WORDS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from axsched_hpc.reporting.reading import Reading


class TrialNumber(click.ParamType):  # type: ignore[type-arg]  # generic only in new versions of click
    """The number of a trial."""

    name = "trial"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """A number from 0 on."""
        text = str(value)
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            self.fail(f"{text!r} is no trial's number, such as 0 or 12.", param, ctx)
        return int(text)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The trials, with their states."""
        from click.shell_completion import CompletionItem

        with contextlib.suppress(AxSchedError, OSError):
            return [
                CompletionItem(str(trial.number), help=trial.word)
                for trial in _reading(ctx).ledger.trials.values()
                if str(trial.number).startswith(incomplete)
            ]
        return []


class TrialsAndDirectory(TrialNumber):
    """The numbers of trials, and after them perhaps a directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A number, or anything else as it is."""
        text = str(value)
        return super().convert(text, param, ctx) if text.isascii() and text.isdecimal() else text

    @staticmethod
    def apart(words: Sequence[int | str]) -> tuple[list[int], str | None]:
        """The numbers, each once, and the directory."""
        numbers = [word for word in words if isinstance(word, int)]
        directory = words[-1] if isinstance(words[-1], str) else None
        if len(numbers) + (directory is not None) < len(words):
            wrong = next(word for word in words if isinstance(word, str))
            raise click.BadParameter(f"{wrong!r} is no trial's number, such as 0 or 12.")
        if not numbers:
            raise click.UsageError(f"Which trial? There is no number before {directory!r}.")
        return list(dict.fromkeys(numbers)), directory


class PointsAndDirectory(click.ParamType):  # type: ignore[type-arg]
    """``NAME=VALUE`` words, and after them perhaps a directory."""

    name = "point"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """(name, value), or a word without ``=`` as it is."""
        name, equals, text = str(value).partition("=")
        return (name, text) if equals else name

    @staticmethod
    def apart(words: Sequence[tuple[str, str] | str]) -> tuple[list[tuple[str, str]], str | None]:
        """The pairs, and the directory."""
        pairs = [word for word in words if not isinstance(word, str)]
        directory = words[-1] if words and isinstance(words[-1], str) else None
        if len(pairs) + (directory is not None) < len(words):
            wrong = next(word for word in words if isinstance(word, str))
            raise click.BadParameter(f"{wrong!r} is neither NAME=VALUE nor, as the last word, a directory.")
        names = [name for name, _ in pairs]
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise click.BadParameter(f"{twice[0]!r} is given twice; points of a file are added by --from.")
        return pairs, directory

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names of the parameters."""
        from click.shell_completion import CompletionItem

        from axsched_hpc.reporting.reading import experiment_at, parameter_names

        with contextlib.suppress(AxSchedError, OSError):
            known = parameter_names(experiment_at(None)) or ()
            return [CompletionItem(f"{name}=") for name in known if name.startswith(incomplete)]
        return []


class Words(click.ParamType):  # type: ignore[type-arg]
    """Words with commas between them."""

    name = "words"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The words."""
        if isinstance(value, tuple):
            return value
        words = tuple(word.strip() for word in str(value).split(","))
        if not all(words):
            self.fail(f"{value!r} is no list of names with commas between them.", param, ctx)
        return words

    def known(self, ctx: click.Context) -> Iterable[str]:
        """The words that there are: the columns of the experiment."""
        from axsched_hpc.reporting.trials import columns

        return columns(_reading(ctx), now=time.time())

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The words for the place after the last comma."""
        from click.shell_completion import CompletionItem

        before, comma, last = incomplete.rpartition(",")
        with contextlib.suppress(AxSchedError, OSError):
            return [
                CompletionItem(f"{before}{comma}{word}")
                for word in self.known(ctx)
                if word.startswith(last) and word not in before.split(",") and word.isprintable()
            ]
        return []


class States(Words):
    """States of trials with commas between them."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The states."""
        words = super().convert(value, param, ctx)
        for word in words:
            if word not in WORDS:
                self.fail(f"{word!r} is no state.{did_you_mean(word, WORDS)}", param, ctx)
        return words

    def known(self, ctx: click.Context) -> Iterable[str]:
        """The states."""
        return WORDS


def _reading(ctx: click.Context) -> Reading:
    from axsched_hpc.reporting.reading import read_experiment

    # Click gives up a line whose last option has no value yet, and leaves its arguments where they are.
    words = [word for word in ctx.params.get("words") or () if isinstance(word, str)]
    return read_experiment(ctx.params.get("directory") or next(iter((*words, *ctx.args)), None))


DIRECTORY = click.argument("directory", metavar="[DIR]", required=False, type=click.Path())
TRIAL = click.argument("trial", metavar="TRIAL", type=TrialNumber())
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def examples(*commands: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)
