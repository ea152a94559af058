"""Whether Ax's part of an experiment equals its journal: the snapshot, and a replay into a fresh Ax."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isclose
from pathlib import Path

from ax.api.client import Client
from ax.core.experiment import Experiment

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop.opening import read_definition
from axsched_hpc.store import journal
from tests.chaos.violation import Kind, Violation


def check_ax(directory: Path) -> list[Violation]:
    """Compare both with the journal, and the points that they would suggest next with each other."""
    layout = Layout.at(directory)
    past = list(journal.events(journal.read(layout.journal)))
    ledger = Ledger()
    ledger.replay(past)
    replayed = AxBridge.from_text(read_definition(layout), str(layout.definition))
    replayed.replay(past)
    try:
        plain = Client.load_from_json_file(str(layout.snapshot))
        saved = AxBridge.from_text(layout.snapshot.read_text(), str(layout.snapshot))
    except Exception as error:
        return [Violation(Kind.INCONSISTENT, f"Ax cannot open the snapshot: {type(error).__name__}: {error}")]
    found = [
        # The file has all digits, but Ax reads them by pandas' fast parser, which loses the last.
        *_differences("the snapshot", plain._experiment, ledger, rounded=True),
        *_differences("the replay", replayed.experiment, ledger),
    ]
    next_points = [
        [candidate.parameters for candidate in bridge.ask(1, time=ledger.last_time).candidates]
        for bridge in (saved, replayed)
    ]
    if next_points[0] != next_points[1]:
        found.append(
            Violation(
                Kind.INCONSISTENT,
                f"after the snapshot Ax suggests {next_points[0]}, after the replay {next_points[1]}.",
            )
        )
    return found


def _differences(
    what: str, experiment: Experiment, ledger: Ledger, *, rounded: bool = False
) -> Iterator[Violation]:
    if set(experiment.trials) != set(ledger.trials):
        both = set(experiment.trials) ^ set(ledger.trials)
        yield Violation(Kind.INCONSISTENT, f"trials {sorted(both)} are not in both {what} and the journal.")
    values: dict[int, list[float]] = {}
    for row in experiment.lookup_data().df.itertuples():
        values.setdefault(int(row.trial_index), []).append(float(row.mean))
    for number in sorted(set(experiment.trials) & set(ledger.trials)):
        theirs, ours = experiment.trials[number], ledger.trials[number]
        stored = [mean for mean, _ in (ours.metrics or {}).values()]
        pairs = [
            ("status", theirs.status.name.lower(), ours.state.value),
            ("parameters", [dict(arm.parameters) for arm in theirs.arms], [ours.parameters]),
            ("values", values.get(number, []), stored),
        ]
        for name, there, here in pairs:
            if not (_close(there, here) if name == "values" and rounded else there == here):
                yield Violation(
                    Kind.INCONSISTENT,
                    f"trial {number}: {what} has the {name} {there}, but the journal has {here}.",
                )


def _close(there: Sequence[float], here: Sequence[float]) -> bool:
    return len(there) == len(here) and all(
        isclose(one, other, rel_tol=1e-12, abs_tol=1e-14) for one, other in zip(there, here, strict=True)
    )
