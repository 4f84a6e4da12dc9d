"""Checks over the documents of one run, each looked at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from event_model import DocumentNames, schema_validators

from intake_bluesky.apps.validate.findings import Finding, Tally, finding
from intake_bluesky.apps.validate.values import wrong_dtype, wrong_shape
from intake_bluesky.assets.build import listed_datum_ids
from intake_bluesky.datasets.rows import count, joined
from intake_bluesky.datasets.variables import MEANINGS, in_turn
from intake_bluesky.documents.header import contradict
from intake_bluesky.documents.model import Document, is_external, is_streamed, stream_name, to_plain
from intake_bluesky.documents.pages import normalise
from intake_bluesky.documents.untyped import event_counts, span_of, uid_of, well_formed

__all__ = ["DocumentChecks"]


@dataclass(slots=True)
class _RecordedStream:
    """The seq_nums recorded in one stream: those of events, and ranges of those of stream datums."""

    seq_nums: set[int] = field(default_factory=set)
    frames: list[tuple[int, int]] = field(default_factory=list)

    def recorded(self) -> list[tuple[int, int]]:
        """All of them from 1 on, in ranges with gaps between. A stream datum may claim more than can be listed."""
        singles = [(number, number + 1) for number in self.seq_nums if number >= 1]
        return joined([*singles, *((max(begin, 1), end) for begin, end in self.frames)])


class DocumentChecks:
    """Takes in the documents of one run, one at a time, and gives the findings at the end.

    Parameters
    ----------
    uid : str
        Of the run.
    schema : bool
        Whether to hold every document to event-model's schema, which takes most of the time.

    Attributes
    ----------
    datum_ids : dict of (stream, key) to list
        What the events hold under external keys: a datum_id, a list of several, or "" where it is a value.
    datums : dict of datum_id to (resource, datum_kwargs)
        Those of the run, and those of other runs that were looked up.
    elsewhere : set of str
        Resources that are in other runs.

    Examples
    --------
    >>> checks = DocumentChecks("9acjef12")
    >>> checks.add("start", {"uid": "9acjef12", "time": 1.0})
    >>> [found.code for found in checks.findings()]
    ['no-stop']
    """

    def __init__(self, uid: str, *, schema: bool = True) -> None:
        self.uid = uid
        self.schema = schema
        self.datum_ids: dict[tuple[str, str], list[str | list[str]]] = {}
        self.elsewhere: set[str] = set()
        self.datums: dict[str, tuple[str, dict[str, Any]]] = {}
        self._tally = Tally()
        self._stop: Document | None = None
        self._descriptors: dict[str, Document] = {}
        self._resources: dict[str, tuple[str, str | None]] = {}  # kind, and data key if it is streamed
        self._specs: dict[str, dict[str, Document]] = {}  # of each descriptor, by key
        self._used: set[str] = set()
        self._streams: dict[str, _RecordedStream] = {}
        self._defined: dict[tuple[str, str], Document] = {}  # by name and uid, as they came first
        self._early: list[tuple[str, Document]] = []  # that came before the descriptor or resource they name

    def add(self, name: str, doc: Document) -> None:
        """Look at one document."""
        self._guarded(name, doc, self._look_at_each)

    def _look_at_each(self, name: str, doc: Document) -> None:
        for today, whole in normalise(name, doc):
            if self.schema:
                self._check_schema(today, whole)
            self._check_run(today, whole)
            self._look(today, whole)

    def _guarded(self, name: str, doc: Document, look: Callable[[str, Document], None]) -> None:
        try:
            look(name, doc)
        # Documents are what some program wrote: a field may lack, or be of any type, and the checks go on after it.
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            message = f"{name} {_identity(doc)} cannot be read: {type(error).__name__}: {error}"
            self._tally.add(self.uid, "unreadable", message)

    def _check_schema(self, name: str, doc: Document) -> None:
        if name not in DocumentNames.__members__:
            self._tally.add(f"{self.uid}/{name}", "schema", f"there is no document called {name!r} in event-model")
            return
        # Three of them: a document that is all wrong would give hundreds of lines.
        errors = list(islice(schema_validators[DocumentNames[name]].iter_errors(to_plain(doc)), 3))
        if errors:
            message = "; ".join(map(_violation, errors))
            self._tally.add(f"{self.uid}/{name}", "schema", f"{name} {_identity(doc)}: {message}")

    def _check_run(self, name: str, doc: Document) -> None:
        # Not of resources: several runs may refer to one.
        named = doc.get("run_start", self.uid) if name in ("descriptor", "stop") else self.uid
        if named != self.uid:
            self._tally.add(self.uid, "other-run", f"{name} {_identity(doc)} names run {named!r}")

    def _look(self, name: str, doc: Document) -> None:
        match name:
            case "stop":
                self._stop = doc
            case "descriptor":
                self._streams.setdefault(stream_name(doc), _RecordedStream())
                if not self._defines("descriptor", uid_of(doc), doc):
                    return
                descriptor, wrong = well_formed(doc)
                self._descriptors[uid_of(doc)] = descriptor
                self._specs[uid_of(doc)] = dict(_specs_of(descriptor))
                for why in wrong.values():
                    self._tally.add(f"{self.uid}/{stream_name(doc)}", "unreadable", f"descriptor {doc['uid']}: {why}")
            case "resource" | "stream_resource":
                self._defines(name, uid_of(doc), doc)
                self._resources[uid_of(doc)] = name, doc.get("data_key")
            case "datum":
                self._datum(doc["resource"], [doc["datum_id"]], [doc["datum_kwargs"]])
            case "datum_page":
                kwargs = doc["datum_kwargs"]
                rows = [{key: column[row] for key, column in kwargs.items()} for row in range(len(doc["datum_id"]))]
                self._datum(doc["resource"], doc["datum_id"], rows)
            case "stream_datum" | "event" | "event_page" if doc["descriptor"] not in self._descriptors:
                self._early.append((name, doc))
            case "stream_datum" if doc["stream_resource"] not in self._resources:
                self._early.append((name, doc))
            case "stream_datum" | "event" | "event_page":
                self._of_stream(name, doc)

    def _defines(self, name: str, uid: str, doc: Document) -> bool:
        """Whether no document of this name had this uid before; a finding where that one was another."""
        before = self._defined.setdefault((name, uid), doc)
        if before is not doc and contradict(before, doc):
            self._contradiction(name, uid)
        return before is doc

    def _contradiction(self, name: str, uid: str) -> None:
        message = f"{name.replace('_', ' ')} {uid} is defined several times, and not as the same"
        self._tally.add(self.uid, "contradiction", message)

    def _of_stream(self, name: str, doc: Document) -> None:
        match name:
            case "stream_datum":
                self._stream_datum(doc)
            case "event":
                data = {key: [value] for key, value in doc["data"].items()}
                self._events(doc["descriptor"], [doc["seq_num"]], data)
            case "event_page":
                self._events(doc["descriptor"], doc["seq_num"], doc["data"])

    def _datum(self, resource: str, ids: Iterable[str], kwargs: Iterable[Mapping[str, Any]]) -> None:
        self._used.add(resource)
        for datum_id, own in zip(ids, kwargs, strict=True):
            datum = resource, dict(own)
            before = self.datums.setdefault(datum_id, datum)
            if before is not datum and contradict({"datum": before}, {"datum": datum}):
                self._contradiction("datum", datum_id)
            self.datums[datum_id] = datum

    def _stream_datum(self, doc: Document) -> None:
        resource, descriptor = doc["stream_resource"], doc["descriptor"]
        self._used |= {resource, descriptor}
        if resource not in self._resources:
            message = f"stream datum {doc['uid']} belongs to {resource!r}, which the run does not have"
            self._tally.add(self.uid, "unknown-resource", message)
        stream = self._stream_of(descriptor, f"stream datum {doc['uid']}")
        if stream is None:
            return
        key = self._resources.get(resource, ("", None))[1]
        where = f"{self.uid}/{stream_name(self._descriptors[descriptor])}"
        if resource not in self._resources:
            return
        if not key:
            message = f"stream resource {resource} has no data key: its frames are of no variable"
            self._tally.add(where, "no-data-key", message)
        elif key not in self._descriptors[descriptor]["data_keys"]:
            message = f"stream resource {resource} is of this key, which the descriptor does not declare"
            self._tally.add(f"{where}/{key}", "unexpected-key", message)
        else:
            first, last, _, _ = span_of(doc)
            stream.frames.append((first, last))

    def _stream_of(self, descriptor: str, what: str) -> _RecordedStream | None:
        if descriptor in self._descriptors:
            return self._streams[stream_name(self._descriptors[descriptor])]
        message = f"{what} belongs to descriptor {descriptor!r}, which the run does not have"
        self._tally.add(self.uid, "unknown-descriptor", message)
        return None

    def _events(self, descriptor: str, seq_nums: list[int], data: Mapping[str, list[Any]]) -> None:
        if not len(seq_nums):
            return
        self._used.add(descriptor)
        stream = self._stream_of(descriptor, f"event {seq_nums[0]}")
        if stream is None:
            return
        odd = next((number for number in seq_nums if not isinstance(number, (int, np.integer))), None)
        if odd is not None:
            raise TypeError(f"a seq_num is {odd!r}, not an integer")
        stream.seq_nums.update(map(int, seq_nums))
        doc = self._descriptors[descriptor]
        where = f"{self.uid}/{stream_name(doc)}"
        self._check_keys(where, doc["data_keys"], data, seq_nums)
        for key, values in data.items():
            spec = doc["data_keys"].get(key, {})
            if is_external(spec):
                # Values that were filled in before they were stored are no datum_ids.
                self.datum_ids.setdefault((stream_name(doc), key), []).extend(map(_datum_id, values))
                continue
            for code, wrong in (("dtype", wrong_dtype(spec, values)), ("shape", wrong_shape(spec, values))):
                for place, message in wrong.items():
                    self._tally.add(f"{where}/{key}", code, f"event {seq_nums[place]} {message}")

    def _check_keys(
        self, where: str, declared: Mapping[str, Document], data: Mapping[str, Any], seq_nums: list[int]
    ) -> None:
        for key in (key for key in data if key not in declared):
            message = f"event {seq_nums[0]} has this key, which its descriptor does not declare"
            self._tally.add(f"{where}/{key}", "unexpected-key", message, times=len(seq_nums))
        for key, spec in declared.items():
            if key not in data and not is_streamed(spec):
                message = f"event {seq_nums[0]} lacks this key, which its descriptor declares"
                self._tally.add(f"{where}/{key}", "missing-key", message, times=len(seq_nums))

    def findings(self) -> Iterator[Finding]:
        """The findings; call it when all documents were added."""
        # Some writers store a descriptor or a resource after what belongs to it: what is not known by now is of none.
        early, self._early = self._early, []
        for name, doc in early:
            self._guarded(name, doc, self._of_stream)
        yield from self._tally
        yield from self._unused()
        for resource in dict.fromkeys(resource for resource, _ in self.datums.values()):
            if resource not in self._resources and resource not in self.elsewhere:
                message = f"datums belong to resource {resource!r}, which the run does not have"
                yield finding(self.uid, "unknown-resource", message)
        for (stream, key), events in self.datum_ids.items():
            ids = [datum_id for event in events for datum_id in (event if isinstance(event, list) else [event])]
            unknown = [datum_id for datum_id in ids if datum_id and datum_id not in self.datums]
            if unknown:
                message = f"{len(unknown)} of {len(ids)} datum_ids are of no datum that is found, {unknown[0]!r} first"
                yield finding(f"{self.uid}/{stream}/{key}", "unknown-datum", message)
        for name, met in self._streams.items():
            yield from self._numbers(name, met)
            yield from self._changes(name)
        yield from self._ending()

    def _unused(self) -> Iterator[Finding]:
        for uid, doc in self._descriptors.items():
            if uid not in self._used:
                message = f"descriptor {uid} has neither events nor stream datums"
                yield finding(f"{self.uid}/{stream_name(doc)}", "unused-descriptor", message)
        for uid, (kind, _) in self._resources.items():
            if uid not in self._used:
                yield finding(self.uid, "unused-resource", f"{kind.replace('_', ' ')} {uid} has no datums")

    def _numbers(self, name: str, stream: _RecordedStream) -> Iterator[Finding]:
        recorded = stream.recorded()
        where = f"{self.uid}/{name}"
        last = recorded[-1][1] - 1 if recorded else 0
        lost = last - count(recorded)
        if lost > 0:
            first = 1 if recorded[0][0] > 1 else recorded[0][1]
            yield finding(where, "seq-num-gap", f"{lost} of the seq_nums 1 to {last} are missing, {first} first")
        counts = event_counts(self._stop)
        # Where a stream has no events, some versions of the RunEngine count the seq_nums of stream datums, some none.
        right = [len(stream.seq_nums)] + ([] if stream.seq_nums else [count(joined(stream.frames))])
        if counts and counts.get(name, 0) not in right:
            yield finding(where, "num-events", f"the stop counts {counts.get(name, 0)} events, {right[-1]} are stored")

    def _changes(self, stream: str) -> Iterator[Finding]:
        given: dict[str, list[Document]] = {}
        for uid, specs in self._specs.items():
            if uid in self._used and stream_name(self._descriptors[uid]) == stream:
                for key, spec in specs.items():
                    given.setdefault(key, []).append(spec)
        for key, several in given.items():
            told = {field: in_turn(several, field) for field in MEANINGS}
            changes = [f"{field} {', then '.join(map(repr, one))}" for field, one in told.items() if len(one) > 1]
            if changes:
                message = f"its descriptors give {'; '.join(changes)}"
                yield finding(f"{self.uid}/{stream}/{key}", "changed-key", message)

    def _ending(self) -> Iterator[Finding]:
        if self._stop is None:
            yield finding(self.uid, "no-stop", "the run has no stop: it is going on, or was cut off")
            return
        said, counts = self._stop.get("num_events"), event_counts(self._stop)
        if said is not None and (not isinstance(said, Mapping) or len(counts) < len(said)):
            yield finding(self.uid, "num-events", f"the stop's num_events is {repr(said)[:60]}, not counts by stream")
        for name in counts.keys() - self._streams.keys():
            if counts[name]:
                message = f"the stop counts {counts[name]} events of a stream that has no descriptor"
                yield finding(f"{self.uid}/{name}", "num-events", message)


def _datum_id(value: Any) -> str | list[str]:
    """The datum_ids of an event; none where it was filled in before it was stored."""
    if listed_datum_ids(value):
        return list(value)
    return value if isinstance(value, str) else ""


def _specs_of(descriptor: Document) -> Iterator[tuple[str, Document]]:
    """The data keys of a descriptor, and of the configuration in it as ``device/key``."""
    for device, block in (("", descriptor), *(descriptor.get("configuration") or {}).items()):
        for key, spec in (block.get("data_keys") or {}).items():
            yield f"{device}/{key}" if device else key, dict(spec)


def _violation(error: Any) -> str:
    at = ".".join(map(str, error.absolute_path))
    return f"{at}: {error.message[:160]}" if at else str(error.message[:160])


def _identity(doc: Mapping[str, Any]) -> str:
    """The identifier of a document among the others of its kind."""
    if isinstance(doc.get("seq_num"), int):
        return f"of seq_num {doc['seq_num']}"
    uid = doc.get("uid") or doc.get("datum_id") or doc.get("resource") or ""
    return str(uid[0] if isinstance(uid, list) and uid else uid)
