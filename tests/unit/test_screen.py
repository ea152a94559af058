"""What `axsched watch` shows, as text: from events and a moment, without a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyte
import pytest

from axsched_hpc.core.events import (
    AttemptRequeued,
    AttemptStarted,
    AttemptSucceeded,
    CallEnded,
    CallStarted,
    DriverClosed,
    Event,
    LeaseTaken,
)
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import FailureKind, Verdict
from axsched_hpc.io.queue import Queue
from axsched_hpc.io.terminal import speaks_unicode
from axsched_hpc.reporting.course import Course
from axsched_hpc.reporting.drawing import Cells, Look, bar, cells, curve, plain, repaint
from axsched_hpc.reporting.screen import screen
from axsched_hpc.reporting.view import View, finished, given_up
from axsched_hpc.store.holder import Holder
from tests.cli.conftest import PROBLEM, Story

PLAIN = Look(unicode=False, colour=False)
RICH = Look()


def lived(events: Sequence[Event]) -> tuple[Ledger, Course]:
    ledger, course = Ledger(), Course()
    for event in events:
        ledger.apply(event)
        course(event, ledger)
    return ledger, course


def view(story: Story, queue: Queue = Queue(), *, alive: bool | None = True, **more: Any) -> View:  # noqa: B008
    ledger, course = lived(story.events)
    ended = isinstance(story.events[-1], DriverClosed)
    holder = Holder(1, story.now, 100, ended, "login1", 4711, 1, "boot", "ada", story.events[0].time)
    return View("/home/ada/outputs", ledger, course, holder, alive, queue, **more)


def text(shown: View, now: float, width: int = 80, height: int = 24, look: Look = PLAIN) -> str:
    lines = screen(shown, now=now, width=width, height=height, look=look)
    assert len(lines) <= height
    assert all(len(each) <= width for each in lines)
    return "\n".join(map(plain, lines))


def called(story: Story, trials: int) -> Story:
    story.events.append(CallStarted(story.tick(), 1, "run", 0, max_trials=trials))
    return story


@pytest.fixture
def busy() -> Story:
    """Of 20 trials 4 have ended in 40 s; of 4 slots 3 are taken."""
    story = called(Story().opened(), 20).added(*range(7)).submitted(*range(4)).started(0, 1, 2, 3)
    story.succeeded(0, 8.0).succeeded(1, 9.0).succeeded(2, 2.0)
    story.failed(3, FailureKind.EXIT_CODE, "/home/ada/train.py exited with code 3", Verdict.FAIL)
    return story.submitted(4, 5, 6).started(4).waits(6, "PartitionTimeLimit")


def test_a_busy_run(busy: Story) -> None:
    began = next(event.time for event in busy.events if event.kind == "batch_submitted")
    shown = view(busy, Queue(4, {"Priority": (2, 5)}), keys="q quits")
    lines = text(shown, began + 40).splitlines()
    assert lines[0].startswith("/home/ada/outputs  ")
    assert re.search(r"q quits  \d\d:\d\d:\d\d$", lines[0])
    assert lines[1] == "trials   #####................... 4 of 20, 3 completed, 1 failed"
    assert lines[2].startswith("best     loss = 2 in trial 2, ")
    assert lines[4] == "slots    ##################...... 3 of 4 in use, 1 running, 2 queued"
    # What the queue tells of trials that wait no longer is out of date.
    assert re.fullmatch(
        r"queue    waiting: 1 for Priority, 1 for PartitionTimeLimit; the longest for \d+s", lines[5]
    )
    assert lines[6].startswith("         PartitionTimeLimit: time_limit is beyond the partition's")
    hours = re.search(r"([\d.]+) node-hours", text(shown, began + 40))
    assert hours is not None
    assert "rate     360 trials per hour, the end in about 2m40s (" in text(shown, began + 40)
    # Three that took 4 to 6 s, one that is running.
    running = began + 40 - next(e.time for e in reversed(busy.events) if e.kind == "attempt_started")
    spent = sum(each.ended - each.started for each in ended_attempts(shown))
    assert float(hours[1]) == pytest.approx((spent + running) / 3600, rel=0.01)
    assert "driver   process 4711 on login1, for " in text(shown, began + 40)
    assert "trial 3, attempt 1: exit_code, given up, " in text(shown, began + 40)
    assert "         train.py exited with code 3" in lines
    assert any(line.startswith("running  4 n1 ") for line in lines)


def ended_attempts(shown: View) -> list[Any]:
    attempts = [each for trial in shown.ledger.trials.values() for each in trial.attempts]
    return [each for each in attempts if each.ended is not None]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 5), (40, 12), (20, 30), (1, 1), (200, 60)])
@pytest.mark.parametrize("look", [PLAIN, RICH])
def test_it_fits_any_terminal(busy: Story, width: int, height: int, look: Look) -> None:
    shown = text(view(busy, Queue(4)), busy.now, width, height, look)
    assert shown.isascii() or look.unicode
    assert "4 of 20" in shown or width < 20 or height < 2


def test_without_a_driver_there_is_no_end_to_expect(busy: Story) -> None:
    shown = view(busy, alive=False)
    later = text(shown, busy.now + 1e6, height=60)
    assert "the end in" not in later
    assert "gone: process 4711 on login1 ended without closing; start it again to" in later
    assert given_up(shown, now=busy.now)
    # One that comes again by itself is waited for.
    shown.ledger.driver = type(shown.ledger.driver)(**{**vars(shown.ledger.driver), "run": "42"})
    assert not given_up(shown, now=busy.now)
    silent = view(busy, alive=None)
    assert "silent for 16m40s: it may be gone" in text(silent, busy.now + 1000, width=120)
    assert given_up(silent, now=busy.now + 1000)
    assert not given_up(silent, now=busy.now + 5)


def test_time_without_a_driver_is_not_counted(busy: Story) -> None:
    before = lived(busy.events)[1].rate(busy.now)
    assert before is not None
    busy.now += 50_000.0
    busy.events.append(LeaseTaken(busy.tick(), 4, "login1", 1, 1, "boot", "ada", 60.0))
    after = lived(busy.events)[1].rate(busy.now)
    assert after == pytest.approx(before)


def test_the_rate_is_that_of_the_last_trials() -> None:
    story = called(Story().opened(), 100).added(*range(60))
    for number in range(60):
        story.submitted(number).started(number)
        story.now += 97.0 if number < 30 else 7.0  # 3 s for the records
        story.succeeded(number, 1.0)
    rate = lived(story.events)[1].rate(story.now)
    assert rate is not None
    assert 10.0 <= 1 / rate <= 12.0


def test_a_run_that_has_ended_says_so(busy: Story) -> None:
    busy.events.append(CallEnded(busy.tick(), 1, "budget"))
    assert not finished(view(busy))
    shown = view(busy.closed())
    assert finished(shown)
    assert "driver   the run has ended: all trials done" in text(shown, busy.now)


def test_what_requests_have_changed_is_shown(busy: Story) -> None:
    """By the interface of what folds them, which drivers without requests do not have."""
    shown = view(busy, Queue(4))

    class Changes:
        stopping = None
        paused = Request("ada")

        def total(self, said: int) -> int:
            return 2 * said

        def slots(self, said: int) -> int:
            return said + 4

    shown.ledger.changes = Changes()  # type: ignore[attr-defined]
    now = text(shown, busy.now)
    assert "4 of 40, " in now
    assert "3 of 8 in use, paused by ada, 1 running" in now
    assert "the end in" not in now


@dataclass
class Request:
    by: str


def test_trouble_stands_at_the_top(busy: Story) -> None:
    trouble = "As it was at 10:42:07. /home/ada/outputs/journal is not there."
    assert text(view(busy, trouble=trouble), busy.now).splitlines()[1] == trouble


def test_nothing_yet() -> None:
    shown = text(view(Story().opened()), 0.0)
    assert "none yet" in shown
    empty = View("/outputs", Ledger(), Course())
    assert "no driver yet" in text(empty, 0.0)


def test_where_no_trial_satisfies_the_constraints() -> None:
    problem = {**PROBLEM, "constraints": [{"weights": {"loss": 1.0}, "op": "<=", "bound": 1.0}]}
    story = Story().opened(problem).added(0, 1).submitted(0, 1).started(0, 1).succeeded(0, 3.0)
    assert "none: of 1 completed trial none satisfies the constraints" in text(view(story), story.now)
    assert "loss = 0.5 in trial 1" in text(view(story.succeeded(1, 0.5)), story.now)


def test_a_relative_constraint_is_judged_once_its_baseline_is_there() -> None:
    constraint = {"weights": {"time": 1.0}, "op": "<=", "bound": 0.0, "relative": True}
    problem = {**PROBLEM, "constraints": [constraint], "status_quo": "2_0"}
    story = Story().opened(problem).added(0, 1, 2).submitted(0, 1, 2).started(0, 1, 2)
    story.succeeded(0, 1.0, time=9.0).succeeded(1, 2.0, time=4.0)
    assert "loss = 1 in trial 0" in text(view(story), story.now)
    assert "loss = 2 in trial 1" in text(view(story.succeeded(2, 3.0, time=5.0)), story.now)


def test_several_objectives_show_the_hypervolume() -> None:
    weights = [{"weights": {name: 1.0}, "minimize": True} for name in ("loss", "time")]
    thresholds = [{"weights": {name: 1.0}, "op": "<=", "bound": 10.0} for name in ("loss", "time")]
    problem = {**PROBLEM, "objectives": weights, "thresholds": thresholds}
    story = Story().opened(problem).added(0, 1).submitted(0, 1).started(0, 1).succeeded(0, 5.0, time=5.0)
    assert "a front of hypervolume 25, by trial 0" in text(view(story), story.now)
    shown = text(view(story.succeeded(1, 2.0, time=8.0)), story.now)
    assert "a front of hypervolume 31, by trial 1" in shown


# ---------------------------------------------------------------- drawing


def test_a_curve_shows_the_last_value_of_each_column() -> None:
    assert curve([(1, 8.0), (3, 4.0), (8, 1.0)], 8, 8, RICH) == "██▄▄▄▄▄▁"
    assert curve([(1, 8.0), (3, 4.0), (8, 1.0)], 8, 4, PLAIN) == '"--_'
    assert curve([(3, 4.0)], 4, 40, RICH) == "  ▁▁"
    assert curve([], 8, 8, RICH) == ""


def test_a_bar_shows_whoever_is_there() -> None:
    parts = [(1, "good"), (1, "bad")]
    assert bar(8, parts, 1000, PLAIN) == [("#", "good"), ("#", "bad"), ("......", "dim")]
    assert bar(8, parts, 2, PLAIN) == [("####", "good"), ("####", "bad"), ("", "dim")]
    assert bar(8, [], 0, PLAIN) == [("........", "dim")]


def test_a_line_is_harmless_and_fits() -> None:
    assert plain(cells([("bad \x1b]0;x\x07", "")], 20, RICH)) == "bad \\x1b]0;x\\x07"
    assert plain(cells([("abcdef", "")], 4, RICH)) == "abc…"
    assert plain(cells([("größer", "")], 9, PLAIN)) == "gr??er"
    # Wide letters take two columns, and none is cut in halves.
    assert plain(cells([("実験の結果", "")], 9, RICH)) == "実験の結…"
    assert plain(cells([("実験の結果", "")], 8, RICH)) == "実験の …"
    assert plain(cells([("e\u0301t", "")], 2, RICH)) == "e\u0301t"


def show(*screens: list[Cells], look: Look) -> str:
    """What a terminal shows that was sent only the changes."""
    terminal = pyte.Screen(40, 3)
    stream = pyte.Stream(terminal)
    before: list[Cells] = []
    for each in screens:
        stream.feed(repaint(before, each, look))
        before = each
    return "\n".join(line.rstrip() for line in terminal.display)


@pytest.mark.parametrize("look", [PLAIN, RICH])
def test_sending_the_changes_is_enough(look: Look) -> None:
    texts = [
        "a long line, 12 of 40\n\nend",
        "a long line, 13 of 40\nnew",
        "",
        "a short\nnewer",
        "実験\nnewest",
        "実x",
    ]
    screens = [[cells([(each, "bold")], 40, look) for each in one.split("\n")] for one in texts]
    for number in range(1, len(texts) + 1):
        expected = "\n".join(plain(each) for each in screens[number - 1])
        found = show(*screens[:number], look=look)
        assert re.sub(r"(?<=[実験]) ", "", found).rstrip("\n") == expected.rstrip("\n")
    assert repaint(screens[0], screens[0], look) == ""
    assert len(repaint(screens[0][:1], screens[1][:1], PLAIN)) == len("\x1b[1;15H3")


@pytest.mark.parametrize(
    ("environment", "unicode"),
    [
        ({"LANG": "en_GB.UTF-8"}, True),
        ({"LANG": "C"}, False),
        ({}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),  # what Python makes of LANG=C
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, True),
        ({"LC_CTYPE": "en_US.utf8"}, True),
        ({"LANG": "en_GB.UTF-8", "TERM": "linux"}, False),
    ],
)
def test_unicode_is_for_those_who_have_it(environment: dict[str, str], unicode: bool) -> None:
    assert speaks_unicode(environment) is unicode


def test_node_hours_count_nodes_and_requeues() -> None:
    story = Story().opened().added(0).submitted(0)
    began = story.tick()
    story.events += [
        AttemptStarted(began, 0, 1, "n[1-4]"),
        AttemptRequeued(began + 900, 0, 1),
        AttemptStarted(began + 1000, 0, 1, "n[1-2]"),
    ]
    assert lived(story.events)[1].node_hours(began + 2800) == pytest.approx(1.0 + 1.0)
    story.events.append(
        AttemptSucceeded(began + 9000, 0, 1, {"loss": (1.0, None)}, began + 1000, began + 4600, "n[1-2]")
    )
    assert math.isclose(lived(story.events)[1].node_hours(began + 1e6), 1.0 + 2.0)
