"""``axsched logs``: what a trial's objective has written, also while it runs."""

from __future__ import annotations

import codecs
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from axsched_hpc.commands.arguments import DIRECTORY, JSON, TRIAL, examples
from axsched_hpc.commands.output import show as echo
from axsched_hpc.core.errors import ConfigError, StorageError
from axsched_hpc.core.machine import Attempt, Trial
from axsched_hpc.core.states import TrialState
from axsched_hpc.io import atomic
from axsched_hpc.io.growing import Growing
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.reporting.plain import line, log_text
from axsched_hpc.reporting.reading import Reading, driven, read_experiment, trial_of
from axsched_hpc.reporting.records import attempt_state

#: Seconds between two looks at the logs: right after something was written, and at the most.
_QUICK, _SLOW = 0.1, 1.0

#: Seconds between two looks at the journal; where an attempt's result is there, until it is recorded.
_JOURNAL, _SETTLING = 2.0, 0.3

#: Reading a long journal takes time: at the most this part of it is spent so.
_SHARE = 20

_LOGS = ("stdout.log", "stderr.log")


@click.command(
    epilog=examples(
        "axsched logs 7 -f", "axsched logs 7 --stderr --lines 50", "axsched logs 7 --attempt 1 > log"
    ),
)
@TRIAL
@DIRECTORY
@click.option("-f", "--follow", is_flag=True, help="Go on until the trial has ended.")
@click.option("--attempt", metavar="N", type=click.IntRange(min=1), help="The attempt; default: the latest.")
@click.option("--stdout", "stream", flag_value="stdout.log", help="Only the standard output.")
@click.option("--stderr", "stream", flag_value="stderr.log", help="Only the standard error.")
@click.option("--lines", metavar="N", type=click.IntRange(min=0), help="Begin with the last N lines.")
@JSON
def logs(
    trial: int,
    directory: str | None,
    follow: bool,
    attempt: int | None,
    stream: str | None,
    lines: int | None,
    as_json: bool,
) -> None:
    """Print what TRIAL of the experiment in DIR (default: outputs) has written.

    With -f what it writes is printed as it comes, of later attempts as well, until the trial has ended. What
    happens meanwhile is told on standard error. With --json each piece is a line with an object. The exit
    code is 1 where there are no logs.
    """
    names = _LOGS if stream is None else (stream,)
    try:
        reading = read_experiment(directory)
        found, latest = _find(reading, trial, attempt)
        if follow and not _over(found, latest, attempt):
            _follow(reading, trial, attempt, names, lines, as_json=as_json)
            return
        files = None if latest is None else reading.layout.attempt(trial, latest.number)
        number = 0 if latest is None else latest.number
        if files is None or not Printer(files, names, lines, number, as_json=as_json).look():
            _nothing(reading, found, latest, names)
    except KeyboardInterrupt:
        sys.exit(130)


def _find(reading: Reading, number: int, wanted: int | None) -> tuple[Trial, Attempt | None]:
    """The trial, and the attempt that was asked for or the latest one."""
    trial = trial_of(reading, number)
    if wanted is None:
        return trial, trial.attempt
    for attempt in trial.attempts:
        if attempt.number == wanted:
            return trial, attempt
    count = len(trial.attempts)
    there = f"Its attempts are 1 to {count}" if count > 1 else "It has 1" if count else "It has none yet"
    raise ConfigError(f"Trial {number} has no attempt {wanted}. {there}.")


def _over(trial: Trial, attempt: Attempt | None, wanted: int | None) -> bool:
    """Whether nothing is to come any more: of the trial, or of the attempt that was asked for."""
    if trial.state.final:
        return True
    return wanted is not None and attempt is not None and _ended(trial, attempt)


def _ended(trial: Trial, attempt: Attempt) -> bool:
    return attempt.ended is not None or attempt is not trial.attempt or trial.state.final


def _nothing(reading: Reading, trial: Trial, attempt: Attempt | None, names: tuple[str, ...]) -> None:
    """Say why nothing was printed, and end with 1 where there is no log at all."""
    from axsched_hpc.reporting.evidence import look
    from axsched_hpc.reporting.show import no_logs

    evidence = None if attempt is None else look(reading.layout.attempt(trial.number, attempt.number))
    echo(f"axsched: {no_logs(reading, trial, attempt, evidence)}", err=True)
    if evidence is None or not any(name in evidence.names for name in names):
        sys.exit(1)


