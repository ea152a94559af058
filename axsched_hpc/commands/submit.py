"""``axsched submit``: the driver of an experiment as a job."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from axsched_hpc.commands.arguments import JSON, examples
from axsched_hpc.commands.output import show, show_json


@click.command(
    epilog=examples(
        "axsched submit axsched.yaml",
        "axsched submit --dry-run --time 1-00:00:00 tune.py",
        "axsched submit --profile gpu tune.py --trials 100",
    ),
    # What stands behind the script is the script's.
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("script", type=click.Path())
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("--profile", metavar="NAME|PATH", help="The site's settings, for this job and for the script.")
@click.option("--name", help="Of the job, one for each experiment. Default: made from the script.")
@click.option("--partition", help="As for sbatch.")
@click.option("--account", help="As for sbatch.")
@click.option("--time", "time_limit", metavar="TIME", help="Walltime of one driver.  [default: 12:00:00]")
@click.option("--memory", metavar="SIZE", help="Of the driver.  [default: 4G]")
@click.option("--cpus", "cpus_per_task", type=int, help="Of the driver.  [default: 1]")
@click.option("--warning", type=int, metavar="SECONDS", help="Before the walltime.  [default: 120]")
@click.option("--again", metavar="requeue|successor", help="How the next driver comes.  [default: requeue]")
@click.option("--log", metavar="DIR|FILE", help="For what the drivers say.  [default: ./NAME.log]")
@click.option("--dry-run", is_flag=True, help="Show the batch script, and submit nothing.")
@JSON
def submit(
    script: str,
    args: tuple[str, ...],
    profile: str | None,
    name: str | None,
    log: str | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Run SCRIPT, which drives an experiment, as a small job until it has ended by itself.

    SCRIPT is a Python script, a program, or a project file (.yaml), which is then run as by axsched run; ARGS
    are passed to it. The job is warned before its walltime,
    saves, and starts again. The script's trials are jobs of their own.
    """
    # Here, since every other command would pay for it.
    from axsched_hpc.commands import driver as drivers
    from axsched_hpc.project.reading import ProjectError

    ours = next((word for word in ("--dry-run", "--json") if word in args), None)
    if ours is not None and script.endswith((".yaml", ".yml")):
        # A job that only shows what it would do is not what anybody wants.
        raise click.UsageError(f"Options of submit stand before the file: axsched submit {ours} {script}")
    try:
        driver = drivers.prepare(script, args, profile, name, log, given, os.environ)
    except ProjectError as error:
        show(str(error), err=True)
        sys.exit(2)
    if dry_run:
        if as_json:
            show_json(drivers.record(driver, None))
        else:
            click.echo(driver.script, nl=False)
        return
    drivers.refuse_second(driver)
    job = drivers.submit(driver)
    if as_json:
        show_json(drivers.record(driver, job))
    else:
        click.echo(drivers.told(driver, job))
