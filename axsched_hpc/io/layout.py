"""Where everything of one experiment lies, and what its files are called."""

from __future__ import annotations

from pathlib import Path

from axsched_hpc.core.record import Record

#: Version of the formats of all files in an experiment directory. Since 2 documents have checksums; since 3
#: jobs ask for more after a failure, go on from checkpoints, and share a job; since 4 there are curves, and
#: trials that are stopped early.
FORMAT = 4


class Layout(Record):
    """The experiment directory. Its paths are absolute, since jobs start elsewhere."""

    root: Path

    @classmethod
    def at(cls, directory: str | Path) -> Layout:
        """The layout of a directory, which need not exist yet."""
        return cls(Path(directory).expanduser().absolute())

    @property
    def snapshot(self) -> Path:
        """The experiment in Ax's own JSON: a cache of the journal."""
        return self.root / "experiment.json"

    @property
    def definition(self) -> Path:
        """The experiment as it was before the first trial, in Ax's own JSON; written once."""
        return self.root / "definition.json"

    @property
    def journal(self) -> Path:
        """The directory of the journal's segments."""
        return self.root / "journal"

    @property
    def lock(self) -> Path:
        """The file whose lock the driver holds."""
        return self.root / "driver.lock"

    @property
    def objective(self) -> Path:
        """What the trials run: one directory per version of the objective."""
        return self.root / "objective"

    @property
    def inbox(self) -> Path:
        """One small file per finished attempt, and per request to the driver, until it has read it."""
        return self.root / "inbox"

    @property
    def refused(self) -> Path:
        """Files from the inbox that look like requests, and cannot be read."""
        return self.root / "refused"

    @property
    def trials(self) -> Path:
        """One directory per trial."""
        return self.root / "trials"

    @property
    def submitit(self) -> Path:
        """submitit's own files, and the manifests of the batches."""
        return self.root / "submitit"

    @property
    def queue(self) -> Path:
        """What the driver saw of the queue when it looked last; no more than news."""
        return self.root / "queue.json"

    @property
    def images(self) -> Path:
        """What is made of container images that have to be fetched or converted."""
        return self.root / "images"

    def trial(self, trial: int) -> Path:
        """The directory of a trial."""
        return self.root / f"trials/{trial:05d}"

    def parameters(self, trial: int) -> Path:
        """A trial's parameters, as JSON."""
        return self.root / f"trials/{trial:05d}/parameters.json"

    def checkpoint(self, trial: int) -> Path:
        """Where an objective keeps what its later attempts go on from."""
        return self.root / f"trials/{trial:05d}/checkpoint"

    def attempt(self, trial: int, attempt: int) -> AttemptFiles:
        """The files of one attempt."""
        return AttemptFiles(self.root / f"trials/{trial:05d}/attempt-{attempt}")

    def notice(self, trial: int, attempt: int) -> Path:
        """The file by which a worker announces that an attempt has ended."""
        return self.inbox / f"{trial:05d}-{attempt}.json"

    def manifest(self, token: str) -> Path:
        """What a batch's jobs need to know; its name is known before the job id is."""
        return self.submitit / f"{token}.json"

    def batch(self, token: str) -> Path:
        """Where the runner keeps its own files of a batch: job scripts and their logs."""
        return self.submitit / token


def parse_notice_name(name: str) -> tuple[int, int] | None:
    """(trial, attempt) of a notice's file name, or None for any other file."""
    stem, dot, suffix = name.partition(".")
    trial, dash, attempt = stem.partition("-")
    if not dot or suffix != "json" or not dash or not all(map(_is_number, (trial, attempt))):
        return None
    return int(trial), int(attempt)


def named_attempt(path: Path) -> tuple[int, int] | None:
    """(trial, attempt) to which a notice or result belongs by its path, or None for any other file."""
    if path.name != "result.json":
        return parse_notice_name(path.name)
    trial, attempt = path.parent.parent.name, path.parent.name.removeprefix("attempt-")
    if not _is_number(trial) or not _is_number(attempt):
        return None
    return int(trial), int(attempt)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


class AttemptFiles(Record):
    """The directory of one attempt, and what lies in it."""

    root: Path

    @property
    def experiment(self) -> Layout:
        """The experiment of the attempt."""
        return Layout(self.root.parents[2])

    @property
    def claim(self) -> Path:
        """Made with O_EXCL by the one process that may run the attempt (or by the driver, to close it for
        ever).
        """
        return self.root / "claim.json"

    @property
    def metrics(self) -> Path:
        """What the objective reported."""
        return self.root / "metrics.json"

    @property
    def progress(self) -> Path:
        """What the objective reports on its way."""
        return self.root / "progress.jsonl"

    @property
    def result(self) -> Path:
        """The attempt's outcome, published whole by the worker; the notice has the same content."""
        return self.root / "result.json"

    @property
    def stdout(self) -> Path:
        """The objective's standard output."""
        return self.root / "stdout.log"

    @property
    def stderr(self) -> Path:
        """The objective's standard error."""
        return self.root / "stderr.log"

    @property
    def work(self) -> Path:
        """The objective's working directory."""
        return self.root / "work"
