"""What commands print, and how much room there is for it."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from axsched_hpc.reporting.plain import harmless


def show(text: str, *, err: bool = False) -> None:
    """Print a text that may hold anything."""
    click.echo(harmless(text), err=err)


def show_json(value: dict[str, Any]) -> None:
    """Print an object for programs; the items of its lists, such as trials, one a line."""
    members = []
    for name, each in value.items():
        text = json.dumps(each, allow_nan=False)
        if isinstance(each, list) and each:
            text = "[\n  " + ",\n  ".join(json.dumps(item, allow_nan=False) for item in each) + "\n ]"
        members.append(f" {json.dumps(name)}: {text}")
    click.echo("{\n" + ",\n".join(members) + "\n}")


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless it was said beforehand.

    Raises
    ------
    click.UsageError
        There is no terminal to ask on.
    click.Abort
        The answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on. Use --yes to go ahead without being asked.")
    click.confirm(question, abort=True)


def width() -> int | None:
    """Columns of the terminal; None where the output is none, and nothing is cut or left out."""
    if not sys.stdout.isatty():
        return None
    import shutil  # with all that makes archives

    return shutil.get_terminal_size().columns
