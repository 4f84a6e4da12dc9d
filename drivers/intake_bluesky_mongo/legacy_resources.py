"""Resources of old writers, which do not name their run: found by the datums that events refer to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from bson import ObjectId
from pymongo.database import Database

from intake_bluesky.documents.model import DatumPage, Document, is_external, is_streamed
from intake_bluesky.documents.pages import datum_pages
from intake_bluesky.documents.untyped import data_keys_of
from intake_bluesky_mongo.bson_documents import from_bson
from intake_bluesky_mongo.connections import Stored

MANY: Final = 1000  # in one question


def external_keys(descriptor: Mapping[str, Any]) -> list[str]:
    """The keys of a descriptor whose values are datum ids."""
    specs = data_keys_of(descriptor).items()
    return [key for key, spec in specs if is_external(spec) and not is_streamed(spec) and not {".", "$"} & set(key)]


def old_resources(runs: Database[Stored], assets: Database[Stored], descriptors: Sequence[Document]) -> list[Document]:
    """Find the resources that the events of some descriptors refer to, in the order of their ``_id``."""
    found = found_by_datums(runs, assets, descriptors)
    return [{"uid": uid_of_resource(doc), **from_bson(doc)} for doc in found]


def uid_of_resource(doc: Stored) -> str:
    """The uid of a resource; its ``_id`` where it has none."""
    return str(doc.get("uid", doc["_id"]))


def found_by_datums(
    runs: Database[Stored], assets: Database[Stored], descriptors: Sequence[Mapping[str, Any]]
) -> list[Stored]:
    """As `old_resources`, each as it is stored."""
    ids = dict.fromkeys(datum for doc in descriptors for key in external_keys(doc) for datum in _datums(runs, doc, key))
    uids: dict[Any, None] = {}
    for some in chunks(ids):
        uids |= dict.fromkeys(assets["datum"].distinct("resource", {"datum_id": {"$in": some}}))
    found: list[Stored] = []
    for some in chunks(uids):
        known = [_id for uid in some for _id in names_of(uid) if isinstance(_id, ObjectId)]
        found += assets["resource"].find({"$or": [{"uid": {"$in": some}}, {"_id": {"$in": known}}]})
    found.sort(key=lambda doc: str(doc["_id"]))
    return found


def _datums(runs: Database[Stored], descriptor: Mapping[str, Any], key: str) -> Iterator[str]:
    stages: list[dict[str, Any]] = [{"$match": {"descriptor": descriptor["uid"]}}, {"$group": {"_id": f"$data.{key}"}}]
    for found in runs["event"].aggregate(stages):
        if isinstance(found["_id"], str):
            yield found["_id"]


def names_of(uid: Any) -> list[Any]:
    """What a resource may be called in a datum: its uid, or the ``_id`` that old writers referred by."""
    return [uid, ObjectId(uid)] if isinstance(uid, str) and ObjectId.is_valid(uid) else [uid]


def is_datum(doc: Mapping[str, Any]) -> bool:
    """Whether it can be read; one that cannot costs itself, and is not found by its id."""
    return "datum_id" in doc and "resource" in doc and isinstance(doc.get("datum_kwargs") or {}, Mapping)


def datums_in_pages(pages: Iterable[Stored], datum_ids: Sequence[str]) -> Iterator[DatumPage]:
    """The datums of some ids out of pages that hold others, too."""
    wanted = set(datum_ids)
    for page in stored_datum_pages(pages):
        rows = [row for row, datum_id in enumerate(page.datum_id) if datum_id in wanted]
        if rows:
            kwargs = {key: [column[row] for row in rows] for key, column in page.datum_kwargs.items()}
            yield DatumPage(page.resource, [page.datum_id[row] for row in rows], kwargs)


def stored_datum_pages(pages: Iterable[Stored]) -> Iterator[DatumPage]:
    """The pages of datums that can be read, as they are stored; some writers leave out ``datum_kwargs``."""
    for page in map(from_bson, pages):
        doc = {**page, "resource": str(page.get("resource")), "datum_kwargs": page.get("datum_kwargs") or {}}
        yield from datum_pages([("datum_page", doc)], doc["resource"])


def with_resources(
    find_datums: Callable[[Sequence[str]], Iterator[DatumPage]],
    find_resource: Callable[[str], Document | None],
    datum_ids: Sequence[str],
) -> Iterator[tuple[Document, DatumPage]]:
    """Datums by their ids, with their resources, where these are found."""
    resources: dict[str, Document | None] = {}
    for some in chunks(datum_ids):
        for page in find_datums(some):
            if page.resource not in resources:
                resources[page.resource] = find_resource(page.resource)
            found = resources[page.resource]
            if found is not None:
                yield found, page


def resources_in(datum_ids: Iterable[str]) -> list[str]:
    """The resources of datums that are called ``<resource>/<number>``, by which pages of datums are indexed."""
    return list(dict.fromkeys(datum_id.rpartition("/")[0] for datum_id in datum_ids))


def chunks(values: Iterable[Any], size: int = MANY) -> Iterator[list[Any]]:
    """Some values at a time, as many as one question takes."""
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some
