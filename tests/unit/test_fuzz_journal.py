"""Mutated journals: what is read is what was written or nothing, and a repair loses nothing of value.

AXSCHED_FUZZ_EXAMPLES is the number of mutated journals.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axsched_hpc.core.errors import ConfigError, JournalError
from axsched_hpc.core.event_records import decode, encode
from axsched_hpc.core.events import Event
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import TrialState
from axsched_hpc.io import atomic, outcome
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.best import best_text
from axsched_hpc.reporting.mending import repair_text
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.reporting.table import status_text
from axsched_hpc.store import journal
from axsched_hpc.store import repair as mending
from tests.unit.fuzz import changed_bytes, changed_values
from tests.unit.journal_kit import experiment, in_memory, put, segments

EXAMPLES = int(os.environ.get("AXSCHED_FUZZ_EXAMPLES", "120"))

ORIGINAL = segments()
LINES = {name: data.splitlines(keepends=True) for name, data in ORIGINAL.items()}

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    with in_memory(tmp_path_factory.mktemp("fuzz")) as folder:
        yield experiment(folder / "run")


# ---------------------------------------------------------------- mutations


@st.composite
def changed_files(draw: st.DrawFn) -> Files:
    """Bytes, lines and segments changed, with the checksums left as they were."""
    files = dict(ORIGINAL)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(ORIGINAL)))
        data = files.get(name, b"")
        lines = data.splitlines(keepends=True)
        action = draw(st.sampled_from(["bytes", "bytes", "lines", "lines", "zero", "segment"]))
        if action == "bytes":
            files[name] = draw(changed_bytes(data))
        elif action == "lines" and lines:
            files[name] = b"".join(draw(_changed_lines(lines)))
        elif action == "zero":
            start, length = draw(st.integers(0, len(data))), draw(st.integers(1, 600))
            files[name] = data[:start] + b"\0" * min(length, len(data) - start) + data[start + length :]
        elif action == "segment":
            other = draw(st.sampled_from([*sorted(ORIGINAL), "00005.jsonl", "5.jsonl", "x.jsonl"]))
            match draw(st.sampled_from(["remove", "copy", "swap", "splice", "empty"])):
                case "remove":
                    files.pop(name, None)
                case "copy":
                    files[other] = data
                case "swap":
                    files[name], files[other] = files.get(other, b""), data
                case "splice":
                    there = files.get(other, b"").splitlines(keepends=True)
                    cut = draw(st.integers(0, len(lines)))
                    files[name] = b"".join(lines[:cut] + there[cut:])
                case _:
                    files[name] = b""
    return files


@st.composite
def _changed_lines(draw: st.DrawFn, lines: list[bytes]) -> list[bytes]:
    lines = list(lines)
    one, other = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
    match draw(st.sampled_from(["swap", "double", "remove", "cut", "foreign"])):
        case "swap":
            lines[one], lines[other] = lines[other], lines[one]
        case "double":
            lines.insert(other, lines[one])
        case "remove":
            del lines[one]
        case "cut":
            del lines[one:]
        case _:
            lines.insert(one, draw(st.sampled_from([line for each in LINES.values() for line in each])))
    return lines


def sealed(body: str) -> bytes:
    """A line with the checksum that belongs to it."""
    try:
        return f'{body[:-1]}, "crc": "{zlib.crc32(body.encode()):08x}"}}\n'.encode()
    except UnicodeEncodeError:
        return b"\xed\xa0\x80\n"


@st.composite
def forged_files(draw: st.DrawFn) -> Files:
    """Values and orders changed, and the checksums made anew."""
    files = {
        name: [json.loads(line) for line in lines if line.endswith(b"\n")] for name, lines in LINES.items()
    }
    for records in files.values():
        for record in records:
            del record["crc"]
    name = draw(st.sampled_from(sorted(files)))
    records = files[name]
    texts: dict[tuple[str, int], str] = {}
    for _ in range(draw(st.integers(1, 2))):
        action = draw(st.sampled_from(["value", "value", "value", "swap", "double", "remove"]))
        one, other = draw(st.integers(0, len(records) - 1)), draw(st.integers(0, len(records) - 1))
        if action == "value":
            texts[name, one] = draw(changed_values(records[one]))
        elif action == "swap":
            records[one], records[other] = records[other], records[one]
        elif action == "double":
            records.insert(other, dict(records[one]))
        elif len(records) > 1:
            del records[one]
        for seq, record in enumerate(records, 1):
            record["seq"] = seq
    return {
        each: b"".join(
            sealed(texts.get((each, number), json.dumps(record))) for number, record in enumerate(there)
        )
        for each, there in files.items()
    }


# ---------------------------------------------------------------- what has to hold


def contents(directory: Path) -> dict[str, list[Event]]:
    return {segment.path.name: list(segment.events) for segment in journal.read(directory)}


def group_ends(name: str) -> Iterator[int]:
    yield 0
    for number, line in enumerate(LINES[name], 1):
        if line.endswith(b"\n") and b'"more": true' not in line:
            yield number


def read(layout: Layout) -> Ledger | None:
    """The ledger, or None where an error says what is wrong, and in which file."""
    try:
        reading = read_experiment(layout.root)
    except (JournalError, ConfigError) as error:
        assert str(layout.root) in str(error)
        if isinstance(error, JournalError):
            assert error.file.startswith(str(layout.journal))
        return None
    status_text(reading, now=time.time(), width=200)
    best_text(reading)
    return reading.ledger


def check_legal(layout: Layout) -> None:
    """Everything that was accepted can be written, and is read as the same."""
    for found in contents(layout.journal).values():
        for event in found:
            assert decode(json.loads(json.dumps(encode(event), allow_nan=False))) == event


def repair(layout: Layout) -> Ledger | None:
    """Repair as the command does, on a clock that does not wait; None where it is refused."""
    clock = itertools.count()
    try:
        examined = mending.examine(layout)
        if examined.error is not None:
            repair_text(layout, examined)
            mending.repair(layout, wait=lambda seconds: None, monotonic=lambda: float(next(clock)))
    except JournalError as error:
        assert "was written in format" in str(error)
        return None
    assert mending.examine(layout).error is None
    ledger = read(layout)
    assert ledger is not None
    return ledger


def check_nothing_is_lost(layout: Layout, ledger: Ledger, *, forged: bool) -> None:
    for trial in (0, 1, 2, 4, 5):
        assert trial in ledger.trials
        there = ledger.trials[trial]
        for name in atomic.listing(layout.trial(trial)):
            attempt = name.removeprefix("attempt-")
            if attempt.isdecimal() and not forged:
                assert int(attempt) <= len(there.attempts)
        files = layout.attempt(trial, len(there.attempts))
        # Where the journal reads well nothing is repaired, and the next driver reads the result.
        mended = any(layout.root.glob("journal-before-repair-*"))
        if mended and not forged and files.result.exists():
            end = outcome.read(files.result)
            assert there.state.final
            assert there.metrics == end.metrics
    if not forged:
        assert not ledger.trials[5].state.final or ledger.trials[5].state is TrialState.ABANDONED


def clean(layout: Layout) -> None:
    for path in layout.root.glob("journal-before-repair-*"):
        shutil.rmtree(path)


def run(layout: Layout, files: Files, *, forged: bool) -> None:
    put(layout, files)
    clean(layout)
    ledger = read(layout)
    if ledger is not None:
        check_legal(layout)
        if not forged:
            for name, found in contents(layout.journal).items():
                there = [journal.parse_line(line[:-1]).event for line in LINES[name] if line[-1:] == b"\n"]
                assert any(found == there[:end] for end in group_ends(name)), name
    repaired = repair(layout)
    if repaired is not None:
        check_nothing_is_lost(layout, repaired, forged=forged)
    else:
        assert forged


_COMMON = settings(
    max_examples=EXAMPLES // 2,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="AXSCHED_FUZZ_EXAMPLES" not in os.environ,
)


@pytest.mark.timeout(60 + EXAMPLES)
@_COMMON
@given(files=changed_files())
def test_damaged_journals(layout: Layout, files: Files) -> None:
    run(layout, files, forged=False)


@pytest.mark.timeout(60 + EXAMPLES)
@_COMMON
@given(files=forged_files())
def test_forged_journals(layout: Layout, files: Files) -> None:
    run(layout, files, forged=True)


def test_the_journal_that_is_mutated_is_whole(layout: Layout) -> None:
    put(layout, ORIGINAL)
    ledger = read(layout)
    assert ledger is not None
    assert mending.examine(layout).error is None
    states = {number: str(trial.state) for number, trial in ledger.trials.items()}
    assert states == {
        0: "completed",
        1: "completed",
        2: "failed",
        3: "completed",
        4: "running",
        5: "queued",
        6: "abandoned",
    }
