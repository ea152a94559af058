"""What an experiment directory tells beside its journal: parameters, manifests, claims, results."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from axsched_hpc.core.curve import Report
from axsched_hpc.core.errors import ParameterError
from axsched_hpc.core.events import DriverOpened, ObjectiveSet
from axsched_hpc.core.found import Found, FoundAttempt, FoundBatch, FoundEnd
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.io import atomic, claim, document, manifest, outcome, parameters, processes, progress
from axsched_hpc.io.claim import Claimer
from axsched_hpc.io.layout import FORMAT, AttemptFiles, Layout

_ATTEMPT = "attempt-"


def find(layout: Layout) -> tuple[Found, tuple[str, ...]]:
    """What lies in an experiment directory, and in words what of it cannot be used.

    Raises
    ------
    OSError
        A directory cannot be listed.
    """
    return _Finder(layout).found()


def unknown(layout: Layout, ledger: Ledger) -> str | None:
    """A trial or attempt whose files are there and of which the journal knows nothing, in words; or None.

    A driver records an attempt before it makes any file of it. So where there is one, the journal has lost
    its end, cut between two lines, which cannot be seen in the journal itself.
    """
    for trial, path in _numbered(layout.trials, "", layout.trial):
        known = ledger.trials.get(trial)
        if known is None:
            return f"trial {trial}"
        if known.state.final:
            continue
        for attempt, _ in _numbered(path, _ATTEMPT, partial(_attempt_path, path)):
            if attempt > len(known.attempts):
                return f"trial {trial}, attempt {attempt}"
    return None


class _Finder:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._notes: list[str] = []

    def found(self) -> tuple[Found, tuple[str, ...]]:
        trials: dict[int, tuple[float, dict[str, object]]] = {}
        attempts: dict[tuple[int, int], FoundAttempt] = {}
        for trial, path in _numbered(self._layout.trials, "", self._layout.trial):
            own = self._layout.parameters(trial)
            if own.name in atomic.listing(path):
                try:
                    trials[trial] = (own.stat().st_mtime, dict(parameters.read(own)))
                except (OSError, ParameterError) as error:
                    self._notes.append(str(error))
            for attempt, _ in _numbered(path, _ATTEMPT, partial(_attempt_path, path)):
                attempts[trial, attempt] = self._attempt(self._layout.attempt(trial, attempt))
        batches, objective = self._batches()
        self._add_batches(batches, attempts)
        found = Found(trials, attempts, batches, self._opened(), objective)
        return found, tuple(self._notes)

    def _attempt(self, files: AttemptFiles) -> FoundAttempt:
        names = atomic.listing(files.root)
        reports = self._reports(files) if files.progress.name in names else ()
        if files.result.name in names:
            try:
                found = outcome.read(files.result)
            except (OSError, ValueError) as error:
                self._notes.append(str(error))
            else:
                end = FoundEnd(
                    found.token,
                    found.metrics,
                    found.failure,
                    found.started,
                    found.ended,
                    found.host,
                    str(files.result.relative_to(self._layout.root)),
                )
                return FoundAttempt(found.token, end, reports)
        try:
            owner = claim.read(files)
        except (OSError, ValueError) as error:
            self._notes.append(str(error))
            return FoundAttempt(reports=reports)
        token = owner.token if owner is not None and owner.by is Claimer.WORKER else None
        return FoundAttempt(token, reports=reports)

    def _reports(self, files: AttemptFiles) -> tuple[Report, ...]:
        try:
            found = progress.follow(files.progress, 0)
        except OSError as error:
            self._notes.append(str(error))
            return ()
        return found.kept if found.held is None else (*found.kept, found.held)

    def _batches(self) -> tuple[dict[str, FoundBatch], ObjectiveSet | None]:
        """The manifests that are there, oldest first, and the objective of the last one."""
        read: list[tuple[float, str, FoundBatch]] = []
        objectives: dict[float, str] = {}
        for name in atomic.listing(self._layout.submitit):
            path = self._layout.submitit / name
            if path.suffix != ".json":
                continue
            try:
                content, changed = manifest.read(path), path.stat().st_mtime
            except (OSError, ValueError) as error:
                self._notes.append(str(error))
                continue
            batch = FoundBatch(changed, content.attempts, str(path.relative_to(self._layout.root)))
            read.append((changed, content.token, batch))
            objectives[changed] = content.objective
        batches = {token: batch for _, token, batch in sorted(read, key=lambda item: item[:2])}
        last = objectives[max(objectives)] if objectives else self._only_objective()
        return batches, self._objective(last) if last is not None else None

    def _only_objective(self) -> str | None:
        names = atomic.listing(self._layout.objective)
        return names[0] if len(names) == 1 else None

    def _objective(self, name: str) -> ObjectiveSet | None:
        path = self._layout.objective / name / "objective.json"
        try:
            what = document.field(document.read(path), "what", str, source=str(path))
        except (OSError, ValueError) as error:
            self._notes.append(str(error))
            return None
        return ObjectiveSet(time.time(), name, what)

    def _add_batches(
        self, batches: dict[str, FoundBatch], attempts: dict[tuple[int, int], FoundAttempt]
    ) -> None:
        """Batches whose manifest is gone, by the attempts that carry their token."""
        members: dict[str, list[tuple[int, int]]] = {}
        for key in sorted(attempts):
            token = attempts[key].token
            if token and token not in batches:
                members.setdefault(token, []).append(key)
        for token, keys in members.items():
            changed = self._layout.attempt(*keys[0]).root.stat().st_mtime
            batches[token] = FoundBatch(changed, tuple(keys), "its attempts' files", exact=False)

    def _opened(self) -> DriverOpened | None:
        try:
            text = atomic.read_text(self._layout.definition)
        except (OSError, ValueError) as error:
            self._notes.append(
                f"{self._layout.definition} cannot be read ({error}). It cannot be made again: restore it "
                "from a backup, or no driver can go on here."
            )
            return None
        digest = hashlib.sha256(text.encode()).hexdigest()
        return DriverOpened(time.time(), FORMAT, processes.hostname(), os.getpid(), digest)


def _attempt_path(trial: Path, number: int) -> Path:
    return trial / f"{_ATTEMPT}{number}"


def _numbered(directory: Path, start: str, path: Callable[[int], Path]) -> Iterator[tuple[int, Path]]:
    """The subdirectories that are called ``start`` and a number, as ``path`` names them."""
    found = []
    for name in atomic.listing(directory):
        number = name.removeprefix(start)
        if number.isascii() and number.isdecimal() and len(number) < 19:
            place = path(int(number))
            if place.name == name and place.is_dir() and not place.is_symlink():
                found.append((int(number), place))
    yield from sorted(found)
