"""One stream as an `xarray.Dataset`: event pages and assets joined, lazily or eagerly.

`StreamReader` decides once on the dtype, shape, dimensions and attributes of every variable, and then either describes
it to dask or reads it; both give the same Dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from intake_bluesky.assets import AssetArray, datum_array, stream_asset_array
from intake_bluesky.cached import cached_property
from intake_bluesky.datasets.event_columns import BLOCK_BYTES, EventColumn, InlineColumns, Stored
from intake_bluesky.datasets.filled_documents import Datums
from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.datasets.presentation import present
from intake_bluesky.datasets.rows import Rows, believed, seq_nums_of
from intake_bluesky.datasets.stored_arrays import stored_arrays
from intake_bluesky.datasets.variables import Dimensions, attribute, attributes, variable_names
from intake_bluesky.documents.columns import OBJECT, Array, column, conform, observe
from intake_bluesky.documents.model import (
    MAX_TIME,
    Document,
    RunHeader,
    StreamLayout,
    is_external,
    is_streamed,
    to_plain,
)
from intake_bluesky.errors import DamagedRun, StreamNotFound
from intake_bluesky.storage.contract import RunStore

__all__ = ["StreamReader", "configuration"]

EPOCH = "seconds since 1970-01-01 00:00:00"


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

    def __init__(self, store: RunStore, header: RunHeader, stream: str, options: DatasetOptions | None = None) -> None:
        if stream not in header.streams:
            raise StreamNotFound(f"run {header.uid} has no stream {stream!r}; it has {sorted(header.streams)}")
        self.store = store
        self.header = header
        self.layout: StreamLayout = header.streams[stream]
        check_descriptors(header.uid, self.layout, "data_keys")
        self.options = options or DatasetOptions()

    @cached_property
    def specs(self) -> dict[str, Document]:
        """Data key by key, without excluded ones: the descriptors', then those that only events have."""
        specs = dict(self.layout.data_keys)
        for key in self.layout.observed or ():
            specs.setdefault(key, {})
        opt = self.options
        unknown = [k for k in (*(opt.include or ()), *opt.exclude) if k not in specs]
        if unknown:
            raise KeyError(f"stream {self.layout.name!r} has no key {unknown}; it has {sorted(specs)}")
        wanted = specs if opt.include is None else {k: s for k, s in specs.items() if k in opt.include}
        return {k: s for k, s in wanted.items() if k not in opt.exclude}

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
        return InlineColumns(self.store, self.header, self.layout, part=self.options.sub_dict, fill=fill)

    @cached_property
    def _fields(self) -> list[EventColumn]:
        elsewhere = {*self._held, *(field.key for field in self._datum_fields)}
        specs = {k: s for k, s in self.specs.items() if k not in elsewhere and not self._is_streamed(k, s)}
        return self._inline.fields(specs, as_object=self.options.on_mismatch == "object")

    @cached_property
    def _held(self) -> Mapping[str, da.Array]:
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
        seen = (self.layout.observed or {}).get(key)
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
        if self.layout.observed is not None:
            seen = self.layout.observed.get(key)
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
        ids = replace(self._inline, fill=True).arrange(self._datum_fields, self._index, self.rows)
        return {key: list(own) for key, own in ids.items() if not self._is_streamed(key, self.specs[key])}

    def to_dask(self) -> xr.Dataset:
        """Describe the Dataset; seq_num, time and the headers of asset files are read, no event data and no array."""
        target = self.options.target_chunk or BLOCK_BYTES
        arrays: dict[str, Any] = self._inline.dask(self._fields, self.rows, target=target)
        arrays |= {key: self._inline.on_rows(key, self._held[key], self.rows) for key in self._held_keys}
        arrays |= {key: asset.dask() for key, asset in self.assets.items()}
        return self._assemble(arrays)

    def read(self) -> xr.Dataset:
        """Read the Dataset into memory, without dask, the events in one pass."""
        stored = self._inline.stored([*self._fields, *self._datum_fields])
        # `rows` needs seq_num and time, which were just read: the cached property takes them, and reads no page again.
        self.__dict__.setdefault("_index", stored)
        arrays = self._inline.arrange(self._fields, stored, self.rows)
        arrays |= {key: self._inline.on_rows(key, self._held[key], self.rows).compute() for key in self._held_keys}
        arrays |= {key: asset.read() for key, asset in self.assets.items()}
        return self._assemble(arrays)

    @property
    def _held_keys(self) -> list[str]:
        return [key for key in self.specs if key in self._held]

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
        names = variable_names(self.specs)
        return {f"{names[key]}_frame": key for key, array in self.assets.items() if not array.on_rows}

    def _assemble(self, arrays: Mapping[str, Any]) -> xr.Dataset:
        names = variable_names(self.specs)
        dimensions = Dimensions(taken=set(names.values()))
        devices = (pair for d in self.layout.descriptors for pair in (d.get("object_keys") or {}).items())
        owner = {key: device for device, keys in devices for key in keys}
        leading = {key: dim for dim, key in self._frame_dims.items()}
        variables = {}
        for key, spec in self.specs.items():
            if key in arrays:
                dims = (leading.get(key, "time"), *dimensions.of(spec, arrays[key].shape[1:]))
                attrs = attributes(key, names[key], spec, device=owner.get(key))
                variables[names[key]] = (dims, arrays[key], attrs)
        dataset = xr.Dataset(variables, coords=self._coordinates(), attrs=self._attributes())
        return present(dataset, self.options)

    def _coordinates(self) -> dict[str, Any]:
        coords: dict[str, Any] = {"seq_num": ("time", self.rows.seq_num, {"long_name": "sequence number"})}
        # Frames alone have no times; a column of NaN would promise what no document has.
        if not self.rows.stored and len(self.rows):
            return coords
        if not self.options.decode_times:
            return {"time": ("time", self.rows.time, {"units": EPOCH, "long_name": "event time"}), **coords}
        return {"time": ("time", _datetimes(self.rows.time), {"long_name": "event time"}), **coords}

    def _attributes(self) -> dict[str, Any]:
        attrs: dict[str, Any] = {"stream": attribute(self.layout.name), "uid": attribute(self.header.uid)}
        for name in ("scan_id", "plan_name"):
            if isinstance(self.header.start.get(name), (str, int)):
                attrs[name] = attribute(self.header.start[name])
        short = {key: len(array.missing) for key, array in self.assets.items()}
        lacking = {**self.rows.lacking, **{key: n for key, n in short.items() if n}}
        if lacking:
            total = len(self.rows)
            attrs["incomplete"] = "; ".join(f"{k}: {total - n} of {total} rows" for k, n in lacking.items())
        return attrs