def _follow(
    reading: Reading,
    number: int,
    wanted: int | None,
    names: tuple[str, ...],
    lines: int | None,
    *,
    as_json: bool,
) -> None:
    """Print what comes, attempt after attempt, until the trial is over or the attempt asked for."""
    printer: Printer | None = None
    told: list[str] = []
    took = 0.0
    while True:
        trial, attempt = _find(reading, number, wanted)
        notes = [_note(reading, trial, attempt)]
        if attempt is not None and (printer is None or printer.attempt != attempt.number):
            files = reading.layout.attempt(number, attempt.number)
            if printer is not None:
                printer.look()
                notes.insert(0, _end(trial, trial.attempts[-2]))
            # Of a later attempt's log all is new.
            first = lines if printer is None else None
            printer = Printer(files, names, first, attempt.number, printer, as_json=as_json)
        for note in notes:
            if note and note not in told:
                echo(f"axsched: {note}", err=True)
        told = notes
        if _over(trial, attempt, wanted):
            if attempt is None or printer is None or not (printer.look() or printer.printed):
                _nothing(reading, trial, attempt, names)
            return
        pause = max(_JOURNAL, _SHARE * took)
        if printer is None:
            time.sleep(pause)
        elif printer.follow(pause):
            # Its result is there; what becomes of the trial is the driver's to say.
            if attempt is not None and not driven(reading, now=time.time()):
                echo(
                    f"axsched: Attempt {attempt.number} of trial {number} has ended, and no driver is at "
                    "work to record it. Start the run again.",
                    err=True,
                )
                return
            time.sleep(max(_SETTLING, _SHARE * took))
        began = time.monotonic()
        reading = read_experiment(reading.layout.root)
        took = time.monotonic() - began


def _note(reading: Reading, trial: Trial, attempt: Attempt | None) -> str:
    """What is to be known of a trial beside what it writes; empty where nothing is."""
    from axsched_hpc.reporting.evidence import look
    from axsched_hpc.reporting.show import last_words, no_logs

    if trial.state.final:
        return last_words(trial)
    idle = "" if driven(reading, now=time.time()) else " No driver is at work: start the run again."
    if attempt is None:
        return no_logs(reading, trial, None, None) + idle
    if _ended(trial, attempt):
        return _end(trial, attempt) + idle
    if trial.state is not TrialState.RUNNING:
        return (
            no_logs(reading, trial, attempt, look(reading.layout.attempt(trial.number, attempt.number)))
            + idle
        )
    return idle and "No driver is at work: the end is seen where the attempt leaves a result."


def _end(trial: Trial, attempt: Attempt) -> str:
    why = "." if attempt.failure is None else f": {line(attempt.failure.text)}"
    return f"Attempt {attempt.number} of trial {trial.number} has ended, {attempt_state(trial, attempt)}{why}"


class Printer:
    """Prints the logs of an attempt as they grow; with headings where there are two of them."""

    def __init__(
        self,
        files: AttemptFiles,
        names: tuple[str, ...],
        lines: int | None = None,
        attempt: int = 0,
        before: Printer | None = None,
        *,
        as_json: bool = False,
    ) -> None:
        self._as_json = as_json
        self.attempt = attempt
        self.printed = False
        self._files = files
        self._logs = {name: Growing(files.root / name, lines) for name in names}
        # Half a letter at the end of a piece waits for its other half.
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in names}
        self._shown = ""
        self._whole: bool = before is None or before._whole

    def look(self) -> bool:
        """Print what is new; whether there was anything."""
        anything = False
        for name, log in self._logs.items():
            for data in _reading_of(log, self._files.root / name):
                anything = self.printed = True
                self._print(name, data)
        return anything

    def follow(self, seconds: float) -> bool:
        """Print what comes for so long, or until the attempt has published its result: whether it has."""
        until, pause = time.monotonic() + seconds, _QUICK
        while True:
            # Listing comes first: what was written before the result is read after it was seen.
            ended = self._files.result.name in atomic.listing(self._files.root)
            pause = _QUICK if self.look() else min(2 * pause, _SLOW)
            left = until - time.monotonic()
            if ended or left <= 0:
                return ended
            time.sleep(min(pause, left))

    def _print(self, name: str, data: bytes) -> None:
        if self._as_json:
            text = self._decoders[name].decode(data)
            stream = name.removesuffix(".log")
            sys.stdout.write(json.dumps({"attempt": self.attempt, "stream": stream, "text": text}) + "\n")
            sys.stdout.flush()
            return
        if len(self._logs) > 1 and name != self._shown:
            gap = "" if self._whole else "\n"
            click.echo(f"{gap}{chr(10) if self._shown else ''}==> {name} <==")
            self._shown = name
        self._whole = data.endswith(b"\n")
        if sys.stdout.isatty():
            click.echo(log_text(self._decoders[name].decode(data)), nl=False)
            return
        # A file or another program gets what was written, byte by byte.
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _reading_of(log: Growing, path: Path) -> Iterator[bytes]:
    try:
        yield from log.read()
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror or error}).") from error
