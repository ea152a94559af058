"""An opened experiment and all that drives it: what the public calls do, once their arguments are checked."""

from __future__ import annotations

import logging
import random
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.errors import (
    AxSchedError,
    ClusterUnavailableError,
    ObjectiveError,
    StorageError,
    plural,
)
from axsched_hpc.core.events import ObjectiveSet
from axsched_hpc.core.standing import standing
from axsched_hpc.core.throttle import jittered, longer
from axsched_hpc.io.layout import Layout
from axsched_hpc.io.provenance import repository
from axsched_hpc.loop.clock import SystemClock
from axsched_hpc.loop.loop import Goal, Loop, Stop
from axsched_hpc.loop.progress import shown
from axsched_hpc.loop.session import Session, summary
from axsched_hpc.loop.signals import EXIT_AGAIN, Interrupts, watching
from axsched_hpc.objectives import install, kinds
from axsched_hpc.objectives.containers import prepare
from axsched_hpc.objectives.containers.prepare import Stopped
from axsched_hpc.reporting import export
from axsched_hpc.reporting.curves import read_curves
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.scheduler import baseline
from axsched_hpc.scheduler.batch import BatchTrialContext
from axsched_hpc.scheduler.calls import Call, Calls
from axsched_hpc.scheduler.result import Result, best_parameters, by_model, collect

if TYPE_CHECKING:
    from axsched_hpc.ax_bridge.bridge import AxBridge
    from axsched_hpc.ax_bridge.model import BestByModel
    from axsched_hpc.ax_bridge.warm import Finished

log = logging.getLogger("axsched_hpc")

#: Seconds after Ctrl-C in which a second one cancels what runs.
SECOND_SIGNAL = 3.0


