"""The values at paths, in SQL: read out of the search form, and brought back to what documents hold.

Whole floats are ints in the search form. Of what is not at all in it (infinity, which stands for integers past 64 bits
too, and dicts, whose keys may be no texts) SQL gives no value, and the document has to be read.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from intake_bluesky.index.json_conditions import CHOICES, INDEX, SQL, Spot
from intake_bluesky.index.search_form import DEEPEST, decode_text, rank, unrank
from intake_bluesky.index.translator import Column, Translator
from intake_bluesky.query.paths import MISSING, Path, lookup

__all__ = ["Runs", "Standing", "standing", "value_at"]

WHOLE: Final = 9 * 10**18  # past it, a column for numbers may hold infinity in the place of an integer
FINITE: Final = rank(-math.inf) + 1, rank(math.inf) - 1
LONGEST: Final = DEEPEST // 2 - 3  # segments of a path that the search form has for certain
MOST: Final = 1000  # different numbers and lists of which documents are read; of more, the caller may as well read all


class Standing(NamedTuple):
    """The expressions for the value at a path: of its type, NULL where there is none, and what it is made of."""

    type: SQL
    value: SQL


def standing(search: Translator, path: Path, *, column: bool = True) -> Standing | None:
    """Give the expressions for the value at an exact path; None where the search form may not hold it.

    With `column`, a column that has the path is looked at before the search form.
    """
    columns, dialect = search.columns, search.dialect
    if path.descend or path.document not in columns.documents or len(path.segments) > LONGEST:
        return None
    if sum(INDEX.fullmatch(segment) is not None for segment in path.segments) > CHOICES:
        return None
    spots = dialect.SPOT.of(columns.documents[path.document]).at(path.segments)
    found = Standing(
        _first([spot.says("type") for spot in spots]), _first([_told(spot, dialect.COLUMN) for spot in spots])
    )
    kept = columns.special.get((path.document, path.segments)) if column else None
    if kept is None or kept.kind not in ("text", "number"):
        return found
    of_text = kept.kind == "text"
    known = kept.is_whole if of_text else f"{kept.name} BETWEEN {-WHOLE} AND {WHOLE}"
    kind = dialect.SPOT.TEXT if of_text else "number"
    return Standing(_if(known, f"'{kind}'", found.type), _if(known, dialect.COLUMN.format(kept.name), found.value))


def _told(spot: Spot, column: str) -> SQL:
    """The value; of an object, the rank of the number that it is, NULL where it is none."""
    (kind, of_kind), (ranked, of_rank), (value, of_value) = spot.says("type"), spot.says("rank"), spot.says("text")
    sql = f"CASE {kind} WHEN 'object' THEN {column.format(ranked)} ELSE {value} END"
    return sql, of_kind + of_rank + of_value


def _first(expressions: list[SQL]) -> SQL:
    """The first that is not NULL."""
    if len(expressions) == 1:
        return expressions[0]
    return f"coalesce({', '.join(sql for sql, _ in expressions)})", [value for _, some in expressions for value in some]


def _if(condition: str, then: str, other: SQL) -> SQL:
    return f"CASE WHEN {condition} THEN {then} ELSE {other[0]} END", other[1]


class Runs(ABC):
    """The runs of a store, whose values at paths SQL selects."""

    def __init__(self, search: Translator) -> None:
        self.search = search

    @abstractmethod
    def select(self, what: SQL, where: SQL) -> SQL:
        """Say how to select columns and expressions of the runs that are shown and meet a condition."""

    @abstractmethod
    def document(self, name: str, of: str) -> str:
        """The expression that gives a document of the run with this id, as it is stored."""

    def counting(self, path: Path, where: SQL) -> SQL | None:
        """Say how to find each value at a path, with its type, in how many runs it is, and a document that has it.

        None where the search form does not hold them; `counted` makes values of the rows.
        """
        at = standing(self.search, path, column=False)
        if at is None:
            return None
        column = self.search.columns.special.get((path.document, path.segments))
        if column is None or column.kind != "text":
            return self._grouped(at, path, where)
        rest, values = self._grouped(at, path, _and(column.is_not_whole, where))
        texts = self._texts(column, _and(column.is_whole, where))
        return f"{rest} UNION ALL {texts[0]}", values + texts[1]

    def _texts(self, column: Column, where: SQL) -> SQL:
        dialect = self.search.dialect
        what = f"'{dialect.SPOT.TEXT}' AS t, {dialect.COLUMN.format(column.name)} AS v, count(*) AS n, NULL AS document"
        sql, values = self.select((what, []), where)
        return f"{sql} GROUP BY {column.name}", values

    def _grouped(self, at: Standing, path: Path, where: SQL) -> SQL:
        """Documents are read where ints and floats have to be distinguished, unless too many would be."""
        told = ", ".join(f"'{kind}'" for kind in self._told)
        inner, values = self.select((f"id, {at.type[0]} AS t, {at.value[0]} AS v", at.type[1] + at.value[1]), where)
        # What the form does not hold is not known to be equal: each such run is a group of its own.
        odd = f"CASE WHEN {self.untold('t', 'v')} THEN id END"
        groups = (
            f"SELECT t, v, count(*) AS n, max(id) AS last FROM ({inner}) AS i WHERE t IS NOT NULL GROUP BY t, v, {odd}"
        )
        many = f"(SELECT count(*) FROM found WHERE t NOT IN ({told})) > {MOST}"
        read = f"CASE WHEN t IN ({told}) OR {many} THEN NULL ELSE {self.document(path.document, 'found.last')} END"
        return f"WITH found AS ({groups}) SELECT t, v, n, {read} AS document FROM found", values

    @property
    def _told(self) -> tuple[str, ...]:
        """The types whose values the search form holds whole."""
        spot = self.search.dialect.SPOT
        return spot.TEXT, *spot.BOOLEANS, "null"

    def untold(self, type: str, value: str) -> str:
        """The condition, on the names of a type and a value, that the document has to be read."""
        finite = f"coalesce(CAST({value} AS numeric) BETWEEN {FINITE[0]} AND {FINITE[1]}, FALSE)"
        # A brace in a list is a dict, a rank, or only part of a text: the document decides in any case.
        braced = f"{self.search.dialect.SPOT.FIND}({value}, '{{') > 0"
        return f"CASE {type} WHEN 'array' THEN {braced} WHEN 'object' THEN NOT {finite} ELSE FALSE END"

    def plain(self, type: str | None, value: Any) -> Any:
        """Give the value of what SQL selected, `MISSING` where there is none; whole floats are ints."""
        if type is None:
            return MISSING
        if type in ("true", "false", "null"):
            return {"true": True, "false": False}.get(type)
        if type == "object":
            return unrank(int(value))
        if type == self.search.dialect.SPOT.TEXT:
            return decode_text(value)
        return _decoded(json.loads(value) if isinstance(value, str) else value)

    def counted(self, rows: Iterable[Any], path: Path, decode: Callable[[Any], Any]) -> list[tuple[Any, int]] | None:
        """Make values and counts of the rows that `counting` finds; None where these are too many."""
        counts, told = [], self._told
        for kind, value, count, raw in rows:
            if raw is None and kind not in told:
                return None
            counts.append((self.plain(kind, value) if raw is None else value_at(decode(raw), path), count))
        return counts

    def looking(self, paths: Sequence[Path], where: SQL, *, time: str, order: str) -> SQL | None:
        """Say how to find uid, time, start and stop where they are to be read, and type and value at each path.

        Of no path, uid and time alone. `time` is the column for the time, by which and by uid `order` is, which is
        what follows ``ORDER BY``.
        """
        if not paths:
            sql, values = self.select((f"uid, {time}", []), where)
            return f"{sql} ORDER BY {order}", values
        found = [at for at in (standing(self.search, path) for path in paths) if at is not None]
        if len(found) < len(paths):
            return None
        names = [(f"t{place}", f"v{place}") for place in range(len(found))]
        odd = " OR ".join([self.untold(kind, value) for kind, value in names])
        columns = "".join(
            f", {at.type[0]} AS {kind}, {at.value[0]} AS {value}"
            for at, (kind, value) in zip(found, names, strict=True)
        )
        bound = [value for at in found for value in (*at.type[1], *at.value[1])]
        inner, values = self.select((f"id, uid, {time}{columns}", bound), where)
        read = ", ".join(f"CASE WHEN {odd} THEN {self.document(name, 'i.id')} END" for name in ("start", "stop"))
        told = "".join(f", {kind}, {value}" for kind, value in names)
        return f"SELECT uid, {time}, {read}{told} FROM ({inner}) AS i ORDER BY {order}", values

    def looked_up(
        self, row: Any, paths: Sequence[Path], decode: Callable[[Any], Any]
    ) -> tuple[str, float | None, tuple[Any, ...]]:
        """Make uid, time and values of a row that `looking` finds."""
        uid, time, start, stop, *told = row
        if start is None:
            return uid, time, tuple(map(self.plain, told[::2], told[1::2]))
        documents = {"start": decode(start), "stop": {} if stop is None else decode(stop)}
        return uid, time, tuple(value_at(documents[path.document], path) for path in paths)


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return decode_text(value) if isinstance(value, str) else value


def _and(condition: str, where: SQL) -> SQL:
    return f"{condition} AND {where[0]}", where[1]


def value_at(document: Any, path: Path) -> Any:
    """The value at an exact path of a document, `MISSING` where there is none."""
    return next(lookup(document, path), MISSING)
