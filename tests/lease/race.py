"""Races of processes for one experiment: one has it at a time, and nothing that was promised is lost.

    python -m tests.lease.race [--races 200] [--racers 2] [--takeover 3] [DIRECTORY [DIRECTORY]]

There are two hosts, each a process with a name of its own (a UTS namespace, which needs root) from which
racers are forked; with two directories, of one file system mounted twice, each host uses its own. In the
guest of tests/nfs/run the hosts are alpha and beta, and the directories those of NFS_A and NFS_B.

The racers of a race wait on one pipe and are let go by one write. Who wins checks that nobody else is inside
(by a flock on a local file that the kernel frees with its process), reads the journal, appends numbers to it
that count on from those that it has read, and then gives the experiment back, is killed or is stopped, in the
middle of an append too. A stopped one goes on once it has been superseded. The table says what was seen; the
exit code is 1 where two were inside at once, or the journal does not have each promised number once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axsched_hpc.core.events import AttemptStarted
from axsched_hpc.io.layout import Layout
from axsched_hpc.store import journal
from tests.lease.kit import ROOT
from tests.lease.racer import Part, Pipes

#: How a winner ends, and how often; a dead holder seen from another host costs the time of a take-over.
FATES = {"close": 6, "kill": 3, "stop": 1}
#: Where in its work: not in an append, or at one of these fault points.
PLACES = {
    "kill": ("", "open.lease", "journal.before", "journal.torn", "journal.unsynced", "journal.after"),
    "stop": ("", "journal.before", "journal.torn", "journal.unsynced"),
}
#: Races in one directory, one after the other.
CHAIN = 10
#: Seconds after which a race that is not over has failed.
PATIENCE = 90.0


# ---------------------------------------------------------------- the races


@dataclass
class Tenure:
    """One racer's time inside."""

    epoch: int
    racer: int
    host: int
    began: float
    took: float
    fate: str = "close"
    end: float = 0.0


@dataclass
class Seen:
    """What all races showed."""

    races: int = 0
    winners: int = 0
    refused: int = 0
    unnamed: int = 0
    overlaps: int = 0
    superseded: int = 0
    faults: list[str] = field(default_factory=list)
    promised: int = 0
    spreads: list[float] = field(default_factory=list)
    takes: dict[str, list[float]] = field(default_factory=dict)


