"""Checks of external arrays: the files that documents refer to, against what these declare of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from intake_bluesky.apps.validate.findings import Finding, Tally, finding
from intake_bluesky.apps.validate.recorded import DocumentChecks
from intake_bluesky.assets import (
    AssetArray,
    AssetOptions,
    AssetReader,
    FrameStructure,
    datum_array,
    stream_asset_array,
)
from intake_bluesky.assets.declared import declared_dtype, declared_shape
from intake_bluesky.assets.event_layout import EventLayout
from intake_bluesky.assets.given_events import DatumLists, GivenEvents
from intake_bluesky.assets.handlers import HandlerReader
from intake_bluesky.assets.images.sequence import SequenceReader
from intake_bluesky.assets.read_events import read_events
from intake_bluesky.assets.reader import LocatedReader, UnreadableReader
from intake_bluesky.assets.region import Region
from intake_bluesky.datasets.filled_documents import Datums
from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.datasets.rows import count, joined, ranges_of
from intake_bluesky.datasets.stream_reader import StreamReader
from intake_bluesky.documents.model import RunHeader, Span, StreamAsset, is_streamed
from intake_bluesky.errors import IntakeBlueskyError
from intake_bluesky.storage.contract import RunStore

__all__ = ["check_external"]

TEXT_BYTES = 16 * 2**20
"""Values of text that are read at once."""
T = TypeVar("T")
UNREADABLE = (OSError, ValueError, LookupError, ImportError, IntakeBlueskyError)


def check_external(
    store: RunStore, header: RunHeader, checks: DocumentChecks, options: AssetOptions
) -> Iterator[Finding]:
    """Look at the headers of the files of a run whose documents were all added, and not at their data.

    A third party's handler has no header to look at: it reads the first and the last datum.
    """
    # Of the preferred copy: what it lacks is what is looked for.
    options = replace(options, finished=header.stop is not None, copies=None)
    datums = Datums(store, header, datums=checks.datums)
    for ids in checks.datum_ids.values():
        datums.find(ids)
    checks.elsewhere.update(datums.resources)
    usage = _Usage()
    for name, layout in header.streams.items():
        if "data_keys" in layout.damage:  # which is a finding of its own
            continue
        reader = StreamReader(store, header, name, DatasetOptions(assets=options))
        try:
            rows = reader.rows
        except IntakeBlueskyError as error:
            yield finding(f"{header.uid}/{name}", "unreadable", str(error))
            continue
        if reader.unclear:
            message = (
                f"{reader.unclear} of {len(rows)} rows have events of several descriptors, of which the last counts"
            )
            yield finding(f"{header.uid}/{name}", "seq-num-repeated", message)
        for part, lacking in rows.lacking.items():
            where, what = (name, "event") if part == "events" else (f"{name}/{part}", "frames")
            yield finding(f"{header.uid}/{where}", "incomplete", f"{lacking} of {len(rows)} rows have no {what}")
        for key, spec in layout.data_keys.items():
            where = f"{header.uid}/{name}/{key}"
            assets, ids = header.assets_of(name, key), checks.datum_ids.get((name, key), [])
            try:
                if assets:
                    yield from _repeated(where, assets)
                    array = stream_asset_array(assets, key, spec, rows.seq_num, options)
                    yield from _ExternalFiles(where, spec, array, usage).findings()
                elif any(ids):
                    # Unknown datums and resources have findings of their own.
                    known = [one if isinstance(one, list) or datums.knows(one) else "" for one in ids]
                    array = datum_array(known, key, spec, datums.resources, datums.datums, options)
                    yield from _ExternalFiles(where, spec, array, usage).findings()
                elif is_streamed(spec) and not ids and len(rows):
                    yield finding(where, "no-resource", f"{len(rows)} rows, and no stream resource for them")
            except IntakeBlueskyError as error:
                yield finding(where, "unreadable", str(error))
    yield from usage.findings()


def _repeated(where: str, assets: Sequence[StreamAsset]) -> Iterator[Finding]:
    spans: dict[tuple[str, str], list[Span]] = {}
    for asset in assets:
        spans.setdefault((asset.resource["uid"], asset.descriptor), []).extend(asset.spans)
    ranges = [span for own in spans.values() for span in ranges_of(own)]
    repeated = count(ranges) - count(joined(ranges))
    if repeated:
        message = f"{repeated} frames are of seq_nums that other resources or descriptors have frames of, too"
        yield finding(where, "frames-repeated", message)


class _Usage:
    """How many frames of each file the documents of a run speak of, whatever stream they are in."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[str, str, int, int]] = {}

    def add(self, where: str, reader: AssetReader, held: int, spoken: int) -> None:
        # Readers of one file, of two resources or streams, are equal but for how many frames make an event.
        same = replace(reader, frames_per_event=None, join_method=None) if isinstance(reader, LocatedReader) else reader
        known = repr(same)
        first, path, _, most = self._files.get(known, (where, reader.path, held, 0))
        self._files[known] = first, path, held, max(most, spoken)

    def findings(self) -> Iterator[Finding]:
        for where, path, held, spoken in self._files.values():
            if held > spoken:
                message = f"{path} has {held} frames where the documents speak of {spoken}"
                yield finding(where, "file-long", message)


