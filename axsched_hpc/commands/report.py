"""``axsched report``: all about an experiment in one file."""

from __future__ import annotations

import time
from pathlib import Path

import click

from axsched_hpc.commands.arguments import DIRECTORY, JSON, examples
from axsched_hpc.commands.output import show, show_json
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.reporting.reading import driven, read_history

#: Format -> the endings of a file's name.
_FORMATS = {"html": (".html", ".htm"), "md": (".md", ".markdown"), "pdf": (".pdf",), "png": (".png",)}


@click.command(
    epilog=examples(
        "axsched report",
        "axsched report outputs/bowl -o bowl.html --model",
        "axsched report -o - --format md",
    ),
)
@DIRECTORY
@click.option(
    "-o", "--output", metavar="FILE", help="Write to FILE (- for standard output); default: DIR/report.html."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    help="The format; default: as FILE's name ends, or html. PDF and PNG need Chromium.",
)
@click.option("--model", is_flag=True, help="Ask Ax's model too: what matters, and how. Loads Ax, and fits.")
@JSON
def report(directory: str | None, output: str | None, form: str | None, model: bool, as_json: bool) -> None:
    """Write a report of the experiment in DIR (default: outputs), while it runs or afterwards.

    The file is complete in itself: it opens without a network, and can be sent by mail. With --json the
    numbers behind it are printed, and no file is written.
    """
    from axsched_hpc.reporting import export
    from axsched_hpc.reporting.account import account, account_json

    if as_json and (output is not None or form is not None or model):
        raise click.UsageError(
            "--json prints the numbers alone; it goes with none of --output, --format, --model."
        )
    form = form or _format_of(output)
    if model and form == "md":
        raise click.UsageError("--model adds figures, and Markdown has none here: write html, pdf or png.")
    if output == "-" and form in ("pdf", "png"):
        raise click.UsageError(f"A {form.upper()} is not for a terminal or a pipe: name a file with -o.")
    now = time.time()
    reading, events = read_history(directory)
    found = account(reading, events, now=now, alive=driven(reading, now=now))
    if as_json:
        show_json(account_json(found))
        return
    if form == "md":
        from axsched_hpc.reporting.markdown import report_markdown

        text = report_markdown(found)
    else:
        from axsched_hpc.reporting.html.page import report_html

        by_model = None
        if model:
            from axsched_hpc.reporting.html.model import model_figures

            by_model = model_figures(found, events)
        text = report_html(found, by_model)
    if output == "-":
        click.echo(text, nl=False)
        return
    if form in ("pdf", "png"):
        from axsched_hpc.reporting import browser

        data = browser.pdf(text) if form == "pdf" else browser.png(text)
    else:
        data = text.encode(errors="backslashreplace")
    target = Path(output) if output is not None else reading.layout.root / f"report.{form}"
    export.put(target, data)
    show(f"Wrote {target} ({_size(len(data))}).")


def _format_of(output: str | None) -> str:
    if output is None or output == "-":
        return "html"
    ending = Path(output).suffix.lower()
    for form, endings in _FORMATS.items():
        if ending in endings:
            return form
    raise ConfigError(
        f"The format of {output} is not known. Let its name end with .html, .md, .pdf or .png, or name the "
        "format: --format html."
    )


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"
