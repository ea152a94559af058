"""How many trials to submit and to ask for now: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Demand:
    """``submit`` of the waiting trials go to the slots now, and ``ask`` new ones are wanted of Ax."""

    submit: int
    ask: int


def demand(
    *,
    slots: int,
    active: int,
    waiting: int,
    remaining: int,
    synchronous: bool,
    pack: int = 1,
    prefetch: int = 0,
    stock: int = 0,
) -> Demand:
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
    pack
        Attempts that share a job. The place of one that has ended is free when the whole job has ended, so
        only full packs are submitted; one that is not full only where there are no more trials to fill it
        with, or where nothing else is under way.
    prefetch
        Trials that are to wait when the slots are full, so that one that gets free waits for nothing; not for
        rounds.
    stock
        The same for points that wait for no results and come cheaper by the dozen: as many are asked for when
        half of them have gone.
    """
    fresh = 0 if synchronous and active + waiting > 0 else remaining
    wanted = waiting + fresh
    number = min(wanted, max(0, slots - active))
    if number < wanted:
        number = number - number % pack or (0 if active else number)
    submit = min(waiting, number)
    ask = number - submit
    if not synchronous:
        left = waiting - submit
        ahead = max(prefetch, stock if 2 * left <= stock else 0)
        ask += max(0, min(fresh - ask, ahead - left))
    if submit < number:
        submit -= submit % pack  # those that are asked for now fill the last pack
    return Demand(submit, ask)


def whole_packs(wanted: int, allowed: int, pack: int) -> int:
    """How many of the wanted attempts to submit as one batch, of which so many are allowed: all, or as many
    as fill their jobs, and those of one job at least.
    """
    if allowed >= wanted:
        return wanted
    return min(wanted, max(pack, allowed - allowed % pack))
