"""Container images are prepared once: by the driver before the first submission, or by the first job where
the driver's machine has no engine. :mod:`.images` says what has to be done, and :mod:`.maker` does it.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from axsched_hpc.core.errors import AxSchedError, ObjectiveError
from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import access, outcome
from axsched_hpc.io.layout import Layout
from axsched_hpc.objectives.containers import images, limits
from axsched_hpc.objectives.containers.engines import Engine, Image, image_kind
from axsched_hpc.objectives.context import ObjectiveFailed, RunContext, Terminated, failed, insist, say
from axsched_hpc.objectives.kinds import ContainerObjective

if TYPE_CHECKING:
    from axsched_hpc.objectives.containers.maker import Maker

_NAP = 0.2


class Stopped(AxSchedError):
    """The driver was told to end while it prepared an image."""


@dataclass(frozen=True)
class Ready:
    """An image that can be run.

    Attributes
    ----------
    image
        What the engine is told to run.
    options
        For the engine, before the user's own.
    fetch
        Brings it into this node's storage; None for engines without one.
    """

    image: str
    options: tuple[str, ...] = ()
    fetch: Callable[[], None] | None = None

    def fetched(self, code: int, stderr: Path, start: int) -> bool:
        """Whether the engine exited because this node's storage lacked the image, and has it now: the command
        has not begun.

        Parameters
        ----------
        code
            The engine's exit code.
        start
            Where this execution's part of the log begins.
        """
        if self.fetch is None or not images.unknown(code, outcome.tail(stderr, start), self.image):
            return False
        self.fetch()
        return True

    def used_by(self, container: ContainerObjective) -> ContainerObjective:
        """The objective with this image in the place of the one that the user named."""
        return replace(container, image=self.image, extra_args=(*self.options, *container.extra_args))


def in_driver(
    container: ContainerObjective, layout: Layout, *, nearby: bool, pause: Callable[[float], None]
) -> None:
    """Check an image before the first submission, and prepare it where this machine has the engine.

    Parameters
    ----------
    nearby
        Whether all jobs run on this machine: nothing has to be kept for the storages of other nodes.
    pause
        Waits for some seconds, or raises what ends the waiting.

    Raises
    ------
    ObjectiveError
        It cannot be run.
    """
    if image_kind(container.image) is Image.PATH:
        return
    import logging  # a job has no use for it

    from axsched_hpc.objectives.containers.maker import Maker
    from axsched_hpc.objectives.containers.once import Failed, Waiting

    log = logging.getLogger("axsched_hpc")
    fit, _ = limits.able(container, directory=False)
    if not fit:
        return  # the job says why, and what its node has
    engine = next((each for each in fit if shutil.which(each.program)), fit[0])
    try:
        maker = Maker(container, engine, _cache(container, layout), Waiting(pause, log.info))
        absent = maker.absent()
        if not absent:
            maker.make(share=not nearby)
            return
        log.info(
            "The container image %s is checked and prepared by the first job: %s is not on PATH on this "
            "machine.",
            container.image,
            " or ".join(absent if container.engine != "auto" else [each.program for each in fit]),
        )
    except Failed as error:
        if error.unusable:
            log.warning("%s It is left to the first job.", error)
            return
        raise ObjectiveError(f"{error} Nothing was submitted.") from None


def in_job(container: ContainerObjective, engine: Engine, context: RunContext) -> Ready:
    """What a job runs; where the image is not prepared, it does that, or waits for another one who does.

    Raises
    ------
    ObjectiveFailed
        It cannot be prepared.
    Terminated
        The job was told to end.
    """
    from axsched_hpc.objectives.containers.maker import Maker
    from axsched_hpc.objectives.containers.once import Failed, Waiting

    told = _Told(context.in_job)
    cache = _cache(container, context.files.experiment)
    try:
        maker = insist(
            lambda: Maker(container, engine, cache, Waiting(told.pause, say), in_job=True),
            f"{container.image} cannot be read",
            reading=True,
        )
        image, options = _made(maker, told)
    except Failed as error:
        raise _cannot_run(error) from None
    if images.NO_PULL not in options:
        return Ready(image, options)

    def fetch() -> None:
        try:
            with told:
                insist(lambda: maker.fetch(context.files.stderr), f"{cache} cannot be used")
        except Failed as error:
            raise _cannot_run(error) from None

    return Ready(image, options, fetch)


def _made(maker: Maker, told: _Told) -> tuple[str, tuple[str, ...]]:
    ready = maker.ready()
    if ready is None and maker.absent() and (own := maker.without()) is not None:
        return own, ()
    if ready is None:
        with told:
            insist(lambda: maker.make(share=True), f"{maker.cache} cannot be used")
        ready = maker.ready()
    if ready is None:
        raise AssertionError(f"{maker.cache} has nothing for {maker.key}")
    return ready


def _cache(container: ContainerObjective, layout: Layout) -> Path:
    if container.image_cache is not None:
        return Path(container.image_cache)
    access.require_inside(layout.root, layout.images)
    return layout.images


def _cannot_run(error: Exception) -> ObjectiveFailed:
    return failed(FailureKind.CANNOT_RUN, str(error))


class _Told:
    """Remembers SIGTERM and SIGINT within its block: they end a wait, and no program is lost."""

    def __init__(self, enabled: bool) -> None:
        self._numbers = (signal.SIGTERM, signal.SIGINT) if enabled else ()
        self._came: int | None = None

    def __enter__(self) -> None:
        self._before = [(number, signal.signal(number, self._handle)) for number in self._numbers]

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)
        if kind is None:
            self._end()

    def pause(self, seconds: float) -> None:
        """Wait; raises Terminated when the process is told to end."""
        deadline = time.monotonic() + seconds
        self._end()
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _NAP))
            self._end()

    def _end(self) -> None:
        if self._came is not None:
            raise Terminated(self._came)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._came = number
