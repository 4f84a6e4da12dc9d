"""From columns as pandas parsed them to the numbers and words that a data key declares; nothing is cast silently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from intake_bluesky.assets.text.grammar import Grammar
from intake_bluesky.assets.text.parsed_files import TOO_WIDE, FilePart, ParsedFile
from intake_bluesky.documents.columns import TEXT, Array
from intake_bluesky.errors import DamagedRun

__all__ = ["columns_of", "fill"]


def columns_of(out: Array) -> Iterator[Array]:
    """One-dimensional views, each of one column: fields of records, their elements, or the second axis."""
    if out.dtype.names:
        for name in out.dtype.names:
            yield from columns_of(out[name])
    elif out.ndim > 1:
        for number in range(out.shape[1]):
            yield from columns_of(out[:, number])
    else:
        yield out


def fill(  # noqa: PLR0917  # where from, and where to
    targets: Sequence[Array], file: ParsedFile, part: FilePart, rows: slice, columns: Sequence[int], first: int
) -> None:
    """Fill columns of the dtypes that are declared with some rows of a part of a file.

    `columns` are the numbers in the file of each target, `first` is that of the first row, for messages.

    Raises
    ------
    DamagedRun
        Naming the row, the column and the value that the dtype does not hold.
    """
    wanted = [_Column(file.path, *each, first) for each in zip(columns, targets, strict=True)]
    words = sorted(column.number for column in wanted if not column.is_number)
    found = file.values(part, words)
    wrong = found.get(TOO_WIDE, np.zeros(part.rows, bool))[rows]
    if wrong.any():
        raise DamagedRun(f"{file.path}: row {first + int(np.argmax(wrong))} has more than {file.width} fields")
    wrong = _too_narrow(file, part, found, rows)
    if wrong.any():
        raise DamagedRun(f"{file.path}: row {first + int(np.argmax(wrong))} has fewer than {file.width} fields")
    # Parsed again as text, and cell by cell: slow, and so only for columns whose numbers may have been rounded.
    doubtful = [c.number for c in wanted if c.is_number and not c.is_exact(found, rows)]
    text = file.values(part, sorted([*words, *doubtful])) if doubtful else found
    for column in wanted:
        if column.number in doubtful:
            column.fill_from_text(text[column.number][rows].tolist(), file.grammar)
        elif column.is_number:
            column.fill(found[column.number][rows])
        else:
            column.fill_words(found[column.number][rows])


def _too_narrow(file: ParsedFile, part: FilePart, found: dict[int, Array], rows: slice) -> Array:
    """Which rows have fewer fields than the others; looked for only where the last field of one may be missing."""
    values = found.get(file.width - 1)
    if values is not None and (values.dtype.kind in "biu" or (values.dtype.kind == "f" and not _nan(values[rows]))):
        return np.zeros(1, bool)
    if values is not None and all(isinstance(value, str) and value for value in values[rows].tolist()):
        return np.zeros(1, bool)
    return file.too_narrow(part)[rows]


def _nan(values: Array) -> bool:
    return bool(np.isnan(values).any())


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the file, and the array that it fills."""

    path: str
    number: int
    target: Array
    first: int

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.target.dtype
        return dtype

    @property
    def is_number(self) -> bool:
        return self.dtype.kind in "biuf"

    def is_exact(self, found: dict[int, Array], rows: slice) -> bool:
        """Whether the numbers that pandas parsed equal those in the file, as far as this dtype holds them.

        Pandas gives a column one type: a word anywhere makes it text, and a fraction or a gap anywhere turns integers
        into floats, which do not hold large ones, nor a fraction of 1e-17. What is past the largest float comes as
        infinite.
        """
        values = found.get(self.number)
        if values is None or values.dtype.kind not in "biuf":
            return False
        return values.dtype.kind != "f" or (self.dtype.kind == "f" and not np.isinf(values[rows]).any())

    def refuse(self, wrong: Array, values: Any) -> None:
        """Raise for the first value that is wrong."""
        if not wrong.any():
            return
        row = int(np.argmax(wrong))
        value = values[row]
        absent = isinstance(value, float) and value != value  # noqa: PLR0124  # NaN is what is missing
        said = "is missing, which" if absent else f"is {value!r}, which"
        raise DamagedRun(
            f"{self.path}: column {self.number} of row {self.first + row} {said} {self.dtype} does not hold"
        )

    def fill(self, values: Array) -> None:
        """Cast numbers to the dtype, which holds them."""
        if values.dtype.kind == "b":
            self.refuse(np.full(len(values), self.dtype.kind != "b"), values)
        with np.errstate(invalid="ignore", over="ignore"):
            cast = values.astype(self.dtype)
        if self.dtype.kind == "f":  # text is decimal: to round it is to read it
            self.refuse(np.isinf(cast) & ~np.isinf(values.astype(np.float64)), values)
        else:
            self.refuse(cast != values, values)
        self.target[...] = cast

    def fill_from_text(self, cells: list[str], grammar: Grammar) -> None:
        """Read each number on its own."""
        values = [grammar.number(cell) for cell in cells]
        shown = [cell if isinstance(value, Decimal) else value for cell, value in zip(cells, values, strict=True)]
        self.refuse(np.array([not self._holds(value) for value in values], bool), shown)
        if self.dtype.kind == "f":
            self.fill(np.array(list(map(float, values)), np.float64))
        else:
            self.target[...] = np.array(list(map(int, values)), self.dtype)

    def _holds(self, value: Any) -> bool:
        kind = self.dtype.kind
        if isinstance(value, str | bool):
            return kind == "b" and value in (True, False)
        if kind == "f":
            return not (isinstance(value, Decimal) and value.is_finite() and np.isinf(float(value)))
        least, most = (0, 1) if kind == "b" else (np.iinfo(self.dtype).min, np.iinfo(self.dtype).max)
        return bool(least <= value <= most and value == int(value))

    def fill_words(self, values: Array) -> None:
        """Take words as they are, in the dtype, which holds them."""
        self.refuse(np.array([not isinstance(value, str) for value in values.tolist()], bool), values)
        if self.dtype == TEXT:
            self.target[...] = values
            return
        try:
            whole = values.astype({"U": np.str_, "S": np.bytes_}.get(self.dtype.kind, self.dtype))
        except (ValueError, UnicodeEncodeError) as error:
            raise DamagedRun(f"{self.path}: column {self.number} is not of {self.dtype}: {error}") from error
        if whole.dtype.itemsize > self.dtype.itemsize:
            self.refuse(whole.astype(self.dtype) != whole, values)
        self.target[...] = whole
