"""What stands at paths in the runs of an index, and how often, without reading documents that need not be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from intake_bluesky.codec import Codec
from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.files.indexed import IndexedFiles
from intake_bluesky.index import ORDERS, IndexLost
from intake_bluesky.query import Path
from intake_bluesky.query.paths import MISSING, lookup
from intake_bluesky.query.sql_json import SQL
from intake_bluesky.query.sql_values import Standing, plain, standing, untold
from intake_bluesky.schema import COLUMNS
from intake_bluesky.storage import Order

__all__ = ["count_values", "look_up"]

MOST: Final = 1000  # different numbers and lists of which documents are read; of more, the caller may as well read all


def _select(what: SQL, where: SQL) -> SQL:
    tables = "files LEFT JOIN searched ON searched.file = id" if "searched." in what[0] + where[0] else "files"
    return f"SELECT {what[0]} FROM {tables} WHERE listed AND {where[0]}", what[1] + where[1]  # noqa: S608  # names are ours


def _document(name: str, of: str) -> str:
    """The expression that gives a document of the file with this id."""
    return f"(SELECT {name} FROM documents AS d WHERE d.file = {of})"  # noqa: S608  # as above


def count_values(files: IndexedFiles, path: Path, where: SQL) -> Iterable[tuple[Any, int]] | None:
    """Give each value at a path, and how many of the runs that meet a condition have it; see `SupportsDistinct`.

    Of each different number or list a document is read, which tells ints from floats.
    """
    at = standing(COLUMNS, path, column=False)
    if at is None:
        return None
    column = COLUMNS.special.get((path.document, path.segments))
    if column is None or column.kind != "text":
        query, values = _counted(at, where, path)
    else:
        name = column.name
        texts: SQL = f"'text' AS t, {name} AS v, count(*) AS n, NULL AS document", []
        known = _select(texts, _and(f"{name} IS NOT NULL", where))
        rest = _counted(at, _and(f"{name} IS NULL", where), path)
        query, values = f"{known[0]} GROUP BY {name} UNION ALL {rest[0]}", known[1] + rest[1]
    files.watch()
    return files.ask(lambda index: _counts(index.rows(query, values), files.codec, path))


def _counts(rows: Iterable[Any], codec: Codec, path: Path) -> list[tuple[Any, int]] | None:
    counts, read = [], 0
    for kind, value, count, raw in rows:
        read += raw is not None
        if read > MOST:
            return None
        counts.append((plain(kind, value) if raw is None else _at(codec.decode(raw)[1], path), count))
    return counts


def _and(condition: str, where: SQL) -> SQL:
    return f"{condition} AND {where[0]}", where[1]


def _counted(at: Standing, where: SQL, path: Path) -> SQL:
    read = f"CASE WHEN t IN ('text', 'true', 'false', 'null') THEN NULL ELSE {_document(path.document, 'last')} END"
    odd = f"CASE WHEN {untold('t', 'v')} THEN id END"
    inner, values = _select((f"id, {at.type[0]} AS t, {at.value[0]} AS v", at.type[1] + at.value[1]), where)
    groups = f"SELECT t, v, count(*) AS n, max(id) AS last FROM ({inner}) WHERE t IS NOT NULL GROUP BY t, v, {odd}"  # noqa: S608
    return f"SELECT t, v, n, {read} AS document FROM ({groups})", values  # noqa: S608


def look_up(
    files: IndexedFiles, paths: Sequence[Path], where: SQL, order: Order
) -> Iterator[tuple[str, float | None, tuple[Any, ...]]] | None:
    """Yield uid, time and the values at paths of the runs that meet a condition; see `SupportsLookup`.

    The documents are read of those runs only of which the search form does not tell a value.
    """
    found = [at for at in (standing(COLUMNS, path) for path in paths) if at is not None]
    return _looked_up(files, paths, *_looking(found, where, order)) if len(found) == len(paths) else None


def _looking(found: Sequence[Standing], where: SQL, order: Order) -> SQL:
    names = [(f"t{place}", f"v{place}") for place in range(len(found))]
    odd = " OR ".join([untold(kind, value) for kind, value in names]) or "0"
    columns = "".join(
        f", {at.type[0]} AS {kind}, {at.value[0]} AS {value}" for at, (kind, value) in zip(found, names, strict=True)
    )
    bound = [value for at in found for value in (*at.type[1], *at.value[1])]
    inner, values = _select((f"id, uid, time{columns}", bound), where)
    read = ", ".join(f"CASE WHEN {odd} THEN {_document(name, 'id')} END" for name in ("start", "stop"))
    told = "".join(f", {kind}, {value}" for kind, value in names)
    return f"SELECT uid, time, {read}{told} FROM ({inner}) ORDER BY {ORDERS[order]}", values  # noqa: S608


def _looked_up(
    files: IndexedFiles, paths: Sequence[Path], query: str, values: Sequence[Any]
) -> Iterator[tuple[str, float | None, tuple[Any, ...]]]:
    files.watch()
    decode = files.codec.decode
    try:
        for uid, time, start, stop, *told in files.ask(lambda index: index.rows(query, values)):
            if start is None:
                yield uid, time, tuple(map(plain, told[::2], told[1::2]))
            else:
                documents = {"start": decode(start)[1], "stop": {} if stop is None else decode(stop)[1]}
                yield uid, time, tuple(_at(documents[path.document], path) for path in paths)
    except IndexLost as error:
        raise StoreUnavailable(f"{error}; it is made anew: search again") from error


def _at(document: Any, path: Path) -> Any:
    return next(lookup(document, path), MISSING)