@dataclass(slots=True)
class _ExternalFiles:
    """The files of one key."""

    where: str
    spec: Mapping[str, Any]
    array: AssetArray
    usage: _Usage
    tally: Tally = field(default_factory=Tally)

    def findings(self) -> Tally:
        for number, reader in enumerate(self.array.readers):
            index = self.array.index[self.array.reader == number]
            if isinstance(reader, UnreadableReader):
                self.tally.add(self.where, "file-unreadable" if reader.known else "unknown-format", reader.message)
            elif isinstance(reader, DatumLists):
                one = {**self.spec, "shape": (self.spec.get("shape") or ())[1:]}
                replace(self, spec=one, array=reader.array).findings()
            elif not isinstance(reader, GivenEvents):
                self._check(number, reader, np.unique(index).tolist())
        if self.array.note:
            self.tally.add(self.where, "file-short", self.array.note)
        return self.tally

    def _check(self, number: int, reader: AssetReader, used: Sequence[int]) -> None:
        per_event = self.array.layout.frames
        if isinstance(reader, SequenceReader):
            header = self._sequence(reader, used, reader.frames_per_event or per_event)
        else:
            header = self._structure(lambda: reader.structure(used[0] * per_event if used else 0), reader)
        if header is None:
            return
        self._check_declared(reader, header)
        if reader.frames_per_event == 0:
            taken = f"the resource of {reader.path} gives 0 frames per event: {per_event} are taken"
            self.tally.add(self.where, "frames-per-event", taken)
        if header.odd:
            self.tally.add(self.where, "file-odd", f"{reader.path}: {header.odd}")
        if header.parsed and used:
            self._read_text(reader, self.array.layouts[number], used)
        if isinstance(reader, HandlerReader):
            self._read_some(reader, header, used)
        elif used and header.frames is not None:
            self.usage.add(self.where, reader, header.frames, (used[-1] + 1) * per_event)
        if used:
            self._look_for_sources(reader, used[0] * per_event, (used[-1] + 1) * per_event)

    def _sequence(self, reader: SequenceReader, used: Sequence[int], per_event: int) -> FrameStructure | None:
        """Look at each file that holds frames of events; give the first header that can be read."""
        frames = [frame for index in used for frame in range(index * per_event, (index + 1) * per_event)] or [0]
        first: FrameStructure | None = None
        # One frame of each file: the only one, where all are in one file.
        one_each = {frame // reader.per_file if reader.template.numbered else 0: frame for frame in reversed(frames)}
        for frame in sorted(one_each.values()):
            found = self._structure(partial(reader.checked, frame), reader)
            if found is None:
                continue
            header, lacking = found
            path = reader.files_of([range(frame, frame + 1)])[0].path
            first = first or header
            if lacking:
                self.tally.add(self.where, "file-short", lacking)
            if header.frame_shape != first.frame_shape or not np.can_cast(header.dtype, first.dtype, "safe"):
                self._mismatch(
                    f"{path} has {header.dtype} of shape {list(header.frame_shape)}, where {first.dtype} of shape "
                    f"{list(first.frame_shape)} was found in the sequence before"
                )
        return first

    def _look_for_sources(self, reader: AssetReader, start: int, stop: int) -> None:
        try:
            for missing in reader.lost_files(start, stop):
                self.tally.add(self.where, "file-missing", f"{missing} is not there, which {reader.path} leads to")
        except UNREADABLE as error:
            self.tally.add(self.where, "file-unreadable", f"{reader.path}: {error}")

    def _structure(self, look: Callable[[], T], reader: AssetReader) -> T | None:
        try:
            return look()
        except FileNotFoundError as error:
            self.tally.add(self.where, "file-missing", f"{error.filename or reader.path} is not there")
        except UNREADABLE as error:
            self.tally.add(self.where, "file-unreadable", f"{reader.path}: {error}")
        return None

    def _check_declared(self, reader: AssetReader, header: FrameStructure) -> None:
        dtype = declared_dtype(self.spec)
        # Without one of these the dtype is a guess of ours, of JSON's `number`, and no declaration to hold a file to.
        declared = {"dtype_numpy", "dtype_str", "dtype_descr"} & self.spec.keys()
        if header.parsed and dtype.names:
            return  # text has no dtype, and its columns are the fields
        if declared and dtype != header.dtype and not header.parsed:
            self._mismatch(f"{reader.path} holds {header.dtype} where {dtype} is declared")
        shape, frame = declared_shape(self.spec), header.frame_shape
        inner = shape[len(shape) - len(frame) :]
        if len(inner) < len(frame) or any(a not in (None, b) for a, b in zip(inner, frame, strict=True)):
            self._mismatch(f"{reader.path} has frames of shape {list(frame)} where {list(shape)} is declared")

    def _read_text(self, reader: AssetReader, layout: EventLayout, used: Sequence[int]) -> None:
        """Read all rows of a text file, which was parsed: only then a value is known to be of the dtype declared."""
        step = max(1, TEXT_BYTES // layout.event_bytes)
        whole = Region.whole(layout.event_shape)
        for start in range(0, len(used), step):
            events = np.array(used[start : start + step])
            try:
                read_events(reader, layout, events, np.empty((len(events), *whole.shape), layout.dtype), whole)
            except UNREADABLE as error:
                self.tally.add(self.where, "file-unreadable", str(error))

    def _mismatch(self, message: str) -> None:
        self.tally.add(self.where, "file-mismatch", message)

    def _read_some(self, reader: HandlerReader, header: FrameStructure, used: Sequence[int]) -> None:
        for index in sorted({used[0], used[-1]}) if used else ():
            out = np.empty((1, *header.frame_shape), header.dtype)
            try:
                reader.read_into(index, index + 1, out)
            except UNREADABLE as error:
                self.tally.add(self.where, "file-unreadable", str(error))