class Driver:
    """Drives one experiment from :meth:`open` to :meth:`close`; holds its lock in between.

    Attributes
    ----------
    stopped
        Why the last call ended; empty before the first.
    again
        What one does to go on after a stop.
    """

    again = "start the same script again"

    def __init__(self, session: Session, runner: BaseRunner) -> None:
        self.session = session
        self.stopped = ""
        self._runner = runner
        self._clock = session.clock
        self._calls = Calls(session)
        self._loop: Loop | None = None
        self._objective_checked = False
        self._image_of = ""
        self._interrupts: Interrupts | None = None

    @classmethod
    def open(cls, layout: Layout, bridge: AxBridge, config: SchedulerConfig, runner: BaseRunner) -> Driver:
        """Take an experiment directory; see :meth:`axsched_hpc.loop.session.Session.open` for the errors."""
        return cls(Session.open(layout, bridge, config, SystemClock()), runner)

    def set_objective(self, objective: Any) -> None:
        """Put the objective where jobs find it, and record it where it is another than before."""
        with self._interruptible(None):
            self._set_objective(objective)

    def _set_objective(self, objective: Any) -> None:
        session = self.session
        if session.config.changed_objective == "refuse":
            now = session.patience.insist(lambda: install.planned(objective))
            if text := self._changed(now):
                raise ObjectiveError(
                    f"{text}, and config['changed_objective'] is 'refuse'. Nothing was changed. Take the "
                    "change back, choose another job_output_dir, or set the option to 'go_on'."
                )
        name = session.patience.insist(lambda: install.install(session.layout, objective))
        self._use_objective(name, install.source(objective))

    def _use_objective(self, name: str, source: Path | None = None) -> None:
        """Record which of the installed objectives runs from here on, and where its source is."""
        session = self.session
        known = session.ledger.objective
        if known is not None and known.objective == name:
            return
        installed = self._load(name)
        what = kinds.what(installed.objective)
        if text := self._changed(installed):
            log.warning("%s. From here on %s runs.", text, what)
        commit = None if source is None else repository(source.parent)
        session.record(ObjectiveSet(self._clock.now(), name, what, installed.objective.warning, commit))

    def has_objective(self) -> bool:
        """Whether there is something to run; what was set before a restart is checked to be whole.

        Raises
        ------
        ObjectiveError
            It is missing or changed.
        """
        objective = self.session.ledger.objective
        if objective is None:
            return False
        if not self._objective_checked:
            self._installed(objective.objective)
            self._objective_checked = True
        return True

    # ------------------------------------------------------------ the public calls

    def attach(self, evaluations: Sequence[Finished], source: str) -> list[int]:
        """Record evaluations that were not run here, but are from a source, as completed trials; their
        numbers.
        """
        numbers: list[int] = []
        with self._interruptible(None):
            session = self.session
            session.adopt()
            before = len(session.ledger.trials)
            indices = session.bridge.warm.attach(evaluations, time=self._clock.now())
            session.adopt(source)
            numbers = [session.bridge.number(index) for index in indices]
            new = len(session.ledger.trials) - before
            log.info("Attached %s.", _new_of(new, len(evaluations), "trial", "there already"))
        return numbers

    def enqueue(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Let points be run before Ax is asked for any."""
        with self._interruptible(None):
            new, before = self._calls.enqueue(points), "enqueued before the script was started again"
            log.info("Enqueued %s.", _new_of(new, len(points), "point", before))

    def set_baseline(self, point: Mapping[str, Any]) -> None:
        """Make a point the baseline, and record it."""
        with self._interruptible(None):
            self.session.bridge.warm.set_baseline(point)
            self.session.adopt()

    def optimise(
        self, max_trials: int, *, synchronous: bool, limit: float | None, total: bool = False
    ) -> dict[str, Any]:
        """Run up to so many more trials, or until there are so many in total; ``limit`` is in seconds."""
        session = self.session
        deadline = None if limit is None else self._clock.monotonic() + limit
        with self._interruptible(deadline) as interrupts:
            session.adopt()
            if self._stopped_by_request():
                return best_parameters(session.ledger, session.problem)
            if session.bridge.stops_between_rounds and not synchronous:
                log.warning(
                    "The global stopping strategy acts only while no trial is running, and an asynchronous "
                    "run keeps its slots full. Make the strategy with inactive_when_pending_trials=False."
                )
            baseline.check(session.problem)
            loop = self._prepared()
            base = self._calls.base()
            goal = Goal(max_trials if total else base + max_trials, synchronous, deadline)
            call = self._calls.begin_run(
                max(0, goal.trials - base),
                synchronous=synchronous,
                total=goal.trials,
                max_parallel=self._runner.max_parallel,
            )
            if call.done:
                log.warning(
                    "This call had ended before the script was started again (%s); nothing is run for it.",
                    summary(session.ledger),
                )
            else:
                baseline.begin(session)
                self._run(loop, goal, call, interrupts)
        self._warn_if_infeasible()
        return best_parameters(session.ledger, session.problem)

    def new_batch(self) -> BatchTrialContext:
        """Collect the points of a batch."""
        self.session.adopt()
        trials, call = self.session.ledger.trials, self._calls.earlier_batch()
        earlier = call.trials if call is not None else ()
        return BatchTrialContext(self.session.bridge, [(n, trials[n].parameters) for n in earlier])

    def submit_batch(self, batch: BatchTrialContext, *, wait: bool) -> None:
        """Submit the user's own points as one batch, and wait for them or not."""
        with self._interruptible(None) as interrupts:
            self._submit_batch(batch, interrupts, wait=wait)

    def _submit_batch(self, batch: BatchTrialContext, interrupts: Interrupts, *, wait: bool) -> None:
        session = self.session
        loop = self._prepared()
        call = self._calls.earlier_batch() if batch.known else None
        if call is not None:
            log.info("These %d points were added before the script was started again.", len(call.trials))
            self._calls.go_on_with(call)
        else:
            if session.bridge.next_trial != batch.first:
                raise AxSchedError(
                    "Other trials were added while this batch was open, so that its points would not get the "
                    f"indices that add_trial returned, from {batch.first} on. Nothing of the batch was "
                    "submitted. Leave the with-block before anything else adds trials."
                )
            now = self._clock.now()
            added = [session.bridge.attach(point, time=now) for point in batch.points]
            started = self._calls.begin_batch([c.trial for c in added], synchronous=wait)
            session.owe(*(candidate.event() for candidate in added), started)
            session.record()
            call = Call(started.ordinal, started.base, started.trials)
        if call.done:
            return
        if wait:
            self._run(loop, Goal(session.ledger.own, synchronous=True, budget=False), call, interrupts)
        else:
            loop.submit_waiting()
            self._calls.end(call, "submitted")

    def wait(self, limit: float | None) -> None:
        """Wait for all trials that exist, for so many seconds at the most."""
        session = self.session
        deadline = None if limit is None else self._clock.monotonic() + limit
        with self._interruptible(deadline) as interrupts:
            session.adopt()
            loop = self._prepared()
            goal = Goal(session.ledger.own, True, deadline=deadline, cancel=False, budget=False)
            self._run(loop, goal, None, interrupts)

    def result(self) -> Result:
        """What there is to tell now."""
        session = self.session
        generating = self._loop.generating if self._loop is not None else 0.0
        return collect(
            session.ledger, session.bridge, session.problem, generating=generating, stopped=self.stopped
        )

    def best_by_model(self) -> BestByModel:
        """What Ax's model takes for the best."""
        session = self.session
        return by_model(session.ledger, session.bridge, session.problem)

    def export(self, path: str | Path, *, curves: bool) -> None:
        """Write the trials, or their curves, to a file."""
        session = self.session
        if curves:
            table = export.curve_table(read_curves(session.layout.root))
        else:
            table = export.trial_table(session.ledger.trials.values(), session.problem)
        export.write(path, table)

    # ------------------------------------------------------------ inside

    def _stopped_by_request(self) -> bool:
        """Whether an earlier call of this process was stopped by a request, which is for all that follow."""
        stopped = self.stopped == Stop.REQUESTED
        if stopped:
            log.warning("The run was stopped by a request, so this call runs nothing either.")
        return stopped

    def _warn_if_infeasible(self) -> None:
        found = standing(self.session.ledger.trials.values(), self.session.problem)
        if found.feasible is False:
            log.warning("Nothing is best. %s", found.text)

    def _prepared(self) -> Loop:
        """The loop; image and runner are prepared before they are first needed, when nothing is submitted."""
        self._prepare_image()
        if self._loop is None:
            self._prepare()
            self._loop = Loop(self.session, self._runner)
        return self._loop

    def _prepare(self) -> None:
        """Prepare the runner. Where trials exist, a scheduler that does not answer is waited for: the one who
        has started this may be another job, and nobody who would try again. For a new experiment it is an
        error, which a person sees at once.
        """
        session, pause = self.session, 0.0
        while True:
            try:
                return session.patience.insist(lambda: self._runner.prepare(session.layout.submitit))
            except ClusterUnavailableError as error:
                stop = session.patience.stop()
                if not error.transient or not session.ledger.trials or stop is not None:
                    raise
                pause = longer(pause)
                log.warning("%s Trying again in %.0f s.", error, pause)
                self._clock.wait(jittered(pause, random.random()))

    def _prepare_image(self) -> None:
        """Check and prepare the objective's container image, once for all jobs."""
        session, known = self.session, self.session.ledger.objective
        if known is None or known.objective == self._image_of:
            return
        objective = self._installed(known.objective)
        if isinstance(objective, kinds.ContainerObjective):

            def pause(seconds: float) -> None:
                self._clock.wait(seconds)
                if self._interrupts is not None and self._interrupts.first is not None:
                    raise Stopped("The container image was not prepared.")

            nearby = self._runner.nearby
            session.patience.insist(
                lambda: prepare.in_driver(objective, session.layout, nearby=nearby, pause=pause)
            )
        self._image_of = known.objective

    def _installed(self, name: str) -> Any:
        """An installed objective, checked to be whole."""
        return self._load(name).objective

    def _load(self, name: str) -> install.Installed:
        session = self.session
        return session.patience.insist(lambda: install.load(session.layout, name))

    def _changed(self, now: install.Installed) -> str | None:
        """That another objective runs now than for the trials so far, and in what it differs."""
        session = self.session
        return session.patience.insist(lambda: install.changed(session.layout, session.ledger, now))

    @contextmanager
    def _interruptible(self, deadline: float | None) -> Iterator[Interrupts]:
        """Note signals rather than dying of them, and end after one as it asks for; until then, or until the
        deadline, a filesystem in trouble is waited for.
        """
        session = self.session
        with watching(self._clock) as interrupts:
            self._interrupts = interrupts
            session.patience.stop = lambda: self._must_stop(interrupts, deadline)
            try:
                yield interrupts
            except (StorageError, ClusterUnavailableError, Stopped) as error:
                if interrupts.first is None:
                    raise
                log.warning("%s", error)
            finally:
                session.patience.stop = lambda: None
        if interrupts.first is not None:
            self._leave(interrupts)

    def _run(self, loop: Loop, goal: Goal, call: Call | None, interrupts: Interrupts) -> None:
        """Run to the goal; a call that a signal has interrupted is not ended."""
        session = self.session
        try:
            with self._shown(goal.trials):
                try:
                    stop = loop.run(goal, interrupts)
                except StorageError as error:
                    if interrupts.first is None:
                        raise
                    log.warning("%s", error)
                    stop = Stop.INTERRUPTED
                self.stopped = stop.value
                if stop is Stop.INTERRUPTED:
                    session.save()
                    if self._wants_cancel(interrupts):
                        loop.cancel("cancelled by the user", wanted=True)
        except Exception:
            self.stopped = "error"
            session.save()
            raise
        if stop is Stop.REQUESTED:
            # As after a signal the call is not ended: started again, the script goes on with it.
            session.save()
            _tell_of_stop(session, self.again)
            return
        if stop is Stop.INTERRUPTED:
            return
        if call is not None:
            self._calls.end(call, stop.value)
        session.save()

    def _shown(self, total: int) -> AbstractContextManager[None]:
        """What a person sees of a call towards ``total`` trials."""
        return shown(self.session, total)

    def _must_stop(self, interrupts: Interrupts, deadline: float | None) -> str | None:
        if interrupts.first is not None:
            return f"{interrupts.first.name} came"
        if deadline is not None and self._clock.monotonic() >= deadline:
            return "the time of the call is over"
        return None

    def _wants_cancel(self, interrupts: Interrupts) -> bool:
        """Whether a second signal comes. After Ctrl-C a person has some seconds for it; a scheduler that
        sends SIGTERM kills soon, and is not kept waiting.
        """
        left = len(self.session.ledger.active)
        if interrupts.count == 1 and interrupts.first is signal.SIGINT and left:
            log.warning(
                "Interrupted, and saved. %s under way; Ctrl-C again within %g s cancels them too.",
                plural(left, "attempt"),
                SECOND_SIGNAL,
            )
            end = self._clock.monotonic() + SECOND_SIGNAL
            while interrupts.count == 1 and (rest := end - self._clock.monotonic()) > 0:
                self._clock.wait(rest)
        return interrupts.count > 1

    def _leave(self, interrupts: Interrupts) -> None:
        """Say how to go on, and end the way the signal asks for."""
        session = self.session
        left = len(session.ledger.active)
        running = f"{plural(left, 'attempt')} {'goes' if left == 1 else 'go'} on running; " if left else ""
        log.warning(
            "Stopped by %s. Everything is saved in %s; %s%s to go on and to collect what has finished.",
            interrupts.first.name if interrupts.first else "a signal",
            session.layout.root,
            running,
            self.again,
        )
        match interrupts.first:
            case signal.SIGUSR1:
                raise SystemExit(EXIT_AGAIN)
            case signal.SIGTERM:
                raise SystemExit(128 + signal.SIGTERM)
            case _:
                raise KeyboardInterrupt


def _new_of(new: int, total: int, noun: str, known: str) -> str:
    """``3 points``; of points that are not all new, ``3 points; 1 was there already``."""
    old = total - new
    rest = f"; {old} {'was' if old == 1 else 'were'} {known}" if old else ""
    return plural(new, noun) + rest


def close(session: Session) -> None:
    """Close a session, at the end of its scheduler or of the process; never raises.

    A script that ends by an error will be mended and started again, so its calls are remembered as if it had
    been killed.
    """
    crashed = getattr(sys, "last_value", None) is not None
    try:
        session.close(orderly=session.ledger.interrupted() is None and not crashed)
    except (OSError, AxSchedError) as error:
        log.warning("The experiment in %s could not be closed in good order: %s", session.layout.root, error)


def _tell_of_stop(session: Session, again: str) -> None:
    """Say who has stopped the run, and how to go on."""
    request, waiting = session.ledger.changes.stopping, len(session.ledger.waiting)
    left = f" {plural(waiting, 'trial')} left to be run;" if waiting else ""
    log.warning(
        "Stopped, as %s has asked for. Everything is saved in %s;%s %s to go on.",
        request.by if request is not None else "somebody",
        session.layout.root,
        left,
        again,
    )
