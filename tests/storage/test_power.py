"""A machine that loses its power: what its disk has then is what was synced, and what the kernel happened to
write by itself. The disk is a real filesystem in a file, a copy of which is the disk after the loss.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import LocalRunner
from axsched_hpc.core.errors import AxSchedError
from axsched_hpc.core.states import TrialState
from axsched_hpc.io import atomic, outcome
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.runners.local_jobs import command_lines
from tests.slurm.fixtures import missing
from tests.storage.kit import ended, forked, scheduler, wait_until
from tests.storage.mounts import mounted

SLOTS, TRIALS = 3, 20

pytestmark = pytest.mark.timeout(240)


class Machine:
    """A disk of 100 MB, and what runs on it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._image, self._stack = folder / "disk.img", stack
        self.disk = folder / "disk"
        self.executions = folder / "executions.log"
        self.output = folder / "output"
        self.disk.mkdir()
        self.executions.touch()
        with self._image.open("wb") as file:
            file.truncate(100_000_000)
        if shutil.which("mkfs.ext4") is None:
            missing("there is no mkfs.ext4 (e2fsprogs).", "AXSCHED_REQUIRE_NFS")
        subprocess.run(["mkfs.ext4", "-q", str(self._image)], check=True)
        self._mount()

    def _mount(self) -> None:
        self._stack.enter_context(mounted(self.disk, "-o", "loop", str(self._image)))

    def lose_power(self, driver: int) -> None:
        """End all processes at once, and have the disk back as it was in that moment."""
        end_all(driver, self.disk)
        copy = self._image.with_suffix(".after")
        shutil.copyfile(self._image, copy)
        ended(driver)
        self._stack.pop_all().close()
        copy.replace(self._image)
        self._mount()

    def executed(self) -> Counter[str]:
        """How often each point was executed to its end."""
        return Counter(self.executions.read_text().splitlines())


def end_all(driver: int, directory: Path) -> None:
    """Kill a driver, and the workers below a directory."""
    os.kill(driver, signal.SIGKILL)
    for pid, words in command_lines():
        if any(word.startswith(str(directory)) for word in words):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with ExitStack() as stack:
        yield Machine(tmp_path, stack)


def objective(log: Path) -> Callable[[dict[str, Any]], dict[str, float]]:
    where = str(log)

    def bowl(parameters: dict[str, Any]) -> dict[str, float]:
        import time
        from pathlib import Path

        time.sleep(0.05)
        with Path(where).open("a") as file:
            file.write(f"{parameters['x']!r} {parameters['y']!r}\n")
        return {"loss": (parameters["x"] - 0.3) ** 2 + (parameters["y"] - 0.7) ** 2}

    return bowl


def completed(root: Path) -> dict[int, Path]:
    """The results of the trials that a driver has recorded: their notices came after them."""
    layout = Layout.at(root)
    try:
        trials = read_experiment(root).ledger.trials
    except AxSchedError:
        return {}  # there is none yet
    return {n: layout.attempt(n, 1).result for n, t in trials.items() if t.state is TrialState.COMPLETED}


@pytest.mark.parametrize("after", [1, 5, 9])
def test_after_a_loss_of_power_the_run_goes_on_with_all_that_was_published(
    machine: Machine, after: int
) -> None:
    root = machine.disk / "here" / "run"

    def run() -> None:
        made = scheduler(root, LocalRunner(max_parallel=SLOTS), TRIALS)
        made.set_objective_function(objective(machine.executions))
        made.run_optimization(max_trials=TRIALS)

    driver = forked(run, machine.output)
    wait_until(lambda: len(completed(root)) >= after)
    recorded = completed(root)
    machine.lose_power(driver)
    for trial, path in recorded.items():
        assert outcome.read(path).trial == trial, "what was published is there"
    for claim in root.glob("trials/*/*/claim.json"):
        assert claim.read_text(), "a claim is whole or not there"
    code = ended(forked(run, machine.output))
    assert code == 0, machine.output.read_text()
    ledger = read_experiment(root).ledger
    assert sorted(ledger.trials) == list(range(TRIALS))
    assert {trial.state for trial in ledger.trials.values()} == {TrialState.COMPLETED}
    for trial in ledger.trials.values():
        assert trial.metrics == {
            "loss": ((trial.parameters["x"] - 0.3) ** 2 + (trial.parameters["y"] - 0.7) ** 2, None)
        }
    executed = machine.executed()
    assert len(executed) == TRIALS
    # Those whose results were not published yet.
    assert sum(executed.values()) <= TRIALS + SLOTS
    assert max(executed.values()) <= 2


def test_what_was_not_synced_is_made_again_or_done_without(tmp_path: Path) -> None:
    """The worst that a loss of power leaves of it: names without content, and claims without a name."""
    root, executions, output = tmp_path / "here" / "run", tmp_path / "executions.log", tmp_path / "output"
    executions.touch()

    def run() -> None:
        made = scheduler(root, LocalRunner(max_parallel=SLOTS), TRIALS)
        made.set_objective_function(objective(executions))
        made.run_optimization(max_trials=TRIALS)

    driver = forked(run, output)
    wait_until(lambda: len(executions.read_text().splitlines()) >= 5)
    end_all(driver, root)
    ended(driver)
    layout, ledger = Layout.at(root), read_experiment(root).ledger
    published = 0
    for trial in ledger.trials:
        files = layout.attempt(trial, 1)
        if not files.root.exists():
            continue
        names = [layout.parameters(trial), files.metrics]
        if files.result.exists():
            published += 1
            names.append(layout.notice(trial, 1))
        elif files.claim.exists():
            files.claim.unlink()
        for path in names:
            atomic.write(path, "", sync=False)
    assert published
    code = ended(forked(run, output))
    assert code == 0, output.read_text()
    ledger = read_experiment(root).ledger
    assert sorted(ledger.trials) == list(range(TRIALS))
    assert {trial.state for trial in ledger.trials.values()} == {TrialState.COMPLETED}
    executed = Counter(executions.read_text().splitlines())
    assert len(executed) == TRIALS and sum(executed.values()) <= TRIALS + SLOTS
    assert [name for name in atomic.listing(layout.inbox) if layout.inbox.joinpath(name).stat().st_size] == []
