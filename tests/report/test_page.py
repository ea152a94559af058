"""The page: well-formed, complete in itself, told in words too, and nobody's text is markup."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptSucceeded,
    BatchPlanned,
    BatchSubmitted,
    Event,
    Failure,
    TrialAdded,
)
from axsched_hpc.core.states import FailureKind, Verdict
from axsched_hpc.reporting.account import account
from axsched_hpc.reporting.html.page import report_html
from axsched_hpc.reporting.html.style import CSS
from axsched_hpc.reporting.markdown import report_markdown
from axsched_hpc.reporting.reading import read_history
from tests.report.kit import BEGAN, Element, Page, history, opened, problem, told

ROOT = Path(__file__).resolve().parents[2]

EVIL = "<script>alert(1)</script>\"'&\x1b[31m\u202e`|"


def trial(
    n: int, parameters: dict[str, Any], loss: float | None, *, name: str = "loss", index: int | None = None
) -> list[Event]:
    """A trial that was completed, or failed where it has no loss."""
    at = BEGAN + 10 * n
    ax = None if index is None else {"index": index}
    events: list[Event] = [
        TrialAdded(at, n, f"{n}_0", parameters, "ax", ax),
        BatchPlanned(at, f"t{n}", ((n, 1),)),
        BatchSubmitted(at, f"t{n}", {0: str(n)}),
    ]
    if loss is None:
        failure = Failure(FailureKind.EXIT_CODE, f"exit {EVIL}", node=EVIL, hint=f"mend {EVIL}")
        return [*events, AttemptFailed(at + 5, n, 1, failure, Verdict.FAIL, at, at + 5)]
    return [*events, AttemptSucceeded(at + 5, n, 1, {name: (loss, None)}, at, at + 5, EVIL)]


def of_values(rows: Sequence[tuple[dict[str, Any], float | None]]) -> list[Event]:
    events = opened(problem())
    for n, (parameters, loss) in enumerate(rows):
        events += trial(n, parameters, loss)
    return events


EVIL_PROBLEM = {"objectives": [{"weights": {EVIL: 1.0}, "minimize": True}]}

CASES: dict[str, list[Event]] = {
    "nothing": [],
    "no trial": opened(problem()),
    "no problem": [*opened({}), *trial(0, {"x": 1.0}, 2.0)],
    "one trial": of_values([({"x": 1.0}, 2.0)]),
    "all failed": of_values([({"x": float(i)}, None) for i in range(5)]),
    "waiting": [*opened(problem()), TrialAdded(BEGAN, 0, "0_0", {"x": 1.0}, "ax")],
    "usual": history(60, curve=8),
    "infeasible": history(30, of=problem(bound=-1.0)),
    "one parameter": history(30, parameters=1),
    "thirty parameters": history(30, parameters=30),
    "two objectives": history(40, of=problem(2)),
    "four objectives": history(30, of=problem(4, bound=20.0)),
    "all sorts of parameters": of_values(
        [
            (
                {
                    "fixed": 7,
                    "flag": i % 2 == 0,
                    "word": "ab"[i % 2],
                    **({"deep": i} if i % 3 else {}),
                    "none": None,
                },
                i / 7,
            )
            for i in range(12)
        ]
    ),
    "many words": of_values([({"word": f"w{i}", "long" * 40: "x" * 400}, float(i)) for i in range(60)]),
    "extreme numbers": of_values(
        [({"x": x}, y) for x, y in ((1e308, -1e308), (-1e308, 1e308), (5e-324, 0.0), (0.0, 5e-324))]
    ),
    "equal values": of_values([({"x": 1.0}, 0.0)] * 9),
    "unicode": of_values([({"größe": "日本語", "🎉": 1.0 + i}, float(i)) for i in range(4)]),
    "evil": [
        *opened(EVIL_PROBLEM),
        *trial(0, {EVIL: EVIL, "b": 1.0}, 1.0, name=EVIL),
        *trial(1, {EVIL: f"{EVIL}2", "b": 2.0}, 2.0, name=EVIL),
        *trial(2, {EVIL: EVIL, "b": 3.0}, None),
    ],
    "batch trial": [
        *opened(problem()),
        *trial(0, {"x": 1.0}, 3.0, index=0),
        *trial(1, {"x": 2.0}, 2.0, index=0),
    ],
    "two drivers": [*history(20), *opened(problem(), BEGAN + 9e4)],
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[str, str, Page]:
    """Its name, the text, and the tree of a page."""
    html = report_html(told(CASES[request.param], root=f"/home/ada/{EVIL.replace('/', '')}"))
    return request.param, html, Page(html)


def test_every_figure_has_a_title_a_description_and_its_numbers(case: tuple[str, str, Page]) -> None:
    _, _, page = case
    for figure in page.root.all("figure"):
        assert figure.all("figcaption")[0].all("h3")[0].words.strip()
        drawing = next(svg for svg in figure.all("svg") if svg.attributes.get("role") == "img")
        ids = (drawing.attributes["aria-labelledby"] or "").split()
        labels = {
            each.attributes.get("id"): each.words for each in drawing.all("title") + drawing.all("desc")
        }
        assert [bool(labels[each].strip()) for each in ids] == [True, True]
        (numbers,) = figure.all("details")
        rows = numbers.all("table")[0].all("tr")
        assert len(rows) > 1
        assert {len(row.all("th")) + len(row.all("td")) for row in rows} == {len(rows[0].all("th"))}


def test_it_needs_nothing_but_itself_and_runs_nothing(case: tuple[str, str, Page]) -> None:
    _, html, page = case
    assert not re.search(r"https?:|url\((?!#)|@import|<(script|iframe|object|embed|img|base|form)", html)
    (policy,) = [
        each.attributes["content"] or ""
        for each in page.root.all("meta")
        if each.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"'sha256-{digest}'" in policy
    assert [each.text for each in page.root.all("style")] == [CSS]
    # The policy lets no style of an attribute through, and no handler is one of ours.
    for element in everything(page.root):
        assert not [name for name in element.attributes if name == "style" or name.startswith("on")]


def test_nobody_s_text_is_markup(case: tuple[str, str, Page]) -> None:
    _, html, page = case
    assert not page.root.all("script")
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "NaN" not in html
    assert not re.search(r"[ \"MLHV](nan|inf)\b", html)


def test_headings_and_links_lead_somewhere(case: tuple[str, str, Page]) -> None:
    _, _, page = case
    assert page.root.all("html")[0].attributes["lang"] == "en"
    assert len(page.root.all("h1")) == 1
    ids = [each.attributes["id"] for each in everything(page.root) if "id" in each.attributes]
    assert len(set(ids)) == len(ids)
    for link in page.root.all("a"):
        assert (link.attributes["href"] or "")[1:] in ids
    for element in everything(page.root):
        for each in (element.attributes.get("aria-labelledby") or "").split():
            assert each in ids


def test_markdown_tells_the_same_in_short() -> None:
    for events in CASES.values():
        text = report_markdown(told(events))
        assert text.startswith("# bowl\n")
        assert "<script" not in text
        for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert "Trial 0 satisfies" not in report_markdown(told(CASES["infeasible"]))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "No driver has opened the experiment yet."),
        ("no trial", "There is no trial yet."),
        (
            "all failed",
            "5 failed attempts, the most of kind exit code; 5 trials without a result in the end.",
        ),
        ("infeasible", "No completed trial satisfies the constraint size <= -1; the nearest is trial"),
        ("usual", "put back into the queue"),
        ("usual", "script train.py, git commit 0123abcd, with changes that are not committed"),
        ("one trial", "its standard error is not known"),
        ("two objectives", "Measured up to the reference point"),
        ("four objectives", "Pareto front of"),
        ("thirty parameters", "Parallel coordinates (3 of 3)"),
        ("all sorts of parameters", "The same in all trials: fixed = 7, none = -."),
        ("all sorts of parameters", "not set"),
        ("batch trial", "Trial 1 (arm 1_0)"),
        ("two drivers", "2 drivers"),
    ],
)
def test_it_says_in_words_what_there_is(name: str, words: str) -> None:
    page = Page(report_html(told(CASES[name])))
    assert words in page.root.words


def test_the_recording_for_the_pictures_is_read() -> None:
    reading, events = read_history(ROOT / "docs/data/training")
    words = Page(report_html(account(reading, events, now=2e9, alive=False))).root.words
    assert "Early stopping: 10 trials stopped" in words
    assert "put back into the queue" in words


def test_very_many_trials_are_thinned_out_and_that_is_said() -> None:
    html = report_html(told(history(1200)))
    assert len(html) < 2_500_000
    words = Page(html).root.words
    assert re.search(r"\d+ of 1200 rows", words)
    assert re.search(r"40\d of 1\d+ trials are drawn", words)
    assert "details under the pointer are for up to 1,000" in words


def everything(element: Element) -> list[Element]:
    return [each for child in element.children for each in (child, *everything(child))]
