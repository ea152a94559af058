"""Opening, closing and losing an experiment directory."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.errors import (
    ConfigError,
    ExperimentLockedError,
    ExperimentMismatchError,
    JournalError,
    SupersededError,
)
from axsched_hpc.core.events import LeaseTaken, ObjectiveSet
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.loop.session import Session
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.store import journal
from axsched_hpc.store.writer import JournalWriter
from tests.loop.conftest import client
from tests.loop.simulated import VirtualClock


def opened(folder: Path, made: Any = None, **options: Any) -> Session:
    bridge = AxBridge.from_input(made if made is not None else client())
    return Session.open(Layout.at(folder), bridge, SchedulerConfig.from_dict(options), VirtualClock())


def test_a_superseded_driver_writes_neither_journal_nor_snapshot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = opened(tmp_path)
    session.save()
    before = session.layout.snapshot.read_bytes()
    own = (tmp_path / "journal" / "00001.jsonl").read_bytes()
    # As if the lock had failed, and another driver had gone on after this one was stopped for a while.
    JournalWriter(session.layout.journal, 2, LeaseTaken(1.0, FORMAT, "elsewhere", 1, None, None, "ada", 60.0))
    with caplog.at_level(logging.WARNING, logger="axsched_hpc"):
        session.save()
    assert "is left alone. Process 1 on elsewhere has taken this experiment over" in caplog.text
    with pytest.raises(SupersededError, match="without changing anything"):
        session.record(ObjectiveSet(1.0, "o", "w"))
    with pytest.raises(SupersededError):
        session.check()
    session.close(orderly=True)
    assert session.layout.snapshot.read_bytes() == before
    assert (tmp_path / "journal" / "00001.jsonl").read_bytes() == own


def test_each_driver_has_an_epoch_and_says_what_it_has_read(tmp_path: Path) -> None:
    for _ in range(3):
        opened(tmp_path).close(orderly=False)
    segments = journal.read(tmp_path / "journal")
    assert [segment.epoch for segment in segments] == [1, 2, 3]
    previous = [segment.previous for segment in segments]
    assert previous == [{}, {"00001.jsonl": segments[0].size}, {"00002.jsonl": segments[1].size}]


def test_a_driver_that_died_before_its_first_line_is_passed_over(tmp_path: Path) -> None:
    opened(tmp_path).close(orderly=False)
    (tmp_path / "journal" / "00002.jsonl").touch(mode=0o600)
    session = opened(tmp_path)
    session.close(orderly=True)
    (first, third) = journal.read(tmp_path / "journal")
    assert (first.epoch, third.epoch) == (1, 3)


def test_one_session_at_a_time_in_one_process_too(tmp_path: Path) -> None:
    session = opened(tmp_path)
    with pytest.raises(ExperimentLockedError, match="another AxScheduler in this very process"):
        opened(tmp_path)
    session.close(orderly=True)
    opened(tmp_path).close(orderly=True)


def test_another_experiment_is_refused_with_the_differences(tmp_path: Path) -> None:
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    opened(tmp_path).close(orderly=True)
    other = Client()
    other.configure_experiment(
        parameters=[RangeParameterConfig(name="x", parameter_type="float", bounds=(0.0, 0.5))]
    )
    other.configure_optimization(objective="loss")
    journal_before = sorted(path.name for path in (tmp_path / "journal").iterdir())
    with pytest.raises(ExperimentMismatchError) as caught:
        opened(tmp_path, other)
    assert "parameter 'x': range 0.0..1.0 there, 0.0..0.5 here" in str(caught.value)
    assert "the objective 'minimize loss' is there, not here" in str(caught.value)
    assert sorted(path.name for path in (tmp_path / "journal").iterdir()) == journal_before


def test_resume_can_be_forbidden_or_demanded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no experiment, and config\\['resume'\\] is 'must'"):
        opened(tmp_path / "a", resume="must")
    opened(tmp_path / "b", resume="never").close(orderly=True)
    with pytest.raises(ConfigError, match="already holds an experiment, and config\\['resume'\\] is 'never'"):
        opened(tmp_path / "b", resume="never")
    opened(tmp_path / "b", resume="must").close(orderly=True)


def test_a_lost_definition_is_named(tmp_path: Path) -> None:
    opened(tmp_path).close(orderly=True)
    (tmp_path / "definition.json").unlink()
    with pytest.raises(JournalError, match=r"definition\.json cannot be read"):
        opened(tmp_path)


def test_everything_is_private(tmp_path: Path) -> None:
    session = opened(tmp_path / "run")
    session.save()
    session.close(orderly=True)
    for path in (tmp_path / "run").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_journal_that_lost_its_end_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close(orderly=True)
    # As if the journal had been cut between two lines: the files of a trial are there, its records are not.
    (tmp_path / "trials" / "00000" / "attempt-1").mkdir(parents=True)
    with pytest.raises(
        JournalError, match=r"knows nothing of trial 0, but its files are there.*axsched repair"
    ):
        opened(tmp_path)


def test_where_the_run_comes_from_is_in_the_journal(tmp_path: Path) -> None:
    config = SchedulerConfig.from_dict(None)
    session = Session.open(Layout.at(tmp_path / "run"), AxBridge.from_input(client()), config, VirtualClock())
    driver = read_experiment(session.layout.root).ledger.driver
    session.close(orderly=True)
    assert driver is not None
    assert driver.provenance["interpreter"] == sys.executable
    assert {"axsched_hpc", "python", "ax-platform", "botorch", "torch", "submitit"} <= set(driver.versions)
