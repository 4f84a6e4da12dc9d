"""Rows of text files without a header: ``text/csv;header=absent``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

from intake_bluesky.assets.location import Location
from intake_bluesky.assets.reader import FrameStructure, LocatedReader
from intake_bluesky.assets.region import WHOLE, Region
from intake_bluesky.assets.text.parse import MISSING, Grammar, parse_rows
from intake_bluesky.assets.text.row_index import Lines, RowIndex, row_index
from intake_bluesky.documents.columns import TEXT, Array
from intake_bluesky.errors import AssetUnavailable, DamagedRun

__all__ = ["CSVReader"]

OF_DOCUMENTS: Final = frozenset({"chunk_shape", "join_chunks", "join_method", "multiplier", "frame_per_point"})
"""Parameters that every stream resource may have."""
OF_PANDAS: Final = frozenset(
    {
        "comment",
        "decimal",
        "delimiter",
        "dtype",
        "encoding",
        "header",
        "keep_default_na",
        "na_values",
        "names",
        "nrows",
        "quotechar",
        "sep",
        "skipfooter",
        "skipinitialspace",
        "skiprows",
        "thousands",
        "usecols",
    }
)
"""Keywords of `pandas.read_csv` that say what text means; none of them runs code or opens anything."""
SPACES: Final = r"\s+"


@dataclass(frozen=True, slots=True)
class CSVReader(LocatedReader):
    r"""Reads rows of text: a row is a frame, of as many values as it has columns.

    Text does not say of what dtype it is. So that is as the data key declares: of a structured dtype each field is a
    column, of another it is that of all columns. A value that it does not hold (a fraction among integers, a word
    among numbers, a word longer than ``<U8``) is an error that names row and column, and never cast. Floats that are
    missing are NaN.

    What follows the last line break is no row: while a file is being written it may be half of one. Lines that are
    empty or of a comment alone are none either.

    Attributes
    ----------
    lines : Lines
        Which lines are rows.
    grammar : Grammar
        How they are read.
    first : int
        Rows at the beginning that are not meant: a header after all.
    most : int or None
        Of how many rows at most (``nrows``).
    footer : int
        Rows at the end that are not meant.
    """

    mimetypes: ClassVar[tuple[str, ...]] = ("text/csv;header=absent",)

    lines: Lines = field(default_factory=Lines)
    grammar: Grammar = field(default_factory=Grammar)
    first: int = 0
    most: int | None = None
    footer: int = 0

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader from a stream resource's parameters.

        Raises
        ------
        ValueError
            When a parameter is none of those that are understood, or has a value that is not.
        """
        unknown = sorted(set(parameters) - OF_DOCUMENTS - OF_PANDAS)
        if unknown:
            raise ValueError(f"{', '.join(unknown)} not understood; parameters are {', '.join(sorted(OF_PANDAS))}")
        separator = _separator(parameters)
        quote = _character(parameters, "quotechar", '"')
        comment = _character(parameters, "comment", "")
        options = {
            "sep": separator,
            "quotechar": quote,
            "comment": comment or None,
            "decimal": _character(parameters, "decimal", "."),
            "thousands": _character(parameters, "thousands", "") or None,
            "encoding": _encoding(parameters.get("encoding")),
            "skipinitialspace": bool(parameters.get("skipinitialspace", False)),
        }
        blank = "".join(character for character in " \t\r\n" if character != separator)
        skip, skipped = _skipped(parameters.get("skiprows"))
        header = _count("header", parameters.get("header"))
        return cls(
            location,
            Lines(comment, quote, blank, skip, skipped),
            Grammar(tuple(options.items()), _missing(parameters), _numbers("usecols", parameters.get("usecols"))),
            first=0 if header is None else header + 1,
            most=_count("nrows", parameters.get("nrows")),
            footer=_count("skipfooter", parameters.get("skipfooter")) or 0,
            **cls.of_events(parameters),
        )

    def structure(self, first: int = 0) -> FrameStructure:
        """How many rows there are, and columns; the file is gone through once for its line breaks."""
        version = self.location.status()[0]
        index = row_index(self.location, self.lines)
        columns = len(self._columns(index)) if index.rows else 0
        return FrameStructure(self._rows(index), (columns,) if index.rows else (), TEXT, 1, version, parsed=True)

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Read and parse the lines of these rows alone."""
        index = row_index(self.location, self.lines)
        if stop > self._rows(index):
            raise AssetUnavailable(f"{self.path} has {self._rows(index)} rows, row {stop - 1} was asked")
        if not out.size:
            return
        columns = self._columns(index)
        if region and out.ndim > 1 and not out.dtype.names:
            columns = columns[region.slices[0]]
        with self.location.open() as file:
            text = index.read(file, self.first + start, self.first + stop)
        try:
            parse_rows(text, self.grammar, out, columns, fields=self.grammar.fields(index.first), first=start)
        except DamagedRun as error:
            raise DamagedRun(f"{self.path}, rows {start} to {stop - 1}: {error}") from error

    def _rows(self, index: RowIndex) -> int:
        rows = max(0, index.rows - self.first - self.footer)
        return rows if self.most is None else min(rows, self.most)

    def _columns(self, index: RowIndex) -> Sequence[int]:
        """Numbers of the columns that are read, in the order of the file."""
        try:
            fields = self.grammar.fields(index.first)
        except DamagedRun as error:
            raise AssetUnavailable(f"the first row of {self.path} is not understood: {error}") from error
        columns = self.grammar.columns or tuple(range(fields))
        if columns[-1] >= fields:
            raise AssetUnavailable(f"{self.path} has {fields} columns, of which {columns} are asked")
        return columns


def _character(parameters: Mapping[str, Any], name: str, default: str) -> str:
    value = parameters.get(name)
    if value is None or value == "":
        return default
    if not isinstance(value, str) or len(value.encode()) != 1:
        raise ValueError(f"{name}={value!r} is not one ASCII character")
    return value


def _separator(parameters: Mapping[str, Any]) -> str:
    name = "sep" if parameters.get("sep") else "delimiter"
    return SPACES if parameters.get(name) == SPACES else _character(parameters, name, ",")


def _encoding(value: Any) -> str:
    """An encoding in which line breaks, separators and digits are those of ASCII, or ValueError."""
    name = "utf-8" if value is None else str(value)
    try:
        plain = "1,2\n".encode(name) in (b"1,2\n", b"\xef\xbb\xbf1,2\n")
    except (LookupError, UnicodeError):
        plain = False
    if not plain:
        raise ValueError(f"encoding={value!r} is not one that has ASCII in it")
    return name


def _skipped(value: Any) -> tuple[int, frozenset[int]]:
    """``skiprows``: how many lines at the beginning, or which lines."""
    if isinstance(value, (list, tuple)):
        return 0, frozenset(_numbers("skiprows", value))
    return _count("skiprows", value) or 0, frozenset()


def _count(name: str, value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 0):
        raise ValueError(f"{name}={value!r} is not a number from 0")
    return value


def _numbers(name: str, value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(type(n) is int and n >= 0 for n in value):
        raise ValueError(f"{name}={value!r} is not a list of numbers from 0")
    return tuple(sorted(set(value)))


def _missing(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    given = parameters.get("na_values")
    own = [] if given is None else given if isinstance(given, (list, tuple)) else [given]
    if not all(isinstance(value, (str, int, float)) for value in own):
        raise ValueError(f"na_values={given!r} is neither a value nor a list of values")
    usual = MISSING if parameters.get("keep_default_na", True) else ()
    return (*usual, *map(str, own))
