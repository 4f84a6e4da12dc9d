"""What a writer takes of a document: its rows, each with what it is found by again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from intake_bluesky.documents.model import Document, identical
from intake_bluesky.documents.pages import check_columns, events_of, normalise
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky_mongo.bson_documents import from_bson

TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "descriptor": ("uid", "run_start"), "event": ("uid", "descriptor"), "resource": ("uid",),
    "datum": ("datum_id", "resource"), "stream_resource": ("uid",),
    "stream_datum": ("uid", "stream_resource", "descriptor"), "stop": ("uid", "run_start"),
}  # fmt: skip
"""The fields of a document that have to be texts, by its name."""
DICTS: Final[Mapping[str, tuple[str, ...]]] = {"event": ("data",), "datum": ("datum_kwargs",)}
MAYBE: Final = ("timestamps", "filled")
PAGES: Final = frozenset({"event_page", "datum_page"})
OLD: Final = frozenset({"bulk_events", "bulk_datum"})


def uid_of(start: Document) -> str:
    """The uid of a run to be written.

    Raises
    ------
    UnsupportedOperation
        Where it is no text: a run is found by that.
    """
    uid = start.get("uid")
    if not isinstance(uid, str) or not uid:
        raise UnsupportedOperation(f"a run's uid is a text, not {uid!r:.80}: nothing was written")
    return uid


def rows_of(run: str, name: str, doc: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what a document is today, an event or a datum at a time.

    Raises
    ------
    UnsupportedOperation
        Where it is of no kind that is found again, or of another run; its rows up to there have been given.
    """
    if name not in TEXTS.keys() | PAGES | OLD:
        raise UnsupportedOperation(f"a run has no {name!r} documents after its start, but {', '.join(sorted(TEXTS))}")
    try:
        for today, new in normalise(name, doc):
            for row in _apart(today, new):
                kind = today.removesuffix("_page")
                _check(run, kind, row)
                yield kind, row
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, UnsupportedOperation):
            raise
        raise UnsupportedOperation(
            f"this {name} document cannot be read ({type(error).__name__}: {str(error)[:200]}): it was not written"
        ) from error


def _apart(name: str, doc: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if name == "event_page":
        rows, parts = len(doc["uid"]), (doc.get(part) or {} for part in ("data", *MAYBE))
        for columns in ({key: doc[key] for key in ("uid", "seq_num", "time")}, *parts):
            check_columns(columns, rows)
        yield from events_of(doc)
    elif name == "datum_page":
        for columns in ({"datum_id": doc["datum_id"]}, doc["datum_kwargs"]):
            check_columns(columns, len(doc["datum_id"]))
        for row, datum_id in enumerate(doc["datum_id"]):
            kwargs = {key: values[row] for key, values in doc["datum_kwargs"].items()}
            yield {"resource": doc["resource"], "datum_id": datum_id, "datum_kwargs": kwargs}
    else:
        yield doc


def _check(run: str, name: str, doc: Mapping[str, Any]) -> None:
    odd = [key for key in TEXTS[name] if not isinstance(doc.get(key), str)]
    odd += [key for key in DICTS.get(name, ()) if not isinstance(doc.get(key), Mapping)]
    odd += [key for key in MAYBE if name == "event" and not isinstance(doc.get(key) or {}, Mapping)]
    if odd:
        told = ", ".join(f"{key} {doc.get(key)!r:.80}" for key in odd)
        raise UnsupportedOperation(f"this {name} document would not be found again, with {told}: it was not written")
    if doc.get("run_start", run) != run:
        raise UnsupportedOperation(f"this {name} document is of run {doc['run_start']!r:.80}, and not of run {run}")


def ordered(doc: Mapping[str, Any]) -> Document:
    """A document as it is whether it came alone or in a page: in the order of its keys, without what is empty."""
    return {
        key: dict(sorted(value.items(), key=_key)) if isinstance(value, Mapping) else value
        for key, value in sorted(doc.items(), key=_key)
        if not (isinstance(value, Mapping) and not value)
    }


def _key(item: tuple[Any, Any]) -> str:
    return str(item[0])


def same(stored: Mapping[str, Any], doc: Mapping[str, Any]) -> bool:
    """Whether a document in the database, by whatever ``_id``, is one that was delivered."""
    return identical(ordered(from_bson(stored)), ordered(from_bson(doc)))
