"""What every runner has to keep, as tests that a third party runs on a runner of its own.

Subclass a suite in a test module, and say how a runner is made::

    import pytest
    from axsched_hpc.testing.runner_contract import DetachedRunnerContract
    from mypackage import MyRunner

    class TestMyRunner(DetachedRunnerContract):
        @pytest.fixture
        def make_runner(self):
            return lambda: MyRunner(queue="test")

:class:`RunnerContract` suits any runner. :class:`DetachedRunnerContract` adds what holds where attempts run
by themselves, beside the driver, as on a cluster; a runner that executes them inside ``poll`` cannot keep it.

The suites submit real batches, of tiny shell scripts that the real worker runs, into ``workspace``: override
that fixture where pytest's temporary directory is not seen by the machine on which jobs run. A job has
``PATIENCE`` seconds to reach a state; raise it in the subclass for a slow queue.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from axsched_hpc.core.states import JobState
from axsched_hpc.io import atomic, manifest, outcome
from axsched_hpc.io.layout import Layout
from axsched_hpc.io.manifest import Manifest
from axsched_hpc.io.outcome import Outcome
from axsched_hpc.objectives.install import install
from axsched_hpc.objectives.spec import script_objective
from axsched_hpc.runners.base import BaseRunner, Batch, BatchAttempt, JobStatus

# The executions file is appended to by one write of one line, so that two executions cannot hide each other.
# A scheduler that ends a job can signal the sleep before the shell, which must not go on then.
_SCRIPT = """
. "$AXSCHED_PARAMETERS_FILE"
echo "$AXSCHED_TRIAL" >> "$executions"
touch "$started"
sleep "$seconds" || exit
test "$exit_code" = 0 || exit "$exit_code"
echo "{\\"value\\": $AXSCHED_TRIAL}" > "$AXSCHED_METRICS_FILE"
"""

MakeRunner = Callable[[], BaseRunner]


@dataclass(frozen=True)
class Task:
    """What one attempt does: it sleeps, then writes a metric or ends with an exit code."""

    seconds: float = 0.0
    exit_code: int = 0


@dataclass
class Workshop:
    """An experiment directory in which the suite makes batches, as the loop would.

    Attributes
    ----------
    layout
        The experiment directory.
    batches
        All that were made.
    """

    layout: Layout
    objective: str
    batches: list[Batch] = field(default_factory=list)
    _trials: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def at(cls, directory: Path) -> Workshop:
        """Make the experiment directory and install the script."""
        layout = Layout.at(directory / "an experiment")
        script = directory / "task.sh"
        script.write_text(_SCRIPT, encoding="utf-8")
        atomic.make_directory(layout.inbox)
        atomic.make_directory(layout.submitit)
        objective = script_objective(script, {"parameters_format": "env", "interpreter": "sh"})
        return cls(layout, install(layout, objective))

    def batch(self, *tasks: Task) -> Batch:
        """A batch with all its files, not submitted."""
        token = f"contract-{secrets.token_hex(5)}"
        attempts = []
        for task in tasks:
            trial = next(self._trials)
            files = self.layout.attempt(trial, 1)
            atomic.make_directory(files.root)
            parameters: dict[str, float | int | str] = {
                "seconds": task.seconds,
                "exit_code": task.exit_code,
                "executions": str(self.layout.root / "executions.log"),
                "started": str(self.layout.trial(trial) / "started"),
            }
            atomic.write_json(self.layout.parameters(trial), parameters)
            attempts.append(BatchAttempt(trial, 1, files.root))
        places = tuple((item.trial, item.attempt) for item in attempts)
        path = manifest.write(self.layout, Manifest(token, self.layout.root, self.objective, places))
        batch = Batch(token, path, tuple(attempts), self.layout.batch(token))
        atomic.make_directory(batch.folder)
        self.batches.append(batch)
        return batch

    def outcome(self, batch: Batch, index: int) -> Outcome | None:
        """What the attempt published; None where there is nothing."""
        item = batch.attempts[index]
        files = self.layout.attempt(item.trial, item.attempt)
        return outcome.read(files.result) if files.result.name in atomic.listing(files.root) else None

    def started(self, batch: Batch, index: int) -> bool:
        """Whether the attempt's script runs, or has run."""
        return "started" in atomic.listing(self.layout.trial(batch.attempts[index].trial))

    def executions(self) -> list[int]:
        """The trials that were executed, once for each time, sorted."""
        log = self.layout.root / "executions.log"
        return sorted(int(line) for line in log.read_text().split()) if log.exists() else []


