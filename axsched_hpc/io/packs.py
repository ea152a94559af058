"""How the driver and the supervisor of a job that several attempts share speak of each of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from axsched_hpc.io import document


@dataclass(frozen=True)
class PackFiles:
    """Files about single attempts of a batch's jobs, in the directory of the batch."""

    root: Path

    @property
    def requests(self) -> Path:
        """The driver's requests to end attempts: empty files, called like the attempts' jobs."""
        return self.root / "cancelled"

    @property
    def reports(self) -> Path:
        """One file per job, in which its supervisor keeps how attempts have ended that did not end well."""
        return self.root / "packs"

    def report(self, job: str) -> Path:
        """The report on a job's attempts."""
        return self.reports / f"{job}.json"


@dataclass
class Report:
    """How a pack's attempts have ended, by their places.

    Attributes
    ----------
    places
        Attempts in the job.
    ended
        Exit codes other than 0 of workers, or minus the signal.
    cancelled
        Places of attempts that were ended on request, or were not begun.
    """

    places: int
    ended: dict[int, int] = field(default_factory=dict)
    cancelled: list[int] = field(default_factory=list)

    def encode(self) -> str:
        """The text of the report's file."""
        fields = asdict(self)
        fields["ended"] = {str(place): code for place, code in self.ended.items()}
        return document.encode(fields)

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read a report.

        Raises
        ------
        OSError, ValueError
            It cannot be read; the message names the file.
        """
        source, fields = str(path), document.read(path)
        ended = document.field(fields, "ended", dict, source=source)
        cancelled = document.field(fields, "cancelled", list, source=source)
        if not all(k.isdecimal() and type(v) is int for k, v in ended.items()) or not all(
            type(place) is int for place in cancelled
        ):
            raise ValueError(f"{source}: 'ended' or 'cancelled' holds something else than whole numbers.")
        return cls(
            document.whole(fields, "places", source=source), {int(k): v for k, v in ended.items()}, cancelled
        )


def attempt_job(job: str, place: int) -> str:
    """The job id of one attempt: that of the job it shares, and its place there."""
    return f"{job}#{place}"
