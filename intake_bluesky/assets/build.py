"""From documents to arrays: the file of each row, and its event in that file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np

from intake_bluesky.assets.array import AssetArray
from intake_bluesky.assets.event_layout import EventLayout
from intake_bluesky.assets.given_events import DatumLists, EventValues, GivenEvents, grouped_values, is_array
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.options import AssetOptions
from intake_bluesky.assets.reader import AssetReader, FrameStructure, UnreadableReader
from intake_bluesky.assets.reader_registry import datum_readers, stream_reader, with_copies
from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.model import Document, Span, StreamAsset
from intake_bluesky.errors import AssetUnavailable, MissingDependency, PluginError
from intake_bluesky.runtime.threads import run_all

__all__ = ["datum_array", "listed_datum_ids", "stream_asset_array"]

MOST: Final = np.iinfo(np.int64).max


def stream_asset_array(
    assets: Sequence[StreamAsset],
    key: str,
    spec: Mapping[str, Any],
    seq_num: Array,
    options: AssetOptions | None = None,
    *,
    specs: Mapping[str, Mapping[str, Any]] | None = None,
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
    specs : mapping of descriptor uid to mapping, optional
        The data key as each descriptor has it, where they differ.

    Returns
    -------
    AssetArray
        Opens the headers of the files; where that fails the array is as the data key declares, and computing raises.

    Notes
    -----
    A stream datum's ``indices`` are "a slice object passed to the StreamResource handler" (event-model's schema), so
    they count from the beginning of their own resource, in events; ophyd-async starts each file at 0. Other writers
    count on over the files of one key (bluesky-tiled-plugins takes file sequences so). So where a resource's first
    index is the one at which the resource before it stopped, and its file is too short for that index, its indices are
    taken to count on.
    """
    options = options or AssetOptions()
    known: dict[str, int] = {}
    rows = _Rows.none(len(seq_num))
    ranges: list[tuple[int, int]] = []
    for asset in assets:
        low, high = _indices(asset.spans)
        # Several descriptors may refer to one resource: it is opened once, and its indices are judged as one range.
        uid = str(asset.resource.get("uid", id(asset)))
        if uid not in known:
            known[uid] = len(rows.readers)
            rows.specs.append((specs or {}).get(asset.descriptor, spec))
            reader = with_copies(partial(stream_reader, asset.resource), options)
            rows.readers.append(reader.knowing(rows.specs[-1], finished=options.finished))
            ranges.append((low, high))
        number = known[uid]
        ranges[number] = (min(ranges[number][0], low), max(ranges[number][1], high))
        _place(asset.spans, seq_num, number, rows)
    if not assets and len(seq_num):
        lacking = f"the data key {key!r} declares stream resources, and none of the stream's is of it"
        rows.add(range(len(seq_num)), spec, [UnreadableReader(Location(""), AssetUnavailable, lacking, known=True)])
    rows.refuse_negative()
    rows.look()
    layouts = rows.layouts(spec, options)
    for number in range(1, len(ranges)):
        held = rows.held(number, layouts[number])
        if held is None and rows.readers[number].frame_by_frame and rows.headers[number] is None:
            held = 0 if _header(rows.readers[number], 0) else None  # it begins at 0, and ends before its first index
        if held is not None and _counts_on(ranges[number - 1], ranges[number], held):
            rows.index[rows.reader == number] -= ranges[number][0]
    return rows.array(key, layouts, options)


def _indices(spans: Sequence[Span]) -> tuple[int, int]:
    return min((s[2] for s in spans), default=0), max((s[3] for s in spans), default=0)


def _place(spans: Sequence[Span], seq_num: Array, number: int, rows: _Rows) -> None:
    """Give each row the frames of its seq_num; a later span of the same seq_num wins."""
    starts = [s[0] for s in spans]
    # `seq_nums` and `indices` should be of one length; where a writer got one of them wrong, no index is made up.
    stops = [s[0] + min(s[1] - s[0], s[3] - s[2]) for s in spans]
    begins, ends = np.searchsorted(seq_num, starts), np.searchsorted(seq_num, stops)
    for span, begin, end in zip(spans, begins.tolist(), ends.tolist(), strict=True):
        rows.reader[begin:end] = number
        rows.index[begin:end] = seq_num[begin:end] - span[0] + span[2]


