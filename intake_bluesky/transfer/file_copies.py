"""The files that runs name, copied by streams, with checksums; and the `root_map` by which the copies are found."""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from intake_bluesky.assets.hdf5.linked_files import is_hdf5
from intake_bluesky.assets.location import Location
from intake_bluesky.errors import AssetUnavailable
from intake_bluesky.transfer.asset_names import AssetRoots
from intake_bluesky.transfer.report import CopiedFile, CopyReport
from intake_bluesky.transfer.run_assets import links_of, run_assets
from intake_bluesky.transfer.sources import Source

__all__ = ["FileCopies"]

BLOCK: Final = 1 << 20  # bytes read at once
FIRST: Final = 8  # bytes that tell what a file is


class FileCopies:
    """Copies of the files that runs name, below one folder: each at the path that the documents call it by.

    Parameters
    ----------
    folder : Path
    dry_run : bool
    """

    def __init__(self, folder: Path, *, dry_run: bool) -> None:
        self._folder, self._dry_run = folder, dry_run
        self._roots = AssetRoots()
        self._known: set[tuple[str, str]] = set()  # files that were copied, or are missing, and their places

    def copy(self, source: Source, report: CopyReport) -> None:
        """Copy the files of a run, and those that they lead to.

        Raises
        ------
        AssetUnavailable
            When one cannot be read or written whole, or another file is in its place.
        """
        waiting = list(run_assets(source))
        for asset in waiting:  # which grows while files lead to others
            if (asset.path, asset.place) in self._known:
                continue
            if asset.location is None:
                report.missing[asset.path] = asset.problem
            else:
                copied, begin = self._copied(asset.location, self._below(asset.place))
                report.files.append(copied)
                if asset.name:
                    self._roots.add(asset.name)
                if is_hdf5(asset.location, begin):
                    waiting.extend(links_of(asset))
            self._known.add((asset.path, asset.place))

    def _below(self, place: str) -> Path:
        """Where a file of a pack is in this folder, where most are by their own paths."""
        parts = place.split("/")[1:]
        return self._folder.joinpath(*(parts[1:] if parts[0] == "file" else parts))

    def _copied(self, place: Location, copy: Path) -> tuple[CopiedFile, bytes]:
        """Copy one file, or find that its copy is there; and its first bytes."""
        digest, size, begin = hashlib.sha256(), 0, b""
        there = copy.exists()
        part = copy.with_name(f"{copy.name}.{os.getpid()}.part")
        try:
            with ExitStack() as files:
                source = files.enter_context(place.open())
                if not there and not self._dry_run:
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    written = files.enter_context(open(part, "wb"))
                while block := source.read(BLOCK):
                    begin = begin or block[:FIRST]
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
        return CopiedFile(place.path, str(copy), size, digest.hexdigest(), new=not there), begin

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
        return {root: str(self._below(place)) for root, place in self._roots.root_map().items()}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
