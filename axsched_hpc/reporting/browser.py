"""A page printed, or taken a picture of, by a browser that is installed: Chromium, without a window."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from axsched_hpc.core.errors import ConfigError

#: What Chromium and its relatives are called.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")

#: How wide a picture is, in pixels: the page's own measure, and its margins.
_WIDTH = 1220

#: Makes the page's height its title; it stands before what forbids scripts.
_MEASURE = (
    "<script>addEventListener('load', () => "
    "{ document.title = document.documentElement.scrollHeight })</script>"
)

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
    with _opened("PDF") as browser:
        return browser.made(html, "--no-pdf-header-footer", "--print-to-pdf={}")


def png(html: str) -> bytes:
    """The whole page as one picture, in light colours.

    Raises
    ------
    ConfigError
        There is no such browser, or it made nothing.
    """
    with _opened("PNG") as browser:
        page = browser.said(html.replace("<head>", f"<head>{_MEASURE}", 1), "--dump-dom", _window(800))
        height = re.search(r"<title>(\d+)</title>", page)
        if height is None:
            raise browser.nothing(page)
        return browser.made(html, "--hide-scrollbars", _window(int(height[1])), "--screenshot={}")


def _window(height: int) -> str:
    return f"--window-size={_WIDTH},{height}"


@contextmanager
def _opened(what: str) -> Iterator[_Browser]:
    program = find()
    if program is None:
        raise ConfigError(
            f"A {what} is made by Chromium or Chrome, and none is installed here "
            f"(looked for {', '.join(NAMES)}). Write HTML, open it elsewhere, and print it from there."
        )
    with tempfile.TemporaryDirectory(prefix="axsched-report-") as name:
        yield _Browser(program, Path(name), what)


@dataclass(frozen=True)
class _Browser:
    """One that makes something of pages, in a directory of its own."""

    program: str
    place: Path
    what: str

    def made(self, html: str, *arguments: str) -> bytes:
        """The file that it makes of a page; ``{}`` in an argument stands for it."""
        target = self.place / f"report.{self.what.lower()}"
        said = self._call(html, *(each.format(target) for each in arguments)).stderr
        try:
            return target.read_bytes()
        except OSError:
            raise self.nothing(said) from None

    def said(self, html: str, *arguments: str) -> str:
        """What it prints of a page."""
        return self._call(html, *arguments).stdout

    def nothing(self, said: str) -> ConfigError:
        """The error where it made nothing, with its last line."""
        last = next((each.strip() for each in reversed(said.split("\n")) if each.strip()), "nothing")
        return ConfigError(
            f"{self.program} made no {self.what}; the last it said: {last:.200}. Write HTML, and print it "
            "from a browser."
        )

    def _call(self, html: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        page = self.place / "report.html"
        page.write_text(html, encoding="utf-8")
        argv = command(self.program, self.place / "profile", *arguments, page.as_uri())
        try:
            return subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self.nothing(f"nothing within {_PATIENCE:g} s") from None
        except OSError as error:
            raise self.nothing(str(error)) from None