class Races:
    """The hosts, and the races that they run."""

    def __init__(self, asked: argparse.Namespace, directories: Sequence[Path], stack: ExitStack) -> None:
        self.seen = Seen()
        self._directories = directories
        self._racers: int = asked.racers
        self._takeover: float = asked.takeover
        self._random = random.Random(asked.seed)
        self._options = ["without-locks"] if asked.without_locks else []
        self._stack = stack
        memory = Path("/dev/shm")
        where = memory if os.access(memory, os.W_OK) else None
        self._local = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="axsched-race-", dir=where))
        )
        self._reports, reports = os.pipe()
        go, self._go = os.pipe()
        leave, self._leave = os.pipe()
        pipes = Pipes(go, leave, reports)
        self._rest = b""
        self._next = 0
        self._hosts: list[subprocess.Popen[bytes]] = []
        in_guest = shutil.which("on-host") is not None
        for name in ("alpha", "beta"):
            self._hosts.append(self._start(name, ["on-host", name] if in_guest else [], pipes))
        for end in vars(pipes).values():
            os.close(end)

    def _start(self, name: str, prefix: list[str], pipes: Pipes) -> subprocess.Popen[bytes]:
        ends = list(vars(pipes).values())
        host = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.lease.racer", name, *map(str, ends), *self._options],
            stdin=subprocess.PIPE,
            pass_fds=ends,
            cwd=ROOT,
        )
        self._stack.callback(host.wait)
        assert host.stdin is not None
        self._stack.callback(host.stdin.close)
        return host

    def run(self, number: int) -> None:
        """Run so many races, each from where the one before has left the experiment."""
        for start in range(0, number, CHAIN):
            name = f"race-{self._racers}-{start:04d}"
            layouts = [Layout.at(directory / name) for directory in self._directories]
            layouts[0].root.mkdir()
            layouts[0].journal.mkdir()
            # Also makes the new name known to the other mount.
            os.listdir(self._directories[-1])  # noqa: PTH208
            tenures: list[Tenure] = []
            promised: list[int] = []
            for _ in range(min(CHAIN, number - start)):
                self._race(layouts, tenures, promised)
            self._check(layouts[-1], tenures, promised)

    def _race(self, layouts: list[Layout], tenures: list[Tenure], promised: list[int]) -> None:
        seen = self.seen
        fate = self._random.choices(list(FATES), list(FATES.values()))[0]
        place = self._random.choice(PLACES.get(fate, ("",)))
        before = tenures[-1] if tenures else None
        hosts = [self._random.randrange(2) for _ in range(self._racers)]
        if before is not None and before.fate == "stop":
            # A holder that is stopped is alive on its own host, and nobody there may take over.
            hosts[0] = 1 - before.host
        ids = {self._next + place: host for place, host in enumerate(hosts)}
        self._next += self._racers
        for racer, host in ids.items():
            part = Part(
                racer=racer,
                directory=str(layouts[host % len(layouts)].root),
                local=str(self._local),
                takeover=self._takeover,
                epoch=before.epoch if before is not None else 0,
                fate=fate,
                place=place,
            )
            self._ask(host, vars(part))
        began: dict[int, float] = {}
        ready: set[int] = set()
        inside: dict[int, Tenure] = {}
        over: set[int] = set()
        let_go = False
        while len(over) < self._racers:
            told = self._report()
            racer, what, when = told["racer"], told["what"], told["time"]
            match what:
                case "ready":
                    ready.add(racer)
                    if len(ready) == self._racers:
                        os.write(self._go, b"." * self._racers)
                case "began":
                    began[racer] = when
                case "took":
                    inside[racer] = Tenure(told["epoch"], racer, ids[racer], began[racer], when)
                    seen.winners += 1
                case "refused":
                    seen.refused += 1
                    seen.unnamed += told["pid"] is None
                case "promised":
                    promised.append(told["number"])
                case "overlap":
                    seen.overlaps += 1
                case "ending" | "closed":
                    inside[racer].end = when
                case "superseded":
                    seen.superseded += 1
                case "stopped":
                    over.add(racer)
                    inside[racer].fate, inside[racer].end = "stop", when
                case "ended":
                    over.add(racer)
                    if told["code"] == -signal.SIGKILL:
                        if racer not in inside:  # at open.lease, before it could say so
                            epoch = before.epoch + 1 if before is not None else 1
                            inside[racer] = Tenure(epoch, racer, ids[racer], began[racer], when)
                            seen.winners += 1
                        inside[racer].fate, inside[racer].end = "kill", when
                    elif told["code"] != 0:
                        seen.faults.append(f"racer {racer} ended with exit code {told['code']}")
            holder = next((t for t in inside.values() if t.end == 0.0), None)
            if fate == "close" and not let_go and holder is not None and len(over) == self._racers - 1:
                # All others have been refused.
                os.write(self._leave, b".")
                let_go = True
        seen.races += 1
        seen.spreads.append(max(began.values()) - min(began.values()))
        for tenure in sorted(inside.values(), key=lambda one: one.epoch):
            self._measure(tenures[-1] if tenures else None, tenure)
            tenures.append(tenure)
        self._wake(tenures)

    def _measure(self, before: Tenure | None, after: Tenure) -> None:
        if before is None:
            return
        if after.epoch != before.epoch + 1:
            self.seen.faults.append(f"epoch {after.epoch} follows {before.epoch}")
        if before.fate == "close" and after.took < before.end:
            self.seen.overlaps += 1
        where = (
            "" if before.fate == "close" else ", same host" if before.host == after.host else ", another host"
        )
        waited = after.took - max(before.end, after.began)
        self.seen.takes.setdefault(before.fate + where, []).append(waited)

    def _wake(self, tenures: list[Tenure]) -> None:
        """Let those that were stopped and have been superseded go on, and see that they notice."""
        for tenure in tenures[:-1]:
            if tenure.fate != "stop":
                continue
            self._ask(tenure.host, {"cont": tenure.racer})
            noticed = False
            while True:
                told = self._report()
                if told["what"] == "superseded":
                    noticed = True
                    self.seen.superseded += 1
                elif told["what"] == "ended":
                    break
                else:
                    self.seen.faults.append(f"a superseded racer has {told['what']}: {told}")
            if not noticed:
                self.seen.faults.append(f"racer {tenure.racer} did not notice that it was superseded")
            tenure.fate = "stop, superseded"

    def _check(self, layout: Layout, tenures: list[Tenure], promised: list[int]) -> None:
        """Each number that was promised is in the journal once, in order, and none is missing between."""
        for tenure in tenures:
            if tenure.fate == "stop":
                # The last one of a chain: nobody has superseded it.
                self._ask(tenure.host, {"cont": tenure.racer})
                while (told := self._report())["what"] != "ended":
                    if told["what"] == "promised":
                        promised.append(told["number"])
        events = journal.events(journal.read(layout.journal))
        numbers = [event.trial for event in events if isinstance(event, AttemptStarted)]
        if numbers != list(range(1, len(numbers) + 1)) or not set(promised) <= set(numbers):
            self.seen.faults.append(f"{layout.root}: promised {promised}, but the journal has {numbers}")
        if len(set(promised)) != len(promised):
            self.seen.faults.append(f"{layout.root}: a number was promised twice: {promised}")
        self.seen.promised += len(promised)

    def _ask(self, host: int, what: dict[str, Any]) -> None:
        pipe = self._hosts[host].stdin
        assert pipe is not None
        pipe.write(json.dumps(what).encode() + b"\n")
        pipe.flush()

    def _report(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            if not select.select([self._reports], [], [], PATIENCE)[0]:
                raise TimeoutError(f"nothing was heard of the racers for {PATIENCE:g} s")
            more = os.read(self._reports, 65536)
            if not more:
                raise EOFError("the hosts have ended")
            self._rest += more
        line, self._rest = self._rest.split(b"\n", 1)
        told: dict[str, Any] = json.loads(line)
        return told


def table(seen: Seen, racers: int, seconds: float) -> str:
    """What the races showed, for a person."""
    lines = [
        f"races of {racers}             {seen.races} in {seconds:.0f} s",
        f"winners                {seen.winners} (those after the first of a race took over within it)",
        f"refused                {seen.refused}, without the holder's name {seen.unnamed}",
        f"overlaps               {seen.overlaps}",
        f"woken, found it out    {seen.superseded}",
        f"numbers promised       {seen.promised}",
        f"let go within          {1000 * statistics.median(seen.spreads):.2f} ms (median)",
        "take-over after                  count      min   median      max  [s]",
    ]
    for what, times in sorted(seen.takes.items()):
        numbers = f"{min(times):8.3f} {statistics.median(times):8.3f} {max(times):8.3f}"
        lines.append(f"  {what:<28} {len(times):7} {numbers}")
    count = Counter(seen.faults)
    return "\n".join([*lines, *(f"WRONG ({number}x): {what}" for what, number in count.items())])


def main(arguments: Sequence[str]) -> int:
    """Run the races that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.lease.race", description=__doc__.split("\n")[0])
    parser.add_argument("--races", type=int, default=200)
    parser.add_argument("--racers", type=int, default=2)
    parser.add_argument("--takeover", type=float, default=3.0, help="seconds (%(default)g)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--without-locks", action="store_true", help="as on a filesystem that has no flock")
    parser.add_argument("directories", nargs="*", type=Path, metavar="DIRECTORY")
    asked = parser.parse_args(arguments)
    mounts = [Path(os.environ[name]) for name in ("NFS_A", "NFS_B") if name in os.environ]
    with ExitStack() as stack:
        directories = (
            asked.directories or mounts or [Path(stack.enter_context(tempfile.TemporaryDirectory()))]
        )
        races = Races(asked, directories, stack)
        started = time.monotonic()
        races.run(asked.races)
        seconds = time.monotonic() - started
    sys.stdout.write(f"seed {asked.seed}\n{table(races.seen, asked.racers, seconds)}\n")
    return 1 if races.seen.overlaps or races.seen.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
