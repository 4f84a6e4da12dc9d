"""Several collections asked in one round trip."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from pymongo.errors import OperationFailure

from intake_bluesky_mongo.connections import Stored

__all__ = ["Answer", "Section", "ask", "wrapped"]

Stages: TypeAlias = list[dict[str, Any]]

BATCH: Final = 100_000  # documents of one answer, which is of 16 MiB at most
NO_SUCH_STAGE: Final = 40324  # of servers before 4.4, which do not know $unionWith


@dataclass(frozen=True, slots=True)
class Section:
    """Part of a question: stages over a collection, each result marked as `wrapped` does it."""

    collection: str
    stages: Stages


@dataclass(frozen=True, slots=True)
class Answer:
    """What several sections gave, by their marks, each in the order of its collection.

    Attributes
    ----------
    found : dict of mark to list of dict
    digest : str
        Another one whenever anything found is other than it was.
    """

    found: dict[str, list[Stored]]
    digest: str


def wrapped(mark: str, value: Any = "$$ROOT") -> dict[str, Any]:
    """The stage that marks results, so that those of several sections are told apart."""
    return {"$project": {"_id": 0, "of": {"$literal": mark}, "doc": value}}


def ask(database: Database[Stored], sections: Sequence[Section]) -> Answer:
    """Ask all sections at once; one by one where the server cannot."""
    try:
        return _answer(_raw(database, _joined(sections)))
    except OperationFailure as error:
        if error.code != NO_SUCH_STAGE:
            raise
    return _answer(raw for section in sections for raw in _raw(database, section))


def _joined(sections: Sequence[Section]) -> Section:
    first, *others = sections
    unions: Stages = [{"$unionWith": {"coll": one.collection, "pipeline": one.stages}} for one in others]
    return Section(first.collection, first.stages + unions)


def _raw(database: Database[Stored], section: Section) -> Iterator[bytes]:
    codec = database.codec_options.with_options(document_class=RawBSONDocument)
    collection: Any = database.get_collection(section.collection, codec_options=codec)
    with collection.aggregate(section.stages, allowDiskUse=True, batchSize=BATCH) as cursor:
        for result in cursor:
            yield result.raw


def _answer(results: Iterator[bytes]) -> Answer:
    found: dict[str, list[Stored]] = {}
    digests = []
    for raw in results:
        result: Stored = bson.decode(raw)
        found.setdefault(result["of"], []).append(result["doc"])
        digests.append(hashlib.blake2b(raw, digest_size=16).digest())
    return Answer(found, hashlib.blake2b(b"".join(sorted(digests)), digest_size=16).hexdigest())
