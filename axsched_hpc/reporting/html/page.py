"""The whole report as one page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from axsched_hpc._version import __version__
from axsched_hpc.reporting.account import Account
from axsched_hpc.reporting.html.elements import Html, el, join
from axsched_hpc.reporting.html.jobs import failure_section, job_figures
from axsched_hpc.reporting.html.learning import curve_figures
from axsched_hpc.reporting.html.record import provenance_section, trial_section
from axsched_hpc.reporting.html.results import front_figures, progress_figures
from axsched_hpc.reporting.html.space import parameter_figures
from axsched_hpc.reporting.html.style import CSS, PATTERNS
from axsched_hpc.reporting.html.summary import best_section, headline, state_text
from axsched_hpc.reporting.html.words import moment_text

#: (id, title, content)
Section = tuple[str, str, Html]


def report_html(found: Account, by_model: Sequence[Html] | None = None) -> str:
    """The report as a page that needs nothing but itself.

    Parameters
    ----------
    by_model
        Figures of Ax's model; None where it was not asked.
    """
    root = found.reading.layout.root
    name = root.name or str(root)
    if name == "outputs" and root.parent.name:
        # The name that all have tells nothing.
        name = f"{root.parent.name}/{name}"
    sections = _sections(found, by_model)
    links = [el("li", el("a", title, href=f"#{id_}")) for id_, title, _ in sections]
    body = [
        PATTERNS,
        el("a", "To the content", href="#content", class_="skip"),
        el(
            "header",
            el("h1", name),
            el("p", state_text(found), class_="soft"),
            el("nav", el("ul", *links), aria_label="Sections"),
        ),
        el(
            "main",
            *(
                el("section", el("h2", title, id=f"{id_}-h"), content, id=id_, aria_labelledby=f"{id_}-h")
                for id_, title, content in sections
            ),
            id="content",
        ),
        el("footer", f"Made by axsched {__version__} on {moment_text(found.now)}, from {root}."),
    ]
    head = [
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        # Nothing from outside, no script; of styles only the one that follows.
        Html(
            '<meta http-equiv="Content-Security-Policy" content="'
            f"default-src 'none'; style-src 'sha256-{_digest(CSS)}'; base-uri 'none'; form-action 'none'\">"
        ),
        Html('<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">'),
        el("title", f"{name}: report of axsched"),
        Html(f"<style>{CSS}</style>"),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head>{join(head)}</head>\n<body>\n{join(body)}\n</body></html>\n'
    )


def _sections(found: Account, by_model: Sequence[Html] | None) -> list[Section]:
    several = len(found.reading.problem.objectives) > 1
    best = "Pareto front" if several else "Best point"
    sections: list[Section] = [
        ("summary", "Summary", headline(found)),
        ("best", best, join([best_section(found), _figures(front_figures(found))])),
        ("progress", "Progress", _figures(progress_figures(found))),
        ("parameters", "Parameters", _figures(parameter_figures(found))),
    ]
    if by_model is not None:
        sections.append(("model", "What Ax's model says", _figures(join(by_model))))
    curves = curve_figures(found)
    if curves:
        sections.append(("curves", "Learning curves", _figures(curves)))
    sections += [
        ("jobs", "Jobs", _figures(job_figures(found))),
        ("failures-by-kind", "Failures", _figures(failure_section(found))),
        ("trials", "All trials", trial_section(found)),
        ("run", "What was run", provenance_section(found)),
    ]
    return sections


def _figures(content: Html) -> Html:
    if not content:
        return content
    return el("div", content, class_="figures") if content.startswith("<figure") else content


def _digest(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
