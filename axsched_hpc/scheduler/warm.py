"""The three public calls by which an experiment does not begin from nothing."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.warm import Finished
from axsched_hpc.core.errors import ParameterError, plural
from axsched_hpc.core.evaluations import Evaluation, refusal
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop import sources
from axsched_hpc.scheduler.driver import Driver

log = logging.getLogger("axsched_hpc")


class StartsWarm(ABC):
    """What takes in evaluations that are there already, points to begin with, and a baseline."""

    _bridge: AxBridge
    _layout: Layout

    def attach(self, source: Any, *, skip_bad: bool = False) -> list[int]:
        """Let finished evaluations enter the experiment as completed trials, without running them.

        Ax's models use them like any other trial; towards ``max_trials`` they do not count. An evaluation
        that is there already, with the same parameters and metrics, is not added again: a script that is
        started again may attach the same source again.

        Parameters
        ----------
        source
            One of

            - the path of a CSV file, or a pandas DataFrame: a column for each parameter and metric, and
              ``NAME_sem`` for the standard error of the metric ``NAME``. Columns about the trial, such as
              ``trial_index``, are passed over, and so are rows whose ``trial_status`` is not COMPLETED;
            - a list of dicts with parameters and metrics, or of ``(parameters, metrics)`` pairs; a metric is
              a number or ``(mean, sem)``;
            - an earlier experiment directory: its completed trials, with their curves;
            - the path of an Ax JSON, of an ``ax.Client``, an ``AxClient`` or an ``Experiment``; or such an
              object.
        skip_bad
            Attach the good ones where some are bad, which are named in a warning. Else one that is bad keeps
            all out.

        Returns
        -------
        list of int
            The trials' indices, in the order of the source.

        Raises
        ------
        ParameterError
            The source cannot be read, or some of it does not fit; the message names each bad row by itself.
            Nothing was attached.
        ConfigError, JournalError
            The Ax JSON, or the experiment directory, cannot be read.
        """
        read = sources.evaluations(source, self._bridge)
        for remark in read.remarks:
            log.info("%s", remark)
        good, bad = self._checked(read.evaluations)
        refused = partial(refusal, f"{plural(len(read.evaluations), 'evaluation')} in {read.name}", bad)
        if bad and not skip_bad:
            raise ParameterError(
                refused(f"{read.reading}Nothing was attached. Pass skip_bad=True to attach the others.")
            )
        if bad:
            log.warning("%s", refused("The others are attached."))
        return self._opened(need_objective=False).attach(good, read.name)

    def enqueue(self, points: Any) -> None:
        """Let points be run first, in their order, before Ax is asked for any.

        The next :meth:`run_optimization` runs them, and they count towards its ``max_trials``; what does not
        fit in there waits for the next call. A script that is started again does not enqueue them twice.

        Parameters
        ----------
        points
            A list of dicts of parameters, or one such dict; a pandas DataFrame, or the path of a CSV file,
            with a column for each parameter.

        Raises
        ------
        ParameterError
            Some do not fit the search space; the message names each by itself. Nothing was enqueued.
        """
        name, given = sources.points(points, self._bridge)
        good, bad = self._bridge.warm.check_points(given)
        if bad:
            raise ParameterError(refusal(plural(len(given), "point") + name, bad, "Nothing was enqueued."))
        self._opened(need_objective=False).enqueue(good)

    def set_baseline(self, parameters: Mapping[str, Any], metrics: Mapping[str, Any] | None = None) -> None:
        """Name the arm to which relative constraints refer: Ax's status quo.

        Parameters
        ----------
        metrics
            Its metrics, where they are known: a number or ``(mean, sem)`` each. Without them the next
            :meth:`run_optimization` runs it as its first trial.

        Raises
        ------
        ParameterError
            Parameters or metrics do not fit; nothing was changed.
        ConfigError
            There is another baseline already.
        """
        point = self._bridge.validate(parameters)
        good, bad = list[Finished](), list[str]()
        if metrics is not None:
            good, bad = self._checked([Evaluation("The baseline", point, metrics)])
        if bad:
            raise ParameterError(f"{bad[0].rstrip('.')}. Nothing was changed.")
        driver = self._opened(need_objective=False)
        driver.set_baseline(point)
        if good:
            driver.attach(good, "set_baseline")

    def _checked(self, evaluations: Sequence[Evaluation]) -> tuple[list[Finished], list[str]]:
        """The evaluations that fit, and what is wrong with the others."""
        if self._layout.definition.exists():
            # What is there already counts too. A new directory is made once all is well: one with a search
            # space that has to be mended first would be in the way.
            self._opened(need_objective=False)
        return self._bridge.warm.check(self._bridge.objective_names, evaluations)

    @abstractmethod
    def _opened(self, *, need_objective: bool = True) -> Driver:
        """The driver; opens the experiment directory when it is first needed."""
