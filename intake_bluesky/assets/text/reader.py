"""Rows of text files: ``text/csv;header=absent``, with a header, or with or without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from intake_bluesky.assets.location import Location
from intake_bluesky.assets.reader import AssetReader, FrameStructure, LocatedReader
from intake_bluesky.assets.region import WHOLE, Region
from intake_bluesky.assets.text.columns import columns_of, fill
from intake_bluesky.assets.text.grammar import Grammar
from intake_bluesky.assets.text.parsed_files import parsed_file
from intake_bluesky.documents.columns import TEXT, Array
from intake_bluesky.errors import AssetUnavailable, DamagedRun

__all__ = ["CSVReader", "HeadedCSVReader", "UnsaidCSVReader"]


@dataclass(frozen=True, slots=True)
class CSVReader(LocatedReader):
    r"""Reads rows of text: a row is a frame, of as many values as it has columns.

    Text has no dtype. So that is as the data key declares: of a structured dtype each field is a
    column, of another it is that of all columns. A value that it does not hold (a fraction among integers, a word
    among numbers, a word longer than ``<U8``) is an error that names row and column, and never cast. Floats that are
    missing are NaN.

    What follows the last line break is no row while the run goes on: it may be half of one. In a run that has ended it
    is one, if it has as many fields as the others. Lines that are empty or of a comment alone are none. A row of more
    or fewer fields than the first is an error where it is read, and only there.

    Attributes
    ----------
    grammar : Grammar
        How text is to be read.
    """

    grammar: Grammar = field(default_factory=Grammar)

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader from a stream resource's parameters.

        Raises
        ------
        ValueError
            When a parameter is none of those that are understood, or has a value that is not.
        """
        return cls(location, Grammar.of(parameters), **cls.of_events(parameters))

    def knowing(self, spec: Mapping[str, Any], *, finished: bool) -> AssetReader:
        """The reader of a file that grows no more, where the run has ended."""
        return replace(self, grammar=replace(self.grammar, finished=finished))

    def structure(self, first: int = 0) -> FrameStructure:
        """How many rows there are, and columns: the file is parsed."""
        version = self.location.status()[0]
        try:
            found = parsed_file(self.location, self.grammar)
        # An OSError, so that the rest of the stream opens: `assets.build` takes it for a header that cannot be read.
        except DamagedRun as error:
            raise AssetUnavailable(str(error)) from error
        shape = (len(found.columns),) if found.rows else ()
        return FrameStructure(found.rows, shape, TEXT, 1, version, parsed=True, odd=found.odd)

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Take rows out of what was parsed."""
        found = parsed_file(self.location, self.grammar)
        if stop > found.rows:
            raise AssetUnavailable(f"{self.path} has {found.rows} rows, row {stop - 1} was asked")
        if not out.size:
            return
        columns: Sequence[int] = found.columns_named(out.dtype.names) if out.dtype.names else found.columns
        if region and out.ndim > 1 and not out.dtype.names:
            columns = columns[region.slices[0]]
        targets = list(columns_of(out))
        if len(targets) != len(columns):
            raise DamagedRun(
                f"{self.path}: rows have {len(columns)} columns, where {len(targets)} were found or declared"
            )
        begin = 0
        for part in found.parts:
            low, high = max(start, begin), min(stop, begin + part.rows)
            if low < high:
                own = [target[low - start : high - start] for target in targets]
                fill(own, found, part, slice(low - begin, high - begin), columns, low)
            begin += part.rows


@dataclass(frozen=True, slots=True)
class HeadedCSVReader(CSVReader):
    """Reads rows that follow a header: fields of a structured dtype are the columns of their names."""

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader, whose first line names the columns, unless a parameter says which line does."""
        made = super(HeadedCSVReader, cls).of(location, parameters)
        return replace(made, grammar=made.grammar.with_header())


@dataclass(frozen=True, slots=True)
class UnsaidCSVReader(CSVReader):
    """Reads rows that may follow a header: the first row is one if it has a word, and none if it is of numbers."""

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader, which looks at the first row, unless a parameter says what it is."""
        made = super(UnsaidCSVReader, cls).of(location, parameters)
        return replace(made, grammar=replace(made.grammar, unsaid="header" not in parameters))
