"""The crash campaign: ``python -m tests.chaos.campaign --minutes 20 --seed 1 --where local,slurm,noacct``.

Rounds of experiments whose processes are killed, stopped and refused their files, while somebody asks for
changes; each is judged by :mod:`tests.chaos.checker`. A round follows from the seed and its number alone. The
exit code is 1 where anything was lost, doubled, inconsistent or left over; directories of such rounds stay.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Whoever forks must have one thread only, and numerical libraries start some as they are imported.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
# The allocator of pyarrow, which pandas loads where it is there, has one of its own.
os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"

from tests.chaos.driver import Place
from tests.chaos.plan import COMMON_POINTS, DRIVER_POINTS, WORKER_POINTS, Fault, Plan, Who, cover, draw
from tests.chaos.rounds import Outcome, Round
from tests.chaos.table import table

ROOT = Path(__file__).resolve().parents[2]

#: Versions of NFS by the name of the place.
NFS = {"nfs3": "3", "nfs4": "4.2"}

#: Points that a round of the covering mode is given, and how often one may be tried in vain.
CHAIN, VAIN = 6, 6


@dataclass
class Campaign:
    """Runs rounds, some side by side, until the time is over or all is covered.

    Attributes
    ----------
    covered
        Each point is to be reached by so many kills at each place; 0 draws instead.
    """

    seed: int
    places: list[Place]
    folder: Path
    trials: int | None = None
    covered: int = 0
    jobs: int = 2
    outcomes: list[Outcome] = field(default_factory=list)
    _running: dict[int, tuple[Path, str, tuple[str, ...]]] = field(default_factory=dict)
    _tried: Counter[tuple[str, str]] = field(default_factory=Counter)

    def run(self, deadline: float, only: Sequence[int] = (), points: Sequence[str] = ()) -> None:
        """Run rounds until the deadline, on the monotonic clock; ``only`` these, where any are named."""
        rounds = self._rounds(only, points)
        more = True
        while more or self._running:
            while more and len(self._running) < self.jobs:
                if time.monotonic() > deadline:
                    more = False
                    break
                chosen = next(rounds, None)
                if chosen is None:
                    # In the covering mode, what runs now may leave something to do.
                    more = bool(self.covered and self._running)
                    break
                self._start(*chosen)
            if self._running:
                self._reap()

    def _rounds(
        self, only: Sequence[int], points: Sequence[str]
    ) -> Iterator[tuple[Place, Plan, tuple[str, ...]] | None]:
        number = 0
        while True:
            for place in self.places:
                number += 1
                if only:
                    if number > len(only) * len(self.places):
                        return
                    chosen = only[(number - 1) // len(self.places)]
                    yield place, self._plan(place, chosen, points), tuple(points)
                elif self.covered:
                    chain = self._chain(place)
                    if chain:
                        yield place, self._plan(place, number, chain), chain
                    elif not any(self._chain(other) for other in self.places):
                        yield None
                else:
                    yield place, self._plan(place, number, ()), ()

    def _plan(self, place: Place, number: int, points: Sequence[str]) -> Plan:
        slurm = place.slurm is not None
        if points:
            return cover(self.seed, number, points, trials=self.trials, slurm=slurm)
        return draw(self.seed, number, trials=self.trials, slurm=slurm)

    def _chain(self, place: Place) -> tuple[str, ...]:
        """The points that were reached least here, and not in vain too often."""
        reached = self.reached(place.name)
        for _, where, chain in self._running.values():
            if where == place.name:
                reached.update(chain)
        missing = [
            point
            for point in (*DRIVER_POINTS, *WORKER_POINTS)
            if reached[point] < self.covered and self._tried[place.name, point] - reached[point] < VAIN
        ]
        missing.sort(key=lambda point: (reached[point], self._tried[place.name, point]))
        return tuple(missing[:CHAIN])

    def reached(self, place: str) -> Counter[str]:
        """How often a kill at each point has happened at a place."""
        labels = {
            Fault(who, "kill", point).label: point
            for who, points in (
                (Who.DRIVER, DRIVER_POINTS),
                (Who.WORKER, (*WORKER_POINTS, *COMMON_POINTS)),
            )
            for point in points
        }
        found: Counter[str] = Counter()
        for outcome in self.outcomes:
            if outcome.place == place:
                for label, count in outcome.fired.items():
                    if label in labels:
                        found[labels[label]] += count
        return found

    # ------------------------------------------------------------ processes

    def _start(self, place: Place, plan: Plan, points: tuple[str, ...]) -> None:
        for point in points:
            self._tried[place.name, point] += 1
        folder = self.folder / f"{place.name}-{plan.number:04d}"
        folder.mkdir()
        pid = os.fork()
        if pid == 0:
            _be_round(place, plan, points, folder)
        self._running[pid] = (folder, place.name, points)

    def _reap(self) -> None:
        pid, _ = os.wait()
        folder, place, _ = self._running.pop(pid, (None, "", ()))
        if folder is None:
            return
        outcome = read_outcome(json.loads((folder / "outcome.json").read_text()))
        self.outcomes.append(outcome)
        for kind, words in outcome.violations:
            _say(f"VIOLATION in {folder}: {kind}: {words}")
        if outcome.violations:
            chain = f" --points {','.join(outcome.points)}" if outcome.points else ""
            trials = f" --trials {self.trials}" if self.trials else ""
            _say(
                f"The files of this round stay in {folder}. The same round again: "
                f"python -m tests.chaos.campaign --where {place} --seed {self.seed} "
                f"--rounds {outcome.number}{chain}{trials}"
            )
        else:
            shutil.rmtree(folder)
        done, asked = sum(outcome.fired.values()), sum(outcome.requests.values())
        _say(
            f"round {outcome.number} at {place}: {done} faults, {asked} requests, {outcome.executions} "
            f"executions of {outcome.trials} trials, {outcome.drivers} drivers, {len(outcome.violations)} "
            f"violations, {outcome.seconds:.1f} s"
        )


def _be_round(place: Place, plan: Plan, points: tuple[str, ...], folder: Path) -> None:
    code = 1
    try:
        outcome = Round(plan, place, folder).run()
        outcome.points = list(points)
        (folder / "outcome.json").write_text(json.dumps(vars(outcome)))
        code = 0
    except BaseException:
        failed = Outcome(place.name, plan.number, list(points), folder=str(folder))
        failed.violations.append(("inconsistent", f"the round itself failed: {traceback.format_exc()}"))
        (folder / "outcome.json").write_text(json.dumps(vars(failed)))
    finally:
        os._exit(code)


def read_outcome(fields: dict[str, object]) -> Outcome:
    """The outcome in JSON's terms."""
    outcome = Outcome(**fields)  # type: ignore[arg-type]
    outcome.planned, outcome.fired = Counter(outcome.planned), Counter(outcome.fired)
    outcome.requests = Counter(outcome.requests)
    outcome.violations = [(kind, words) for kind, words in outcome.violations]
    return outcome


