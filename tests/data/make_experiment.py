"""Make the experiment directory that is kept under ``tests/data/format-N/``, with whatever axsched_hpc is
found: ``python tests/data/make_experiment.py DIRECTORY``.

One driver runs a batch and part of an optimisation, and is killed between the intent of a batch and its
submission; a second one goes on to the end; its last line is torn. There are trials that are completed,
failed, abandoned, stopped early, retried and withdrawn, and most have curves. What tells of the machine is then replaced, and the checksums
are made anew.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

#: Fails below x = 0.3; between 0.3 and 0.5 the first two attempts kill their worker, and are repeated. Trial 9
#: is not coming to an end.
OBJECTIVE = """\
#!/bin/sh
. "$AXSCHED_PARAMETERS_FILE"
report() { echo "{\\"step\\": $1, \\"loss\\": $2}" >>"$AXSCHED_PROGRESS_FILE"; }
report 1 1
report "$((AXSCHED_ATTEMPT + 1))" 0.5
if [ "$AXSCHED_TRIAL" = 9 ]; then report 3 [9.5,0.25]; sleep 60; fi
below() { awk "BEGIN { exit !($x < $1) }"; }
if below 0.5 && ! below 0.3 && [ "$AXSCHED_ATTEMPT" -lt 3 ]; then kill -9 $PPID; fi
if below 0.3; then echo "no value at x = $x" >&2; exit 3; fi
awk "BEGIN { print \\"loss\\", ($x - 0.6)^2, 0.01 }" >"$AXSCHED_METRICS_FILE"
"""


def drive(directory: str, last: int) -> None:
    """Run the experiment; ``last``: the trial whose first attempt is never submitted: this process dies."""
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig
    from ax.early_stopping.strategies import ThresholdEarlyStoppingStrategy

    from axsched_hpc import AxScheduler, LocalRunner

    class Dying(LocalRunner):
        def submit(self, batch: Any) -> Any:
            if (last, 1) in [(each.trial, each.attempt) for each in batch.attempts]:
                os.kill(os.getpid(), 9)
            return super().submit(batch)

    client = Client(random_seed=3)
    client.configure_experiment(
        name="old", parameters=[RangeParameterConfig(name="x", parameter_type="float", bounds=(0.0, 1.0))]
    )
    client.configure_optimization(objective="-loss")
    client.configure_generation_strategy(initialization_budget=20)
    config = {
        "job_output_dir": directory,
        "monitoring_interval": 1,
        "takeover_after": 3,  # the tests wait for a third of it
        "failure_rate": 1.0,
        "early_stopping": ThresholdEarlyStoppingStrategy(
            metric_threshold=5.0, min_progression=3, min_curves=0
        ),
    }
    with AxScheduler(client, Dying(2), config) as scheduler:
        scheduler.set_script_objective("objective.sh", {"parameters_format": "env"})
        with scheduler.batch_trial_context() as batch:
            for x in (0.125, 0.75, 0.125, 0.875):
                batch.add_trial({"x": x})
        scheduler.run_optimization(max_trials=6)


def anonymous(directory: Path) -> None:
    """Replace what tells of the machine and the user, and seal the changed lines and documents anew."""
    words = {
        str(directory.parent): "/home/ada",
        os.path.realpath(sys.executable): "/usr/bin/python3",
        sys.executable: "/usr/bin/python3",
        os.uname().nodename: "node-1",
    }
    for path in directory.rglob("*"):
        if not path.is_file():
            continue
        text = path.read_text()
        for word, stand_in in words.items():
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", stand_in, text)
        text = re.sub(r'("boot": )"[-0-9a-f]+"', r'\1"00000000-0000-0000-0000-000000000000"', text)
        text = re.sub(r'("user": )"[^"]*"', r'\1"ada"', text)
        if path.suffix == ".jsonl":
            text = "".join(_line(line) for line in text.splitlines(keepends=True))
        else:
            text = re.sub(r'(?s)\A(.*),\n "crc": "[0-9a-f]{8}"\n\}\n\Z', _document, text)
        path.write_text(text)
    # A changed segment may have another size than a later driver has read.
    sizes: dict[str, int] = {}
    for path in sorted((directory / "journal").iterdir()):
        lines = path.read_text().splitlines(keepends=True)
        for number, line in enumerate(lines[:2]):
            record = json.loads(line)
            if "previous" in record:
                previous = json.dumps({name: sizes[name] for name in record["previous"]})
                lines[number] = _line(re.sub(r'("previous": )\{[^}]*\}', rf"\g<1>{previous}", line))
        path.write_text("".join(lines))
        sizes[path.name] = path.stat().st_size


def _line(line: str) -> str:
    body = line.rpartition(', "crc": "')[0] + "}"
    return f'{body[:-1]}, "crc": "{zlib.crc32(body.encode()):08x}"}}\n'


def _document(found: re.Match[str]) -> str:
    return f'{found[1]},\n "crc": "{zlib.crc32(f"{found[1]}{chr(10)}}}".encode()):08x}"\n}}\n'


def main(target: Path) -> None:
    """Make the directory."""
    os.chdir(target.parent)
    Path("objective.sh").write_text(OBJECTIVE)
    for last, code in ((5, -9), (-1, 0)):
        command = [sys.executable, __file__, str(target), str(last)]
        assert subprocess.run(command, check=False).returncode == code
    Path("objective.sh").unlink()
    for path in target.rglob(".*"):
        path.unlink()
    # submitit's pickles, scripts and logs are no files of ours.
    for path in (target / "submitit").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    anonymous(target)
    last = max((target / "journal").iterdir())
    *whole, torn = last.read_text().splitlines(keepends=True)
    last.write_text("".join(whole) + torn[: len(torn) // 2])
    left = [word for word in (getpass.getuser(), os.uname().nodename) if len(word) > 4]
    for path in target.rglob("*"):
        assert not path.is_file() or not any(word in path.read_text() for word in left), path


if __name__ == "__main__":
    if len(sys.argv) == 3:
        drive(sys.argv[1], int(sys.argv[2]))
    else:
        main(Path(sys.argv[1]).absolute())
