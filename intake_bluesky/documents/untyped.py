"""Documents are what some program wrote: what of a descriptor or a stop is of event-model's form, and what is not.

Checked once, where documents enter a header: whoever reads `StreamLayout.descriptors` finds mappings where
event-model has mappings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from intake_bluesky.documents.model import Document, Span, StreamLayout
from intake_bluesky.errors import DamagedRun
from intake_bluesky.integers import is_int64

__all__ = [
    "DEEPEST",
    "all_well_formed",
    "check_descriptors",
    "data_keys_of",
    "event_counts",
    "span_of",
    "too_deep",
    "uid_of",
    "well_formed",
]

DEEPEST: Final = 100
"""Levels of a document that describes a run; MongoDB takes no more, and Python's own recursion ends soon after."""
INNER: Final[Mapping[str, tuple[str, ...]]] = {"configuration": ("data", "timestamps", "data_keys"), "hints": ()}
"""Mappings of devices to mappings, and which fields of those are mappings again."""
MAPPING: Final = (dict, Mapping)
"""What `isinstance` asks for: nearly all are dicts, and asking an abstract class takes ten times as long."""


class _Nesting(dict[type, bool]):
    """By type whether its values hold others; each type is asked once, for values are asked by the thousand."""

    def __missing__(self, one: type) -> bool:
        self[one] = issubclass(one, (Mapping, list, tuple))
        return self[one]


NESTING: Final = _Nesting()
FLAT: Final = frozenset({str, int, float, bool, type(None)})  # nearly all values, found sooner than there


def too_deep(doc: Document) -> bool:
    """Whether dicts and lists of a document are nested in more than `DEEPEST` levels.

    Examples
    --------
    >>> too_deep({"sample": {"name": "Ni"}})
    False
    """
    level: list[Any] = [doc] if isinstance(doc, MAPPING) else []
    for _ in range(DEEPEST):
        found = [
            value
            for one in level
            for value in (one if isinstance(one, (list, tuple)) else one.values())
            if type(value) not in FLAT
        ]
        level = [value for value in found if NESTING[type(value)]]
        if not level:
            return False
    return True


def uid_of(doc: Document) -> str:
    """The uid of a document by which others name it; `ValueError` where it has none."""
    uid = doc.get("uid")
    if not isinstance(uid, str):
        raise ValueError(f"its uid is {_short(uid)}, not a text")
    return uid


def span_of(stream_datum: Document) -> Span:
    """The seq_nums and the indices of a stream datum; `ValueError` where they are no integers of 64 bits."""
    ranges = {name: stream_datum[name] for name in ("seq_nums", "indices")}
    ends = [found[end] for found in ranges.values() for end in ("start", "stop")]
    if not all(map(_is_integer, ends)):
        raise ValueError(f"its seq_nums and indices must be integers, not {_short(ranges)}")
    first, last, start, stop = map(int, ends)
    return first, last, start, stop


def well_formed(descriptor: Document) -> tuple[Document, dict[str, str]]:
    """Take out of a descriptor what is not of event-model's form; say, by field, what is wrong with it.

    A null stands for a field that is not there, but for data keys: without them nobody knows what the events hold.

    Returns
    -------
    descriptor : dict
        The same one where nothing had to be taken out.
    wrong : dict of str to str

    Examples
    --------
    >>> well_formed({"uid": "d", "data_keys": {"x": None}, "configuration": None})
    ({'uid': 'd', 'data_keys': {}}, {'data_keys': "data key 'x' is None, not a mapping"})
    """
    wrong: dict[str, str] = {}
    fields: dict[str, Mapping[str, Any] | None] = {"data_keys": _data_keys(descriptor.get("data_keys"), wrong)}
    fields["object_keys"] = _object_keys(descriptor.get("object_keys"), wrong)
    for name, inner in INNER.items():
        fields[name] = _devices(name, descriptor.get(name), inner, wrong)
    sound = {name: value for name, value in fields.items() if value is not None}
    if all(sound[name] is descriptor.get(name) if name in sound else name not in descriptor for name in fields):
        return descriptor, wrong
    return {**{name: value for name, value in descriptor.items() if name not in fields}, **sound}, wrong


def data_keys_of(descriptor: Mapping[str, Any]) -> Mapping[str, Any]:
    """The data keys of a descriptor, those that are mappings.

    Examples
    --------
    >>> data_keys_of({"uid": "d", "data_keys": {"x": None, "y": {"dtype": "number"}}})
    {'y': {'dtype': 'number'}}
    """
    return _data_keys(descriptor.get("data_keys"), {})


