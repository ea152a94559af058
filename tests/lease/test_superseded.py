"""A driver that is stopped somewhere, taken over from another host, and goes on: it does no harm.

What it can still do, point by point. Everything is looked at with the real parts: two whole drivers, local
processes as jobs, the bytes and times of the whole directory.

open.lease, open.read
    It has read nothing, or what was there before. It looks for a later segment before it writes the
    definition, and again before its first record.
journal.before, journal.torn
    Its look for a later segment lies behind it, so that the rest of its line is written: into its own
    segment, beyond the size that the later driver has recorded. It counts nowhere, and the look after the
    write stops it. Where the later driver has not read yet, the line counts, as that of a driver that
    died there.
journal.unsynced
    Its bytes are there, and the later driver has read them: they count. Nothing has followed from them.
journal.after, tell.before
    The event is recorded, and it has seen itself as the driver after that: the later driver has read the
    event. What follows is done in its own memory; the clean-up of an attempt whose success is recorded,
    and the removal of its notice.
cleanup.before, cleanup.half
    It removes the logs of an attempt whose success is recorded, which nobody needs; the files of a batch
    only where all of its trials are.
ask.after
    Ax has made trials in its memory. It cannot record them.
batch.planned
    It writes the files of a batch that the later driver has withdrawn, whose claims are closed; the
    parameters of a trial are written again, with the same bytes. No job comes of it.
batch.files, submit.before
    It looks again before it asks the scheduler. Should it be stopped between that look and the request,
    its jobs find closed claims, or are found by their token.
submit.half, batch.submitted
    The jobs that exist are found by the later driver, by their token or claims. A job that is begun later
    finds its claim closed.
inbox.listed, inbox.read, inbox.recorded
    It looks after its listing, so that what it takes for settled is not of the later driver's time. What
    it has read it cannot record, and removes nothing before it has.
poll.seen
    It looks before it closes claims, and before it cancels a job that has ended once and may have been
    requeued.
snapshot.before
    It looks before it writes. Should it be stopped right after that look, an older snapshot stays until
    the next one is written; the journal has everything.
close.before
    It cannot record its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lease import kit
from tests.lease.driving import Driver, Forge, is_whole

# One process of the tests runs them all, since they share what they have started.
pytestmark = [kit.needs_hosts, pytest.mark.timeout(400)]

TRIALS = 10
LOGS = "stdout.log", "stderr.log"


@dataclass(frozen=True)
class Story:
    """Where the first driver is stopped, and where the second one is when it goes on: by default at its end.

    ``dies``: the second one is killed there, and a third one finishes.
    """

    first: str
    second: str = ""
    dies: bool = False

    def __str__(self) -> str:
        words = [self.first, *([f"while second at {self.second}"] if self.second else [])]
        return " ".join([*words, *(["which dies"] if self.dies else [])])


#: What may be another file afterwards, by the point at which the first driver was stopped.
POINTS = {
    "open.lease": "nothing",
    "open.read": "nothing",
    "journal.before 8": "own segment",
    "journal.torn 8": "own segment",
    "journal.unsynced 8": "nothing",
    "journal.after 8": "clean-up",
    "ask.after 2": "nothing",
    "batch.planned 2": "files of a batch",
    "batch.files 2": "nothing",
    "submit.before 2": "nothing",
    "submit.half 2": "nothing",
    "batch.submitted 2": "nothing",
    "inbox.listed 2": "nothing",
    "inbox.read 2": "nothing",
    "inbox.recorded 2": "nothing",
    "poll.seen": "nothing",
    "tell.before 2": "clean-up",
    "snapshot.before": "nothing",
    "cleanup.before 2": "clean-up",
    "cleanup.half 2": "clean-up",
    "close.before": "nothing",
}
STORIES = [
    *map(Story, POINTS),
    # The later one has its segment, and has read nothing.
    Story("journal.before 8", "open.lease"),
    Story("journal.after 8", "open.lease"),
    Story("submit.before 2", "open.lease"),
    Story("batch.submitted 2", "open.lease"),
    Story("inbox.read 2", "open.lease"),
    Story("journal.before 8", "open.lease", dies=True),
    Story("close.before", "open.lease", dies=True),
    # It has read, and recorded nothing.
    Story("journal.before 8", "open.read"),
    Story("inbox.listed 2", "open.read"),
    # It is at work.
    Story("submit.before 2", "batch.planned"),
    Story("poll.seen", "inbox.listed"),
]


@dataclass
class Told:
    folder: Path
    first: Driver
    second: Driver


@pytest.fixture(scope="module")
def stories(drivers: Forge, tmp_path_factory: pytest.TempPathFactory) -> dict[Story, Told]:
    """All stories up to where the first driver goes on: together, since most of them is waiting."""
    folders = {story: tmp_path_factory.mktemp("story") for story in STORIES}
    firsts = {
        story: drivers.start(folder, "first", trials=TRIALS, fault=story.first)
        for story, folder in folders.items()
    }
    for story, first in firsts.items():
        kit.wait_until(first.stopped, f"stop of the first driver at {story.first}")
    seconds = {
        story: drivers.start(folder, "second", trials=TRIALS, fault=story.second)
        for story, folder in folders.items()
    }
    for story, second in seconds.items():
        if story.second:
            kit.wait_until(second.stopped, f"stop of the second driver at {story.second}")
        else:
            assert second.ended() == 0, second.log.read_text()
    return {story: Told(folders[story], firsts[story], seconds[story]) for story in STORIES}


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_a_superseded_driver_does_no_harm(stories: dict[Story, Told], drivers: Forge, story: Story) -> None:
    told = stories[story]
    before = kit.tree(told.first.root)
    told.first.go_on()
    code = told.first.ended()
    after = kit.tree(told.first.root)
    _says_who_has_it(told, code, closing=story.first == "close.before")
    # It may have been stopped in the middle of a sign of life, which changes its segment's time and nothing.
    own = "journal/00001.jsonl"
    if before[own][::2] == after[own][::2]:
        after[own] = before[own]
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    # A second driver at work has jobs, which change things too.
    if not story.second:
        _changed(changed, before, after, POINTS[story.first])
    elif story.second.startswith("open."):
        assert changed <= {"journal/00001.jsonl", *_cleaned(changed)}
    if story.dies:
        told.second.kill()
        third = drivers.start(told.folder, "third", trials=TRIALS)
        assert third.ended() == 0, third.log.read_text()
    elif story.second:
        told.second.go_on()
        assert told.second.ended() == 0, told.second.log.read_text()
    is_whole(told.folder, TRIALS)


def _says_who_has_it(told: Told, code: int, *, closing: bool) -> None:
    text = (
        f"Process {told.second.pid} on second has taken this experiment over "
        f"({told.first.root / 'journal' / '00002.jsonl'}). This driver has stopped without changing anything "
        "more; jobs go on under the new one. `axsched status` tells how they stand.\n"
    )
    if closing:
        # Its script had come to its end; there is nobody to whom an error could be raised.
        text = f"The experiment in {told.first.root} could not be closed in good order: {text}"
    else:
        text = f"axsched_hpc.core.errors.SupersededError: {text}"
    assert text in told.first.log.read_text()
    assert code == (0 if closing else 1)


def _changed(changed: set[str], before: kit.Tree, after: kit.Tree, allowed: str) -> None:
    own = "journal/00001.jsonl"
    match allowed:
        case "nothing":
            assert not changed
        case "own segment":
            assert changed == {own}
            old, new = before[own][2], after[own][2]
            assert old is not None
            assert new is not None
            assert new.startswith(old)
        case "clean-up":
            assert changed == _cleaned(changed)
        case _:
            assert not {name for name in changed if before.get(name, after.get(name)) is None}
            contents = {n for n in changed if before.get(n, (0, 0, None))[2] != after.get(n, (0, 0, None))[2]}
            assert {Path(name).parent.name for name in contents} == {"submitit"}
            assert len(contents) == 1


def _cleaned(changed: set[str]) -> set[str]:
    """Those of the names that a clean-up removes, or removes files from."""
    return {
        name
        for name in changed
        if name.startswith(("submitit", "inbox"))
        or Path(name).name in (*LOGS, "attempt-1", "checkpoint")
        or Path(name).parent.name == "trials"
    }
