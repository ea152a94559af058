"""Objectives on disk: installed once by the driver, loaded and verified by every job.

``objective/<digest>/objective.json`` says what runs and holds the SHA-256 sums of the files beside it, in
``files/``. The directory is named by its content: the same objective is installed once, a changed one beside
it, and attempts that run keep theirs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

from axsched_hpc.core.errors import ObjectiveError
from axsched_hpc.core.record import Record
from axsched_hpc.io import access, atomic, document, owner, storage
from axsched_hpc.io.layout import Layout
from axsched_hpc.objectives import kinds
from axsched_hpc.objectives.kinds import FunctionObjective, Objective, ScriptObjective

if TYPE_CHECKING:
    from types import ModuleType

    from axsched_hpc.core.ledger import Ledger

SPEC, FILES, PICKLE = "objective.json", "files", "function.pkl"


class Installed(Record):
    """An objective on disk.

    Attributes
    ----------
    files
        The directory of the script, what was copied beside it, or the pickled function.
    sums
        Their checksums, by name.
    """

    objective: Objective
    files: Path
    sums: Mapping[str, str]


class Checkpointed(Record):
    """A function that saves checkpoints.

    Attributes
    ----------
    warning
        Seconds before the end of its job's time at which it is told to save one.
    """

    function: Callable[..., Any]
    warning: int


def install(layout: Layout, objective: Objective | Checkpointed | Callable[..., Any]) -> str:
    """Put an objective into the experiment directory, and return the name of its directory.

    Raises
    ------
    ObjectiveError
        The function cannot be pickled, or a file cannot be read.
    """
    described, pickled = _taken(objective)
    atomic.make_directory(layout.objective)
    temporary = layout.objective / f".{os.getpid()}.{os.urandom(4).hex()}.tmp"
    try:
        atomic.make_directory(temporary / FILES)
        if pickled is not None:
            atomic.write(temporary / FILES / PICKLE, pickled)
        else:
            _copy(described, temporary / FILES)
        fields = {**kinds.encode(described), "files": _sums(temporary / FILES)}
        name = hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:12]
        atomic.write(temporary / SPEC, document.encode(fields))
        if not _moved(temporary, layout.objective / name):
            load(layout, name)
    finally:
        _remove(temporary)
    return name


def planned(objective: Objective | Checkpointed | Callable[..., Any]) -> Installed:
    """An objective as it would be installed. Nothing is written, so that its directory of files is none.

    Raises
    ------
    ObjectiveError
        The function cannot be pickled.
    OSError
        A file cannot be read.
    """
    described, pickled = _taken(objective)
    sums: dict[str, str] = {}
    if pickled is not None:
        sums[PICKLE] = hashlib.sha256(pickled).hexdigest()
    for place, name in kinds.copies(described):
        path = Path(place)
        if path.is_dir():
            sums |= {f"{name}/{inside}": digest for inside, digest in _sums(path).items()}
        else:
            sums[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return Installed(described, Path(os.devnull), sums)


def changes(layout: Layout, name: str, now: Installed) -> list[str]:
    """In what an objective differs from an installed one, in the words of
    :func:`axsched_hpc.objectives.kinds.changes`.

    Raises
    ------
    ObjectiveError, OSError
        The installed one cannot be read.
    """
    if name not in atomic.listing(layout.objective):
        return ["what earlier trials ran is not there any more"]
    before = load(layout, name)
    return kinds.changes(before.objective, before.sums, now.objective, now.sums)


def changed(layout: Layout, ledger: Ledger, now: Installed) -> str | None:
    """That an objective is another one than trials so far have had, and in what it differs; else None.

    Raises
    ------
    ObjectiveError, OSError
        As for :func:`changes`.
    """
    known = ledger.objective
    found = changes(layout, known.objective, now) if known is not None and ledger.own else []
    return (
        f"The objective has changed since trial {max(ledger.trials)}: {'; '.join(found)}" if found else None
    )


def _taken(objective: Objective | Checkpointed | Callable[..., Any]) -> tuple[Objective, bytes | None]:
    """What an objective is, and of a function its pickle."""
    if isinstance(objective, Objective):
        return objective, None
    given = objective.function if isinstance(objective, Checkpointed) else objective
    warning = objective.warning if isinstance(objective, Checkpointed) else None
    return _described(given).changed(warning=warning), _pickle(given)


def source(objective: Objective | Checkpointed | Callable[..., Any]) -> Path | None:
    """The file that an objective was written in; None where there is none, as of a program on ``PATH``."""
    if isinstance(objective, Checkpointed):
        return source(objective.function)
    if isinstance(objective, ScriptObjective):
        place = Path(objective.source)
    elif isinstance(objective, Objective):
        return None
    else:
        import inspect  # with most of Python's own tools; a job needs none

        code = getattr(inspect.unwrap(objective), "__code__", None)
        place = Path(getattr(code, "co_filename", ""))
    return place if place.is_absolute() and place.is_file() else None


def load(layout: Layout, name: str) -> Installed:
    """Find an installed objective, and check that it is whole and as it was installed.

    Raises
    ------
    ObjectiveError
        It is missing, changed, or its pickle is not this user's own.
    OSError
        The filesystem fails, in a way that can pass.
    """
    directory = layout.objective / name
    path = directory / SPEC
    advice = "Set the objective again from the driver, which installs it anew, after removing that directory."
    try:
        access.require_inside(layout.root, directory, directory / FILES)
        fields = document.read(path)
        objective = kinds.decode(fields, source=str(path))
        sums = document.field(fields, "files", dict, source=str(path))
        if isinstance(objective, FunctionObjective):
            _refuse_foreign(directory / FILES / objective.pickle, layout)
        found = _sums(directory / FILES)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and storage.is_storage_error(error, reading=True):
            raise
        raise ObjectiveError(
            f"The objective in {directory} cannot be read: {str(error).rstrip('.')}. {advice}"
        ) from None
    if found != sums:
        changed = sorted(key for key in {*found, *sums} if found.get(key) != sums.get(key))
        raise ObjectiveError(
            f"The objective in {directory} is not what was installed: {changed[0]} is missing, new or "
            f"changed. {advice}"
        )
    return Installed(objective, directory / FILES, found)


def load_function(installed: Installed) -> Callable[[dict[str, Any]], Any]:
    """Unpickle a function, with the driver's module search path. What its imports raise passes through."""
    import pickle

    objective = installed.objective
    if not isinstance(objective, FunctionObjective):
        raise TypeError(f"{kinds.what(objective)} is no function")
    sys.path[:] = [*objective.sys_path, *(entry for entry in sys.path if entry not in objective.sys_path)]
    pickled = atomic.read_bytes(installed.files / objective.pickle)
    function: Callable[[dict[str, Any]], Any] = pickle.loads(pickled)
    return function


