"""Every error that a user can meet.

All derive from :class:`AxSchedError`, so that one ``except`` catches what this package raises and nothing
else::

    AxSchedError
    ├── ConfigError              an option is unknown, of the wrong type or out of range (also a ValueError)
    ├── ObjectiveError           there is nothing to run, or it cannot be run
    ├── ParameterError           parameters do not fit the search space (also a ValueError)
    ├── MetricsError             an objective's metrics cannot be used (also a ValueError)
    ├── SubmissionError          the scheduler refused jobs; `transient`: trying again can help
    ├── ClusterUnavailableError  the scheduler cannot be reached or is not installed
    ├── ExperimentMismatchError  the directory holds another experiment than the one passed in
    ├── ExperimentLockedError    another driver runs this experiment
    │   └── SupersededError      another driver has taken it over from this one
    ├── JournalError             the experiment's record cannot be read; names file and line
    ├── StorageError             the experiment directory cannot be written or read now
    └── FailureRateError         the objective is plainly broken; carries the last messages

A message says what happened, to which trial and file, and what to do next. ``transient`` is true where trying
the same again can help.
"""

from __future__ import annotations

from collections.abc import Sequence


class AxSchedError(Exception):
    """Base of all errors of this package."""

    transient = False


class ConfigError(AxSchedError, ValueError):
    """An option is unknown, has the wrong type, or is out of range.

    Attributes
    ----------
    wrong
        Where it is the value of one option: the option's name, the value, and what it takes.
    """

    wrong: tuple[str, object, str] | None = None


def wrong_value(name: str, value: object, wanted: str, text: str = "") -> ConfigError:
    """The error of one option's value; ``text`` in the place of the usual sentence."""
    error = ConfigError(text or f"{name} is {value!r:.120} ({type(value).__name__}), but takes {wanted}.")
    error.wrong = name, value, wanted
    return error


class ObjectiveError(AxSchedError):
    """There is no objective, or what it names cannot be run."""


class ParameterError(AxSchedError, ValueError):
    """Parameters do not fit the search space."""


class MetricsError(AxSchedError, ValueError):
    """An objective's metrics are missing, malformed or not finite."""


class SubmissionError(AxSchedError):
    """The scheduler refused a batch of jobs.

    Parameters
    ----------
    message : str
        What was refused and why, in the scheduler's words.
    transient : bool
        Whether the same submission may succeed later (a busy controller, a full queue).
    limit : bool
        A limit on the number of jobs was met: it is known that nothing was submitted, and fewer jobs at once
        may be taken.
    """

    def __init__(self, message: str, *, transient: bool = False, limit: bool = False) -> None:
        super().__init__(message)
        self.transient = transient or limit
        self.limit = limit


class ClusterUnavailableError(AxSchedError):
    """The scheduler is not installed here, or does not answer."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class ExperimentMismatchError(AxSchedError):
    """The experiment directory belongs to another experiment than the one passed in."""


class ExperimentLockedError(AxSchedError):
    """Another driver runs this experiment.

    Attributes
    ----------
    host, pid, since
        Where it runs, its process id there, and since when (seconds since the epoch); ``None`` where unknown.
    """

    def __init__(
        self, message: str, *, host: str | None = None, pid: int | None = None, since: float | None = None
    ) -> None:
        super().__init__(message)
        self.host = host
        self.pid = pid
        self.since = since


class SupersededError(ExperimentLockedError):
    """Another driver has taken the experiment over from this one, which may not write any more."""


class StorageError(AxSchedError):
    """The experiment directory could not be written or read for so long that the call ended.

    What had been recorded is safe, and jobs go on: start again once the filesystem works.
    """

    transient = True


class JournalError(AxSchedError):
    """The journal cannot be read.

    Attributes
    ----------
    file, line
        Where: the segment's path and the line's number, counted from 1.
    """

    def __init__(self, message: str, *, file: str, line: int | None = None) -> None:
        super().__init__(message)
        self.file = file
        self.line = line


class FailureRateError(AxSchedError):
    """So many trials failed that going on would waste the cluster.

    Attributes
    ----------
    messages
        The last failed trials' messages, oldest first.
    """

    def __init__(self, message: str, *, messages: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.messages = tuple(messages)


def plural(count: int, noun: str) -> str:
    """``1 attempt``, ``3 attempts``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """``" Did you mean 'x'?"`` where a known word is near, else the list of known words."""
    # Needed only where something is misspelt; every job would pay for the import.
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f" Did you mean {near[0]!r}?"
    return f" Known: {', '.join(sorted(known))}."
