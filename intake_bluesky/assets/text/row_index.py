"""Which bytes of a text file are which of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO, Final

import numpy as np

from intake_bluesky.assets.location import Location
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable

__all__ = ["Lines", "RowIndex", "row_index"]

STEP: Final = 1024
"""Rows between two that the index knows."""
PIECE: Final = 8 * 2**20
"""Bytes looked at together."""
LONGEST: Final = 64 * 2**20
"""Bytes of the longest row; what is longer has a quote that is never closed."""
MOST_INDEXES: Final = 256
BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Lines:
    """Which lines of a file are rows: all but those that are empty, of a comment alone or skipped.

    Attributes
    ----------
    comment, quote : str
        One character, or ``""``. A line break between quotes is part of its row.
    blank : str
        Characters that make an empty line.
    skip : int
        Lines at the beginning that are none.
    skipped : frozenset of int
        Numbers of further lines that are none.
    """

    comment: str = ""
    quote: str = '"'
    blank: str = " \t\r\n"
    skip: int = 0
    skipped: frozenset[int] = frozenset()

    def ends(self, text: bytes) -> Array:
        """Where the lines of some text end, dtype int64; what follows the last line break may be half of a line."""
        characters = np.frombuffer(text, np.uint8)
        ends: Array = np.flatnonzero(characters == ord("\n")) + 1
        if self.quote and self.quote.encode() in text:
            quotes = np.cumsum(characters == ord(self.quote))
            ends = ends[quotes[ends - 1] % 2 == 0]
        return ends

    def rows(self, text: bytes, ends: Array, first: int) -> tuple[Array, Array, Array]:
        """Find the rows in some text that begins with a line.

        Parameters
        ----------
        text : bytes
        ends : numpy.ndarray, shape (lines,), dtype int64
            Of its lines.
        first : int
            The number of its first line in the file.

        Returns
        -------
        starts, ends, numbers : numpy.ndarray, dtype int64
            Of each row: where it begins and ends in the text, and the number of its line.
        """
        starts: Array = np.concatenate([[0], ends[:-1]])[: len(ends)].astype(np.int64)
        numbers = np.arange(first, first + len(ends))
        used = self._used(np.frombuffer(text, np.uint8), starts, ends, numbers)
        return (starts, ends, numbers) if used.all() else (starts[used], ends[used], numbers[used])

    def _used(self, characters: Array, starts: Array, ends: Array, numbers: Array) -> Array:
        used: Array = numbers >= self.skip
        if self.skipped:
            used &= ~np.isin(numbers, list(self.skipped))
        if not len(starts):
            return used
        blank = np.frombuffer(self.blank.encode(), np.uint8)
        heads = characters[starts]
        if np.isin(heads, blank).any():
            used &= np.logical_or.reduceat(~np.isin(characters[: ends[-1]], blank), starts)
        if self.comment:
            used &= heads != ord(self.comment)
        return used


@dataclass(frozen=True, slots=True, eq=False)
class RowIndex:
    """Where in a file its rows are: of every 1024th row the first byte and the number of its line.

    Attributes
    ----------
    lines : Lines
    rows : int
        How many there are.
    starts, numbers : numpy.ndarray, dtype int64
    end : int
        The byte after the last row.
    first : bytes
        The first row.
    """

    lines: Lines
    rows: int
    starts: Array
    numbers: Array
    end: int
    first: bytes = field(repr=False)

    @classmethod
    def of(cls, file: BinaryIO, lines: Lines, path: str) -> RowIndex:
        """Go through a file once.

        Raises
        ------
        AssetUnavailable
            When a row has no end.
        """
        starts, numbers, first = [], [], b""
        rows = line = end = 0
        text = file.read(PIECE)
        position = len(BOM) if text.startswith(BOM) else 0
        text = text[position:]
        while text:
            every = lines.ends(text)
            found, ends, at = lines.rows(text, every, line)
            known = slice(-rows % STEP, None, STEP)
            starts.append(position + found[known])
            numbers.append(at[known])
            if len(found):
                first = first or text[found[0] : ends[0]]
                end = position + int(ends[-1])
            rows += len(found)
            whole = int(every[-1]) if len(every) else 0
            line += len(every)
            position += whole
            more = file.read(PIECE)
            if len(text) - whole > LONGEST:
                raise AssetUnavailable(f"{path} has a row of more than {LONGEST} bytes: is a quote never closed?")
            text = text[whole:] + more if more else b""
        none: Array = np.empty(0, np.int64)
        return cls(lines, rows, np.concatenate([none, *starts]), np.concatenate([none, *numbers]), end, first)

    def read(self, file: BinaryIO, start: int, stop: int) -> bytes:
        """Read some rows, at least one, and nothing between them that is none."""
        begin, _, first = self._place(file, start)
        _, finish, last = self._place(file, stop - 1)
        file.seek(begin)
        text = file.read(finish - begin)
        if last - first == stop - start - 1:
            return text
        starts, ends, _ = self.lines.rows(text, self.lines.ends(text), first)
        return b"".join(text[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True))

    def _place(self, file: BinaryIO, row: int) -> tuple[int, int, int]:
        """Where a row begins and ends in the file, and the number of its line."""
        part, rest = divmod(row, STEP)
        begin = int(self.starts[part])
        finish = int(self.starts[part + 1]) if part + 1 < len(self.starts) else self.end
        file.seek(begin)
        text = file.read(finish - begin)
        starts, ends, numbers = self.lines.rows(text, self.lines.ends(text), int(self.numbers[part]))
        return begin + int(starts[rest]), begin + int(ends[rest]), int(numbers[rest])


_INDEXES: dict[tuple[str, str, Lines], RowIndex] = {}


def row_index(location: Location, lines: Lines) -> RowIndex:
    """The index of a file as it is now; made by going through it, once while it stays as it is."""
    key = (location.path, location.status()[0], lines)
    found = _INDEXES.get(key)
    if found is None:
        with location.open() as file:
            found = RowIndex.of(file, lines, location.path)
        for old in list(_INDEXES)[: len(_INDEXES) + 1 - MOST_INDEXES]:
            _INDEXES.pop(old, None)
        _INDEXES[key] = found
    return found
