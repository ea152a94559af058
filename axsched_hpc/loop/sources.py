"""Where evaluations and points of the user's own are read from, by what he passes in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.files import read_any
from axsched_hpc.ax_bridge.parameters import of_text
from axsched_hpc.ax_bridge.warm import evaluations_of, experiment_of
from axsched_hpc.core.errors import ParameterError, plural
from axsched_hpc.core.evaluations import Evaluation, Row, Source, of_table, plainly, refusal
from axsched_hpc.io import table
from axsched_hpc.loop.opening import read_bridge
from axsched_hpc.reporting.reading import experiment_at
from axsched_hpc.store import journal

_KINDS = (
    "the path of a CSV file, of an Ax JSON or of an experiment directory; a pandas DataFrame; a list of "
    "dicts or of (parameters, metrics) pairs; or an experiment of Ax"
)


def evaluations(source: object, bridge: AxBridge) -> Source:
    """What a source holds, not checked yet.

    Raises
    ------
    ParameterError
        It is no such source, or a file of it cannot be read.
    ConfigError, JournalError
        It looks like an Ax JSON, or an experiment directory, and cannot be read.
    """
    required = bridge.objective_names
    experiment = experiment_of(source)
    if experiment is not None:
        return evaluations_of(experiment, f"the experiment {experiment._name!r}", required)
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        if path.is_dir():
            return _of_directory(path, required)
        return evaluations_in(_text(path), str(path), bridge)
    rows = _frame(source)
    if rows is not None:
        return of_table("the data frame", rows, bridge.parameter_names, required)
    if isinstance(source, Mapping | bytes) or not isinstance(source, Iterable):
        raise ParameterError(f"attach takes {_KINDS}; not {_kind(source)}.")
    return _of_list(list(source), bridge.parameter_names, required)


def evaluations_in(text: str, name: str, bridge: AxBridge) -> Source:
    """What a text holds, which is that of an Ax JSON or of a CSV file; raises as :func:`evaluations` does."""
    required = bridge.objective_names
    if text.lstrip().startswith("{"):
        return evaluations_of(read_any(text, name).handles.experiment, name, required)
    return of_table(name, _csv(text, name, bridge), bridge.parameter_names, required)


def points(source: object, bridge: AxBridge) -> tuple[str, list[tuple[str, Mapping[str, Any]]]]:
    """Points that are still to be run, each with its place in the source; and what follows ``point`` in the
    source's name.

    Raises
    ------
    ParameterError
        It is no such source, or a row of it cannot be read.
    """
    if isinstance(source, Mapping):
        return "", [("point 0", source)]
    name, rows = "the data frame", _frame(source)
    if isinstance(source, str | Path):
        name = str(Path(source).expanduser())
        rows = _csv(_text(Path(name)), name, bridge)
    if rows is not None:
        bad = [f"{row.where}: {row.problem}" for row in rows if row.problem]
        if bad:
            raise ParameterError(
                refusal(f"{plural(len(rows), 'line')} of {name}", bad, "Nothing was enqueued.")
            )
        # An empty cell is no value: a branch of a hierarchical space that the point does not have.
        return f" in {name}", [
            (r.where, {c: v for c, v in r.cells.items() if v == v and v is not None}) for r in rows
        ]
    if isinstance(source, bytes) or not isinstance(source, Iterable):
        raise ParameterError(
            "enqueue takes a list of dicts of parameters, one such dict, a pandas DataFrame or the path of a "
            f"CSV file with a column for each parameter; not {_kind(source)}."
        )
    return "", [(f"point {number}", point) for number, point in enumerate(source)]


def given_points(
    points: Iterable[tuple[str, Mapping[str, Any]]], bridge: AxBridge
) -> tuple[list[dict[str, Any]], list[str]]:
    """Those of points with places that fit the search space, and what is wrong with the others. A text stands
    for a value of the parameter's type.
    """
    space = bridge.experiment.search_space
    values = []
    for place, point in points:
        known = {name: value for name, value in point.items() if name in space.parameters}
        values.append((place, {**point, **of_text(space, known)}))
    return bridge.warm.check_points(values)


def _of_directory(path: Path, required: tuple[str, ...]) -> Source:
    """An earlier experiment, as its directory's driver would bring it back; one may be at work in it."""
    layout = experiment_at(path)
    earlier = read_bridge(layout)
    earlier.replay(journal.events(journal.read(layout.journal)))
    return evaluations_of(earlier.experiment, str(layout.root), required)


def _of_list(items: list[object], parameters: tuple[str, ...], required: tuple[str, ...]) -> Source:
    """Dicts with parameters and metrics, or pairs of the one and the other; counted from 0."""
    name = "the list"
    if any(isinstance(item, Mapping) for item in items):
        rows = [
            Row(f"item {number}", item)
            if isinstance(item, Mapping)
            else Row(f"item {number}", problem=f"it is no dict, but {_kind(item)}")
            for number, item in enumerate(items)
        ]
        return of_table(name, rows, parameters, required)
    return Source(name, tuple(_of_pair(f"item {number}", item) for number, item in enumerate(items)))


def _of_pair(where: str, item: object) -> Evaluation:
    if isinstance(item, tuple | list) and len(item) == 2 and all(isinstance(half, Mapping) for half in item):
        return Evaluation(where, *item)
    return Evaluation(
        where, problem=f"it is no pair of a dict of parameters and a dict of metrics, but {_kind(item)}"
    )


def _frame(source: object) -> list[Row] | None:
    """The rows of a pandas DataFrame; None where it is something else."""
    kinds = [(kind.__module__.partition(".")[0], kind.__name__) for kind in type(source).__mro__]
    if ("pandas", "DataFrame") not in kinds:
        return None
    frame: Any = source
    labels = frame.index if frame.index.is_unique else range(len(frame))
    records = frame.to_dict("records")
    return [Row(f"row {label}", plainly(cells)) for label, cells in zip(labels, records, strict=True)]


def _csv(text: str, name: str, bridge: AxBridge) -> list[Row]:
    """The rows of a CSV file, with values of the parameters' types, and numbers where there are any."""
    space, parameters = bridge.experiment.search_space, set(bridge.parameter_names)
    rows = []
    for row in table.parse(text, name):
        cells = plainly(row.cells)
        point = of_text(space, {column: cell for column, cell in cells.items() if column in parameters})
        rest = {c: _number(cell) if isinstance(cell, str) else cell for c, cell in cells.items()}
        rows.append(Row(row.where, {**rest, **point}, row.problem))
    return rows


def _number(text: str) -> float | str:
    try:
        return table.number(text)
    except ValueError:
        return text


def _text(path: Path) -> str:
    try:
        # Spreadsheets put a byte order mark before the first name.
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ParameterError(
            f"{path} cannot be read ({reason}). Nothing was changed; check the path."
        ) from error


def _kind(value: object) -> str:
    return f"{value!r:.60} ({type(value).__name__})"
