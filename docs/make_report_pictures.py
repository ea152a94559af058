"""Make the pictures of docs/report.md: `axsched report` of a recorded run, in a real Chromium.

    python docs/make_report_pictures.py [--to DIRECTORY]

It fails where the browser says an error, or makes no picture. tests/docs/test_pictures.py runs it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from axsched_hpc.reporting import browser
from axsched_hpc.reporting.account import account
from axsched_hpc.reporting.html.page import report_html
from axsched_hpc.reporting.reading import read_history

ROOT = Path(__file__).resolve().parents[1]

#: Picture -> width, height, and options of Chromium. The heights are such that each ends between two figures.
PICTURES = {
    "report-light.png": (1000, 1905, ()),
    "report-dark.png": (1000, 1905, ("--blink-settings=preferredColorScheme=0",)),
    "report-phone.png": (360, 1425, ()),
}


def page() -> str:
    """The report of the recorded run."""
    reading, events = read_history(ROOT / "docs/data/training")
    return report_html(account(reading, events, now=reading.ledger.last_time, alive=False))


def main(arguments: Sequence[str]) -> None:
    """Make them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=ROOT / "docs/pictures", metavar="DIRECTORY")
    target = parser.parse_args(arguments).to
    # What is written in a report must not depend on where it is made.
    os.environ["TZ"] = "UTC"
    time.tzset()
    program = browser.find()
    if program is None:
        sys.exit(f"There is no Chromium here; looked for {', '.join(browser.NAMES)}.")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        source = place / "report.html"
        source.write_text(page(), encoding="utf-8")
        for picture, (width, height, extra) in PICTURES.items():
            argv = browser.command(
                program,
                place / "profile",
                "--hide-scrollbars",
                "--enable-logging=stderr",
                f"--window-size={width},{height}",
                f"--screenshot={target / picture}",
                *extra,
                source.as_uri(),
            )
            said = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120).stderr
            if found := re.findall(r".*CONSOLE.*", said):
                sys.exit("\n".join(found))
            if not (target / picture).is_file():
                sys.exit(f"Chromium made no {picture}:\n{said}")


if __name__ == "__main__":
    main(sys.argv[1:])
