"""Text files as pandas parsed them: once each, in parts of a few megabytes, of which a cache holds those used last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from intake_bluesky.assets.location import Location
from intake_bluesky.assets.text.grammar import Grammar
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable, DamagedRun

__all__ = ["TOO_WIDE", "FilePart", "ParsedFile", "parsed_file"]

PART: Final = 4 * 2**20
"""Bytes parsed together; parts end where rows do."""
MOST_PARTS: Final = 32
"""Parts in the cache, of all files together: 128 MiB of text, and of numbers about as much."""
MOST_FILES: Final = 256
LONGEST: Final = 64 * 2**20
"""Bytes of the longest row; what is longer has a quote that is never closed."""
UNCLOSED: Final = "EOF inside string"
"""Pandas' message for a quote that is not closed."""
UNENDED: Final = "its last row has no line break, and is taken to be whole"
WITHIN: Final = "it ends within a row, which is taken for none"
TOO_WIDE: Final = -1
"""In the place of a column's number: which rows have more fields than the others."""


class FilePart(NamedTuple):
    """Whole rows of a file: from which byte to which, and how many of them count (``nrows`` may end within a part)."""

    start: int
    stop: int
    rows: int


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A file as it was at one time: which of its bytes are which of its rows, and their values.

    Attributes
    ----------
    path, stamp : str
        The stamp changes when the file does.
    grammar : Grammar
    location : Location
    width : int
        Fields that a row has; 0 as long as there are no rows.
    names : tuple of str
        Of all columns; none where the file has no header.
    parts : tuple of FilePart
    odd : str
        What is odd about the file, though it can be read.
    """

    path: str
    stamp: str
    grammar: Grammar
    # Not compared: these are keys of the caches, and path, stamp and grammar decide all the rest.
    location: Location = field(compare=False)
    width: int = field(default=0, compare=False)
    names: tuple[str, ...] = field(default=(), compare=False)
    parts: tuple[FilePart, ...] = field(default=(), compare=False)
    odd: str = field(default="", compare=False)

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(part.rows for part in self.parts)

    @property
    def columns(self) -> tuple[int, ...]:
        """Numbers of the columns that are read, in the order of the file."""
        return self.grammar.columns or tuple(range(self.width))

    def columns_named(self, names: Sequence[str]) -> tuple[int, ...]:
        """The columns of these names, if the file has a header that names them; else all, in their order.

        Raises
        ------
        DamagedRun
            When it names only some of them.
        """
        places = {self.names[number]: number for number in self.columns} if self.names else {}
        lacking = [name for name in names if name not in places]
        if len(lacking) == len(names):
            return self.columns
        if lacking:
            raise DamagedRun(f"{self.path} has no column {lacking[0]!r}; its header has {list(places)}")
        return tuple(places[name] for name in names)

    def values(self, part: FilePart, words: Sequence[int]) -> dict[int, Array]:
        """Columns of a part by number: those of `words` as they are in the file, others where pandas finds numbers.

        Raises
        ------
        DamagedRun
            Where pandas cannot make rows of it.
        """
        # An empty list in the cache is the place for the values. Two threads may both fill it, with the same values.
        kept = _kept(self, part, tuple(words))
        if not kept:
            with self.location.open() as file:
                file.seek(part.start)
                text = file.read(part.stop - part.start)
            frame, _ = self.grammar.parse(text, self.width, words, begins=not part.start, rows=part.rows)
            kept.append(_columns(frame, self.width))
        return kept[0]

    def too_narrow(self, part: FilePart) -> Array:
        """Which rows of a part have fewer fields than the others."""
        with self.location.open() as file:
            file.seek(part.start)
            text = file.read(part.stop - part.start)
        return np.array(self.grammar.too_narrow(text, self.width, begins=not part.start, rows=part.rows), bool)

    def looked_through(self) -> ParsedFile:
        """Parse all of it once, and find where its rows are."""
        found, text, start = self, b"", 0
        with self.location.open() as file:
            for more, last in _pieces(file, whole=self.grammar.in_one_piece):
                text += more
                unended = last and self.grammar.finished and not text.endswith(b"\n")
                if unended and self.grammar.in_one_piece:
                    found, text, unended = replace(found, odd=UNENDED), text + b"\n", False
                found, length = found._with_rows(text, start, text.rfind(b"\n") + 1)
                if found.rows == self.grammar.most:
                    break
                if len(text) - length > LONGEST:
                    raise AssetUnavailable(
                        f"{self.path} has a row of more than {LONGEST} bytes: is a quote never closed?"
                    )
                if found.parts:  # else the text grows: the first part includes all lines skipped at the beginning
                    text, start = text[length:], start + length
                if unended:
                    found = found._with_unended(text, start)
        return found

    def _with_rows(self, text: bytes, start: int, stop: int) -> tuple[ParsedFile, int]:
        """The file with a part more: all rows that end in some text; and where the last one does."""
        frame, width, length = self._whole_rows(text, start, self.grammar.without_footer(text[:stop]))
        if not len(frame):
            return self, length
        if max(self.grammar.columns, default=0) >= width:
            raise DamagedRun(f"{self.path}: Usecols {list(self.grammar.columns)} of rows that have {width} fields")
        part, columns = FilePart(start, start + length, len(frame)), _columns(frame, width)
        names = self.names if self.parts else self.grammar.names(text[:length])
        found = replace(self, width=width, names=names, parts=(*self.parts, part))
        _kept(found, part, ()).append(columns)
        if TOO_WIDE in columns:
            row = self.rows + int(np.argmax(columns[TOO_WIDE]))
            found = replace(found, odd=found.odd or f"row {row} has more than {width} fields")
        return found, length

    def _whole_rows(self, text: bytes, start: int, stop: int) -> tuple[Any, int, int]:
        most = None if self.grammar.most is None else self.grammar.most - self.rows
        while stop and most != 0:
            try:
                return *self.grammar.parse(text[:stop], self.width, begins=not start, rows=most), stop
            except DamagedRun as error:
                if UNCLOSED not in str(error):
                    after = f", after byte {start}" if start else ""
                    raise DamagedRun(f"{self.path}{after}: {error}") from error
                # A row that goes on: one that is being written, or the rest of it is in the next part.
                stop = text.rfind(b"\n", 0, text.rfind(self.grammar.option("quotechar").encode(), 0, stop)) + 1
        return (), self.width, 0

    def _with_unended(self, text: bytes, start: int) -> ParsedFile:
        """The file with a row more, if what follows the last line break has all fields of one."""
        ended = text + b"\n"
        found, length = self._with_rows(ended, start, len(ended))
        if found.rows == self.rows:  # a comment, or a quote that is not closed
            return self if length else replace(self, odd=self.odd or WITHIN)
        last = ended if start else ended[text.rfind(b"\n") + 1 :]
        fields = self.grammar.parse(last, begins=False)[1]
        return (
            replace(found, odd=self.odd or UNENDED) if fields >= found.width else replace(self, odd=self.odd or WITHIN)
        )


def _pieces(file: Any, *, whole: bool) -> Iterator[tuple[bytes, bool]]:
    """The text in pieces, or in one; and whether each is the last."""
    more = file.read(-1 if whole else PART)
    while more:
        piece, more = more, file.read(PART)
        yield piece, not more


@lru_cache(MOST_PARTS)
def _kept(file: ParsedFile, part: FilePart, words: tuple[int, ...]) -> list[dict[int, Array]]:
    """A place for the columns of a part: empty until it has been parsed, or when the cache has dropped it."""
    return []


def _columns(frame: Any, width: int) -> dict[int, Array]:
    """Numbers, and text as it is in the file; not columns of pandas' own text, which lack what it took for missing."""
    found = {
        name: column.to_numpy() for name, column in frame.items() if column.dtype.kind in "biuf" or column.dtype == "O"
    }
    beyond = [name for name in found if name >= width]
    if beyond:
        # Pandas fills rows up with empty fields, so that one of these is no field too many.
        found[TOO_WIDE] = np.any([found.pop(name) != "" for name in beyond], axis=0)
    return found


@lru_cache(MOST_FILES)
def _looked_through(file: ParsedFile) -> ParsedFile:
    return file.looked_through()


def parsed_file(location: Location, grammar: Grammar) -> ParsedFile:
    """A file as it is now; parsed once while it stays as it is.

    Raises
    ------
    DamagedRun
        Where pandas cannot make rows of it.
    AssetUnavailable
        When a row has no end.
    """
    location.check()  # also where a catalog that may read it has parsed it
    return _looked_through(ParsedFile(location.path, location.status()[0], grammar, location))
