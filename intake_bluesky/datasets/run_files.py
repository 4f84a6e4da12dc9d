"""The files that a run refers to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from intake_bluesky.assets import AssetArray, AssetFile, AssetOptions, asset_files, datum_array, stream_asset_array
from intake_bluesky.assets.file_list import looked_at, sequence_files
from intake_bluesky.assets.images.sequence import SequenceReader
from intake_bluesky.assets.reader import AssetReader
from intake_bluesky.assets.reader_registry import datum_readers, stream_reader
from intake_bluesky.datasets.filled_documents import datums_of
from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.model import RunHeader, StreamAsset, StreamLayout, is_external, is_streamed
from intake_bluesky.errors import IntakeBlueskyError
from intake_bluesky.storage.contract import RunStore

Frames: TypeAlias = tuple[SequenceReader, list[range]]
"""A sequence, and which of its frames the documents speak of."""


def run_files(store: RunStore, header: RunHeader, options: AssetOptions) -> list[AssetFile]:
    """The files of all resources and stream resources; of the preferred copy of a run, if there are several."""
    options = replace(options, copies=None)
    found = {file.path: file for one in header.resources for file in resource_files(store, header, one, options)}
    named = _named_by_stream_datums(header, options)
    for asset in header.stream_assets:
        found |= {file.path: file for file in _streamed_files(asset.resource, named, options)}
    return list(found.values())


def stream_resource_files(header: RunHeader, resource: Mapping[str, Any], options: AssetOptions) -> list[AssetFile]:
    """The files of a stream resource."""
    options = replace(options, copies=None)
    return _streamed_files(resource, _named_by_stream_datums(header, options), options)


def resource_files(
    store: RunStore, header: RunHeader, resource: Mapping[str, Any], options: AssetOptions
) -> list[AssetFile]:
    """The files of a legacy resource; those of a sequence are named by its datums, and some handlers list theirs so."""
    options = replace(options, copies=None)
    sequence = _is_sequence(datum_readers(resource, [], {}, options)[0][0])
    listed = [] if sequence else asset_files(resource, options)
    if any(file.exists for file in listed):
        return listed
    datums = datums_of(store, header.uid, [str(resource["uid"])])
    if sequence:
        named = _named_by_datums(header, resource, datums, options)
        return _listed(named) or asset_files(resource, options)
    readers, _, _ = datum_readers(resource, [kwargs for _, kwargs in datums.values()], {}, options)
    places = {file.path: file for reader in readers for file in reader.files()}
    return list(map(looked_at, places.values())) or listed


def _is_sequence(reader: AssetReader) -> bool:
    return isinstance(reader, SequenceReader) and reader.template.numbered


def _named_by_datums(
    header: RunHeader,
    resource: Mapping[str, Any],
    datums: Mapping[str, tuple[str, dict[str, Any]]],
    options: AssetOptions,
) -> list[Frames]:
    """The frames of a sequence that the datums of its resource speak of."""
    keys = [spec for layout in header.streams.values() for spec in _data_keys(layout).values()]
    specs = [spec for spec in keys if is_external(spec) and not is_streamed(spec)] or [{}]
    arrays = []
    # Only events tell which key a datum is of: of keys that take it for different numbers of frames the least is true
    # whichever key it is of.
    for spec in [spec for number, spec in enumerate(specs) if spec not in specs[:number]]:
        with suppress(IntakeBlueskyError):
            arrays.append(datum_array(list(datums), "", spec, {str(resource["uid"]): dict(resource)}, datums, options))
    if not arrays:
        return []
    array = min(arrays, key=lambda array: array.layout.frames)
    rows = np.arange(len(datums))
    return list(_frames(array, rows, rows).values())


def _data_keys(layout: StreamLayout) -> Mapping[str, Any]:
    return {} if "data_keys" in layout.damage else layout.data_keys


def _streamed_files(
    resource: Mapping[str, Any], named: Mapping[str, Sequence[Frames]], options: AssetOptions
) -> list[AssetFile]:
    return _listed(named.get(str(resource.get("uid")), ())) or asset_files(resource, options)


def _listed(named: Iterable[Frames]) -> list[AssetFile]:
    return [file for reader, frames in named for file in sequence_files(reader, frames)]


def _named_by_stream_datums(header: RunHeader, options: AssetOptions) -> dict[str, list[Frames]]:
    """The frames that stream datums speak of, of each stream resource that is a sequence."""
    named: dict[str, list[Frames]] = {}
    for name, layout in header.streams.items():
        for key, spec in _data_keys(layout).items():
            assets = header.assets_of(name, key)
            if not any(_is_sequence(stream_reader(asset.resource, options)) for asset in assets):
                continue
            apart, ends = _apart(assets)
            # The first and the last event of each span are placed in their files; those between follow.
            seq_num = np.unique(np.array(ends, np.int64))
            with suppress(IntakeBlueskyError):
                array = stream_asset_array(apart, key, spec, seq_num, options)
                uids = list(dict.fromkeys(str(asset.resource.get("uid", id(asset))) for asset in assets))
                first, last = np.searchsorted(seq_num, np.array(ends, np.int64).reshape(-1, 2)).T
                for number, own in _frames(array, first, last).items():
                    named.setdefault(uids[number], []).append(own)
    return named


def _apart(assets: Sequence[StreamAsset]) -> tuple[list[StreamAsset], list[tuple[int, int]]]:
    """The assets with seq_nums that are of one span each, and the first and last seq_num of each span.

    After a rewind the events of a later span count, and files of the earlier ones are of the run all the same.
    """
    apart, ends, begin = [], [], 1
    for asset in assets:
        spans = []
        for span in asset.spans:
            events = min(span[1] - span[0], span[3] - span[2])
            if events > 0:
                spans.append((begin, begin + events, span[2], span[2] + events))
                ends.append((begin, begin + events - 1))
                begin += events
        apart.append(replace(asset, spans=tuple(spans)))
    return apart, ends


def _frames(array: AssetArray, first: Array, last: Array) -> dict[int, Frames]:
    """The frames of each sequence, by its number, from those of the events in the rows of a first and a last event."""
    found: dict[int, Frames] = {}
    for begin, end in zip(first.tolist(), last.tolist(), strict=True):
        number = int(array.reader[begin])
        reader = array.readers[number] if number >= 0 else None
        if isinstance(reader, SequenceReader) and reader.template.numbered:
            # A layout without a header, where no file is there, is as the data key declares: of one frame.
            each = reader.frames_per_event or array.layouts[number].frames
            part = range(int(array.index[begin]) * each, (int(array.index[end]) + 1) * each)
            found.setdefault(number, (reader, []))[1].append(part)
    return found
