"""``axsched export``: the trials of an experiment, or their curves, for other programs."""

from __future__ import annotations

import click

from axsched_hpc.commands.arguments import DIRECTORY, examples
from axsched_hpc.commands.output import show_json
from axsched_hpc.core.errors import plural
from axsched_hpc.reporting import export as exporting
from axsched_hpc.reporting.curves import read_curves
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.reporting.records import FORMAT


@click.command(
    epilog=examples(
        "axsched export > trials.csv", "axsched export -o trials.parquet", "axsched export --curves"
    ),
)
@DIRECTORY
@click.option("-o", "--output", metavar="FILE", help="Write to FILE, in the format that its name ends with.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(exporting.RENDERERS)),
    help="The format; default: FILE's, or csv.",
)
@click.option("--curves", is_flag=True, help="The values that trials reported on their way, one a row.")
@click.option("--json", "as_json", is_flag=True, help="As --format json; with -o, what was written as JSON.")
def export(directory: str | None, output: str | None, form: str | None, curves: bool, as_json: bool) -> None:
    """Write the trials of the experiment in DIR (default: outputs) as a table, one row per trial.

    Without -o it goes to standard output, as CSV where nothing else is asked for.
    """
    if output == "-":
        output = None
    if as_json and output is None:
        if form not in (None, "json"):
            raise click.UsageError(f"--json and --format {form} are two formats: give one of them.")
        form = "json"
    if output is None and form == "parquet":
        raise click.UsageError("Parquet is not for a terminal or a pipe: name a file with -o.")
    if output is not None:
        form = exporting.format_of(output, form)
    reading = read_experiment(directory)
    if curves:
        table = exporting.curve_table(read_curves(reading.layout.root))
    else:
        table = exporting.trial_table(reading.ledger.trials.values(), reading.problem)
    if output is None:
        click.echo(exporting.RENDERERS[form or "csv"](table), nl=False)
        return
    exporting.write(output, table, form)
    if as_json:
        show_json({"format": FORMAT, "file": output, "written_as": form, "rows": len(table.rows)})
        return
    click.echo(f"Wrote {plural(len(table.rows), 'row' if curves else 'trial')} to {output}.")
