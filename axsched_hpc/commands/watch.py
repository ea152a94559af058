"""``axsched watch``: a run as it goes on."""

from __future__ import annotations

import click

from axsched_hpc.commands.arguments import DIRECTORY, JSON, examples


@click.command(
    epilog=examples(
        "axsched watch", "axsched watch --interval 30", "axsched watch --until-done && axsched best"
    ),
)
@DIRECTORY
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=2.0,
    help="Between two looks; default: 2.",
)
@click.option("--until-done", is_flag=True, help="End when the run has ended.")
@JSON
def watch(directory: str | None, interval: float, until_done: bool, as_json: bool) -> None:
    """Watch the run in DIR (default: outputs), and leave it with q or Ctrl-C; it goes on.

    Only what changes is sent to the terminal. Where the output is no terminal, each change is a line;
    with --json one with an object.

    With --until-done the exit code is 0 once the run has ended in good order, 1 where its driver has gone
    before, and 130 where the watching was left before.
    """
    from axsched_hpc.commands.watching import watching  # other commands do without

    watching(directory, interval, until_done=until_done, as_json=as_json)
