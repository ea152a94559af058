"""What a campaign has shown, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tests.chaos.rounds import Outcome
from tests.chaos.violation import Kind

_COLUMNS = (
    ("rounds", lambda found: len(found)),
    ("drivers", lambda found: sum(o.drivers for o in found)),
    ("trials", lambda found: sum(o.trials for o in found)),
    ("executions", lambda found: sum(o.executions for o in found)),
    ("faults", lambda found: sum(sum(o.fired.values()) for o in found)),
    ("requests", lambda found: sum(sum(o.requests.values()) for o in found)),
    ("kills", lambda found: sum(n for o in found for label, n in o.fired.items() if " kill " in label)),
    *(
        (kind.value, lambda found, kind=kind: sum(1 for o in found for k, _ in o.violations if k == kind))
        for kind in Kind
    ),
    ("first record", lambda found: f"{max((o.first_record for o in found), default=0):.1f} s"),
    ("settled", lambda found: f"{max((o.settled for o in found), default=0):.1f} s"),
)


def table(outcomes: Sequence[Outcome], *, seed: int, seconds: float, covering: bool) -> str:
    """The campaign's table: by place, then faults by kind and point, and requests by what became of them.

    Parameters
    ----------
    covering
        Whether points that were never reached are told.
    """
    where = list(dict.fromkeys(outcome.place for outcome in outcomes))
    rows = [["place", *(name for name, _ in _COLUMNS)]]
    for place in [*where, "all"] if len(where) > 1 else where:
        found = [o for o in outcomes if place in (o.place, "all")]
        rows.append([place, *(str(value(found)) for _, value in _COLUMNS)])
    fired = {place: _sum(o.fired for o in outcomes if o.place == place) for place in where}
    asked = {place: _sum(o.requests for o in outcomes if o.place == place) for place in where}
    never = sorted(_sum(o.planned for o in outcomes).keys() - _sum(fired.values()).keys())
    parts = [_aligned(rows), "", _by_place("fault", fired), "", _by_place("request", asked), ""]
    if never and covering:
        parts += ["Never reached: " + "; ".join(never) + ".", ""]
    parts.append(
        f"{len(outcomes)} rounds in {seconds / 60:.1f} min, seed {seed}; "
        f"{sum(len(o.violations) for o in outcomes)} violations."
    )
    return "\n".join(parts)


def _by_place(what: str, counted: Mapping[str, Counter[str]]) -> str:
    labels = sorted(_sum(counted.values()))
    rows = [[label, *(str(counter[label]) for counter in counted.values())] for label in labels]
    return _aligned([[what, *counted], *rows])


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    total = Counter[str]()
    for counter in counters:
        total.update(counter)
    return total


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
