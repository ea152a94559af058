"""What the checkers of the campaign find."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is wrong."""

    LOST = "lost"  #: something was computed or asked for, and the experiment does not have it
    DOUBLED = "doubled"  #: something was done a second time without need
    INCONSISTENT = "inconsistent"  #: two of the records disagree, or the run did not end as it had to
    ORPHAN = "orphan"  #: a process, a job, a notice or a request is left over


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong, in words that name trial and attempt."""

    kind: Kind
    words: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.words}"
