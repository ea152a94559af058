"""An opened experiment that is ready to submit: its objective, the image of that, and the runner."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

from axsched_hpc.core.errors import ClusterUnavailableError, ObjectiveError
from axsched_hpc.core.events import ObjectiveSet
from axsched_hpc.core.throttle import jittered, longer
from axsched_hpc.io.provenance import repository
from axsched_hpc.loop.loop import Loop
from axsched_hpc.loop.session import Session
from axsched_hpc.objectives import install, kinds
from axsched_hpc.objectives.containers import prepare
from axsched_hpc.objectives.containers.prepare import Stopped
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.scheduler.leaving import Interruptible

log = logging.getLogger("axsched_hpc")


class Opened(Interruptible):
    """An open session with what its jobs need, each prepared once."""

    def __init__(self, session: Session, runner: BaseRunner) -> None:
        super().__init__(session)
        self._runner = runner
        self._loop: Loop | None = None
        self._objective_checked = False
        self._image_of = ""

    # ------------------------------------------------------------ the objective

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

    # ------------------------------------------------------------ before the first job

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
                self._clock.wait(jittered(pause, random.Random().random()))

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
