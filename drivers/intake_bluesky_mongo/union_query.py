"""Several collections asked in one round trip."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from pymongo.errors import OperationFailure

from intake_bluesky_mongo.connections import Stored

Stages: TypeAlias = list[dict[str, Any]]

BATCH: Final = 100_000  # documents of one answer, which is of 16 MiB at most
NO_SUCH_STAGE: Final = 40324  # of servers before 4.4, which do not know $unionWith


@dataclass(frozen=True, slots=True)
class Section:
    """Part of a question: stages over a collection, each result marked as `wrapped` does it."""

    collection: str
    stages: Stages


@dataclass(frozen=True, slots=True)
class Result:
    """One of the results of a question: its mark, what was found, and a digest of both."""

    mark: str
    doc: Stored
    digest: bytes


@dataclass(frozen=True, slots=True)
class UnionAnswer:
    """What several sections gave, by their marks, each in the order of its collection."""

    found: dict[str, list[Stored]]
    # Another one whenever anything found is other than it was; the same in whichever order it was found.
    digest: str

    @classmethod
    def of(cls, results: Iterable[Result]) -> UnionAnswer:
        """Sort results by their marks."""
        found: dict[str, list[Stored]] = {}
        digests = []
        for result in results:
            found.setdefault(result.mark, []).append(result.doc)
            digests.append(result.digest)
        return cls(found, hashlib.blake2b(b"".join(sorted(digests)), digest_size=16).hexdigest())


def wrapped(mark: str, value: Any = "$$ROOT") -> dict[str, Any]:
    """The stage that marks results, by which those of several sections are distinguished."""
    return {"$project": {"_id": 0, "of": {"$literal": mark}, "doc": value}}


def ask(database: Database[Stored], sections: Sequence[Section]) -> list[Result]:
    """Ask all sections at once; one by one where the server cannot."""
    try:
        return list(_results(database, _joined(sections)))
    except OperationFailure as error:
        if error.code != NO_SUCH_STAGE:
            raise
    return [result for section in sections for result in _results(database, section)]


def _joined(sections: Sequence[Section]) -> Section:
    first, *others = sections
    unions: Stages = [{"$unionWith": {"coll": one.collection, "pipeline": one.stages}} for one in others]
    return Section(first.collection, first.stages + unions)


def _results(database: Database[Stored], section: Section) -> Iterator[Result]:
    codec = database.codec_options.with_options(document_class=RawBSONDocument)
    collection: Any = database.get_collection(section.collection, codec_options=codec)
    with collection.aggregate(section.stages, allowDiskUse=True, batchSize=BATCH) as cursor:
        for found in cursor:
            result: Stored = bson.decode(found.raw)
            yield Result(result["of"], result["doc"], hashlib.blake2b(found.raw, digest_size=16).digest())


def by_run(results: Iterable[Result], runs_of: Callable[[str, Stored], Iterable[str]]) -> dict[str, list[Result]]:
    """Part the results of a question about several runs: `runs_of` gives the runs of a mark and a document."""
    found: dict[str, list[Result]] = {}
    for result in results:
        for uid in runs_of(result.mark, result.doc):
            found.setdefault(uid, []).append(result)
    return found
