"""The judgement over a holder: the whole table with its boundaries, and what holds for all sightings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axsched_hpc.core.lease import STARTING, WATCHED_SHARE, Judgement, Sighting, judge

TAKE, REFUSE, WAIT = Judgement.TAKE, Judgement.REFUSE, Judgement.WAIT

#: Seconds of the tests' take-over time, and the part of it that is watched in any case.
LONG = 60.0
WATCH = WATCHED_SHARE * LONG
JUST_BEFORE = 0.001

TABLE = {
    "nobody": (Sighting(held=False), TAKE),
    "a lock, nobody: just starting": (Sighting(held=False, locked=True), WAIT),
    "a lock, nobody, to the last": (Sighting(held=False, locked=True, watched=STARTING - JUST_BEFORE), WAIT),
    "a lock that stays": (Sighting(held=False, locked=True, watched=STARTING), TAKE),
    "alive here": (Sighting(held=True, alive=True), REFUSE),
    "alive here, its lock free": (
        Sighting(held=True, alive=True, locked=False, silent=1e9, watched=1e9),
        REFUSE,
    ),
    "alive here, silent, as one that is stopped": (
        Sighting(held=True, alive=True, locked=True, silent=1e9, watched=1e9),
        REFUSE,
    ),
    "dead here": (Sighting(held=True, alive=False), TAKE),
    "dead here, with a sign of a moment ago": (Sighting(held=True, alive=False, stirred=True), TAKE),
    "dead here, its lock held: a child of it has it still": (
        Sighting(held=True, alive=False, locked=True),
        WAIT,
    ),
    "dead here, its lock held, with a sign: it is in another container": (
        Sighting(held=True, alive=False, locked=True, stirred=True),
        REFUSE,
    ),
    "dead here, its lock held, silent for long": (
        Sighting(held=True, alive=False, locked=True, silent=LONG, watched=WATCH),
        TAKE,
    ),
    "elsewhere, first look": (Sighting(held=True), WAIT),
    "elsewhere, first look, silent for days": (Sighting(held=True, silent=1e6), WAIT),
    "elsewhere, a sign": (Sighting(held=True, stirred=True), REFUSE),
    "elsewhere, a sign, whatever the clocks say": (
        Sighting(held=True, stirred=True, silent=1e6, watched=1e6),
        REFUSE,
    ),
    "elsewhere, silent for long, not watched for long enough": (
        Sighting(held=True, silent=1e6, watched=WATCH - JUST_BEFORE),
        WAIT,
    ),
    "elsewhere, silent for long, watched": (Sighting(held=True, silent=LONG, watched=WATCH), TAKE),
    "elsewhere, watched, not silent for long enough": (
        Sighting(held=True, silent=LONG - JUST_BEFORE, watched=WATCH),
        WAIT,
    ),
    "elsewhere, a clock that is behind: to the last": (
        Sighting(held=True, silent=-1e6, watched=LONG - JUST_BEFORE),
        WAIT,
    ),
    "elsewhere, a clock that is behind": (Sighting(held=True, silent=-1e6, watched=LONG), TAKE),
    "elsewhere, locked makes no difference": (
        Sighting(held=True, locked=True, silent=LONG, watched=WATCH),
        TAKE,
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_table(name: str) -> None:
    seen, expected = TABLE[name]
    assert judge(seen, takeover=LONG) is expected


_seconds = st.floats(-1e7, 1e7)
_sightings = st.builds(
    Sighting,
    held=st.booleans(),
    alive=st.sampled_from([True, False, None]),
    locked=st.booleans(),
    silent=_seconds,
    watched=st.floats(0, 1e7),
    stirred=st.booleans(),
)
_takeovers = st.floats(3, 1e6)
#: From going on to turn it away: more silence never leads to the left.
_ORDER = [REFUSE, WAIT, TAKE]


@given(_sightings, _takeovers)
def test_a_holder_that_is_known_to_live_is_never_taken_over(seen: Sighting, takeover: float) -> None:
    assert judge(replace(seen, held=True, alive=True), takeover=takeover) is REFUSE


@given(_sightings, _takeovers)
def test_a_sign_of_life_from_elsewhere_refuses(seen: Sighting, takeover: float) -> None:
    assert judge(replace(seen, held=True, alive=None, stirred=True), takeover=takeover) is REFUSE


@given(_sightings, _takeovers, st.floats(0, 1e7), st.floats(0, 1e7))
def test_more_silence_never_makes_it_less_free(
    seen: Sighting, takeover: float, silent: float, watched: float
) -> None:
    later = replace(seen, silent=seen.silent + silent, watched=seen.watched + watched)
    before, after = judge(seen, takeover=takeover), judge(later, takeover=takeover)
    assert _ORDER.index(before) <= _ORDER.index(after)


@given(_sightings, _takeovers, st.floats(0, 1e6))
def test_a_longer_promise_never_makes_it_freer(seen: Sighting, takeover: float, longer: float) -> None:
    before, after = judge(seen, takeover=takeover), judge(seen, takeover=takeover + longer)
    assert _ORDER.index(after) <= _ORDER.index(before)


@given(_sightings, _takeovers)
def test_nobody_is_watched_for_ever(seen: Sighting, takeover: float) -> None:
    watched = replace(seen, watched=max(takeover, STARTING))
    assert judge(watched, takeover=takeover) is not WAIT


@given(_sightings, _takeovers)
def test_one_who_cannot_be_asked_is_watched_before_he_is_taken_for_dead(
    seen: Sighting, takeover: float
) -> None:
    if judge(replace(seen, held=True, alive=None), takeover=takeover) is TAKE:
        assert seen.watched >= WATCHED_SHARE * takeover
