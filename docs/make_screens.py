"""Take the picture of `axsched watch` (SVG) that the documentation shows.

    python docs/make_screens.py [--to DIRECTORY] [--quick]

A run begins on the Slurm of this machine (`tests/slurm/cluster up` brings one up), of more trials than fit on
its nodes; some fail. `axsched watch` looks at it in a real terminal of 80 columns and 24 lines, of which a
terminal emulator (pyte) tells what it shows. The text in the picture is text. It takes about two minutes;
with --quick a run of six short trials is shown when it has ended, as in tests/docs/test_pictures.py.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pyte
from rich.text import Text

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]

from make_recording import draw  # noqa: E402

from tests import scripts  # noqa: E402
from tests.cli.emulator import Emulator  # noqa: E402

COLUMNS, LINES = 80, 24

RUN = """
import sys
from ax import Client, RangeParameterConfig
from axsched_hpc import AxScheduler, SlurmRunner

client = Client(random_seed=1)
client.configure_experiment(
    name="nn",
    parameters=[
        RangeParameterConfig(name="rate", parameter_type="float", bounds=(1e-4, 0.1), scaling="log"),
        RangeParameterConfig(name="width", parameter_type="float", bounds=(8.0, 256.0)),
    ],
)
client.configure_optimization(objective="-loss")
trials = int(sys.argv[1])
client.configure_generation_strategy(initialization_budget=trials)
runner = SlurmRunner(time_limit="00:05:00", memory="200M", cpus_per_task=4, max_parallel=12)
options = {"synchronous": False, "monitoring_interval": 2, "failure_rate": 1.0}
with AxScheduler(client, runner, options) as scheduler:
    scheduler.set_script_objective("train.sh")
    scheduler.run_optimization(max_trials=trials)
"""

TRAIN = """#!/bin/bash
sleep $((4 + AXSCHED_TRIAL * 7 % 9))
case $((AXSCHED_TRIAL % 12)) in
    5) echo 'RuntimeError: the loss is not finite after 3 epochs' >&2; exit 1 ;;
    9) matlab -batch train; exit ;; # its module is not loaded
esac
awk -v rate="$AXSCHED_PARAMETER_rate" -v width="$AXSCHED_PARAMETER_width" \
    'BEGIN { e = log(rate / 0.04); printf "loss %.6f\\n", 0.05 + 0.03 * e * e + ((width - 40) / 200) ^ 2 }' \
    >"$AXSCHED_METRICS_FILE"
"""

#: What pyte calls the colours, and rich.
_COLOURS = {"default": "", "brown": "yellow"}


def shown(screen: pyte.Screen) -> Text:
    """What a terminal shows, with its colours."""
    text = Text()
    for row in range(screen.lines):
        cells = [screen.buffer[row][column] for column in range(screen.columns)]
        for style, run in groupby(cells, _style):
            text.append("".join(cell.data for cell in run), style)
        text.append("\n")
    return text


def _style(cell: pyte.screens.Char) -> str:
    """How a cell looks, in rich's words."""
    styles = ("bold" if cell.bold else "", "dim" if cell.blink else "", _COLOURS.get(cell.fg, cell.fg))
    return " ".join(style for style in styles if style)


def worth_a_picture(text: str) -> bool:
    """Whether there is something to see of all that the screen can show."""
    ended = re.search(r"(\d+) of 60", text)
    return (
        ended is not None
        and int(ended[1]) >= 20
        and all(word in text for word in ("Priority", "over", "127", "12 of 12 in use"))
    )


def over(text: str) -> bool:
    """Whether the quick run is seen to be over."""
    return "6 of 6" in text and "ended" in text


def main(arguments: Sequence[str]) -> None:
    """Take it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=DOCS / "pictures", metavar="DIRECTORY")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "nn"
        folder.mkdir()
        (folder / "run.py").write_text(RUN)
        (folder / "train.sh").write_text(re.sub("sleep .*", "", TRAIN) if options.quick else TRAIN)
        driver = scripts.start(folder / "run.py", [6 if options.quick else 60], folder=folder)
        try:
            if options.quick:
                driver.communicate()
            while driver.poll() is None and not (folder / "outputs/queue.json").exists():
                time.sleep(0.2)
            if driver.poll():
                sys.exit(driver.output.read_text())
            environment = {
                **{name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "LC_ALL")},
                "HOME": home,
                "LANG": "en_GB.UTF-8",
                "PYTHONPATH": str(ROOT),
                "TERM": "xterm-256color",
            }
            watch = [sys.executable, "-m", "axsched_hpc", "watch", str(folder / "outputs")]
            with Emulator(watch, COLUMNS, LINES, environment) as terminal:
                terminal.until(over if options.quick else worth_a_picture, 240)
                draw(options.to / "watch.svg", shown(terminal.screen), "axsched watch", COLUMNS)
                terminal.type("q")
                terminal.ended()
        finally:
            driver.send_signal(signal.SIGINT)
            time.sleep(0.0 if options.quick else 1.0)
            driver.send_signal(signal.SIGINT)  # its jobs are cancelled, too
            driver.communicate(60)


if __name__ == "__main__":
    main(sys.argv[1:])
