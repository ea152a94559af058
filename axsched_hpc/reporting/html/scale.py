"""From values to places in a figure, and round numbers between them. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

#: Positive values that lie further apart than this factor are easier to read on a logarithmic axis; those
#: beyond the second one may be.
_DECADES, _RANGE = 1000.0, 30.0

#: A value further beyond the middle half of all than so many times its width would hide the others.
_FAR = 6.0

#: Steps between ticks of time, in seconds, up to a day.
_TIMES = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_DAY = 86400.0


@dataclass(frozen=True)
class Scale:
    """A straight or logarithmic axis from ``low`` at the place ``start`` to ``high`` at the place ``end``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; of one outside the axis its nearest end."""
        value = self.low if value < self.low else self.high if value > self.high else value
        if self.log:
            first = math.log(self.low)
            part = (math.log(value) - first) / (math.log(self.high) - first)
        else:
            # Halves, for the width of the largest numbers is none.
            part = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return self.start + part * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Whether a value lies on the axis."""
        return self.low <= value <= self.high


def fitted(values: Iterable[float], start: float, end: float, *, log: bool | None = None) -> Scale:
    """An axis for these values, with a little room beyond them.

    Parameters
    ----------
    log
        None: where all are positive and lie orders of magnitude apart.
    """
    there = sorted(values)
    if not there:
        return Scale(0.0, 1.0, start, end)
    low, high = there[0], there[-1]
    if log is None:
        log = _logarithmic(there)
    if log and high > low > 0:
        room = (high / low) ** 0.04
        return Scale(max(low / room, 5e-324), min(high * room, 1.7e308), start, end, log=True)
    room = (high / 2 - low / 2) * 0.08 or abs(high) * 0.05 or 1.0
    return Scale(max(low - room, -1.7e308), min(high + room, 1.7e308), start, end)


def _logarithmic(there: Sequence[float]) -> bool:
    """Whether sorted values are easier to read on a logarithmic axis: over some range at least, and where
    their median then lies nearer to the middle.
    """
    low, high, median = there[0], there[-1], there[len(there) // 2]
    if low <= 0 or high / low < _RANGE:
        return False
    straight = abs(median / high - 0.5)
    return high / low >= _DECADES or abs(math.log(median / low) / math.log(high / low) - 0.5) < straight


def without_far(values: Iterable[float]) -> list[float]:
    """The values, sorted, without those so far off that an axis for them would hide all others."""
    there = sorted(values)
    if len(there) < 8:
        return there
    far = _FAR
    places = there
    if there[0] > 0 and there[-1] / there[0] >= _DECADES:
        # By orders of magnitude, of which fewer are far.
        far, places = _FAR / 2, [math.log(value) for value in there]
    first, third = places[len(there) // 4], places[(3 * len(there)) // 4]
    room = far * (third - first)
    if not room > 0:
        return there
    return [value for value, at in zip(there, places, strict=True) if first - room <= at <= third + room]


def ticks(scale: Scale, count: int = 5) -> list[tuple[float, str]]:
    """About so many round values on an axis, with their texts."""
    if scale.log:
        found = _decades(scale, count)
        if len(found) > 1:
            return found
    step = _round_step((scale.high / 2 - scale.low / 2) / count * 2)
    first = math.ceil(scale.low / step)
    # Rounding may carry the outer ones a last digit beyond the ends.
    values = [
        min(max(i * step, scale.low), scale.high) for i in range(first, math.floor(scale.high / step) + 1)
    ]
    return [(value, tick_text(value, step)) for value in values]


def tick_text(value: float, step: float) -> str:
    """A round value with as many digits as its neighbours make necessary."""
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e5 or (step >= 1 and abs(value) < 1e5):
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{value:.{digits}f}"
    places = max(0, math.floor(math.log10(abs(value)) + 1e-9) - math.floor(math.log10(step) + 1e-9))
    mantissa, exponent = f"{value:.{places}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def time_ticks(scale: Scale, count: int = 5) -> list[tuple[float, str]]:
    """Round spans of time, in seconds, on an axis that begins with 0."""
    wanted = (scale.high - scale.low) / count
    step = next((float(each) for each in _TIMES if each >= wanted), 0.0)
    if not step:
        step = _DAY * max(1.0, _round_step(wanted / _DAY))
    last = math.floor(scale.high / step)
    return [(i * step, _time_text(i * step, step)) for i in range(math.ceil(scale.low / step), last + 1)]


def spread(words: Sequence[str], start: float, end: float) -> Callable[[str], float]:
    """Places for words along an axis, in their order."""
    known = {word: i for i, word in enumerate(words)}
    last = max(1, len(known) - 1)
    alone = len(known) == 1

    def place(word: str) -> float:
        part = 0.5 if alone else known[word] / last
        return start + part * (end - start)

    return place


def thinned(count: int, limit: int, keep: Iterable[int] = ()) -> list[int]:
    """Places of ``limit`` of so many things: evenly from the first to the last, and those to be kept."""
    if count <= limit:
        return list(range(count))
    chosen = {round(i * (count - 1) / (limit - 1)) for i in range(limit)} if limit > 1 else {0}
    return sorted(chosen | {i for i in keep if 0 <= i < count})


def _decades(scale: Scale, count: int) -> list[tuple[float, str]]:
    first, last = math.ceil(math.log10(scale.low) - 1e-9), math.floor(math.log10(scale.high) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / (count + 1)))
    return [(10.0**e, _power(e)) for e in range(first, last + 1, every) if scale.holds(10.0**e)]


def _power(exponent: int) -> str:
    return f"{10.0**exponent:g}" if -3 <= exponent <= 4 else f"1e{exponent}"


def _round_step(wanted: float) -> float:
    """1, 2 or 5 times a power of ten, whichever is nearest."""
    if not (wanted > 0 and math.isfinite(wanted)):
        return 1.0
    power = 10.0 ** math.floor(math.log10(wanted))
    if power == 0:
        return wanted
    return power * next(
        size for limit, size in ((1.5, 1), (3.5, 2), (7.5, 5), (99.0, 10)) if wanted < limit * power
    )


def _time_text(seconds: float, step: float) -> str:
    if seconds == 0:
        return "0"
    if step < 60:
        minutes, rest = divmod(round(seconds), 60)
        return f"{rest} s" if not minutes else f"{minutes}:{rest:02d}"
    if step < 3600:
        hours, rest = divmod(round(seconds / 60), 60)
        return f"{rest} min" if not hours else f"{hours}:{rest:02d} h"
    if step < _DAY:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / _DAY)} d"