def _datetimes(seconds: Array) -> Array:
    """Float seconds to datetime64[ns], to the microsecond that a float of today's epoch holds; NaN to NaT."""
    out = np.full(len(seconds), np.datetime64("NaT", "ns"), dtype="datetime64[ns]")
    known = np.isfinite(seconds)
    out[known] = np.round(seconds[known] * 1e6).astype("datetime64[us]").astype("datetime64[ns]")
    return out


def _seconds(time: Any) -> float:
    return float(time) if isinstance(time, (int, float)) and abs(time) < MAX_TIME else np.nan


def check_descriptors(uid: str, layout: StreamLayout, field: str) -> None:
    """Raise `DamagedRun` where this field of a descriptor is not of event-model's form."""
    if field in layout.damage:
        raise DamagedRun(
            f"stream {layout.name!r} of run {uid} cannot be read: {layout.damage[field]}. The documents are in "
            "run.documents(), and other streams can be read"
        )


def configuration(header: RunHeader, stream: str, device: str, options: DatasetOptions | None = None) -> xr.Dataset:
    """Configuration of one device, a row a descriptor.

    Parameters
    ----------
    header : RunHeader
    stream, device : str
        A device without configuration gives a Dataset without variables.
    options : DatasetOptions, optional
        Of which ``sub_dict`` and the form of columns count.

    Returns
    -------
    xarray.Dataset
        ``time`` is the descriptors' time, float seconds since the epoch; arrays of any number of dimensions keep
        them.

    Raises
    ------
    DamagedRun
        When the configuration in a descriptor is not of event-model's form.
    """
    check_descriptors(header.uid, header.streams[stream], "configuration")
    blocks = [d.get("configuration", {}).get(device, {}) for d in header.streams[stream].descriptors]
    options = options or DatasetOptions()
    part = options.sub_dict
    keys = list(dict.fromkeys(key for block in blocks for key in block.get(part, {})))
    specs = {key: spec for block in blocks for key, spec in block.get("data_keys", {}).items()}
    names = variable_names(dict.fromkeys(keys))
    dimensions = Dimensions(taken=set(names.values()))
    variables = {}
    for key in keys:
        values, nulls = column([block.get(part, {}).get(key) for block in blocks])
        seen = observe(values, nulls=nulls)
        array = conform(values, seen.dtype, seen.shape)
        spec = specs.get(key, {})
        attrs = attributes(key, names[key], spec, device=device)
        variables[names[key]] = (("time", *dimensions.of(spec, array.shape[1:])), array, attrs)
    times = np.array([_seconds(to_plain(d.get("time"))) for d in header.streams[stream].descriptors], dtype=np.float64)
    coords = {"time": ("time", times, {"units": EPOCH})}
    return present(xr.Dataset(variables, coords=coords, attrs={"object": attribute(device)}), options)
