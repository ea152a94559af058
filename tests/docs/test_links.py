"""Links within the project lead somewhere: to files that are there, and to headings in them.

`make docs` sees those of the pages as well, as Sphinx resolves them; here are also those that readers follow
in the repository itself. `make linkcheck` follows the links out of it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it.token import Token

from tests.docs.blocks import ROOT, pages, tokens

PAGES = [*pages(), "CHANGELOG.md"]
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def _inline(found: list[Token]) -> Iterator[Token]:
    for token in found:
        yield token
        yield from _inline(token.children or [])


def links(text: str) -> list[str]:
    """The targets of a page's links and pictures."""
    found = [token.attrGet("href") or token.attrGet("src") for token in _inline(tokens(text))]
    return [str(target) for target in found if target]


@functools.cache
def anchors(page: Path) -> frozenset[str]:
    """What a heading's link ends with, as GitHub and MyST make it."""
    parts = tokens(page.read_text(encoding="utf-8"))
    titles = [parts[n + 1].content for n, token in enumerate(parts) if token.type == "heading_open"]
    return frozenset(slug(title) for title in titles)


def slug(title: str) -> str:
    """A heading as the end of a link: in lower case, without its marks, joined by dashes."""
    title = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title)
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def fault(page: str, target: str) -> str | None:
    """What is wrong with a link of a page."""
    if _ELSEWHERE.match(target):
        return None
    path, _, anchor = target.partition("#")
    place = (ROOT / page).parent.joinpath(path) if path else ROOT / page
    if not place.exists():
        return f"{page}: the link to {target} leads nowhere: there is no {path}."
    if anchor and place.suffix == ".md" and anchor not in anchors(place):
        near = ", ".join(sorted(anchors(place)))
        return f"{page}: the link to {target} leads nowhere: {place.name} has {near}."
    return None


def test_every_link_within_the_project_leads_somewhere() -> None:
    found = [(page, target) for page in PAGES for target in links((ROOT / page).read_text(encoding="utf-8"))]
    assert len(found) > 150
    faults = [said for page, target in found if (said := fault(page, target))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a](nowhere.md)", "there is no nowhere.md"),
        ("![a](docs/pictures/none.svg)", "there is no docs/pictures/none.svg"),
        ("[a](CONTRIBUTING.md#the-test-slum)", "CONTRIBUTING.md has "),
        ("[a](#nothing)", "README.md has "),
        ("- a list, [with](docs/nowhere.md) one", "there is no docs/nowhere.md"),
        ("[a](CONTRIBUTING.md#the-test-slurm) [b](https://ax.dev) [c](docs)", None),
    ],
)
def test_a_dead_link_is_found(text: str, said: str | None) -> None:
    faults = [each for target in links(text) if (each := fault("README.md", target))]
    assert [said in each for each in faults if said] == ([True] if said else faults)
