"""The arguments that commands share, and what a shell offers for them: trials, states and columns of the
experiment that the command would read.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from axsched_hpc.core.errors import AxSchedError, did_you_mean
from axsched_hpc.core.states import TrialState

if TYPE_CHECKING:
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
        with contextlib.suppress(AxSchedError, OSError):
            return [
                CompletionItem(str(trial.number), help=str(trial.state))
                for trial in _reading(ctx).ledger.trials.values()
                if str(trial.number).startswith(incomplete)
            ]
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
    ) -> tuple[TrialState, ...]:
        """The states."""
        found = []
        for word in super().convert(value, param, ctx):
            if word not in list(TrialState):
                known = [str(state) for state in TrialState]
                self.fail(f"{word!r} is no state.{did_you_mean(word, known)}", param, ctx)
            found.append(TrialState(word))
        return tuple(found)

    def known(self, ctx: click.Context) -> Iterable[str]:
        """The states."""
        return list(TrialState)


def _reading(ctx: click.Context) -> Reading:
    from axsched_hpc.reporting.reading import read_experiment

    # Click gives up a line whose last option has no value yet, and leaves its arguments where they are.
    return read_experiment(ctx.params.get("directory") or next(iter(ctx.args), None))


DIRECTORY = click.argument("directory", metavar="[DIR]", required=False, type=click.Path())
TRIAL = click.argument("trial", metavar="TRIAL", type=TrialNumber())
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def examples(*commands: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)
