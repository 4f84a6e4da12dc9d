"""How to read the text of a resource, from its parameters, in pandas' words; and parsing with pandas."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from io import BytesIO
from typing import Any, Final, Self

from intake_bluesky.errors import DamagedRun

__all__ = ["MISSING", "OF_PANDAS", "Grammar"]

MISSING: Final = (
    "", "NA", "N/A", "n/a", "<NA>", "#N/A", "nan", "NaN", "NAN", "-nan", "-NaN", "null", "NULL", "None"
)  # fmt: skip
"""Text in the place of a missing number; columns of text are taken as they are."""
OF_DOCUMENTS: Final = frozenset({"chunk_shape", "join_chunks", "join_method", "multiplier", "frame_per_point"})
"""Parameters that every stream resource may have."""
OF_PANDAS: Final = frozenset({
    "comment", "decimal", "delimiter", "dtype", "encoding", "header", "keep_default_na", "na_values", "names", "nrows",
    "quotechar", "sep", "skipfooter", "skipinitialspace", "skiprows", "thousands", "usecols",
})  # fmt: skip
"""Keywords of `pandas.read_csv` that describe text; none of them runs code or opens anything."""
SPACES: Final = r"\s+"
BOOLEANS: Final = frozenset({"True", "TRUE", "true", "False", "FALSE", "false"})
MOST_BEYOND: Final = 16
"""Fields that a row may have more than the others, so that it alone is wrong."""
TOO_MANY: Final = r"Expected (\d+) fields in line \d+, saw (\d+)"
"""Pandas' message for a row of more fields than the one before."""
NUMBER: Final = r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d{1,9})?|inf|infinity)"


