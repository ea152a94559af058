"""All that is known of a run that is watched, and where it stands. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from axsched_hpc.core.errors import plural
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.io.queue import Queue
from axsched_hpc.reporting.course import Course
from axsched_hpc.store.holder import Holder


@dataclass(frozen=True)
class View:
    """All that is known.

    Attributes
    ----------
    name
        Of the directory.
    alive
        Whether the driver's process runs; None where this machine cannot know.
    trouble
        Why what is shown may be out of date; empty where it is not.
    keys
        What the keys do; empty where there is no keyboard.
    """

    name: str
    ledger: Ledger
    course: Course
    holder: Holder | None = None
    alive: bool | None = None
    queue: Queue = field(default_factory=Queue)
    trouble: str = ""
    keys: str = ""


def goal(ledger: Ledger) -> int | None:
    """The number of the experiment's own trials at which the call under way, or the last one, has all it was
    asked for; None before the first call.
    """
    if not ledger.calls:
        return None
    call = ledger.calls[max(ledger.calls)]
    if call.max_trials is None:
        return call.base + len(call.trials)
    return ledger.changes.total(call.base + call.max_trials)


def halted(ledger: Ledger) -> str:
    """Whether nothing new is begun, on request, in words; empty where it is."""
    changes = ledger.changes
    for request, word in ((changes.stopping, "being stopped"), (changes.paused, "paused")):
        if request is not None:
            return f"{word} by {request.by}"
    return ""


def ended(ledger: Ledger) -> int:
    """How many of the experiment's own trials have ended."""
    return ledger.ended - external(ledger)


def external(ledger: Ledger) -> int:
    """How many trials came with their outcome."""
    return len(ledger.trials) - ledger.own


def at_work(view: View) -> bool:
    """Whether a driver is at work, as far as is known."""
    return view.holder is not None and not view.holder.ended and view.alive is not False


def finished(view: View) -> bool:
    """Whether the run has ended in good order."""
    return (
        view.ledger.driver is not None and view.ledger.closed and (view.holder is None or view.holder.ended)
    )


def given_up(view: View, *, now: float) -> bool:
    """Whether nobody goes on with the run by himself: its driver has gone before its script was done, and is
    no job that comes again.
    """
    who, driver = view.holder, view.ledger.driver
    if finished(view) or who is None or (driver is not None and driver.run is not None):
        return False
    if who.ended:
        return driver is not None
    return now - who.seen > who.takeover if view.alive is None else not view.alive


def headline(view: View) -> str:
    """Where things stand, in a line."""
    words = ", ".join(f"{count} {word}" for word, count in view.ledger.tally().items())
    total = plural(len(view.ledger.trials), "trial")
    return f"{view.name}: {total}{f' ({words})' if words else ''}; {driver_words(view)}"


def driver_words(view: View) -> str:
    """Who drives, or how that ended."""
    return f"driver: {who_drives(view)[0]}"


def who_drives(view: View) -> tuple[str, str]:
    """Who drives, or how that ended; and the style."""
    who, ledger = view.holder, view.ledger
    if who is None or (who.ended and ledger.driver is None):
        return "no driver yet", ""
    if who.ended:
        if ledger.closed:
            return f"the run has ended{why_ended(ledger)}", "good"
        if ledger.driver is not None and ledger.driver.run is not None:
            return "none now; the next job of the run goes on", "warn"
        return "none; it stopped before the run was done: start it again to go on", "warn"
    name = f"process {who.pid} on {who.host}" if who.host is not None else "a process that is not known"
    if view.alive is False:
        return f"gone: {name} ended without closing; start it again to go on", "bad"
    return name, ""


def why_ended(ledger: Ledger) -> str:
    """Why the last call ended."""
    if not ledger.ended_calls:
        return ""
    reasons = {"budget": "all trials done", "timeout": "its time was over", "exhausted": "no further points"}
    reason = ledger.ended_calls[max(ledger.ended_calls)].reason
    return f": {reasons.get(reason, reason)}"
