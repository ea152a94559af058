"""Requests to a run under way: one small file each, in the inbox, until the driver has answered it.

Whoever may write in the directory lays one down, from any host; the driver finds it in the listing in which
it looks for notices.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from axsched_hpc.core import typed
from axsched_hpc.core.changes import Change
from axsched_hpc.io import atomic, document
from axsched_hpc.io.layout import Layout

#: The most bytes of a request; evaluations to be imported are in it.
LARGEST = 64 * 2**20

_NAME = re.compile(r"request-(\d{16}-[0-9a-f]{8})\.json")


def parse_name(name: str) -> str | None:
    """The id in a request's file name, or None for any other file."""
    found = _NAME.fullmatch(name)
    return found[1] if found else None


def path_of(layout: Layout, id: str) -> Path:
    """The file of a request."""
    return layout.inbox / f"request-{id}.json"


def lay_down(layout: Layout, change: Change) -> str:
    """Publish a request as a whole; its id. Ids sort by their time.

    Raises
    ------
    ValueError
        It is larger than a driver takes.
    OSError
        It cannot be written; nothing of it is there.
    """
    id = f"{time.time_ns() // 1000:016d}-{os.urandom(4).hex()}"
    given = {
        each.name: value for each in fields(change) if (value := getattr(change, each.name)) != each.default
    }
    text = document.encode(given)
    if len(text) > LARGEST:
        raise ValueError(f"it takes {len(text) >> 20} MiB, and a request {LARGEST >> 20} at the most")
    atomic.make_directory(layout.inbox)
    atomic.write(path_of(layout, id), text)
    return id


def read(path: Path) -> Change:
    """Read a request.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is none that this version takes; the message names the file.
    """
    if (size := path.stat(follow_symlinks=False).st_size) > LARGEST:
        raise ValueError(f"{path} is no request: it has {size} bytes.")
    found = document.read(path)
    known = typed.readers(Change)
    try:
        change: Change = typed.record(Change, known, {n: v for n, v in found.items() if n in known})
        change.check()
    except ValueError as error:
        raise ValueError(f"{path} is no request that can be taken: it {error}.") from None
    return change


def waiting(layout: Layout) -> Iterator[tuple[str, Change | None]]:
    """The requests that are not answered yet, oldest first, by id; None for one that cannot be read."""
    for name in atomic.listing(layout.inbox):
        id = parse_name(name)
        if id is None:
            continue
        try:
            yield id, read(layout.inbox / name)
        except FileNotFoundError:
            continue  # it was answered meanwhile
        except (OSError, ValueError):
            yield id, None
