"""What `axsched trials`, `axsched show` and `axsched status --json` say, from journals and files alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import BashComplete, ZshComplete
from click.testing import CliRunner, Result

from axsched_hpc.cli import cli
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptReported,
    AttemptSucceeded,
    BatchPlanned,
    BatchSubmitted,
    Failure,
    Request,
    StopDecided,
    TrialAdded,
    TrialStopped,
)
from axsched_hpc.core.states import FailureKind, TrialState, Verdict
from axsched_hpc.io import atomic, queue
from axsched_hpc.io.layout import Layout
from axsched_hpc.io.queue import Queue
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.reporting.trials import chosen, columns, fitted, named, usual
from tests.cli.conftest import Story

LONG = "learning_rate_of_the_{}"
STOPPED = "Trial objective value 8.0 is worse than the metric threshold 5.0."
HOSTILE = "bad \x1b]0;title\x07\x9b2J\u202e name\nsecond line"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="axsched")


@pytest.fixture(scope="module")
def various(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials in every state, with two metrics and long names."""
    story = Story().opened()
    for n in range(8):
        parameters: dict[str, Any] = {
            LONG.format("encoder"): 0.1 * n,
            LONG.format("decoder"): n,
            "kind": "a b",
        }
        story.events.append(TrialAdded(story.tick(), n, f"{n}_0", parameters, "ax"))
    story.submitted(*range(7)).started(*range(5))
    story.events.append(AttemptReported(story.tick(), 0, 1, ((2, {"loss": (9.0, None)}),), 30))
    values = {"loss": (1 / 3, 0.125), "speed": (20.0, None)}
    story.events.append(AttemptSucceeded(story.tick(), 0, 1, values, node="n1"))
    story.succeeded(1, 0.25)
    failure = Failure(
        FailureKind.OUT_OF_MEMORY,
        "train.py ran out of memory",
        exit_code=137,
        signal=9,
        node="n1",
        stderr_tail=("Traceback", "\x1b[31mMemoryError\x1b[0m \x07"),
        asked_mb=4096,
        used_mb=4000,
        elapsed_s=600,
        limit_s=3600,
        hint="Raise memory. " * 10,
    )
    story.events.append(AttemptFailed(story.tick(), 2, 1, failure, Verdict.RETRY))
    story.events.append(BatchPlanned(story.tick(), "more", ((2, 2),), Request(8192, None, ("n1",))))
    story.events.append(BatchSubmitted(story.tick(), "more", {0: "77_0"}))
    story.attempts[2] = 2
    story.started(2).failed(2, FailureKind.EXIT_CODE, HOSTILE, Verdict.FAIL)
    points = ((1, {"loss": (9.0, None)}), (7, {"loss": (8.0, None)}))
    story.events.append(AttemptReported(story.tick(), 3, 1, points, 60))
    story.events.append(StopDecided(story.tick(), 3, 1, STOPPED))
    story.events.append(TrialStopped(story.tick(), 3, 1, STOPPED))
    story.waits(5, "PartitionTimeLimit")
    story.failed(6, FailureKind.CANCELLED, "job 1000_6 was cancelled", Verdict.ABANDON)
    directory = story.write(tmp_path_factory.mktemp("various") / "outputs")
    files = Layout.at(directory).attempt(4, 1)
    atomic.make_directory(files.root)
    files.stderr.write_text("warming up\n")
    return directory