@dataclass(frozen=True, slots=True)
class Grammar:
    """How text is to be read.

    Attributes
    ----------
    options, beginning : tuple of (str, value)
        Keywords of `pandas.read_csv` that hold for all of a file, and for its beginning.
    missing : tuple of str
        Text in the place of a missing number.
    columns : tuple of int
        Those that are read; ``()`` for all.
    most : int or None
        Of how many rows at most (``nrows``).
    footer : int
        Lines at the end that are no rows (``skipfooter``, which pandas' fast parser does not have).
    unsaid : bool
        Whether the first row may be a header: it is one if it has a word.
    finished : bool
        Whether the file grows no more: then a row at its end needs no line break.
    """

    options: tuple[tuple[str, Any], ...] = ()
    beginning: tuple[tuple[str, Any], ...] = ()
    missing: tuple[str, ...] = MISSING
    columns: tuple[int, ...] = ()
    most: int | None = None
    footer: int = 0
    unsaid: bool = False
    finished: bool = False

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """Read a stream resource's parameters.

        Raises
        ------
        ValueError
            When a parameter is none of those that are understood, or has a value that is not.
        """
        unknown = sorted(set(parameters) - OF_DOCUMENTS - OF_PANDAS)
        if unknown:
            raise ValueError(f"{', '.join(unknown)} not understood; parameters are {', '.join(sorted(OF_PANDAS))}")
        options = {
            "sep": _separator(parameters),
            "quotechar": _character(parameters, "quotechar", '"'),
            "comment": _character(parameters, "comment", None),
            "decimal": _character(parameters, "decimal", "."),
            "thousands": _character(parameters, "thousands", None),
            "encoding": _encoding(parameters.get("encoding")),
            "skipinitialspace": bool(parameters.get("skipinitialspace", False)),
        }
        beginning = {"header": _count(parameters, "header"), "skiprows": _skipped(parameters)}
        return cls(
            tuple(options.items()),
            tuple(beginning.items()),
            _missing(parameters),
            _numbers("usecols", parameters.get("usecols")),
            _count(parameters, "nrows"),
            _count(parameters, "skipfooter") or 0,
        )

    @property
    def in_one_piece(self) -> bool:
        """Whether lines are counted from the beginning of the file throughout, or from its end."""
        return bool(self.footer) or isinstance(dict(self.beginning).get("skiprows"), tuple)

    def option(self, name: str) -> str:
        """One of the characters; ``""`` where there is none."""
        return dict(self.options).get(name) or ""

    def without_footer(self, text: bytes) -> int:
        """How much of the text of a file is before the lines at its end that are no rows."""
        stop, left = len(text), self.footer
        # No stripped line begins with a line break: without a comment character no line is a comment.
        comment = (self.option("comment") or "\n").encode()
        while left and stop:
            begin = text.rfind(b"\n", 0, stop - 1) + 1
            line = text[begin:stop].strip()
            left -= bool(line) and not line.startswith(comment)
            stop = begin
        return stop

    @property
    def header(self) -> int | None:
        """The line that names the columns."""
        line: int | None = dict(self.beginning).get("header")
        return line

    def with_header(self) -> Self:
        """The same, where the first line names the columns, unless the parameters said another."""
        return self if self.header is not None else replace(self, beginning=(*self.beginning, ("header", 0)))

    def _settled(self, text: bytes) -> Self:
        """The same after a look at the beginning of a file: whether its first row names the columns."""
        said = replace(self, unsaid=False)
        if not self.unsaid:
            return said
        first, _ = said.parse(text, rows=1)
        words = len(first) and any(column.dtype.kind not in "biuf" for _, column in first.items())
        return said.with_header() if words else said

    def names(self, text: bytes) -> tuple[str, ...]:
        """The names of all columns, from the beginning of a file; none where it has no header."""
        said = self._settled(text)
        if said.header is None:
            return ()
        return tuple(map(str, said._read(text, 0, (), begins=True, rows=0).columns))

    def number(self, cell: Any) -> Decimal | float | bool | str:
        """What pandas would make of a cell alone: a number, without rounding it, True or False, or the text itself.

        Examples
        --------
        >>> [Grammar().number(cell) for cell in ("9007199254740993", "2e3", "NA", "true", "two")]
        [Decimal('9007199254740993'), Decimal('2E+3'), nan, True, 'two']
        """
        if not isinstance(cell, str) or cell in self.missing:
            return math.nan
        if cell in BOOLEANS:
            return cell.lower() == "true"
        plain = cell.replace(self.option("thousands") or "\n", "").replace(self.option("decimal") or ".", ".").strip()
        return Decimal(plain) if re.fullmatch(NUMBER, plain, re.ASCII | re.IGNORECASE) else cell

    def parse(
        self,
        text: bytes,
        width: int = 0,
        words: Sequence[int] = (),
        *,
        begins: bool = True,
        rows: int | None = None,
    ) -> tuple[Any, int]:
        """Parse whole rows, or so many of them, to a `pandas.DataFrame` whose columns have their numbers for names.

        Parameters
        ----------
        text : bytes
        width : int
            Fields that a row has; 0 where that is not known yet.
        words : sequence of int
            Columns taken as they are, whatever pandas would make of them.
        begins : bool
            Whether this is the beginning of the file.
        rows : int or None

        Returns
        -------
        frame : pandas.DataFrame
            Columns past the width hold what some rows have too much, and ``""`` in the others.
        width : int
            That of the first row, where none was given.

        Raises
        ------
        DamagedRun
            With pandas' own message.
        """
        from pandas.errors import EmptyDataError, ParserError

        if begins and self.unsaid:
            return self._settled(text).parse(text, width, words, rows=rows)
        wide = width
        while True:
            try:
                frame = self._read(text, wide, [*words, *range(width, wide)], begins=begins, rows=rows)
            except EmptyDataError:
                return (), width
            except ParserError as error:
                found = re.search(TOO_MANY, str(error))
                if found is None:
                    raise DamagedRun(str(error).strip()) from error
                width, wide = width or int(found[1]), int(found[2])
            except ValueError as error:
                raise DamagedRun(str(error).strip()) from error
            else:
                width = width or len(frame.columns)
                if isinstance(frame.index, _pandas().RangeIndex):
                    frame.columns = _pandas().RangeIndex(len(frame.columns))
                    return frame, width
                # Where the first row has more fields than there are names, pandas takes the first ones for an index.
                wide = max(wide, width) + frame.index.nlevels
            if wide > width + MOST_BEYOND:
                raise DamagedRun(f"a row has {wide} fields, where others have {width}")

    def too_narrow(self, text: bytes, width: int, *, begins: bool, rows: int) -> list[bool]:
        """Say which of so many rows have fewer fields than a width.

        Pandas takes what they lack for empty. So a field more is put at the end of every line, to see where it lands.
        """
        said = self._settled(text) if begins else self
        more = next(one for one in "!?~^" if one not in dict(self.options).values())
        separator = " " if self.option("sep") == SPACES else self.option("sep")
        comment = self.option("comment").encode()

        def longer(line: bytes) -> bytes:
            body, mark, note = line.partition(comment) if comment else (line, b"", b"")
            return body.rstrip(b"\r") + f"{separator}{more}".encode() + mark + note if body.strip() else line

        # In a quoted field of several lines nothing but its text changes.
        ends = b"\n".join(map(longer, text.split(b"\n")))
        frame, _ = said.parse(ends, width + 1, [width], begins=begins, rows=rows)
        return [not isinstance(field, str) or not field for field in frame[width].tolist()]

    def _read(self, text: bytes, width: int, words: Sequence[int], *, begins: bool, rows: int | None) -> Any:
        pd = _pandas()
        names = range(width)
        how: dict[str, Any] = dict(self.options) | (dict(self.beginning) if begins else {})
        how |= {"names": names or None, "nrows": rows}
        if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
            how["float_precision"] = "round_trip"  # since 3.1 the only one there is
        missing: Any = list(self.missing)
        if words:
            missing = {column: missing for column in names if column not in set(words)}
        return pd.read_csv(
            BytesIO(text),
            engine="c",
            low_memory=False,  # pandas would parse in pieces, and a column could have several types
            header=how.pop("header", None),
            dtype=dict.fromkeys(words, object),
            keep_default_na=False,
            na_values=missing,
            **how,
        )


def _pandas() -> Any:
    import pandas as pd

    return pd


def _character(parameters: Mapping[str, Any], name: str, default: str | None) -> str | None:
    value = parameters.get(name)
    if value is None or value == "":
        return default
    if not isinstance(value, str) or len(value.encode()) != 1:
        raise ValueError(f"{name}={value!r} is not one ASCII character")
    return value


def _separator(parameters: Mapping[str, Any]) -> str | None:
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


def _skipped(parameters: Mapping[str, Any]) -> int | tuple[int, ...] | None:
    """``skiprows``: how many lines at the beginning, or which lines."""
    value = parameters.get("skiprows")
    return _numbers("skiprows", value) if isinstance(value, (list, tuple)) else _count(parameters, "skiprows")


def _count(parameters: Mapping[str, Any], name: str) -> int | None:
    value = parameters.get(name)
    # Not isinstance: True is an int, and would count as one line.
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
