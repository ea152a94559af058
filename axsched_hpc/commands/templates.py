"""``axsched templates``: the driver's batch script, prologues and profiles, to look at and to copy."""

from __future__ import annotations

import os
from pathlib import Path

import click

from axsched_hpc.commands.arguments import JSON, examples
from axsched_hpc.commands.output import show_json
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.reporting.records import FORMAT
from axsched_hpc.slurm import profile as profiles
from axsched_hpc.slurm import templates as stored


@click.group(
    epilog=examples(
        "axsched templates list", "axsched templates new gpu", "axsched templates show driver.sbatch"
    )
)
def templates() -> None:
    """Look at the templates that come with the package, and make files of your own from them."""


@templates.command("list")
@JSON
def list_templates(as_json: bool) -> None:
    """List the templates, and the profiles of your own."""
    names = stored.names()
    mine = profiles.user_profiles()
    if as_json:
        there = [{"name": name, "summary": stored.summary(stored.read(name))} for name in names]
        own = [{"name": name, "directory": str(profiles.user_directory())} for name in mine]
        show_json({"format": FORMAT, "templates": there, "profiles": own})
        return
    width = max(map(len, [*names, *mine]))
    click.echo("Templates (axsched templates show NAME, axsched templates new NAME):")
    for name in names:
        click.echo(f"  {name:{width}}  {stored.summary(stored.read(name))}")
    if mine:
        click.echo(f"Your profiles, in {profiles.user_directory()}:")
        for name in mine:
            hidden = ", instead of the template" if name in names else ""
            used = " (used where no profile is named)" if name == profiles.DEFAULT else hidden
            click.echo(f"  {name}{used}")


@templates.command()
@click.argument("name")
@JSON
def show(name: str, as_json: bool) -> None:
    """Print the template NAME."""
    text = stored.read(name)
    if as_json:
        show_json({"format": FORMAT, "name": name, "summary": stored.summary(text), "text": text})
        return
    click.echo(text, nl=False)


@templates.command()
@click.argument("name")
@click.argument("path", required=False, type=click.Path())
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@JSON
def new(name: str, path: str | None, force: bool, as_json: bool) -> None:
    """Make a file at PATH from the template NAME.

    Without PATH a profile goes to your directory of profiles (~/.config/axsched), and anything else to the
    current directory.
    """
    text = stored.read(name)
    profile = name in stored.profile_names()
    target = Path(path) if path is not None else _place(name, profile)
    if target.is_dir():
        target /= stored.where(name).name
    _write(target, text, force=force)
    if as_json:
        show_json({"format": FORMAT, "file": str(target), "next": _next_step(name, target, profile)})
        return
    click.echo(f"Wrote {target}.")
    click.echo(_next_step(name, target, profile))


def _place(name: str, profile: bool) -> Path:
    if not profile:
        return Path(name)
    return profiles.user_directory() / stored.where(name).name


def _write(path: Path, text: str, *, force: bool) -> None:
    from axsched_hpc.io import access

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if force:
            path.unlink(missing_ok=True)
        with os.fdopen(access.open_new(path, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is there already. --force replaces it.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from None


def _next_step(name: str, path: Path, profile: bool) -> str:
    if profile and path.parent == profiles.user_directory():
        return (
            f"Edit it, then: axsched submit --profile {path.stem} script.py, and SlurmRunner.from_profile() "
            f"in the script. The one named {profiles.DEFAULT} is used where none is named."
        )
    if profile:
        return f"Edit it, then: axsched submit --profile {path.absolute()} script.py"
    if name.endswith(".sbatch"):
        return f"Edit its parts 1 and 2, then: sbatch {path}"
    return (
        "Edit it, and pass its lines on: "
        f'SlurmRunner(config={{"setup": Path("{path}").read_text().splitlines()}})'
    )
