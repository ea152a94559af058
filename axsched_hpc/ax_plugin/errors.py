"""The error at which Ax stops."""

from __future__ import annotations

from ax.exceptions.core import UnsupportedError

from axsched_hpc.core.errors import AxSchedError


class AxRunnerError(AxSchedError, UnsupportedError):
    """What hinders a runner inside Ax; ``__cause__`` is the error itself.

    It is one of Ax's own ``UnsupportedError``, since at any other error Ax's Orchestrator tries a submission
    three times, and abandons trials that could not be asked for, whatever their jobs are computing.
    """
