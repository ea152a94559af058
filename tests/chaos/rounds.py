"""One round: an experiment whose drivers and workers are killed, stopped and refused their files; then the
checkers.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from axsched_hpc.core.errors import AxSchedError
from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptSucceeded,
    AttemptWithdrawn,
    BatchPlanned,
    BatchSubmitted,
    CallStarted,
    DriverClosed,
)
from axsched_hpc.core.states import RequestKind
from axsched_hpc.io import processes, requests
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.store import journal
from tests.chaos import driver
from tests.chaos.asked import Laid, told
from tests.chaos.ax_checker import check_ax
from tests.chaos.checker import check, check_orphans
from tests.chaos.driver import Place, Setting
from tests.chaos.objective import Execution, ExecutionLog
from tests.chaos.plan import Ask, Fault, Life, Plan, Who
from tests.chaos.violation import Kind, Violation

#: Seconds in which a driver has to bring its run to an end; whoever takes longer is stuck.
LIMIT = 120.0

_TICK = 0.01


@dataclass
class Outcome:
    """What came of a round.

    Attributes
    ----------
    planned, fired
        Faults by label.
    requests
        How many of them were taken, refused, and laid down too late, by kind and that.
    violations
        (kind, words) of each.
    first_record, settled
        Seconds from the start of a driver after a kill: to its first record, and to the record of what had
        been in doubt or had ended in the meantime. The worst of the round.
    """

    place: str
    number: int
    points: list[str]
    seconds: float = 0.0
    trials: int = 0
    executions: int = 0
    drivers: int = 0
    planned: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[str, str]] = field(default_factory=list)
    first_record: float = 0.0
    settled: float = 0.0
    folder: str = ""


@dataclass
class _Started:
    """A driver process, as its parent knows it."""

    pid: int
    began: float
    output: Path


class Round:
    """Runs a plan at a place, with all its files in a folder of its own."""

    def __init__(self, plan: Plan, place: Place, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        directory, beside = folder / "run", None
        if place.mounts:
            directory, beside = (mount / folder.name / "run" for mount in place.mounts)
            directory.parent.mkdir()
        self._place = place
        self._setting = Setting(plan, place, directory, folder / "executions.log", beside)
        self._log = ExecutionLog(self._setting.log)
        #: Faults at random moments of workers that have not come yet, with the number of earlier executions.
        self._pending: list[tuple[Fault, int]] = []
        self._killed: set[int] = set()
        #: Requests of this driver's life and earlier ones that are not laid down yet.
        self._asks: list[Ask] = []
        self._laid: list[Laid] = []
        self._cancelled = 0
        self._fired: Counter[str] = Counter()
        self._started: list[_Started] = []
        self._wrong: list[Violation] = []

    def run(self) -> Outcome:
        """Run it to its end, and judge it."""
        began = time.monotonic()
        for number, life in enumerate((*self._plan.lives, Life(), Life())):
            if self._live(number, life):
                break
            self._ask(math.inf)
            time.sleep(life.pause)
        else:
            self._complain(f"the run did not end with {len(self._started)} drivers.")
        self._judge()
        first_record, settled = self._recovery()
        if self._wrong and self._place.mounts:
            # The mounts are gone with their machine.
            shutil.copytree(self._setting.directory, self._folder / "run")
        return Outcome(
            place=self._place.name,
            number=self._plan.number,
            points=[],
            seconds=time.monotonic() - began,
            trials=self._plan.trials,
            executions=len(self._log.read()),
            drivers=len(self._started),
            planned=Counter(fault.label for fault in self._plan.faults),
            fired=self._fired,
            requests=told(self._setting.directory, self._laid),
            violations=[(violation.kind.value, violation.words) for violation in self._wrong],
            first_record=first_record,
            settled=settled,
            folder=str(self._folder),
        )

    # ------------------------------------------------------------ one driver

    def _live(self, number: int, life: Life) -> bool:
        """Let a driver live; whether the run has come to its end."""
        own, workers = (self._folder / f"faults-{number}-{who}" for who in Who)
        for fault in life.faults:
            if fault.point is not None:
                path = own if fault.who is Who.DRIVER else workers
                path.mkdir(exist_ok=True)
                (path / fault.point).write_text(f"{fault.action} {fault.arrival}")
            elif fault.who is Who.WORKER:
                self._pending.append((fault, len(self._log.read())))
        output = self._folder / f"driver-{number}.log"
        output.touch()
        began = time.time()
        one = _Started(driver.start(self._setting, output, own, workers), began, output)
        self._started.append(one)
        self._asks = sorted(life.asks, key=lambda ask: ask.delay)
        status = self._watch(one, [f for f in life.faults if f.who is Who.DRIVER])
        if os.WIFSIGNALED(status):
            if os.WTERMSIG(status) != signal.SIGKILL:
                self._complain(f"driver {number} was ended by signal {os.WTERMSIG(status)}.")
            return self._ended(one)
        code = os.WEXITSTATUS(status)
        if code == driver.REFUSED and self._may_refuse(one, own):
            return False
        if code:
            said = output.read_text(errors="replace").rstrip().splitlines()
            self._complain(f"driver {number} ended with code {code}; it said last: {said[-1:]}")
        return code == 0

    def _watch(self, one: _Started, faults: list[Fault]) -> int:
        """Let happen what is to happen at random moments, until the driver has ended; its status."""
        moments = sorted((f for f in faults if f.point is None), key=lambda fault: fault.delay)
        stops = [f.delay for f in faults if f.action == "stop" and f.point is not None]
        while True:
            ended, status = os.waitpid(one.pid, os.WNOHANG | os.WUNTRACED)
            if ended and os.WIFSTOPPED(status):
                self._rest(stops.pop() if stops else 0.3)
                os.kill(one.pid, signal.SIGCONT)
            elif ended:
                return status
            age = time.time() - one.began
            if moments and age >= moments[0].delay:
                fault = moments.pop(0)
                self._fired[fault.label] += 1
                os.kill(one.pid, signal.SIGSTOP if fault.action == "stop" else signal.SIGKILL)
            if age > LIMIT:
                self._complain(f"a driver did not end within {LIMIT:g} s; see {one.output}.")
                os.kill(one.pid, signal.SIGKILL)
            self._ask(age)
            self._disturb_workers()
            time.sleep(_TICK)

    def _ask(self, age: float) -> None:
        """Lay down the requests whose moment has come."""
        while self._asks and self._asks[0].delay <= age:
            ask = self._asks.pop(0)
            change = replace(ask.change, time=time.time())
            if change.request is RequestKind.CANCEL:
                left = self._left()
                if not left and age < math.inf:
                    self._asks.insert(0, replace(ask, delay=age + 0.1))
                    return
                self._cancelled = left[ask.which % len(left)] if left else ask.which
            if change.trial is not None:
                change = replace(change, trial=self._cancelled)
            # Whoever asks is on another machine than the driver, where there is one.
            there = Layout.at(self._setting.beside or self._setting.directory)
            self._laid.append(Laid(requests.lay_down(there, change), change, time.time()))

    def _left(self) -> list[int]:
        """The trials that are to be run."""
        try:
            ledger = read_experiment(self._setting.directory).ledger
        except (AxSchedError, OSError):
            return []  # there is no experiment yet, or a driver is just about to make it
        return [*ledger.active, *ledger.waiting]

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._disturb_workers()
            time.sleep(_TICK)

    def _disturb_workers(self) -> None:
        if not self._pending:
            return
        runs = self._log.read()
        for fault, before in list(self._pending):
            for run in runs[before + fault.arrival - 1 :]:
                if run.began + fault.delay > time.time():
                    break
                if self._hit(fault, run):
                    self._fired[fault.label] += 1
                    self._pending.remove((fault, before))
                    break

    def _hit(self, fault: Fault, run: Execution) -> bool:
        """Kill or requeue a worker, if it is still there."""
        if processes.start_ticks(run.pid) != run.start or run.pid in self._killed:
            return False
        if fault.action == "requeue":
            if run.job is None:
                return False
            done = subprocess.run(
                ["scontrol", "requeue", run.job.partition("#")[0]],
                env=self._place.slurm,
                capture_output=True,
                check=False,
            )
            if done.returncode != 0:
                return False
        else:
            try:
                os.kill(run.pid, signal.SIGKILL)
            except ProcessLookupError:
                return False
        self._killed.add(run.pid)
        return True

    def _ended(self, one: _Started) -> bool:
        """Whether a driver that was killed had recorded its end before: then a new one would begin anew."""
        for segment in self._segments():
            if segment.lease is not None and segment.lease.pid == one.pid:
                last = segment.events[-1]
                return isinstance(last, DriverClosed) and last.finished
        return False

    def _may_refuse(self, one: _Started, faults: Path) -> bool:
        """Whether a driver could not begin because a file was refused to it: then it says so, and ends."""
        refused = [path for path in faults.glob("*.fired-*") if not path.read_text().startswith(("k", "s"))]
        for segment in self._segments():
            if segment.lease is not None and segment.lease.pid == one.pid:
                return bool(refused) and not any(isinstance(e, CallStarted) for e in segment.events)
        return bool(refused)

    def _segments(self) -> list[journal.Segment]:
        try:
            return journal.read(self._setting.directory / "journal")
        except AxSchedError as error:
            self._complain(str(error))
            return []

    # ------------------------------------------------------------ afterwards

    def _collect_fired(self) -> None:
        for who in Who:
            for path in self._folder.glob(f"faults-*-{who}/*.fired-*"):
                point, _, pid = path.name.rpartition(".fired-")
                action = path.read_text().split()[0]
                self._fired[Fault(who, action, point).label] += 1
                if who is Who.WORKER and action == "kill":
                    self._killed.add(int(pid))

    def _judge(self) -> None:
        directory = self._setting.directory
        try:
            aliases = [self._setting.beside] if self._setting.beside else []
            # First of all: until nothing of the round runs any more, workers can still be hit.
            self._wrong += check_orphans(directory, aliases=aliases, slurm=self._place.slurm)
            self._collect_fired()
            self._wrong += check(
                directory,
                self._setting.log,
                trials=self._plan.trials,
                slots=driver.slots(self._plan, self._place),
                pack=self._place.pack,
                laid=self._laid,
                killed=self._killed,
                driver_logs=[one.output for one in self._started],
            )
            self._wrong += check_ax(directory)
        except (AxSchedError, OSError) as error:
            self._complain(f"it cannot be checked: {error}")

    def _complain(self, words: str) -> None:
        self._wrong.append(Violation(Kind.INCONSISTENT, words))

    def _recovery(self) -> tuple[float, float]:
        """The worst times in which a driver came to its first record, and settled what it found."""
        began = {one.pid: one.began for one in self._started[1:]}
        ends = {(run.trial, run.attempt): run.ended for run in self._log.read() if run.ended is not None}
        first = settled = 0.0
        open_attempts: dict[tuple[int, int], str] = {}
        batches: dict[str, tuple[tuple[int, int], ...]] = {}
        for segment in self._segments():
            start = began.get(segment.lease.pid) if segment.lease is not None else None
            if start is not None and segment.lease is not None:
                first = max(first, segment.lease.time - start)
                # What the driver before has left: not known to be submitted, or ended in the meantime.
                left = {
                    pair
                    for pair, state in open_attempts.items()
                    if state == "planned" or ends.get(pair, start) < start
                }
            else:
                left = set()
            for event in segment.events:
                for pair, state in _moves(event, batches):
                    if pair in left and start is not None:
                        left.discard(pair)
                        settled = max(settled, event.time - start)
                    if state:
                        open_attempts[pair] = state
                    else:
                        open_attempts.pop(pair, None)
        return first, settled


def _moves(
    event: object, batches: dict[str, tuple[tuple[int, int], ...]]
) -> Iterator[tuple[tuple[int, int], str]]:
    """Where an event puts attempts: planned, submitted, or nothing for ended."""
    match event:
        case BatchPlanned():
            batches[event.token] = event.attempts
            for pair in event.attempts:
                yield pair, "planned"
        case BatchSubmitted():
            for index in event.jobs:
                yield batches[event.token][index], "submitted"
        case AttemptSucceeded() | AttemptFailed() | AttemptWithdrawn():
            yield (event.trial, event.attempt), ""
