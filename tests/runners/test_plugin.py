"""An executor that a submitit plugin registers, through a real entry point."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from submitit.core import plugins

from axsched_hpc import ConfigError, SubmititRunner
from axsched_hpc.core.states import JobState
from axsched_hpc.io import claim
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.testing.runner_contract import RunnerContract, Task, Workshop

#: A plugin as a third party would ship it: submitit's local executor under another name, whose jobs can be
#: opened again by another process. Finished are those that left a result: submitit's own local jobs are that
#: with any exit code, also with the 1 of a Python that was interrupted while it started.
_PLUGIN = """
import os
from submitit.local import local

class PluggedJob(local.LocalJob):
    @property
    def state(self):
        if self._process is not None:
            self._process.poll()
        try:
            os.kill(int(self.job_id), 0)
        except ProcessLookupError:
            return "FINISHED" if self.paths.result_pickle.exists() else "INTERRUPTED"
        return "RUNNING"

class PluggedExecutor(local.LocalExecutor):
    job_class = PluggedJob

    def _submit_command(self, command):
        made = super()._submit_command(command)
        return PluggedJob(folder=self.folder, job_id=made.job_id, process=made._process)

class PluggedEnvironment(local.LocalJobEnvironment):
    pass
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    site = tmp_path / "site"
    about = site / "plugged-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "plugged_executor.py").write_text(_PLUGIN)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[submitit]\nexecutor = plugged_executor:PluggedExecutor\n")
    monkeypatch.syspath_prepend(str(site))
    _forget()
    yield
    monkeypatch.undo()
    sys.modules.pop("plugged_executor", None)
    _forget()


def _forget() -> None:
    plugins._get_plugins.cache_clear()
    plugins.get_executors.cache_clear()


class TestPlugin(RunnerContract):
    @pytest.fixture
    def make_runner(self, plugin: None) -> Callable[[], BaseRunner]:
        return lambda: SubmititRunner("plugged", 20, timeout_min=5)

    def test_another_process_finds_and_watches(
        self, runner: BaseRunner, make_runner: Callable[[], BaseRunner], workshop: Workshop
    ) -> None:
        batch, other = workshop.batch(Task(seconds=1), Task(seconds=1)), workshop.batch(Task())
        jobs = dict(enumerate(self.submit(runner, batch)))
        later = make_runner()
        later.prepare(workshop.layout.submitit)
        assert later.find([batch, other]) == {batch.token: jobs}
        assert {status.state for status in later.poll(list(jobs.values())).values()} == {JobState.RUNNING}
        self.wait_for_end(runner, list(jobs.values()))
        ended = later.poll(list(jobs.values()))
        assert {status.state for status in ended.values()} == {JobState.SUCCEEDED}
        assert later.poll(["../experiment", *jobs.values()]).keys() == set(jobs.values())

    def test_a_job_that_is_told_to_end_while_it_runs_has_not_succeeded(
        self, runner: BaseRunner, workshop: Workshop
    ) -> None:
        batch = workshop.batch(Task(seconds=600))
        (job,) = self.submit(runner, batch)
        deadline = time.monotonic() + self.PATIENCE
        while not workshop.started(batch, 0):
            assert time.monotonic() < deadline
            time.sleep(self.PAUSE)
        owner = claim.read(AttemptFiles(batch.attempts[0].directory))
        assert owner is not None
        os.kill(owner.pid, signal.SIGTERM)
        assert self.wait_for_end(runner, [job])[job].state is JobState.FAILED
        assert workshop.outcome(batch, 0) is None


def test_an_executor_that_nobody_registers(tmp_path: Path) -> None:
    runner = SubmititRunner("plugged", 2)
    with pytest.raises(ConfigError, match="doesn't know any executor named plugged"):
        runner.prepare(tmp_path)
