"""LocalRunner: attempts as processes of this machine."""

from __future__ import annotations

from axsched_hpc.runners.settings import remembered
from axsched_hpc.runners.submitit_runner import SubmititRunner, usable_cores


class LocalRunner(SubmititRunner):
    """Runs attempts as processes of this machine.

    They survive the driver: a script that was stopped and is started again finds them, and collects what they
    have computed.

    Parameters
    ----------
    max_parallel
        Attempts that run at a time; by default as many as there are usable cores.

    Raises
    ------
    ConfigError
        ``max_parallel`` is no whole number of at least 1.
    """

    @remembered
    def __init__(self, max_parallel: int | None = None) -> None:
        super().__init__("local", usable_cores() if max_parallel is None else max_parallel)
