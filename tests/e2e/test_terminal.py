"""What a person sees on a terminal: a live bar, and log lines above it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import logging, sys
from axsched_hpc import AxScheduler, LocalRunner
from tests.e2e.kit import client

def objective(parameters):
    if parameters["x"] > 0.8:
        raise ValueError("too far")
    return {"loss": parameters["x"]}

if __name__ == "__main__":
    if sys.argv[2] == "logging":
        logging.basicConfig(level=logging.INFO, format="LOG %(message)s")
    options = {"job_output_dir": sys.argv[1], "poll_interval": 0.1, "failure_rate": 1.0}
    with AxScheduler(client(initial=12), LocalRunner(2), options) as scheduler:
        scheduler.set_objective_function(objective)
        scheduler.run_optimization(max_trials=12)
"""


def _on_a_terminal(folder: Path, *arguments: str) -> str:
    """Everything that the script writes to a pseudo-terminal of 200 columns."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    master, slave = pty.openpty()
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "TERM": "xterm-256color",
        "COLUMNS": "200",
    }
    command = [sys.executable, "-W", "ignore", str(script), str(folder / "run"), *arguments]
    process = subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, env=environment, cwd=folder)
    os.close(slave)
    output = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not chunk:
            break
        output += chunk
    os.close(master)
    assert process.wait() == 0, output.decode()
    return re.sub(r"\x1b\[[0-9;]*m", "", output.decode())


def test_the_bar_shows_where_things_stand(tmp_path: Path) -> None:
    output = _on_a_terminal(tmp_path, "silent")
    last = output[output.rindex("trials ") :]
    assert "12/12 0 running, 0 queued" in last
    assert "failed, best loss" in last
    # A failure is said without any set-up of logging, on a line of its own above the bar.
    assert re.search(r"[\r\n](\x1b\[[0-9]*[A-Z])*trial \d+, attempt 1: ValueError: too far", output)


def test_log_lines_stand_above_the_bar(tmp_path: Path) -> None:
    output = _on_a_terminal(tmp_path, "logging")
    lines = re.findall(r"(.?)LOG trial", output)
    assert len(lines) >= 12
    # Each begins on a cleared line: after a control sequence (ending in K) or a line end, never after text.
    assert set(lines) <= {"", "K", "\r"}
