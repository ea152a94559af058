"""What is said to people who write scripts, said to those who write files: while a file runs.

Everything below this layer speaks of the library's own names. One place turns them into the file's keys, for
whatever passes: errors, and the lines of the logger. What is wrong with the file itself is told before, by
:mod:`axsched_hpc.project.findings`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from axsched_hpc.core.errors import AxSchedError, ExperimentMismatchError
from axsched_hpc.project.options import ELSEWHERE
from axsched_hpc.runners import slurm_checks

#: What was passed in, as it is called beside what is on record.
_HERE = re.compile(r" here\b")
_AGAIN = r"start the (?:same )?script again"

#: An option of the scheduler or of a Slurm runner, and the value that is set or named after it.
_OPTION = re.compile(r"config\[(['\"])(\w+)\1\](?: = (True|False)\b)?")
_WORDS = (
    (r"SlurmRunner(?:: |\()config=\{'(\w+)': [^()]*?\}\)?", r"runner.config.\1"),
    (r"\bset config=\{'(\w+)': \{'(\w+)': \.\.\.\}\}", r"set runner.config.\1.\2"),
    (r"\bSlurmRunner\((\w+)=\.\.\.\)", r"runner.\1"),
    (r"\bset account=\.\.\.", "set runner.account"),
    (r"\bLocalRunner\(\)", "`runner: local`"),
    (r"\bmode='steps'", "runner.mode: steps"),
    (r"\bsalloc (.*?) python SCRIPT`", r"salloc \1 axsched run`"),
    (r"\b(?:script|container)_options\['(\w+)'\]", r"objective.\1"),
    (r"\bscript_path\b", "objective.script"),
    (r"\bcontainer_image\b", "objective.container"),
    (r"\bscheduler\.set_baseline\(\{\.\.\.\}\), and its metrics where they are known", "the key baseline"),
    (r"scheduler\.attach\((.*?)\) brings", r"`axsched import \1` brings"),
    (r"(?:, or|,) open the directory with AxScheduler\.resume\(\.\.\.\)", ""),
    (r"\banother AxScheduler in this very process", "this very process"),
    (r"another experiment than the one passed in", "another experiment than this file"),
    (r"in the (?:object|experiment) passed in", "in the file"),
    (r"Pass in the same definition", "Take the change back"),
    (r"\b(?:use|choose) another job_output_dir(?: for the new one)?", "name another directory in the file"),
    (r"\b(?:Use|Choose) another job_output_dir", "Name another directory in the file"),
    (r"\bChoose a job_output_dir", "Name a directory in the file"),
    (r"the path of job_output_dir", "the key directory"),
    (r"\bthe script was started again", "it was started again"),
    (r"\bthis script is in none", "this is in none"),
)


class Words:
    """Turns sentences into those of a file that is run.

    Parameters
    ----------
    again
        The command that goes on: ``axsched run``.
    """

    def __init__(self, again: str) -> None:
        pairs = (*_WORDS, (_AGAIN, f"start `{again}` again"), (_AGAIN.capitalize(), f"Start `{again}` again"))
        self._pairs = [(re.compile(pattern), word) for pattern, word in pairs]

    def __call__(self, text: str) -> str:
        """The sentence in the file's words."""
        text = _OPTION.sub(_key, text)
        for pattern, word in self._pairs:
            text = pattern.sub(word, text)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Say a line of the logger so."""
        record.msg, record.args = self(record.getMessage()), None
        return True

    @contextmanager
    def spoken(self, log: logging.Logger) -> Iterator[None]:
        """All errors and all lines of a logger in these words."""
        log.addFilter(self)
        try:
            yield
        except AxSchedError as error:
            text = self(str(error))
            if isinstance(error, ExperimentMismatchError):
                text = _HERE.sub(" in the file", text)
            error.args = (text,)
            raise
        finally:
            log.removeFilter(self)


def _key(found: re.Match[str]) -> str:
    """The file's key for an option."""
    name, value = found[2], found[3]
    section = "runner.config" if name in slurm_checks.CHECKS else "config"
    key = ELSEWHERE.get(name, f"{section}.{name}")
    return key if value is None else f"{key}: {value.lower()}"
