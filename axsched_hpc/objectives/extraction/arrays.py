"""Values in HDF5 and netCDF files: a number, or the elements of an array in the order of C.

What is read at once is bounded, whatever the array's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import product
from math import isnan, prod
from pathlib import Path
from typing import Any

from axsched_hpc.io.storage import is_storage_error
from axsched_hpc.objectives.extraction.values import ExtractionError, Found, index_of, out_of_range, shown

#: Elements that are read at once.
BLOCK = 2**20

_SHOWN = 20

Pair = tuple[float, float | None]
Children = Callable[[Any], Mapping[str, Any] | None]


def hdf5(path: Path, address: str, sem: str | None, which: str | int) -> Pair | None:
    """One element of a dataset of an HDF5 file; None where it has none.

    Raises
    ------
    ExtractionError
        h5py is not there, the file is not HDF5, or it has no such number.
    OSError
        The filesystem fails for a while.
    """
    try:
        import h5py
    except ImportError as error:
        raise _no_library("HDF5", "h5py", "hdf5", error) from None

    def children(node: Any) -> Mapping[str, Any] | None:
        return node if isinstance(node, h5py.Group) else None

    return _read("HDF5", path, lambda: h5py.File(path, "r"), children, address, sem, which)


def netcdf(path: Path, address: str, sem: str | None, which: str | int) -> Pair | None:
    """One element of a variable of a netCDF file, classic or of version 4; None where it has none.

    Values are scaled as the variable's attributes say; those that are missing by its attributes are left out
    of minimum and maximum.

    Raises
    ------
    ExtractionError, OSError
        As of HDF5, with netCDF4.
    """
    try:
        import netCDF4
    except ImportError as error:
        raise _no_library("netCDF", "netCDF4", "netcdf", error) from None

    def children(node: Any) -> Mapping[str, Any] | None:
        return {**node.groups, **node.variables} if isinstance(node, netCDF4.Dataset) else None

    return _read("netCDF", path, lambda: netCDF4.Dataset(path), children, address, sem, which)


def _read(
    form: str,
    path: Path,
    opened: Callable[[], Any],
    children: Children,
    address: str,
    sem: str | None,
    which: str | int,
) -> Pair | None:
    try:
        with closing(opened()) as root:
            array = _find(root, children, address, path)
            errors = None if sem is None else _find(root, children, sem, path)
            _same_shape(array, errors, f"{address} of {path}")
            at = _place(array, which, address, path)
            if at is None:
                return None
            place = address + (f"[{', '.join(map(str, at))}]" if at else "")
            found = Found(
                _element(array, at, place, path), errors and _element(errors, at, place, path), place
            )
            return found.numbers(path)
    except ExtractionError:
        raise
    except Exception as error:
        # The libraries raise whatever comes to them of a file that is damaged.
        if isinstance(error, OSError) and is_storage_error(error, reading=True):
            raise
        raise ExtractionError(
            f"{path} cannot be read as {form} ({shown(str(error), 200)})",
            advice="Was it cut short, or is it in another format?",
        ) from None


def _find(root: Any, children: Children, address: str, path: Path) -> Any:
    node, reached = root, "/"
    parts = [part for part in address.split("/") if part]
    for depth, part in enumerate(parts):
        inside = children(node)
        if inside is None or part not in inside:
            raise ExtractionError(f"there is no {address} in {path}; {reached} {_content(inside)}")
        node, reached = inside[part], "/" + "/".join(parts[: depth + 1])
    inside = children(node)
    if inside is not None:
        raise ExtractionError(
            f"{reached} of {path} is a group, which {_content(inside)}; name an array in it"
        )
    kind = getattr(node.dtype, "kind", "O")
    if kind not in "iuf" or node.shape is None:
        what = "nothing" if node.shape is None else f"values of the type {node.dtype}"
        raise ExtractionError(f"{reached} of {path} holds {what}, no numbers")
    return node


def _content(inside: Mapping[str, Any] | None) -> str:
    if inside is None:
        return "is an array"
    names = list(inside)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"has {', '.join(map(repr, names[:_SHOWN])) or 'nothing'}{more}"


def _place(array: Any, which: str | int, address: str, path: Path) -> tuple[int, ...] | None:
    """Where the element is; None of an array without elements."""
    size = prod(array.shape)
    if not size:
        return None
    if which in ("min", "max"):
        return _extreme(array, which == "max", address, path)
    index = index_of(which)
    if not -size <= index < size:
        raise out_of_range(index, size, f"{address} of {path}")
    return _coordinates(index % size, array.shape)


def _extreme(array: Any, largest: bool, address: str, path: Path) -> tuple[int, ...]:
    best: tuple[float, tuple[int, ...]] | None = None
    for block in blocks(array.shape, BLOCK):
        part = array[block]
        value = part.max() if largest else part.min()
        if _is_missing(value):
            continue
        number = float(value)
        if isnan(number):
            raise ExtractionError(f"{address} of {path} has values that are NaN")
        if best is None or (number > best[0] if largest else number < best[0]):
            inner = _coordinates(int(part.argmax() if largest else part.argmin()), part.shape)
            best = number, tuple(each.start + place for each, place in zip(block, inner, strict=True))
    if best is None:
        raise ExtractionError(f"all values of {address} of {path} are missing")
    return best[1]


def _element(array: Any, at: tuple[int, ...], place: str, path: Path) -> Any:
    value = array[at]
    if _is_missing(value):
        raise ExtractionError(f"{place} of {path} is a missing value")
    return value


def _same_shape(array: Any, errors: Any, what: str) -> None:
    if errors is not None and errors.shape != array.shape:
        raise ExtractionError(f"{what} has the shape {array.shape}, and its standard errors {errors.shape}")


def _is_missing(value: Any) -> bool:
    return bool(getattr(value, "mask", False))


def blocks(shape: Sequence[int], most: int) -> Iterator[tuple[slice, ...]]:
    """Parts of an array in the order of C, each of so many elements at most."""
    whole = len(shape)
    while whole and prod(shape[whole - 1 :]) <= most:
        whole -= 1
    # Axes from `whole` on are read in full, the one before it in steps, and those before in single places.
    steps = [1] * whole
    if whole:
        steps[-1] = max(1, most // prod(shape[whole:]))
    ranges = [range(0, length, step) for length, step in zip(shape, steps, strict=False)]
    full = tuple(slice(0, length) for length in shape[whole:])
    for starts in product(*ranges):
        ends = (min(start + step, length) for start, step, length in zip(starts, steps, shape, strict=False))
        yield (*(slice(start, end) for start, end in zip(starts, ends, strict=True)), *full)


def _coordinates(index: int, shape: Sequence[int]) -> tuple[int, ...]:
    found = []
    for length in reversed(shape):
        index, place = divmod(index, length)
        found.append(place)
    return tuple(reversed(found))


def _no_library(form: str, library: str, extra: str, error: ImportError) -> ExtractionError:
    return ExtractionError(
        f"{form} files are read by {library}, which the job's Python does not have ({error})",
        advice=f"Install it there: pip install 'axsched-hpc[{extra}]'.",
    )
