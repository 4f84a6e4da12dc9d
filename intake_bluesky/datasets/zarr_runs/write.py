"""Writing a run, whatever store it is in, as a Zarr hierarchy."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

import dask
import dask.array as da
import numpy as np
import xarray as xr
import zarr
from xarray.conventions import encode_cf_variable, encode_dataset_coordinates
from zarr.codecs import BloscCodec
from zarr.core.sync import sync

from intake_bluesky.datasets.stream_reader import StreamReader
from intake_bluesky.datasets.variables import variable_names
from intake_bluesky.datasets.zarr_runs.chunking import Cut
from intake_bluesky.datasets.zarr_runs.places import RunPlace
from intake_bluesky.datasets.zarr_runs.staged import Staged
from intake_bluesky.datasets.zarr_runs.targets import METADATA
from intake_bluesky.documents.columns import TEXT, Array
from intake_bluesky.documents.exact_json import json_text
from intake_bluesky.documents.model import RunHeader

__all__ = ["FORMAT", "VERSION", "External", "write_run"]

External: TypeAlias = Literal["embed", "reference"]
FORMAT: Final = "bluesky-zarr"
VERSION: Final = 1
ESCAPED_NUL: Final = "\\u0000"
"""In the place of NUL, and so of a text that had these characters itself: it cannot be told which."""


def write_run(
    url: str,
    header: RunHeader,
    tree: Mapping[str, xr.Dataset],
    readers: Mapping[str, StreamReader],
    *,
    external: External = "embed",
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> str:
    """Write a run.

    Parameters
    ----------
    url : str
        A path or a URL of fsspec: with ``.zip`` at its end one file, with ``/`` a folder of runs, else the folder of
        the hierarchy.
    header : RunHeader
    tree : mapping of path to xarray.Dataset
        As in `BlueskyRun.to_datatree`, with text as `StringDType`.
    readers : mapping of stream to StreamReader
        Those that made the Datasets of the streams.
    external : {"embed", "reference"}
    overwrite : bool
    storage_options : mapping, optional
        Of fsspec.

    Returns
    -------
    str
        The URL written.

    Raises
    ------
    UnsupportedOperation
        When something is there already.
    StoreUnavailable
        When it cannot be written.
    """
    if external not in get_args(External):
        raise ValueError(f"external is one of {', '.join(map(repr, get_args(External)))}, not {external!r}")
    with Staged(*_places(url, header, storage_options or {})) as staged:
        sync(staged.begin(overwrite=overwrite))
        try:
            return _written(staged, header, tree, readers, external).url
        except BaseException:
            sync(staged.undo())
            raise


def _places(url: str, header: RunHeader, options: Mapping[str, Any]) -> tuple[RunPlace | None, RunPlace | None]:
    """The folder, and the file, that a run may go to."""
    if not url.endswith("/"):
        place = RunPlace(url, options)
        return (None, place) if place.is_zip else (place, None)
    name = variable_names([header.uid], reserved=())[header.uid]
    folder = RunPlace(f"{url}{name}.zarr", options)
    return folder, RunPlace(f"{folder.url}.zip", options) if header.stop is not None else None


def _written(
    staged: Staged,
    header: RunHeader,
    tree: Mapping[str, xr.Dataset],
    readers: Mapping[str, StreamReader],
    external: External,
) -> RunPlace:
    nodes = variable_names(header.streams, reserved={"config"})
    streams, later = {name: _Stream(readers[name], nodes[name]) for name in readers}, _Later()
    by_node = {stream.node: stream for stream in streams.values()}
    groups = {"": dict[str, Any](tree["/"].attrs)}
    for path in sorted(tree, key=lambda path: path.count("/")):  # the order of a DataTree
        node, dataset = path.strip("/"), tree[path]
        if not node:
            continue
        for parent in itertools.accumulate(node.split("/"), "{}/{}".format):
            groups.setdefault(parent, {})
        stream = by_node.get(node)
        if stream is not None and external == "reference":
            dataset, groups[node]["external"] = stream.referred(dataset)
        variables, attrs = encode_dataset_coordinates(dataset)
        groups[node] |= attrs
        for name, variable in variables.items():
            _write_array(staged, f"{node}/{name}", variable, later)
    escaped = later.compute()
    groups[""] |= {
        "descriptors": json_text(header.descriptors),
        "documents": header.version,
        "format": FORMAT,
        "format_version": VERSION,
        "streams": json_text({name: s.told(tree[f"/{s.node}"], escaped, external) for name, s in streams.items()}),
    }
    return sync(staged.finish(_metadata(staged, groups)))


class _Stream:
    """What of a stream its reader knows beyond the Dataset."""

    def __init__(self, reader: StreamReader, node: str) -> None:
        self.reader, self.node = reader, node

    def referred(self, dataset: xr.Dataset) -> tuple[xr.Dataset, str]:
        """The Dataset without external arrays, and what is told of each."""
        told, names = {}, []
        for key, array in self.reader.assets.items():
            # A structure became a variable for each of its fields.
            own = [n for n, v in dataset.data_vars.items() if key in (n, v.attrs.get("key"))]
            names += own
            told[key] = {
                "shape": array.shape,
                "dtype": array.dtype.str,
                "files": [file.path for file in array.files()],
                "resources": self.reader.resources(key),
            }
        return dataset.drop_vars(names), json_text(told)

    def told(self, dataset: xr.Dataset, escaped: set[str], external: External) -> dict[str, Any]:
        """What readers need to take the arrays for events; see docs/reference/zarr-format.md."""
        reader, layout = self.reader, self.reader.layout
        found: dict[str, Any] = {"group": self.node, "events": layout.events, "arrays": {}, "descriptors": None}
        if not reader.rows.whole:
            return found
        names = variable_names(reader.specs)
        for key in layout.data_keys:
            variable = dataset.variables.get(names.get(key, ""))
            asset = reader.assets.get(key)
            # Where it was asked to fill, nobody knows what of the files was there.
            complete = asset is None or (
                external == "embed" and asset.on_rows and not asset.fill and not len(asset.missing)
            )
            if (
                variable is not None
                and complete
                and f"{self.node}/{names[key]}" not in escaped
                and "media_type" not in variable.attrs
                and (variable.dtype == TEXT or variable.dtype.kind in "biufc")
            ):
                found["arrays"][key] = names[key]
        found["descriptors"] = reader.stored_descriptors
        return found


class _Later:
    """Dask arrays to be stored, all in one computation, in which each page of events is parsed once."""

    def __init__(self) -> None:
        self.sources: list[da.Array] = []
        self.targets: list[_Target] = []
        self.texts: dict[str, Any] = {}

    def add(self, path: str, source: Any, target: zarr.Array[Any]) -> None:
        """Store one array; what is no dask array at once."""
        if isinstance(source, da.Array):
            self.sources.append(source)
            self.targets.append(_Target(target))
        elif target.size:
            target[...] = source
        if source.dtype == TEXT:
            lazy = isinstance(source, da.Array)
            self.texts[path] = da.map_blocks(_has_escaped, source, dtype=bool).any() if lazy else _has_escaped(source)

    def compute(self) -> set[str]:
        """Store all; the paths of texts in which NUL was escaped, or may have been."""
        # Chunks go through an object of this process: those of a cluster do not have it.
        stored = [da.store(self.sources, self.targets, lock=False, compute=False)] if self.sources else []  # type: ignore[arg-type]  # what it sets items of
        _, texts = dask.compute(stored, self.texts, scheduler="threads")
        return {path for path, found in texts.items() if np.any(found)}


class _Target:
    """An array to be written, for dask, which would else hash all that it belongs to."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __setitem__(self, key: Any, value: Array) -> None:
        self.array[key] = value

    def __dask_tokenize__(self) -> tuple[str, int]:
        return self.array.path, id(self.array)