def cells(output: str) -> dict[str, dict[str, str]]:
    """Rows by their first cell, as `cut` would take them apart."""
    head, *rows = [[cell.strip(" ") for cell in line.split("\t")] for line in output.splitlines()]
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def test_trials_in_a_pipe_are_whole(various: Path) -> None:
    done = run("trials", various)
    assert (done.exit_code, done.stderr) == (0, "")
    table = cells(done.stdout)
    assert list(table) == [str(n) for n in range(8)]
    assert list(table["0"]) == [
        *("trial", "state", "loss", "speed", LONG.format("encoder"), LONG.format("decoder"), "kind"),
        *("step", "ran", "reason"),
    ]
    assert table["0"]["loss"] == repr(1 / 3)
    assert table["0"]["kind"] == "a b"
    assert (table["3"]["state"], table["3"]["loss"], table["3"]["step"]) == ("early_stopped", "8.0", "7")
    assert table["3"]["reason"] == STOPPED
    assert table["2"]["reason"] == "bad \\x1b]0;title\\x07\\x9b2J\\u202e name second line"
    assert table["5"]["reason"].startswith("waits for PartitionTimeLimit: time_limit is beyond")
    assert (table["7"]["state"], table["7"]["ran"], table["7"]["reason"]) == ("waiting", "-", "-")
    # Aligned for the eye all the same.
    assert len({line.index("\t") for line in done.stdout.splitlines()}) == 1


def numbers(*arguments: object) -> list[int]:
    done = run("trials", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return [trial["trial"] for trial in json.loads(done.stdout)["trials"]]


def test_filters_and_orders(various: Path) -> None:
    # What a person has cancelled is no failure.
    assert numbers(various, "--failed") == [2]
    assert numbers(various, "--state", "cancelled") == [6]
    assert numbers(various, "--state", "abandoned") == []
    assert numbers(various, "--state", "queued,running") == [4, 5]
    assert numbers(various, "--state", "waiting", "--failed") == [2, 7]
    # What has no loss comes last in both directions.
    assert numbers(various, "--sort", "loss") == [1, 0, 3, 2, 4, 5, 6, 7]
    assert numbers(various, "--sort", "-loss") == [3, 0, 1, 2, 4, 5, 6, 7]
    assert numbers(various, "--sort", "state,-trial") == [6, 1, 0, 3, 2, 5, 4, 7]
    done = run("trials", various, "--columns", "node,loss_sem,trial", "--state", "completed")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["node", "loss_sem", "trial"],
        ["n1", "0.125", "0"],
        ["n1", "-", "1"],
    ]
    done = run("trials", various, "--state", "planned,failed", "--sort", "trial")
    assert done.stdout.startswith("trial")
    done = run("trials", various, "--state", "planned")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"{various}: no trial in state planned.\n"


def test_what_is_asked_wrongly(various: Path) -> None:
    done = run("trials", various, "--state", "faild")
    assert done.exit_code == 2
    assert "'faild' is no state. Did you mean 'failed'?" in done.stderr
    assert "no list of names" in run("trials", various, "--columns", "trial,,loss").stderr
    assert run("trials", various, "--columns", "trial", "--json").exit_code == 2
    error = run("trials", various, "--sort", "-losss").exception
    assert isinstance(error, ConfigError)
    assert str(error) == "There is no column 'losss'. Did you mean 'loss'?"
    done = run("show", "-", various)
    assert done.exit_code == 2
    assert "'-' is no trial's number, such as 0 or 12." in done.stderr
    for command in ("show", "logs"):
        error = run(command, 8, various).exception
        assert str(error) == f"{various} has no trial 8. Its trials are 0 to 7."
    assert str(run("logs", 2, various, "--attempt", 3).exception) == (
        "Trial 2 has no attempt 3. Its attempts are 1 to 2."
    )


