"""SubmititAxRunner: Ax's own interface to a runner, over the runners of this package."""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ax.api.protocols.runner import IRunner
from ax.core.base_trial import BaseTrial
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus

from axsched_hpc.ax_bridge.inputs import check_trial, handles_from
from axsched_hpc.ax_plugin import engine
from axsched_hpc.ax_plugin.engine import Engine
from axsched_hpc.ax_plugin.errors import AxRunnerError
from axsched_hpc.core.config import path_text
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.states import TrialState
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop import opening
from axsched_hpc.objectives import install
from axsched_hpc.objectives.kinds import Objective
from axsched_hpc.objectives.placeholders import check_placeholders
from axsched_hpc.runners import settings
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.scheduler.objective import SetsObjective

_STATUS = {
    TrialState.COMPLETED: TrialStatus.COMPLETED,
    TrialState.EARLY_STOPPED: TrialStatus.EARLY_STOPPED,
    TrialState.FAILED: TrialStatus.FAILED,
    TrialState.ABANDONED: TrialStatus.ABANDONED,
}


class SubmititAxRunner(SetsObjective, IRunner):
    """Runs the trials of an Ax experiment as Slurm jobs or local processes, driven by Ax itself.

    Set it by ``Client.configure_runner`` or as ``experiment.runner``, beside
    :class:`~axsched_hpc.ax_plugin.FileMetric`; ``Client.run_trials`` and Ax's ``Orchestrator`` do the rest.
    What runs is set by the same calls as for :class:`~axsched_hpc.AxScheduler`. It is saved with the
    experiment, in JSON and in SQL, and goes on in a new process, without the objective being set again.

    Parameters
    ----------
    directory
        The experiment directory, on a file system that all nodes share: of this experiment alone.
    runner
        Where attempts run: :class:`~axsched_hpc.SlurmRunner`, :class:`~axsched_hpc.LocalRunner`,
        :class:`~axsched_hpc.SubmititRunner`, or one of your own.
    config
        ``monitoring_interval``, ``cleanup_after_completion``, ``retries``, ``lost_after``, ``stuck_after``,
        ``takeover_after`` and ``permissions``, as for AxScheduler.
    objective
        The name of an objective that is installed in the directory, as in what was saved; None for the one
        that is set, or ran last.

    Raises
    ------
    ConfigError
        An argument is wrong.
    """

    def __init__(
        self,
        directory: str | Path,
        runner: BaseRunner,
        config: Mapping[str, Any] | None = None,
        *,
        objective: str | None = None,
    ) -> None:
        if not isinstance(runner, BaseRunner):
            raise ConfigError(
                f"runner is {runner!r:.80} ({type(runner).__name__}), but takes a runner such as "
                "LocalRunner() or SlurmRunner(...)."
            )
        self._layout = Layout.at(path_text("directory", directory))
        self.directory = str(self._layout.root)
        self.runner = runner
        engine.checked(config or {}, self._layout)
        try:
            self.config: dict[str, Any] = json.loads(json.dumps(dict(config or {})))
        except (TypeError, ValueError):
            raise ConfigError(
                "config holds a value which JSON lacks, so that the experiment could not be saved. Use "
                "numbers, strings, lists and dicts."
            ) from None
        self.objective = objective
        self._unchecked: Objective | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.directory!r}, {self.runner!r})"

    # ------------------------------------------------------------ saving

    @classmethod
    def serialize_init_args(cls, obj: Any) -> dict[str, Any]:
        """What makes the same runner again, as JSON values.

        Raises
        ------
        ConfigError
            The inner runner cannot be saved; says why.
        """
        return {
            "directory": obj.directory,
            "runner": settings.describe(obj.runner),
            "config": obj.config,
            "objective": obj.objective,
        }

    @classmethod
    def deserialize_init_args(
        cls, args: dict[str, Any], decoder_registry: Any = None, class_decoder_registry: Any = None
    ) -> dict[str, Any]:
        """The arguments from :meth:`serialize_init_args`."""
        return {
            "directory": args["directory"],
            "runner": settings.make(args["runner"]),
            "config": args.get("config"),
            "objective": args.get("objective"),
        }

    # ------------------------------------------------------------ the objective

    def _set_objective(self, objective: Any) -> None:
        opening.make_directories(self._layout, engine.checked(self.config, self._layout).permissions)
        self._unchecked = objective if isinstance(objective, Objective) else None
        if (there := engine.find(self._layout)) is not None:
            self._check(there)
        self.objective = install.install(self._layout, objective)
        if there is not None:
            there.use(self.objective)

    def _check(self, there: Engine) -> None:
        """Check what can only be checked once it is known which parameters there are."""
        if self._unchecked is not None:
            check_placeholders(self._unchecked, there.bridge.parameter_names)
            self._unchecked = None

    # ------------------------------------------------------------ running

    def run(self, trial: BaseTrial) -> dict[str, Any]:
        """Submit a trial; see :meth:`run_multiple`."""
        return self.run_multiple([trial])[trial.index]

    def run_multiple(self, trials: Iterable[BaseTrial]) -> dict[int, dict[str, Any]]:
        """Submit trials, all in one batch: for Slurm, one job array.

        A trial that was submitted before, by whatever process, is not run again: its job or result is taken
        over. What finds no slot waits, and is submitted when Ax polls.

        Returns
        -------
        dict
            For each trial ``directory``, ``attempt``, ``job`` and ``token``, as far as they are known yet.

        Raises
        ------
        AxRunnerError
            Nothing was submitted; the message says why, and what to do.
        """
        with _stopping_ax():
            wanted = [check_trial(trial) for trial in trials]
            if not wanted:
                return {}
            opened = self._opened(wanted[0].experiment)
            opened.start(wanted)
            return {trial.index: self._metadata(opened, trial.index) for trial in wanted}

    def poll_trial_status(self, trials: Iterable[BaseTrial]) -> dict[TrialStatus, set[int]]:
        """Where trials stand, by one listing of the inbox and, where that is due, one query for all jobs.

        Raises
        ------
        AxRunnerError
            The directory cannot be used, or knows nothing of a trial.
        """
        with _stopping_ax():
            asked = list(trials)
            found: dict[TrialStatus, set[int]] = defaultdict(set)
            if asked:
                opened = self._opened(asked[0].experiment)
                opened.look()
                for trial in asked:
                    found[self._status(opened, trial.index)].add(trial.index)
            return dict(found)

    def poll_available_capacity(self) -> int:
        """How many more trials find a slot now: the inner runner's ``max_parallel``, less those under way."""
        with _stopping_ax():
            held = engine.find(self._layout)
            # Before Ax has polled, it is not known which of the directory's trials it has.
            return max(0, self.runner.max_parallel - (0 if held is None else held.under_way()))

    def poll_exception(self, trial: BaseTrial) -> str:
        """Why a trial failed: the worker's message, with what the objective wrote last."""
        with _stopping_ax():
            known = engine.ledger_of(self._layout).trials.get(trial.index)
            return known.reason if known is not None else ""

    def stop(self, trial: BaseTrial, reason: str | None = None) -> dict[str, Any]:
        """End a trial's job, or take it from the queue. What it has reported of its curve stays."""
        with _stopping_ax():
            return self._stop(self._opened(trial.experiment), trial.index, reason)

    def bring_back(self, client: Any) -> list[int]:
        """Give Ax the trials back that it has lost: those that were run after the experiment was last saved.

        They are running as far as Ax is concerned, until it polls; their results and jobs are in the
        directory. Call it after the experiment was loaded, before ``run_trials``. Doing it again changes
        nothing. :func:`axsched_hpc.ax_plugin.bring_back` finds the runner of a client.

        Parameters
        ----------
        client
            The ``ax.Client``, with this runner.

        Returns
        -------
        list of int
            The indices of these trials.

        Raises
        ------
        AxRunnerError
            The directory is another experiment's, or the trials that both know differ.
        """
        with _stopping_ax():
            handles = handles_from(client)
            opened = self._opened(handles.experiment)
            lost = opened.restore(handles)
            for number in lost:
                handles.experiment.trials[number].update_run_metadata(self._metadata(opened, number))
            if lost and handles.client.db_settings_set:
                # At its next steps Ax saves only what it has changed itself.
                handles.client.set_experiment(handles.experiment)
                handles.client.set_generation_strategy(handles.generation_strategy)
            return lost

    def close(self) -> None:
        """Give the directory back for another process. Jobs go on; the next call opens it again.

        It closes by itself when the process ends.
        """
        engine.release(self._layout)

    # ------------------------------------------------------------ one trial at a time, as IRunner has it

    def run_trial(self, trial_index: int, parameterization: Mapping[str, Any]) -> dict[str, Any]:
        """Not for use: Ax runs trials by :meth:`run_multiple`, which knows the experiment.

        Raises
        ------
        AxRunnerError
            Always.
        """
        raise AxRunnerError(
            f"Trial {trial_index} cannot be run by its parameters alone. Call run(trial), or let "
            "Client.run_trials or an Orchestrator do so."
        )

    def poll_trial(self, trial_index: int, trial_metadata: Mapping[str, Any]) -> TrialStatus:
        """Where a trial of the experiment stands that is under way here."""
        with _stopping_ax():
            held = self._held()
            held.look()
            return self._status(held, trial_index)

    def stop_trial(self, trial_index: int, trial_metadata: Mapping[str, Any]) -> dict[str, Any]:
        """End a trial of the experiment that is under way here."""
        with _stopping_ax():
            return self._stop(self._held(), trial_index, None)

    # ------------------------------------------------------------ inside

    def _opened(self, experiment: Experiment) -> Engine:
        key = {"runner": _identity(self.runner), "config": self.config}
        held = engine.opened(self._layout, experiment, self.runner, self.config, key)
        self._check(held)
        held.use(self.objective)
        return held

    def _held(self) -> Engine:
        held = engine.find(self._layout)
        if held is None:
            raise ConfigError(
                f"No trial of {self.directory} was run or polled in this process yet. Let Client.run_trials "
                "or an Orchestrator do so, or call poll_trial_status with the trials."
            )
        return held

    def _status(self, opened: Engine, number: int) -> TrialStatus:
        known = opened.session.ledger.trials.get(number)
        if known is None:
            self._unknown(number)
        return _STATUS.get(known.state, TrialStatus.RUNNING)

    def _stop(self, opened: Engine, number: int, reason: str | None) -> dict[str, Any]:
        if number not in opened.session.ledger.trials:
            self._unknown(number)
        opened.stop(number, reason or "stopped by Ax")
        return self._metadata(opened, number)

    def _unknown(self, number: int) -> NoReturn:
        raise ConfigError(
            f"Trial {number} is running as far as Ax knows, but {self.directory} has no record of it: it was "
            "not run by this runner. Complete it, or mark it failed (client.mark_trial_failed), and go on."
        )

    def _metadata(self, opened: Engine, number: int) -> dict[str, Any]:
        attempt = opened.session.ledger.trials[number].attempt
        known: Sequence[tuple[str, Any]] = (
            []
            if attempt is None
            else [("attempt", attempt.number), ("job", attempt.job), ("token", attempt.token)]
        )
        return {"directory": self.directory, **dict(known)}


def bring_back(client: Any) -> list[int]:
    """Give an ``ax.Client`` that was loaded the trials back that were run after it was saved.

    Returns
    -------
    list of int
        Their indices; see :meth:`SubmititAxRunner.bring_back`.

    Raises
    ------
    AxRunnerError
        The client's experiment has no :class:`SubmititAxRunner`, or the trials that both know differ.
    """
    with _stopping_ax():
        runner = handles_from(client).experiment.runner
        if not isinstance(runner, SubmititAxRunner):
            raise ConfigError(
                f"The runner of this client is {runner!r:.80}, not a SubmititAxRunner: call "
                "client.configure_runner first."
            )
        return runner.bring_back(client)


def _identity(runner: BaseRunner) -> Any:
    """What is equal for runners that can stand for each other."""
    try:
        return settings.describe(runner)
    except ConfigError:
        return runner


@contextlib.contextmanager
def _stopping_ax() -> Iterator[None]:
    """Let Ax stop at any error, rather than try again blindly or abandon trials whose jobs run."""
    try:
        yield
    except AxRunnerError:
        raise
    except Exception as error:
        text = str(error) or type(error).__name__
        raise AxRunnerError(text) from error
