"""A page printed by a browser that is installed: Chromium, without a window."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from axsched_hpc.core.errors import ConfigError

#: What Chromium and its relatives are called.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")

#: Seconds that it may take.
_PATIENCE = 120.0

#: It makes one file, and asks nobody for anything.
_QUIET = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
)


def find() -> str | None:
    """The browser, where there is one."""
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


def command(program: str, profile: Path, *arguments: str) -> list[str]:
    """How it is called; ``profile`` is a directory of this call's own."""
    # Its sandbox refuses to be started by root.
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    return [program, *_QUIET, *root, f"--user-data-dir={profile}", *arguments]


def pdf(html: str) -> bytes:
    """The page on paper.

    Raises
    ------
    ConfigError
        There is no such browser, or it made nothing.
    """
    program = find()
    if program is None:
        raise ConfigError(
            "A PDF is printed by Chromium or Chrome, and none is installed here "
            f"(looked for {', '.join(NAMES)}). Write HTML, open it elsewhere, and print it from there."
        )
    with tempfile.TemporaryDirectory(prefix="axsched-report-") as name:
        place = Path(name)
        page, target = place / "report.html", place / "report.pdf"
        page.write_text(html, encoding="utf-8")
        argv = command(
            program, place / "profile", "--no-pdf-header-footer", f"--print-to-pdf={target}", page.as_uri()
        )
        said = _run(argv)
        try:
            return target.read_bytes()
        except OSError:
            raise ConfigError(
                f"{program} made no PDF; the last it said: {said or 'nothing'}. Write HTML, and print it "
                "from a browser."
            ) from None


def _run(argv: Sequence[str]) -> str:
    """Its last line."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"nothing within {_PATIENCE:g} s"
    except OSError as error:
        return str(error)
    lines = done.stderr.decode(errors="replace").split("\n")
    return next((each.strip() for each in reversed(lines) if each.strip()), "")