# ---------------------------------------------------------------- files


def _sums(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(atomic.read_bytes(path)).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }


def _copy(objective: Objective, target: Path) -> None:
    for source, name in kinds.copies(objective):
        try:
            _copy_one(Path(source), target / name)
        except OSError as error:
            if storage.is_storage_error(error, reading=True):
                raise
            raise ObjectiveError(
                f"{source} cannot be copied into the experiment directory: {error.strerror or error} "
                f"({error.filename or source})."
            ) from None


def _copy_one(source: Path, target: Path) -> None:
    if source.is_dir():
        atomic.make_directory(target)
        for entry in sorted(source.iterdir()):
            _copy_one(entry, target / entry.name)
        return
    executable = os.access(source, os.X_OK)
    mode = access.directory_mode(target.parent) if executable else None
    atomic.write(target, source.read_bytes(), mode=mode)


def _moved(temporary: Path, final: Path) -> bool:
    # rename(2) refuses a directory that is not empty: of two drivers one installs, the other finds it done.
    try:
        temporary.rename(final)
    except OSError:
        if not final.is_dir():
            raise
        return False
    atomic.sync_directory(final.parent)
    return True


def _remove(directory: Path) -> None:
    if directory.exists():
        import shutil

        shutil.rmtree(directory, ignore_errors=True)


def _refuse_foreign(path: Path, layout: Layout) -> None:
    if not owner.is_mine(path, beside=layout.objective):
        raise ObjectiveError(
            f"{path} belongs to user {path.lstat().st_uid}, not to the one who runs this job "
            f"({os.geteuid()}): unpickling it could run anything. Run the experiment in a directory of your "
            "own."
        )


# ---------------------------------------------------------------- functions


def _described(function: object) -> FunctionObjective:
    if not callable(function):
        raise ObjectiveError(
            f"The objective is {function!r:.80} ({type(function).__name__}), which cannot be called. Pass a "
            "function that takes a dict of parameters and returns a dict of metrics."
        )
    code = getattr(function, "__code__", None)
    return FunctionObjective(
        PICKLE,
        _name(function),
        tuple(str(Path(entry).absolute()) for entry in sys.path),
        "" if code is None else hashlib.sha256(repr(_bytecode(code)).encode()).hexdigest(),
    )


def _bytecode(code: CodeType) -> tuple[object, ...]:
    """What a function does, without where it stands: equal in every process, as a pickle's bytes are not."""

    def plain(constant: object) -> object:
        if isinstance(constant, CodeType):
            return _bytecode(constant)
        # The order of a set differs between processes.
        return sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant

    constants = [plain(constant) for constant in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants


def _name(function: object) -> str:
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', '?')}.{getattr(named, '__qualname__', '?')}"


def _pickle(function: Callable[..., Any]) -> bytes:
    import cloudpickle

    with _by_value(function):
        try:
            return bytes(cloudpickle.dumps(function))
        except Exception as error:  # pickling runs the objects' own code, which may raise anything
            culprit = _culprit(function)
            raise ObjectiveError(
                f"The function {_name(function)} cannot be sent to a job: {culprit or error} Make such an "
                f"object inside the function instead, or use a script objective. ({type(error).__name__}: "
                f"{error})"
            ) from error


@contextlib.contextmanager
def _by_value(function: object) -> Iterator[None]:
    """Let cloudpickle store the function's module by value: a job may not find it, or a later version."""
    import cloudpickle

    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if module is None or not _local(module) or module.__name__ in cloudpickle.list_registry_pickle_by_value():
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _local(module: ModuleType) -> bool:
    """Whether a module is the user's own, rather than an installed one or one of Python's."""
    file = getattr(module, "__file__", None)
    if file is None or module.__name__ == "__main__":
        return False  # built in; or cloudpickle does it by itself
    import sysconfig

    path = Path(file).resolve()
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    installed = any(path.is_relative_to(Path(sysconfig.get_path(key)).resolve()) for key in keys)
    return not installed and "site-packages" not in path.parts


def _culprit(function: Callable[..., Any]) -> str | None:
    """Which variable of the function it is that cannot be pickled, if one is found."""
    import inspect

    import cloudpickle

    try:
        names = inspect.getclosurevars(function)
    except (TypeError, ValueError):
        return None
    for name, value in {**names.globals, **names.nonlocals}.items():
        try:
            cloudpickle.dumps(value)
        except Exception:  # as above
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            return f"it uses {name!r}, a {kind}, which cannot be pickled."
    return None