# ---------------------------------------------------------------- places


def places(names: Sequence[str]) -> list[Place]:
    """The places by their names; nfs3 and nfs4 are for :func:`in_guest`."""
    found: list[Place] = []
    for name in names:
        if name == "local":
            found.append(Place(name))
        elif name == "nfs":
            # Within the guest of tests/nfs/run.
            found.append(
                Place(
                    f"nfs{os.environ['NFS_VERSION'][0]}",
                    mounts=tuple(Path(os.environ[v]) for v in ("NFS_A", "NFS_B")),
                )
            )
        elif name in ("slurm", "noacct", "packs"):
            from tests.slurm.harness import ClusterMissing, ensure_up

            try:
                clusters = [c for c in ensure_up() if c.accounting is (name != "noacct")]
            except ClusterMissing as missing:
                raise SystemExit(f"{name}: {missing}") from None
            if not clusters:
                raise SystemExit(f"{name}: no such Slurm answers here.")
            pack = 2 if name == "packs" else 1
            found.append(Place(name, slurm=clusters[0].environment(), pack=pack))
        else:
            raise SystemExit(f"--where: {name!r} is none of local, slurm, noacct, packs, nfs3, nfs4.")
    return found


def in_guest(name: str, arguments: argparse.Namespace, folder: Path, minutes: float) -> list[Outcome]:
    """Run a campaign of its own in a machine with an NFS, and return its outcomes."""
    import subprocess

    results = folder / f"{name}.json"
    argv = [str(ROOT / "tests" / "nfs" / "run"), "--version", NFS[name], "--timeout", str(minutes * 60 + 300)]
    argv += [sys.executable, "-m", "tests.chaos.campaign", "--where", "nfs", "--seed", str(arguments.seed)]
    argv += ["--minutes", str(minutes), "--cover", str(arguments.cover), "--jobs", "1"]
    argv += ["--results", str(results), "--folder", str(folder / name)]
    if arguments.trials:
        argv += ["--trials", str(arguments.trials)]
    if arguments.rounds:
        argv += ["--rounds", ",".join(map(str, arguments.rounds))]
    if arguments.points:
        argv += ["--points", ",".join(arguments.points)]
    done = subprocess.run(argv, cwd=ROOT, check=False)
    try:
        return [read_outcome(fields) for fields in json.loads(results.read_text())]
    except FileNotFoundError:
        raise SystemExit(
            f"The campaign at {name} ended with code {done.returncode}, without results."
        ) from None


