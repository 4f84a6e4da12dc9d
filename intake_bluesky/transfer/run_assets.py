"""All files of a run: those that its documents name, what is in their folders, and what HDF5 files lead to."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from intake_bluesky.assets.hdf5.linked_files import LinkedFile, linked_files
from intake_bluesky.assets.location import Location, locate
from intake_bluesky.assets.names import moved, names_of, plain
from intake_bluesky.assets.options import AssetOptions
from intake_bluesky.datasets.run_files import resource_files, stream_resource_files
from intake_bluesky.errors import AssetUnavailable, IntakeBlueskyError, UntrustedName
from intake_bluesky.transfer.asset_names import asset_path
from intake_bluesky.transfer.sources import Source

__all__ = ["RunAsset", "called", "links_of", "run_assets"]


class RunAsset(NamedTuple):
    """A file of a run.

    Attributes
    ----------
    path : str
        Where it is, for people.
    location : Location or None
        By which it is read; None where it cannot be.
    place : str
        Where it belongs in a pack.
    name : str
        What documents call it; empty for a file that another file leads to.
    problem : str
        Why it cannot be read.
    """

    path: str
    location: Location | None = None
    place: str = ""
    name: str = ""
    problem: str = ""


def run_assets(source: Source) -> Iterator[RunAsset]:
    """Yield the files that the documents of a run name, one by one where they name a folder."""
    header = source.store.header(source.uid)
    streamed = {str(one.resource.get("uid")): one.resource for one in header.stream_assets}.values()
    listings = [(one, resource_files(source.store, header, one, source.assets)) for one in header.resources]
    listings += [(one, stream_resource_files(header, one, source.assets)) for one in streamed]
    for resource, files in listings:
        for file in files:
            try:
                if not file.exists:
                    raise AssetUnavailable(file.problem or f"it is not there; run {source.uid} names it")
                here, name = called(resource, file.path, source.assets)
                yield from _below(here.with_path(file.path), name)
            except (IntakeBlueskyError, OSError) as error:
                yield RunAsset(file.path, problem=str(error))


def called(resource: Mapping[str, Any], path: str, options: AssetOptions) -> tuple[Location, str]:
    """Where a resource is, and what its documents call one of its files.

    Raises
    ------
    AssetUnavailable
    """
    here = locate(resource, options)
    places = (moved(name, options.root_map) for name in names_of(resource))
    name = next((place.name for place in places if place.path == here.path), None)
    if name is None or not path.startswith(here.path):
        raise AssetUnavailable(f"{path} is not where its resource is, {here.path}: no root_map leads to a copy of it")
    return here, plain(name) + path[len(here.path) :]


def _below(here: Location, name: str) -> Iterator[RunAsset]:
    """A file; of a folder, as a Zarr array is, all files in it."""
    for path, problem in _walked(here):
        own = f"{name}{path[len(here.path) :]}"
        if problem:
            yield RunAsset(path, problem=problem)
        else:
            yield RunAsset(path, here.with_path(path), asset_path(own), own)


def _walked(here: Location) -> Iterator[tuple[str, str]]:
    if not here.is_local:
        yield from ((path, "") for path in here.files_below())
        return
    if not os.path.isdir(here.path):
        yield here.path, ""
        return
    unread: list[OSError] = []
    for folder, folders, names in os.walk(here.path, onerror=unread.append):
        folders.sort()
        linked = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in linked:
            yield os.path.join(folder, name), "it is a link to a folder, which is not followed"
        yield from ((os.path.join(folder, name), "") for name in sorted(names))
    yield from ((str(error.filename), str(error)) for error in unread)


def links_of(asset: RunAsset) -> Iterator[RunAsset]:
    """Yield the files that a packed HDF5 file leads to: in the pack they are where it will look for them."""
    assert asset.location is not None  # it was read
    try:
        links = linked_files(asset.location)
    except IntakeBlueskyError as error:
        yield RunAsset(asset.path, problem=str(error))
        return
    for link in links:
        try:
            if link.problem:
                raise AssetUnavailable(link.problem)
            yield RunAsset(link.path, asset.location.with_path(link.path), _beside(asset.place, link))
        except IntakeBlueskyError as error:
            yield RunAsset(link.path, problem=str(error))


def _beside(place: str, link: LinkedFile) -> str:
    # HDF5 looks for the last part of an absolute name in the folder of the file that names it.
    name = os.path.basename(link.name) if os.path.isabs(link.name) else link.name
    if "%" in name:
        name = posixpath.join(posixpath.dirname(name), os.path.basename(link.path))
    found = posixpath.normpath(posixpath.join(posixpath.dirname(place), name))
    if found.split("/")[:2] != place.split("/")[:2] or found.count("/") < 2:
        raise UntrustedName(f"it is called {link.name!r} in a file that another leads to, out of all folders")
    return found
