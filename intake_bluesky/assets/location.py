"""From the name of a file in a document to where it is, and whether it may be read."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from intake_bluesky.assets.names import Place, moved, names_of, plain
from intake_bluesky.assets.options import AssetOptions
from intake_bluesky.errors import AssetUnavailable, UntrustedName
from intake_bluesky.runtime.data_roots import advice
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.runtime.trust import origin_of, without_credentials

if TYPE_CHECKING:
    from intake_bluesky.assets.remote.remote_file import RemoteFile
    from intake_bluesky.objects import ObjectInfo, Objects

__all__ = ["Location", "check_regular", "fetched_whole", "locate"]

REMOTE: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "http", "https", "memory"})
"""Schemes that documents may name without trust: none of them reaches local files."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where one resource is: a local path, or a URL that fsspec opens.

    Attributes
    ----------
    path : str
    storage_options : mapping
        For fsspec.
    roots : tuple of str or None
        Folders of the files that this one may be, and may name (links in HDF5 files do); None where the documents are
        trusted.
    told : str
        How the path was found, for messages.
    fetched : bytes or Exception or None
        All of a remote file, or what fetching it raised, while it is read; no graph has it.

    Examples
    --------
    >>> Location("/data/x.h5").is_local, Location("s3://bucket/x.h5").is_local
    (True, False)
    """

    path: str
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    roots: tuple[str, ...] | None = field(default=None, repr=False)
    told: str = field(default="", repr=False, compare=False)
    fetched: bytes | Exception | None = field(default=None, repr=False, compare=False)

    @property
    def is_local(self) -> bool:
        """Whether the operating system opens it, and not fsspec."""
        return "://" not in self.path

    def with_path(self, path: str) -> Location:
        """Another file at the same place."""
        return Location(path, self.storage_options, self.roots, self.told)

    def may_lead_to(self, path: str) -> bool:
        """Whether this file may name a local file: any if it is trusted, else one in `roots`."""
        return self.roots is None or any(_within(path, root) for root in self.roots)

    def status(self) -> tuple[str, int]:
        """Fingerprint (changes when the file does) and size in bytes.

        Raises
        ------
        FileNotFoundError
        """
        if self.is_local:
            # Not the time alone: two writes may fall into one tick of a file system's clock, and copies may preserve
            # it.
            stat = os.stat(self.path)
            return f"{stat.st_ino}:{stat.st_mtime_ns}:{stat.st_size}", stat.st_size
        info = self.info()
        # Where a server tells nothing else, the size is all there is.
        return info.tag or str(info.size), info.size

    def objects(self) -> tuple[Objects, str]:
        """Of a remote file the objects that it is among, and its name there."""
        from intake_bluesky.assets.remote.places import place_of

        return place_of(self.path, self.storage_options).named(self.path)

    def info(self, *, recent: bool = False) -> ObjectInfo:
        """Look at a remote file, or (`recent`) know what it was a moment ago.

        Raises as `status` does, and AssetUnavailable.
        """
        from intake_bluesky.assets.remote.places import place_of
        from intake_bluesky.assets.remote.remote_file import unavailable

        try:
            place = place_of(self.path, self.storage_options)
            return place.recent(self.path) if recent else place.look(self.path)
        except Exception as error:  # noqa: BLE001  # filesystems raise what their libraries do
            raise unavailable(self.path, error) from None

    def beginning_with(self, prefix: str) -> list[str]:
        """How the paths of what is there go on after a prefix.

        Nothing where there is no such folder, or none that the documents may name.

        Raises
        ------
        AssetUnavailable
            When the folder is there and cannot be listed.
        """
        try:
            if self.is_local:
                folder, begin = os.path.split(prefix)
                self.with_path(folder or ".").check()
                names = os.listdir(folder or ".")
            else:
                objects, path = self.with_path(prefix).objects()
                folder, _, begin = path.rpartition("/")
                names = [info.name.rpartition("/")[2] for info in objects.list(folder)]
        except (FileNotFoundError, NotADirectoryError, UntrustedName):
            return []
        except Exception as error:  # filesystems raise what their libraries do
            raise AssetUnavailable(f"the folder of {prefix}* cannot be listed: {error}") from error
        return [name[len(begin) :] for name in names if name.startswith(begin)]

    def is_remote_folder(self) -> bool:
        """Whether it is the beginning of the names of other objects in a bucket, as a Zarr array is.

        Raises
        ------
        OSError
            When that cannot be asked.
        """
        if self.is_local:
            return False
        objects, path = self.objects()
        try:
            objects.list(path.rstrip("/"))
        except FileNotFoundError:
            return False
        return True

    def files_below(self) -> list[str]:
        """What is at a URL: the file, or all files in the folder, as a Zarr array is one.

        Raises
        ------
        AssetUnavailable
        """
        try:
            objects, path = self.objects()
            path = path.rstrip("/")
            try:
                found = [info.name for info in objects.list(path, "**")]
            except FileNotFoundError:
                found = []
            names = found or [objects.head(path).name]
        except FileNotFoundError:
            raise AssetUnavailable(f"{self.path} is not there") from None
        except Exception as error:  # filesystems raise what their libraries do
            raise AssetUnavailable(f"{self.path} cannot be listed: {error}") from error
        return [self.path.rstrip("/") + name[len(path) :] for name in names]

    def check(self) -> None:
        """Refuse a local file that is a symbolic link to a place its document may not name, or is no file.

        Raises
        ------
        UntrustedName
        AssetUnavailable
            For a pipe, a socket or a device: reading one may wait for ever.
        """
        if self.is_local:
            if not _is_path(self.path):  # names of sequences are made of what datums say
                raise AssetUnavailable(f"{self.path!r} is no path")
            if not self.may_lead_to(self.path):
                raise UntrustedName(
                    f"{self.path} is a link to {os.path.realpath(self.path)}, which is under no root_map target and no "
                    f"allowed root: {advice(os.path.realpath(self.path))}, or trust the catalog"
                )
            with suppress(FileNotFoundError, NotADirectoryError):
                check_regular(self.path, os.stat(self.path).st_mode)

    def open(self) -> Any:
        """Open for reading bytes; raises as `check` and `status` do."""
        if isinstance(self.fetched, Exception):
            raise self.fetched
        if self.fetched is not None:
            return io.BytesIO(self.fetched)
        if not self.is_local:
            info = self.info()
            # Some servers do not tell how long a file is.
            return io.BufferedReader(self.open_remote(info)) if info.size else self.with_content(self._all()).open()
        self.check()
        return open(self.path, "rb")

    def _all(self) -> bytes:
        objects, name = self.objects()
        return objects.get(name)[0]

    def open_remote(self, info: ObjectInfo, *, exact: bool = False) -> RemoteFile:
        """Open a version of a remote file, for reading parts of it; nothing is fetched yet.

        With `exact` reading past its end raises, and the blocks that are read are kept on disk.
        """
        from intake_bluesky.assets.remote.places import place_of
        from intake_bluesky.assets.remote.remote_file import RemoteFile

        place = place_of(self.path, self.storage_options)
        objects, name = place.named(self.path)
        known = place.known(self.path, info, on_disk=exact)
        return RemoteFile(objects, name, info, known, exact=exact, on_replaced=lambda: place.forget(self.path))

    def with_content(self, fetched: bytes | Exception) -> Location:
        """The same file, fetched already."""
        return replace(self, fetched=fetched)


def fetched_whole(files: Sequence[Location], most: int) -> list[Location]:
    """Remote files of one place, fetched at the same time, a request each; larger ones than `most` stay as they are.

    What one of them raised, it raises when it is opened.
    """
    from intake_bluesky.assets.remote.remote_file import unavailable
    from intake_bluesky.objects import Span

    named = [file.objects() for file in files]
    found = named[0][0].ranges([Span(name, 0, most) for _, name in named])
    return [
        file.with_content(unavailable(file.path, data))
        if isinstance(data, Exception)
        else file
        if len(data) == most
        else file.with_content(data)
        for file, data in zip(files, found, strict=True)
    ]


def check_regular(path: str, mode: int) -> None:
    """Refuse what is neither a file nor a folder.

    Raises
    ------
    AssetUnavailable
    """
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise AssetUnavailable(f"{path} is a pipe, a socket or a device, and no file: it is not read")


def locate(resource: Mapping[str, Any], options: AssetOptions) -> Location:
    """Find where a resource or stream resource is.

    Parameters
    ----------
    resource : mapping
        With ``resource_path`` (and ``root``), or with ``uri``: ``file://localhost/abs``, ``file:///abs``, a plain path,
        or a URL of fsspec. A ``file:`` URI that is not quoted as it should be means the file that is there.
    options : AssetOptions

    Raises
    ------
    UntrustedName
        When the path climbs with ``..``, or is outside of what documents from elsewhere may name.

    Examples
    --------
    >>> resource = {"root": "/data", "resource_path": "2026/x.h5"}
    >>> locate(resource, AssetOptions(root_map={"/data": "/mnt/archive"})).path
    '/mnt/archive/2026/x.h5'
    >>> locate({"uri": "file://localhost/data/x.h5"}, AssetOptions(root_map={"/data": "s3://bucket"})).path
    's3://bucket/x.h5'
    """
    _check_names(resource)
    place = _place(resource, options)
    path = place.path
    if not options.trusted:
        _check(path, options)
    roots = None if options.trusted else tuple(root for root in _roots(options) if "://" not in root)
    # Local files need no credentials, so none travel with them to workers.
    return Location(path, {} if "://" not in path else _storage_options(path, options), roots, _told(place, options))


def _check_names(resource: Mapping[str, Any]) -> None:
    given = {part: resource[part] for part in ("root", "resource_path", "uri") if resource.get(part) is not None}
    if not given.keys() - {"root"}:
        raise AssetUnavailable(f"resource {resource.get('uid')!r} names no file: it has neither uri nor resource_path")
    for part, name in given.items():
        if not isinstance(name, (str, os.PathLike)) or not _is_path(unquote(str(name))):
            raise AssetUnavailable(f"the {part} of resource {resource.get('uid')!r}, {repr(name)[:80]}, is no path")


def _is_path(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def _storage_options(url: str, options: AssetOptions) -> dict[str, Any]:
    """The options for a URL: documents from elsewhere may name any web server, which is not to be sent credentials."""
    given = dict(options.storage_options)
    if not options.trusted and url.startswith(("http:", "https:")):
        known = {*options.servers, *(origin_of(root) for root in _roots(options))}
        given = given if origin_of(url) in known else {}
    return without_credentials(url, given) if options.anonymous else given


def _place(resource: Mapping[str, Any], options: AssetOptions) -> Place:
    """Of the places that a name may mean the first where something is; else one that moved, or the likeliest."""
    for part in ("root", "resource_path", "uri"):
        if part != "root" or resource.get(part) not in options.root_map:
            _refuse_climbing(unquote(str(resource.get(part) or "")))
    places = [moved(name, options.root_map) for name in names_of(resource)]
    if len(places) == 1:
        return places[0]
    # As it stands comes first where something is: a name that was quoted does not exist beside what it quotes.
    stands = sorted(places, key=lambda place: place.name not in str(resource["uri"]))
    there = (place for place in stands if _is_there(place.path, options))
    return next(there, None) or next((place for place in places if place.entry is not None), places[0])


def _is_there(path: str, options: AssetOptions) -> bool:
    """Whether there is something that begins with this name: of many files, the documents name the beginning."""
    try:
        if not options.trusted:
            _check(path, options)
        if "://" in path:  # two requests, for names that are not clear alone
            there = Location(path, _storage_options(path, options))
            with suppress(FileNotFoundError):
                return bool(there.info().name)
            return bool(there.beginning_with(path))
        return os.path.exists(path) or bool(Location(path).beginning_with(path))
    except OSError:  # it may not be looked for, or the folder cannot be listed
        return False


def _told(place: Place, options: AssetOptions) -> str:
    if place.entry is not None:
        return f"{place.name} by the entry {place.entry!r} of root_map"
    if "://" not in place.path and not os.path.isabs(place.path):
        return "its root is no folder: open a folder of databroker-pack by its catalog.yml, which has its root_map"
    if not options.root_map:
        return "" if place.name == place.path else place.name
    entries = ", ".join(map(repr, options.root_map))
    return f"no entry of root_map is a leading folder of {place.name}: it has {entries}"


def _refuse_climbing(path: str) -> None:
    # Servers decode what is encoded: `%2e%2e` climbs there.
    if ".." in PurePosixPath(unquote(path).replace("\\", "/")).parts:
        raise UntrustedName(f"a document names the file {path!r}: '..' in paths of documents is refused")


def _check(path: str, options: AssetOptions) -> None:
    roots = _roots(options)
    if "://" in path:
        scheme = path.partition("://")[0]
        if (scheme in REMOTE and "::" not in path) or any(path.startswith(r.rstrip("/") + "/") for r in roots):
            return
    elif any(_within(path, root) for root in roots if "://" not in root):
        return
    # Under a root by its name, and not by where links on the way lead: to name the root again would not help.
    linked = any(path.startswith(f"{root.rstrip('/')}/") for root in roots)
    place = os.path.realpath(path) if linked else path
    leads = f"{path!r}, a link to {place!r}" if linked else repr(path)
    raise UntrustedName(
        f"documents from elsewhere name {leads}, which is under no root_map target and no allowed root "
        f"({', '.join(map(shown, roots)) or 'none given'}): {advice(place)}, or trust the catalog"
    )


def _roots(options: AssetOptions) -> list[str]:
    return [plain(str(root)) for root in (*options.root_map.values(), *options.allowed_roots)]


def _within(path: str, root: str) -> bool:
    """Whether a path is inside a folder, links resolved on both sides."""
    # Resolved, or a link inside of an allowed folder would lead out of it.
    folder = os.path.realpath(root)
    return os.path.commonpath([folder, os.path.realpath(path)]) == folder