def datum_array(  # noqa: PLR0917  # the five things that a legacy key is made of, and the options
    datum_ids: Sequence[Any],
    key: str,
    spec: Mapping[str, Any],
    resources: Mapping[str, Document],
    datums: Mapping[str, tuple[str, Mapping[str, Any]]],
    options: AssetOptions | None = None,
) -> AssetArray:
    """Array of one data key whose events hold datum_ids.

    Parameters
    ----------
    datum_ids : sequence
        One a row: a datum_id, a list of several, or the value itself, where it was filled in before the event was
        stored; ``""`` or None where a row has none of these.
    key : str
    spec : mapping
        The data key.
    resources : mapping of uid to resource
    datums : mapping of datum_id to (resource uid, datum_kwargs)
    options : AssetOptions

    Returns
    -------
    AssetArray
        Rows whose datum is in `datums` under no such name raise when they are computed, as those of a missing file do.
    """
    options = options or AssetOptions()
    by_resource: dict[str, list[int]] = {}
    by_length: dict[int, list[int]] = {}
    unknown: list[int] = []
    values: list[int] = []
    odd: list[int] = []
    for row, datum_id in enumerate(datum_ids):
        if isinstance(datum_id, str) and datum_id in datums:
            by_resource.setdefault(datums[datum_id][0], []).append(row)
        elif isinstance(datum_id, str):
            unknown += [row] if datum_id else []
        elif listed_datum_ids(datum_id):
            by_length.setdefault(len(datum_id), []).append(row)
        elif datum_id is not None:
            (values if is_array(datum_id) else odd).append(row)
    rows = _Rows.none(len(datum_ids))
    for uid, own in by_resource.items():
        if uid in resources:
            kwargs = [datums[datum_ids[row]][1] for row in own]
            rows.add(own, spec, *_datum_readers(resources[uid], kwargs, spec, options))
            continue
        lacking = f"{len(own)} datums are of the resource {uid!r}, which is not in the run"
        rows.add(own, spec, [UnreadableReader(Location(""), AssetUnavailable, lacking, known=True)])
    if unknown:
        lacking = f"{len(unknown)} datum_ids are of no datum that is found, {datum_ids[unknown[0]]!r} first"
        rows.add(unknown, spec, [UnreadableReader(Location(""), AssetUnavailable, lacking, known=True)])
    if odd:
        told = f"{len(odd)} events hold what is neither a datum_id nor an array, {repr(datum_ids[odd[0]])[:60]} first"
        rows.add(odd, spec, [UnreadableReader(Location(""), AssetUnavailable, told, known=True)])
    for length, own in by_length.items():
        flat = [datum_id for row in own for datum_id in datum_ids[row]]
        one = {**spec, "shape": (spec.get("shape") or ())[1:]}  # the first axis of the value counts the datums
        array = datum_array(flat, key, one, resources, datums, replace(options, join_method="stack"))
        rows.add(own, spec, [DatumLists(array, length)])
    for own_values, numbers in grouped_values([datum_ids[row] for row in values]).values():
        rows.add([values[number] for number in numbers], spec, [EventValues(own_values)])
    rows.look()
    return rows.array(key, rows.layouts(spec, options, legacy=True), options)


def _datum_readers(
    resource: Document, datums: Sequence[Mapping[str, Any]], spec: Mapping[str, Any], options: AssetOptions
) -> tuple[list[AssetReader], list[int], list[int]]:
    """As `datum_readers`, with those of copies."""
    readers, places, events = datum_readers(resource, datums, spec, options)
    if options.copies is not None:
        make = partial(_datum_reader, resource, datums, spec)
        readers = [with_copies(partial(make, place), options) for place in range(len(readers))]
    return readers, places, events


def _datum_reader(
    resource: Document, datums: Sequence[Mapping[str, Any]], spec: Mapping[str, Any], place: int, options: AssetOptions
) -> AssetReader:
    return datum_readers(resource, datums, spec, options)[0][place]


