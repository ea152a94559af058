"""The checker of requests finds what is wrong: each test damages a sound experiment in one way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from axsched_hpc.core.changes import Change
from axsched_hpc.core.events import (
    AttemptSucceeded,
    BatchPlanned,
    PointsEnqueued,
    RequestAnswered,
    Setting,
    TrialAbandoned,
    TrialAdded,
    TrialRetried,
)
from axsched_hpc.core.states import RequestKind
from axsched_hpc.io import atomic, requests
from tests.chaos.asked import Laid, told
from tests.chaos.story import Story, parameters

K = RequestKind


class Asked(Story):
    """Trial 2 was cancelled as it ran, trial 1 was added, and up to three attempts may be under way."""

    def __post_init__(self) -> None:
        super().__post_init__()
        added = Change(K.ADD, "ada", 0.5, points=(parameters(1),), places=("a point",))
        self.laid = [
            Laid("1", added, 0.5),
            Laid("2", Change(K.SET, "ada", 0.6, max_parallel=3), 0.6),
            Laid("3", Change(K.CANCEL, "ada", 3.5, trial=2), 3.5),
        ]
        answers = [
            RequestAnswered(
                1.0, each.id, each.change.request, "ada", each.time, True, "yes", each.change.trial
            )
            for each in self.laid
        ]
        self.events[1:1] = [
            answers[0],
            PointsEnqueued(1.0, 0, (parameters(1),)),
            replace(answers[1], max_parallel=Setting(3, 4)),
        ]
        self.change(TrialAdded, {"trial": 1}, origin="enqueued", place=0)
        end = next(n for n, e in enumerate(self.events) if isinstance(e, AttemptSucceeded) and e.trial == 2)
        self.events[end : end + 1] = [answers[2], TrialAbandoned(4.0, 2, "cancelled by ada")]
        self.lines = [line for line in self.lines if (line["pid"], line["what"]) != (13, "ends")]

    def found(self) -> list[str]:
        self.write()
        return self.violations(laid=self.laid)

    def at(self, request: str) -> int:
        return next(
            n for n, e in enumerate(self.events) if isinstance(e, RequestAnswered) and e.id == request
        )


@pytest.fixture
def story(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def test_a_sound_experiment_passes(story: Asked) -> None:
    assert story.found() == []
    assert told(story.layout.root, story.laid) == {"add taken": 1, "cancel taken": 1, "set taken": 1}


def test_a_cancelled_trial_that_was_asked_for_again_may_run(story: Asked) -> None:
    closing = story.events[-2:]
    del story.events[-2:]
    story.events.append(TrialRetried(5.0, 2, "asked for by ada"))
    story.plan("axs-a-0003", [(2, 2)])
    story.begin(2, 2, 17)
    story.end(2, 2, 17)
    story.events += closing
    assert story.found() == []
    story.drop(TrialRetried)
    assert any(
        violation.startswith("inconsistent: the journal cannot be read") for violation in story.found()
    )


def answer_twice(story: Asked) -> None:
    place = story.at("2")
    story.events.insert(place, story.events[place])


def no_answer(story: Asked) -> None:
    del story.events[story.at("2")]


def left(story: Asked) -> None:
    atomic.make_directory(story.layout.inbox)
    id = "0000000000000001-00000000"
    atomic.write(requests.path_of(story.layout, id), "{}")
    story.laid.append(Laid(id, Change(K.PAUSE, "ada", 2.0), 2.0))


def put_aside(story: Asked) -> None:
    atomic.make_directory(story.layout.refused)
    atomic.write(story.layout.refused / "request-1.json", "{}")


def begin_the_cancelled(story: Asked) -> None:
    answer = story.events.pop(story.at("3"))
    place = next(n for n, e in enumerate(story.events) if isinstance(e, BatchPlanned))
    story.events.insert(place, answer)


def begin_though_paused(story: Asked) -> None:
    asked = RequestAnswered(1.0, "4", K.PAUSE, "ada", 0.7, True, "paused")
    story.events.insert(story.at("2"), asked)


def too_many_at_a_time(story: Asked) -> None:
    story.change(RequestAnswered, {"id": "2"}, max_parallel=Setting(2, 4))


def beyond_the_budget(story: Asked) -> None:
    story.change(RequestAnswered, {"id": "2"}, trials=Setting(2, 3))


def lose_the_point(story: Asked) -> None:
    story.drop(PointsEnqueued)
    story.change(TrialAdded, {"trial": 1}, origin="ax", place=None, parameters={"x": 0.11, "y": 0.5})


def double_the_point(story: Asked) -> None:
    story.change(PointsEnqueued, {}, points=(parameters(1), parameters(1)))


def lose_the_result(story: Asked) -> None:
    story.say("ends", 2, 1, 13, value=2.0)
    files = story.layout.attempt(2, 1)
    atomic.make_directory(files.root)
    atomic.write(files.result, "{}")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (answer_twice, "doubled: the request 2 (set) was answered 2 times."),
        (no_answer, "lost: the request 2 (set) is gone without an answer."),
        (left, "orphan: the request 0000000000000001-00000000 (pause) is left in the inbox."),
        (put_aside, "inconsistent: request-1.json was put aside as if it could not be read."),
        (begin_the_cancelled, "doubled: axs-a-0001 has trials [2], which were cancelled."),
        (begin_though_paused, "inconsistent: axs-a-0001 was planned while the run was paused."),
        (too_many_at_a_time, "inconsistent: 3 attempts were under way, in 2 slots."),
        (beyond_the_budget, "inconsistent: trial 2 was added though the budget was 2 trials."),
        (lose_the_point, "lost: the point {'x': 0.1, 'y': 0.5} of the request 1 is there 0 times."),
        (double_the_point, "doubled: the point {'x': 0.1, 'y': 0.5} of the request 1 is there 2 times."),
        (lose_the_result, "lost: trial 2, attempt 1 (process 13 on n1) computed 2.0, which was there when"),
    ],
)
def test_each_damage_is_found(story: Asked, damage: Callable[[Asked], None], words: str) -> None:
    damage(story)
    found = story.found()
    assert any(violation.startswith(words) for violation in found), found
