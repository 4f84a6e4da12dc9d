"""What was observed of in-line values: kinds, shapes and gaps, remembered over all pages of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from intake_bluesky.documents.columns.arrays import OBJECT, TEXT, Array, Column, Ragged
from intake_bluesky.integers import FLOAT_EXACT, INT64_END, UINT64_END


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known of one in-line key's values; ``a | b`` is what is known of both together.

    Attributes
    ----------
    kinds : frozenset of str
        numpy dtype strings (``"<i8"``, ``"|b1"``) and the marks ``text``, ``null`` (null, or key missing),
        ``big`` (integers past 64 bits), ``wide`` (past 2**53), ``negative``, ``empty`` (arrays without
        elements, or of nulls alone), ``other`` (dicts, bytes, mixtures, texts that UTF-8 has no form for).
    shape : tuple of int
        Shape of one event's value; the largest one where `ragged`.
    ragged : bool
        Whether events have different shapes.
    """

    kinds: frozenset[str] = frozenset()
    shape: tuple[int, ...] = ()
    ragged: bool = False

    def __or__(self, other: Observed) -> Observed:
        kinds = self.kinds | other.kinds
        if not self.valued or not other.valued:
            known = self if self.valued else other
            return Observed(kinds, known.shape, known.ragged)
        if len(self.shape) != len(other.shape):
            return Observed(kinds | {"other"}, (), ragged=False)
        shape = tuple(map(max, self.shape, other.shape))
        return Observed(kinds, shape, self.ragged or other.ragged or self.shape != other.shape)

    @property
    def valued(self) -> bool:
        """Whether any value was seen that is not null."""
        return bool(self.kinds - {"null"})

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of a column that holds all of it, nothing cast silently.

        Examples
        --------
        >>> Observed(frozenset({"<i8", "null"})).dtype
        dtype('float64')
        >>> Observed(frozenset({"|b1", "<i8"})).dtype
        dtype('O')
        """
        numeric = {np.dtype(k) for k in self.kinds if k[0] in "<>|="}
        gaps = "null" in self.kinds or self.ragged
        if "text" in self.kinds:
            return OBJECT if numeric or self.kinds & {"other", "big"} else TEXT
        if self.kinds & {"other", "big"}:
            return OBJECT
        if not numeric:
            return np.dtype(np.float64)  # nothing but nulls: all missing
        return _numeric(numeric, self.kinds, gaps=gaps)

    def to_list(self) -> list[Any]:
        """Plain lists, for storage; `from_list` takes them back."""
        return [sorted(self.kinds), list(self.shape), self.ragged]

    @classmethod
    def from_list(cls, saved: Sequence[Any]) -> Observed:
        """Rebuild what `to_list` gave."""
        return cls(frozenset(saved[0]), tuple(saved[1]), bool(saved[2]))


NULLS = Observed(frozenset({"null"}))


def _numeric(dtypes: set[np.dtype[Any]], marks: frozenset[str], *, gaps: bool) -> np.dtype[Any]:
    kinds = {d.kind for d in dtypes}
    if "b" in kinds:  # a boolean is no number, and has no missing value
        return OBJECT if kinds != {"b"} or gaps else np.dtype(bool)
    if kinds <= {"i", "u"} and not gaps:
        # numpy makes floats of int64 and uint64 together.
        if kinds == {"i", "u"} and np.result_type(*dtypes).kind == "f":
            return OBJECT if "negative" in marks else np.dtype(np.uint64)
        return np.result_type(*dtypes)
    if kinds & {"i", "u"}:
        # Gaps and fractions make floats of integers, which round wide ones.
        return OBJECT if "wide" in marks else np.result_type(np.float64, *dtypes)
    return np.result_type(*dtypes)


def observe(col: Column, *, nulls: bool = False) -> Observed:
    """Describe what a column made by `column` holds.

    Parameters
    ----------
    col : numpy.ndarray or Ragged
    nulls : bool
        Whether values were null or missing before the column was made.
    """
    ragged = isinstance(col, Ragged)
    kinds = _marks(col.values if isinstance(col, Ragged) else col, nulls=nulls)
    shape = col.largest if isinstance(col, Ragged) else tuple(col.shape[1:])
    # Arrays of nulls are values: they have a shape.
    return Observed(kinds | {"empty"} if shape and kinds == NULLS.kinds else kinds, shape, ragged=ragged)


def _marks(values: Array, *, nulls: bool) -> frozenset[str]:
    kinds = {"null"} if nulls else set()
    if values.dtype == TEXT or values.dtype.kind == "U":
        kinds.add("text")
    elif values.dtype == OBJECT:
        kinds |= _object_marks(values) if values.size else {"empty"}
    elif not values.size or values.dtype.kind in "fcb":
        kinds.add(values.dtype.str)
    else:
        kinds |= _integer_marks(int(values.min()), int(values.max())) | {values.dtype.str}
    return frozenset(kinds)


def _integer_marks(low: int, high: int) -> set[str]:
    marks = {"negative"} if low < 0 else set()
    return marks | ({"wide"} if high > FLOAT_EXACT or low < -FLOAT_EXACT else set())


def _object_marks(values: Array) -> set[str]:
    flat = values.ravel().tolist()
    types = set(map(type, flat))
    names = {bool: "|b1", float: "<f8", str: "text", type(None): "null"}
    marks = {names.get(t, "other") for t in types - {int}}
    if str in types and not encodable("".join(v for v in flat if type(v) is str)):
        marks.add("other")
    if int in types:
        ints = [v for v in flat if type(v) is int]
        low, high = min(ints), max(ints)
        signed = {"<i8"} if low < 0 or high < INT64_END else set()
        unsigned = {"<u8"} if high >= INT64_END else set()
        held = low >= -INT64_END and high < UINT64_END
        marks |= _integer_marks(low, high) | (signed | unsigned if held else {"big"})
    return marks


def encodable(text: str) -> bool:
    """Whether UTF-8 has a form for it, as for all but halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def add_observed(known: dict[str, Observed], seen: Mapping[str, Observed], *, first: bool) -> None:
    """Add what was observed of the next events, at least one; a key that only some events have is null in others.

    Parameters
    ----------
    known : dict of key to Observed
        Of the events before; changed.
    seen : mapping of key to Observed
    first : bool
        Whether there are no events before.
    """
    for key, one in seen.items():
        known[key] = known.get(key, Observed() if first else NULLS) | one
    for key in known.keys() - seen.keys():
        known[key] |= NULLS


def merge_observed(parts: Iterable[Observed]) -> Observed:
    """Merge what is known of each part."""
    return reduce(Observed.__or__, parts, Observed())
