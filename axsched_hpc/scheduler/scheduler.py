"""AxScheduler: Ax on one side, a runner on the other, an experiment directory in between."""

from __future__ import annotations

import logging
import math
import signal
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.files import read_any
from axsched_hpc.core.config import SchedulerConfig, whole_number
from axsched_hpc.core.errors import AxSchedError, ConfigError, ObjectiveError
from axsched_hpc.core.events import Event, ObjectiveSet, TrialAdded
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop.clock import SystemClock
from axsched_hpc.loop.loop import Goal, Loop, Stop
from axsched_hpc.loop.progress import shown
from axsched_hpc.loop.session import Session, read_definition, summary
from axsched_hpc.loop.signals import EXIT_AGAIN, Interrupts, watching
from axsched_hpc.objectives.install import install
from axsched_hpc.objectives.spec import check_placeholders, container_objective, script_objective
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.scheduler.batch import BatchTrialContext
from axsched_hpc.scheduler.calls import Call, Calls
from axsched_hpc.scheduler.result import Result, best_parameters, collect
from axsched_hpc.store.lock import guarded_write

if TYPE_CHECKING:
    from ax import Client, Experiment
    from ax.generation_strategy.generation_strategy import GenerationStrategy

log = logging.getLogger("axsched_hpc")


class AxScheduler:
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
            raise ConfigError(
                f"runner is {runner!r} ({type(runner).__name__}), "
                "but takes a runner such as LocalRunner() or SlurmRunner()."
            )
        self._runner = runner
        self._layout = Layout.at(self._config.job_output_dir)
        self._clock = SystemClock()
        self._bridge = AxBridge.from_input(
            ax_client_or_experiment, generation_strategy=generation_strategy, seed=self._config.seed
        )
        self._objective: Any = None
        self._session: Session | None = None
        self._loop: Loop | None = None
        self._calls: Calls | None = None
        self._stopped = ""
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
        bridge = AxBridge.from_definition(read_definition(layout))
        options = {**(config or {}), "job_output_dir": str(layout.root), "resume": "must"}
        scheduler = cls(bridge.client, runner, options)
        scheduler._bridge = bridge
        scheduler._attach(need_objective=False)
        return scheduler

    # ------------------------------------------------------------ the objective

    def set_objective_function(self, function: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        """Use a Python function as the objective.

        Parameters
        ----------
        function
            Takes a dict of parameters and returns a dict of metrics; a metric is a number or ``(mean, sem)``,
            with ``None`` for an unknown standard error. It is pickled once, by value where it lives in
            ``__main__`` or a notebook.

        Raises
        ------
        ObjectiveError
            It is not callable.
        """
        if not callable(function):
            raise ObjectiveError(
                f"set_objective_function takes a function of a dict of parameters, "
                f"not {function!r} ({type(function).__name__})."
            )
        self._set_objective(function)

    def set_script_objective(
        self, script_path: str | Path, script_options: Mapping[str, Any] | None = None
    ) -> None:
        """Use a script or any executable as the objective.

        It finds its parameters in the file named by ``AXSCHED_PARAMETERS_FILE`` and writes its metrics to the
        one named by ``AXSCHED_METRICS_FILE``, as JSON (``{"metric": value}`` or ``{"metric": [mean, sem]}``)
        or as lines ``metric value [sem]``.

        Parameters
        ----------
        script_path
            An executable, or a ``.py`` or ``.sh`` file. It is copied, so that a later edit does not change
            running trials.
        script_options
            ``interpreter``, ``args``, ``environment``, ``timeout`` (seconds), ``working_directory``,
            ``copy``, ``parameters_format`` ("json", "yaml", "env", "toml").

        Raises
        ------
        ObjectiveError
            The script is missing or cannot be executed.
        ConfigError
            An option is unknown or wrong.
        """
        self._set_objective(script_objective(script_path, script_options))

    def set_container_objective(
        self, container_image: str, container_command: Any, container_options: Mapping[str, Any] | None = None
    ) -> None:
        """Use a container as the objective.

        Parameters
        ----------
        container_image
            A path or name of an image, as the engine takes it.
        container_command
            What to run inside: a string, split like a shell does but run without one, or a list.
            ``{params_file}`` and ``{output_file}`` are replaced by the files' paths as seen inside.
        container_options
            ``engine`` ("auto", "apptainer", "singularity", "podman", "docker", "charliecloud"), ``volumes``
            ({host path: container path}), ``env_vars``, ``gpus``, ``workdir``, ``extra_args``.

        Raises
        ------
        ObjectiveError
            The image is a path that is missing.
        ConfigError
            An option is unknown or wrong.
        """
        self._set_objective(container_objective(container_image, container_command, container_options))

    def _set_objective(self, objective: Any) -> None:
        check_placeholders(objective, self._bridge.parameter_names)
        self._objective = objective
        if self._session is not None:
            self._install_objective(self._session)

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
            front. Empty where no trial is completed. :attr:`result` has more.

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
        whole_number("max_trials", max_trials)
        limit = _seconds("timeout", timeout)
        rounds = self._config.synchronous if synchronous is None else _flag("synchronous", synchronous)
        started = self._clock.monotonic()
        session = self._attach()
        calls = self._known_calls()
        call = calls.begin_run(max_trials, synchronous=rounds)
        if call.done:
            log.warning(
                "This call had ended before the script was started again (%s); nothing is run for it.",
                summary(session.ledger),
            )
            return best_parameters(session.ledger, session.problem)
        goal = Goal(
            trials=call.base + max_trials,
            synchronous=rounds,
            deadline=None if limit is None else started + limit,
        )
        self._run(session, goal, call)
        return best_parameters(session.ledger, session.problem)

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
        session = self._attach()
        calls = self._known_calls()
        session.adopt()
        batch = BatchTrialContext(self._bridge, self._bridge.next_trial())
        try:
            yield batch
        finally:
            batch.close()
        if not batch.points:
            return
        call = self._add_batch(session, calls, batch)
        if call.done:
            return
        if self._config.synchronous:
            self._run(session, Goal(trials=session.ledger.own, synchronous=True), call)
        else:
            self._known_loop().submit_waiting()
            calls.end(call, "submitted")

    def wait(self, timeout: float | None = None) -> None:
        """Wait for all trials under way, submitting those that still wait for a slot, and asking Ax for none.

        Parameters
        ----------
        timeout
            Seconds after which to return in any case; nothing is cancelled then.
        """
        limit = _seconds("timeout", timeout)
        session = self._attach()
        deadline = None if limit is None else self._clock.monotonic() + limit
        goal = Goal(trials=session.ledger.own, synchronous=True, deadline=deadline, cancel=False)
        self._run(session, goal, None)

    # ------------------------------------------------------------ saving

    def save_experiment(self, path: str | Path) -> None:
        """Save the experiment to a file that ``ax.Client.load_from_json_file`` opens: whole, under a lock.

        Raises
        ------
        ConfigError
            The file cannot be written.
        """
        target = Path(path).expanduser().absolute()
        try:
            guarded_write(target, self._bridge.snapshot_text())
        except OSError as error:
            raise ConfigError(
                f"The experiment cannot be saved to {target} ({error.strerror or error}). "
                "What was there is unchanged; choose a path in a directory that exists and that you may write."
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
        source = Path(path).expanduser().absolute()
        try:
            text = atomic.read_text(source)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{source} cannot be read ({error}). Nothing changed; check the path."
            ) from error
        kind, handles = read_any(text, str(source))
        bridge = AxBridge(handles)
        self.close()
        self._bridge = bridge
        log.info("Loaded %s from %s: %d trial(s).", kind, source, len(bridge.experiment.trials))

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
        """Best values, front, trials, failures and times, as they stand now."""
        session = self._attach(need_objective=False)
        loop = self._loop
        return collect(
            session.ledger,
            self._bridge,
            session.problem,
            generating=loop.generating if loop is not None else 0.0,
            stopped=self._stopped,
        )

    def close(self) -> None:
        """Save, and give the experiment directory back for another driver. Jobs go on. The scheduler can be
        used again.
        """
        if self._finalizer is not None:
            self._finalizer()
        self._session = self._loop = self._calls = self._finalizer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------ inside

    def _attach(self, *, need_objective: bool = True) -> Session:
        """Open the experiment directory, unless it is open."""
        if self._session is None:
            if need_objective and self._objective is None and not atomic.listing(self._layout.objective):
                raise _no_objective()
            session = Session.open(self._layout, self._bridge, self._config, self._clock)
            self._session = session
            self._calls = Calls(session)
            self._finalizer = weakref.finalize(self, _close, session)
            if self._objective is not None:
                self._install_objective(session)
        if need_objective and self._session.ledger.objective is None:
            raise _no_objective()
        return self._session

    def _install_objective(self, session: Session) -> None:
        name = install(self._layout, self._objective)
        known = session.ledger.objective
        if known is not None and known.objective == name:
            return
        if known is not None and session.ledger.trials:
            log.warning(
                "The objective has changed since the last trials: from here on %s runs.",
                _what(self._objective),
            )
        session.record(ObjectiveSet(self._clock.now(), name, _what(self._objective)))

    def _known_calls(self) -> Calls:
        assert self._calls is not None
        return self._calls

    def _known_loop(self) -> Loop:
        """The loop; the runner is prepared when it is first needed, before anything is submitted."""
        if self._loop is None:
            assert self._session is not None
            self._runner.prepare(self._layout.submitit)
            self._loop = Loop(self._session, self._runner)
        return self._loop

    def _add_batch(self, session: Session, calls: Calls, batch: BatchTrialContext) -> Call:
        known = calls.find_batch(batch.points)
        if known is not None:
            log.info("These %d points were added before the script was started again.", len(known.trials))
            return known
        now = self._clock.now()
        added = [self._bridge.attach(point, time=now) for point in batch.points]
        start = calls.begin_batch([c.trial for c in added], synchronous=self._config.synchronous)
        events: list[Event] = [TrialAdded(now, c.trial, c.arm, c.parameters, "batch", c.ax) for c in added]
        session.record(*events, start)
        return Call(start.ordinal, start.base, start.trials)

    def _run(self, session: Session, goal: Goal, call: Call | None) -> None:
        session.adopt()
        loop = self._known_loop()
        try:
            with watching(self._clock) as interrupts, shown(session, goal.trials):
                stop = loop.run(goal, interrupts)
                self._stopped = stop.value
                session.save()
                if stop is Stop.INTERRUPTED and interrupts.count > 1:
                    loop.cancel("cancelled by the user")
                    session.save()
        except Exception:
            self._stopped = "error"
            session.save()
            raise
        if stop is Stop.INTERRUPTED:
            _leave(session, interrupts)
        if call is not None:
            self._known_calls().end(call, stop.value)


def _leave(session: Session, interrupts: Interrupts) -> None:
    """Say how to go on, and end the way the signal asks for."""
    left = len(session.ledger.active)
    running = f"{left} attempt(s) go on running; " if left else ""
    log.warning(
        "Stopped by %s. Everything is saved in %s; %sstart the same script again to go on and to collect "
        "what has finished.",
        interrupts.first.name if interrupts.first else "a signal",
        session.layout.root,
        running,
    )
    match interrupts.first:
        case signal.SIGUSR1:
            raise SystemExit(EXIT_AGAIN)
        case signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        case _:
            raise KeyboardInterrupt


def _close(session: Session) -> None:
    """Close a session at the end of its scheduler or of the process."""
    # An error that ended the script means that it will be mended and started again: its calls are remembered.
    crashed = getattr(sys, "last_value", None) is not None
    try:
        session.close(orderly=session.ledger.interrupted() is None and not crashed)
    except (OSError, AxSchedError) as error:
        log.warning("The experiment in %s could not be closed in good order: %s", session.layout.root, error)


def _no_objective() -> ObjectiveError:
    return ObjectiveError(
        "No objective is set, so there is nothing to run. Call set_objective_function, "
        "set_script_objective or set_container_objective first."
    )


def _what(objective: Any) -> str:
    describe = getattr(objective, "describe", None)
    if callable(describe):
        return str(describe())
    return f"function {getattr(objective, '__qualname__', repr(objective))}"


def _seconds(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0 or math.isinf(value):
        raise ConfigError(
            f"{name} is {value!r}, but takes a number of seconds, 0 or more, or None for no limit."
        )
    return float(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r} ({type(value).__name__}), but takes True or False.")
    return value
