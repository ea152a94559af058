"""What drives the trials that Ax wants to run: the same journal, loop and runners as AxScheduler's, one step
at each of Ax's calls.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ax.core.experiment import Experiment
from ax.core.trial import Trial

from axsched_hpc.ax_bridge.arms import Arms
from axsched_hpc.ax_bridge.data import Observed
from axsched_hpc.ax_bridge.inputs import Handles
from axsched_hpc.ax_bridge.records import Reference
from axsched_hpc.ax_bridge.replay import Replay
from axsched_hpc.ax_plugin.bridge import AskingAx
from axsched_hpc.core import machine
from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.errors import ConfigError, ExperimentMismatchError, ObjectiveError
from axsched_hpc.core.events import TrialAdded
from axsched_hpc.core.ledger import Ledger, arm_key
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop.clock import SystemClock
from axsched_hpc.loop.session import Session
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.scheduler.leaving import close
from axsched_hpc.scheduler.opened import Opened
from axsched_hpc.store import journal


class Engine(Opened):
    """Holds one experiment directory for all runners of this process that work in it."""

    def __init__(
        self, session: Session, runner: BaseRunner, bridge: AskingAx, settings: Mapping[str, Any]
    ) -> None:
        super().__init__(session, runner)
        self.bridge = bridge
        self.settings = settings
        self._used = ""
        self._finalizer = weakref.finalize(self, close, session)

    def use(self, objective: str | None) -> None:
        """Run an installed objective from here on; None: the one that ran last.

        Raises
        ------
        ObjectiveError
            There is none, or it is not whole.
        """
        if self._used and objective in (None, self._used):
            return
        with self._interruptible(None):
            known = self.session.ledger.objective
            name = objective or (known.objective if known is not None else None)
            if name is None:
                raise ObjectiveError(
                    f"No objective is set for {self.session.layout.root}, so there is nothing to run. Call "
                    "set_objective_function, set_script_objective or set_container_objective of the runner."
                )
            self._installed(name)
            self._use_objective(name)
            self._used = name

    def start(self, trials: Sequence[Trial]) -> None:
        """Take trials in, and submit them as far as there are slots. Those that are known already are not run
        again.

        Raises
        ------
        ExperimentMismatchError
            A trial of the same index had other parameters; nothing was submitted.
        SubmissionError
            The scheduler refuses them for good.
        """
        with self._interruptible(None):
            loop = self._prepared()
            known, now = self.session.ledger.trials, self._clock.now()
            new = []
            for trial in trials:
                there = known.get(trial.index)
                if there is None:
                    new.append(self.bridge.added(trial, time=now))
                else:
                    _require_same(there, trial, self.session.layout)
            self.session.record(*new)
            loop.submit_waiting()

    def look(self) -> None:
        """See what has happened, and submit what waits: one listing, and one query where that is due."""
        with self._interruptible(None):
            loop = self._prepared()
            self.session.patience.insist(loop.observe)
            loop.submit_waiting()

    def under_way(self) -> int:
        """How many trials wait, are queued or run, of those that Ax waits for too."""
        ledger, there = self.session.ledger, self.bridge.current.trials
        waiting = (number for number in (*ledger.active, *ledger.waiting) if number in there)
        # Were others counted, Ax could find neither room nor anything to wait for, which is an error to it.
        return sum(there[number].status.is_deployed for number in waiting)

    def stop(self, trial: int, reason: str) -> None:
        """End a trial before its time."""
        with self._interruptible(None):
            self._prepared().stop(trial, reason)

    def restore(self, handles: Handles) -> list[int]:
        """Make trials that Ax has lost again, running as far as Ax is concerned; their indices.

        Raises
        ------
        ExperimentMismatchError
            A trial that both know has other parameters there; nothing was changed.
        """
        experiment = handles.experiment
        added = [
            event
            for event in journal.events(journal.read(self.session.layout.journal))
            if isinstance(event, TrialAdded)
        ]
        for event in added:
            if isinstance(there := experiment.trials.get(event.trial), Trial):
                _require_same(self.session.ledger.trials[event.trial], there, self.session.layout)
        lost = [event for event in added if event.trial not in experiment.trials]
        observed = Observed(experiment)
        Replay(handles, Reference.of(experiment), observed, Arms(experiment, observed)).run(lost)
        return [event.trial for event in lost]

    def close(self) -> None:
        """Give the directory back; jobs go on."""
        self._finalizer()


def _require_same(there: machine.Trial, trial: Trial, layout: Layout) -> None:
    parameters = dict(trial.arm.parameters) if trial.arm is not None else {}
    if arm_key(there.parameters) != arm_key(parameters):
        raise ExperimentMismatchError(
            f"Trial {trial.index} has the parameters {parameters} in Ax, but {layout.root} holds a trial "
            f"{trial.index} with {there.parameters}. Nothing was submitted. If Ax was loaded from a save "
            "that is older than what has been run, load it again and call "
            "axsched_hpc.ax_plugin.bring_back(client) before run_trials; for a new experiment choose another "
            "directory."
        )


# ---------------------------------------------------------------- one for each directory

#: By process, since a fork does not hold what its parent holds, and by directory.
_ENGINES: dict[tuple[int, Path], Engine] = {}


def find(layout: Layout) -> Engine | None:
    """The engine that this process has for a directory."""
    return _ENGINES.get((os.getpid(), layout.root))


def opened(
    layout: Layout,
    experiment: Experiment,
    runner: BaseRunner,
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Engine:
    """The engine of a directory, which is opened where this process does not hold it yet.

    Parameters
    ----------
    settings
        Those of the runner: where they are others than before, the directory is opened anew with them.

    Raises
    ------
    ExperimentMismatchError, ExperimentLockedError, JournalError, ConfigError
        The directory is another experiment's or driver's, or cannot be used.
    """
    there = find(layout)
    if there is not None:
        if there.settings == settings:
            there.bridge.check(experiment)
            return there
        release(layout)
    bridge = AskingAx(experiment)
    session = Session.open(layout, bridge, checked(config, layout), SystemClock())
    engine = Engine(session, runner, bridge, settings)
    _ENGINES[os.getpid(), layout.root] = engine
    return engine


def release(layout: Layout) -> None:
    """Give a directory back that this process holds."""
    engine = _ENGINES.pop((os.getpid(), layout.root), None)
    if engine is not None:
        engine.close()


def ledger_of(layout: Layout) -> Ledger:
    """Where a directory's trials stand; it need not be held, nor exist.

    Raises
    ------
    JournalError
        Its journal is damaged.
    """
    engine = find(layout)
    return engine.session.ledger if engine is not None else journal.replay(journal.read(layout.journal))


#: Options of AxScheduler that say how jobs are watched. The others are Ax's matter here.
OPTIONS = (
    "monitoring_interval",
    "cleanup_after_completion",
    "retries",
    "lost_after",
    "stuck_after",
    "takeover_after",
    "permissions",
)


def checked(config: Mapping[str, Any], layout: Layout) -> SchedulerConfig:
    """The runner's options, checked.

    Raises
    ------
    ConfigError
        One is unknown, wrong, or a matter of Ax.
    """
    whole = SchedulerConfig.from_dict({**config, "job_output_dir": str(layout.root)})
    for key in config:
        if key not in OPTIONS:
            raise ConfigError(
                f"config[{key!r}] is an option of AxScheduler, which does not apply where Ax drives. A "
                f"runner in Ax takes {', '.join(OPTIONS)}."
            )
    return whole
