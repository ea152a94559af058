"""What the scheduler's limits and its slowness teach: how many jobs to submit at once, when to try again, how
often to ask. Pure.

A site's limit on the number of jobs is not known beforehand, and other jobs of the same user count too. So a
batch that is refused is tried in halves, and a single attempt that is refused is held until there is room.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds before the first repetition of what was refused, and the most between two of them.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0

#: A poll takes at most this share of the time: a controller that answers slowly is asked less often.
POLL_SHARE = 0.05
LONGEST_POLL = 300.0

#: Looks at attempts that report nothing: the most seconds between two at one of them, and how many of all
#: such looks there may be in a second, where that takes longer.
LONGEST_SILENCE, SILENT_LOOKS = 120.0, 1.0


@dataclass(frozen=True)
class Throttle:
    """How large batches may be.

    Attributes
    ----------
    most
        Attempts in one batch; None for as many as there are.
    taken_in_row
        Batches of that size which were taken since it was last changed: two of them, and it is doubled.
    """

    most: int | None = None
    taken_in_row: int = 0

    def refused(self, size: int) -> Throttle:
        """After a batch was refused."""
        return Throttle(max(1, size // 2))

    def taken(self, size: int) -> Throttle:
        """After a batch was taken."""
        if self.most is None or size < self.most:
            return self
        return Throttle(self.most, 1) if self.taken_in_row == 0 else Throttle(2 * self.most)

    def allowed(self, wanted: int) -> int:
        """How many of ``wanted`` attempts to submit as the next batch."""
        return wanted if self.most is None else min(wanted, self.most)


def longer(pause: float) -> float:
    """The pause after one that was not long enough."""
    return min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * pause))


def jittered(pause: float, chance: float) -> float:
    """A pause that differs between drivers that were refused at the same time; ``chance`` is from 0 to 1."""
    return pause * (0.75 + 0.5 * chance)


def poll_pause(interval: float, answer: float, failures: int) -> float:
    """Seconds from one query to the next.

    Parameters
    ----------
    interval
        What the user has set.
    answer
        Seconds that the last query took.
    failures
        Queries in a row that were not answered.
    """
    if failures:
        # How long an answer that never came was waited for says nothing.
        return min(interval * 2.0 ** min(failures, 10), max(interval, LONGEST_PAUSE))
    return min(max(interval, answer / POLL_SHARE), max(interval, LONGEST_POLL))


def silence(since: float, running: int) -> float:
    """Seconds for which an attempt that has reported nothing new for so long is not looked at: as long again.

    So a report is at most as late as it took to come, and an experiment of which nothing is heard costs its
    filesystem the same, whatever the number of attempts that run.

    Parameters
    ----------
    since
        Seconds since it reported something, or was looked at first.
    running
        How many attempts run.
    """
    return min(since, max(LONGEST_SILENCE, running / SILENT_LOOKS))
