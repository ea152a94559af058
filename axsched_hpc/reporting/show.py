"""All that is known of one trial, for a person and for a program."""

from __future__ import annotations

import json
import signal
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from axsched_hpc.core.best import best
from axsched_hpc.core.machine import Attempt, Trial
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.sizes import memory_text, time_text
from axsched_hpc.core.states import RetryClass, TrialState
from axsched_hpc.reporting.evidence import Evidence
from axsched_hpc.reporting.plain import line
from axsched_hpc.reporting.reading import Reading
from axsched_hpc.reporting.records import FORMAT, attempt_state, trial_record, why
from axsched_hpc.reporting.table import duration, number, pending
from axsched_hpc.reporting.trials import moment

#: Lines of stderr that are shown of each attempt; its log has all of them.
_TAIL = 10

_ORIGINS = {
    "ax": "suggested by Ax",
    "batch": "added by the script",
    "enqueued": "a point that was asked for",
    "candidate": "made in Ax by hand, to be run",
    "external": "completed in Ax by hand",
}

#: What of an attempt's directory is worth a look, the most telling first.
_TELLING = ("stderr.log", "stdout.log", "work", "metrics.json", "progress.jsonl", "result.json")

#: (name, value) of a section.
Entry = tuple[str, str]


def show_text(
    reading: Reading, trial: Trial, evidence: Mapping[int, Evidence], *, now: float, width: int | None
) -> str:
    """A trial's parameters, metrics and curve, and each of its attempts.

    Parameters
    ----------
    evidence
        Attempt -> what its directory tells.
    now
        Seconds since the epoch, for what is not over.
    width
        Columns of the terminal; None where no line is to be broken.
    """
    head = f"arm {trial.arm}, {_origin(reading, trial)}, {moment(trial.added)}"
    lines = [f"trial {trial.number}: {_standing(reading, trial)}", f"  {head}"]
    reason = line(why(trial))
    # Where its last attempt failed or was stopped, that tells the same.
    told = trial.state is TrialState.EARLY_STOPPED or (trial.attempt and trial.attempt.failure)
    if reason and not told:
        lines += _entries([("reason", reason)], width)
    if (cancelled := reading.ledger.changes.cancelling.get(trial.number)) is not None:
        lines += _entries([("wanted", f"to be {cancelled}")], width)
    sections: list[tuple[str, list[Entry]]] = [
        ("parameters", [(name, json.dumps(v, ensure_ascii=False)) for name, v in trial.parameters.items()]),
        ("metrics", _metrics(trial.metrics or {})),
        ("curve", _curve(trial)),
    ]
    for each in trial.attempts:
        entries = _attempt(trial, each, evidence.get(each.number), now, reading.waits)
        sections.append((f"attempt {each.number}: {_fate(trial, each)}", entries))
    for title, entries in sections:
        if entries:
            lines += ["", title, *_entries(entries, width)]
    return "\n".join(lines)


def _origin(reading: Reading, trial: Trial) -> str:
    """Where it came from."""
    if trial.source is not None:
        return f"imported from {line(trial.source)}"
    baseline = trial.origin == "enqueued" and trial.arm == reading.problem.status_quo
    return "the baseline" if baseline else _ORIGINS.get(trial.origin, trial.origin)


def show_record(reading: Reading, trial: Trial, evidence: Mapping[int, Evidence]) -> dict[str, Any]:
    """What ``axsched show --json`` prints: the trial, and what its attempts' directories tell."""
    record = trial_record(trial, reading.waits)
    for attempt in record["attempts"]:
        found = evidence[attempt["attempt"]]
        attempt["directory"] = str(found.root)
        attempt["files"] = list(found.names)
        attempt["stderr_tail"] = list(found.tail)
        attempt["used_mb"] = found.used_mb
    return {"format": FORMAT, "directory": str(reading.layout.root), **record}


def no_logs(reading: Reading, trial: Trial, attempt: Attempt | None, evidence: Evidence | None) -> str:
    """Why there is nothing to read of an attempt; None for a trial without any."""
    if attempt is None or evidence is None:
        if trial.origin == "external":
            return f"Trial {trial.number} was {_origin(reading, trial)}: nothing was run here."
        if trial.state.final:
            return f"Trial {trial.number} is {trial.word}, and was never run: {line(trial.reason) or '-'}"
        return f"Trial {trial.number} waits for its first attempt: it has no job yet."
    name = f"Attempt {attempt.number} of trial {trial.number}"
    if attempt.withdrawn:
        return f"{name} never became a job."
    latest = attempt is trial.attempt
    if latest and trial.state is TrialState.PLANNED:
        return f"{name} has not started: its job is being submitted."
    if latest and trial.state is TrialState.QUEUED:
        return f"{name} has not started: job {attempt.job} {pending(trial, reading.waits) or 'is queued'}."
    if "stdout.log" in evidence.names or "stderr.log" in evidence.names:
        return f"{name} has written nothing{' yet' if latest and not trial.state.final else ''}."
    if latest and trial.state in (TrialState.COMPLETED, TrialState.EARLY_STOPPED):
        return (
            f"{name} is {trial.word}, and its logs are removed. "
            "They are kept where the option cleanup_after_completion is false."
        )
    if attempt.failure is not None:
        return f"{name} left no logs: {line(attempt.failure.text)}"
    if latest and trial.state.final:
        return f"{name} left no logs. The trial is {trial.word}: {line(trial.reason) or '-'}"
    return f"{name} runs, and its objective has not begun."


def last_words(trial: Trial) -> str:
    """How a trial has ended, in a line."""
    metrics = ", ".join(f"{name} = {value}" for name, value in _metrics(trial.metrics or {}))
    told = metrics or line(why(trial))
    return f"Trial {trial.number} is {trial.word}" + (f": {told}" if told else ".")


