"""``axsched help``: the help of a command, or all commands at a glance."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


class _Path(click.ParamType):  # type: ignore[type-arg]  # generic only in new versions of click
    """The name of a command."""

    name = "command"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The commands."""
        root = ctx.find_root()
        return root.command.shell_complete(root, incomplete)


@click.command("help")
@click.argument("names", metavar="[COMMAND]...", nargs=-1, type=_Path())
@click.pass_context
def show_help(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Show the help of COMMAND, or the list of commands.

    The same as axsched COMMAND --help; for templates list, for example: axsched help templates list.
    """
    at = ctx.find_root()
    for name in names:
        if not isinstance(at.command, click.Group):
            raise click.UsageError(f"{at.command_path} has no commands of its own.")
        _, command, _ = at.command.resolve_command(at, [name])
        assert command is not None  # a name that is none has ended in an error
        at = click.Context(command, parent=at, info_name=name)
    click.echo(at.get_help())
