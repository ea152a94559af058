"""The commands that change a run, on directories in which no driver answers; tests/e2e has those that do."""

from __future__ import annotations

import json
import socket
import stat
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from axsched_hpc.cli import cli
from axsched_hpc.core.changes import Change
from axsched_hpc.core.errors import ConfigError, ParameterError, StorageError
from axsched_hpc.core.events import RequestAnswered, Setting
from axsched_hpc.core.states import RequestKind, TrialState
from axsched_hpc.io import requests
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.reading import read_experiment
from tests.cli.conftest import Story

K = RequestKind


def axsched(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="axsched", terminal_width=100)


def laid(directory: Path) -> list[Change]:
    return [change for _, change in requests.waiting(Layout.at(directory)) if change is not None]


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    """An experiment whose driver, this process, is alive and does not look."""
    story = Story().opened().added(0, 1).submitted(0, 1).started(0, 1).succeeded(0, 0.5)
    root = story.write(tmp_path / "silent")
    text = json.dumps({"axsched": {"fingerprint": {"parameters": {"rate": {}, "kind": {}}}}})
    (root / "definition.json").write_text(text)
    return root


def test_without_a_driver_a_request_waits_for_the_next_one(finished: Path) -> None:
    done = axsched("pause", finished)
    assert (done.exit_code, done.stdout) == (
        0,
        f"No driver is at work in {finished}. The request waits for the next one.\n",
    )
    (change,) = laid(finished)
    assert change.request is K.PAUSE
    assert change.by.endswith(f"@{socket.gethostname()}")
    assert time.time() - change.time < 60
    (path,) = (finished / "inbox").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "request: pause, by " in axsched("status", finished).stdout
    record = json.loads(axsched("cancel", 0, 2, finished, "--json").stdout)
    assert record["driver"] is None
    assert [(each["trial"], each["state"], each["answer"]) for each in record["requests"]] == [
        (0, "waiting", None),
        (2, "waiting", None),
    ]
    waiting = json.loads(axsched("status", "--json", finished).stdout)["changes"]["waiting"]
    assert [(each["request"], each["trial"]) for each in waiting] == [
        ("pause", None),
        ("cancel", 0),
        ("cancel", 2),
    ]


def test_there_is_nothing_to_stop_where_no_driver_is_at_work(finished: Path) -> None:
    done = axsched("stop", finished, "--cancel")
    assert done.exit_code == 0
    assert done.stdout == f"Nothing to stop: no driver is at work in {finished}.\n"
    assert json.loads(axsched("stop", "--json", finished).stdout)["requests"] == []
    assert laid(finished) == []


def test_a_driver_that_does_not_answer_is_named(silent: Path) -> None:
    began = time.monotonic()
    done = axsched("stop", silent, "--wait", "0.2")
    assert time.monotonic() - began < 10
    assert done.exit_code == 0
    assert done.stdout.startswith("The request waits, and process ")
    assert f" on {socket.gethostname()} (last sign of life " in done.stdout
    (change,) = laid(silent)
    assert (change.request, change.epoch, change.cancel) == (K.STOP, 1, False)


def test_what_makes_no_sense_is_refused_before_it_is_laid_down(silent: Path, tmp_path: Path) -> None:
    assert isinstance(axsched("cancel", 7, silent).exception, ConfigError)
    unknown = axsched("add", "rte=0.5", "kind=a", silent).exception
    assert isinstance(unknown, ParameterError)
    assert "the point: there is no parameter 'rte'. Did you mean 'rate'?" in str(unknown)
    table = tmp_path / "points.csv"
    table.write_text("rate,kind\n0.5\n")
    assert "line 2: it has 1 cells" in str(axsched("add", "--from", table, silent).exception)
    table.write_text('[{"rate": [1]}, 3]')
    said = str(axsched("add", "--from", table, silent).exception)
    assert "point 0: the value of 'rate' is a list" in said
    assert "point 1: it is no object" in said
    table.write_bytes(b"\xff\xfe")
    assert "cannot be read" in str(axsched("import", table, silent).exception)
    for words in (
        ("set", silent),
        ("set", silent, "--trials", 0),
        ("cancel", silent),
        ("cancel", silent, 1),
        ("add", silent),
        ("add", "rate=1", "rate=2", silent),
        ("add", "rate=1", "--from", table, silent),
        ("import", tmp_path / "missing.csv", silent),
    ):
        assert axsched(*words).exit_code == 2, words
    assert laid(silent) == []
    assert isinstance(axsched("pause", tmp_path).exception, ConfigError)