class RunnerContract:
    """What holds for every runner.

    Attributes
    ----------
    PATIENCE
        Seconds within which a job has to reach a state.
    PAUSE
        Seconds between two polls.
    """

    PATIENCE = 60.0
    PAUSE = 0.1

    @pytest.fixture
    def make_runner(self) -> MakeRunner:
        """How to make a runner; each call makes a new one over the same cluster."""
        raise NotImplementedError("The subclass has to override the fixture make_runner.")

    @pytest.fixture
    def workspace(self, tmp_path: Path) -> Path:
        """A directory that the machine on which jobs run sees under the same name."""
        return tmp_path

    @pytest.fixture
    def workshop(self, workspace: Path) -> Workshop:
        """Where this test's batches are made."""
        return Workshop.at(workspace)

    @pytest.fixture
    def runner(self, make_runner: MakeRunner, workshop: Workshop) -> Iterator[BaseRunner]:
        """A prepared runner; what a test leaves running is ended, so that nothing stays behind."""
        runner = make_runner()
        runner.prepare(workshop.layout.submitit)
        yield runner
        found = runner.find(workshop.batches)
        jobs = [job for by_index in found.values() for job in by_index.values()]
        runner.cancel(jobs)
        self.wait(runner, jobs, lambda known: all(status.state.final for status in known.values()))

    def wait(
        self,
        runner: BaseRunner,
        jobs: Sequence[str],
        until: Callable[[Mapping[str, JobStatus]], bool],
    ) -> Mapping[str, JobStatus]:
        """Poll until something holds of the answer."""
        deadline = time.monotonic() + self.PATIENCE
        while True:
            known = runner.poll(jobs)
            assert set(known) <= set(jobs), "poll() answered for jobs that were not asked for"
            if until(known):
                return known
            assert time.monotonic() < deadline, f"after {self.PATIENCE:g} s: {known}"
            time.sleep(self.PAUSE)

    def wait_for_end(self, runner: BaseRunner, jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        """Poll until all jobs are in a final state."""
        return self.wait(
            runner, jobs, lambda known: set(known) == set(jobs) and all(s.state.final for s in known.values())
        )

    def submit(self, runner: BaseRunner, batch: Batch) -> list[str]:
        """Submit a batch; the job ids in the order of its attempts."""
        jobs = runner.submit(batch)
        assert sorted(jobs) == list(range(len(batch.attempts))), "not one job id for each index"
        return [jobs[index] for index in sorted(jobs)]

    # ---------------------------------------------------------------- what has to hold

    def test_max_parallel_is_at_least_one(self, runner: BaseRunner) -> None:
        """The bound is a whole number of at least 1."""
        assert isinstance(runner.max_parallel, int) and runner.max_parallel >= 1
        assert runner.settle >= 0

    def test_an_attempt_publishes_its_outcome(self, runner: BaseRunner, workshop: Workshop) -> None:
        """One job runs the worker once, and ends as succeeded."""
        batch = workshop.batch(Task())
        (job,) = self.submit(runner, batch)
        status = self.wait_for_end(runner, [job])[job]
        found = workshop.outcome(batch, 0)
        assert status.state is JobState.SUCCEEDED, status
        assert found is not None and found.metrics == {"value": (0.0, None)}
        assert workshop.executions() == [0]

    def test_a_batch_of_twelve(self, runner: BaseRunner, workshop: Workshop) -> None:
        """Each attempt of a batch has a job of its own and runs once; its place in the batch is its index.

        Twelve, because by their text 10 and 11 come before 2.
        """
        batch = workshop.batch(*[Task()] * 12)
        jobs = self.submit(runner, batch)
        assert len(set(jobs)) == 12, "job ids are not unique"
        ended = self.wait_for_end(runner, jobs)
        assert {status.state for status in ended.values()} == {JobState.SUCCEEDED}
        assert workshop.executions() == list(range(12))
        for index in range(12):
            found = workshop.outcome(batch, index)
            assert found is not None and found.metrics == {"value": (float(index), None)}

    def test_ids_are_unique_over_batches(self, runner: BaseRunner, workshop: Workshop) -> None:
        """Two batches under way at a time have different job ids, and end each by itself."""
        first, second = workshop.batch(Task(), Task()), workshop.batch(Task())
        jobs = self.submit(runner, first) + self.submit(runner, second)
        assert len(set(jobs)) == 3
        self.wait_for_end(runner, jobs)
        assert workshop.executions() == [0, 1, 2]

    def test_a_failing_objective(self, runner: BaseRunner, workshop: Workshop) -> None:
        """The job of a failed attempt ends, and its failure is published; others are untouched."""
        batch = workshop.batch(Task(exit_code=7), Task())
        bad, good = self.submit(runner, batch)
        ended = self.wait_for_end(runner, [bad, good])
        assert ended[good].state is JobState.SUCCEEDED, ended[good]
        found = workshop.outcome(batch, 0)
        assert found is not None and found.failure is not None and found.failure.exit_code == 7

    def test_poll_leaves_out_what_it_does_not_know(self, runner: BaseRunner, workshop: Workshop) -> None:
        """Nothing is said of jobs that do not exist, and it is no error to ask."""
        assert runner.poll([]) == {}
        assert runner.poll(["999999999"]) == {}
        assert runner.poll(["999999998_3", "no job of anybody"]) == {}
        (job,) = self.submit(runner, workshop.batch(Task()))
        assert "999999999" not in self.wait(runner, [job, "999999999"], lambda known: job in known)

    def test_an_end_stays_known_to_be_one(self, runner: BaseRunner, workshop: Workshop) -> None:
        """A job that has ended does not come back to life."""
        (job,) = self.submit(runner, workshop.batch(Task()))
        end = self.wait_for_end(runner, [job])[job].state
        for _ in range(3):
            assert runner.poll([job])[job].state is end

    def test_cancel_before_anything_happened(self, runner: BaseRunner, workshop: Workshop) -> None:
        """Jobs cancelled right after their submission end, and without an outcome."""
        batch = workshop.batch(Task(seconds=600), Task(seconds=600))
        jobs = self.submit(runner, batch)
        runner.cancel(jobs)
        ended = self.wait_for_end(runner, jobs)
        assert JobState.SUCCEEDED not in {status.state for status in ended.values()}
        assert workshop.outcome(batch, 0) is None and workshop.outcome(batch, 1) is None

    def test_cancel_again_and_cancel_the_unknown(self, runner: BaseRunner, workshop: Workshop) -> None:
        """Cancelling twice, after the end, or what does not exist, is no error and changes nothing."""
        runner.cancel([])
        runner.cancel(["999999999", "999999998_3"])
        (job,) = self.submit(runner, workshop.batch(Task()))
        end = self.wait_for_end(runner, [job])[job].state
        runner.cancel([job])
        runner.cancel([job, job])
        assert runner.poll([job])[job].state is end

    def test_find_knows_nothing_of_a_batch_never_submitted(
        self, runner: BaseRunner, workshop: Workshop
    ) -> None:
        """A batch without jobs is left out."""
        assert runner.find([workshop.batch(Task())]) == {}
        assert runner.find([]) == {}


class DetachedRunnerContract(RunnerContract):
    """What holds where attempts run by themselves: they outlive the driver, and can be found again."""

    def wait_for_start(self, workshop: Workshop, batch: Batch) -> None:
        """Wait until all scripts of a batch run."""
        deadline = time.monotonic() + self.PATIENCE
        while not all(workshop.started(batch, index) for index in range(len(batch.attempts))):
            assert time.monotonic() < deadline, f"not started within {self.PATIENCE:g} s"
            time.sleep(self.PAUSE)

    def test_a_failure_is_seen_without_its_outcome(self, runner: BaseRunner, workshop: Workshop) -> None:
        """The job of a failed attempt is no success to the scheduler either."""
        (job,) = self.submit(runner, workshop.batch(Task(exit_code=7)))
        status = self.wait_for_end(runner, [job])[job]
        assert status.state is JobState.FAILED and status.exit_code in (1, None), status

    def test_cancel_ends_what_runs(self, runner: BaseRunner, workshop: Workshop) -> None:
        """Running jobs end within the time that they have, and publish nothing."""
        batch = workshop.batch(Task(seconds=600), Task(seconds=600))
        jobs = self.submit(runner, batch)
        self.wait_for_start(workshop, batch)
        self.wait(runner, jobs, lambda known: {s.state for s in known.values()} == {JobState.RUNNING})
        runner.cancel(jobs)
        ended = self.wait_for_end(runner, jobs)
        assert {status.state for status in ended.values()} == {JobState.CANCELLED}
        assert workshop.outcome(batch, 0) is None and workshop.outcome(batch, 1) is None

    def test_cancel_spares_the_rest_of_the_batch(self, runner: BaseRunner, workshop: Workshop) -> None:
        """One job of a batch can be cancelled alone."""
        batch = workshop.batch(Task(seconds=600), Task(seconds=1))
        long, short = self.submit(runner, batch)
        self.wait_for_start(workshop, batch)
        runner.cancel([long])
        ended = self.wait_for_end(runner, [long, short])
        assert (ended[long].state, ended[short].state) == (JobState.CANCELLED, JobState.SUCCEEDED)

    def test_attempts_of_a_batch_run_side_by_side(self, runner: BaseRunner, workshop: Workshop) -> None:
        """Both have started before either has ended."""
        batch = workshop.batch(Task(seconds=600), Task(seconds=600))
        self.submit(runner, batch)
        self.wait_for_start(workshop, batch)
        assert workshop.outcome(batch, 0) is None and workshop.outcome(batch, 1) is None

    def test_find_right_after_submission(
        self, runner: BaseRunner, make_runner: MakeRunner, workshop: Workshop
    ) -> None:
        """Another runner finds the jobs under the ids that were given, and nothing of another batch."""
        long = Task(seconds=600)
        first, second = workshop.batch(long, long), workshop.batch(long)
        jobs = {b.token: dict(enumerate(self.submit(runner, b))) for b in (first, second)}
        other = make_runner()
        other.prepare(workshop.layout.submitit)
        assert other.find([first, second, workshop.batch(Task())]) == jobs
        assert other.find([second]) == {second.token: jobs[second.token]}

    def test_find_after_the_end(
        self, runner: BaseRunner, make_runner: MakeRunner, workshop: Workshop
    ) -> None:
        """Jobs that have ended are found as well."""
        batch = workshop.batch(Task(), Task(exit_code=1))
        jobs = self.submit(runner, batch)
        self.wait_for_end(runner, jobs)
        assert make_runner().find([batch]) == {batch.token: dict(enumerate(jobs))}

    def test_another_runner_takes_over(
        self, runner: BaseRunner, make_runner: MakeRunner, workshop: Workshop
    ) -> None:
        """A runner made later, as by a driver that was started again, watches and ends the same jobs."""
        batch = workshop.batch(Task(seconds=1), Task(seconds=600))
        short, long = self.submit(runner, batch)
        self.wait_for_start(workshop, batch)
        later = make_runner()
        assert later.poll([long])[long].state is JobState.RUNNING
        later.cancel([long])
        ended = self.wait_for_end(later, [short, long])
        assert all(status.state.final for status in ended.values())
        found = workshop.outcome(batch, 0)
        assert found is not None and found.metrics is not None
        assert workshop.outcome(batch, 1) is None
