"""Where the variables of a netCDF file of the classic formats end.

The netCDF library takes what is missing at the end of such a file for zeros: one that was cut short would
give numbers that nobody has computed. The format is that of the NetCDF Classic Format Specification: CDF-1,
CDF-2 with offsets of 64 bits, and CDF-5 with 64 bits for all numbers.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from itertools import compress
from math import prod
from pathlib import Path
from typing import BinaryIO, TypeVar

Item = TypeVar("Item")

#: Bytes of one value by its type's number.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}

#: The number of records of a file that a program was still writing to.
_STREAMING = {4: 2**32 - 1, 8: 2**64 - 1}


def ends(path: Path) -> dict[str, int]:
    """The size that a file needs for each of its variables; empty for a file of another format.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        Its header is malformed.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        if magic[:3] != b"CDF" or magic[3:] not in (b"\1", b"\2", b"\5"):
            return {}
        try:
            return _Header(file, magic[3]).ends()
        except (KeyError, IndexError, struct.error, UnicodeDecodeError):
            raise ValueError("its header is damaged") from None


class _Header:
    """Reads a header from its second word on."""

    def __init__(self, file: BinaryIO, version: int) -> None:
        self._file = file
        self._left = os.fstat(file.fileno()).st_size - file.tell()
        self._count = 8 if version == 5 else 4
        self._offset = 4 if version == 1 else 8

    def ends(self) -> dict[str, int]:
        records = self._number(self._count)
        dimensions = self._list(self._dimension)
        self._list(self._attribute)
        variables = self._list(self._variable)
        if records == _STREAMING[self._count]:
            records = 0
        # The record dimension has the length 0 here, and is a variable's first one.
        lengths = [[dimensions[place] for place in places] for _, places, _, _ in variables]
        varying = [bool(each) and each[0] == 0 for each in lengths]
        sizes = [
            prod(each[1:] if record else each) * size
            for each, record, (_, _, size, _) in zip(lengths, varying, variables, strict=True)
        ]
        padded = [-(-size // 4) * 4 for size in compress(sizes, varying)]
        # A single variable with records is not padded.
        step = sum(padded) if len(padded) > 1 else sum(compress(sizes, varying))
        found = {}
        for (name, _, _, begin), size, record in zip(variables, sizes, varying, strict=True):
            more = (records - 1) * step if record else 0
            found[name] = begin + more + size if records or not record else 0
        return found

    def _variable(self) -> tuple[str, list[int], int, int]:
        name = self._name()
        places = [self._number(self._count) for _ in range(self._number(self._count))]
        self._list(self._attribute)
        size = self._size()
        self._number(self._count)  # the size with padding, which large variables do not have
        return name, places, size, self._number(self._offset)

    def _dimension(self) -> int:
        self._name()
        return self._number(self._count)

    def _attribute(self) -> None:
        self._name()
        size = self._size()
        self._padded(self._number(self._count) * size)

    def _size(self) -> int:
        return _SIZES[self._number(4)]

    def _name(self) -> str:
        return self._padded(self._number(self._count)).decode()

    def _list(self, item: Callable[[], Item]) -> list[Item]:
        self._number(4)  # the kind of the list, or nothing
        return [item() for _ in range(self._number(self._count))]

    def _padded(self, size: int) -> bytes:
        return self._bytes(-(-size // 4) * 4)[:size]

    def _number(self, size: int) -> int:
        return int(struct.unpack(">I" if size == 4 else ">Q", self._bytes(size))[0])

    def _bytes(self, size: int) -> bytes:
        if size > self._left:
            raise ValueError("its header is cut short")
        self._left -= size
        return self._file.read(size)
