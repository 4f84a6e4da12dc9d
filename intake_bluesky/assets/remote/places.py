"""Places of remote files, and one connection to each, shared by all that this process reads there."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from intake_bluesky.assets.remote.kept_blocks import KeptBlocks
from intake_bluesky.errors import AssetUnavailable
from intake_bluesky.objects import ObjectInfo, Objects, objects_at
from intake_bluesky.objects.connect import is_plain
from intake_bluesky.runtime.filesystems import check_filesystems
from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.runtime.secrets import shown

__all__ = ["RemotePlace", "place_of"]

MOST: Final = 32
"""Buckets or servers, each with some options, that are kept."""
MOST_LOOKED: Final = 1024
MOST_KEPT: Final = 1024
"""Blocks of all files of a place that are kept in memory, about; those of the file in use besides."""
RECENT: Final = 2.0
"""Seconds in which the version of a file is not asked for again before it is read; what is fetched tells if it is."""
ENVIRONMENT: Final = ("AWS_", "AZURE_", "GOOGLE_")
"""How variables begin that say who asks, and where."""


@dataclass(eq=False)
class RemotePlace:
    """The objects of one bucket or server, as one user sees them with some options.

    Attributes
    ----------
    root : str
        The beginning of URLs there.
    storage_options, environment : mapping
        By which it was made.
    """

    root: str
    storage_options: Mapping[str, Any] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    _objects: Objects | None = field(default=None, repr=False)
    _looked: OrderedDict[str, tuple[float, ObjectInfo]] = field(default_factory=OrderedDict, repr=False)
    _known: OrderedDict[tuple[str, ObjectInfo, bool], KeptBlocks] = field(default_factory=OrderedDict, repr=False)

    def named(self, url: str) -> tuple[Objects, str]:
        """The objects, and the name that a URL has among them."""
        from intake_bluesky.objects.cloud import CloudObjects

        name = url.removeprefix(self.root).removeprefix("/")
        if isinstance(self._objects, CloudObjects) and is_plain(name):
            return self._objects, name.rstrip("/")
        objects, name = _named(url, self.storage_options)
        if self._objects is None or isinstance(objects, CloudObjects):
            self._objects = objects
        return objects, name

    def look(self, url: str) -> ObjectInfo:
        """Look at a file: one request."""
        objects, name = self.named(url)
        info = objects.head(name)
        self._looked[url] = time.monotonic(), info
        while len(self._looked) > MOST_LOOKED:
            self._looked.popitem(last=False)
        return info

    def recent(self, url: str) -> ObjectInfo:
        """A file as it was a moment ago."""
        when, info = self._looked.get(url, (-RECENT, None))
        return info if info is not None and time.monotonic() - when < RECENT else self.look(url)

    def forget(self, url: str) -> None:
        """Look at a file before it is read the next time."""
        self._looked.pop(url, None)

    def known(self, url: str, info: ObjectInfo, *, on_disk: bool) -> KeptBlocks:
        """What is known of one version of a file."""
        if not info.tag:  # what is kept may be another version's
            return KeptBlocks(info.size)
        key = (url, info._replace(modified=0.0), on_disk)
        with _places.lock:
            found = self._known.get(key)
            if found is None:
                place = self._place() if on_disk else ""
                found = self._known[key] = KeptBlocks(info.size, (place, url, info.tag) if place else ())
            self._known.move_to_end(key)
            while len(self._known) > 1 and sum(len(known.blocks) for known in self._known.values()) > MOST_KEPT:
                self._known.popitem(last=False)
        return found

    def _place(self) -> str:
        """The server, without credentials; empty where that is not known for certain."""
        place = getattr(self._objects, "place", "")
        return str(place) or (self.root if self.root.startswith(("http://", "https://")) else "")


_places: Final[PerProcess[list[RemotePlace]]] = PerProcess()


def place_of(url: str, storage_options: Mapping[str, Any]) -> RemotePlace:
    """The place where a URL is, its connection made now if there is none."""
    scheme, _, rest = url.partition("://")
    root = f"{scheme}://{rest.partition('/')[0]}"
    # Who sets other keys, to try again, is somebody else.
    environment = {name: value for name, value in os.environ.items() if name.startswith(ENVIRONMENT)}
    with _places.lock:
        made = _places.get(list)
        for place in made:
            if (place.root, place.storage_options, place.environment) == (
                root, storage_options, environment,
            ):  # fmt: skip
                return place
        made.append(RemotePlace(root, dict(storage_options), environment))
        del made[:-MOST]
        return made[-1]


def _named(url: str, storage_options: Mapping[str, Any]) -> tuple[Objects, str]:
    from intake_bluesky.objects.filesystem import FilesystemObjects

    try:
        objects, name = objects_at(url, storage_options)
    except ImportError:
        check_filesystems(url)
        raise
    except ValueError as error:
        raise AssetUnavailable(f"{shown(url)} is at no place that fsspec knows: {error}") from error
    if isinstance(objects, FilesystemObjects):
        check_filesystems(url)
    return objects, name