def _has_escaped(text: Array) -> Array:
    found = any(ESCAPED_NUL in value for value in text.ravel().tolist())
    return np.full((1,) * text.ndim, found)


def _write_array(staged: Staged, path: str, variable: xr.Variable, later: _Later) -> None:
    """Describe one array, and write it, or have it written later."""
    if variable.dtype.kind in "mM":
        variable = encode_cf_variable(variable)
    cut = Cut.of(variable.shape, variable.dtype)
    kind = variable.dtype.kind
    array: zarr.Array[Any] = zarr.create_array(
        staged,
        name=path,
        shape=variable.shape,
        dtype=variable.dtype if variable.dtype == TEXT else variable.dtype.newbyteorder("="),
        chunks=cut.chunks or "auto",
        shards=cut.shards,
        dimension_names=[str(dim) for dim in variable.dims],
        attributes={str(name): _attribute(value) for name, value in variable.attrs.items()},
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle") if kind in "iufcb" else "auto",
        fill_value=np.nan if kind in "fc" else None,
        config={"write_empty_chunks": True},  # so that a chunk that is not there is a loss
        zarr_format=3,
    )
    data = variable.data
    if isinstance(data, da.Array) and data.size:
        data = data.rechunk(tuple(map(min, cut.unit, variable.shape)))
    elif isinstance(data, da.Array):
        data = np.empty(data.shape, data.dtype)
    later.add(path, data, array)


def _attribute(value: Any) -> Any:
    """An attribute as JSON has it: what is no finite number is text, as in Zarr's fill values."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return list(map(_attribute, value))
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def _metadata(staged: Staged, groups: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The metadata of groups, each with all that is in it, as readers of consolidated metadata want it."""
    nodes: dict[str, Any] = {path: _group(attrs) for path, attrs in groups.items()}
    for key, text in staged.metadata.items():
        path = key.removesuffix(METADATA).rstrip("/")
        if path not in nodes and (found := json.loads(text))["node_type"] == "array":
            nodes[path] = found
    consolidated = {}
    for path in groups:
        inside = {key[len(path) :].lstrip("/"): node for key, node in _below(nodes, path)}
        held = {"kind": "inline", "must_understand": False, "metadata": inside}
        consolidated[path] = {**nodes[path], "consolidated_metadata": held}
    return consolidated


def _group(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": {name: _attribute(v) for name, v in attrs.items()}}


def _below(nodes: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """What is in a group, level by level: zarr 3.1 loses arrays where those of a group do not follow each other."""
    prefix = f"{path}/" if path else ""
    inside = [key for key in nodes if key.startswith(prefix) and key != path]
    parents = list(dict.fromkeys(key.rpartition("/")[0] for key in inside))
    rank = {parent: number for number, parent in enumerate(parents)}
    for key in sorted(inside, key=lambda key: (key.count("/"), rank[key.rpartition("/")[0]])):
        yield key, nodes[key]
