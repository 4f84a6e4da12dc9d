"""The files that runs name, copied by streams, with checksums; and the `root_map` by which the copies are found."""

from __future__ import annotations

from intake_bluesky.assets.hdf5.linked_files import is_hdf5
from intake_bluesky.assets.location import Location
from intake_bluesky.errors import AssetUnavailable
from intake_bluesky.transfer.asset_names import AssetRoots
from intake_bluesky.transfer.assets.copied_bytes import CopiedBytes
from intake_bluesky.transfer.assets.file_places import FilePlace
from intake_bluesky.transfer.report import CopiedFile, CopyReport
from intake_bluesky.transfer.run_assets import links_of, run_assets
from intake_bluesky.transfer.sources import Source

__all__ = ["FileCopies"]


class FileCopies:
    """Copies of the files that runs name, below one folder: each at the path that the documents call it by.

    Parameters
    ----------
    place : FilePlace
    dry_run : bool
    """

    def __init__(self, place: FilePlace, *, dry_run: bool) -> None:
        self._place, self._dry_run = place, dry_run
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
                copied, begin = self._copied(asset.location, _below(asset.place))
                report.files.append(copied)
                if asset.name:
                    self._roots.add(asset.name)
                if is_hdf5(asset.location, begin):
                    waiting.extend(links_of(asset))
            self._known.add((asset.path, asset.place))

    def _copied(self, location: Location, path: str) -> tuple[CopiedFile, bytes]:
        """Copy one file, or find that its copy is there; and its first bytes."""
        copy, there = self._place.at(path), self._place.has(path)
        with CopiedBytes(location) as source:
            if there and not self._dry_run:
                self._place.tidy(path, source)
            if there or self._dry_run:
                source.read_all()
                source.check()
            else:
                there = not self._place.put(path, source)
            if there and self._place.sha256(path) != source.sha256:
                raise AssetUnavailable(
                    f"{copy} is there already, and is another file than {location.path}: it stays as it is"
                )
            return CopiedFile(location.path, copy, source.size, source.sha256, new=not there), source.begin

    def finish(self, report: CopyReport) -> None:
        """Say where a catalog finds the copies: by the folders that all names with the same first part share."""
        report.root_map = {root: self._place.at(_below(place)) for root, place in self._roots.root_map().items()}


def _below(place: str) -> str:
    """Where a file of a pack is in the folder, where most are by their own paths."""
    parts = place.split("/")[1:]
    return "/".join(parts[1:] if parts[0] == "file" else parts)
