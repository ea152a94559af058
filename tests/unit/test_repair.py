"""`axsched repair`: what is dropped is named, what was computed is kept, and a copy of the old one stays."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from axsched_hpc.cli import cli
from axsched_hpc.core.curve import extend
from axsched_hpc.core.errors import ExperimentLockedError, JournalError
from axsched_hpc.core.events import (
    AttemptReported,
    AttemptStarted,
    AttemptSucceeded,
    BatchPlanned,
    BatchSubmitted,
    DriverClosed,
    Event,
    ObjectiveSet,
)
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.states import TrialState
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.store import journal
from axsched_hpc.store import repair as mending
from axsched_hpc.store.lease import Lease
from tests.unit.journal_kit import added, experiment, in_memory, opened, put, segment, segments, taken

ROOT = Path(__file__).resolve().parents[2]

ORIGINAL = segments()
LAST = "00004.jsonl"


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    with in_memory(tmp_path) as folder:
        yield experiment(folder / "run")


def damaged(layout: Layout, name: str, line: int) -> str:
    """Spoil a line of the journal (counted from 1) as a disk would; its text of before."""
    lines = ORIGINAL[name].splitlines(keepends=True)
    old = lines[line - 1]
    lines[line - 1] = b"\0" * (len(old) - 1) + b"\n"
    put(layout, {**ORIGINAL, name: b"".join(lines)})
    return old.decode()


def run(layout: Layout, *options: str) -> Result:
    return CliRunner().invoke(cli, ["repair", str(layout.root), *options])


def mend(layout: Layout) -> tuple[mending.Examined, Path]:
    clock = iter(range(10_000))
    return mending.repair(layout, wait=lambda seconds: None, monotonic=lambda: float(next(clock)))


def states(ledger: Ledger) -> dict[int, str]:
    return {number: str(trial.state) for number, trial in sorted(ledger.trials.items())}


def contents(layout: Layout) -> dict[str, bytes]:
    files = [path for path in layout.root.rglob("*") if path.is_file()]
    return {str(path.relative_to(layout.root)): path.read_bytes() for path in files}


#: Trial 3 was completed by the user himself and trial 6 never began: only the journal knows of them.
ENDS = {0: "completed", 1: "completed", 2: "failed", 4: "completed", 5: "queued"}

LINES = [
    (name, number)
    for name, data in ORIGINAL.items()
    for number in range(1, len(data.splitlines()) + (name != LAST))
]


@pytest.mark.parametrize(("name", "line"), LINES)
def test_a_damaged_line_costs_nothing_that_was_computed(layout: Layout, name: str, line: int) -> None:
    old = damaged(layout, name, line)
    damage = contents(layout)
    with pytest.raises(JournalError):
        read_experiment(layout.root)
    examined, copy = mend(layout)
    place = f"{layout.journal / name}, line {line}"
    assert f"{place} is damaged" in (examined.error or "")
    dropped = [(each.file, each.line, each.why) for each in examined.salvaged.dropped]
    assert (str(layout.journal / name), line, "it has no checksum at its end") in dropped
    ledger = read_experiment(layout.root).ledger
    assert {n: state for n, state in states(ledger).items() if n in ENDS} | {5: "queued"} == ENDS
    assert ledger.trials[5].state in (TrialState.PLANNED, TrialState.QUEUED)
    assert ledger.trials[5].attempts[-1].token == "axs-4"
    assert [len(ledger.trials[n].attempts) for n in ENDS] == [1, 3, 1, 1, 1]
    assert ledger.trials[1].metrics == {"loss": (0.25, 0.125)}
    assert ('"trial": 3' in old) == (3 not in ledger.trials)
    assert ('"trial_added"' in old and '"trial": 6' in old) == (6 not in ledger.trials)
    assert ledger.objective is not None
    assert (ledger.objective.objective, ledger.objective.what) == ("abc", "script f.sh")
    # Nothing else has changed, and the old journal is kept.
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == {
        path.removeprefix("journal/"): data for path, data in damage.items() if path.startswith("journal/")
    }
    after = contents(layout)
    assert all(after[path] == data for path, data in damage.items())
    assert mending.examine(layout).error is None


def test_a_line_with_an_absurd_number_costs_neither_memory_nor_time(layout: Layout) -> None:
    before = states(read_experiment(layout.root).ledger)
    line = journal.encode_line(DriverClosed(99.0), 4, 10**15).encode()
    whole = ORIGINAL[LAST][: ORIGINAL[LAST].rindex(b"\n") + 1]
    put(layout, {**ORIGINAL, LAST: whole + line})
    examined, _ = mend(layout)
    number = len(whole.splitlines()) + 1
    which = ", ".join(map(str, range(number, number + 10)))
    assert f"of the records {which} ..., some are missing" in {d.why for d in examined.salvaged.dropped}
    assert states(read_experiment(layout.root).ledger).keys() == before.keys()


@pytest.mark.parametrize("name", sorted(ORIGINAL))
@pytest.mark.parametrize("how", ["missing", "cut"])
def test_a_lost_segment_costs_nothing_that_was_computed(layout: Layout, name: str, how: str) -> None:
    files = dict(ORIGINAL)
    if how == "missing":
        del files[name]
    else:
        files[name] = files[name][: len(files[name]) // 2]
    put(layout, files)
    examined, _ = mend(layout)
    assert examined.error is not None
    ledger = read_experiment(layout.root).ledger
    assert {n: state for n, state in states(ledger).items() if n in (0, 1, 2, 4)} == {
        n: state for n, state in ENDS.items() if n != 5
    }
    assert ledger.trials[5].state in (TrialState.PLANNED, TrialState.QUEUED)
    if name != LAST:
        why = "it is missing; a later driver read" if how == "missing" else "its end is lost: it has"
        assert any(each.why.startswith(why) for each in examined.salvaged.dropped)


def test_without_any_segment_the_directory_tells_what_was_computed(layout: Layout) -> None:
    put(layout, {})
    mend(layout)
    ledger = read_experiment(layout.root).ledger
    assert states(ledger) == {**ENDS, 5: "planned"}
    assert ledger.driver is not None


#: Bytes of a report.
LINE = 28


def reported(time: float, trial: int, *steps: int) -> AttemptReported:
    points = tuple((step, {"loss": (step / 8, None)}) for step in steps)
    return AttemptReported(time, trial, 1, points, LINE * steps[-1])


#: Trial 0 has ended; trial 1 runs, and has reported a step of which no driver has heard yet.
CURVES: list[Event] = [
    opened(1.0, {}, 1),
    ObjectiveSet(2.0, "abc", "script f.sh"),
    added(4.0, 0),
    added(4.0, 1),
    BatchPlanned(5.0, "axs-1", ((0, 1), (1, 1))),
    BatchSubmitted(6.0, "axs-1", {0: "11_0", 1: "11_1"}),
    AttemptStarted(7.0, 0, 1, "n1"),
    AttemptStarted(7.0, 1, 1, "n1"),
    reported(7.5, 0, 1, 2),
    reported(7.5, 1, 1, 2),
    reported(7.6, 0, 3),
    reported(7.6, 1, 3),
    AttemptSucceeded(8.0, 0, 1, {"loss": (0.5, None)}, 6.5, 7.5, "n1"),
    DriverClosed(9.0),
]


@pytest.mark.parametrize("line", range(len(CURVES)))  # 0: all of them are lost
def test_a_damaged_line_costs_nothing_of_a_curve(layout: Layout, line: int) -> None:
    for path in (*map(layout.trial, (2, 4, 5)), layout.attempt(1, 2).root, layout.attempt(1, 3).root):
        shutil.rmtree(path)
    for path in (layout.attempt(1, 1).result, *map(layout.manifest, ("axs-2", "axs-4"))):
        path.unlink()
    for trial, steps in ((0, 3), (1, 4)):
        reports = "".join(f"{step:08d} loss {step / 8:.7e}\n" for step in range(1, steps + 1))
        layout.attempt(trial, 1).progress.write_text(reports + "00000005 lo")
    lines = segment(1, [[event] for event in CURVES]).splitlines(keepends=True)
    lines[line - 1] = lines[line - 1][:20] + b"?" + lines[line - 1][21:]
    put(layout, {"00001.jsonl": b"".join(lines)} if line else {})
    examined, _ = mend(layout)
    curves: dict[int, dict[int, Metrics]] = {0: {}, 1: {}}
    for event in examined.salvaged.events:
        if isinstance(event, AttemptReported):
            extend(curves[event.trial], event.points)
    assert curves[0] == {step: {"loss": (step / 8, None)} for step in (1, 2, 3)}
    assert curves[1] == {step: {"loss": (step / 8, None)} for step in (1, 2, 3, 4)}
    said = [text for text in examined.salvaged.rescued if "its curve is taken from its progress file" in text]
    damaged = CURVES[line - 1 : line] if line else CURVES
    lost = [event.trial for event in damaged if isinstance(event, AttemptReported)]
    assert {int(text.split()[1].rstrip(",")) for text in said} == {1, *lost}
    # The next driver reads on from there.
    ledger = read_experiment(layout.root).ledger
    assert [ledger.trials[trial].attempts[-1].read for trial in (0, 1)] == [3 * LINE, 4 * LINE]
    assert str(ledger.trials[0].state) == "completed"


def test_the_command_says_what_it_drops_and_what_it_makes_again(layout: Layout) -> None:
    damaged(layout, "00001.jsonl", 5)
    before = contents(layout)
    shown = run(layout, "--dry-run")
    assert shown.exit_code == 0
    assert "\nDropped:\n  journal/00001.jsonl, line 5: it has no checksum at its end\n" in shown.output
    assert "journal/00004.jsonl, line 13: it is not complete: its driver was stopped while writing it\n" in (
        shown.output
    )
    assert (
        "\nMade again from the files of the trials:\n"
        "  trial 1: its parameters are taken from its parameters.json; how Ax came to them is lost\n"
    ) in shown.output
    assert shown.output.endswith("7 trials (1 queued, 4 completed, 1 failed, 1 abandoned).\n")
    refused = run(layout)
    assert (refused.exit_code, "Use --yes" in refused.output) == (2, True)
    assert contents(layout) == before
    done = run(layout, "--yes")
    assert done.exit_code == 0, done.output
    assert done.output.startswith(shown.output)
    assert done.output.endswith(
        f"Done. The old journal is kept in {layout.root / 'journal-before-repair-1'}. "
        "Start the run again to go on.\n"
    )
    again = run(layout, "--yes")
    assert (again.exit_code, again.output) == (
        0,
        f"{layout.journal} reads well; there is nothing to repair.\n",
    )


def test_a_repair_can_be_repaired(layout: Layout) -> None:
    damaged(layout, "00002.jsonl", 3)
    mend(layout)
    path = layout.journal / "00006.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for line in range(len(lines)):
        path.write_bytes(b"".join([*lines[:line], b"rubbish\n", *lines[line + 1 :]]))
        try:
            read_experiment(layout.root)
        except JournalError:
            pass
        else:
            pytest.fail("rubbish was read")
    path.write_bytes(b"".join([b"rubbish\n", *lines[1:]]))
    _, copy = mend(layout)
    assert copy.name == "journal-before-repair-2"
    assert states(read_experiment(layout.root).ledger) == {**ENDS, 3: "completed", 6: "abandoned"}


def test_it_refuses_while_a_driver_lives(layout: Layout) -> None:
    damaged(layout, "00001.jsonl", 5)
    lease = Lease.take(layout, takeover=60.0)
    before = contents(layout)
    refused = run(layout, "--yes")
    assert isinstance(refused.exception, ExperimentLockedError)
    assert refused.exception.pid == os.getpid()
    assert contents(layout) == before
    lease.writer.append([DriverClosed(60.0)])
    lease.release()
    assert run(layout, "--yes").exit_code == 0


@pytest.mark.parametrize("point", ["open.before", "open.lease"])
def test_a_kill_leaves_the_old_journal(layout: Layout, tmp_path: Path, point: str) -> None:
    damaged(layout, "00001.jsonl", 5)
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / point).write_text("kill")
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            "from axsched_hpc.cli import main; main()",
            "repair",
            "--yes",
            str(layout.root),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "AXSCHED_FAULTS": str(faults)},
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -9
    with pytest.raises(JournalError, match=r"00001\.jsonl, line 5 is damaged"):
        read_experiment(layout.root)
    assert run(layout, "--yes").exit_code == 0
    assert states(read_experiment(layout.root).ledger)[1] == "completed"


def test_a_lost_definition_is_told(layout: Layout) -> None:
    damaged(layout, "00001.jsonl", 5)
    layout.definition.unlink()
    shown = run(layout, "--dry-run").output
    assert f"\nFound, and of no use:\n  {layout.definition} cannot be read (" in shown
    assert "It cannot be made again: restore it from a backup" in shown


def test_a_later_version_s_journal_is_left_alone(layout: Layout) -> None:
    newer = segment(5, [[taken(60.0)]]).replace(b'"format": 2', b'"format": 9')
    body = newer.rpartition(b', "crc"')[0] + b"}"
    put(layout, {**ORIGINAL, "00005.jsonl": body[:-1] + f', "crc": "{zlib.crc32(body):08x}"}}\n'.encode()})
    damage = (layout.journal / "00001.jsonl").read_bytes()
    (layout.journal / "00001.jsonl").write_bytes(b"rubbish\n" + damage)
    before = contents(layout)
    refused = run(layout, "--yes")
    assert isinstance(refused.exception, JournalError)
    assert "was written in format 9" in str(refused.exception)
    assert contents(layout) == before


def test_what_cannot_have_happened_is_dropped_with_the_reason(layout: Layout) -> None:
    put(layout, {**ORIGINAL, "00005.jsonl": segment(5, [[taken(60.0)], [added(61.0, 2)], [added(62.0, 7)]])})
    with pytest.raises(JournalError, match=r"00005\.jsonl, line 2 tells of something that cannot") as caught:
        read_experiment(layout.root)
    assert (caught.value.file, caught.value.line) == (str(layout.journal / "00005.jsonl"), 2)
    examined, _ = mend(layout)
    dropped = [(each.line, each.why) for each in examined.salvaged.dropped if each.file.endswith("5.jsonl")]
    assert dropped == [(2, "trial 2 is added a second time")]
    assert states(read_experiment(layout.root).ledger)[7] == "waiting"


def test_a_batch_whose_manifest_is_lost_is_known_by_its_results(layout: Layout) -> None:
    damaged(layout, LAST, 10)
    shutil.rmtree(layout.submitit)
    examined, _ = mend(layout)
    assert "batch axs-4: its plan is taken from its attempts' files" in examined.salvaged.rescued
    assert [each.why for each in examined.salvaged.dropped if each.line == 11] == [
        "which job of the batch axs-4 is which attempt is lost"
    ]
    assert states(read_experiment(layout.root).ledger)[5] == "planned"


def test_parameters_that_are_lost_too_are_told(layout: Layout) -> None:
    damaged(layout, "00001.jsonl", 5)
    layout.parameters(1).unlink()
    examined, _ = mend(layout)
    assert 1 not in read_experiment(layout.root).ledger.trials
    assert "the record of trial 1 is lost, and it has no parameters.json" in " ".join(examined.salvaged.lost)


def test_journals_end_with_a_group(layout: Layout) -> None:
    # A later driver's size that ends within a line is damage, not a shorter journal.
    name = "00003.jsonl"
    longer = segment(3, [[taken(40.0, "unlock")], [DriverClosed(41.0, finished=True), DriverClosed(42.0)]])
    put(layout, {**ORIGINAL, name: longer})
    with pytest.raises(JournalError, match="which end within a line or a group"):
        journal.read(layout.journal)


def test_on_a_terminal_it_asks(layout: Layout) -> None:
    damaged(layout, "00001.jsonl", 5)
    before = contents(layout)
    for answer, code in ((b"n\n", 1), (b"y\n", 0)):
        master, slave = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-c", "from axsched_hpc import cli; cli.main()", "repair", str(layout.root)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            os.close(slave)
            os.write(master, answer)
            output, _ = process.communicate(timeout=60)
        os.close(master)
        assert process.returncode == code, output
        assert b"Write this as the new journal? [y/N]:" in output
        assert (contents(layout) == before) == (code == 1)
