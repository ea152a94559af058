"""The working directory of a program: made, furnished with decks, inputs and links, and copied back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import access, atomic
from axsched_hpc.objectives.context import RunContext, Terminated, failed, insist, say
from axsched_hpc.objectives.kinds import ProgramObjective, ScriptObjective, input_name, template_name

if TYPE_CHECKING:
    from axsched_hpc.objectives.scratch import Stamp


class Workspace:
    """Where a program runs.

    Attributes
    ----------
    directory
        The working directory on the host.
    placed
        Inputs as they were put there, by their path in it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.placed: dict[str, Stamp] = {}


@contextlib.contextmanager
def opened(objective: ProgramObjective, context: RunContext) -> Iterator[Workspace]:
    """The working directory of one execution; on a disk of the node it is copied back and removed at the end.

    Raises
    ------
    ObjectiveFailed
        It cannot be made.
    """
    work = context.files.work
    insist(lambda: atomic.make_directory(work), f"{work} cannot be made")
    if not objective.scratch:
        own = objective.working_directory if isinstance(objective, ScriptObjective) else None
        yield Workspace(Path(own) if own else work)
        return
    from axsched_hpc.objectives import scratch  # most programs do without

    try:
        place = scratch.make(f"{context.trial}-{context.attempt}-{context.token}")
    except OSError as error:
        raise failed(
            FailureKind.CANNOT_RUN,
            f"There is no working directory on a disk of {os.uname().nodename} (the option 'scratch'): "
            f"{error}. Set TMPDIR on the node to a directory that can be written, or leave the option out.",
        ) from None
    found = Workspace(place.directory)
    try:
        try:
            yield found
        except Terminated:
            # There is little time, and the attempt starts afresh.
            raise
        except BaseException:
            _copy_back(objective, found, context)
            raise
        _copy_back(objective, found, context)
    finally:
        place.close()


def furnish(
    objective: ProgramObjective,
    files: Path,
    workspace: Workspace,
    context: RunContext,
    own: Mapping[str, str],
) -> None:
    """Put inputs, links and rendered decks into the working directory.

    Parameters
    ----------
    files
        Where the objective's files are installed.
    own
        Names that a template may use beside the parameters'.

    Raises
    ------
    ObjectiveFailed
        A file cannot be made.
    """
    directory = workspace.directory
    try:
        for place, source in enumerate(objective.inputs):
            name = Path(source).name
            _place(files / input_name(place), directory / name, Path(name), workspace.placed)
        for target in objective.link if isinstance(objective, ScriptObjective) else ():
            _link(Path(target), directory / Path(target).name)
        for place, (source, made) in enumerate(objective.templates):
            _render(Path(source), files / template_name(place), directory / made, context, own)
    except OSError as error:
        raise failed(
            FailureKind.CANNOT_RUN,
            f"The working directory {directory} cannot be furnished: {error.strerror or error} "
            f"({error.filename or directory}).",
        ) from None


def _place(source: Path, target: Path, name: Path, placed: dict[str, Stamp]) -> None:
    import shutil  # it loads the compression modules, which most jobs can do without

    from axsched_hpc.objectives.scratch import stamp

    if source.is_dir():
        insist(lambda: atomic.make_directory(target), f"{target} cannot be made")
        for entry in sorted(source.iterdir()):
            _place(entry, target / entry.name, name / entry.name, placed)
        return

    def copy() -> None:
        # A link of that name, which the program made before it was requeued, is not written through.
        target.unlink(missing_ok=True)
        shutil.copyfile(source, target)
        mode = access.directory_mode(target.parent)
        target.chmod(mode if os.access(source, os.X_OK) else mode & 0o666)

    insist(copy, f"{target} cannot be written")
    placed[str(name)] = stamp(target)


def _link(source: Path, target: Path) -> None:
    def link() -> None:
        target.unlink(missing_ok=True)
        target.symlink_to(source)

    insist(link, f"{target} cannot be made")


def _render(source: Path, installed: Path, target: Path, context: RunContext, own: Mapping[str, str]) -> None:
    from axsched_hpc.objectives import decks

    try:
        deck = insist(
            lambda: decks.render(installed, context.parameters, own),
            f"{installed} cannot be read",
            reading=True,
        )
    except decks.DeckError as error:
        message = str(error).replace(str(installed), str(source))
        raise failed(FailureKind.CANNOT_RUN, message) from None

    def write() -> None:
        atomic.make_directory(target.parent)
        # A shell script may be a deck as well.
        runs = os.access(installed, os.X_OK)
        atomic.write(target, deck, mode=access.directory_mode(target.parent) if runs else None)

    insist(write, f"{target} cannot be written")


def _copy_back(objective: ProgramObjective, workspace: Workspace, context: RunContext) -> None:
    """Copy results back. What was computed counts even where the files cannot be kept: that is said."""
    from axsched_hpc.objectives import scratch

    def note(text: str) -> None:
        say(f"trial {context.trial}: {text}")

    def copy() -> None:
        scratch.copy_back(
            workspace.directory, context.files.work, objective.stage_out, workspace.placed, note
        )

    try:
        insist(copy, f"{context.files.work} cannot be written")
    except OSError as error:
        note(
            f"the working directory {workspace.directory} cannot be copied back to {context.files.work}: "
            f"{error.strerror or error} ({error.filename}). Its files are lost; the metrics are not."
        )
