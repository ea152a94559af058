"""AxScheduler: Ax on one side, a runner on the other, an experiment directory in between."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.files import read_any
from axsched_hpc.ax_bridge.model import BestByModel
from axsched_hpc.core.config import SchedulerConfig, boolean, duration, path_text, whole_number
from axsched_hpc.core.errors import ConfigError, ObjectiveError
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop.opening import read_bridge
from axsched_hpc.loop.session import Session
from axsched_hpc.objectives.kinds import Objective
from axsched_hpc.objectives.placeholders import check_placeholders
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.scheduler.batch import BatchTrialContext
from axsched_hpc.scheduler.driver import Driver
from axsched_hpc.scheduler.leaving import close
from axsched_hpc.scheduler.notebook import scheduler_html
from axsched_hpc.scheduler.objective import SetsObjective
from axsched_hpc.scheduler.result import Result
from axsched_hpc.scheduler.warm import StartsWarm
from axsched_hpc.store import saving

if TYPE_CHECKING:
    from ax.api.client import Client
    from ax.core.experiment import Experiment
    from ax.generation_strategy.generation_strategy import GenerationStrategy

log = logging.getLogger("axsched_hpc")


class AxScheduler(SetsObjective, StartsWarm):
    """Runs an Ax experiment as Slurm jobs or local processes.

    All that it learns is visible through the object that the caller passed in. What happens is kept in the
    experiment directory (``config["job_output_dir"]``): the same script, started again after whatever stopped
    it, goes on where it was, collects what has finished in the meantime and watches the jobs that still run.

    Parameters
    ----------
    ax_client_or_experiment
        An ``ax.Client``, an ``AxClient`` or an ``Experiment``.
    runner
        Where trials run: :class:`~axsched_hpc.LocalRunner`, :class:`~axsched_hpc.SlurmRunner`,
        :class:`~axsched_hpc.SubmititRunner`, or one of your own.
    config
        Options; see :class:`~axsched_hpc.core.config.SchedulerConfig`.
    generation_strategy
        For an ``Experiment``: how points are suggested. Without it Ax chooses, and the choice is kept.

    Raises
    ------
    ConfigError
        An option or argument is wrong; the message names it.
    """

    def __init__(
        self,
        ax_client_or_experiment: Any,
        runner: BaseRunner,
        config: Mapping[str, Any] | None = None,
        *,
        generation_strategy: GenerationStrategy | None = None,
    ) -> None:
        self._config = SchedulerConfig.from_dict(config)
        if not isinstance(runner, BaseRunner):
            forgotten = isinstance(runner, type) and issubclass(runner, BaseRunner)
            raise ConfigError(
                f"runner is the class {runner.__name__}; write {runner.__name__}() with parentheses."
                if forgotten
                else f"runner is {runner!r} ({type(runner).__name__}), but takes a runner such as "
                "LocalRunner() or SlurmRunner()."
            )
        self._runner = runner
        self._layout = Layout.at(self._config.job_output_dir)
        self._bridge = AxBridge.from_input(
            ax_client_or_experiment,
            generation_strategy=generation_strategy,
            seed=self._config.seed,
            **self._config.of_ax,
        )
        self._objective: Any = None
        self._again = Driver.again
        self._driver: Driver | None = None
        self._finalizer: weakref.finalize[[Session], AxScheduler] | None = None

    @classmethod
    def resume(
        cls, job_output_dir: str | Path, runner: BaseRunner, config: Mapping[str, Any] | None = None
    ) -> AxScheduler:
        """Open an experiment directory without the objects that it was started with.

        Parameters
        ----------
        job_output_dir
            The experiment directory.
        runner
            Where further trials run. Jobs that still run are watched through it, so it should be of the kind
            they were submitted with.
        config
            Options; ``job_output_dir`` need not be among them.

        Raises
        ------
        ConfigError
            There is no experiment in the directory.
        JournalError
            What lies there is damaged.
        """
        layout = Layout.at(job_output_dir)
        if not layout.definition.exists() or not atomic.listing(layout.journal):
            raise ConfigError(
                f"{layout.root} holds no experiment (no definition.json and journal/). Check the path; "
                "to start a new experiment, pass an Ax client to AxScheduler."
            )
        options = {**(config or {}), "job_output_dir": str(layout.root), "resume": "must"}
        bridge = read_bridge(layout, **SchedulerConfig.from_dict(options).of_ax)
        scheduler = cls(bridge.experiment, runner, options, generation_strategy=bridge.generation_strategy)
        scheduler._bridge = bridge
        scheduler._opened(need_objective=False)
        return scheduler

    # ------------------------------------------------------------ the objective

    def _set_objective(self, objective: Any) -> None:
        if isinstance(objective, Objective):
            check_placeholders(objective, self._bridge.parameter_names)
        self._objective = objective
        if self._driver is not None:
            self._driver.set_objective(objective)

    # ------------------------------------------------------------ running

    def run_optimization(
        self, max_trials: int = 10, timeout: float | None = None, synchronous: bool | None = None
    ) -> dict[str, Any]:
        """Run up to ``max_trials`` more trials, after bringing back what an interrupted call left.

        Parameters
        ----------
        max_trials
            A script that was stopped and is started again ends at the same total.
        timeout
            Seconds for the call. At its end nothing new is submitted, and running attempts are cancelled, or
            left to be collected by the next call with ``config["on_timeout"] = "leave"``.
        synchronous
            Rounds of ``max_parallel`` trials, or a freed slot is filled at once; default as in the config.

        Returns
        -------
        dict
            The best observed parameters; with several objectives ``{arm name: parameters}`` of the Pareto
            front. Empty where no trial is completed, or none satisfies the constraints. :attr:`result` has
            more.

        Raises
        ------
        ObjectiveError
            No objective is set, or it cannot be run.
        SubmissionError, ClusterUnavailableError
            Trials cannot be submitted.
        FailureRateError
            The objective is plainly broken.
        ExperimentMismatchError, ExperimentLockedError, JournalError
            The directory cannot be gone on with.
        KeyboardInterrupt, SystemExit
            A signal came; everything is saved, and cluster jobs go on.
        """
        return self._run(max_trials, timeout, synchronous, total=False)

    def run_to(
        self, total: int, timeout: float | None = None, synchronous: bool | None = None
    ) -> dict[str, Any]:
        """Run until the experiment has ``total`` trials, those of earlier runs included.

        A script that makes this call again after its end runs nothing, or what a larger total adds. For all
        else it is :meth:`run_optimization`.

        Parameters
        ----------
        total
            Trials of the experiment, in whatever state.
        timeout, synchronous
            As for :meth:`run_optimization`.
        """
        return self._run(total, timeout, synchronous, total=True)

    def _run(
        self, trials: int, timeout: float | None, synchronous: bool | None, *, total: bool
    ) -> dict[str, Any]:
        whole_number("total" if total else "max_trials", trials)
        limit = None if timeout is None else duration("timeout", timeout)
        rounds = self._config.synchronous if synchronous is None else boolean("synchronous", synchronous)
        return self._opened().optimise(trials, synchronous=rounds, limit=limit, total=total)

    @contextmanager
    def batch_trial_context(self) -> Iterator[BatchTrialContext]:
        """Submit trials of your own choosing as one batch.

        ``batch.add_trial(parameters)`` checks the point at once and returns its trial index. Leaving the
        block submits all, and waits for them where the config says ``synchronous``; else it returns, and
        :meth:`wait` waits. An exception inside the block submits nothing.

        Examples
        --------
        >>> with scheduler.batch_trial_context() as batch:  # doctest: +SKIP
        ...     batch.add_trial({"x": 0.1, "y": 0.2})
        ...     batch.add_trial({"x": 0.3, "y": 0.4})
        """
        driver = self._opened()
        batch = driver.new_batch()
        yield batch
        batch.close()
        if batch.points:
            driver.submit_batch(batch, wait=self._config.synchronous)

    def wait(self, timeout: float | None = None) -> None:
        """Wait for all trials under way, submitting those that still wait for a slot, and asking Ax for none.

        Parameters
        ----------
        timeout
            Seconds after which to return in any case; nothing is cancelled then.
        """
        self._opened().wait(None if timeout is None else duration("timeout", timeout))

    # ------------------------------------------------------------ saving

    def save_experiment(self, path: str | Path) -> None:
        """Save the experiment to a file that ``ax.Client.load_from_json_file`` opens: whole, under a lock.

        Raises
        ------
        ConfigError
            The file cannot be written.
        """
        target = Path(path_text("path", path, "the path of a file")).expanduser().absolute()
        try:
            saving.save(target, self._bridge.snapshot_text())
        except OSError as error:
            raise ConfigError(
                f"The experiment cannot be saved to {target} ({error.strerror or error}). "
                "What was there is unchanged; choose a path in a directory that exists and that is yours."
            ) from error

    def load_experiment(self, path: str | Path) -> None:
        """Go on with an experiment from a file: an ``ax.Client`` or ``AxClient`` snapshot, or a bare
        ``Experiment``.

        :attr:`experiment`, :attr:`generation_strategy` and :attr:`client` are the loaded ones afterwards.

        Raises
        ------
        ConfigError
            It is none of these; nothing changed.
        """
        source = Path(path_text("path", path, "the path of a file")).expanduser().absolute()
        try:
            text = saving.load(source.resolve())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{source} cannot be read ({error}). Nothing changed; check the path."
            ) from error
        try:
            loaded = read_any(text, str(source), seed=self._config.seed)
        except ConfigError as error:
            raise ConfigError(f"{error} Nothing changed.") from None
        bridge = AxBridge(loaded.handles, **self._config.of_ax)
        self.close()
        self._bridge = bridge
        log.info("Loaded %s from %s: %d trial(s).", loaded.kind, source, len(bridge.experiment.trials))

    # ------------------------------------------------------------ what there is

    @property
    def experiment(self) -> Experiment:
        """The Ax experiment: the caller's, or the loaded one."""
        return self._bridge.experiment

    @property
    def generation_strategy(self) -> GenerationStrategy:
        """The Ax generation strategy."""
        return self._bridge.generation_strategy

    @property
    def client(self) -> Client:
        """An ``ax.Client`` over the experiment and the generation strategy."""
        return self._bridge.client

    @property
    def directory(self) -> Path:
        """The experiment directory."""
        return self._layout.root

    @property
    def result(self) -> Result:
        """Best values, front, feasibility, trials, failures and times, by what is observed so far."""
        return self._opened(need_objective=False).result()

    def best_by_model(self) -> BestByModel:
        """The best points by Ax's model, which is fitted for this: it takes a second, or some with many
        trials. What Ax suggests next is not changed by it.
        """
        return self._opened(need_objective=False).best_by_model()

    def export(self, path: str | Path, *, curves: bool = False) -> None:
        """Write the trials to a file, one row per trial: ``.csv``, ``.json``, ``.jsonl`` or ``.parquet``.

        Parameters
        ----------
        path
            Its ending says the format. The file appears as a whole, and replaces one that is there.
        curves
            Write the values that trials reported on their way instead, one row per step and metric.

        Raises
        ------
        ConfigError
            The ending is another one, Parquet's package is not installed, or the file cannot be written.
        """
        target = path_text("path", path, "the path of a file")
        self._opened(need_objective=False).export(target, curves=curves)

    def close(self) -> None:
        """Save, and give the experiment directory back for another driver. Jobs go on.

        The scheduler can be used again afterwards. It also closes by itself when the process ends.
        """
        if self._finalizer is not None:
            self._finalizer()
        self._driver = self._finalizer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _repr_html_(self) -> str:
        """What a notebook shows: where the experiment stands. Nothing is opened or changed by it."""
        session = None if self._driver is None else self._driver.session
        return scheduler_html(self._layout, self._runner, session)

    def _opened(self, *, need_objective: bool = True) -> Driver:
        """The driver; opens the experiment directory when it is first needed."""
        if self._driver is None:
            if need_objective and self._objective is None and not atomic.listing(self._layout.objective):
                raise _no_objective()
            driver = Driver.open(self._layout, self._bridge, self._config, self._runner)
            driver.again = self._again
            self._driver = driver
            self._finalizer = weakref.finalize(self, close, driver.session)
            if self._objective is not None:
                driver.set_objective(self._objective)
        if need_objective and not self._driver.has_objective():
            raise _no_objective()
        return self._driver


def _no_objective() -> ObjectiveError:
    return ObjectiveError(
        "No objective is set, so there is nothing to run. Call set_objective_function, "
        "set_script_objective or set_container_objective first."
    )
