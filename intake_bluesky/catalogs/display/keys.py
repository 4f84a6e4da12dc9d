"""The keys of a stream, as its descriptors declare them and stores observed them: a row each. Nothing is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from intake_bluesky.assets.declared import declared_shape, explicit_dtype
from intake_bluesky.catalogs.display.values import plain_text
from intake_bluesky.documents.columns import OBJECT, TEXT
from intake_bluesky.documents.model import RunHeader, StreamLayout, is_external, is_streamed
from intake_bluesky.documents.untyped import event_counts

__all__ = ["HEAD", "KeyRow", "events_of", "key_rows", "streams_of"]

HEAD: Final = ("key", "dtype", "shape", "units", "device", "stored")


class KeyRow(NamedTuple):
    """What a table has of a data key; `shape` is of one event's value."""

    key: str
    dtype: str
    shape: str
    units: str
    device: str
    place: str


def streams_of(header: RunHeader) -> list[StreamLayout]:
    """The streams, primary first."""
    return sorted(header.streams.values(), key=lambda layout: layout.name != "primary")


def events_of(header: RunHeader, layout: StreamLayout) -> str:
    """How many events a stream has by the run stop, and how many are stored where that is another number."""
    stored, told = layout.events, event_counts(header.stop).get(layout.name)
    number = stored if told is None else told
    words = f"{number:,} event{'' if number == 1 else 's'}" if number else "no events"
    # Repeats after a rewind are stored too; and of values that are all in files, nothing is.
    streamed = not stored and any(map(is_streamed, layout.data_keys.values()))
    return words if stored == number or streamed else f"{words} ({stored:,} stored)"


def key_rows(layout: StreamLayout, keys: Iterable[str] | None = None, part: str = "data") -> list[KeyRow]:
    """The rows of these keys, by default of all; of their timestamps, which streamed keys have none of."""
    specs, observed = layout.data_keys, layout.observed or {}
    devices = _devices(layout)
    rows = []
    for key in dict.fromkeys([*specs, *observed]) if keys is None else keys:
        spec = specs.get(key) or {}
        if part == "timestamps":
            rows += [] if is_streamed(spec) else [KeyRow(key, "float64", "", "s since 1970", devices.get(key, ""), "")]
            continue
        external = is_external(spec)
        seen = None if external else observed.get(key)
        valued = seen is not None and seen.valued
        dtype, shape = (_name(seen.dtype), seen.shape) if seen is not None and valued else _declared(spec)
        # Of different shapes in different events, which `to_dask` pads, the largest.
        up_to = "up to " if seen is not None and seen.ragged else ""
        units = "" if spec.get("units") is None else plain_text(spec["units"])
        place = "in files" if external else ""
        rows.append(KeyRow(key, dtype, up_to + _written(shape), units, devices.get(key, ""), place))
    return rows


def _devices(layout: StreamLayout) -> Mapping[str, str]:
    found = {}
    for descriptor in layout.descriptors:
        for device, keys in (descriptor.get("object_keys") or {}).items():
            found.update(dict.fromkeys(keys, plain_text(device)))
    return found


def _declared(spec: Mapping[str, Any]) -> tuple[str, tuple[int | None, ...]]:
    dtype = explicit_dtype(spec)
    # event-model's own word, `number` or `array`, where nobody knows of which numbers.
    return plain_text(spec.get("dtype") or "?") if dtype is None else _name(dtype), declared_shape(spec)


def _name(dtype: np.dtype[Any]) -> str:
    if dtype == TEXT or dtype.kind in "UT":
        return "string"
    return "object" if dtype == OBJECT else "structure" if dtype.names else str(dtype)


def _written(shape: tuple[int | None, ...]) -> str:
    lengths = ["?" if length is None else str(length) for length in shape]
    return "" if not shape else f"({', '.join(lengths)}{',' if len(shape) == 1 else ''})"