def all_well_formed(descriptors: Iterable[Document]) -> tuple[tuple[Document, ...], dict[str, str]]:
    """As `well_formed`, of the descriptors of one stream."""
    sound: list[Document] = []
    damage: dict[str, str] = {}
    for descriptor in descriptors:
        doc, wrong = well_formed(descriptor)
        sound.append(doc)
        damage |= {field: f"descriptor {doc['uid']} cannot be understood: {why}" for field, why in wrong.items()}
    return tuple(sound), damage


def check_descriptors(uid: str, layout: StreamLayout, field: str) -> None:
    """Raise `DamagedRun` where this field of a descriptor is not of event-model's form."""
    if field in layout.damage:
        raise DamagedRun(
            f"stream {layout.name!r} of run {uid} cannot be read: {layout.damage[field]}. The documents are in "
            "run.documents(), and other streams can be read"
        )


def _data_keys(found: Any, wrong: dict[str, str]) -> Mapping[str, Any]:
    if not isinstance(found, MAPPING):
        wrong["data_keys"] = f"its data_keys are {_short(found)}, not a mapping"
        return {}
    kept = {key: spec for key, spec in found.items() if isinstance(key, str) and isinstance(spec, MAPPING)}
    odd = next((key for key in found if key not in kept), None)
    if len(kept) == len(found):
        return found
    what = f"is {_short(found[odd])}, not a mapping" if isinstance(odd, str) else "has no text for a name"
    wrong["data_keys"] = f"data key {_short(odd)} {what}"
    return kept


def _object_keys(found: Any, wrong: dict[str, str]) -> Mapping[str, Any] | None:
    if found is None:
        return None
    if not isinstance(found, MAPPING):
        wrong["object_keys"] = f"its object_keys are {_short(found)}, not a mapping"
        return None
    kept = {device: keys for device, keys in found.items() if isinstance(device, str) and _are_names(keys)}
    for device, keys in found.items():
        if device not in kept and keys is not None:
            wrong["object_keys"] = f"device {_short(device)} has {_short(keys)} for keys, not a list of names"
    return found if len(kept) == len(found) else kept


def _are_names(keys: Any) -> bool:
    return isinstance(keys, (list, tuple, np.ndarray)) and _are_texts(keys)


def _are_texts(values: Iterable[Any]) -> bool:
    return {str}.issuperset(map(type, values)) or all(isinstance(value, str) for value in values)


def _devices(name: str, found: Any, inner: tuple[str, ...], wrong: dict[str, str]) -> Mapping[str, Any] | None:
    if found is None:
        return None
    if not isinstance(found, MAPPING):
        wrong[name] = f"its {name} is {_short(found)}, not a mapping"
        return None
    kept = {}
    alike = True
    for device, block in found.items():
        if isinstance(device, str) and isinstance(block, MAPPING) and _are_parts(block, inner):
            # A null in it is a field that is not there.
            absent = [part for part in inner if part in block and block[part] is None]
            kept[device] = {k: v for k, v in block.items() if k not in absent} if absent else block
            alike = alike and not absent
        else:
            alike = False
            if block is not None:
                wrong[name] = f"the {name} of {_short(device)} is {_short(block)}, not of event-model's form"
    return found if alike else kept


def _are_parts(block: Mapping[str, Any], parts: Iterable[str]) -> bool:
    for part in parts:
        found = block.get(part)
        if found is None:
            continue
        if not isinstance(found, MAPPING) or not _are_texts(found):
            return False
        if part == "data_keys" and not all(isinstance(spec, MAPPING) for spec in found.values()):
            return False
    return True


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def event_counts(stop: Mapping[str, Any] | None) -> dict[str, int]:
    """The ``num_events`` of a stop by stream, as far as they are counts.

    Examples
    --------
    >>> event_counts({"num_events": {"primary": 5, "baseline": "two"}}), event_counts({"num_events": [1]})
    ({'primary': 5}, {})
    """
    found = (stop or {}).get("num_events")
    counts = found.items() if isinstance(found, MAPPING) else ()
    return {name: int(count) for name, count in counts if isinstance(name, str) and _is_count(count)}


def _is_count(value: Any) -> bool:
    return _is_integer(value) and value >= 0


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and is_int64(int(value))
