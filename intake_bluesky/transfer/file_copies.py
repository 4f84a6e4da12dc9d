"""The files that runs name, copied by streams, with checksums; and the `root_map` by which the copies are found."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, Final

from intake_bluesky.assets.location import Location, locate
from intake_bluesky.assets.names import WINDOWS, moved, names_of, plain
from intake_bluesky.assets.options import AssetOptions
from intake_bluesky.datasets.run_files import resource_files, stream_resource_files
from intake_bluesky.errors import AssetUnavailable, IntakeBlueskyError, MissingDependency
from intake_bluesky.transfer.hdf5_links import linked_files
from intake_bluesky.transfer.report import CopiedFile, CopyReport
from intake_bluesky.transfer.sources import Source

__all__ = ["FileCopies"]

BLOCK: Final = 1 << 20  # bytes read at once


class FileCopies:
    """Copies of the files that runs name, below one folder: each at the path that the documents call it by.

    Parameters
    ----------
    folder : Path
    dry_run : bool
    """

    def __init__(self, folder: Path, *, dry_run: bool) -> None:
        self._folder, self._dry_run = folder, dry_run
        self._roots: dict[str, set[str]] = {}  # folders that copies are called by, by the first parts of their names
        self._copies: set[str] = set()
        self._known: set[str] = set()  # paths of files that were copied, or are missing

    def copy(self, source: Source, report: CopyReport) -> None:
        """Copy the files of a run.

        Raises
        ------
        AssetUnavailable
            When one cannot be read or written whole, or another file is in its place.
        """
        header = source.store.header(source.uid)
        for resource in header.resources:
            listed = resource_files(source.store, header, resource, source.assets)
            self._copy_all(resource, [(file.path, file.exists, file.problem) for file in listed], source, report)
        for resource in {str(one.resource["uid"]): one.resource for one in header.stream_assets}.values():
            listed = stream_resource_files(header, resource, source.assets)
            self._copy_all(resource, [(file.path, file.exists, file.problem) for file in listed], source, report)

    def _copy_all(
        self, resource: Mapping[str, Any], listed: list[tuple[str, bool, str]], source: Source, report: CopyReport
    ) -> None:
        for path, exists, problem in listed:
            if path in self._known:
                continue
            try:
                if not exists:
                    raise AssetUnavailable(problem or f"it is not there; run {source.uid} names it")
                here, name = _named(resource, path, source.assets)
                for place, inside in _files(here.with_path(path)):
                    self._copy_with_links(place, name + inside, report)
                self._roots.setdefault(name.strip("/").partition("/")[0], set()).add(name.rpartition("/")[0])
            except IntakeBlueskyError as error:
                if exists and not problem:
                    raise
                report.missing[path] = str(error)
            self._known.add(path)

    def _copy_with_links(self, place: Location, name: str, report: CopyReport) -> None:
        """Copy a file, and those that it leads to."""
        copy = _below(self._folder, name)
        if str(copy) in self._copies:
            return
        self._copies.add(str(copy))
        report.files.append(self._copied(place, copy))
        try:
            for linked, inside in linked_files(place):
                self._copy_with_links(linked, posixpath.normpath(f"{name.rpartition('/')[0]}/{inside}"), report)
        except (AssetUnavailable, MissingDependency) as error:
            report.missing.setdefault(place.path, str(error))

    def _copied(self, place: Location, copy: Path) -> CopiedFile:
        """Copy one file, or find that its copy is there."""
        digest, size = hashlib.sha256(), 0
        there = copy.exists()
        part = copy.with_name(f"{copy.name}.{os.getpid()}.part")
        try:
            with ExitStack() as files:
                source = files.enter_context(place.open())
                if not there and not self._dry_run:
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    written = files.enter_context(open(part, "wb"))
                while block := source.read(BLOCK):
                    digest.update(block)
                    size += len(block)
                    if not there and not self._dry_run:
                        written.write(block)
            if not there and not self._dry_run:
                self._keep(part, copy, digest.hexdigest(), place)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        if there and _sha256(copy) != digest.hexdigest():
            raise AssetUnavailable(f"{copy} is there already, and is another file than {place.path}: it stays as it is")
        return CopiedFile(place.path, str(copy), size, digest.hexdigest(), new=not there)

    def _keep(self, part: Path, copy: Path, expected: str, place: Location) -> None:
        """Give a copy its name, once it is what was read."""
        if _sha256(part) != expected:
            raise AssetUnavailable(
                f"the copy of {place.path} in {copy.parent} is not what was read: is the disk sound?"
            )
        with suppress(OSError):
            found = os.stat(place.path)
            os.utime(part, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.replace(part, copy)

    def root_map(self) -> dict[str, str]:
        """Where a catalog finds the copies: by the folders that all names with the same first part have in common."""
        common = sorted(_common(names) for names in self._roots.values())
        return {root: str(_below(self._folder, root)) for root in common}


def _named(resource: Mapping[str, Any], path: str, options: AssetOptions) -> tuple[Location, str]:
    """Where a resource is, and what its documents call one of its files."""
    here = locate(resource, options)
    places = (moved(name, options.root_map) for name in names_of(resource))
    name = next((place.name for place in places if place.path == here.path), None)
    if name is None or not path.startswith(here.path):
        raise AssetUnavailable(f"{path} is not where its resource is, {here.path}: no root_map leads to a copy of it")
    name = plain(name)
    if WINDOWS.match(name) or not (name.startswith("/") or "://" in name):
        raise AssetUnavailable(f"{path} is called {name!r}, which is no absolute path: copy it yourself")
    return here, name + path[len(here.path) :]


def _files(place: Location) -> Iterator[tuple[Location, str]]:
    """A file; of a folder, as a Zarr array is, all files in it, and how their paths go on."""
    if not place.is_local or not os.path.isdir(place.path):
        yield place, ""
        return
    for folder, folders, names in os.walk(place.path):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            yield place.with_path(path), path[len(place.path) :]


def _below(folder: Path, name: str) -> Path:
    """The place of a file in the folder of copies; no name leads out of it."""
    parts = [part for part in PurePosixPath(name.replace("://", "/")).parts if part != "/"]
    if ".." in parts:
        raise AssetUnavailable(f"{name!r} leads out of its folder")
    return folder.joinpath(*parts)


def _common(folders: set[str]) -> str:
    parts = [folder.split("/") for folder in folders]
    same = takewhile(lambda several: len(set(several)) == 1, zip(*parts, strict=False))
    return "/".join(several[0] for several in same)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
