"""What an attempt's job asks the scheduler for, beyond what its runner is set to; and how that grows after a
failure. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from axsched_hpc.core.events import Failure, Request
from axsched_hpc.core.policy import RetryPolicy
from axsched_hpc.core.states import FailureKind

#: Failures for which the node may be to blame, so that the next attempt goes to another one.
_BAD_NODE = frozenset({FailureKind.NODE_FAILED, FailureKind.LAUNCH_FAILED, FailureKind.LOST})

#: Nodes that one trial avoids at the most: a fault that is not the nodes' must not shut all of them out.
MOST_EXCLUDED = 8


@dataclass(frozen=True)
class Asked:
    """What a runner's jobs ask for as long as nothing more is requested; None where it does not say.

    Attributes
    ----------
    memory_mb
        Of one attempt on one node, in MiB, as Slurm counts.
    time_s
        Time limit of one attempt, in seconds.
    """

    memory_mb: int | None = None
    time_s: int | None = None


def effective(request: Request, base: Asked) -> Asked:
    """What a job with this request asked for."""
    return Asked(request.memory_mb or base.memory_mb, request.time_s or base.time_s)


def grown(policy: RetryPolicy, kind: FailureKind, request: Request, base: Asked) -> Request | None:
    """The request with more of what was missing; None where there is no more, by the policy's maximum or
    because the runner does not say how much it asks for.
    """
    growth = policy.growth(kind)
    if growth is None:
        return request
    asked = effective(request, base)
    before = asked.memory_mb if kind is FailureKind.OUT_OF_MEMORY else asked.time_s
    if before is None:
        return None
    after = math.ceil(before * growth.factor)
    if growth.most is not None:
        after = min(after, growth.most)
    if after <= before:
        return None
    if kind is FailureKind.OUT_OF_MEMORY:
        return Request(after, request.time_s, request.exclude)
    return Request(request.memory_mb, after, request.exclude)


def following(
    policy: RetryPolicy, attempts: Sequence[tuple[Request, Failure | None]], base: Asked
) -> Request:
    """What the next attempt of a trial asks for, after attempts that asked for something and failed.

    Parameters
    ----------
    attempts
        (request, failure) of the trial's attempts, oldest first; None for one that was withdrawn.
    """
    request = Request()
    for asked, failure in attempts:
        request = asked
        if failure is None:
            continue
        request = grown(policy, failure.kind, request, base) or request
        if failure.kind in _BAD_NODE and failure.node is not None and is_node(failure.node):
            nodes = dict.fromkeys((*request.exclude, failure.node))
            request = Request(request.memory_mb, request.time_s, tuple(nodes)[-MOST_EXCLUDED:])
    return request


# A list of several nodes (n[1-4]) does not tell which of them is bad.
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def is_node(name: str) -> bool:
    """Whether a name is that of a single node."""
    return _NODE.fullmatch(name) is not None
