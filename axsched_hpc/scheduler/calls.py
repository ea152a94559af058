"""Which of a script's calls this is, so that a script that was killed and is started again ends at the same
total.

Calls are counted within a session: one run of the user's script, over its restarts. A session ends when the
script ends in good order. In a restarted script the k-th call is the k-th call of before: it goes on where
that was, or returns at once where that had ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from axsched_hpc.core.events import CallEnded, CallStarted
from axsched_hpc.core.ledger import arm_key
from axsched_hpc.loop.loop import Stop
from axsched_hpc.loop.session import Session

RUN, BATCH = "run", "batch"


@dataclass(frozen=True)
class Call:
    """One public call under way. ``done`` says that it had ended before a restart."""

    ordinal: int
    base: int
    trials: tuple[int, ...] = ()
    done: bool = False


class Calls:
    """Counts the calls of this process, and matches them with those before a restart."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ordinal = 0
        #: What enqueues is counted by itself: a line more of it in a script shifts no other call.
        self._enqueued = 0

    def base(self) -> int:
        """The number of trials before the next call of ``run_optimization``."""
        earlier, ledger = self._peek(RUN)[1], self._session.ledger
        return earlier.base if earlier is not None else ledger.own - ledger.left_to_run()

    def begin_run(self, max_trials: int, *, synchronous: bool, total: int, max_parallel: int) -> Call:
        """Begin, go on with, or recognise as done a call of ``run_optimization``.

        Parameters
        ----------
        total, max_parallel
            What the script says, for the record: see :class:`~axsched_hpc.core.events.CallStarted`.
        """
        ledger = self._session.ledger
        ordinal, _ = self._peek(RUN)
        base = self.base()
        ended = ledger.ended_calls.get(ordinal)
        # A call whose time was over, or for which Ax had no more points, had reached its end with fewer
        # trials.
        if ended is not None and (ledger.own >= base + max_trials or ended.reason != Stop.BUDGET):
            self._ordinal = ordinal
            return Call(ordinal, base, done=True)
        self._session.record(
            CallStarted(
                self._session.clock.now(),
                ordinal,
                RUN,
                base,
                max_trials=max_trials,
                synchronous=synchronous,
                total=total,
                max_parallel=max_parallel,
            )
        )
        # Counted once it is recorded: else a call that could not begin would leave a gap in the numbers.
        self._ordinal = ordinal
        return Call(ordinal, base)

    def earlier_batch(self) -> Call | None:
        """The call before a restart that the next one repeats, if it is a batch; counts nothing yet."""
        earlier = self._peek(BATCH)[1]
        if earlier is None:
            return None
        done = earlier.ordinal in self._session.ledger.ended_calls
        return Call(earlier.ordinal, earlier.base, earlier.trials, done=done)

    def go_on_with(self, call: Call) -> None:
        """Count the call that :meth:`earlier_batch` found as this one."""
        self._ordinal = call.ordinal

    def begin_batch(self, trials: Sequence[int], *, synchronous: bool) -> CallStarted:
        """The event of a batch call that adds new trials; recorded together with them."""
        self._ordinal = self._peek(BATCH)[0]
        return CallStarted(
            self._session.clock.now(),
            self._ordinal,
            BATCH,
            self._session.ledger.own,
            tuple(trials),
            synchronous=synchronous,
        )

    def enqueue(self, points: Sequence[Mapping[str, Any]]) -> int:
        """Enqueue points, but those that this call had enqueued before a restart; how many are new."""
        ordinal = self._enqueued + 1
        before = Counter(map(arm_key, self._session.ledger.enqueued.get(ordinal, ())))
        fresh = []
        for point in points:
            if before[arm_key(point)]:
                before[arm_key(point)] -= 1
            else:
                fresh.append(point)
        if fresh:
            self._session.enqueue(fresh, ordinal=ordinal)
        self._enqueued = ordinal
        return len(fresh)

    def end(self, call: Call, reason: str) -> None:
        """Record that a call returned."""
        self._session.record(CallEnded(self._session.clock.now(), call.ordinal, reason))

    def _peek(self, what: str) -> tuple[int, CallStarted | None]:
        """The next call's ordinal, and what it was before a restart if it was of the same kind.

        A call that was interrupted in this very process is the next one again.
        """
        ledger = self._session.ledger
        current = ledger.calls.get(self._ordinal)
        if current is not None and current.what == what and self._ordinal not in ledger.ended_calls:
            return self._ordinal, current
        earlier = ledger.calls.get(self._ordinal + 1)
        return self._ordinal + 1, earlier if earlier is not None and earlier.what == what else None
