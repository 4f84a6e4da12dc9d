"""From documents to arrays: which file and which event of it each row is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from intake_bluesky.assets.array import AssetArray
from intake_bluesky.assets.layout import EventLayout
from intake_bluesky.assets.options import AssetOptions
from intake_bluesky.assets.reader import AssetReader, FrameStructure
from intake_bluesky.assets.readers import datum_reader, stream_reader
from intake_bluesky.columns import Array
from intake_bluesky.documents import Document, Span, StreamAsset
from intake_bluesky.errors import MissingDependency

__all__ = ["datum_array", "stream_asset_array"]


def stream_asset_array(
    assets: Sequence[StreamAsset],
    key: str,
    spec: Mapping[str, Any],
    seq_num: Array,
    options: AssetOptions | None = None,
) -> AssetArray:
    """Array of one streamed data key.

    Parameters
    ----------
    assets : sequence of StreamAsset
        Of this key and stream, in the order they were emitted.
    key : str
    spec : mapping
        The data key.
    seq_num : numpy.ndarray, shape (rows,), dtype int64
        Rising: those of the Dataset's rows.
    options : AssetOptions

    Returns
    -------
    AssetArray
        Opens the headers of the files; where that fails the array is as the data key declares, and computing raises.

    Notes
    -----
    A stream datum's ``indices`` are "a slice object passed to the StreamResource handler" (event-model's schema), so they
    count from the beginning of their own resource, in events; ophyd-async starts each file at 0. Other writers count on
    over the files of one key. So where a resource's first index is the one at which the resource before it stopped, and
    its file is too short to be meant otherwise, its indices are taken to count on.
    """
    options = options or AssetOptions()
    known: dict[str, int] = {}
    readers: list[AssetReader] = []
    reader, index = np.full((2, len(seq_num)), -1, np.int64)
    ranges: list[tuple[int, int]] = []
    for asset in assets:
        uid = str(asset.resource.get("uid", id(asset)))
        if uid not in known:
            known[uid] = len(readers)
            readers.append(stream_reader(asset.resource, options))
            ranges.append(_indices(asset.spans))
        number = known[uid]
        low, high = _indices(asset.spans)
        ranges[number] = (min(ranges[number][0], low), max(ranges[number][1], high))
        _place(asset.spans, seq_num, number, reader, index)
    return _assembled(key, spec, readers, reader, index, options, ranges=ranges)


def _indices(spans: Sequence[Span]) -> tuple[int, int]:
    return min((s[2] for s in spans), default=0), max((s[3] for s in spans), default=0)


def _place(spans: Sequence[Span], seq_num: Array, number: int, reader: Array, index: Array) -> None:
    """Give each row the frames of its seq_num; a later span of the same seq_num wins."""
    starts = [s[0] for s in spans]
    stops = [s[0] + min(s[1] - s[0], s[3] - s[2]) for s in spans]
    begins, ends = np.searchsorted(seq_num, starts), np.searchsorted(seq_num, stops)
    for span, begin, end in zip(spans, begins.tolist(), ends.tolist(), strict=True):
        reader[begin:end] = number
        index[begin:end] = seq_num[begin:end] - span[0] + span[2]


def datum_array(
    datum_ids: Sequence[str],
    key: str,
    spec: Mapping[str, Any],
    resources: Mapping[str, Document],
    datums: Mapping[str, tuple[str, Mapping[str, Any]]],
    options: AssetOptions | None = None,
) -> AssetArray:
    """Array of one data key whose events hold datum_ids.

    Parameters
    ----------
    datum_ids : sequence of str
        One a row, ``""`` where it has none.
    key : str
    spec : mapping
        The data key.
    resources : mapping of uid to resource
    datums : mapping of datum_id to (resource uid, datum_kwargs)
    options : AssetOptions

    Returns
    -------
    AssetArray
    """
    options = options or AssetOptions()
    rows: dict[str, list[int]] = {}
    for row, datum_id in enumerate(datum_ids):
        if datum_id in datums:
            rows.setdefault(datums[datum_id][0], []).append(row)
    readers: list[AssetReader] = []
    reader, index = np.full((2, len(datum_ids)), -1, np.int64)
    for uid, own in rows.items():
        kwargs = [datums[datum_ids[row]][1] for row in own]
        resource = resources.get(
            uid, {"spec": f"of the resource {uid!r}, which is not in the run", "resource_path": ""}
        )
        made, events = datum_reader(resource, kwargs, spec, options)
        reader[own], index[own] = len(readers), events
        readers.append(made)
    unknown = sum(1 for datum_id in datum_ids if datum_id and datum_id not in datums)
    note = f"{unknown} datum_ids are of no datum in the run" if unknown else ""
    return _assembled(key, spec, readers, reader, index, options, note=note, legacy=True)


@dataclass(frozen=True, slots=True)
class _Headers:
    """Headers of the resources; None where one could not be read."""

    each: tuple[FrameStructure | None, ...]

    @classmethod
    def read(cls, readers: Sequence[AssetReader], reader: Array, index: Array) -> _Headers:
        found: list[FrameStructure | None] = []
        for number, one in enumerate(readers):
            used = index[reader == number]
            try:
                found.append(one.structure(int(used.min()) if len(used) else 0))
            except (OSError, MissingDependency, LookupError):
                found.append(None)  # reading will raise it; the rest of the stream opens
        return cls(tuple(found))

    @property
    def common(self) -> FrameStructure | None:
        """The first, with a dtype that holds the values of all."""
        known = [h for h in self.each if h is not None]
        if not known:
            return None
        dtypes = {h.dtype for h in known}
        return known[0] if len(dtypes) == 1 else replace(known[0], dtype=np.result_type(*dtypes))


def _assembled(
    key: str,
    spec: Mapping[str, Any],
    readers: Sequence[AssetReader],
    reader: Array,
    index: Array,
    options: AssetOptions,
    *,
    ranges: Sequence[tuple[int, int]] = (),
    note: str = "",
    legacy: bool = False,
) -> AssetArray:
    headers = _Headers.read(readers, reader, index)
    told = next((r for r in readers if r.frames_per_event), None)
    joined = options.join_method or next((r.join_method for r in readers if r.join_method), None)
    layout = EventLayout.of(
        spec,
        headers.common,
        multiplier=told.frames_per_event if told else None,
        whole=legacy,
        join=joined or "stack",
        squeeze=options.squeeze,
    )
    notes = [note] if note else []
    for number, header in enumerate(headers.each):
        if header is not None and header.frames is not None:
            held = header.frames // layout.frames
            if ranges and number and _counts_on(ranges[number - 1], ranges[number], held):
                index[reader == number] -= ranges[number][0]
            late = (reader == number) & (index >= held)
            if late.any():
                asked = int(index[late].max() + 1) * layout.frames
                notes.append(
                    f"{readers[number].path} has {header.frames} frames where the documents speak of {asked}"
                )
            index[late] = -1
    reader[index < 0] = -1
    return AssetArray(
        key,
        tuple(readers),
        reader,
        index,
        layout,
        tuple(h.version if h else "" for h in headers.each),
        options.target_chunk,
        options.on_missing == "fill",
        "; ".join(notes),
    )


def _counts_on(before: tuple[int, int], own: tuple[int, int], held: int) -> bool:
    """Whether a resource's indices go on from those of the resource before it, whose file cannot be so long."""
    return own[0] > 0 and own[0] == before[1] and held < own[1]