def test_a_parameter_that_is_called_like_a_column(tmp_path: Path) -> None:
    story = Story().opened()
    story.events.append(TrialAdded(story.tick(), 0, "0_0", {"state": "solid", "loss": 3}, "ax"))
    directory = story.closed().write(tmp_path / "run")
    row = cells(run("trials", directory).stdout)["0"]
    assert (row["state"], row["parameter.state"]) == ("waiting", "solid")
    assert (row["loss"], row["parameter.loss"]) == ("-", "3")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_table_fits_the_terminal(various: Path, width: int) -> None:
    reading = read_experiment(various)
    all_columns = columns(reading, now=reading.ledger.last_time)
    trials = chosen(reading, all_columns, (), ())
    lines = fitted(trials, usual(all_columns), width, all_of=False)
    table, note = lines, ""
    if "" in lines:
        table, (note,) = lines[: lines.index("")], lines[lines.index("") + 1 :]
    assert max(map(len, table)) <= width
    # Numbers are never cut, and no name is: headings have lines enough.
    heads = table[: next(i for i, line in enumerate(table) if line.startswith("trial")) + 1]
    for name in (LONG.format("encoder"), LONG.format("decoder")):
        assert (name in note) != ("".join(_column(heads, name[:5], name[-7:])) != "")
    assert ("0.333333" in "\n".join(table)) == ("loss" not in note)
    assert len(table) == len(heads) + 8
    if width == 200:
        assert not note
        assert "train" not in "\n".join(table)
    shown = fitted(trials, named(all_columns, ["reason", "kind", "job"]), width, all_of=True)
    assert max(map(len, shown)) <= width
    assert len(shown) == 9


def _column(heads: list[str], first: str, last: str) -> list[str]:
    """The lines of headings that have the beginning or the end of a name."""
    text = "\n".join(heads)
    return [first, last] if first in text and last in text else []


def test_a_table_without_what_is_empty(finished: Path) -> None:
    reading = read_experiment(finished)
    all_columns = columns(reading, now=reading.ledger.last_time)
    lines = fitted(list(reading.ledger.trials.values()), usual(all_columns), 80, all_of=False)
    assert lines[0].split() == ["trial", "state", "loss", "rate", "kind", "ran"]
    assert re.fullmatch(r"1 +completed +0.125 +0.25 +a +\ds", lines[2])


def test_all_about_a_trial(various: Path) -> None:
    done = run("show", 2, various)
    assert done.exit_code == 0
    sections = done.stdout.split("\n\n")
    assert sections[0].startswith("trial 2: failed, after 2 attempts\n  arm 2_0, suggested by Ax, ")
    assert sections[1] == (
        f'parameters\n  {LONG.format("encoder")}  0.2\n  {LONG.format("decoder")}  2\n  {"kind":28}  "a b"'
    )
    first, second = sections[2:]
    assert first.startswith("attempt 1: failed (out_of_memory), repeated\n  job        1000_2 on n1\n")
    for entry in (
        r"submitted  [-\d]+ [:\d]+",
        r"started    [-\d]+ [:\d]+, after 3s in the queue",
        r"ended      [-\d]+ [:\d]+, after \d+s",
        r"why        train.py ran out of memory",
        r"hint       (Raise memory. ?){10}",
        r"exit code  137",
        r"signal     9 \(SIGKILL\)",
        r"memory     asked for 4 GB, used 3.9 GB",
        r"time       asked for 01:00:00, ran for 00:10:00",
        # What a terminal would obey is shown, and colours are dropped.
        r"stderr     Traceback\n {13}MemoryError \\x07",
    ):
        assert re.search(f"^  {entry}$", first, re.MULTILINE), entry
    assert "\n  memory     asked for 8 GB\n  avoids     n1\n" in second + "\n"
    assert "\\x1b]0;title\\x07\\x9b2J\\u202e name second line" in second
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stdout)


