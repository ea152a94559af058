"""What to do about a failed attempt, in words that name the option to change. Pure."""

from __future__ import annotations

import signal
from dataclasses import replace

from axsched_hpc.core.events import Failure
from axsched_hpc.core.sizes import memory_text, time_text
from axsched_hpc.core.states import FailureKind

#: Share of the memory asked for beyond which a killed program most likely ran out of it.
NEARLY_ALL = 0.9


def explained(failure: Failure) -> Failure:
    """The failure with its hint."""
    return replace(failure, hint=hint(failure))


def hint(failure: Failure) -> str:
    """What to do about a failure, or nothing where its message says all."""
    match failure.kind:
        case FailureKind.OUT_OF_MEMORY:
            return (
                f"Killed for its memory: {_memory(failure)}; raise memory, or let it grow with "
                "retries: {'out_of_memory': {'attempts': 2, 'memory_factor': 2}}."
            )
        case FailureKind.TIMED_OUT:
            return (
                f"Ended by Slurm: {_time(failure)}; raise time_limit, let it grow with retries: {{'timeout': "
                "{'attempts': 2, 'time_factor': 1.5}}, or save checkpoints."
            )
        case FailureKind.CRASHED | FailureKind.WORKER_KILLED | FailureKind.EXIT_CODE if _killed(failure):
            if _nearly_all(failure):
                return f"Most likely out of memory: {_memory(failure)}; raise memory."
            used = f"; {_memory(failure)}" if failure.used_mb else ""
            return (
                "SIGKILL comes from outside: from the kernel where the node has no memory left, or from a "
                f"person{used}."
            )
        case FailureKind.EXIT_CODE if failure.exit_code == 127:
            return "127 is what a shell says of a command that it does not find: load its module in the job."
        case FailureKind.EXIT_CODE if failure.exit_code == 126:
            return "126 is what a shell says of a file that it may not execute: chmod +x."
        case FailureKind.CRASHED if failure.signal == signal.SIGSEGV:
            return "A fault in the program; a stack that is too small (ulimit -s) shows in the same way."
        case FailureKind.CRASHED if failure.signal == signal.SIGILL:
            return "It was built for another kind of processor than the node has."
        case FailureKind.CRASHED if failure.signal == signal.SIGBUS:
            return "Most often a full /dev/shm or disk, or a file that was cut while it was mapped."
        case FailureKind.PREEMPTED:
            return "Jobs of higher priority took its place; checkpoints keep what was computed."
        case _:
            return ""


def _killed(failure: Failure) -> bool:
    # Shells and containers report a signal as 128 + n.
    return failure.signal == signal.SIGKILL or failure.exit_code == 128 + signal.SIGKILL


def _nearly_all(failure: Failure) -> bool:
    used, asked = failure.used_mb, failure.asked_mb
    return used is not None and asked is not None and used >= NEARLY_ALL * asked


def _memory(failure: Failure) -> str:
    used, asked = failure.used_mb, failure.asked_mb
    if asked is None:
        return f"the job used {memory_text(used)}" if used else "the job used all the memory that it had"
    told = f"the job asked for {memory_text(asked)}"
    return f"{told} and used {memory_text(used)}" if used else told


def _time(failure: Failure) -> str:
    ran = f"it ran for {time_text(failure.elapsed_s)}" if failure.elapsed_s else "it reached its time limit"
    return f"the job asked for {time_text(failure.limit_s)}, and {ran}" if failure.limit_s else ran
