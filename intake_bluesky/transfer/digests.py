"""Whether two stores give the same run: by a digest of its documents, and document by document where that differs."""

from __future__ import annotations

import enum
import hashlib
from array import array
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any, Final, TypeAlias

import numpy as np

from intake_bluesky.documents import exact_json
from intake_bluesky.documents.model import ODD_DOCUMENT, Document, to_plain
from intake_bluesky.documents.pages import datum_page, events_of, normalise

__all__ = ["Digest", "Relation", "compare", "json_form"]

Documents: TypeAlias = Iterable[tuple[str, Document]]
SHORT: Final = 8  # bytes of a hash that stand for a document, among those of one run


class Relation(enum.Enum):
    """What the documents of a run in one store, the first, are to those in another."""

    SAME = "same"
    BEGINNING = "beginning"
    """The second has the first of the documents, and no stop."""
    LONGER = "longer"
    """The second has all documents of the first, which has no stop, and more."""
    DIFFERENT = "different"


def json_form(name: str, doc: Document) -> bytes:
    """Text of a document: where it is the same for two, they are `identical` as JSON has them.

    It may differ for two that are identical, by the sign of a zero, and by an array beside a null: `compare` decides.
    """
    try:
        return exact_json.dumps([name, doc], line=True)
    except exact_json.REFUSALS:  # bytes, complex numbers, times of numpy
        return _exact_form(name, doc)


def _exact_form(name: str, doc: Document) -> bytes:
    """Text that is the same for two documents if, and only if, they are `identical`."""
    return repr((name, _comparable(to_plain(doc)))).encode(errors="surrogatepass")


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _comparable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_comparable(inner) for inner in value]
    if isinstance(value, float):
        return value + 0.0  # -0.0 is 0.0
    if isinstance(value, (np.ndarray, np.generic)):  # of times, of which repr leaves most out
        return str(value.dtype), value.shape, value.view("i8").tolist()
    return value


class Digest:
    """A digest of the documents of a run, one after the other.

    Parameters
    ----------
    ordered : bool
        Whether their order and the form of pages count; else events and datums count one by one, each once, in any
        order: 8 bytes of each are held.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._hash = hashlib.sha256() if ordered else None
        self._parts = array("Q")

    def add(self, name: str, doc: Document) -> bytes:
        """Take a document; give its text."""
        form = json_form(name, doc)
        if self._hash is not None:
            self._hash.update(form)
        else:
            self._parts.extend(_short(json_form(*part)) for part in _apart(name, doc))
        return form

    @property
    def value(self) -> bytes:
        """The digest of what was taken so far."""
        return self._hash.digest() if self._hash is not None else np.unique(np.array(self._parts)).tobytes()


def _short(form: bytes) -> int:
    return int.from_bytes(hashlib.sha256(form).digest()[:SHORT], "big")


def _apart(name: str, doc: Document) -> Iterator[tuple[str, Document]]:
    """Events and datums of pages one by one, all in one form; other documents as they are."""
    try:
        yield from [single for today in normalise(name, doc) for single in _singles(*today)]
    except ODD_DOCUMENT:
        yield name, doc


def _singles(name: str, doc: Document) -> Iterator[tuple[str, Document]]:
    if name == "event_page":
        yield from (("event", _sorted(event)) for event in events_of(doc))
    elif name == "datum_page":
        page = datum_page(name, doc)
        for row, datum_id in enumerate(page.datum_id):
            kwargs = {key: values[row] for key, values in page.datum_kwargs.items()}
            yield "datum", _sorted({"datum_id": datum_id, "resource": page.resource, "datum_kwargs": kwargs})
    else:
        yield name, _sorted(doc) if name in ("event", "datum") else doc


def _sorted(doc: Document) -> Document:
    own = {key: doc[key] for key in sorted(doc)}
    return {**own, "filled": own.get("filled") or {}} if "seq_num" in own else own


def compare(source: Documents, target: Documents, *, ordered: bool) -> Relation:
    """Compare documents themselves; of those that are ordered, none is held."""
    return _in_order(source, target) if ordered else _in_any_order(source, target)


def _in_order(source: Documents, target: Documents) -> Relation:
    stops = [False, False]
    for one, other in zip_longest(source, target):
        if one is None:
            return Relation.DIFFERENT if stops[0] else Relation.LONGER
        if other is None:
            return Relation.DIFFERENT if stops[1] else Relation.BEGINNING
        if _exact_form(*one) != _exact_form(*other):
            return Relation.DIFFERENT
        stops = [stopped or name == "stop" for stopped, (name, _) in zip(stops, (one, other), strict=True)]
    return Relation.SAME


def _in_any_order(source: Documents, target: Documents) -> Relation:
    one, other = _Parts(source), _Parts(target)
    if np.array_equal(one.parts, other.parts):
        return Relation.SAME
    if not other.stopped and np.isin(other.parts, one.parts).all():
        return Relation.BEGINNING
    if not one.stopped and np.isin(one.parts, other.parts).all():
        return Relation.LONGER
    return Relation.DIFFERENT


class _Parts:
    """The hashes of all documents of a run, and whether a stop is among them."""

    def __init__(self, documents: Documents) -> None:
        self.stopped = False
        found = array("Q")
        for name, doc in documents:
            self.stopped = self.stopped or name == "stop"
            found.extend(_short(_exact_form(*part)) for part in _apart(name, doc))
        self.parts = np.unique(np.array(found))