# ---------------------------------------------------------------- the command


def main(argv: Sequence[str]) -> int:
    """Run the campaign, and print its table; 1 where anything was violated."""
    assert len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    arguments = _parser().parse_args(argv)
    # Jobs and workers start elsewhere.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    names = arguments.where.split(",")
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="axsched-chaos-")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    guests = [name for name in names if name in NFS]
    here = [name for name in names if name not in NFS]
    began = time.monotonic()
    outcomes: list[Outcome] = []
    if here:
        campaign = Campaign(
            arguments.seed, places(here), folder, arguments.trials, arguments.cover, arguments.jobs, outcomes
        )
        minutes = arguments.minutes * len(here) / len(names)
        campaign.run(began + 60 * minutes, arguments.rounds, arguments.points)
    for name in guests:
        outcomes += in_guest(name, arguments, folder, arguments.minutes / len(names))
    if arguments.results:
        # The one who asked for these prints the table.
        Path(arguments.results).write_text(json.dumps([vars(outcome) for outcome in outcomes]))
    else:
        seconds = time.monotonic() - began
        _say(table(outcomes, seed=arguments.seed, seconds=seconds, covering=bool(arguments.cover)))
    violated = any(outcome.violations for outcome in outcomes)
    if not violated:
        shutil.rmtree(folder)
    return 1 if violated else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for all places together (%(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--where", default="local", help="of local, slurm, noacct, nfs3, nfs4; with commas")
    parser.add_argument("--trials", type=int, help="of each round; else drawn")
    parser.add_argument(
        "--cover",
        type=int,
        default=0,
        metavar="N",
        help="until each point has been hit so often everywhere",
    )
    parser.add_argument("--jobs", type=int, default=2, help="rounds side by side (%(default)s)")
    parser.add_argument("--rounds", type=_numbers, default=[], help="only these, by their numbers")
    parser.add_argument("--points", type=_words, default=[], help="with --rounds: those of a covering round")
    parser.add_argument("--folder", help="for the files of the rounds; else a temporary one")
    parser.add_argument("--results", help="a file for the outcomes, as JSON")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _words(text: str) -> list[str]:
    return text.split(",")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