def listed_datum_ids(value: Any) -> bool:
    """Whether a value is a list of datum_ids, as an event may have of several datums."""
    return isinstance(value, (list, tuple, np.ndarray)) and len(value) > 0 and all(isinstance(v, str) for v in value)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Which event of which resource each row is: -1 where it is none; and the headers of the resources."""

    readers: list[AssetReader]
    specs: list[Mapping[str, Any]]
    reader: Array
    index: Array
    notes: list[str]
    headers: list[FrameStructure | None]

    @classmethod
    def none(cls, rows: int) -> _Rows:
        return cls([], [], np.full(rows, -1, np.int64), np.full(rows, -1, np.int64), [], [])

    def add(
        self,
        rows: Sequence[int],
        spec: Mapping[str, Any],
        readers: Sequence[AssetReader],
        places: Sequence[int] = (),
        events: Sequence[int] = (),
    ) -> None:
        """Give rows their events: each of the reader at its place, else all of one reader, one after the other."""
        self.reader[rows] = np.array(places or [0] * len(rows)) + len(self.readers)
        self.index[rows] = events or range(len(rows))
        self.readers.extend(readers)
        self.specs.extend([spec] * len(readers))

    def refuse_negative(self) -> None:
        """Leave rows without frames whose index is below 0, where no file has any, and note it."""
        negative = (self.index < 0) & (self.reader >= 0)
        for number in np.unique(self.reader[negative]).tolist():
            lowest = self.index[negative & (self.reader == number)].min()
            path = self.readers[number].path
            self.notes.append(f"the documents speak of event {lowest} of {path}, where events count from 0")
        self.reader[negative] = self.index[negative] = -1

    def look(self) -> None:
        """Read the headers; None where one could not be read."""
        self.headers[:] = [None] * len(self.readers)

        low, high = self.extent()

        def look(number: int) -> None:
            reader, first = self.readers[number], int(low[number])
            # The header is that of the first frame used: a sequence may lack files before it that no row refers to.
            used = first <= high[number]
            self.headers[number] = _header(reader, first * (reader.frames_per_event or 1) if used else 0)

        # At the same time: a stream may have hundreds of files, and each header is a wait for a server or for NFS.
        run_all(look, range(len(self.readers)))

    def extent(self) -> tuple[Array, Array]:
        """The first and the last event used of each resource; where none is, the first is behind the last."""
        # One more, the last, for rows of the resource -1: those without.
        low, high = np.full(len(self.readers) + 1, MOST), np.full(len(self.readers) + 1, -1)
        if len(self.reader):
            starts = np.r_[0, np.flatnonzero(self.reader[1:] != self.reader[:-1]) + 1]
            np.minimum.at(low, self.reader[starts], np.minimum.reduceat(self.index, starts))
            np.maximum.at(high, self.reader[starts], np.maximum.reduceat(self.index, starts))
        return low[:-1], high[:-1]

    def held(self, number: int, layout: EventLayout) -> int | None:
        """Whole events that a resource holds; None where its header does not give the number of frames."""
        header = self.headers[number]
        return None if header is None or header.frames is None else header.frames // layout.frames

    def layouts(
        self, spec: Mapping[str, Any], options: AssetOptions, *, legacy: bool = False
    ) -> tuple[EventLayout, ...]:
        """The layout of each resource; where its header could not be read, that of one whose header could.

        Without any resource one layout, as the data key declares.
        """
        joins = [r.join_method for r in self.readers if r.join_method]
        each = [
            reader.frames_per_event or (header and header.frames_per_event) or reader.frames_per_event
            for reader, header in zip(self.readers, self.headers, strict=True)
        ]
        given = [isinstance(reader, GivenEvents) for reader in self.readers]
        told = next((frames for frames, events in zip(each, given, strict=True) if frames and not events), None)
        # One array has one way to join: that of the first resource that names one.
        join = options.join_method or (joins or ["stack"])[0]
        of = partial(EventLayout.of, whole=legacy, join=join, squeeze=options.squeeze)

        low, high = self.extent()

        def layout(number: int) -> EventLayout:
            events = int(high[number] - low[number]) + 1 if low[number] <= high[number] else None
            multiplier = each[number] or told or each[number]  # the last: 0, as some resources have it, is not None
            try:
                return of(self.specs[number], self.headers[number], multiplier=multiplier, events=events)
            except AssetUnavailable as error:
                return self._refuse(number, error, of(self.specs[number], None, multiplier=multiplier))

        known = {number: layout(number) for number, header in enumerate(self.headers) if header and not given[number]}
        common = next(iter(known.values()), None)
        for number, header in enumerate(self.headers):
            if header and given[number]:
                known[number] = EventLayout.given(header, common, join=join, squeeze=options.squeeze)
        found = tuple(known.get(number) or common or layout(number) for number in range(len(self.readers)))
        return found or (of(spec, None),)

    def _refuse(self, number: int, error: AssetUnavailable, layout: EventLayout) -> EventLayout:
        """Have reading of a resource raise, and nothing be taken from its header."""
        path = self.readers[number].path
        self.readers[number] = UnreadableReader(Location(path), AssetUnavailable, f"{path}: {error}", known=True)
        self.headers[number] = None
        return layout

    def array(self, key: str, layouts: tuple[EventLayout, ...], options: AssetOptions) -> AssetArray:
        fill = options.on_missing == "fill"
        partial: list[int] = []
        _, last = self.extent()
        for number, reader in enumerate(self.readers):
            held, header = self.held(number, layouts[number]), self.headers[number]
            if held is None or last[number] < held:
                continue
            asked = int(last[number]) + 1
            self.notes.append(f"{reader.path} has frames for {held} events where the documents speak of {asked}")
            late = (self.reader == number) & (self.index >= held)
            begun = late & (self.index == held) & bool(header and (header.frames or 0) % layouts[number].frames)
            partial += np.flatnonzero(begun).tolist()
            # Rows past the end of a file become rows without frames: opening succeeds, and the other rows compute.
            # Filling goes by frame: an event that the file has the first frames of keeps these.
            self.index[late & ~begun if fill else late] = -1
        # `AssetArray` pickles and cuts rows by `reader`: where there is no event there is no file either.
        self.reader[self.index < 0] = -1
        return AssetArray(
            key,
            tuple(self.readers),
            self.reader,
            self.index,
            layouts,
            EventLayout.around(layouts),
            tuple(h.version if h else "" for h in self.headers),
            options.target_chunk,
            fill,
            "; ".join(self.notes),
            tuple(partial) if fill else (),
        )


def _header(reader: AssetReader, first: int) -> FrameStructure | None:
    if isinstance(reader, UnreadableReader):
        return None
    try:
        return reader.structure(first)
    except (OSError, MissingDependency, PluginError):
        return None  # reading will raise it; the rest of the stream opens


def _counts_on(before: tuple[int, int], own: tuple[int, int], held: int) -> bool:
    """Whether a resource's indices go on from those of the resource before it, whose file cannot be so long."""
    return own[0] > 0 and own[0] == before[1] and held < own[1]
