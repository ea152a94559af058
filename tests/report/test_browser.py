"""A report in a real Chromium: on a phone, in the dark, on paper, with a script in it that must not run."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from axsched_hpc.cli import cli
from axsched_hpc.reporting import browser
from axsched_hpc.reporting.html.page import report_html
from tests.report.kit import history, problem, told, written

pytestmark = pytest.mark.browser

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

#: Tells what the browser has made of a page; and a page around it of a phone's width, to which it tells it: a
#: window is never so narrow.
PROBE = """<script>addEventListener("load", () => {
const all = document.documentElement, page = getComputedStyle(document.body);
const wide = [...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, svg, .hidden, .skip")
  && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + "." + e.className);
const found = [innerWidth, all.scrollWidth, page.backgroundColor, page.color, wide.join(" ")];
all.dataset.found = found.join("|");
parent.postMessage(all.dataset.found, "*");
})</script>"""
PHONE = """<!doctype html><script>addEventListener("message",
e => document.documentElement.dataset.found = e.data)</script>
<iframe src="phone.html" width="360" height="800" style="border:0"></iframe>"""


def chromium(place: Path, html: str, *options: str) -> tuple[str, list[str]]:
    """The page as it is in the browser, and what its console says."""
    page = place / "page.html"
    page.write_text(html, encoding="utf-8")
    argv = browser.command(
        str(browser.find()),
        place / "profile",
        "--enable-logging=stderr",
        "--dump-dom",
        *options,
        page.as_uri(),
    )
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=True)
    return done.stdout, re.findall(r"CONSOLE.*", done.stderr)


def test_it_fits_a_phone_and_is_dark_where_all_is_dark(tmp_path: Path) -> None:
    html = report_html(told(history(60, parameters=14, of=problem(3, bound=9.0), curve=5)))
    changed = POLICY.sub("", html).replace("</head>", f"{PROBE}</head>")
    (tmp_path / "phone.html").write_text(changed, encoding="utf-8")
    options = ("--hide-scrollbars", "--blink-settings=preferredColorScheme=0")
    page, console = chromium(tmp_path, PHONE, *options)
    found = re.search(r'data-found="([^"]*)"', page)
    assert found is not None, page[:300]
    inner, scroll, background, text, wide = found[1].split("|")
    assert (inner, scroll, wide) == ("360", "360", "")
    assert (background, text) == ("rgb(16, 21, 26)", "rgb(229, 235, 241)")
    assert console == []


def test_a_script_that_came_in_all_the_same_does_not_run(tmp_path: Path) -> None:
    html = report_html(told(history(30, curve=4)))
    page, console = chromium(tmp_path, html.replace("</main>", f"{PROBE}</main>"))
    assert "data-found" not in page
    # That is all that the browser has to say of the page.
    (line,) = console
    assert "Content Security Policy" in line
    assert "script" in line


def test_it_is_printed_and_pictured(tmp_path: Path) -> None:
    directory = written(tmp_path / "outputs", history(40, curve=6))
    result = CliRunner().invoke(cli, ["report", str(directory), "-o", str(tmp_path / "report.pdf")])
    assert result.exit_code == 0, result.output
    data = (tmp_path / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", data)) <= 12
    result = CliRunner().invoke(cli, ["report", str(directory), "-o", str(tmp_path / "report.png")])
    assert result.exit_code == 0, result.output
    data = (tmp_path / "report.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert width == 1220
    assert 3000 < height < 8000  # all of the page, not a window