def _standing(reading: Reading, trial: Trial) -> str:
    """Its state, its attempts, and whether it is the best."""
    count = len(trial.attempts)
    state = trial.word
    if trial.state is TrialState.WAITING and count:
        state = f"waiting for attempt {count + 1}"
    elif trial.state.active:
        state = f"{state}, attempt {count}"
    elif count > 1:
        state = f"{state}, after {count} attempts"
    found = best(reading.ledger.trials.values(), reading.problem)
    if all(each.number != trial.number for each in found):
        return state
    return f"{state}; {'the best so far' if len(found) == 1 else 'on the Pareto front'}"


def _metrics(metrics: Metrics) -> list[Entry]:
    return [
        (name, number(mean) + (f" +/- {number(sem)}" if sem is not None else ""))
        for name, (mean, sem) in metrics.items()
    ]


def _curve(trial: Trial) -> list[Entry]:
    reach = trial.reach
    if reach is None:
        return []
    steps = f"{reach.first} to {reach.last}" if reach.first != reach.last else str(reach.last)
    values = ", ".join(f"{name} = {value}" for name, value in _metrics(reach.metrics))
    return [("steps", steps), (f"at step {reach.last}", values)]


def _fate(trial: Trial, attempt: Attempt) -> str:
    state = attempt_state(trial, attempt)
    if attempt.failure is None:
        return state
    if attempt.failure.kind.retry_class not in (RetryClass.CONTINUATION, RetryClass.USER):
        state = f"failed ({state})"
    if attempt is not trial.attempt:
        return f"{state}, repeated"
    return state if trial.state.final else f"{state}, to be repeated"


def _attempt(
    trial: Trial, attempt: Attempt, evidence: Evidence | None, now: float, waits: Mapping[int, str]
) -> list[Entry]:
    live = attempt is trial.attempt and not trial.state.final
    failure, request = attempt.failure, attempt.request
    entries = [("job", attempt.job + (f" on {attempt.node}" if attempt.node else ""))] if attempt.job else []
    entries += _times(trial, attempt, now)
    if live and (why := pending(trial, waits)):
        entries.append(("waits", why.removeprefix("waits ")))
    if attempt.stop or (attempt is trial.attempt and trial.state is TrialState.EARLY_STOPPED):
        entries.append(("stopped", line(attempt.stop or trial.reason)))
    if failure is not None:
        entries.append(("why", line(failure.message)))
        entries += [("hint", line(failure.hint))] if failure.hint else []
        if failure.exit_code is not None:
            entries.append(("exit code", str(failure.exit_code)))
        if failure.signal is not None:
            entries.append(("signal", _signal(failure.signal)))
    asked_mb = request.memory_mb or (failure.asked_mb if failure else None)
    used_mb = (failure.used_mb if failure else None) or (evidence.used_mb if evidence else None)
    entries += _both("memory", asked_mb, used_mb, memory_text, "used")
    limit = request.time_s or (failure.limit_s if failure else None)
    if limit:
        entries += _both("time", limit, failure.elapsed_s if failure else None, time_text, "ran for")
    if request.exclude:
        entries.append(("avoids", ", ".join(request.exclude)))
    tail = failure.stderr_tail if failure else ()
    if not tail and evidence and attempt_state(trial, attempt) != TrialState.COMPLETED:
        tail = evidence.tail
    if tail:
        entries.append(("stderr", "\n".join(tail[-_TAIL:])))
    if there := [name for name in _TELLING if evidence and name in evidence.names]:
        entries.append(("files", f"{evidence.root if evidence else ''}/\n{', '.join(there)}"))
    return entries


def _times(trial: Trial, attempt: Attempt, now: float) -> list[Entry]:
    live = attempt is trial.attempt and not trial.state.final
    submitted, started, ended = attempt.submitted, attempt.started, attempt.ended
    if ended is None and not live:
        ended = trial.ended
    entries = []
    if submitted is not None:
        waiting = f", {duration(now - submitted)} ago" if live and started is None and ended is None else ""
        entries.append(("submitted", moment(submitted) + waiting))
    if started is not None:
        queued = f", after {duration(started - submitted)} in the queue" if submitted is not None else ""
        running = f"; has run for {duration(now - started)}" if live and ended is None else ""
        entries.append(("started", moment(started) + queued + running))
    if ended is not None:
        ran = f", after {duration(ended - started)}" if started is not None else ""
        entries.append(("ended", moment(ended) + ran))
    return entries


def _both(name: str, asked: float | None, used: float | None, text: Any, verb: str) -> list[Entry]:
    parts = [f"asked for {text(asked)}"] if asked else []
    parts += [f"{verb} {text(used)}"] if used else []
    return [(name, ", ".join(parts))] if parts else []


def _signal(value: int) -> str:
    try:
        return f"{value} ({signal.Signals(value).name})"
    except ValueError:
        return str(value)


def _entries(entries: Iterable[Entry], width: int | None) -> list[str]:
    """Names and values in two columns; a value's lines keep to the second one."""
    entries = list(entries)
    names = max(len(name) for name, _ in entries)
    lines = []
    for name, value in entries:
        room = None if width is None else max(20, width - names - 4)
        # What is printed by a program keeps its lines; a path is never broken.
        wrapped = [
            part
            for each in value.splitlines() or [""]
            for part in (
                textwrap.wrap(each, room, break_long_words=False, break_on_hyphens=False)
                if room is not None and len(each) > room and name != "stderr"
                else [each]
            )
        ]
        lines += [
            f"  {label:{names}}  {part}".rstrip()
            for label, part in zip([name, *[""] * (len(wrapped) - 1)], wrapped, strict=True)
        ]
    return lines
