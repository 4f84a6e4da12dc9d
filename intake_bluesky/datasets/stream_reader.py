"""One stream as an `xarray.Dataset`: event pages and assets joined, lazily or eagerly.

`StreamReader` decides once on the dtype, shape, dimensions and attributes of every variable, and then either describes
it to dask or reads it; both give the same Dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from intake_bluesky.assets import AssetArray, datum_array, stream_asset_array
from intake_bluesky.cached import cached_property
from intake_bluesky.datasets.event_columns import (
    BLOCK_BYTES,
    AllBut,
    EventColumn,
    InlineColumns,
    Looked,
    Stored,
    declared,
)
from intake_bluesky.datasets.filled_documents import Datums
from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.datasets.presentation import present
from intake_bluesky.datasets.repeats import Repeats
from intake_bluesky.datasets.rows import Rows, believed, seq_nums_of
from intake_bluesky.datasets.stored_arrays import as_dask, read_together, stored_arrays
from intake_bluesky.datasets.variables import (
    EPOCH,
    Dimensions,
    agreed,
    attribute,
    attributes,
    datetimes,
    variable_names,
)
from intake_bluesky.documents.columns import OBJECT, Array, Observed, conform
from intake_bluesky.documents.dimensions import moved
from intake_bluesky.documents.model import Document, RunHeader, StreamLayout, is_external, is_streamed
from intake_bluesky.documents.untyped import check_descriptors
from intake_bluesky.errors import StreamNotFound
from intake_bluesky.storage.contract import RunStore

__all__ = ["StreamReader"]

UNSEEN = Looked({})
AT_ONCE = 2**20  # bytes of a stream, by what its descriptors declare, that are read as quickly as its times alone


class StreamReader:
    """Reads one stream of a run as it was when its header was read.

    Parameters
    ----------
    store : RunStore
    header : RunHeader
    stream : str
    options : DatasetOptions

    Raises
    ------
    StreamNotFound
        When the run has no such stream.
    DamagedRun
        When nobody can tell what its events hold: a descriptor's data keys are not of event-model's form.
    """

    _hold = False  # whether all values may be read and held before the Dataset is made

    def __init__(self, store: RunStore, header: RunHeader, stream: str, options: DatasetOptions | None = None) -> None:
        if stream not in header.streams:
            raise StreamNotFound(f"run {header.uid} has no stream {stream!r}; it has {sorted(header.streams)}")
        self.store = store
        self.header = header
        self.layout: StreamLayout = header.streams[stream]
        check_descriptors(header.uid, self.layout, "data_keys")
        self.options = options or DatasetOptions()

    @cached_property
    def _looked(self) -> Looked:
        """What is known of the values: what the store observed, else what a look at them shows where one is taken.

        None is taken at a long stream, unless all of it is to be read anyway, or it is asked for.
        """
        if self.layout.observed is not None:
            return Looked(self.layout.observed)
        width = sum(abs(declared(key, spec).nbytes) for key, spec in self.layout.data_keys.items())
        hold = self._hold or 0 < self.layout.events * width <= AT_ONCE
        if not hold and self.options.on_mismatch != "object":
            return UNSEEN
        opt = self.options
        wanted = AllBut(opt.exclude) if opt.include is None else opt.include
        return InlineColumns(self.store, self.header, self.layout, part=opt.sub_dict).look(wanted, hold=hold)

    @property
    def _observed(self) -> Mapping[str, Observed] | None:
        return None if self._looked is UNSEEN else self._looked.observed

    @cached_property
    def specs(self) -> dict[str, Document]:
        """Data key by key, without excluded ones: the descriptors', then those that only events have."""
        specs = dict(self.layout.data_keys)
        for key in self._observed or ():
            specs.setdefault(key, {})
        opt = self.options
        # What is excluded was not looked at: whether events have it is only known of a store that observes.
        excluded = opt.exclude if self.layout.observed is not None else ()
        unknown = [k for k in (*(opt.include or ()), *excluded) if k not in specs]
        if unknown:
            raise KeyError(f"stream {self.layout.name!r} has no key {unknown}; it has {sorted(specs)}")
        wanted = specs if opt.include is None else {k: s for k, s in specs.items() if k in opt.include}
        return {k: s for k, s in wanted.items() if k not in opt.exclude}

    @cached_property
    def _names(self) -> dict[str, str]:
        """The variable of each key."""
        return variable_names(self.specs)

    @cached_property
    def _index(self) -> Stored:
        """seq_num, time and datum_ids of all stored events, which a lazy Dataset needs before it is made."""
        return self._inline.stored(self._datum_fields)

    @cached_property
    def rows(self) -> Rows:
        """The Dataset's rows; reads seq_num, time and datum_ids of all stored events, and nothing else."""
        keys = {key for key, spec in self.layout.data_keys.items() if self._is_streamed(key, spec)}
        # Frames that no data key names are of no variable, but that there were some is true: rows lack them.
        keys |= self._asset_keys - self.layout.data_keys.keys()
        spans = {key: [s for a in self.header.assets_of(self.layout.name, key) for s in a.spans] for key in keys}
        where = f"stream {self.layout.name!r} of run {self.header.uid}"
        frames = {key: seq_nums_of(spans[key]) for key in believed(spans, self.specs, where)}
        rows = Rows.of(self._index.seq_num, self._index.time, frames, trim=self.options.trim)
        return rows.without(self._short) if self.options.trim else rows

    @cached_property
    def _repeats(self) -> Repeats:
        stored, keys = self._index, self.layout.data_keys
        found = Repeats(stored.seq_num, stored.descriptor, self.layout.descriptors)
        undeclared = frozenset(self._observed or ()) - keys.keys()
        if not (found.joined and undeclared):
            return found
        having: dict[str, set[int]] = {key: set() for key in undeclared}
        for start, page in self._inline.held or self._inline.source.read(undeclared, slice(0, self.layout.events)):
            for key in undeclared & (page.data or page.timestamps).keys():
                having[key].add(int(stored.descriptor[start]))
        return replace(found, undeclared={key: frozenset(places) for key, places in having.items()})

    @property
    def unclear(self) -> int:
        """The rows of which it is unclear which of their events count; see `Repeats.unclear`."""
        return self._repeats.unclear

    def _on_rows(self, fields: Sequence[EventColumn]) -> Iterator[tuple[list[EventColumn], Rows]]:
        """Yield columns, with the rows of the events that count for them; all at once in nearly every stream."""
        if not fields:
            return
        if not self._repeats.joined:
            yield list(fields), self.rows
            return
        groups = dict[bytes, tuple[list[EventColumn], Array]]()
        for field in fields:
            preferred = self._repeats.preferred(field.key)
            groups.setdefault(preferred.tobytes(), ([], preferred))[0].append(field)
        for own, preferred in groups.values():
            yield own, self.rows.preferring(self._index.seq_num, preferred)

    @cached_property
    def _short(self) -> Array:
        """The seq_nums for which the files hold less than the documents declare; reads the files' headers."""
        options = replace(self.options, trim=False, sub_dict="data")
        # A reader without `trim`: which frames the files lack is only known of arrays that have all rows.
        whole = StreamReader(self.store, self.header, self.layout.name, options)
        missing = [whole.rows.seq_num[array.missing] for array in whole.assets.values()]
        return np.concatenate([np.empty(0, np.int64), *missing])

    @cached_property
    def _inline(self) -> InlineColumns:
        fill = self.options.on_missing == "fill"
        layout = replace(self.layout, observed=self._observed)
        held = self._looked.pages
        return InlineColumns(self.store, self.header, layout, part=self.options.sub_dict, fill=fill, held=held)

    @cached_property
    def _fields(self) -> list[EventColumn]:
        elsewhere = {*self._held, *(field.key for field in self._datum_fields)}
        specs = {k: s for k, s in self.specs.items() if k not in elsewhere and not self._is_streamed(k, s)}
        return self._inline.fields(specs)

    @cached_property
    def _held(self) -> Mapping[str, Any]:
        """Values that the store holds as arrays, by key."""
        if self.options.sub_dict == "timestamps":
            return {}
        return stored_arrays(self.store, self.header, self.layout, self.layout.data_keys)

    @cached_property
    def _asset_keys(self) -> set[str]:
        """The keys that stream resources name."""
        uids = {d["uid"] for d in self.layout.descriptors}
        return {asset.data_key for asset in self.header.stream_assets if asset.descriptor in uids}

    # What the events hold decides what a key is: its descriptor may say "STREAM:" of datums, or "FILESTORE:" of values
    # that were filled in before they were stored.

    def _may_be_datum(self, key: str, spec: Document) -> bool:
        """Whether events may hold datum_ids under this key: text was seen there, or nothing was, or nobody looked."""
        if self.options.sub_dict == "timestamps" or key in self._held or key in self._asset_keys:
            return False
        seen = (self._observed or {}).get(key)
        if is_external(spec):
            return seen is None or not seen.valued or "text" in seen.kinds
        # A key of numbers that holds text, in a run with resources: a descriptor that forgot to say "external".
        texts = seen is not None and "text" in seen.kinds and spec.get("dtype") != "string"
        return texts and bool(self.header.resources) and self._names_datums(key)

    def _names_datums(self, key: str) -> bool:
        pages = self.store.event_pages(self.header.uid, self.layout.name, data={key})
        values = [value for page in pages if key in page.data for value in conform(page.data[key], OBJECT, ())]
        self._datums.find(values)
        return any(isinstance(value, str) and value in self._datums.datums for value in values)

    def _is_streamed(self, key: str, spec: Document) -> bool:
        """Whether stream resources have the values of a key, or should have: as it declares, and no event has any."""
        if key in self._held:
            return False
        if key in self._asset_keys:
            return True
        if not is_streamed(spec):
            return False
        if self._observed is not None and (self.layout.observed is not None or key in self.specs):
            seen = self._observed.get(key)
            return seen is None or not seen.valued
        column = self._index.columns.get(key)  # None of keys that are not wanted
        if column is None:
            return self.options.sub_dict == "timestamps"
        return all(value is None or (isinstance(value, str) and not value) for value in column)

    @cached_property
    def assets(self) -> dict[str, AssetArray]:
        """Array of each external key; opens the headers of its files, never their data."""
        if self.options.sub_dict == "timestamps":
            return {}
        arrays = {}
        own, target = self.options.assets, self.options.target_chunk
        target = own.target_chunk if target is None else target
        ended = self.header.stop is not None
        options = replace(own, on_missing=self.options.on_missing, target_chunk=target, finished=ended)
        for key, spec in self.specs.items():
            if self._is_streamed(key, spec):
                assets = self.header.assets_of(self.layout.name, key)
                specs = {d["uid"]: d["data_keys"][key] for d in self.layout.descriptors if key in d["data_keys"]}
                arrays[key] = stream_asset_array(assets, key, spec, self.rows.seq_num, options, specs=specs)
        for key, ids in self._datum_ids().items():
            self._datums.find(ids)
            arrays[key] = datum_array(ids, key, self.specs[key], self._datums.resources, self._datums.datums, options)
        return arrays

    @cached_property
    def _datums(self) -> Datums:
        return Datums(self.store, self.header)

    @cached_property
    def _datum_fields(self) -> list[EventColumn]:
        return [EventColumn(key, OBJECT) for key, spec in self.specs.items() if self._may_be_datum(key, spec)]

    def _datum_ids(self) -> dict[str, list[Any]]:
        """datum_id of each row, or what it holds in the place of one; None where it has nothing, by key."""
        # A row without an event has no datum_id, which is no error: the array then has a gap there.
        inline, ids = replace(self._inline, fill=True), dict[str, Array]()
        for fields, rows in self._on_rows(self._datum_fields):
            ids |= inline.arrange(fields, self._index, rows)
        return {key: list(own) for key, own in ids.items() if not self._is_streamed(key, self.specs[key])}

    def resources(self, key: str) -> list[Document]:
        """The resources, or stream resources, that have the values of an external key."""
        if self._is_streamed(key, self.specs[key]):
            return [asset.resource for asset in self.header.assets_of(self.layout.name, key)]
        ids = [one for listed in self._datum_ids()[key] for one in (listed if isinstance(listed, list) else [listed])]
        uids = dict.fromkeys(self._datums.datums[one][0] for one in ids if one in self._datums.datums)
        return [self._datums.resources[uid] for uid in uids if uid in self._datums.resources]

    @property
    def stored_descriptors(self) -> list[tuple[str, int]]:
        """The descriptors of the stored events, in their order: uid, and how many events follow each other."""
        uids = [str(d["uid"]) for d in self.layout.descriptors]
        return [(uids[place], len(list(events))) for place, events in groupby(self._index.descriptor.tolist())]

    def to_dask(self) -> xr.Dataset:
        """Describe the Dataset; seq_num, time and the headers of asset files are read, no event data and no array."""
        target = self.options.target_chunk or BLOCK_BYTES
        arrays: dict[str, Any] = {}
        for fields, rows in self._on_rows(self._fields):
            arrays |= self._inline.dask(fields, rows, target=target)
        arrays |= self._held_on_rows()
        arrays |= {key: asset.dask() for key, asset in self.assets.items()}
        return self._assemble(arrays)

    def read(self) -> xr.Dataset:
        """Read the Dataset into memory, without dask, the events in one pass."""
        if self._observed is None:
            whole = StreamReader(self.store, self.header, self.layout.name, self.options)
            whole._hold = True
            return whole.read()
        stored = self._inline.stored([*self._fields, *self._datum_fields])
        # `rows` needs seq_num and time, which were just read: the cached property takes them, and reads no page again.
        self.__dict__.setdefault("_index", stored)
        arrays: dict[str, Any] = {}
        for fields, rows in self._on_rows(self._fields):
            arrays |= self._inline.arrange(fields, stored, rows)
        if self.rows.whole:
            arrays |= read_together({key: array for key, array in self._held.items() if key in self.specs})
        else:
            arrays |= {key: array.compute() for key, array in self._held_on_rows().items()}
        arrays |= {key: asset.read() for key, asset in self.assets.items()}
        return self._assemble(arrays)

    def _held_on_rows(self) -> dict[str, da.Array]:
        wanted = {key: array for key, array in self._held.items() if key in self.specs}
        lazy = as_dask(self.store, self.header, self.layout, wanted)
        if self.rows.whole:
            return dict(lazy)
        held = [EventColumn(key, array.dtype) for key, array in lazy.items()]
        return {
            field.key: self._inline.on_rows(field.key, lazy[field.key], rows)
            for fields, rows in self._on_rows(held)
            for field in fields
        }

    @property
    def npartitions(self) -> int:
        """Into how many parts `partition` splits the rows; at least one."""
        return len(self._partitions) - 1

    @cached_property
    def _partitions(self) -> list[int]:
        # Cut wherever a chunk of any variable ends, so that a part is within one chunk of each.
        chunks = self.to_dask().unify_chunks().chunksizes.get("time", (len(self.rows),))
        return [0, *np.cumsum(chunks).tolist()]

    def partition(self, i: int) -> xr.Dataset:
        """Read the rows of part `i` into memory."""
        ds, (start, stop) = self.to_dask(), self._partitions[i : i + 2]
        per_row = {dim: size // len(self.rows) for dim, size in ds.sizes.items() if str(dim) in self._frame_dims}
        parts = {dim: slice(start * n, stop * n) for dim, n in ({"time": 1} | per_row).items()}
        return ds.isel(parts).compute()

    @property
    def _frame_dims(self) -> dict[str, str]:
        """Dimension of each key whose frames, several an event, are joined: its first axis does not count rows."""
        return {f"{self._names[key]}_frame": key for key, array in self.assets.items() if not array.on_rows}

    def _assemble(self, arrays: Mapping[str, Any]) -> xr.Dataset:
        names = self._names
        dimensions = Dimensions(taken=set(names.values()))
        devices = (pair for d in self.layout.descriptors for pair in (d.get("object_keys") or {}).items())
        owner = {key: device for device, keys in devices for key in keys}
        leading = {key: dim for dim, key in self._frame_dims.items()}
        variables = {}
        for key, spec in self.specs.items():
            if key in arrays:
                dims = (leading.get(key, "time"), *dimensions.of(spec, arrays[key].shape[1:]))
                given = [d["data_keys"][key] for d in self.layout.descriptors if key in d["data_keys"]]
                attrs = attributes(key, names[key], agreed(given), device=owner.get(key))
                variables[names[key]] = (dims, arrays[key], attrs)
        dataset = xr.Dataset(variables, coords=self._coordinates(), attrs=self._attributes())
        # When a motor was read is no position.
        positions = moved(self.header.start, self.layout.name) if self.options.sub_dict == "data" else ()
        return present(dataset, self.options, positions)

    def _coordinates(self) -> dict[str, Any]:
        coords: dict[str, Any] = {"seq_num": ("time", self.rows.seq_num, {"long_name": "sequence number"})}
        # Frames alone have no times; a column of NaN would promise what no document has.
        if not self.rows.stored and len(self.rows):
            return coords
        if not self.options.decode_times:
            return {"time": ("time", self.rows.time, {"units": EPOCH, "long_name": "event time"}), **coords}
        return {"time": ("time", datetimes(self.rows.time), {"long_name": "event time"}), **coords}

    def _attributes(self) -> dict[str, Any]:
        attrs: dict[str, Any] = {"stream": attribute(self.layout.name), "uid": attribute(self.header.uid)}
        for name in ("scan_id", "plan_name"):
            if isinstance(self.header.start.get(name), (str, int)):
                attrs[name] = attribute(self.header.start[name])
        short = {key: len(array.missing) for key, array in self.assets.items()}
        lacking = {**self.rows.lacking, **{key: n for key, n in short.items() if n}}
        total = len(self.rows)
        notes = [f"{k}: {total - n} of {total} rows" for k, n in lacking.items()]
        if self.unclear:
            notes.append(f"events: {self.unclear} of {total} rows have several, of unlike descriptors; the last counts")
        if notes:
            attrs["incomplete"] = "; ".join(notes)
        return attrs