def test_a_trial_in_each_state(various: Path) -> None:
    best = run("show", 1, various).stdout
    assert best.startswith("trial 1: completed; the best so far\n")
    with_curve = run("show", 0, various).stdout
    assert "\n\nmetrics\n  loss   0.333333 +/- 0.125\n  speed  20\n" in with_curve
    assert "\n\ncurve\n  steps      2\n  at step 2  loss = 9\n" in with_curve
    stopped = run("show", 3, various).stdout
    assert stopped.startswith("trial 3: early_stopped\n")
    assert f"\n  stopped    {STOPPED}" in stopped
    assert stopped.count(STOPPED) == 1
    running = run("show", 4, various).stdout
    assert running.startswith("trial 4: running, attempt 1\n")
    assert re.search(r"started .*; has run for 1h5\dm\n", running)
    directory = Layout.at(various).attempt(4, 1).root
    assert running.endswith(f"stderr     warming up\n  files      {directory}/\n             stderr.log\n")
    assert "\n  waits      for PartitionTimeLimit: time_limit is" in run("show", 5, various).stdout
    assert run("show", 6, various).stdout.startswith("trial 6: cancelled\n")
    assert run("show", 7, various).stdout.startswith("trial 7: waiting\n")


def test_why_jobs_wait_as_the_driver_saw_it_last(tmp_path: Path) -> None:
    story = Story().opened().added(0, 1, 2, 3).submitted(0, 1, 2).started(0)
    directory = story.waits(2, "PartitionTimeLimit").write(tmp_path / "outputs")
    waits = {"Priority": (0, 1), "PartitionTimeLimit": (2,)}
    queue.write(Layout.at(directory), Queue(4, waits))
    found = cells(run("trials", directory).stdout)
    assert found["1"]["reason"] == "waits for Priority"
    assert found["2"]["reason"].startswith("waits for PartitionTimeLimit: time_limit is beyond")
    assert (found["0"]["reason"], found["3"]["reason"]) == ("-", "-")  # it runs; it has no job
    assert "\n  waits      for Priority\n" in f"{run('show', 1, directory).stdout}\n"
    assert re.search(r"\n1 +queued .* waits for Priority\n", run("status", directory).stdout)
    assert "job 1000_1 waits for Priority." in run("logs", 1, directory).stderr
    status = json.loads(run("status", directory, "--json").stdout)
    reasons = [each["attempts"][0]["pending_reason"] for each in status["trials"][:3]]
    assert reasons == [None, "Priority", "PartitionTimeLimit"]
    # Without a driver nobody has looked.
    ended = story.closed().write(tmp_path / "ended")
    queue.write(Layout.at(ended), Queue(4, waits))
    assert cells(run("trials", ended).stdout)["1"]["reason"] == "-"


@pytest.mark.parametrize(
    ("source", "words"),
    [("/data/old.csv", "imported from /data/old.csv"), (None, "completed in Ax by hand")],
)
def test_where_a_trial_came_from(tmp_path: Path, source: str | None, words: str) -> None:
    story = Story().opened()
    outcome = {"state": "completed", "metrics": {"loss": [1.0, None]}}
    added = TrialAdded(story.tick(), 0, "0_0", {"rate": 0.5}, "external", outcome)
    story.events.append(added if source is None else added.imported(source))
    directory = story.write(tmp_path / "outputs")
    assert run("show", 0, directory).stdout.splitlines()[1].startswith(f"  arm 0_0, {words}, 20")
    assert json.loads(run("show", 0, directory, "--json").stdout)["source"] == source
    assert f"Trial 0 was {words}: nothing was run here." in run("logs", 0, directory).stderr


def test_a_recorded_run() -> None:
    recorded = Path(__file__).parents[1] / "data" / "format-4"
    done = run("show", 5, recorded)
    assert "attempt 1: withdrawn\n" in done.stdout
    assert "\nattempt 2: failed (worker_killed), repeated\n" in done.stdout
    # What a completed attempt used is in its result.
    assert re.search(r"\nattempt 3: completed\n(  .*\n)*  memory +used 19 MB\n", done.stdout)
    found = json.loads(run("show", 5, recorded, "--json").stdout)
    assert [each["state"] for each in found["attempts"]] == ["withdrawn", "worker_killed", "completed"]
    assert {"claim.json", "metrics.json", "progress.jsonl", "result.json"} <= {*found["attempts"][2]["files"]}
    assert found["attempts"][2]["used_mb"] == pytest.approx(19, abs=1)


