"""Queries as filters of MongoDB, exactly as `intake_bluesky.query.matches` has them.

A path of MongoDB looks into every list on its way. A path that descends means just that; of one that does not, a filter
says that there is no list on the way. What a filter cannot say exactly is left to be finished run by run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from intake_bluesky.integers import INT64_END, is_int64
from intake_bluesky.query import (
    AnyDescriptor,
    AnyItem,
    Compare,
    Contains,
    Everything,
    Exists,
    HasSize,
    In,
    IsNaN,
    PartialUID,
    Path,
    PathQuery,
    Query,
    Regex,
    leaves,
)
from intake_bluesky.query.nodes import And, Not, Or
from intake_bluesky.query.server_text import ServerText
from intake_bluesky.query.values import FrozenDict, Value
from intake_bluesky_mongo.regex import portable

Filter: TypeAlias = dict[str, Any]

NOTHING: Final[Filter] = {"$nor": [{}]}
NO_LIST: Final = {"$not": {"$type": "array"}}
OPERATORS: Final = {"==": "$eq", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
MANY: Final = 10_000  # values or uids in one filter, which is a document of at most 16 MiB itself
INDEX: Final = re.compile("[0-9]+", re.ASCII)
ITEM: Final = ("item",)
NO_KEY: Final = "__intake_bluesky"  # that no document has


@dataclass(frozen=True, slots=True)
class FieldPlaces:
    """Where the documents of a run lie in what is filtered."""

    prefixes: Mapping[str, str]  # of a path, by document: "" for the document itself, else a key and a dot
    # The key of a list of all descriptors; "" where there is none: see `MongoTranslator.filter`.
    descriptors: str = ""
    listed: bool = False  # whether each prefix is the key of a list, of one document


@dataclass(frozen=True, slots=True)
class MongoTranslator:
    """Queries as filters, of documents that lie so."""

    places: FieldPlaces

    def exact(self, leaf: Query) -> bool:
        """Whether `filter` and `matches` agree on every run."""
        match leaf:
            case Everything() | ServerText():
                return True
            case PartialUID(uids):
                return len(uids) <= MANY and all(uid.isprintable() and uid.isascii() for uid in uids)
            case AnyDescriptor(query):
                return all(isinstance(one, Everything) or _exact(one, ("descriptor",)) for one in leaves(query))
        if not isinstance(leaf, PathQuery) or leaf.path.document not in self.places.prefixes:
            return False
        if self.places.listed and INDEX.fullmatch(leaf.path.segments[0]):
            return False  # it would be an index of the list that holds the document
        if self.places.listed and _asks_for_null(leaf):
            return False  # of a list without documents nothing is missing
        return _exact(leaf, tuple(self.places.prefixes))

    def filter(self, query: Query, descriptors: list[Filter] | None = None) -> Filter:
        """Make the filter of a query in negation normal form whose leaves are all `exact`.

        Conditions on descriptors, where these are not at hand, are put into `descriptors`: the one at place 0 is that
        the list ``__any0``, of those that it is true of, is not empty.
        """
        return _Filters(self.places, [] if descriptors is None else descriptors).of(query)

    def lead(self, query: Query) -> Filter:
        """Give one simple condition that follows from a query, for servers that look no further for an index."""
        for part in query.children if isinstance(query, And) else (query,):
            simple = isinstance(part, Compare | In) and not _holds_lists(part) and None not in _values(part)
            if simple and isinstance(part, Compare | In):
                said = _said(part)
                path = self.places.prefixes[part.path.document] + ".".join(part.path.segments)
                return {path: said} if said else {}
        return {}


def _exact(leaf: Query, documents: tuple[str, ...]) -> bool:
    """Whether a filter expresses one condition at a path."""
    if not isinstance(leaf, PathQuery) or leaf.path.document not in documents or not _sayable(leaf.path):
        return False
    top = "start" in documents
    match leaf:
        case Compare(_, "==", value):
            return _value_exact(value, leaf.path, top=top)
        case Compare(_, _, value):
            return _scalar(value)
        case In(_, values):
            return len(values) <= MANY and all(_value_exact(value, leaf.path, top=False) for value in values)
        case Contains(_, value):
            return _scalar(value)
        case HasSize(_, size):
            return size < 2**31
        case Regex():
            pattern = portable(leaf)
            return pattern is not None and _encodable(pattern)
        case AnyItem():
            return _items_exact(leaf)
    return True


def _sayable(path: Path) -> bool:
    """Whether a path can be written with dots and means one way to go."""
    if not all(segment and _plain_key(segment) for segment in path.segments):
        return False
    inner = path.segments[1:] if path.document != "item" else path.segments
    return path.descend or not any(INDEX.fullmatch(segment) for segment in inner)


def _plain_key(key: str) -> bool:
    return not key.startswith("$") and "." not in key and "\0" not in key and _encodable(key)


def _encodable(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _scalar(value: Value) -> bool:
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, int):
        return is_int64(value)
    return isinstance(value, float) and (abs(value) < INT64_END or math.isinf(value))


def _value_exact(value: Value, path: Path, *, top: bool) -> bool:
    if isinstance(value, FrozenDict | tuple):
        return (top or path.descend) and _whole(value, ordered=path.descend)
    return _scalar(value)


def _whole(value: Value, *, ordered: bool) -> bool:
    """Whether a list or dict equals just those that MongoDB says; dicts of several keys are equal in any order here."""
    if isinstance(value, tuple):
        return all(_whole(item, ordered=ordered) for item in value)
    if isinstance(value, FrozenDict):
        return (ordered or len(value) < 2) and all(
            "\0" not in key and _encodable(key) and _whole(item, ordered=ordered) for key, item in value.items()
        )
    return _scalar(value)


def _items_exact(leaf: AnyItem) -> bool:
    """Whether ``$elemMatch`` says it: of items that are lists themselves servers differ in what a negation means."""
    inner = leaf.query
    if leaf.over_keys:
        return not _negates(inner) and all(
            isinstance(one, Everything) or (_exact(one, ITEM) and not _asks_for_null(one)) for one in leaves(inner)
        )
    return isinstance(inner, Compare | In | Regex) and _exact(inner, ITEM) and not _holds_lists(inner)


def _negates(query: Query) -> bool:
    if isinstance(query, And | Or):
        return any(map(_negates, query.children))
    return isinstance(query, Not)


def _asks_for_null(leaf: Query) -> bool:
    """Whether a missing key satisfies."""
    return isinstance(leaf, Compare | In) and leaf.path.descend and None in _values(leaf)


def _holds_lists(leaf: Query) -> bool:
    return isinstance(leaf, Compare | In) and any(isinstance(value, tuple | FrozenDict) for value in _values(leaf))


def _values(leaf: Compare | In) -> Sequence[Value]:
    return (leaf.value,) if isinstance(leaf, Compare) else leaf.values


@dataclass(frozen=True, slots=True)
class _Filters:
    places: FieldPlaces
    descriptors: list[Filter] = field(default_factory=list)

    def of(self, query: Query) -> Filter:
        match query:
            case Everything():
                return {}
            case Not(Everything()):
                return NOTHING
            case ServerText(condition):
                return {"$text": json.loads(condition)}  # which the server takes at the top only
            case And(children):
                return _all(map(self.of, children))
            case Or(children):
                return {"$or": [self.of(child) for child in children]}
            case Not(child):
                return {"$nor": [self.of(child)]}
            case PartialUID(uids):
                path = f"{self.places.prefixes['start']}uid"
                ranges = [{path: {"$gte": uid, "$lt": uid[:-1] + chr(ord(uid[-1]) + 1)}} for uid in uids]
                return {"$and": [ranges[0] if len(ranges) == 1 else {"$or": ranges}, {path: NO_LIST}]}
            case AnyDescriptor():
                return self._descriptor(query)
        assert isinstance(query, PathQuery)
        prefix = self.places.prefixes.get(query.path.document, "")
        return _whole_equality(query, prefix, listed=self.places.listed) or _condition(query, prefix)

    def _descriptor(self, query: AnyDescriptor) -> Filter:
        of_one = _Filters(FieldPlaces({"descriptor": ""}))
        wanted = _all([_of_stream(query.stream), of_one.of(query.query)])
        if self.places.descriptors:
            return {self.places.descriptors: {"$elemMatch": _of_document(wanted)}}
        if wanted not in self.descriptors:
            self.descriptors.append(wanted)
        return {f"__any{self.descriptors.index(wanted)}": {"$ne": []}}


def _of_stream(stream: str | None) -> Filter:
    """The condition that a descriptor is of a stream, as `intake_bluesky.query.descriptor_nodes.stream_of` has it."""
    if stream is None:
        return {}
    # Whatever is false in Python is no name, and means primary; so does an empty list, below.
    named = [stream, None, "", 0, False] if stream == "primary" else [stream]
    found = {"$and": [{"name": {"$in": named}}, {"name": NO_LIST}]}
    return {"$or": [found, {"name": {"$size": 0}}]} if stream == "primary" else found


def _all(filters: Iterable[Filter]) -> Filter:
    kept = [one for one in filters if one]
    return {"$and": kept} if len(kept) > 1 else kept[0] if kept else {}


def _whole_equality(leaf: PathQuery, prefix: str, *, listed: bool) -> Filter | None:
    """Where a list or a dict is to be equal: said of the value found, which a filter would look into."""
    if leaf.path.descend or not isinstance(leaf, Compare) or not isinstance(leaf.value, tuple | FrozenDict):
        return None
    dotted = ".".join(leaf.path.segments)
    value: Any = f"${prefix}{dotted}"
    if listed:
        first = {"$arrayElemAt": [f"${prefix.rstrip('.')}", 0]}
        value = {"$let": {"vars": {"one": first}, "in": f"$$one.{dotted}"}}
    equal = {"$expr": {"$eq": [value, {"$literal": _plain(leaf.value)}]}}
    found = {f"{prefix}{dotted}": {"$eq": _plain(leaf.value)}}  # which an index answers
    return _all([found, *_no_lists(prefix, leaf.path.segments[:-1]), equal])


def _no_lists(prefix: str, segments: Sequence[str]) -> Iterator[Filter]:
    for length in range(1, len(segments) + 1):
        yield {prefix + ".".join(segments[:length]): NO_LIST}


def _plain(value: Value) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, FrozenDict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _condition(leaf: PathQuery, prefix: str) -> Filter:
    """The condition at a path."""
    said = _said(leaf)
    path = prefix + ".".join(leaf.path.segments)
    if said is None:
        return NOTHING
    if leaf.path.descend:
        return {path: said}
    of_list = isinstance(leaf, Contains | HasSize | AnyItem | Exists)
    return _all([{path: said}, *_no_lists(prefix, leaf.path.segments[: -1 if of_list else None])])


def _said(leaf: PathQuery) -> Filter | None:
    """What is asked of the value; None where nothing satisfies it."""
    match leaf:
        case Compare(path, "==", value):
            # Type 10 is null; `$eq` of null is true of a missing key, too.
            return {"$type": 10} if value is None and not path.descend else {"$eq": _plain(value)}
        case Compare(_, op, value):
            return None if value is None else {OPERATORS[op]: value}
        case In(path, values) if None in values and not path.descend:
            return {"$in": list(values), "$exists": True}  # null, but not where the key is missing
        case In(_, values):
            return {"$in": [_plain(value) for value in values]}
        case Exists():
            return {"$exists": True}
        case IsNaN():
            return {"$eq": math.nan}
        case HasSize(_, size):
            return {"$size": size}
        case Contains(_, value):
            return {"$elemMatch": {"$eq": value}}
        case Regex():
            return {"$regex": portable(leaf)}
        case AnyItem():
            return {"$elemMatch": _item(leaf)}


def _item(leaf: AnyItem) -> Filter:
    if not leaf.over_keys:
        said = _said(leaf.query) if isinstance(leaf.query, PathQuery) else None
        return said or {"$in": []}
    return _of_document(_Filters(FieldPlaces({"item": ""})).of(leaf.query))


def _of_document(wanted: Filter) -> Filter:
    """A filter as ``$elemMatch`` takes it of documents: not every server sees that it is one by ``$and`` alone."""
    return wanted if wanted and not next(iter(wanted)).startswith("$") else {NO_KEY: {"$exists": False}, **wanted}
