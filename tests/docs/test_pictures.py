"""The pictures that pages show: each is shown, and those of the terminal and of the browser can be made."""

from __future__ import annotations

import importlib.util
import re
import struct
from pathlib import Path
from types import ModuleType

import pytest

from tests.slurm.harness import Cluster

DOCS = Path(__file__).resolve().parents[2] / "docs"
PICTURES = DOCS / "pictures"


def script(name: str) -> ModuleType:
    """A script of docs, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(*pages: Path) -> set[str]:
    """The names of the pictures that pages show."""
    return {name for page in pages for name in re.findall(r"pictures/([\w-]+\.\w+)\)", page.read_text())}


def pixels(picture: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def view(picture: Path) -> str:
    """The size of an SVG."""
    found = re.search(r'viewBox="([^"]+)"', picture.read_text())
    assert found is not None
    return found[1]


def test_each_picture_is_shown() -> None:
    assert shown(DOCS.parent / "README.md", *DOCS.rglob("*.md")) == {each.name for each in PICTURES.iterdir()}


@pytest.mark.browser
def test_the_report_as_a_browser_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    script("make_report_pictures").main(["--to", str(tmp_path)])
    made = {each.name for each in tmp_path.iterdir()}
    assert made == shown(DOCS / "report.md")
    for name in made:
        assert pixels(tmp_path / name) == pixels(PICTURES / name)
        # It has much to show, with whatever fonts: an empty page takes a twentieth.
        size = (tmp_path / name).stat().st_size / (PICTURES / name).stat().st_size
        assert 0.7 < size < 1.4, f"{name}: {size:.2f} of the one that is shown"


@pytest.mark.slurm
@pytest.mark.timeout(240)
def test_axsched_watch_in_a_terminal(tmp_path: Path, acct_cluster: Cluster) -> None:
    script("make_screens").main(["--quick", "--to", str(tmp_path)])
    (made,) = tmp_path.iterdir()
    assert {made.name} == shown(DOCS / "looking.md")
    assert view(made) == view(PICTURES / made.name)
    text = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", made.read_text())).replace("&#160;", " ")
    for words in ("axsched watch", "best", "slots", "RuntimeError: the loss is not finite", "1 failed"):
        assert words in text