def test_json(various: Path) -> None:
    trials = json.loads(run("trials", various, "--json").stdout)["trials"]
    status = json.loads(run("status", various, "--json").stdout)
    assert status["trials"] == trials
    assert status["counts"] == {
        **{str(state): 0 for state in TrialState},
        **{"completed": 2, "failed": 1, "early_stopped": 1, "abandoned": 1},
        **{"waiting": 1, "queued": 1, "running": 1},
    }
    assert (status["cancelled"], [each["trial"] for each in trials if each["cancelled"]]) == (1, [6])
    assert trials[6]["state"] == "abandoned"
    assert (status["format"], status["directory"], status["best"]) == (1, str(various), [1])
    assert (status["feasible"], status["constraints"], status["baseline"]) == (True, [], None)
    assert status["objectives"] == [{"name": "loss", "goal": "minimize"}]
    assert (status["driver"]["alive"], status["finished"]) == (True, False)
    assert trials[0]["metrics"] == {
        "loss": {"mean": 1 / 3, "sem": 0.125},
        "speed": {"mean": 20.0, "sem": None},
    }
    assert trials[3]["curve"] == {"first": 1, "last": 7, "metrics": {"loss": {"mean": 8.0, "sem": None}}}
    first, second = trials[2]["attempts"]
    assert (first["failure"]["kind"], first["failure"]["exit_code"]) == ("out_of_memory", 137)
    assert second["request"] == {"memory_mb": 8192, "time_s": None, "exclude": ["n1"]}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", second["started"])
    shown = json.loads(run("show", 2, various, "--json").stdout)
    assert {key: value for key, value in shown.items() if key in trials[2] and key != "attempts"} == {
        key: value for key, value in trials[2].items() if key != "attempts"
    }
    page = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text()
    keys = {*status, *trials[2], *first, *first["failure"], *first["request"], *shown["attempts"][0]}
    for key in (*keys, *status["driver"], *status["early_stopping"], *trials[3]["curve"]):
        assert f"`{key}`" in page, key


def test_where_an_experiment_is_looked_for(
    various: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(various.parent)
    assert run("trials").stdout == run("trials", various).stdout
    inside = various / "trials" / "00004" / "attempt-1"
    monkeypatch.chdir(inside)
    assert run("show", 4).stdout == run("show", 4, various).stdout
    # A diary is no experiment.
    (tmp_path / "journal").mkdir()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    text = str(run("status").exception)
    assert text.startswith(
        f"There is no experiment in {here / 'outputs'}, in {here}, or in a directory above it. "
        "Name the directory: `directory` of a project file, config['job_output_dir'] of a script."
    )
    run_in_outputs = Story().opened().write(here / "outputs" / "bowl")
    assert str(run("status").exception).endswith(f" There is one in {run_in_outputs}.")
    assert str(run("status", "outputs").exception).endswith(f" There is one in {run_in_outputs}.")


def offered(words: str, shell: type[BashComplete | ZshComplete] = BashComplete) -> list[str]:
    *before, last = words.split(" ")
    completion = shell(cli, {}, "axsched", "_AXSCHED_COMPLETE")
    return [item.value for item in completion.get_completions(before, last)]


def test_what_a_shell_offers(various: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(various.parent)
    assert offered("show ") == [str(n) for n in range(8)]
    assert offered("logs 3") == ["3"]
    assert offered("trials --columns trial,lo") == ["trial,loss", "trial,loss_sem"]
    assert offered("trials --sort spe") == ["speed", "speed_sem"]
    assert offered("trials --state early_stopped,com") == ["early_stopped,completed"]
    assert "trials" in offered("tr", ZshComplete)
    monkeypatch.chdir(tmp_path)
    assert offered("show ") == []
    assert offered(f"trials {various} --sort spe") == ["speed", "speed_sem"]
