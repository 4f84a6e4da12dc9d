"""`BlueskyRun.to_datatree` and `BlueskyRun.to_zarr`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from intake_bluesky.catalogs.argument_checks import check_keys
from intake_bluesky.catalogs.display.values import SHORT
from intake_bluesky.datasets.options import checked_options
from intake_bluesky.documents.exact_json import json_text
from intake_bluesky.documents.model import RunHeader, to_plain
from intake_bluesky.runtime.optional import optional_import

if TYPE_CHECKING:
    import xarray as xr

    from intake_bluesky.catalogs.run import BlueskyRun
    from intake_bluesky.catalogs.stream import BlueskyStream
    from intake_bluesky.datasets.zarr_runs.write import External

__all__ = ["run_to_datatree", "run_to_zarr", "write_arrays_first"]


def run_to_datatree(self: BlueskyRun, streams: Iterable[str] | None = None, **options: Any) -> xr.DataTree:
    """All of the run in one tree, lazily, in a form that its ``to_netcdf`` and ``to_zarr`` can write.

    Parameters
    ----------
    streams : iterable of str, optional
        Those wanted; all by default.
    **options
        Of each stream: ``include``, ``on_missing="fill"``, ``decode_times`` ...; ``portable=False`` keeps objects and
        structures as `BlueskyStream.read` gives them, and the run start and stop as dicts. A key of ``include`` or
        ``exclude`` need not be in every stream; with ``include``, streams that have none of the keys are left out.

    Returns
    -------
    xarray.DataTree
        ``/`` has the run start and stop as attributes (JSON text; ``null`` is a stop that is missing),
        ``/primary``, ``/baseline`` ... the streams, ``/config/<stream>/<device>`` the configuration. What files
        cannot have in names, such as ``/``, becomes ``_``.
    """
    import xarray as xr

    options = {"portable": True, **options}
    tree = _tree(self, _chosen(self, streams, options), json_text if options["portable"] else to_plain)
    return xr.DataTree.from_dict(tree, name=self.uid[:SHORT].replace("/", "_"))


def run_to_zarr(
    self: BlueskyRun,
    url: str | os.PathLike[str],
    *,
    streams: Iterable[str] | None = None,
    external: External = "embed",
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> str:
    """Write all of the run as a Zarr hierarchy that xarray reads without this package.

    It holds what `to_datatree` gives; docs/reference/zarr-format.md specifies it. Arrays of files are read and written
    piece by piece. Nobody who opens the hierarchy meanwhile sees half a run: what makes it one is written last.

    Parameters
    ----------
    url : str or path
        A path or a URL of fsspec. With ``.zip`` at its end the run is one file, else a folder. With ``/`` at its end it
        is a folder of runs: a finished run whose arrays take up to 64 MiB becomes ``<uid>.zarr.zip`` in it, any other
        ``<uid>.zarr``.
    streams : iterable of str, optional
        Those wanted; all by default.
    external : {"embed", "reference"}
        Whether arrays in files of detectors are written too, or only told of, in the attribute ``external`` of their
        stream.
    overwrite : bool
        Replace a hierarchy that is there already. A folder that is none is never removed.
    storage_options : mapping, optional
        Of fsspec, for a URL.
    **options
        Of each stream, as in `to_datatree`: ``include``, ``exclude``, ``on_missing="fill"``, ``trim`` ...

    Returns
    -------
    str
        The path or URL of what was written.

    Raises
    ------
    UnsupportedOperation
        When something is there already.
    AssetUnavailable
        When a file is missing; see `BlueskyStream.read`.
    StoreUnavailable
        When it cannot be written.
    MissingDependency

    Examples
    --------
    >>> import xarray as xr
    >>> from intake_bluesky import BlueskyCatalog
    >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
    >>> run = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](None)]))[-1]
    >>> url = run.to_zarr("memory://scan.zarr")
    >>> xr.open_datatree(url, zarr_format=3)["primary/det"].sizes
    Frozen({'time': 11})
    """
    if fixed := sorted({"portable", "text_dtype", "decode_times", "sub_dict"} & options.keys()):
        raise TypeError(f"to_zarr has no option {', '.join(map(repr, fixed))}: the format says what it is")
    chosen = _chosen(self, streams, {**options, "portable": True, "text_dtype": "string"})
    return _written(
        self, url, chosen, self.header, external=external, overwrite=overwrite, storage_options=storage_options
    )


def write_arrays_first(run: BlueskyRun, url: str, version: str, storage_options: Mapping[str, Any] | None) -> str:
    """Write the hierarchy of a run whose documents will be there in another `version` than they are read from now."""
    chosen = _chosen(run, None, {"portable": True, "text_dtype": "string"})
    header = replace(run.header, version=version)
    return _written(run, url, chosen, header, overwrite=True, storage_options=storage_options)


def _written(
    run: BlueskyRun, url: str | os.PathLike[str], chosen: Mapping[str, BlueskyStream], header: RunHeader, **options: Any
) -> str:
    optional_import("zarr", extra="zarr", purpose="to write Zarr")
    from intake_bluesky.datasets.zarr_runs.write import write_run

    readers = {name: stream._reader for name, stream in chosen.items()}
    return write_run(os.fspath(url), header, _tree(run, chosen, json_text), readers, **options)


def _chosen(run: BlueskyRun, names: Iterable[str] | None, options: Mapping[str, Any]) -> dict[str, BlueskyStream]:
    """The streams, each with those of the keys that it has."""
    streams = {name: run[name](as_events=True) for name in (run.header.streams if names is None else names)}
    asked = {name: keys for name, keys in checked_options(options).items() if name in ("include", "exclude") and keys}
    if not asked:
        return {name: stream(**options) for name, stream in streams.items()}
    known = {name: set(stream.keys) for name, stream in streams.items()}
    for keys in asked.values():
        check_keys(keys, sorted(set().union(*known.values())), what="key", where=f"run {run.uid}")
    chosen = {}
    for name, stream in streams.items():
        own = {option: [key for key in keys if key in known[name]] for option, keys in asked.items()}
        if own.get("include", True):
            chosen[name] = stream(**{**options, **own})
    return chosen


def _tree(run: BlueskyRun, streams: Mapping[str, BlueskyStream], form: Callable[[Any], Any]) -> dict[str, xr.Dataset]:
    """The Dataset of each group, by its path."""
    import xarray as xr

    from intake_bluesky.datasets.variables import variable_names

    tree = {"/": xr.Dataset(attrs={"start": form(run.start), "stop": form(run.stop)})}
    nodes = variable_names(run.header.streams, reserved={"config"})
    for name, stream in streams.items():
        tree[f"/{nodes[name]}"] = stream.to_dask()
        devices = variable_names(stream.config, reserved=())
        for device, source in stream.config.items():
            dataset = source.read()
            if dataset.data_vars:
                tree[f"/config/{nodes[name]}/{devices[device]}"] = dataset
    return tree
