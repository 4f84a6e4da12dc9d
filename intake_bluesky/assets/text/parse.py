"""From rows of text to the numbers and words that a data key declares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np

from intake_bluesky.documents.columns import TEXT, Array
from intake_bluesky.errors import DamagedRun

__all__ = ["MISSING", "Grammar", "parse_rows"]

MISSING: Final = (
    "", "NA", "N/A", "n/a", "<NA>", "#N/A", "nan", "NaN", "NAN", "-nan", "-NaN", "null", "NULL", "None"
)  # fmt: skip
"""What stands for a number that is not there; text is taken as it is."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """How the text of a row is to be read, in pandas' words.

    Attributes
    ----------
    options : tuple of (str, value)
        Keywords of `pandas.read_csv`.
    missing : tuple of str
        Text that stands for a missing number.
    columns : tuple of int
        Those that are read; ``()`` for all.
    """

    options: tuple[tuple[str, Any], ...] = ()
    missing: tuple[str, ...] = MISSING
    columns: tuple[int, ...] = ()

    def fields(self, text: bytes) -> int:
        """How many fields the first row has."""
        return len(self._parsed(text, None, dtype=str, na_filter=False, nrows=1).columns)

    def parsed(self, text: bytes, fields: int, words: Sequence[int]) -> Any:
        """Rows as a `pandas.DataFrame`, the columns `words` as they stand."""
        numbers = [column for column in range(fields) if column not in set(words)]
        return self._parsed(
            text,
            range(fields),
            dtype=dict.fromkeys(words, object),
            keep_default_na=False,
            na_values={column: list(self.missing) for column in numbers} if words else list(self.missing),
            usecols=list(self.columns) or None,
        )

    def _parsed(self, text: bytes, names: Any, **how: Any) -> Any:
        import pandas as pd

        if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
            how["float_precision"] = "round_trip"  # since 3.1 the only one there is
        try:
            return pd.read_csv(
                BytesIO(text), header=None, names=names, index_col=False, low_memory=False, **dict(self.options), **how
            )
        except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
            raise DamagedRun(str(error).strip()) from error


def parse_rows(
    text: bytes, grammar: Grammar, out: Array, columns: Sequence[int], *, fields: int, first: int = 0
) -> None:
    r"""Parse rows, without ever casting a value to something else.

    Parameters
    ----------
    text : bytes
    grammar : Grammar
    out : numpy.ndarray, shape (rows,) or (rows, columns)
        Of structured dtype, each of whose fields is a column, or of another, which all columns have.
    columns : sequence of int
        Those that are wanted, in the order of `out`.
    fields : int
        Of a row.
    first : int
        Number of the first row, for messages.

    Raises
    ------
    DamagedRun
        Naming the row, the column and the value that the dtype does not hold.

    Examples
    --------
    >>> out = np.empty(2, [("n", "i4"), ("what", "U8")])
    >>> parse_rows(b"1,on\n2,off\n", Grammar(), out, (0, 1), fields=2)
    >>> out.tolist()
    [(1, 'on'), (2, 'off')]
    """
    targets = list(_columns(out))
    if len(targets) != len(columns):
        raise DamagedRun(f"rows have {len(columns)} columns, where {len(targets)} were found or declared")
    words = [c for c, target in zip(columns, targets, strict=True) if not _is_number(target.dtype)]
    if (found := grammar.fields(text)) > fields and not grammar.columns:
        raise DamagedRun(f"row {first} has {found} fields, the first row of the file {fields}")
    frame = grammar.parsed(text, fields, words)
    if len(frame) != len(out):
        raise DamagedRun(f"{len(frame)} rows are read where there are lines for {len(out)}: is a quote never closed?")
    for column, target in zip(columns, targets, strict=True):
        _fill(_Column(column, first, target.dtype), target, frame[column].to_numpy())


def _columns(out: Array) -> Iterator[Array]:
    """One-dimensional views, each of one column: fields of records, their elements, or the second axis."""
    if out.dtype.names:
        for name in out.dtype.names:
            yield from _columns(out[name])
    elif out.ndim > 1:
        for number in range(out.shape[1]):
            yield from _columns(out[:, number])
    else:
        yield out


def _is_number(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biuf"


@dataclass(frozen=True, slots=True)
class _Column:
    """A column, and what it is to be."""

    number: int
    first: int
    dtype: np.dtype[Any]

    def refuse(self, wrong: Array, values: Array) -> None:
        """Raise for the first value that is wrong."""
        if not wrong.any():
            return
        row = int(np.argmax(wrong))
        value = values[row]
        absent = isinstance(value, float) and value != value  # noqa: PLR0124  # NaN is what is missing
        said = "is missing, which" if absent else f"is {value!r}, which"
        raise DamagedRun(f"column {self.number} of row {self.first + row} {said} {self.dtype} does not hold")

    def numbers(self, values: Array) -> Array:
        """Numbers as pandas found them; words among them are refused."""
        kind = self.dtype.kind
        if values.dtype.kind == "b":
            self.refuse(np.full(len(values), kind != "b"), values)
        if values.dtype.kind in "biuf":
            return values
        self.refuse(np.array([not self._reads(value) for value in values.tolist()]), values)
        return values.astype(self.dtype)

    def _reads(self, value: Any) -> bool:
        """Whether a value of a column is a number, where some is none or more than pandas has a dtype for."""
        kind = self.dtype.kind
        if isinstance(value, bool):
            return kind == "b"
        if isinstance(value, int):
            return kind == "f" or (kind in "iu" and np.iinfo(self.dtype).min <= value <= np.iinfo(self.dtype).max)
        if isinstance(value, float):
            return kind == "f"
        try:
            return isinstance(float(value), float) and "_" not in value
        except ValueError:
            return False

    def cast(self, values: Array) -> Array:
        """Numbers in the dtype, which holds them."""
        with np.errstate(invalid="ignore", over="ignore"):
            cast = values.astype(self.dtype)
        if self.dtype.kind == "f":  # text is decimal: to round it is to read it
            self.refuse(np.isinf(cast) & ~np.isinf(values.astype(np.float64)), values)
            return cast
        held = cast == values
        if values.dtype.kind == "f":
            held &= np.abs(values) < 2.0**63  # beyond it casts give what they like
        self.refuse(~held, values)
        return cast

    def words(self, values: Array) -> Array:
        """Words as they stand, in the dtype, which holds them."""
        self.refuse(np.array([not isinstance(value, str) for value in values.tolist()], bool), values)
        if self.dtype == TEXT:
            return values
        try:
            whole = values.astype({"U": np.str_, "S": np.bytes_}.get(self.dtype.kind, self.dtype))
        except (ValueError, UnicodeEncodeError) as error:
            raise DamagedRun(f"column {self.number} is not of {self.dtype}: {error}") from error
        if whole.dtype.itemsize > self.dtype.itemsize:
            self.refuse(whole.astype(self.dtype) != whole, values)
        return whole


def _fill(column: _Column, target: Array, values: Array) -> None:
    target[...] = column.cast(column.numbers(values)) if _is_number(column.dtype) else column.words(values)
