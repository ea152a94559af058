"""How many trials to submit and to ask for now: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Demand:
    """What the slots can take: ``submit`` of the waiting trials, and ``ask`` new ones of Ax."""

    submit: int
    ask: int


def demand(*, slots: int, active: int, waiting: int, remaining: int, synchronous: bool) -> Demand:
    """Fill the slots.

    Parameters
    ----------
    slots
        Attempts that may be queued or running at a time.
    active
        Attempts that are.
    waiting
        Trials that exist and have no attempt under way: retries, and points that a user added. They come
        first.
    remaining
        New trials that the budget still allows.
    synchronous
        Rounds: nothing new is asked for before the last trial of the round has ended.
    """
    free = max(0, slots - active)
    submit = min(waiting, free)
    if synchronous and active + waiting > 0:
        return Demand(submit, 0)
    return Demand(submit, max(0, min(free - submit, remaining)))