def test_points_and_sources_go_into_the_request(silent: Path, tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    table.write_text("\ufeffrate,kind\n0.5,a\n0.25,\n", encoding="utf-8")
    wait = ("--wait", 0)
    axsched("add", "--from", table, silent, *wait)
    axsched("add", "rate=1e-3", "kind=a=b", silent, *wait)
    table.write_text('{"rate": 2.5, "kind": null}')
    axsched("add", "--from", table, silent, *wait)
    axsched("import", table, silent, "--skip-bad", *wait)
    axsched("import", silent, silent, *wait)
    csv, pairs, one, text, directory = laid(silent)
    assert csv.points == ({"rate": "0.5", "kind": "a"}, {"rate": "0.25"})
    assert csv.places == ("line 2", "line 3")
    assert pairs.points == ({"rate": "1e-3", "kind": "a=b"},)
    assert one.points == ({"rate": 2.5, "kind": None},)
    assert (text.text, text.skip_bad) == ('{"rate": 2.5, "kind": null}', True)
    assert (directory.source, directory.text) == (str(silent), None)


def test_a_directory_that_cannot_be_written_is_named(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (finished / "inbox").write_text("in the way")
    error = axsched("pause", finished).exception
    assert isinstance(error, StorageError)
    assert f"{finished / 'inbox'} cannot be written" in str(error)


def test_status_shows_what_requests_have_changed(tmp_path: Path) -> None:
    story = Story().opened().added(0).submitted(0).started(0)

    def took(kind: RequestKind, **fields: object) -> None:
        now = story.tick()
        answer = RequestAnswered(now, f"{now}", kind, "ada@login1", now, True, "done", **fields)  # type: ignore[arg-type]
        story.events.append(answer)

    took(K.PAUSE)
    took(K.SET, trials=Setting(40, 20), max_parallel=Setting(16, 4))
    took(K.CANCEL, trial=0)
    took(K.STOP)
    root = story.write(tmp_path / "changed")
    said = axsched("status", root).stdout
    age = r"by ada@login1 1h59m ago"
    assert f"\nstopping: {age}\n" in said
    assert f"\npaused: {age}; nothing new is submitted until axsched resume {root}\n" in said
    assert f"\nbudget: 40 trials instead of 20, {age}\n" in said
    assert f"\nmax_parallel: 16 instead of 4, {age}\n" in said
    assert "\nbeing cancelled: trial 0\n" in said
    changes = json.loads(axsched("status", "--json", root).stdout)["changes"]
    assert changes["trials"] == {"value": 40, "said": 20, **changes["max_parallel"]} | {
        "value": 40,
        "said": 20,
    }
    assert changes["cancelling"] == [0]
    assert "  wanted  to be cancelled by ada@login1\n" in axsched("show", 0, root).stdout
    assert read_experiment(root).ledger.trials[0].state is TrialState.RUNNING


@pytest.mark.parametrize(
    ("words", "offered"),
    [("axsched cancel ", "0\n1"), ("axsched retry 0 ", "0\n1"), ("axsched add r", "rate=")],
)
def test_a_shell_is_offered_trials_and_parameters(
    silent: Path, monkeypatch: pytest.MonkeyPatch, words: str, offered: str
) -> None:
    monkeypatch.chdir(silent)
    count = len(words.split()) - (not words.endswith(" "))
    environment = {"_AXSCHED_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    done = CliRunner().invoke(cli, [], prog_name="axsched", env=environment)
    assert "\n".join(line.partition(",")[2] for line in done.stdout.splitlines()) == offered
