"""Text files as pandas parsed them: once each, in parts of a few megabytes, of which a cache holds those used last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

from intake_bluesky.assets.location import Location
from intake_bluesky.assets.text.grammar import Grammar
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable, DamagedRun

__all__ = ["FilePart", "ParsedFile", "parsed_file"]

PART: Final = 4 * 2**20
"""Bytes parsed together; parts end where rows do."""
MOST_PARTS: Final = 32
"""Parts in the cache, of all files together: 128 MiB of text, and of numbers about as much."""
MOST_FILES: Final = 256
LONGEST: Final = 64 * 2**20
"""Bytes of the longest row; what is longer has a quote that is never closed."""
UNCLOSED: Final = "EOF inside string"
"""Pandas' message for a quote that is not closed."""


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
    columns : tuple of int
        Numbers of the columns that are read, in the order of the file.
    parts : tuple of FilePart
    """

    path: str
    stamp: str
    grammar: Grammar
    # Not compared: these are keys of the caches, and path, stamp and grammar decide all the rest.
    location: Location = field(compare=False)
    columns: tuple[int, ...] = field(default=(), compare=False)
    parts: tuple[FilePart, ...] = field(default=(), compare=False)

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(part.rows for part in self.parts)

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
            names, begins = self.columns, not part.start
            kept.append(_columns(self.grammar.parse(text, names, words, begins=begins, rows=part.rows)))
        return kept[0]

    def looked_through(self) -> ParsedFile:
        """Parse all of it once, and find where its rows are."""
        found, text, start, left = self, b"", 0, self.grammar.most
        with self.location.open() as file:
            while left != 0 and (more := file.read(-1 if self.grammar.in_one_piece else PART)):
                text += more
                frame, length = found._whole_rows(text, start, left)
                if len(text) - length > LONGEST:
                    raise AssetUnavailable(
                        f"{self.path} has a row of more than {LONGEST} bytes: is a quote never closed?"
                    )
                if len(frame):
                    part = FilePart(start, start + length, len(frame))
                    found = replace(found, columns=found.columns or tuple(frame.columns), parts=(*found.parts, part))
                    _kept(found, part, ()).append(_columns(frame))
                    left = None if left is None else left - len(frame)
                if found.parts:  # else the text grows: the first part includes all lines skipped at the beginning
                    text, start = text[length:], start + length
        return found

    def _whole_rows(self, text: bytes, start: int, most: int | None) -> tuple[Any, int]:
        """Parse all rows that end in some text; and where the last one does."""
        stop = self.grammar.without_footer(text[: text.rfind(b"\n") + 1])
        while stop:
            try:
                return self.grammar.parse(text[:stop], self.columns, begins=not start, rows=most), stop
            except DamagedRun as error:
                if UNCLOSED not in str(error):
                    after = f", after byte {start}" if start else ""
                    raise DamagedRun(f"{self.path}{after}: {error}") from error
                # A row that goes on: one that is being written, or the rest of it is in the next part.
                stop = text.rfind(b"\n", 0, text.rfind(self.grammar.option("quotechar").encode(), 0, stop)) + 1
        return (), 0


@lru_cache(MOST_PARTS)
def _kept(file: ParsedFile, part: FilePart, words: tuple[int, ...]) -> list[dict[int, Array]]:
    """A place for the columns of a part: empty until it has been parsed, or when the cache has dropped it."""
    return []


def _columns(frame: Any) -> dict[int, Array]:
    """Numbers, and text as it is in the file; not columns of pandas' own text, which lack what it took for missing."""
    return {
        name: column.to_numpy() for name, column in frame.items() if column.dtype.kind in "biuf" or column.dtype == "O"
    }


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
    return _looked_through(ParsedFile(location.path, location.status()[0], grammar, location))
